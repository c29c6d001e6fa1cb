use std::sync::{
    Weak,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::*;
use crate::{
    dry_runs::DryRun,
    filters::lasting::FilterId,
    ids::ServiceIndex,
    rules::{Action, Split},
    services::{Endpoint, Services},
    state::{Connections, Served},
    testing::{rule, service, table},
};

fn count(table: &Table) {
    for rule in &*table.rules {
        let request = Served {
            received_bytes: 1,
            ..Served::default()
        };
        rule.route.state.requests.count(&request);
    }
    for service in &*table.services {
        service.state.retries.add(1);
        for Endpoint { state, .. } in &service.endpoints {
            state.in_flight.add(1);
        }
    }
}

/// `NAME=COUNT` of all that counts.
fn counts(table: &Table) -> Vec<String> {
    let mut counts: Vec<_> = (table.rules.iter().map(|rule| &rule.route))
        .map(|route| {
            format!(
                "{}={}",
                route.key.name,
                route.state.requests.received_bytes()
            )
        })
        .collect();
    counts.sort();
    for service in &*table.services {
        counts.push(format!(
            "{}={}",
            service.id.service.name,
            service.state.retries.get()
        ));
        for Endpoint { address, state, .. } in &service.endpoints {
            counts.push(format!(":{}={}", address.port(), state.in_flight.get()));
        }
    }
    counts
}

#[test]
fn generations() {
    let (mut publisher, reader) = channel();
    assert_eq!(reader.generation(), 0);
    assert_eq!(publisher.publish(Table::default()), 1);
    assert_eq!(publisher.publish(Table::default()), 2);
    assert_eq!((reader.generation(), reader.load().generation), (2, 2));
    assert_eq!(publisher.reader().generation(), 2);
}

#[test]
fn counters_outlive_tables() {
    let first = || {
        table(
            vec![rule("r", "*", ""), rule("s", "*", "")],
            vec![service("a", &[1, 2]), service("b", &[1])],
        )
    };
    let (mut publisher, reader) = channel();
    publisher.publish(first());
    count(&reader.load());
    assert_eq!(
        counts(&reader.load()),
        ["r=1", "s=1", "a=1", ":1=1", ":2=1", "b=1", ":1=1"]
    );

    // The same again, built anew.
    publisher.publish(first());
    count(&reader.load());
    assert_eq!(
        counts(&reader.load()),
        ["r=2", "s=2", "a=2", ":1=2", ":2=2", "b=2", ":1=2"]
    );

    // One of each goes, one comes, and what stays moves. `a` on another port is another service.
    let mut other = service("a", &[1]);
    other.id.port = 81;
    let next = table(
        vec![
            rule("s", "*", ""),
            rule("t", "*", ""),
            rule("s", "a.test", ""),
        ],
        vec![
            other,
            service("c", &[]),
            service("b", &[9, 1]),
            service("a", &[2]),
        ],
    );
    publisher.publish(next);
    let expected = [
        "s=2", "s=2", "t=0", "a=0", ":1=0", "c=0", "b=2", ":9=0", ":1=2", "a=2", ":2=2",
    ];
    assert_eq!(counts(&reader.load()), expected);
}

#[test]
fn counters_of_requests_that_still_run_are_the_same_ones() {
    let (mut publisher, reader) = channel();
    publisher.publish(table(vec![], vec![service("a", &[1])]));
    let before = reader.load();
    before.services[0].endpoints[0].state.in_flight.add(1);
    publisher.publish(table(vec![], vec![service("a", &[2, 1])]));
    let after = &reader.load().services[0].endpoints[1].state.in_flight;
    assert_eq!(after.get(), 1);
    before.services[0].endpoints[0].state.in_flight.add(-1);
    assert_eq!(after.get(), 0);
}

#[test]
fn a_kept_copy_does_not_keep_counters_back() {
    let (mut publisher, reader) = channel();
    let copy = table(vec![rule("r", "*", "")], vec![service("a", &[1])]);
    for published in 0..3 {
        let fresh = table(vec![rule("r", "*", "")], vec![service("a", &[1])]);
        publisher.publish(if published == 1 { fresh } else { copy.clone() });
        count(&reader.load());
    }
    assert_eq!(counts(&reader.load()), ["r=3", "a=3", ":1=3"]);
}

#[test]
fn what_is_counted_for_a_dry_run_outlives_the_table() {
    let (mut publisher, reader) = channel();
    let dry_run = |place: &str| {
        let rule = rule("r", "*", "");
        let id = FilterId {
            object: rule.route.key.clone(),
            place: place.into(),
        };
        let dry_run = Some(Box::new(DryRun::new(id)));
        Rule { dry_run, ..rule }
    };
    let mut counted = Vec::new();
    for place in ["rules[0]", "rules[0]", "rules[1]", "rules[0]"] {
        publisher.publish(table(vec![dry_run(place), rule("other", "*", "")], vec![]));
        let table = reader.load();
        let count = table.rules.iter().find_map(|rule| rule.dry_run.as_ref());
        let count = count.unwrap().get();
        count.add(1);
        counted.push(count.get());
    }
    assert_eq!(counted, [1, 2, 1, 1]);
}

#[test]
fn rules_of_one_route_share_it_still() {
    let (mut publisher, reader) = channel();
    for _ in 0..2 {
        let first = rule("r", "*", "");
        let of_first = |host| Rule {
            route: Arc::clone(&first.route),
            ..rule("r", host, "")
        };
        let rules = vec![of_first("a.test"), of_first("b.test"), of_first("c.test")];
        drop(first);
        publisher.publish(table(rules, vec![]));
        count(&reader.load());
    }
    assert_eq!(counts(&reader.load()), ["r=6", "r=6", "r=6"]);
    let table = reader.load();
    let routes: Vec<_> = table
        .rules
        .iter()
        .map(|rule| Arc::as_ptr(&rule.route))
        .collect();
    assert_eq!(routes, [routes[0]; 3]);
}

#[test]
fn one_service_at_a_time() {
    let (mut publisher, reader) = channel();
    publisher.publish(table(
        vec![rule("r", "*", "")],
        vec![service("a", &[1]), service("b", &[1])],
    ));
    let before = reader.load();
    count(&before);
    publisher.publish(before.with_service(1, service("b", &[2, 1])));
    let after = reader.load();
    assert_eq!(
        counts(&after),
        ["r=1", "a=1", ":1=1", "b=1", ":2=0", ":1=1"]
    );
    assert!(Arc::ptr_eq(&before.rules, &after.rules));
    assert!(Arc::ptr_eq(&before.services[0], &after.services[0]));
    assert_eq!(before.services[1].endpoints.len(), 1);
}

#[test]
fn the_rotation_goes_on() {
    let (mut publisher, reader) = channel();
    let mut picked = Vec::new();
    for _ in 0..4 {
        publisher.publish(table(vec![], vec![service("a", &[1, 2, 3])]));
        picked.push(
            reader.load().services[0]
                .pick(&[], |_| {})
                .unwrap()
                .address
                .port(),
        );
    }
    assert_eq!(picked, [1, 2, 3, 1]);
}

#[test]
fn small_weights_have_their_turn_though_tables_follow_fast() {
    let (mut publisher, reader) = channel();
    let mut chosen: Vec<ServiceIndex> = Vec::new();
    for _ in 0..100 {
        let mut rule = rule("r", "*", "");
        rule.action = Action::Forward(Split::new(&[(0, 9), (1, 1)]).unwrap());
        publisher.publish(table(vec![rule], vec![]));
        let table = reader.load();
        let Action::Forward(split) = &table.rules.iter().next().unwrap().action else {
            unreachable!()
        };
        chosen.push(split.choose().service.clone().unwrap());
    }
    let canary = chosen.iter().filter(|service| **service == 1).count();
    assert!((8..=12).contains(&canary), "{canary}");
}

#[test]
fn the_publisher_frees_tables() {
    let (mut publisher, reader) = channel();
    publisher.publish(Table::default());
    let read = reader.load();
    let first: Weak<Table> = Arc::downgrade(&read);
    publisher.publish(Table::default());
    let second: Weak<Table> = Arc::downgrade(&publisher.current());
    publisher.publish(Table::default());
    assert!(second.upgrade().is_none());
    assert_eq!(publisher.reclaim(), 1);
    drop(read);
    assert!(first.upgrade().is_some());
    assert_eq!(publisher.reclaim(), 0);
    assert!(first.upgrade().is_none());
}

#[test]
fn readers_see_only_whole_tables() {
    let (mut publisher, reader) = channel();
    std::thread::scope(|scope| {
        let read = || {
            let mut last = 0;
            while last < 1_000 {
                let table = reader.load();
                assert!(table.generation >= last);
                let services = table.services.len() as u64;
                assert_eq!(services, table.generation % 3);
                last = table.generation;
            }
        };
        scope.spawn(read);
        scope.spawn(read);
        for generation in 1..=1_000 {
            let services = (0..generation % 3).map(|_| service("a", &[1])).collect();
            publisher.publish(table(vec![], services));
        }
    });
}

#[test]
fn endpoints_that_go_are_retired() {
    let (mut publisher, _) = channel();
    let state = |table: &Table, place: usize| Arc::clone(&table.services[0].endpoints[place].state);
    publisher.publish(table(
        vec![],
        vec![service("a", &[1, 2]), service("b", &[5])],
    ));
    let first = publisher.current();
    let (one, two) = (state(&first, 0), state(&first, 1));
    let other = Arc::clone(&first.services[1].endpoints[0].state);

    publisher.publish(first.with_service(0, service("a", &[2, 3])));
    let second = publisher.current();
    let three = state(&second, 1);
    let retired = || [&one, &two, &three, &other].map(|state| state.is_retired());
    assert_eq!(retired(), [true, false, false, false]);

    // Its service is at another place now.
    publisher.publish(table(vec![], vec![service("b", &[5]), service("a", &[2])]));
    assert_eq!(retired(), [true, false, true, false]);

    // What comes back is another.
    publisher.publish(table(vec![], vec![service("a", &[1])]));
    assert_eq!(retired(), [true, true, true, true]);
    assert!(!state(&publisher.current(), 0).is_retired());

    // Unless it is the very same.
    publisher.publish(Table::clone(&first));
    assert_eq!(retired(), [true, false, true, false]);
}

/// Which are told when they go, and not before the table without them is current.
#[derive(Debug)]
struct Told {
    reader: Reader,
    generation: AtomicU64,
}

impl Connections for Told {
    fn retire(&self) {
        let before = self.generation.swap(self.reader.generation(), Relaxed);
        assert_eq!(before, 0, "told twice");
    }
}

#[test]
fn connections_are_told_when_their_endpoint_goes() {
    let (mut publisher, reader) = channel();
    publisher.publish(table(
        vec![],
        vec![service("a", &[1, 2]), service("b", &[5])],
    ));
    let first = publisher.current();
    let endpoints = first.services.iter().flat_map(|it| &it.endpoints);
    let told: Vec<_> = endpoints
        .map(|endpoint| {
            let told = Arc::new(Told {
                reader: reader.clone(),
                generation: AtomicU64::new(0),
            });
            endpoint.state.connections.set(told.clone()).unwrap();
            told
        })
        .collect();
    let generations = || -> Vec<u64> {
        let generations = told.iter().map(|it| it.generation.load(Relaxed));
        generations.collect()
    };
    publisher.publish(first.with_service(0, service("a", &[2, 3])));
    assert_eq!(generations(), [2, 0, 0]);
    publisher.publish(table(vec![], vec![service("b", &[5]), service("a", &[2])]));
    assert_eq!(generations(), [2, 0, 0]);
    publisher.publish(Table::default());
    assert_eq!(generations(), [2, 4, 4]);
}

/// Two services of one identity, which differ in how they are spoken to, share what is known of an
/// endpoint: it stays as long as one of them does.
#[test]
fn an_endpoint_of_two_services_goes_with_the_last() {
    let (mut publisher, _) = channel();
    publisher.publish(table(vec![], vec![service("a", &[1])]));
    publisher.publish(table(vec![], vec![service("a", &[1]), service("a", &[1])]));
    let both = publisher.current();
    let states = [0, 1].map(|index| Arc::clone(&both.services[index].endpoints[0].state));
    assert!(Arc::ptr_eq(&states[0], &states[1]));
    let mut services = Services::clone(&both.services);
    for (index, retired) in [(0, false), (1, true)] {
        services.put(index, None);
        publisher.publish(Table {
            services: Arc::new(services.clone()),
            ..Table::clone(&both)
        });
        assert_eq!(states[0].is_retired(), retired, "{index}");
    }
}

#[test]
fn readers_find_what_is_not_read_any_more() {
    let (mut publisher, reader) = channel();
    publisher.publish(Table::default());
    let read = reader.load();
    let weak = Arc::downgrade(&read);
    publisher.publish(Table::default());
    assert!(reader.take_unread().is_empty());
    drop(read);
    let unread = reader.take_unread();
    assert_eq!(unread.len(), 1);
    drop(unread);
    assert!(weak.upgrade().is_none());
}

/// Who is told that an endpoint is gone finds a table without it; no request frees a table.
#[test]
fn readers_can_rely_on_what_they_are_told_in_any_order() {
    let orders = ferrix_model::check(|| {
        let (mut publisher, reader) = channel();
        publisher.publish(table(vec![], vec![service("a", &[1])]));
        let first = publisher.current();
        let endpoint = Arc::clone(&first.services[0].endpoints[0].state);
        drop(first);
        let threads = [0, 1].map(|_| {
            let (reader, endpoint) = (reader.clone(), Arc::clone(&endpoint));
            ferrix_model::spawn(move || {
                let mut last = 0;
                for _ in 0..2 {
                    let retired = endpoint.is_retired();
                    let table = reader.load();
                    assert!(table.generation >= last, "an earlier table");
                    last = table.generation;
                    let mut endpoints = table.services.iter().flat_map(|it| &it.endpoints);
                    let there = endpoints.any(|it| Arc::ptr_eq(&it.state, &endpoint));
                    assert!(!(retired && there), "it is gone, and there");
                    assert!(Arc::strong_count(&table) > 1, "a request frees it");
                }
            })
        });
        publisher.publish(table(vec![], vec![service("a", &[1, 2])]));
        publisher.publish(table(vec![], vec![service("a", &[2])]));
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(endpoint.is_retired());
        assert_eq!(publisher.reclaim(), 0);
    });
    assert!(orders > 0);
}
