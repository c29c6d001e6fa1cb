//! `Ingress` as its specification has it: which Service gets a request, case by case. The cases are those
//! of the page on Ingress of the Kubernetes documentation, and what the API reference says beyond them.

use std::net::{IpAddr, Ipv4Addr};

use ferrix_control::{
    Settings,
    decode::{Decoded, Strictness, decode},
    objects::{Key, Kind, Origin},
    report::Report,
    translate,
    world::{Change, World},
};
use ferrix_table::{
    Request, Table,
    rules::Action,
    table::{EntryPoint, EntryPointIndex},
};
use http::{HeaderMap, Method};
use serde_json::{Value, json};

const WEB: EntryPointIndex = 0;
const WEBSECURE: EntryPointIndex = 1;

/// What a request gets that no rule takes.
const NONE: &str = "404";

struct Cluster(World, Settings);

impl Cluster {
    /// With the class `ferrix`, which is ours, and the Services of the cases.
    fn new() -> Self {
        let entry_points = vec![EntryPoint::http("web"), EntryPoint::https("websecure")];
        let mut cluster = Self(World::new(), Settings::new(entry_points));
        cluster.class("ferrix", "ferrix.com/ingress-controller", false);
        for name in ["a", "b", "c", "d", "default"] {
            cluster.apply(&json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"ports": [
                    {"port": 80, "name": "http"}, {"port": 8080, "name": "other"},
                ]},
            }));
        }
        cluster
    }

    fn apply(&mut self, object: &Value) -> &mut Self {
        let decoded = decode(object, Strictness::Api);
        let Ok(Decoded::Object { object, .. }) = decoded else {
            panic!("{decoded:?}");
        };
        self.0.take(Change::Apply {
            object,
            origin: Origin::Api,
            notes: Vec::new(),
        });
        self
    }

    fn class(&mut self, name: &str, controller: &str, default: bool) -> &mut Self {
        let default = default.to_string();
        self.apply(&json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {
                "name": name,
                "annotations": {"ingressclass.kubernetes.io/is-default-class": default},
            },
            "spec": {"controller": controller},
        }))
    }

    /// An Ingress of the class `ferrix`.
    fn ingress(&mut self, name: &str, spec: Value) -> &mut Self {
        let mut spec = spec;
        spec["ingressClassName"] = json!("ferrix");
        self.ingress_of(&json!({"name": name}), spec)
    }

    fn ingress_of(&mut self, metadata: &Value, spec: Value) -> &mut Self {
        let mut metadata = metadata.clone();
        metadata["namespace"] = json!("default");
        self.apply(&json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": metadata, "spec": spec,
        }))
    }

    fn translate(&self) -> (Table, Report) {
        translate(&self.0, &self.1)
    }

    /// The Service that gets a request, or what else becomes of it.
    fn serves(&self, host: &str, path: &str) -> String {
        self.serves_on(WEB, host, path)
    }

    fn serves_on(&self, entry_point: EntryPointIndex, host: &str, path: &str) -> String {
        let (table, _) = self.translate();
        let request = Request {
            method: &Method::GET,
            host,
            path,
            query: "",
            headers: &HeaderMap::new(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        match table.rules.lookup(entry_point, &request) {
            None => NONE.to_owned(),
            Some(rule) => match &rule.action {
                Action::Forward(split) => {
                    let index = split.choose().service.clone().expect("it is found");
                    let id = &table.service(index).expect("a service").id;
                    match id.port {
                        80 => id.service.name.to_string(),
                        port => format!("{}:{port}", id.service.name),
                    }
                }
                other => format!("{other:?}"),
            },
        }
    }

    /// Reason and message of everything that is said of an Ingress.
    fn findings(&self, name: &str) -> Vec<String> {
        let (_, report) = self.translate();
        let entry = report.get(&Key::new(Kind::Ingress, "default", name));
        let findings = &entry.expect("an entry").findings;
        findings.iter().map(ToString::to_string).collect()
    }
}

fn backend(service: &str) -> Value {
    json!({"service": {"name": service, "port": {"number": 80}}})
}

fn path(path_type: &str, path: &str, service: &str) -> Value {
    json!({"path": path, "pathType": path_type, "backend": backend(service)})
}

/// A rule for a host; none: for all.
fn rule(host: Option<&str>, paths: &[Value]) -> Value {
    let mut rule = json!({"http": {"paths": paths}});
    if let Some(host) = host {
        rule["host"] = json!(host);
    }
    rule
}

/// Paths by type, in their order for Services `a`, `b` and so on; a request, and who serves it.
type PathCase = (
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

/// With the default backend `default`.
const PATHS: &[PathCase] = &[
    // The table of the documentation.
    (&[("Prefix", "/")], "/any/path", "a"),
    (&[("Exact", "/foo")], "/foo", "a"),
    (&[("Exact", "/foo")], "/bar", "default"),
    (&[("Exact", "/foo")], "/foo/", "default"),
    (&[("Exact", "/foo/")], "/foo", "default"),
    (&[("Prefix", "/foo")], "/foo", "a"),
    (&[("Prefix", "/foo")], "/foo/", "a"),
    (&[("Prefix", "/foo/")], "/foo", "a"),
    (&[("Prefix", "/foo/")], "/foo/", "a"),
    (&[("Prefix", "/aaa/bb")], "/aaa/bbb", "default"),
    (&[("Prefix", "/aaa/bbb")], "/aaa/bbb", "a"),
    (&[("Prefix", "/aaa/bbb/")], "/aaa/bbb", "a"),
    (&[("Prefix", "/aaa/bbb")], "/aaa/bbb/", "a"),
    (&[("Prefix", "/aaa/bbb")], "/aaa/bbb/ccc", "a"),
    (&[("Prefix", "/aaa/bbb")], "/aaa/bbbxyz", "default"),
    (&[("Prefix", "/"), ("Prefix", "/aaa")], "/aaa/ccc", "b"),
    (
        &[("Prefix", "/"), ("Prefix", "/aaa"), ("Prefix", "/aaa/bbb")],
        "/aaa/bbb",
        "c",
    ),
    (
        &[("Prefix", "/"), ("Prefix", "/aaa"), ("Prefix", "/aaa/bbb")],
        "/ccc",
        "a",
    ),
    (&[("Prefix", "/aaa")], "/ccc", "default"),
    (&[("Prefix", "/foo"), ("Exact", "/foo")], "/foo", "b"),
    // Beyond it.
    (&[("Prefix", "/foo"), ("Exact", "/foo")], "/foo/bar", "a"),
    (&[("Exact", "/foo"), ("Prefix", "/")], "/foo", "a"),
    (&[("Prefix", "/Foo")], "/foo", "default"),
    (&[("Prefix", "")], "/any", "a"),
    (&[("ImplementationSpecific", "")], "/any", "a"),
    (&[("ImplementationSpecific", "/foo")], "/foobar", "a"),
    (
        &[("ImplementationSpecific", "/foo"), ("Prefix", "/")],
        "/foobar",
        "a",
    ),
    (
        &[("ImplementationSpecific", "/foo"), ("Exact", "/foobar")],
        "/foobar",
        "b",
    ),
    // Paths of URLs, and of requests in the form that rules see.
    (&[("Exact", "/caf%C3%A9")], "/café", "a"),
    (&[("Prefix", "/caf%c3%a9/")], "/café/menu", "a"),
    (&[("ImplementationSpecific", "/caf%C3%A9")], "/cafés", "a"),
    (&[("Exact", "/a%2Fb")], "/a%2Fb", "a"),
    (&[("Exact", "/a%2Fb")], "/a/b", "default"),
];

#[test]
fn paths() {
    let mut cases = 0;
    for (paths, request, expected) in PATHS {
        let services = ["a", "b", "c", "d"];
        let paths: Vec<_> = (paths.iter().zip(services))
            .map(|((path_type, text), service)| path(path_type, text, service))
            .collect();
        let mut cluster = Cluster::new();
        let spec = json!({"defaultBackend": backend("default"), "rules": [rule(None, &paths)]});
        cluster.ingress("one", spec);
        assert_eq!(
            cluster.serves("example.com", request),
            *expected,
            "{paths:?} {request}"
        );
        cases += 1;
    }
    assert_eq!(cases, 33);
}

#[test]
fn hosts() {
    let rules = |hosts: &[&str]| {
        let rules = hosts.iter().zip(["a", "b", "c"]).map(|(host, service)| {
            let host = Some(*host).filter(|host| !host.is_empty());
            rule(host, &[path("Prefix", "/", service)])
        });
        json!({ "rules": rules.collect::<Vec<_>>() })
    };
    let mut cases = 0;
    for (hosts, request, expected) in [
        (&["foo.com"][..], "foo.com", "a"),
        (&["foo.com"], "bar.com", NONE),
        (&["foo.com"], "www.foo.com", NONE),
        (&["*.foo.com"], "bar.foo.com", "a"),
        (&["*.foo.com"], "baz.bar.foo.com", NONE),
        (&["*.foo.com"], "foo.com", NONE),
        (&[""], "any.example", "a"),
        (&[""], "", "a"),
        (&["", "*.foo.com", "bar.foo.com"], "bar.foo.com", "c"),
        (&["", "*.foo.com", "bar.foo.com"], "baz.foo.com", "b"),
        (&["", "*.foo.com", "bar.foo.com"], "foo.com", "a"),
        (&["FOO.com"], "foo.com", "a"),
    ] {
        let mut cluster = Cluster::new();
        cluster.ingress("one", rules(hosts));
        assert_eq!(
            cluster.serves(request, "/"),
            expected,
            "{hosts:?} {request}"
        );
        cases += 1;
    }
    assert_eq!(cases, 12);
}

#[test]
fn default_backends() {
    let mut cluster = Cluster::new();
    cluster.ingress("alone", json!({"defaultBackend": backend("default")}));
    assert_eq!(cluster.serves("any.example", "/x"), "default");

    let mut cluster = Cluster::new();
    cluster.ingress(
        "several",
        json!({"defaultBackend": backend("default"), "rules": [
            rule(Some("foo.com"), &[path("Prefix", "/api", "a")]),
            {"host": "whole.com"},
        ]}),
    );
    for (host, request, expected) in [
        ("foo.com", "/api/x", "a"),
        ("foo.com", "/other", "default"),
        ("bar.com", "/", "default"),
        ("whole.com", "/", "default"),
    ] {
        assert_eq!(cluster.serves(host, request), expected, "{host}{request}");
    }

    let mut cluster = Cluster::new();
    cluster.ingress("nothing", json!({"rules": [{"host": "foo.com"}]}));
    assert_eq!(cluster.serves("foo.com", "/"), NONE);
    let findings = cluster.findings("nothing").join("\n");
    assert!(findings.contains("no paths for foo.com"), "{findings}");
}

#[test]
fn classes() {
    let spec = |class: Option<&str>| {
        let mut spec = json!({"defaultBackend": backend("a")});
        if let Some(class) = class {
            spec["ingressClassName"] = json!(class);
        }
        spec
    };
    let ours = "ferrix.com/ingress-controller";
    let mut cases = 0;
    // Another class (controller, whether it is the default), that of the Ingress, its annotation, and
    // whether it is served.
    for (other, class, annotation, expected) in [
        (None, Some("ferrix"), None, true),
        (None, Some("unknown"), None, false),
        (None, None, None, false),
        // Classes keep the name that they had, so that nothing is edited by whoever comes from there.
        (Some((ours, false)), Some("nginx"), None, true),
        (
            Some(("k8s.io/ingress-nginx", false)),
            Some("nginx"),
            None,
            false,
        ),
        (Some((ours, true)), None, None, true),
        (Some(("k8s.io/ingress-nginx", true)), None, None, false),
        (None, None, Some("ferrix"), true),
        (None, None, Some("nginx"), false),
        (None, Some("ferrix"), Some("nginx"), false),
        (None, Some("nginx"), Some("ferrix"), true),
    ] {
        let mut cluster = Cluster::new();
        if let Some((controller, default)) = other {
            cluster.class("nginx", controller, default);
        }
        let mut metadata = json!({"name": "one"});
        if let Some(annotation) = annotation {
            metadata["annotations"] = json!({"kubernetes.io/ingress.class": annotation});
        }
        cluster.ingress_of(&metadata, spec(class));
        let served = cluster.serves("any.example", "/") == "a";
        assert_eq!(served, expected, "{other:?} {class:?} {annotation:?}");
        if !expected {
            let findings = cluster.findings("one");
            assert!(findings[0].contains("ignored: "), "{findings:?}");
        }
        cases += 1;
    }
    assert_eq!(cases, 11);
}

#[test]
fn a_class_that_comes_changes_or_goes_is_followed() {
    let mut cluster = Cluster::new();
    cluster.ingress_of(
        &json!({"name": "one"}),
        json!({"ingressClassName": "nginx", "defaultBackend": backend("a")}),
    );
    assert_eq!(cluster.serves("any.example", "/"), NONE);
    cluster.class("nginx", "ferrix.com/ingress-controller", false);
    assert_eq!(cluster.serves("any.example", "/"), "a");
    let effect = cluster.0.remove(&Key::new(Kind::IngressClass, "", "nginx"));
    assert!(!effect.is_empty());
    assert_eq!(cluster.serves("any.example", "/"), NONE);
}

#[test]
fn an_installation_with_a_class_has_a_controller_of_its_own() {
    let mut cluster = Cluster::new();
    cluster.1.ingress_class = Some("internal".to_owned());
    cluster.class("inner", "ferrix.com/ingress-controller-internal", false);
    for (class, expected) in [("inner", "a"), ("internal", "a"), ("ferrix", NONE)] {
        cluster.ingress_of(
            &json!({"name": "one"}),
            json!({"ingressClassName": class, "defaultBackend": backend("a")}),
        );
        assert_eq!(cluster.serves("any.example", "/"), expected, "{class}");
    }
}

#[test]
fn ports_by_number_and_name() {
    for (port, expected) in [
        (json!({"number": 80}), "a"),
        (json!({"number": 8080}), "a:8080"),
        (json!({"name": "http"}), "a"),
        (json!({"name": "other"}), "a:8080"),
    ] {
        let mut cluster = Cluster::new();
        let backend = json!({"service": {"name": "a", "port": port}});
        cluster.ingress("one", json!({ "defaultBackend": backend }));
        assert_eq!(cluster.serves("any.example", "/"), expected, "{port}");
    }
}

/// What is wrong with one Ingress, where, and that it harms no other.
#[test]
fn what_is_wrong_is_named() {
    let resource =
        json!({"resource": {"apiGroup": "k8s.example.com", "kind": "Bucket", "name": "x"}});
    let mut cases = 0;
    for (spec, expected) in [
        (json!({}), "spec: expected `rules` or a `defaultBackend`"),
        (
            json!({"defaultBackend": resource}),
            "spec.defaultBackend.service: a Bucket cannot serve requests here",
        ),
        (
            json!({"defaultBackend": {"service": {"name": "a", "port": {}}}}),
            "spec.defaultBackend.service.port: expected a `number`",
        ),
        (
            json!({"rules": [rule(None, &[path("Exact", "foo", "a")])]}),
            "spec.rules[0].http.paths[0].path: the path `foo` does not begin with `/`",
        ),
        (
            json!({"rules": [rule(None, &[path("Exact", "/foo?a", "a")])]}),
            "spec.rules[0].http.paths[0].path: path `/foo?a` matches no request: a path ends before",
        ),
        (
            json!({"rules": [rule(None, &[path("ImplementationSpecific", "/a(/|$)(.*)", "a")])]}),
            "spec.rules[0].http.paths[0].path: path beginning `/a(/|$)(.*)` takes the path as it stands",
        ),
        (
            json!({"rules": [rule(None, &[path("Glob", "/", "a")])]}),
            "spec.rules[0].http.paths[0].pathType: `Glob` is no type of path",
        ),
        (
            json!({"rules": [rule(Some("*.*.com"), &[path("Exact", "/", "a")])]}),
            "spec.rules[0].host: `*.*.com` is no host",
        ),
        (
            json!({"defaultBackend": backend("missing")}),
            "Service default/missing does not exist",
        ),
    ] {
        let mut cluster = Cluster::new();
        let good = json!({"rules": [rule(Some("good.com"), &[path("Prefix", "/", "b")])]});
        cluster.ingress("bad", spec.clone()).ingress("good", good);
        let findings = cluster.findings("bad").join("\n");
        assert!(findings.contains(expected), "{spec}: {findings}");
        assert_eq!(cluster.serves("good.com", "/"), "b", "{spec}");
        cases += 1;
    }
    assert_eq!(cases, 9);
}

#[test]
fn of_two_for_the_same_path_the_older_serves() {
    let one_path = || {
        json!({
            "ingressClassName": "ferrix",
            "rules": [rule(Some("foo.com"), &[path("Prefix", "/", "a")])],
        })
    };
    let created = |name, time| json!({"name": name, "creationTimestamp": time});
    let mut cluster = Cluster::new();
    cluster.ingress_of(&created("newer", "2026-02-01T00:00:00Z"), one_path());
    let mut older = one_path();
    older["rules"][0]["http"]["paths"][0]["backend"] = backend("b");
    cluster.ingress_of(&created("older", "2026-01-01T00:00:00Z"), older);
    assert_eq!(cluster.serves("foo.com", "/"), "b");
    let findings = cluster.findings("newer").join("\n");
    assert!(findings.contains("Ingress default/older"), "{findings}");
}

/// The number of an IngressRoute comes before what follows from paths: see docs/ingressroute.md.
#[test]
fn an_ingressroute_comes_first_where_both_take_a_request() {
    let mut cluster = Cluster::new();
    let exact = json!({"rules": [rule(Some("foo.com"), &[path("Exact", "/api", "a")])]});
    cluster.ingress("one", exact).apply(&json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": {"name": "route", "namespace": "default"},
        "spec": {"route": {"host": "foo.com", "rules": [
            {"matches": "PathPrefix(`/api`)", "service": {"name": "b", "port": 80}},
        ]}},
    }));
    assert_eq!(cluster.serves("foo.com", "/api"), "b");
    let findings = cluster.findings("one").join("\n");
    assert!(
        findings.contains("IngressRoute default/route"),
        "{findings}"
    );
}

