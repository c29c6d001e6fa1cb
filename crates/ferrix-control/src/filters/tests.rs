use std::sync::LazyLock;

use ferrix_api::ingressroute::RouteFilter;
use ferrix_table::object::Kind;
use serde_json::{Value, json};

use super::*;

fn place(list: List) -> Place<'static> {
    static OBJECT: LazyLock<Key> = LazyLock::new(|| Key::new(Kind::HttpRoute, "default", "r"));
    Place {
        list,
        object: &OBJECT,
        prefix: Some("/app"),
        purge: None,
    }
}

fn compiled(filters: Value, list: List) -> Result<Box<[Filter<DraftService>]>, Vec<String>> {
    let filters: Vec<HttpRouteFilter> = serde_json::from_value(filters).unwrap();
    let texts = |findings: Vec<Finding>| {
        let text = |it: Finding| format!("{} {}: {}", it.reason.as_str(), it.field, it.message);
        findings.into_iter().map(text).collect::<Vec<_>>()
    };
    let lists = compile(&filters, place(list)).map_err(texts)?;
    Ok(own(&lists))
}

/// The filters that are written in the lists themselves.
fn own(lists: &[DraftFilters]) -> Box<[Filter<DraftService>]> {
    let own = lists.iter().filter_map(DraftFilters::own);
    own.flat_map(|filters| filters.iter().cloned()).collect()
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
            "InvalidSpec .requestHeaderModifier.remove[0]: `a` is named more than once",
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
            auth(json!({"protocol": "FTP", "backendRef": service})),
            "UnsupportedValue .externalAuth.protocol: `FTP` is unknown",
        ),
        (
            auth(json!({
                "protocol": "GRPC", "backendRef": service, "grpc": {"allowedHeaders": ["a b"]},
            })),
            "InvalidSpec .externalAuth.grpc.allowedHeaders[0]: `a b` is no name",
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
    assert_eq!(cases.len(), 29);
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

fn limit(filter: &RouteFilter) -> Written<'_> {
    let rate_limit = filter.rate_limit.as_ref().map(Written::RateLimit);
    let concurrency = filter.concurrency.as_ref().map(Written::Concurrency);
    let ip_filter = filter.ip_filter.as_ref().map(Written::IpFilter);
    let body_size = filter.body_size.as_ref().map(Written::BodySize);
    let bandwidth = filter.bandwidth.as_ref().map(Written::Bandwidth);
    let any = rate_limit.or(concurrency).or(ip_filter).or(body_size);
    any.or(bandwidth).unwrap()
}

/// As a list of an IngressRoute has them.
fn limits(filters: &[Value]) -> Result<Box<[Filter<DraftService>]>, Vec<Finding>> {
    let filters: Vec<RouteFilter> = serde_json::from_value(json!(filters)).unwrap();
    let items = filters.iter().map(|filter| Item::Own(limit(filter)));
    let items: Vec<_> = items.enumerate().collect();
    let mut faults = Faults::default();
    let lists = compile_items(&items, place(List::RouteRule(2)), &mut faults);
    faults.or(own(&lists))
}

#[test]
fn what_is_wrong_with_limits_is_said() {
    let cases = [
        (
            json!({"ipFilter": {}}),
            "ipFilter: expected `allow`, `deny`",
        ),
        (
            json!({"ipFilter": {"deny": ["10.0.0.0/8/8"]}}),
            "ipFilter.deny[0]: `10.0.0.0/8/8` is no",
        ),
        (
            json!({"ipFilter": {"allow": ["::ffff:10.0.0.0/104"], "deny": ["10.0.0.0/8"]}}),
            "ipFilter.deny: 10.0.0.0/8 is in `allow`",
        ),
        (
            json!({"rateLimit": {"requests": 0}}),
            "rateLimit.requests: expected at least 1",
        ),
        (
            json!({"rateLimit": {"requests": 1, "burst": 0}}),
            "rateLimit.burst: expected at least 1",
        ),
        (
            json!({"rateLimit": {"requests": 1, "per": "0s"}}),
            "rateLimit.per: expected a millisecond",
        ),
        (
            json!({"rateLimit": {"requests": 1, "per": "soon"}}),
            "rateLimit.per: `soon` is no duration",
        ),
        (
            json!({"rateLimit": {"requests": 1, "by": {}}}),
            "rateLimit.by: expected exactly one of",
        ),
        (
            json!({"rateLimit": {"requests": 1, "by": {"route": {}, "header": "X-A"}}}),
            "rateLimit.by: expected exactly one of",
        ),
        (
            json!({"rateLimit": {"requests": 1, "by": {"client": {"ipv6Prefix": 8}}}}),
            "rateLimit.by.client.ipv6Prefix: 8 bits are no client",
        ),
        (
            json!({"concurrency": {"requests": 1, "by": {"cookie": "a;b"}}}),
            "concurrency.by.cookie: `a;b` is no name of a cookie",
        ),
        (
            json!({"concurrency": {"requests": 0}}),
            "concurrency.requests: expected at least 1",
        ),
        (
            json!({"bodySize": {"max": "much"}}),
            "bodySize.max: `much` is no size",
        ),
        (
            json!({"bandwidth": {"by": {"route": {}}}}),
            "bandwidth: expected `request`, `response` or both",
        ),
        (
            json!({"bandwidth": {"response": {"bytesPerSecond": "fast"}}}),
            "bandwidth.response.bytesPerSecond: `fast` is no size",
        ),
        (
            json!({"bandwidth": {"request": {"bytesPerSecond": "999B", "burst": "1MB"}}}),
            "bandwidth.request.bytesPerSecond: expected at least `1KB`",
        ),
        (
            json!({"bandwidth": {"request": {"bytesPerSecond": "1KB"}, "by": {"cookie": ""}}}),
            "bandwidth.by.cookie: `` is no name of a cookie",
        ),
    ];
    for (filter, expected) in &cases {
        let faults = limits(std::slice::from_ref(filter)).expect_err("a fault");
        let found: Vec<_> = faults
            .iter()
            .map(|it| format!("{}: {}", it.field, it.message))
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        let expected = format!("spec.route.rules[2].filters[0].{expected}");
        assert!(found[0].starts_with(&expected), "{found:?} {expected}");
    }
    assert_eq!(cases.len(), 17);
}

