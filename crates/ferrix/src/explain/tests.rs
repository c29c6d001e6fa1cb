use std::{sync::Arc, time::Duration};

use ferrix_table::{
    backend_policy::BackendPolicy,
    balancing::{Algorithm, Balancing},
    certificates::Certificates,
    filters::{
        Filter,
        header_changes::{self, HeaderChanges},
        mirror::Mirror,
    },
    object::{Key, Kind, ObjectName},
    policy::{Policy, Timeouts},
    rule_set::RuleSet,
    rules::{HostPattern, Route, Rule},
    services::{Endpoint, Protocol, Scheme, ServiceId},
    table,
    weight::Weight,
};

use super::*;

fn rule(name: &str, host: &str, matches: &str, action: Action) -> Rule {
    let matches = ferrix_rule::Rule::parse(matches).unwrap();
    Rule {
        route: Arc::new(Route {
            key: Key::new(Kind::IngressRoute, "default", name),
            generation: 1,
            created: None,
            state: Arc::default(),
        }),
        position: 0,
        host: HostPattern::parse(host).unwrap(),
        weight: Weight::Priority(matches.shown().len() as i64),
        matches: Some(matches),
        entry_points: [0].into(),
        action,
        policy: None,
        dry_run: None,
    }
}

fn service(name: &str, endpoints: &[&str]) -> Arc<Service> {
    let endpoint = |address: &&str| Endpoint::new(address.parse().unwrap());
    Arc::new(Service {
        id: ServiceId {
            service: ObjectName::new("default", name),
            port: 8080,
            scheme: Scheme::Http,
        },
        protocol: Protocol::Http1,
        endpoints: endpoints.iter().map(endpoint).collect(),
        policy: None,
        state: Arc::default(),
    })
}

fn forward(services: &[(u32, u32)]) -> Action {
    Action::Forward(Split::new(services).unwrap())
}

/// A rule that asks for more than forwarding, as does its only share.
fn filtered() -> Rule {
    let set = |name: &str| HeaderChanges {
        set: [header_changes::Field {
            name: name.into(),
            value: "secret".into(),
        }]
        .into(),
        ..HeaderChanges::default()
    };
    let filters = [
        Filter::RequestHeaders(set("X-Key")),
        Filter::Mirror(Mirror {
            service: Ok(1),
            denominator: 100,
            numerator: 5,
        }),
    ];
    let policy: Policy = Policy {
        timeouts: Timeouts {
            request: Some(Duration::from_secs(10)),
            backend_request: None,
        },
        ..Policy::of(filters)
    };
    let destination = Destination {
        service: Ok(0),
        filters: Some(Arc::new([Filter::ResponseHeaders(set("X-Was"))].into())),
    };
    let action = Action::Forward(Split::new(&[(destination, 1)]).unwrap());
    Rule {
        policy: Some(Arc::new(policy)),
        ..rule("filtered", "example.com", "Path(`/filtered`)", action)
    }
}

