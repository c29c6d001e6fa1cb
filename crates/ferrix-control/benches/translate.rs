//! Ten thousand routes: a whole translation with its publication, and one changed EndpointSlice.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ferrix_control::{
    Compiler,
    decode::{self, Decoded, Strictness},
    objects::Origin,
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

fn route(number: usize) -> Value {
    json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": {
            "name": format!("route-{number}"), "namespace": "default", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": { "route": {
            "host": format!("host-{}.example.com", number / 4),
            "rules": [{
                "matches": format!("PathPrefix(`/app-{number}`) && Method(`GET`)"),
                "service": { "name": format!("service-{number}"), "port": "http" },
            }],
        } },
    })
}

fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": format!("service-{number}"), "namespace": "default" },
        "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
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

fn objects() -> Vec<Change> {
    (0..ROUTES)
        .flat_map(|number| [route(number), service(number), slice(number, 0)])
        .map(|value| change(&value))
        .collect()
}

fn settings() -> Settings {
    Settings::new(vec![EntryPoint {
        name: "web".to_owned(),
        secure: false,
    }])
}

fn compiler() -> Compiler {
    let (publisher, _) = publish::channel();
    let mut compiler = Compiler::new(settings(), publisher);
    compiler.apply(objects());
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
                (Compiler::new(settings(), publisher), objects())
            },
            |(mut compiler, objects)| {
                compiler.apply(objects);
                compiler.loaded();
                compiler
            },
            BatchSize::PerIteration,
        );
    });

    let mut world = World::new();
    for object in objects() {
        world.take(object);
    }
    group.bench_function("translate", |bencher| {
        bencher.iter(|| black_box(translate(&world, &settings())));
    });

    let mut compiler = compiler();
    let mut version = 0;
    group.bench_function("one changed route", |bencher| {
        bencher.iter_batched(
            || {
                version += 1;
                let mut route = route(77);
                route["spec"]["route"]["rules"][0]["priority"] = json!(version);
                change(&route)
            },
            |change| compiler.apply([change]),
            BatchSize::PerIteration,
        );
    });

    group.sample_size(100);
    group.bench_function("one changed EndpointSlice", |bencher| {
        bencher.iter_batched(
            || {
                version += 1;
                change(&slice(77, version))
            },
            |change| compiler.apply([change]),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
