use super::*;
use crate::testing::{Asked, get, rivals, rule_of};

/// The captures of a set: `WINNER>VICTIM HOST`, with `?` where they are not certain.
fn captures(rules: &RuleSet) -> Vec<String> {
    let mut overlaps = Overlaps::default();
    let told = overlaps.follow(rules, &[], rules.shared());
    let mut found: Vec<String> = Vec::new();
    for route in &told {
        for capture in overlaps.of(route) {
            let is_told = |rule: &Rule| told.contains(&rule.route.key);
            let by_host = capture.winner.host.rank() > capture.victim.host.rank();
            assert!(is_told(&capture.victim) && (by_host || is_told(&capture.winner)));
            assert!(capture.winner.precedence(&capture.victim).is_lt());
            let name = |rule: &Rule| rule.route.key.namespace.to_string();
            let doubt = if capture.certain { "" } else { "?" };
            found.push(format!(
                "{}>{}{doubt} {}",
                name(&capture.winner),
                name(&capture.victim),
                capture.host
            ));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What the first of two rules, which has the higher priority, takes from the second.
fn taken(winner: Asked<'_>, victim: Asked<'_>) -> Vec<String> {
    captures(&RuleSet::new(rivals(winner, victim).into()))
}

#[test]
fn what_one_rule_takes_from_another() {
    let cases = [
        (("a.test", "Path(`/pay`)"), ("a.test", ""), "w>v a.test"),
        (
            ("a.test", "PathPrefix(`/pay`)"),
            ("a.test", "PathPrefix(`/`)"),
            "w>v a.test",
        ),
        // All of it, which the other is told anyway.
        (("a.test", ""), ("a.test", "Path(`/pay`)"), "w>v a.test"),
        (
            ("a.test", "PathPrefix(`/pay`) && Method(`GET`)"),
            ("a.test", "PathPrefix(`/`)"),
            "w>v a.test",
        ),
        // The second may match nothing of what the first takes.
        (
            ("a.test", "PathPrefix(`/pay`)"),
            ("a.test", "PathPrefix(`/`) && PathRegexp(`x$`)"),
            "w>v? a.test",
        ),
        (
            ("a.test", "Header(`a`, `1`)"),
            ("a.test", "Path(`/`) && Query(`b`, `2`)"),
            "w>v? a.test",
        ),
        (
            ("a.test", "Path(`/x`) || Path(`/y`)"),
            ("a.test", "PathPrefix(`/y`)"),
            "w>v a.test",
        ),
        // A host that is the more exact comes before a wildcard.
        (("a.test", ""), ("*.test", ""), "w>v a.test"),
        (("*.test", "Path(`/`)"), ("*.test", ""), "w>v any.test"),
        (("x.a.test", ""), ("**.test", ""), "w>v x.a.test"),
        (("*.test", ""), ("**.test", "Path(`/`)"), "w>v *.test"),
        (("**.a.test", ""), ("**.test", "Path(`/`)"), "w>v **.a.test"),
        (("*", "Path(`/`)"), ("*", ""), "w>v any host"),
        // Rules of routes for any host, narrowed by their expression.
        (
            ("*", "Path(`/`)"),
            ("*", "Host(`a.test`) && PathPrefix(`/`)"),
            "w>v a.test",
        ),
        (
            ("*", "Host(`*.test`) && Path(`/`)"),
            ("*", "Host(`a.test`)"),
            "w>v a.test",
        ),
        // Whole segments.
        (
            ("a.test", "/pay"),
            ("a.test", "PathPrefix(`/pay`)"),
            "w>v a.test",
        ),
        (
            ("a.test", "/pay"),
            ("a.test", "PathPrefix(`/`) && PathRegexp(`x$`)"),
            "w>v? a.test",
        ),
    ];
    for (winner, victim, expected) in cases {
        let expected = expected.replace("any.test", "*.test");
        assert_eq!(taken(winner, victim), [expected], "{winner:?} {victim:?}");
    }
    assert_eq!(cases.len(), 17);
}

#[test]
fn what_does_not_compete() {
    let cases = [
        (("a.test", ""), ("b.test", "")),
        (("a.test", "Path(`/a`)"), ("a.test", "Path(`/b`)")),
        (("a.test", "PathPrefix(`/ab`)"), ("a.test", "Path(`/a`)")),
        (("a.test", "Method(`GET`)"), ("a.test", "Method(`POST`)")),
        (
            ("a.test", "Header(`a`, `1`)"),
            ("a.test", "!Header(`a`, `1`)"),
        ),
        // What no route with a host takes is what such a route is for.
        (("a.test", ""), ("*", "")),
        (("*.test", ""), ("*", "Path(`/`)")),
        (("*", "Host(`a.test`)"), ("*", "")),
        // The priority does not count against a host that is the more exact.
        (("*", ""), ("a.test", "Path(`/`)")),
        // Whole segments.
        (("a.test", "/pay"), ("a.test", "Path(`/payments`)")),
        (("a.test", "/pay"), ("a.test", "/payments")),
        // One label alone.
        (("x.a.test", ""), ("*.test", "")),
        (("**.a.test", ""), ("*.test", "")),
        (("test", ""), ("**.test", "")),
        (("**.test", ""), ("*", "Path(`/`)")),
    ];
    for (winner, victim) in cases {
        assert_eq!(taken(winner, victim), [""; 0], "{winner:?} {victim:?}");
    }
    assert_eq!(cases.len(), 15);
}

#[test]
fn one_namespace_is_one_side() {
    let rules = vec![
        rule_of("a", "a.test", "PathPrefix(`/`)"),
        rule_of("a", "a.test", "Path(`/api`)"),
        rule_of("a", "*.test", ""),
    ];
    assert_eq!(captures(&RuleSet::new(rules)), [""; 0]);
}

#[test]
fn only_where_both_are_served() {
    let on = |namespace, matches, entry_points: &[u16]| Rule {
        entry_points: entry_points.into(),
        ..rule_of(namespace, "a.test", matches)
    };
    let rules = RuleSet::new(vec![
        on("w", "PathPrefix(`/a`)", &[0, 2]),
        on("v", "PathPrefix(`/`)", &[0, 1, 2]),
        on("u", "PathPrefix(`/a/b/c`)", &[1]),
    ]);
    let mut overlaps = Overlaps::default();
    overlaps.follow(&rules, &[], rules.shared());
    let of = |namespace| {
        let key = Key::new(crate::object::Kind::IngressRoute, namespace, "r");
        let captures: Vec<_> = (overlaps.of(&key))
            .map(|capture| capture.entry_points.clone())
            .collect();
        captures
    };
    assert_eq!(of("w"), [vec![0, 2]]);
    assert_eq!(of("u"), [vec![1]]);
    // The longer text has the higher priority.
    assert_eq!(of("v"), [vec![1], vec![0, 2]]);
}

/// A rule cannot reach beyond the host of its route, whatever hosts its expression asks for.
#[test]
fn a_rule_is_confined_to_the_host_of_its_route() {
    for matches in [
        "Host(`b.test`)",
        "Host(`b.test`) || Path(`/`)",
        "HostRegexp(`.*`)",
        "!Host(`a.test`)",
        "Host(`*`)",
    ] {
        let rules = RuleSet::new(vec![rule_of("a", "a.test", matches)]);
        for host in ["b.test", "test", "x.a.test", ""] {
            assert!(
                rules.lookup(0, &get(host, "/")).is_none(),
                "{matches} {host}"
            );
        }
    }
}

/// Thousands of rules of two namespaces for one host, in many shapes: all that is compared and noted has
/// a bound for each rule.
#[test]
fn a_host_with_thousands_of_rules() {
    const RULES: usize = 4_000;
    let shapes: [fn(usize) -> String; 4] = [
        |number| format!("PathPrefix(`/{number}`)"),
        // Each path lies within all that were before it.
        |number| format!("PathPrefix(`/{}`)", "x".repeat(number % 1_000)),
        |number| format!("Header(`number`, `{number}`)"),
        |_| "PathPrefix(`/`)".to_owned(),
    ];
    for shape in shapes {
        let rules = (0..RULES).map(|number| {
            let namespace = ["a", "b"][number % 2];
            Rule {
                position: u32::try_from(number).unwrap(),
                ..rule_of(namespace, "a.test", &shape(number))
            }
        });
        let rules = RuleSet::new(rules.collect());
        let mut overlaps = Overlaps::default();
        overlaps.follow(&rules, &[], rules.shared());
        let noted: usize = overlaps.captures.values().map(|it| it.len()).sum();
        assert!(noted <= RULES * 2 * sweep::MOST_NOTED, "{noted}");
    }
}
