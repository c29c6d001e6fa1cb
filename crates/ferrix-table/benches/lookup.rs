//! One look-up among more and more routes. The time must not grow with their number.

use std::{hint::black_box, net::Ipv4Addr, sync::Arc};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ferrix_table::{
    Request,
    object::{Key, Kind},
    path::{self, PathOptions},
    rule_set::RuleSet,
    rules::{Action, HostPattern, Route, Rule, Split},
    weight::Weight,
};
use http::{HeaderMap, Method};

criterion_group!(benches, lookup, canonical);
criterion_main!(benches);

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

fn lookup(criterion: &mut Criterion) {
    // Every route has a host of its own.
    let hosts = |number| {
        rule(
            number,
            &format!("app-{number}.example.com"),
            "PathPrefix(`/api`)",
        )
    };
    // All routes share one host.
    let paths = |number| {
        let matches = format!("PathPrefix(`/team-{}/service-{number}/`)", number % 10);
        rule(number, "example.com", &matches)
    };
    // The same in Traefik's way, with the host in the expression.
    let expressions = |number| {
        let matches = format!("Host(`app-{number}.example.com`) && PathPrefix(`/api`)");
        Rule {
            host: HostPattern::Any,
            ..rule(number, "", &matches)
        }
    };
    let shapes: [(&str, &dyn Fn(usize) -> Rule); 3] = [
        ("hosts", &hosts),
        ("paths", &paths),
        ("expressions", &expressions),
    ];
    let headers = HeaderMap::new();
    // Ten hosts get all requests: what the index costs. With each route asked in turn, the
    // processor's caches are measured too.
    let groups = shapes
        .iter()
        .flat_map(|shape| [(shape, Some(10)), (shape, None)]);
    for ((shape, rule), asked) in groups {
        let kind = if asked.is_some() {
            "lookup"
        } else {
            "lookup-every-route"
        };
        let mut group = criterion.benchmark_group(format!("{kind}/{shape}"));
        for size in SIZES {
            let rules = RuleSet::new((0..size).map(rule).collect());
            let step = asked.map_or(1, |asked| size / asked);
            let targets: Vec<_> = (0..size).step_by(step).map(|n| target(shape, n)).collect();
            let mut number = 0;
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| {
                    number = (number + 7_919) % targets.len();
                    let (host, path) = &targets[number];
                    let request = request(&headers, host, path);
                    rules
                        .lookup(0, black_box(&request))
                        .expect("every request has a rule")
                        .position
                });
            });
        }
        group.finish();
    }
}

fn canonical(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("canonical");
    for (name, target) in [
        ("plain", "/api/v1/users/12345?page=2&order=name"),
        ("escapes", "/search/caf%C3%A9%20au%20lait?q=1"),
        ("dots", "/a/./b/../c//d"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| path::canonical(black_box(target), &PathOptions::default()));
        });
    }
    group.finish();
}

fn target(shape: &str, number: usize) -> (String, String) {
    match shape {
        "paths" => {
            let path = format!("/team-{}/service-{number}/users/1", number % 10);
            ("example.com".to_owned(), path)
        }
        _ => (
            format!("app-{number}.example.com"),
            "/api/v1/users".to_owned(),
        ),
    }
}

fn request<'a>(headers: &'a HeaderMap, host: &'a str, path: &'a str) -> Request<'a> {
    Request {
        method: &Method::GET,
        host,
        path,
        query: "",
        headers,
        client: Ipv4Addr::LOCALHOST.into(),
    }
}

fn rule(number: usize, host: &str, matches: &str) -> Rule {
    let matches = ferrix_rule::Rule::parse(matches).expect("the rule is valid");
    Rule {
        route: Arc::new(Route {
            key: Key::new(Kind::IngressRoute, "default", format!("route-{number}")),
            generation: 1,
            created: Some(0),
            state: Arc::default(),
        }),
        position: 0,
        host: HostPattern::Exact(host.into()),
        weight: Weight::Priority(matches.shown().len() as i64),
        matches: Some(matches),
        entry_points: [0].into(),
        action: Action::Forward(Split::new(&[(0, 1)]).expect("the service has a weight")),
        policy: None,
        dry_run: None,
    }
}
