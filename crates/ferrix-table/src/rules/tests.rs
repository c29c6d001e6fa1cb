use std::{cmp::Ordering, sync::Arc};

use super::*;
use crate::{
    object::Kind,
    precedence::Criterion,
    rule_set::RuleSet,
    testing::{get, route, rule},
};

fn with(mut rule: Rule, change: impl FnOnce(&mut Rule)) -> Rule {
    change(&mut rule);
    rule
}

fn created(name: &str, created: Option<i64>) -> Arc<Route> {
    let route = Route::clone(&route(name));
    Arc::new(Route { created, ..route })
}

/// Rules in the order that they must come to stand in, each with what puts it before the next.
fn ordered() -> Vec<(Rule, Criterion)> {
    let low = |host| with(rule("z", host, ""), |it| it.weight = Weight::Priority(-1));
    let old = |name, age| with(rule(name, "*", ""), |it| it.route = created(name, age));
    let at = |position| with(rule("c", "*", ""), |it| it.position = position);
    vec![
        (
            rule("z", "b.test", "PathPrefix(`/long`)"),
            Criterion::Priority,
        ),
        (rule("z", "a.test", "Path(`/`)"), Criterion::Priority),
        (low("a.test"), Criterion::Host),
        (rule("z", "*.b.test", ""), Criterion::Host),
        (rule("z", "**.b.test", "Path(`/`)"), Criterion::Host),
        (rule("z", "*.test", "Path(`/`)"), Criterion::Priority),
        (low("*.test"), Criterion::Host),
        (rule("z", "**.test", "Path(`/`)"), Criterion::Priority),
        (low("**.test"), Criterion::Host),
        (rule("z", "*", "Path(`/`)"), Criterion::Priority),
        (old("z", Some(-9)), Criterion::Age),
        (rule("a", "*", ""), Criterion::Name),
        (rule("b", "*", ""), Criterion::Name),
        (at(0), Criterion::Position),
        (at(1), Criterion::Position),
        (at(10), Criterion::Age),
        (old("a", Some(1)), Criterion::Age),
        (old("a", None), Criterion::Name),
        (old("b", None), Criterion::Priority),
        (low("*"), Criterion::Priority),
    ]
}

fn described(rules: &RuleSet) -> Vec<String> {
    let describe = |rule: &Rule| {
        let Rule { host, weight, .. } = rule;
        format!(
            "{rule} {host} {weight} {:?} {:?}",
            rule.route.created,
            rule.text()
        )
    };
    rules.iter().map(describe).collect()
}

#[test]
fn total_order() {
    let (rules, criteria): (Vec<Rule>, Vec<Criterion>) = ordered().into_iter().unzip();
    for ((earlier, later), criterion) in rules.iter().zip(&rules[1..]).zip(criteria) {
        assert_eq!(
            earlier.precedence(later),
            Ordering::Less,
            "{earlier:?} {later:?}"
        );
        assert_eq!(earlier.criterion(later), criterion, "{earlier:?} {later:?}");
    }
    let expected = described(&RuleSet::new(rules.clone()));
    for turn in 0..rules.len() {
        let mut turned = rules.clone();
        turned.rotate_left(turn);
        assert_eq!(described(&RuleSet::new(turned.clone())), expected);
        turned.reverse();
        assert_eq!(described(&RuleSet::new(turned)), expected);
    }
}

#[test]
fn routes_of_different_kinds_have_an_order() {
    let other = Route {
        key: Key::new(Kind::EndpointSlice, "default", "a"),
        ..Route::clone(&route("a"))
    };
    let first = with(rule("a", "*", ""), |it| it.route = Arc::new(other));
    let second = rule("a", "*", "");
    assert_eq!(first.precedence(&second), Ordering::Less);
    assert_eq!(first.criterion(&second), Criterion::Name);
}

