use std::sync::LazyLock;

use ferrix_table::object::Kind;
use serde_json::{Value, json};

use super::*;

fn place(list: List) -> Place<'static> {
    static OBJECT: LazyLock<Key> = LazyLock::new(|| Key::new(Kind::HttpRoute, "default", "r"));
    Place {
        list,
        object: &OBJECT,
        prefix: Some("/app"),
    }
}

fn compiled(filters: Value, list: List) -> Result<Box<[Filter<DraftService>]>, Vec<String>> {
    let filters: Vec<HttpRouteFilter> = serde_json::from_value(filters).unwrap();
    let texts = |findings: Vec<Finding>| {
        let text = |it: Finding| format!("{} {}: {}", it.reason.as_str(), it.field, it.message);
        findings.into_iter().map(text).collect()
    };
    compile(&filters, place(list)).map_err(texts)
}

fn headers(changes: Value) -> Value {
    json!({"type": "RequestHeaderModifier", "requestHeaderModifier": changes})
}

fn redirect(redirect: Value) -> Value {
    json!({"type": "RequestRedirect", "requestRedirect": redirect})
}

fn rewrite(rewrite: Value) -> Value {
    json!({"type": "URLRewrite", "urlRewrite": rewrite})
}

fn cors(cors: Value) -> Value {
    json!({"type": "CORS", "cors": cors})
}

fn mirror(mirror: Value) -> Value {
    json!({"type": "RequestMirror", "requestMirror": mirror})
}

fn auth(auth: Value) -> Value {
    json!({"type": "ExternalAuth", "externalAuth": auth})
}

#[test]
fn what_is_wrong_is_said_with_its_field() {
    let set = |name: &str| headers(json!({"set": [{"name": name, "value": "x"}]}));
    let service = json!({"name": "a", "port": 80});
    let cases = [
        (
            json!({"type": "Wish"}),
            "UnsupportedValue .type: `Wish` is no type",
        ),
        (
            json!({"type": "CORS"}),
            "InvalidSpec : a filter of type CORS needs `cors`",
        ),
        (
            json!({"type": "ExtensionRef", "extensionRef": {"group": "", "kind": "A", "name": "a"}}),
            "UnsupportedValue .extensionRef: ",
        ),
        (
            set("a b"),
            "InvalidSpec .requestHeaderModifier.set[0].name: `a b` is no name",
        ),
        (
            set("Host"),
            "InvalidSpec .requestHeaderModifier.set[0].name: the host is changed by",
        ),
        (
            set("Content-Length"),
            "InvalidSpec .requestHeaderModifier.set[0].name: `Content-L",
        ),
        (
            set("Transfer-encoding"),
            "InvalidSpec .requestHeaderModifier.set[0].name: `Transf",
        ),
        (
            headers(json!({"add": [{"name": "a", "value": "x\r\ny: z"}]})),
            "InvalidSpec .requestHeaderModifier.add[0].value: expected a value of printable",
        ),
        (
            headers(json!({"set": [{"name": "A", "value": "x"}], "remove": ["a"]})),
            "InvalidSpec .requestHeaderModifier.remove[0]: `a` is changed more than once",
        ),
        (
            headers(json!({"remove": ["Connection"]})),
            "InvalidSpec .requestHeaderModifier.remove[0]: `Connection` frames",
        ),
        (
            redirect(json!({"scheme": "ftp"})),
            "UnsupportedValue .requestRedirect.scheme: `ftp` is unknown",
        ),
        (
            redirect(json!({"statusCode": 200})),
            "UnsupportedValue .requestRedirect.statusCode: 200 is no status",
        ),
        (
            redirect(json!({"hostname": "*.a.test"})),
            "InvalidSpec .requestRedirect.hostname: `*.a.test` is no host",
        ),
        (
            redirect(json!({"hostname": "a.test:80"})),
            "InvalidSpec .requestRedirect.hostname: `a.test:80` is no host",
        ),
        (
            redirect(json!({"port": 0})),
            "InvalidSpec .requestRedirect.port: expected a port",
        ),
        (
            rewrite(json!({"path": {"type": "Append"}})),
            "UnsupportedValue .urlRewrite.path.type: `Append` is unknown",
        ),
        (
            rewrite(json!({"path": {"type": "ReplaceFullPath", "replacePrefixMatch": "/a"}})),
            "InvalidSpec .urlRewrite.path: expected `replaceFullPath` or",
        ),
        (
            rewrite(json!({"path": {"type": "ReplaceFullPath", "replaceFullPath": "/../a"}})),
            "InvalidSpec .urlRewrite.path.replaceFullPath: `/../a` is no path",
        ),
        (
            rewrite(json!({"path": {"type": "ReplaceFullPath", "replaceFullPath": "/a?b"}})),
            "InvalidSpec .urlRewrite.path.replaceFullPath: `/a?b` is no path",
        ),
        (
            rewrite(json!({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "a"}})),
            "InvalidSpec .urlRewrite.path.replacePrefixMatch: `a` is no path",
        ),
        (
            cors(json!({"allowOrigins": ["a.test"]})),
            "InvalidSpec .cors.allowOrigins[0]: `a.test` is no origin",
        ),
        (
            cors(json!({"allowOrigins": ["*", "https://*.*.test"]})),
            "InvalidSpec .cors.allowOrigins[1]: `https://*.*.test` is no origin",
        ),
        (
            cors(json!({"allowMethods": ["GET, PUT"]})),
            "InvalidSpec .cors.allowMethods[0]: `GET, PUT` is no name",
        ),
        (
            cors(json!({"maxAge": 0})),
            "InvalidSpec .cors.maxAge: expected a number",
        ),
        (
            mirror(json!({"backendRef": service, "percent": 101})),
            "InvalidSpec .requestMirror.percent: 101 of 100 requests",
        ),
        (
            mirror(json!({"backendRef": service, "percent": 1, "fraction": {"numerator": 1}})),
            "InvalidSpec .requestMirror: give `percent` or `fraction`",
        ),
        (
            auth(json!({"protocol": "GRPC", "backendRef": service})),
            "UnsupportedValue .externalAuth.protocol: gRPC is not served",
        ),
        (
            auth(
                json!({"protocol": "HTTP", "backendRef": service, "forwardBody": {"maxSize": 70_000}}),
            ),
            "InvalidSpec .externalAuth.forwardBody.maxSize: expected at most",
        ),
    ];
    for (filter, expected) in &cases {
        let faults = compiled(json!([filter]), List::HttpRule(3)).expect_err("a fault");
        let expected = expected.replacen(' ', " spec.rules[3].filters[0]", 1);
        assert!(faults[0].starts_with(&expected), "{faults:?} {expected}");
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
    assert_eq!(cases.len(), 28);
}

