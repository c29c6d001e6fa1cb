//! A corpus of broken manifests, each beside 100 good objects: it says what is wrong, and changes
//! nothing about the others.
//!
//! The first lines of each file say what is expected: `# Expect: TEXT`, a part of a line of the
//! report.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
};

use ferrix_control::{
    Report, files,
    objects::Kind,
    report::Located,
    settings::{GatewayReach, GatewaySettings, Settings},
};
use ferrix_table::{Table, table::EntryPoint};
use serde_json::Value;

#[test]
fn broken_manifests_lose_only_themselves() {
    let good = good_objects();
    let (alone, report) = load(&[("good.yaml", &good)]);
    assert_eq!(
        report
            .findings()
            .map(|it| it.to_string())
            .collect::<Vec<_>>(),
        [""; 0]
    );
    let (rules, services) = good_parts(&alone);
    assert_eq!((rules.len(), services.len()), (81, 34));

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut cases = 0;
    let mut of_kind = BTreeMap::new();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_str()
            .expect("UTF-8")
            .to_owned();
        let bytes = fs::read(&path).expect("a manifest");
        let text = String::from_utf8_lossy(&bytes);
        let expected: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# Expect: "))
            .collect();
        assert!(!expected.is_empty(), "{name} expects nothing");
        // Before and after the good ones in the order of files.
        for place in [format!("a-{name}"), format!("z-{name}")] {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join("good.yaml"), &good).expect("a file");
            fs::write(folder.path().join(&place), &bytes).expect("a file");
            let (table, report) = files::load(folder.path(), &settings()).expect("a folder");
            assert_eq!(
                good_parts(&table),
                (rules.clone(), services.clone()),
                "beside {name}"
            );
            let of_good = |it: &Located<'_>| it.key.is_some_and(|key| &*key.namespace == "good");
            assert_eq!(
                report.findings().filter(of_good).count(),
                0,
                "beside {name}"
            );
            let found: String = report.findings().fold(String::new(), |mut all, it| {
                let _ = writeln!(all, "{it}");
                all
            });
            for expected in expected.iter().chain([&&*place]) {
                if !found.contains(expected) {
                    wrong.push(format!("{place}: no {expected:?} in\n{found}"));
                }
            }
        }
        for kind in kinds(&text) {
            *of_kind.entry(kind.to_owned()).or_insert(0) += 1;
        }
        cases += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases >= 140, "only {cases} cases were found");
    // Of each kind there is one that is broken in form, and of those that serve one in what it asks for.
    for kind in Kind::ALL {
        let name = kind.as_str();
        let count = of_kind.get(name).copied().unwrap_or_default();
        let least = match kind {
            Kind::ConfigMap | Kind::IngressClass | Kind::Namespace => 1,
            _ => 2,
        };
        assert!(count >= least, "only {count} cases have a {name}");
    }
}

/// The kinds of the documents of a case.
fn kinds(text: &str) -> BTreeSet<&str> {
    let lines = text.lines();
    lines
        .filter_map(|line| line.strip_prefix("kind: "))
        .collect()
}

fn load(files: &[(&str, &str)]) -> (Table, Report) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    files::load(folder.path(), &settings()).expect("a folder")
}

fn settings() -> Settings {
    let entry_points = vec![EntryPoint::http("web"), EntryPoint::https("websecure")];
    Settings {
        gateway: Some(GatewaySettings {
            reach: GatewayReach::Pool(vec!["192.0.2.0/24".parse().expect("a network")]),
            ..GatewaySettings::default()
        }),
        ..Settings::for_files(entry_points)
    }
}

