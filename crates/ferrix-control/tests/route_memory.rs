//! How much of the heap a route takes.

use allocation_counter::measure;
use ferrix_control::{
    Compiler, Settings,
    decode::{Decoded, Strictness, decode},
    objects::Origin,
    world::Change,
};
use ferrix_table::{publish, table::EntryPoint};
use serde_json::{Value, json};

const ROUTES: i64 = 1_000;

/// Bytes that are live for a route, its Service, and its EndpointSlice of one endpoint: what the world
/// keeps of the three, and what they are in the table and in the report. Without what the allocator
/// rounds up.
const MOST: i64 = 2_275;

#[test]
fn a_route_takes_little_memory() {
    let (publisher, table) = publish::channel();
    let settings = Settings::new(vec![EntryPoint::http("web")]);
    let mut compiler = Compiler::new(settings, publisher);
    // What is made once, such as of schemas, is no route's.
    let _ = documents(ROUTES).each_ref().map(change);
    let live = measure(|| {
        for number in 0..ROUTES {
            compiler.apply(documents(number).iter().map(change));
        }
        compiler.loaded();
    });
    assert_eq!(table.load().rules.len() as i64, ROUTES);
    assert_eq!(compiler.reports().borrow().entries().len() as i64, ROUTES);
    let each = live.bytes_current / ROUTES;
    assert!(each <= MOST, "{each} bytes for each route");
}

/// As an API server tells of them.
fn documents(number: i64) -> [Value; 3] {
    let name = format!("route-{number}");
    let metadata = json!({
        "name": name,
        "namespace": "many-routes",
        "uid": format!("0c7b3f4e-0000-4000-8000-{number:012}"),
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"kubernetes.io/service-name": name},
    });
    let rule = json!({"matches": "PathPrefix(`/`)", "service": {"name": name, "port": 80}});
    let host = format!("{name}.example.com");
    let address = format!("10.0.{}.{}", number / 256, number % 256);
    [
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"port": 80}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata,
            "addressType": "IPv4",
            "ports": [{"port": 8080}],
            "endpoints": [{"addresses": [address]}],
        }),
        json!({
            "apiVersion": "ferrix.com/v1",
            "kind": "IngressRoute",
            "metadata": metadata,
            "spec": {"entrypoint": "web", "route": {"host": host, "rules": [rule]}},
        }),
    ]
}

fn change(document: &Value) -> Change {
    let Ok(Decoded::Object { object, .. }) = decode(document, Strictness::Api) else {
        panic!("{document} is a good object");
    };
    Change::Apply {
        object,
        origin: Origin::Api,
        notes: Vec::new(),
    }
}