#[test]
fn what_a_request_passes_is_shown_without_values() {
    let question = Question::get("http://example.com/filtered".parse().unwrap());
    let text = explained(&question);
    let expected = "on its way:\n  request headers: set X-Key\n  \
                    mirror: 5 of 100 requests to default/idle:8080\n  \
                    request: 10s at most\n\nanswer: from service default/api:8080, \
                    127.0.0.1:9001, 127.0.0.1:9002 in turn\n    \
                    response headers: set X-Was\n";
    assert!(text.ends_with(expected), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn the_policy_of_a_service_is_named() {
    let api = service("api", &["127.0.0.1:9001", "127.0.0.1:9002"]);
    let balancing = Balancing {
        algorithm: Algorithm::LeastRequests,
        slow_start: Some(Duration::from_secs(30)),
        zones: None,
    };
    let policy = BackendPolicy {
        balancing,
        ..BackendPolicy::new(ObjectName::new("default", "shop"))
    };
    let api = Arc::new(Arc::unwrap_or_clone(api).with_policy(Arc::new(policy)));
    let table = Table {
        services: Arc::new([api].into_iter().collect()),
        ..table()
    };
    let question = Question::get("http://example.com/api".parse().unwrap());
    let text = explain(&Settings::default(), &table, &Report::default(), &question).unwrap();
    let expected = "answer: from service default/api:8080, 127.0.0.1:9001, 127.0.0.1:9002 by \
                    BackendPolicy default/shop\n    \
                    balancing: of two, the one with fewer requests, slow start: 30s\n";
    assert!(text.ends_with(expected), "{text}");
}

fn table() -> Table {
    Table {
        entry_points: Arc::new(
            [
                table::EntryPoint::http("web"),
                table::EntryPoint::https("websecure"),
            ]
            .as_slice()
            .into(),
        ),
        rules: Arc::new(RuleSet::new(vec![
            rule("api", "example.com", "Path(`/api`)", forward(&[(0, 1)])),
            rule(
                "split",
                "example.com",
                "Path(`/split`)",
                forward(&[(0, 3), (1, 1)]),
            ),
            rule("empty", "example.com", "Path(`/empty`)", forward(&[(1, 1)])),
            rule(
                "broken",
                "example.com",
                "Path(`/broken`)",
                Action::Unresolved("it is gone".into()),
            ),
            rule("none", "example.com", "Path(`/none`)", Action::Unavailable),
            filtered(),
        ])),
        services: Arc::new(
            [
                service("api", &["127.0.0.1:9001", "127.0.0.1:9002"]),
                service("idle", &[]),
            ]
            .into_iter()
            .collect(),
        ),
        certificates: Arc::new(Certificates::default()),
        ..Table::default()
    }
}

fn explained(question: &Question) -> String {
    explain(&Settings::default(), &table(), &Report::default(), question).unwrap()
}

/// The line of the answer for a GET.
fn answer(url: &str) -> String {
    let text = explained(&Question::get(url.parse().unwrap()));
    let start = text.find("answer: ").expect("an answer");
    text[start + "answer: ".len()..].trim_end().into()
}

#[test]
fn answers() {
    for (url, expected) in [
        (
            "http://example.com/api",
            "from service default/api:8080, 127.0.0.1:9001, 127.0.0.1:9002 in turn",
        ),
        (
            "http://example.com/split?a=b",
            "by weight, one of\n  \
             3 of 4: from service default/api:8080, 127.0.0.1:9001, 127.0.0.1:9002 in turn\n  \
             1 of 4: 503, service default/idle:8080 has no endpoint that is ready",
        ),
        (
            "http://example.com/empty",
            "503, service default/idle:8080 has no endpoint that is ready",
        ),
        ("http://example.com/broken", "500, it is gone"),
        (
            "http://example.com/none",
            "503, every service of the rule has weight 0",
        ),
        ("http://example.com/other", "404, no rule takes it"),
        ("http://other.test/api", "404, no rule is for other.test"),
        (
            "http://www.exmaple.com/api",
            "404, no rule is for www.exmaple.com",
        ),
        (
            "http://exmaple.com/api",
            "404, no rule is for exmaple.com\n\nThe most like it: example.com",
        ),
        (
            "http://www.example.com/api",
            "404, no rule is for www.example.com\n\nThe most like it: example.com",
        ),
        (
            "http://EXAMPLE.com:6190//x/../api",
            "from service default/api:8080, 127.0.0.1:9001, 127.0.0.1:9002 in turn",
        ),
        (
            "https://example.com/api",
            "none, the TLS handshake fails: there is no certificate for example.com and no default \
             one",
        ),
    ] {
        assert_eq!(answer(url), expected, "{url}");
    }
    assert!(answer("http://example.com/../api").starts_with("400, "));
    assert!(answer("http://exa mple.com/api").starts_with("400, "));
    assert_eq!(
        answer(&format!("http://example.com/{}", "x".repeat(20_000))),
        "414, the target is longer than 16.0 KiB",
    );
}

#[test]
fn every_loser_is_named() {
    let text = explained(&Question::get("http://example.com/api".parse().unwrap()));
    assert!(text.starts_with("GET http://example.com/api\nat entry point web from 127.0.0.1\n"));
    assert!(text.contains("host example.com, path /api\n"), "{text}");
    for name in ["split", "empty", "broken", "none"] {
        assert!(
            text.contains(&format!("IngressRoute default/{name}")),
            "{text}"
        );
    }
}

#[test]
fn the_host_field_stands_for_another_host() {
    let mut question = Question::get("http://127.0.0.1:6190/api".parse().unwrap());
    assert!(explained(&question).contains("answer: 404"));
    let (name, value) = header_field("host: example.com").unwrap();
    question.headers.insert(name, value);
    assert!(explained(&question).contains("answer: from service default/api:8080"));
}

#[test]
fn entry_points() {
    let entry_point = |name: Option<&str>, url: &str| {
        let question = Question {
            entry_point: name.map(Into::into),
            ..Question::get(url.parse().unwrap())
        };
        place::find(&Settings::default(), &table(), &question)
    };
    assert_eq!(entry_point(None, "http://a/"), Ok(0));
    assert_eq!(entry_point(None, "https://a:6191/"), Ok(1));
    assert_eq!(entry_point(Some("websecure"), "http://a/"), Ok(1));
    assert_eq!(
        entry_point(Some("wbe"), "http://a/")
            .unwrap_err()
            .to_string(),
        "there is no entry point \"wbe\"; the entry points are web, websecure",
    );
}

/// Requests come in by the port of the URL, and by the host where listeners share one.
#[test]
fn listeners_of_gateways() {
    const OBJECTS: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: ferrix}
spec: {controllerName: ferrix.com/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: ferrix
  listeners:
  - {name: one, port: 80, protocol: HTTP, hostname: one.test}
  - {name: two, port: 80, protocol: HTTP, hostname: two.test}
  - {name: tls, port: 443, protocol: TLS, tls: {mode: Passthrough}}
  - {name: tcp, port: 9000, protocol: TCP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: http}
spec: {parentRefs: [{name: gw, sectionName: one}], rules: [{backendRefs: [{name: s, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: tls}
spec:
  parentRefs: [{name: gw, sectionName: tls}]
  hostnames: [tls.test]
  rules: [{backendRefs: [{name: s, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: tcp}
spec: {parentRefs: [{name: gw, sectionName: tcp}], rules: [{backendRefs: [{name: missing, port: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s-1, labels: {kubernetes.io/service-name: s}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.0.0.1]}]
";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("objects.yaml"), OBJECTS).unwrap();
    let settings = "gateway: {addresses: [192.0.2.0/30]}";
    let settings = Settings::parse("settings", settings).unwrap();
    let control = crate::program::control_settings(&settings).unwrap();
    let (table, report) = ferrix_control::files::load(folder.path(), &control).unwrap();
    let forwarded = "10.0.0.1:8080 in turn";
    let cases = [
        (None, "http://one.test:80/", "gw/one", forwarded),
        // Where no entry point of the settings has a rule for the host.
        (None, "http://one.test/", "gw/one", forwarded),
        (Some("gw/two"), "http://one.test/", "gw/one", forwarded),
        (
            None,
            "http://two.test:80/",
            "gw/two",
            "answer: 404, no rule takes it",
        ),
        (
            None,
            "http://other.test:80/",
            "gw/one",
            "answer: 404, no listener of its address is for other.test",
        ),
        (None, "https://tls.test:443/", "gw/tls", forwarded),
        (
            None,
            "https://other.test:443/",
            "gw/tls",
            "answer: none, the connection is closed, no rule takes it",
        ),
        (
            None,
            "http://any.test:9000/",
            "gw/tcp",
            "answer: none, the connection is closed, Service default/missing does not exist",
        ),
    ];
    for (entry_point, url, listener, answer) in cases {
        let question = Question {
            entry_point: entry_point.map(|name| format!("Gateway default/{name}")),
            ..Question::get(url.parse().unwrap())
        };
        let text = explain(&settings, &table, &report, &question).unwrap();
        let place = format!("at entry point Gateway default/{listener} from ");
        assert!(text.contains(&place), "{place}: {text}");
        assert!(text.contains(answer), "{answer}: {text}");
    }
    assert_eq!(cases.len(), 8);
    let unknown = Question {
        entry_point: Some("Gateway default/gw/three".to_owned()),
        ..Question::get("http://one.test/".parse().unwrap())
    };
    let error = explain(&settings, &table, &report, &unknown).unwrap_err();
    assert!(
        error.to_string().contains("Gateway default/gw/two"),
        "{error}"
    );
}

#[test]
fn urls() {
    for (text, canonical) in [
        ("http://a", "http://a/"),
        ("HTTPS://a:1?b", "https://a:1/?b"),
        ("http://a/b?c#d", "http://a/b?c#d"),
        ("http://[::1]:80/", "http://[::1]:80/"),
    ] {
        assert_eq!(text.parse::<Url>().unwrap().to_string(), canonical);
    }
    for text in ["", "a", "/a", "a.example/b", "ftp://a/", "http:///a"] {
        text.parse::<Url>().unwrap_err();
    }
    header_field("no colon").unwrap_err();
    header_field("bad name: x").unwrap_err();
}

/// Where nobody takes the request, those are named that may not have the host.
#[test]
fn who_is_refused_the_host_is_named() {
    let route = |namespace: &str, name: &str, host: &str| {
        format!(
            "---\napiVersion: ferrix.com/v1\nkind: IngressRoute\n\
             metadata: {{name: {name}, namespace: {namespace}}}\n\
             spec: {{entrypoints: [web, websecure], tls: c, route: {{host: {host}, rules: \
             [{{matches: Path(`/{name}`), service: {{name: s, port: 80}}}}]}}}}\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let text = route("shop", "shop", "shop.example") + &route("team-a", "pay", "'*.example'");
    std::fs::write(folder.path().join("routes.yaml"), text).unwrap();
    let settings = Settings::parse(
        "settings",
        "hosts: {allowed: [{namespaces: [shop], hosts: [shop.example]}]}",
    )
    .unwrap();
    let control = crate::program::control_settings(&settings).unwrap();
    let (table, report) = ferrix_control::files::load(folder.path(), &control).unwrap();
    let explained = |url: &str| {
        let question = Question::get(url.parse().unwrap());
        explain(&settings, &table, &report, &question).unwrap()
    };
    let why = "\nNot by IngressRoute team-a/pay: not served: `hosts.allowed` of the settings gives \
               *.example to no namespace, and to namespace team-a none";
    for url in [
        "http://shop.example/pay",
        "http://www.example/pay",
        "https://www.example/pay",
    ] {
        let text = explained(url);
        assert!(text.contains(why), "{url}: {text}");
    }
    // Who gets an answer, or asks for another host, is not told.
    for url in ["http://shop.example/shop", "http://other.test/pay"] {
        let text = explained(url);
        assert!(!text.contains("Not by"), "{url}: {text}");
    }
}
