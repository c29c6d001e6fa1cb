//! Ten thousand routes: a whole translation with its publication, and changes of one object each.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ferrix_control::{
    Compiler,
    decode::{self, Decoded, Strictness},
    objects::{Key, Kind, Origin},
    settings::Settings,
    translate,
    world::{Change, World},
};
use ferrix_table::{publish, table::EntryPoint};
use serde_json::{Value, json};

const ROUTES: usize = 10_000;

fn change(value: &Value) -> Change {
    match decode::decode(value, Strictness::Api) {
        Ok(Decoded::Object { object, .. }) => Change::Apply {
            object,
            origin: Origin::Api,
            notes: Vec::new(),
        },
        other => panic!("{other:?}"),
    }
}

/// Which host a route is for.
type Host = fn(usize) -> String;

/// Four routes have a host each.
const SOME: Host = |number| format!("host-{}.example.com", number / 4);
const EACH: Host = |number| format!("host-{number}.example.com");
const ONE: Host = |_| "example.com".to_owned();

fn route(number: usize, host: Host) -> Value {
    json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": {
            "name": format!("route-{number}"), "namespace": "default", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": { "route": {
            "host": host(number),
            "rules": [{
                "matches": format!("PathPrefix(`/app-{number}`) && Method(`GET`)"),
                "service": { "name": format!("service-{number}"), "port": "http" },
            }],
        } },
    })
}

fn service(number: usize, port: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": format!("service-{number}"), "namespace": "default" },
        "spec": { "ports": [{ "name": "http", "port": port, "targetPort": 8080 }] },
    })
}

fn slice(number: usize, version: usize) -> Value {
    let address = |endpoint: usize| {
        json!({
            "addresses": [format!(
                "10.{}.{}.{endpoint}", number / 250 % 250 + version % 2, number % 250,
            )],
            "conditions": { "ready": true },
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("service-{number}-a"), "namespace": "default",
            "labels": { "kubernetes.io/service-name": format!("service-{number}") },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080 }],
        "endpoints": [address(1), address(2), address(3)],
    })
}

fn grant(version: usize) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ReferenceGrant",
        "metadata": { "name": "grant", "namespace": "default" },
        "spec": {
            "from": [{
                "group": "ferrix.com", "kind": "IngressRoute",
                "namespace": format!("namespace-{version}"),
            }],
            "to": [{ "group": "", "kind": "Service" }],
        },
    })
}

fn objects(host: Host) -> Vec<Change> {
    (0..ROUTES)
        .flat_map(|number| [route(number, host), service(number, 80), slice(number, 0)])
        .map(|value| change(&value))
        .collect()
}

fn settings() -> Settings {
    Settings::new(vec![EntryPoint::http("web")])
}

fn compiler(host: Host) -> Compiler {
    let (publisher, _) = publish::channel();
    let mut compiler = Compiler::new(settings(), publisher);
    compiler.apply(objects(host));
    compiler.loaded();
    compiler
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("10000 routes");
    group.sample_size(10);

    group.bench_function("from objects to the first table", |bencher| {
        bencher.iter_batched(
            || {
                let (publisher, _) = publish::channel();
                (Compiler::new(settings(), publisher), objects(SOME))
            },
            |(mut compiler, objects)| {
                compiler.apply(objects);
                compiler.loaded();
                compiler
            },
            BatchSize::PerIteration,
        );
    });
    for (name, host) in [("translate", SOME), ("translate, one host", ONE)] {
        let mut world = World::new();
        for object in objects(host) {
            world.take(object);
        }
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(translate(&world, &settings())));
        });
    }
    group.finish();

    let hosts: [(&str, Host); 2] = [("10000 hosts", EACH), ("one host of 10000 routes", ONE)];
    for (name, host) in hosts {
        changes(criterion, name, host);
    }
}

/// One change to 10,000 routes.
fn changes(criterion: &mut Criterion, name: &str, host: Host) {
    let mut compiler = compiler(host);
    let mut group = criterion.benchmark_group(name);
    group.sample_size(50);
    let mut version = 0;
    let mut measure = |name: &str, change_to: &dyn Fn(usize) -> Value| {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    version += 1;
                    change(&change_to(version))
                },
                |change| compiler.apply([change]),
                BatchSize::PerIteration,
            );
        });
    };
    measure("one changed route", &|version| {
        let mut route = route(77, host);
        route["spec"]["route"]["rules"][0]["priority"] = json!(version);
        route
    });
    measure("one new route", &|version| {
        let mut route = route(ROUTES + version, host);
        let service = json!(format!("service-{}", version % ROUTES));
        route["spec"]["route"]["rules"][0]["service"]["name"] = service;
        route
    });
    measure(
        "one new Service and a route to it",
        &|version| match version % 2 {
            0 => service(ROUTES + version, 80),
            _ => {
                let mut route = route(2 * ROUTES + version, host);
                let service = json!(format!("service-{}", ROUTES + version - 1));
                route["spec"]["route"]["rules"][0]["service"]["name"] = service;
                route
            }
        },
    );
    measure("one changed EndpointSlice", &|version| slice(77, version));
    measure("one changed Service", &|version| {
        service(77, 80 + version % 2)
    });
    measure("one changed ReferenceGrant", &grant);
    group.finish();

    let mut group = criterion.benchmark_group(name);
    group.sample_size(50);
    let mut number = 100;
    group.bench_function("one removed route", |bencher| {
        bencher.iter_batched(
            || {
                number += 1;
                removal(number)
            },
            |change| compiler.apply([change]),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn removal(number: usize) -> Change {
    Change::Remove(Key::new(
        Kind::IngressRoute,
        "default",
        format!("route-{number}"),
    ))
}

criterion_group!(all, benches);
criterion_main!(all);