#[test]
fn lookup() {
    let rules = RuleSet::new(vec![
        rule("root", "a.test", ""),
        rule("api", "a.test", "PathPrefix(`/api`)"),
        rule("api-v1", "a.test", "PathPrefix(`/api/v1/`)"),
        rule("exact", "a.test", "Path(`/api/v1/accounts`)"),
        rule("either", "a.test", "Path(`/x`) || PathPrefix(`/y/`)"),
        rule("post", "a.test", "Method(`POST`)"),
        rule("wildcard", "*.a.test", ""),
        rule("expression", "*", "Host(`b.test`) && PathPrefix(`/b`)"),
        rule("wild-expression", "*", "Host(`*.b.test`)"),
        rule(
            "narrowed",
            "*.c.test",
            "Host(`www.c.test`) || Host(`other.test`)",
        ),
        rule("any", "*", "PathPrefix(`/any`)"),
        with(rule("secure", "*", ""), |it| it.entry_points = [1].into()),
    ]);
    for (entry_point, host, path, expected) in [
        (0, "a.test", "/", Some("root")),
        (0, "a.test", "", Some("root")),
        (0, "a.test", "/ap", Some("root")),
        (0, "a.test", "/api", Some("api")),
        (0, "a.test", "/apiary", Some("api")),
        (0, "a.test", "/api/v0", Some("api")),
        (0, "a.test", "/api/v1", Some("api")),
        (0, "a.test", "/api/v1/", Some("api-v1")),
        (0, "a.test", "/api/v1/account", Some("api-v1")),
        (0, "a.test", "/api/v1/accounts", Some("exact")),
        (0, "a.test", "/api/v1/accounts/1", Some("api-v1")),
        (0, "a.test", "/api/v2", Some("api")),
        (0, "a.test", "/x", Some("either")),
        (0, "a.test", "/x/", Some("root")),
        (0, "a.test", "/y/z", Some("either")),
        (0, "a.test", "/any", Some("root")),
        (0, "www.a.test", "/api", Some("wildcard")),
        (0, "x.www.a.test", "/api", None),
        (0, "b.test", "/b", Some("expression")),
        (0, "b.test", "/", None),
        (0, "www.b.test", "/", Some("wild-expression")),
        (0, "www.c.test", "/", Some("narrowed")),
        (0, "other.test", "/", None),
        (0, "d.c.test", "/", None),
        (0, "", "/any/x", Some("any")),
        (0, "", "/", None),
        (1, "a.test", "/", Some("secure")),
        (1, "", "/", Some("secure")),
        (2, "a.test", "/", None),
        (u16::MAX, "a.test", "/", None),
    ] {
        let found = rules.lookup(entry_point, &get(host, path));
        let found = found.map(|rule| &*rule.route.key.name);
        assert_eq!(found, expected, "{host}{path} on {entry_point}");
    }
}

#[test]
fn patterns_for_hosts() {
    let patterns = [
        "www.a.test",
        "*.a.test",
        "**.a.test",
        "*.test",
        "**.test",
        "*",
    ];
    let cases = [
        ("www.a.test", vec![0, 1, 2, 4, 5]),
        ("b.a.test", vec![1, 2, 4, 5]),
        ("x.www.a.test", vec![2, 4, 5]),
        ("a.test", vec![3, 4, 5]),
        ("ba.test", vec![3, 4, 5]),
        ("x.ba.test", vec![4, 5]),
        ("test", vec![5]),
        (".test", vec![5]),
        ("", vec![5]),
    ];
    let patterns = patterns.map(|host| rule("r", host, "").host);
    for (host, expected) in &cases {
        let taking = (0..patterns.len()).filter(|it| patterns[*it].takes(host));
        assert_eq!(taking.collect::<Vec<_>>(), *expected, "{host}");
    }
    // What covers another takes all that the other does, and only then are they not apart.
    for one in &patterns {
        let wider: Vec<_> = one.wider().collect();
        assert!(wider.is_sorted_by_key(|it| std::cmp::Reverse(it.rank())));
        for other in &patterns {
            let mut hosts = cases.iter().map(|(host, _)| host);
            let all = hosts
                .clone()
                .all(|host| one.takes(host) || !other.takes(host));
            assert_eq!(one.covers(other), all, "{one} {other}");
            assert_eq!(wider.contains(other), other.covers(one) && one != other);
            let meet = hosts.any(|host| one.takes(host) && other.takes(host));
            assert_eq!(
                meet,
                one.covers(other) || other.covers(one),
                "{one} {other}"
            );
        }
    }
    assert_eq!(cases.len(), 9);
}

