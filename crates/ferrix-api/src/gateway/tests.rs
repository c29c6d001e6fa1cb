use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

/// Each sample has every field that the kind's definition has in the experimental channel of release 1.6.3.
#[test]
fn nothing_of_an_object_is_lost() {
    let samples = [
        sample::<BackendTlsPolicy>(include_str!("tests/backendtlspolicy.yaml")),
        sample::<BackendTrafficPolicy>(include_str!("tests/backendtrafficpolicy.yaml")),
        sample::<Gateway>(include_str!("tests/gateway.yaml")),
        sample::<GatewayClass>(include_str!("tests/gatewayclass.yaml")),
        sample::<GrpcRoute>(include_str!("tests/grpcroute.yaml")),
        sample::<HttpRoute>(include_str!("tests/httproute.yaml")),
        sample::<ListenerSet>(include_str!("tests/listenerset.yaml")),
        sample::<TcpRoute>(include_str!("tests/tcproute.yaml")),
        sample::<TlsRoute>(include_str!("tests/tlsroute.yaml")),
        sample::<UdpRoute>(include_str!("tests/udproute.yaml")),
    ];
    for (written, read) in &samples {
        assert_eq!(written, read, "{}", written["kind"]);
    }
    let mut kinds = samples
        .map(|(written, _)| written["kind"].to_string())
        .to_vec();
    kinds.dedup();
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}

fn sample<T: DeserializeOwned + Serialize>(yaml: &str) -> (Value, Value) {
    let written: Value = serde_yaml_ng::from_str(yaml).expect("YAML");
    let read: T = serde_json::from_value(written.clone())
        .unwrap_or_else(|error| panic!("{}: {error}", written["kind"]));
    (written, serde_json::to_value(read).expect("JSON"))
}

#[test]
fn absent_fields_mean_what_the_api_server_would_fill_in() {
    let filled = |spec| {
        let route: HttpRoute = serde_json::from_value(json!({ "spec": spec })).expect("a route");
        serde_json::to_value(route.spec).expect("JSON")
    };
    let any = json!({ "path": { "type": "PathPrefix", "value": "/" } });
    let cases = [
        (json!({}), json!({ "rules": [{ "matches": [any] }] })),
        (
            json!({ "rules": [{ "matches": [{ "method": "GET" }] }] }),
            json!({ "rules": [{
                "matches": [{ "method": "GET", "path": { "type": "PathPrefix", "value": "/" } }],
            }] }),
        ),
        (
            json!({ "parentRefs": [{ "name": "a" }], "rules": [] }),
            json!({
                "parentRefs": [{ "group": GROUP, "kind": "Gateway", "name": "a" }],
                "rules": [],
            }),
        ),
        (
            json!({ "rules": [{ "matches": [], "backendRefs": [{ "name": "a", "port": 80 }] }] }),
            json!({ "rules": [{
                "matches": [],
                "backendRefs":
                    [{ "group": "", "kind": "Service", "name": "a", "port": 80, "weight": 1 }],
            }] }),
        ),
    ];
    assert_eq!(cases.len(), 4);
    for (spec, expected) in cases {
        assert_eq!(filled(spec.clone()), expected, "{spec}");
    }
}

#[test]
fn listeners_take_routes_of_their_namespace_and_no_listener_sets_unless_told() {
    let gateway: Gateway = serde_json::from_value(json!({ "spec": {
        "gatewayClassName": "ferrix",
        "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
    } }))
    .expect("a Gateway");
    assert_eq!(
        gateway.spec.listeners[0].allowed_routes.namespaces.from,
        "Same"
    );
    assert_eq!(gateway.spec.allowed_listeners.namespaces.from, "None");
}

#[test]
fn an_unknown_value_or_field_costs_nothing() {
    let route: HttpRoute = serde_json::from_value(json!({ "spec": {
        "later": true,
        "rules": [{ "filters": [{ "type": "Later", "later": {} }] }],
    } }))
    .expect("a route");
    assert_eq!(route.spec.rules[0].filters[0].kind, "Later");
}
