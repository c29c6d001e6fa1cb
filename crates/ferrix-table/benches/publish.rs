//! What a change of the configuration costs.

use std::{
    hint::black_box,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ferrix_table::{
    Table,
    object::{Key, Kind, ObjectName},
    publish,
    rule_set::RuleSet,
    rules::{Action, HostPattern, Route, Rule, Split},
    services::{Endpoint, Protocol, Scheme, Service, ServiceId},
    shadow::Shadows,
    weight::Weight,
};

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = one_service, whole_table, one_rule
}
criterion_main!(benches);

const SIZE: u32 = 10_000;

/// The endpoints of one service among 10,000 change.
fn one_service(criterion: &mut Criterion) {
    let (mut publisher, _reader) = publish::channel();
    publisher.publish(table());
    let mut number = 0;
    criterion.bench_function("publish/one_service_of_10000", |bencher| {
        bencher.iter(|| {
            number = (number + 7_919) % SIZE;
            let next = publisher.current().with_service(number, service(number));
            publisher.publish(next)
        });
    });
}

/// Everything is built anew, as for a change of rules.
fn whole_table(criterion: &mut Criterion) {
    let (mut publisher, _reader) = publish::channel();
    publisher.publish(table());
    criterion.bench_function("publish/whole_table_of_10000", |bencher| {
        bencher.iter_batched(
            table,
            |table| publisher.publish(table),
            BatchSize::PerIteration,
        );
    });
    criterion.bench_function("build/rules_10000", |bencher| {
        let rules: Vec<_> = (0..SIZE).map(rule).collect();
        bencher.iter_batched(|| rules.clone(), RuleSet::new, BatchSize::PerIteration);
    });
    criterion.bench_function("build/shadows_10000", |bencher| {
        let rules = RuleSet::new((0..SIZE).map(rule).collect());
        bencher.iter(|| Shadows::default().replace(&[], black_box(rules.shared())));
    });
}

/// One rule of 10,000 is replaced, where each has a host, and where all share one.
fn one_rule(criterion: &mut Criterion) {
    let on_one_host = |number: u32| {
        let matches = format!("PathPrefix(`/team-{}/app-{number}/`)", number % 10);
        Rule {
            host: HostPattern::Exact("example.com".into()),
            matches: ferrix_rule::Rule::parse(&matches).ok(),
            ..rule(number)
        }
    };
    let shapes: [(&str, &dyn Fn(u32) -> Rule); 2] = [("hosts", &rule), ("one_host", &on_one_host)];
    for (shape, rule) in shapes {
        let rules: Vec<_> = (0..SIZE).map(|number| Arc::new(rule(number))).collect();
        let mut set = RuleSet::default().with(&[], &rules);
        let mut shadows = Shadows::default();
        shadows.replace(&[], &rules);
        let mut current = Arc::clone(&rules[77]);
        criterion.bench_function(&format!("replace/rule_of_10000_{shape}"), |bencher| {
            bencher.iter(|| {
                let next = Arc::new(rule(77));
                let (gone, fresh) = ([Arc::clone(&current)], [Arc::clone(&next)]);
                set = set.with(&gone, &fresh);
                current = next;
            });
        });
        criterion.bench_function(&format!("replace/shadow_of_10000_{shape}"), |bencher| {
            let mut current = Arc::clone(&rules[77]);
            bencher.iter(|| {
                let next = Arc::new(rule(77));
                let changed = shadows.replace(&[Arc::clone(&current)], &[Arc::clone(&next)]);
                current = next;
                changed
            });
        });
    }
}

fn table() -> Table {
    Table {
        rules: Arc::new(RuleSet::new((0..SIZE).map(rule).collect())),
        services: Arc::new((0..SIZE).map(service).map(Arc::new).collect()),
        ..Table::default()
    }
}

fn service(number: u32) -> Service {
    let endpoint = |host| Endpoint::new(SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), 8080)));
    Service {
        id: ServiceId {
            service: ObjectName::new("default", format!("service-{number}")),
            port: 80,
            scheme: Scheme::Http,
        },
        protocol: Protocol::Http1,
        endpoints: (1..=3).map(endpoint).collect(),
        policy: None,
        state: Arc::default(),
    }
}

fn rule(number: u32) -> Rule {
    let matches = ferrix_rule::Rule::parse("PathPrefix(`/api`)").expect("the rule is valid");
    Rule {
        route: Arc::new(Route {
            key: Key::new(Kind::IngressRoute, "default", format!("route-{number}")),
            generation: 1,
            created: Some(0),
            state: Arc::default(),
        }),
        position: 0,
        host: HostPattern::Exact(format!("app-{number}.example.com").into()),
        weight: Weight::Priority(matches.shown().len() as i64),
        matches: Some(matches),
        entry_points: [0, 1].into(),
        action: Action::Forward(Split::new(&[(number, 1)]).expect("the service has a weight")),
        policy: None,
        dry_run: None,
    }
}