#[test]
fn a_filter_with_state_is_known_by_its_object_and_its_place() {
    let rate_limit = |requests: u32| json!({"rateLimit": {"requests": requests}});
    let others = [
        json!({"bodySize": {"max": "1MB"}}),
        json!({"concurrency": {"requests": 1}}),
    ];
    let [body_size, concurrency] = &others;
    let ids = |filters: &[Value]| -> Vec<String> {
        let compiled = limits(filters).unwrap();
        let ids = compiled.iter().filter_map(|filter| match filter {
            Filter::RateLimit(limit) => Some(limit.state.id()),
            Filter::Concurrency(limit) => Some(limit.state.id()),
            _ => None,
        });
        ids.map(|id| id.to_string()).collect()
    };
    let id = |place: &str| format!("HTTPRoute default/r: rules[2].filters[{place}");
    let first = ids(&[rate_limit(1), rate_limit(2)]);
    assert_eq!(first, [id("0].rateLimit"), id("1].rateLimit")]);
    // Others come, and the limits are changed.
    let later = [
        body_size.clone(),
        rate_limit(3),
        concurrency.clone(),
        rate_limit(4),
    ];
    assert_eq!(
        ids(&later),
        [id("0].rateLimit"), id("0].concurrency"), id("1].rateLimit")]
    );
}

#[test]
fn limits_that_say_little() {
    let compiled = limits(&[json!({"rateLimit": {"requests": 7}})]).unwrap();
    let said = compiled[0].with_service(|_| "none").to_string();
    assert_eq!(said, "rate limit: 7 in 1s by client, 7 at once");
    let compiled = limits(&[
        json!({"bandwidth": {"response": {"bytesPerSecond": "1MB"}, "by": {"client": {}}}}),
        json!({"bandwidth": {"request": {"bytesPerSecond": "1KB", "burst": "1MB"}}}),
    ]);
    let compiled = compiled.unwrap();
    let said = |nth: usize| compiled[nth].with_service(|_| "none").to_string();
    let first = "bandwidth: responses 1000000 bytes a second, 100000 at once; shared by client";
    assert_eq!(said(0), first);
    assert_eq!(
        said(1),
        "bandwidth: requests 1000 bytes a second, 1000000 at once"
    );
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

#[test]
fn a_filter_that_is_named_parts_those_around_it() {
    let named = |kind: &str| {
        let reference = json!({"group": "ferrix.com", "kind": kind, "name": "common"});
        json!({"type": "ExtensionRef", "extensionRef": reference})
    };
    let own = headers(json!({"set": [{"name": "A", "value": "x"}]}));
    let mirror = mirror(json!({"backendRef": {"name": "a", "port": 80}}));
    let filters = json!([own, mirror, named("Filter"), named("Filter"), mirror]);
    let filters: Vec<HttpRouteFilter> = serde_json::from_value(filters).unwrap();
    let lists = compile(&filters, place(List::GrpcRule(2))).unwrap();
    let shown = |list: &DraftFilters| match list {
        DraftFilters::Own(field, filters) => format!("{field}: {}", filters.len()),
        DraftFilters::Named(FilterReference { field, filter })
        | DraftFilters::Without(FilterReference { field, filter }) => format!("{field}: {filter}"),
    };
    let lists: Vec<_> = lists.iter().map(shown).collect();
    assert_eq!(
        lists,
        [
            "spec.rules[2].filters[0]: 2",
            "spec.rules[2].filters[2]: default/common",
            "spec.rules[2].filters[3]: default/common",
            "spec.rules[2].filters[4]: 1",
        ]
    );
    for (filter, list) in [
        (named("Filter"), List::HttpBackend(0, 0)),
        (named("Other"), List::HttpRule(0)),
    ] {
        let faults = compiled(json!([filter]), list).unwrap_err();
        let expected = "UnsupportedValue spec.rules[0]";
        assert!(faults[0].starts_with(expected), "{faults:?}");
    }
}
