use std::sync::Arc;

use ferrix_rule::{Match, PathMatch};
use http::Method;

use crate::{
    certificates::{Certificates, ServerNames},
    rules::{Action, Rule, Split},
    services::{Protocol, Scheme, Service},
    testing::{certificate, rule, service, table},
    weight::{Specificity, Weight},
};

#[test]
fn document() {
    let mut secure = service("b", &[]);
    secure.id.scheme = Scheme::Https;
    secure.protocol = Protocol::Tls {
        server_name: "b.default.svc".into(),
    };
    let mut table = table(
        rules(),
        vec![service("a", &[1, 2]), Service::clone(&secure)],
    );
    table.certificates = Arc::new(Certificates {
        entry_points: vec![
            ServerNames::default(),
            ServerNames {
                exact: [("a.test".into(), certificate("default/a"))].into(),
                wildcard: [("test".into(), certificate("default/b"))].into(),
                ..ServerNames::default()
            },
        ],
        default: Some(certificate("default")),
    });
    let expected = serde_json::json!({
        "generation": 0,
        "entry_points": [
            {"name": "web", "protocol": "http"},
            {"name": "websecure", "protocol": "https"},
        ],
        "rules": [
            {
                "route": "IngressRoute default/r",
                "route_generation": 1,
                "position": 0,
                "host": "*.a.test",
                "matches": "PathPrefix(`/`)",
                "priority": 15,
                "entry_points": ["web", "websecure"],
                "action": {"forward": [
                    {"service": "default/a:80", "weight": 2},
                    {"service": "default/b:80", "weight": 1},
                ]},
            },
            {
                "route": "IngressRoute default/s",
                "route_generation": 1,
                "position": 0,
                "priority": 0,
                "entry_points": ["web"],
                "action": {"unresolved": "no Service default/c"},
            },
            {
                "route": "IngressRoute default/t",
                "route_generation": 1,
                "position": 0,
                "priority": 0,
                "entry_points": ["web"],
                "action": "unavailable",
            },
        ],
        "services": [
            {
                "service": "default/a:80",
                "scheme": "http",
                "endpoints": ["10.0.0.1:1", "10.0.0.1:2"],
            },
            {
                "service": "default/b:80",
                "scheme": "https",
                "server_name": "b.default.svc",
                "endpoints": [],
            },
        ],
        "certificates": [
            {"entry_point": "websecure", "name": "*.test", "id": "default/b", "not_after": 4102444800_i64},
            {"entry_point": "websecure", "name": "a.test", "id": "default/a", "not_after": 4102444800_i64},
            {"id": "default", "not_after": 4102444800_i64},
        ],
    });
    assert_eq!(serde_json::to_value(table.dump()).unwrap(), expected);
}

fn rules() -> Vec<Rule> {
    vec![
        Rule {
            entry_points: [0, 1].into(),
            action: Action::Forward(Split::new(&[(0, 2), (1, 1)]).unwrap()),
            ..rule("r", "*.a.test", "PathPrefix(`/`)")
        },
        Rule {
            action: Action::Unresolved("no Service default/c".into()),
            ..rule("s", "*", "")
        },
        Rule {
            action: Action::Unavailable,
            ..rule("t", "*", "")
        },
    ]
}

#[test]
fn failing_endpoints() {
    let service = service("a", &[1, 2, 3]);
    service.endpoints[1].state.backoff.fail(0);
    service.endpoints[1].state.backoff.fail(1_000);
    let _probe = service.endpoints[2].state.suspect();
    let table = table(vec![], vec![service]);
    let document = serde_json::to_value(table.dump()).unwrap();
    let expected = serde_json::json!([
        {"endpoint": "10.0.0.1:2", "failures": 2},
        {"endpoint": "10.0.0.1:3", "failures": 0},
    ]);
    assert_eq!(document["services"][0]["failing"], expected);
}

#[test]
fn a_rule_of_fields() {
    let fields = Match {
        path: Some(PathMatch::Prefix("/a/".to_owned())),
        method: Some(Method::GET),
        ..Match::default()
    };
    let rule = Rule {
        matches: ferrix_rule::Rule::of(&fields).unwrap(),
        weight: Weight::Specificity(Specificity::from(&fields)),
        ..rule("r", "a.test", "")
    };
    let table = table(vec![rule], vec![]);
    let document = serde_json::to_value(table.dump()).unwrap();
    let rule = document["rules"][0].as_object().unwrap();
    assert_eq!(rule["matches"], "path prefix `/a`, method `GET`");
    let specificity = serde_json::json!({
        "path": {"prefix": 2},
        "method": true,
        "headers": 0,
        "query": 0,
    });
    assert_eq!(rule["specificity"], specificity);
    assert!(!rule.contains_key("priority"), "{rule:?}");
}
