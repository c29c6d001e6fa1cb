use serde_json::json;

use super::*;

fn error(value: Value) -> String {
    match decode(&value, Strictness::File) {
        Ok(decoded) => panic!("{decoded:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_api_server_is_trusted_with_the_schema() {
    let route = json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": { "name": "a", "namespace": "b", "generation": 3 },
        "spec": {
            "newer": true,
            "route": { "rules": [{ "service": { "name": "api", "port": 80 } }] },
        },
    });
    let Ok(Decoded::Object { object, .. }) = decode(&route, Strictness::Api) else {
        panic!("not decoded")
    };
    assert_eq!(object.key().to_string(), "IngressRoute b/a");
    assert!(error(route).starts_with("spec.newer: unknown field, expected `entrypoint`"));
}

#[test]
fn a_wrong_type_from_the_api_server_is_an_error_with_its_generation() {
    let route = json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": { "name": "a", "namespace": "b", "generation": 3 },
        "spec": { "route": { "rules": [{ "service": { "name": "api", "port": [] } }] } },
    });
    let error = decode(&route, Strictness::Api).expect_err("wrong");
    assert_eq!(error.generation, Some(3));
    assert_eq!(error.key, Some(Key::new(Kind::IngressRoute, "b", "a")));
    assert_eq!(error.faults[0].field, "spec.route.rules[0].service.port");
}

#[test]
fn nothing_of_a_secret_is_repeated() {
    let secret = |data: Value| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" }, "data": data,
        })
    };
    for data in [
        json!("top secret"),
        json!({ "tls.key": "top secret" }),
        json!({ "tls.key": ["top secret"] }),
        json!(["top secret"]),
    ] {
        let error = error(secret(data));
        assert!(error.contains("the value is not shown"), "{error}");
        assert!(!error.contains("top"), "{error}");
    }
}

#[test]
fn namespaces_have_no_namespace() {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "a" },
    });
    let Ok(Decoded::Object { object, .. }) = decode(&namespace, Strictness::File) else {
        panic!("not decoded")
    };
    assert_eq!(object.key().to_string(), "Namespace a");
}

#[test]
fn names() {
    for good in ["a", "0", "a-b", "a.b", "a--b", &"a".repeat(253)] {
        assert!(is_subdomain(good), "{good}");
    }
    for bad in [
        "",
        "-",
        "a-",
        "-a",
        ".a",
        "a.",
        "a..b",
        "A",
        "a_b",
        "a b",
        &"a".repeat(254),
    ] {
        assert!(!is_subdomain(bad), "{bad}");
    }
    assert!(is_label(&"a".repeat(63)));
    assert!(!is_label(&"a".repeat(64)));
}

#[test]
fn lists() {
    for kind in ["List", "ServiceList", "IngressRouteList"] {
        assert!(is_list(&json!({ "kind": kind, "items": [] })), "{kind}");
    }
    for other in [
        json!({ "kind": "List" }),
        json!({ "kind": "PodList", "items": [] }),
        json!({ "kind": "AccessList", "items": [] }),
        json!([]),
    ] {
        assert!(!is_list(&other), "{other}");
    }
}

#[test]
fn objects_of_the_gateway_api_are_read_in_every_version() {
    let spec = |kind| match kind {
        Kind::BackendTlsPolicy => json!({"targetRefs": [], "validation": {"hostname": "a"}}),
        Kind::XBackendTrafficPolicy => json!({"targetRefs": []}),
        Kind::Gateway => json!({"gatewayClassName": "ferrix", "listeners": []}),
        Kind::GatewayClass => json!({"controllerName": "ferrix.com/gateway-controller"}),
        Kind::ListenerSet => json!({"parentRef": {"name": "a"}, "listeners": []}),
        _ => json!({"rules": []}),
    };
    let kinds = Kind::ALL.into_iter();
    let kinds = kinds.filter(|it| objects::group(*it).starts_with("gateway.networking."));
    let mut read = 0;
    for kind in kinds.filter(|it| *it != Kind::ReferenceGrant) {
        for version in objects::versions(kind) {
            let mut value = json!({
                "apiVersion": objects::api_version(kind, version), "kind": kind.as_str(),
                "metadata": { "name": "a" }, "spec": spec(kind),
            });
            let decoded = decode(&value, Strictness::File);
            let Ok(Decoded::Object { object, .. }) = decoded else {
                panic!("{kind} {version}: {decoded:?}")
            };
            assert_eq!(object.kind(), kind);
            value["spec"]["misspelt"] = json!(true);
            assert_eq!(error(value.clone()), "spec.misspelt: unknown field");
            assert!(decode(&value, Strictness::Api).is_ok(), "{kind} {version}");
            read += 1;
        }
    }
    assert_eq!(read, 19);
}

/// What a repair has put in place of a mistake is no mistake of the author.
#[test]
fn nothing_is_said_of_what_takes_the_place_of_a_mistake() {
    let rule = |filter: Value| {
        let rule = json!({ "service": { "name": "a", "port": 80 }, "filters": [filter] });
        json!({ "route": { "rules": [rule] } })
    };
    let cases = [
        (
            "BackendPolicy",
            json!({ "targetRefs": [{ "name": "a" }] }),
            &[
                "spec.targetRefs[0].group: is missing",
                "spec.targetRefs[0].kind: is missing",
            ][..],
        ),
        (
            "Filter",
            json!({
                "targetRefs": [{ "group": "", "kind": 1, "name": "a" }],
                "filters": [{ "requestHeaderModifier": { "remove": ["a"] } }],
            }),
            &["spec.targetRefs[0].kind: expected a text, found `1`"],
        ),
        (
            "Filter",
            json!({
                "targetRefs": [{ "group": "", "kind": "Pod", "name": 1 }],
                "filters": [{ "requestHeaderModifier": { "remove": ["a"] } }],
            }),
            &[
                "spec.targetRefs[0].name: expected a text, found `1`",
                "spec.targetRefs[0]: a Pod of group `` is nothing to attach to",
            ],
        ),
        (
            "IngressRoute",
            rule(json!({ "urlRewrite": { "path": { "addPrefix": "/a" } } })),
            &["spec.route.rules[0].filters[0].urlRewrite.path.type: is missing"],
        ),
        (
            "IngressRoute",
            rule(json!({ "urlRewrite": { "path": {
                "type": "ReplaceRegexMatch", "replaceRegexMatch": { "substitution": "/$1" },
            } } })),
            &[
                "spec.route.rules[0].filters[0].urlRewrite.path.replaceRegexMatch.pattern: is missing",
            ],
        ),
    ];
    let count = cases.len();
    for (kind, spec, expected) in cases {
        let object = json!({
            "apiVersion": "ferrix.com/v1", "kind": kind, "metadata": { "name": "a" }, "spec": spec,
        });
        let error = decode(&object, Strictness::File).expect_err("wrong");
        let faults: Vec<_> = error.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), expected.len(), "{object}: {faults:?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{fault}, not {expected}");
        }
    }
    assert_eq!(count, 5);
}