/// A listener that cannot be served costs those beside it nothing.
#[test]
fn of_64_listeners_one_is_broken() {
    let broken = [
        "protocol: odd",
        "protocol: HTTP, hostname: 'a b'",
        "protocol: HTTP, hostname: h1.test",
        "protocol: TCP",
        "protocol: HTTPS",
        "protocol: HTTPS, tls: {certificateRefs: [{name: missing}]}",
        "protocol: HTTP, allowedRoutes: {kinds: [{kind: Odd}]}",
    ];
    for broken in broken {
        let mut text = good_objects();
        text.push_str(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
             metadata: {name: many, namespace: good}\n\
             spec:\n  gatewayClassName: ferrix\n  listeners:\n",
        );
        for number in 0..64 {
            let rest = match number {
                32 => broken.to_owned(),
                number => format!("protocol: HTTP, hostname: h{number}.test"),
            };
            let _ = writeln!(text, "  - {{name: l{number}, port: 80, {rest}}}");
        }
        text.push_str(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
             metadata: {name: many, namespace: good}\n\
             spec: {parentRefs: [{name: many}], rules: [{backendRefs: [{name: s0, port: 80}]}]}\n",
        );
        let (table, _) = load(&[("all.yaml", &text)]);
        let of_route = |rule: &&Value| rule["route"] == "HTTPRoute good/many";
        let (rules, _) = good_parts(&table);
        assert_eq!(rules.iter().filter(of_route).count(), 63, "{broken}");
    }
}

/// Of namespace `good`, one of each kind that there is but a Secret, and many of those that make rules: 81
/// that do, 31 Services and 31 EndpointSlices.
fn good_objects() -> String {
    let mut text = String::new();
    for number in 0..30 {
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: good}}\n\
             spec:\n  ports: [{{name: http, port: 80}}]\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: s{number}-a, namespace: good, \
             labels: {{kubernetes.io/service-name: s{number}}}}}\n\
             addressType: IPv4\nports: [{{name: http, port: 8080}}]\n\
             endpoints: [{{addresses: [10.0.0.{number}]}}]\n",
        );
    }
    for number in 0..40 {
        let _ = write!(
            text,
            "---\napiVersion: ferrix.com/v1\nkind: IngressRoute\n\
             metadata: {{name: r{number}, namespace: good}}\n\
             spec:\n  route:\n    host: h{number}.good.example\n    rules:\n    \
             - matches: PathPrefix(`/`)\n      filters: [{{filter: common}}]\n      \
             service: {{name: s{}, port: http}}\n",
            number % 30,
        );
    }
    text.push_str(GOOD_GATEWAY);
    for number in 0..20 {
        let _ = write!(
            text,
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
             metadata: {{name: h{number}, namespace: good}}\nspec:\n  \
             parentRefs: [{{name: public, sectionName: http}}]\n  hostnames: [h{number}.test]\n  \
             rules: [{{matches: [{{path: {{value: /a}}}}], \
             backendRefs: [{{name: s{number}, port: 80}}]}}]\n",
        );
    }
    for number in 0..8 {
        let _ = write!(
            text,
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\n\
             metadata: {{name: g{number}, namespace: good}}\nspec:\n  \
             parentRefs: [{{name: public}}]\n  hostnames: [g{number}.test]\n  \
             rules: [{{matches: [{{method: {{service: a.B}}}}], \
             backendRefs: [{{name: grpc, port: 80}}]}}]\n",
        );
    }
    for number in 0..10 {
        let _ = write!(
            text,
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n\
             metadata: {{name: i{number}, namespace: good}}\nspec:\n  \
             ingressClassName: ferrix\n  rules:\n  - host: i{number}.good.example\n    \
             http: {{paths: [{{path: /, pathType: Prefix, \
             backend: {{service: {{name: s{number}, port: {{name: http}}}}}}}}]}}\n",
        );
    }
    text
}

/// What some of them name and where they come in, with a route for connections, one for TLS, and one for datagrams.
const GOOD_GATEWAY: &str = "\
---
apiVersion: ferrix.com/v1
kind: BackendPolicy
metadata: {name: balanced, namespace: good}
spec:
  targetRefs: [{group: '', kind: Service, name: s1}]
  balancing: {algorithm: LeastRequests}