#[test]
fn hostnames_of_the_gateway_api() {
    let parse = |hostname| HostPattern::parse_gateway(hostname).unwrap().to_string();
    assert_eq!(parse("*.A.test"), "**.a.test");
    assert_eq!(parse("a.test"), "a.test");
    for refused in [
        "*.a.test:80",
        "10.0.0.1",
        "[::1]",
        "*",
        "**.a.test",
        "a.*.test",
        "",
    ] {
        assert!(HostPattern::parse_gateway(refused).is_err(), "{refused}");
    }
    assert_eq!(parse("10.0.0.1.test"), "10.0.0.1.test");
}

#[test]
fn lookup_below_domains() {
    let rules = RuleSet::new(vec![
        rule("exact", "www.a.test", "Path(`/exact`)"),
        rule("wildcard", "*.a.test", "PathPrefix(`/w`)"),
        rule("below", "**.a.test", "PathPrefix(`/b`)"),
        rule("far-below", "**.test", "PathPrefix(`/`) && !Path(`/any`)"),
        rule("any", "*", "PathPrefix(`/`) && !Path(`/nobody`)"),
        // The bucket of the host, but the last in the order.
        rule(
            "narrowed",
            "*",
            "Host(`www.a.test`) && PathPrefix(`/`) && !Path(`/0`)",
        ),
    ]);
    for (host, path, expected) in [
        ("www.a.test", "/exact", "exact"),
        ("www.a.test", "/w", "wildcard"),
        ("www.a.test", "/b", "below"),
        ("www.a.test", "/", "far-below"),
        ("www.a.test", "/any", "narrowed"),
        ("x.www.a.test", "/exact", "far-below"),
        ("x.www.a.test", "/w", "far-below"),
        ("x.www.a.test", "/b", "below"),
        ("x.www.a.test", "/any", "any"),
        ("a.test", "/b", "far-below"),
        ("test", "/b", "any"),
    ] {
        let found = rules.lookup(0, &get(host, path)).unwrap();
        assert_eq!(&*found.route.key.name, expected, "{host}{path}");
    }
}

#[test]
fn a_rule_that_never_matches_is_filed_nowhere() {
    let rules = RuleSet::new(vec![
        rule("never", "a.test", "Host(`b.test`)"),
        rule("never", "*", "Path(`/a`) && Path(`/b`)"),
    ]);
    assert!(rules.lookup(0, &get("a.test", "/a")).is_none());
    assert!(rules.lookup(0, &get("b.test", "/a")).is_none());
    assert_eq!(rules.len(), 2);
}

#[test]
fn shares_follow_weights_at_every_moment() {
    for weights in [
        &[1, 1][..],
        &[1, 2, 3],
        &[99, 1],
        &[1, 999],
        &[0, 7, 0, 3],
        &[u32::MAX, u32::MAX],
        &[1, u32::MAX],
        &[5; 17],
    ] {
        let services: Vec<_> = (10..).zip(weights.iter().copied()).collect();
        let split = Split::new(&services).unwrap();
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let mut counts = vec![0_u32; weights.len()];
        for requests in 1..=20_000 {
            let service = split.choose().service.clone().unwrap();
            counts[service as usize - 10] += 1;
            for (count, weight) in counts.iter().zip(weights) {
                let share = f64::from(*weight) / total * f64::from(requests);
                let off = (f64::from(*count) - share).abs();
                assert!(
                    off < 4.0,
                    "{weights:?}: {count} of {requests}, off by {off}"
                );
            }
        }
    }
}

#[test]
fn shares_follow_weights_across_threads() {
    let split = Split::new(&[(0, 3), (1, 1)]).unwrap();
    let canary = || (0..10_000).filter(|_| *split.choose() == 1.into()).count();
    let total: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(canary)).collect();
        threads.into_iter().map(|it| it.join().unwrap()).sum()
    });
    assert!(total.abs_diff(10_000) < 4, "{total}");
}

#[test]
fn splits() {
    assert!(Split::new::<Destination>(&[]).is_none());
    assert!(Split::new(&[(1, 0), (2, 0)]).is_none());
    let split = Split::new(&[(7, 0), (5, 2), (7, 1), (5, 1)]).unwrap();
    let weights: Vec<_> = split.weights().collect();
    let [five, seven] = [5, 7].map(Destination::from);
    assert_eq!(weights, [(&five, 2), (&seven, 1), (&five, 1)]);
    let single = Split::new(&[(3, 9), (4, 0)]).unwrap();
    let three = Destination::from(3);
    assert_eq!([single.choose(), single.choose()], [&three, &three]);
    assert_eq!(single.sequence.position(), 0);
}