#[test]
fn tls_is_by_server_name_and_plain_stays_plain() {
    let authority = rcgen::generate_simple_self_signed(["foo.com".to_owned()]).unwrap();
    let mut cluster = Cluster::new();
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "cert", "namespace": "default"},
        "stringData": {},
        "data": {
            "tls.crt": base64(authority.cert.pem().as_bytes()),
            "tls.key": base64(authority.signing_key.serialize_pem().as_bytes()),
        },
    }));
    let rules = [
        rule(Some("foo.com"), &[path("Prefix", "/", "a")]),
        rule(Some("bar.com"), &[path("Prefix", "/", "b")]),
    ];
    let tls = json!([{"hosts": ["foo.com"], "secretName": "cert"}]);
    cluster.ingress("one", json!({"tls": tls, "rules": rules}));
    assert_eq!(cluster.serves_on(WEB, "foo.com", "/"), "a");
    assert_eq!(cluster.serves_on(WEBSECURE, "foo.com", "/"), "a");
    assert_eq!(cluster.serves_on(WEB, "bar.com", "/"), "b");
    let (table, _) = cluster.translate();
    let certificate = |name| {
        table
            .certificates
            .find(WEBSECURE, Some(name))
            .map(|it| &*it.id)
    };
    assert_eq!(certificate("foo.com"), Some("default/cert"));
    assert_eq!(certificate("bar.com"), None);

    // Without TLS, and without a default certificate, there is nothing to present.
    let mut cluster = Cluster::new();
    cluster.ingress("one", json!({ "rules": rules }));
    assert_eq!(cluster.serves_on(WEB, "foo.com", "/"), "a");
    assert_eq!(cluster.serves_on(WEBSECURE, "foo.com", "/"), NONE);
}

fn base64(bytes: &[u8]) -> Value {
    json!(k8s_openapi::ByteString(bytes.to_vec()))
}

#[test]
fn entry_points_can_be_named() {
    let mut cluster = Cluster::new();
    cluster.ingress_of(
        &json!({"name": "one", "annotations": {"ferrix.com/entrypoints": "other"}}),
        json!({"ingressClassName": "ferrix", "defaultBackend": backend("a")}),
    );
    assert_eq!(cluster.serves("any.example", "/"), NONE);
    let findings = cluster.findings("one").join("\n");
    assert!(findings.contains("no entry point `other`"), "{findings}");
    cluster.ingress_of(
        &json!({"name": "one", "annotations": {"ferrix.com/entrypoints": "web, other"}}),
        json!({"ingressClassName": "ferrix", "defaultBackend": backend("a")}),
    );
    assert_eq!(cluster.serves("any.example", "/"), "a");
}