#[test]
fn lists_that_contradict_themselves() {
    let one = || headers(json!({"remove": ["a"]}));
    let mirrored = || mirror(json!({"backendRef": {"name": "a", "port": 80}}));
    let cases = [
        (
            json!([one(), one()]),
            Some("`requestHeaderModifier` may stand in a list once"),
        ),
        (
            json!([redirect(json!({})), rewrite(json!({}))]),
            Some("exclude each other"),
        ),
        (
            json!([rewrite(json!({})), one(), redirect(json!({}))]),
            Some("exclude each other"),
        ),
        (json!([mirrored(), one(), mirrored()]), None),
    ];
    for (filters, expected) in &cases {
        let faults = compiled(filters.clone(), List::HttpBackend(0, 1)).err();
        match expected {
            None => assert_eq!(faults, None),
            Some(expected) => {
                let faults = faults.expect("a fault");
                assert!(faults[0].starts_with("IncompatibleFilters spec.rules[0].backendRefs[1]"));
                assert!(faults[0].contains(expected), "{faults:?}");
            }
        }
    }
    assert_eq!(cases.len(), 4);
}

#[test]
fn a_grpc_route_has_fewer_filters() {
    for (filter, good) in [
        (headers(json!({"remove": ["a"]})), true),
        (redirect(json!({})), false),
        (rewrite(json!({})), false),
        (cors(json!({})), false),
    ] {
        let compiled = compiled(json!([filter]), List::GrpcRule(0));
        assert_eq!(compiled.is_ok(), good, "{compiled:?}");
    }
}

#[test]
fn a_service_that_can_be_none_costs_its_filter() {
    let reference = |reference: Value| {
        let filter = mirror(json!({"backendRef": reference}));
        let compiled = compiled(json!([filter]), List::HttpRule(1)).unwrap();
        compiled[0].service().unwrap().clone()
    };
    let found = reference(json!({"name": "a", "namespace": "b", "port": 80})).unwrap();
    assert_eq!(found.service.to_string(), "b/a");
    let field = "spec.rules[1].filters[0].requestMirror.backendRef";
    assert_eq!(found.field.to_string(), field);
    let missing = reference(json!({"name": "a"})).unwrap_err();
    assert_eq!(
        (missing.reason, missing.field),
        (Reason::PortNotFound, format!("{field}.port"))
    );
    let bucket = reference(json!({"group": "x", "kind": "Bucket", "name": "a"})).unwrap_err();
    assert_eq!(
        (bucket.reason, bucket.field),
        (Reason::InvalidKind, format!("{field}.kind"))
    );
}

#[test]
fn good_filters_in_the_form_of_the_table() {
    use ferrix_table::filters::{
        cors::{Listed, OriginPattern},
        path_change::PathChange,
    };

    let filters = json!([
        rewrite(json!({
            "hostname": "Inside.Test",
            "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"},
        })),
        cors(json!({
            "allowOrigins": ["HTTPS://A.test:443", "http://*.b.test:8080", "https://*"],
            "allowMethods": ["GET", "PUT"], "allowHeaders": ["*"],
        })),
    ]);
    let compiled = compiled(filters, List::HttpRule(0)).unwrap();
    let Filter::Rewrite(rewrite) = &compiled[0] else {
        panic!("{compiled:?}")
    };
    assert_eq!(rewrite.host.as_deref(), Some("inside.test"));
    let path = PathChange::Prefix {
        matched: "/app".into(),
        replacement: "".into(),
    };
    assert_eq!(rewrite.path, Some(path));
    let Filter::Cors(cors) = &compiled[1] else {
        panic!("{compiled:?}")
    };
    let wildcard = |prefix: &str, suffix: &str| OriginPattern::Wildcard {
        prefix: prefix.into(),
        suffix: suffix.into(),
    };
    let expected = [
        OriginPattern::Exact("https://a.test".into()),
        wildcard("http://", ".b.test:8080"),
        wildcard("https://", ""),
    ];
    assert_eq!(*cors.allow_origins, expected);
    assert_eq!(cors.allow_methods, Listed::These("GET, PUT".into()));
    assert_eq!((&cors.allow_headers, cors.max_age), (&Listed::All, 5));
}