---
apiVersion: ferrix.com/v1
kind: Filter
metadata: {name: common, namespace: good}
spec: {filters: [{requestHeaderModifier: {remove: [X-Debug]}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: ferrix}
spec: {controllerName: ferrix.com/gateway-controller}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ferrix}
spec: {controller: ferrix.com/ingress-controller}
---
apiVersion: v1
kind: Namespace
metadata: {name: good}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: good}
spec:
  gatewayClassName: ferrix
  allowedListeners: {namespaces: {from: Same}}
  listeners:
  - {name: http, port: 80, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more, namespace: good}
spec:
  parentRef: {name: public}
  listeners:
  - {name: tcp, port: 9000, protocol: TCP}
  - {name: udp, port: 9000, protocol: UDP}
  - {name: tls, port: 9443, protocol: TLS, tls: {mode: Passthrough}}
---
apiVersion: v1
kind: Service
metadata: {name: grpc, namespace: good}
spec: {ports: [{name: grpc, port: 80}, {name: udp, port: 81, protocol: UDP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: grpc-a, namespace: good, labels: {kubernetes.io/service-name: grpc}}
addressType: IPv4
ports: [{name: grpc, port: 8080}, {name: udp, port: 8081, protocol: UDP}]
endpoints: [{addresses: [10.0.1.1]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: tcp, namespace: good}
spec:
  parentRefs: [{kind: ListenerSet, name: more}]
  rules: [{backendRefs: [{name: s0, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: udp, namespace: good}
spec:
  parentRefs: [{kind: ListenerSet, name: more}]
  rules: [{backendRefs: [{name: grpc, port: 81}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: tls, namespace: good}
spec:
  parentRefs: [{kind: ListenerSet, name: more}]
  hostnames: [tls.good.example]
  rules: [{backendRefs: [{name: s0, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: good, namespace: good}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: other}]
  to: [{group: '', kind: Service}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: good, namespace: good}
spec:
  targetRefs: [{group: '', kind: Service, name: s1}]
  validation: {hostname: s1.good.example, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: ca, namespace: good}
data:
  ca.crt: |
    -----BEGIN CERTIFICATE-----
    MIIBWDCB/6ADAgECAhQxqiqpcA+hTOPn/lBh7Ku0uhJeljAKBggqhkjOPQQDAjAW
    MRQwEgYDVQQDDAtleGFtcGxlLmNvbTAeFw0yNjAxMDEwMDAwMDBaFw0zNjAxMDEw
    MDAwMDBaMBYxFDASBgNVBAMMC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZI
    zj0DAQcDQgAEc3tu4Ojp8ttQGw9CyvI4YbL1ZTdLn4G8yckYbECUOYlGsuxF7leG
    bLBP8Ol+Kn9SXv1c+p+/3p9oJi8BsePAoaMrMCkwJwYDVR0RBCAwHoILZXhhbXBs
    ZS5jb22CD3d3dy5leGFtcGxlLmNvbTAKBggqhkjOPQQDAgNIADBFAiAsULwHaPvo
    IK4wZKEhdGH8tn6Lw0njWo5lDMKPtsvSkQIhAJ8uB/NTeBcic8yfhULIZqMcq36d
    AXZ66HdgkC/hrbob
    -----END CERTIFICATE-----
";

/// What the dump of a table says about namespace `good`.
fn good_parts(table: &Table) -> (Vec<Value>, Vec<Value>) {
    let mut dump = serde_json::to_value(table.dump()).expect("a dump");
    let mut part = |list: &str, field: &str, good: &str| -> Vec<Value> {
        let Value::Array(list) = dump[list].take() else {
            panic!("no list")
        };
        list.into_iter()
            .filter(|it| it[field].as_str().is_some_and(|it| it.contains(good)))
            .collect()
    };
    (
        part("rules", "route", " good/"),
        part("services", "service", "good/"),
    )
}
