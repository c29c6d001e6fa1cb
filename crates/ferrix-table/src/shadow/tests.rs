use crate::{
    rules::{Rule, RuleSet},
    testing::rule,
};

/// Whether the second rule is shadowed where the first has the higher priority.
fn shadows(winner: (&str, &str), loser: (&str, &str)) -> bool {
    let first = Rule {
        priority: 1000,
        ..rule("winner", winner.0, winner.1)
    };
    let second = rule("loser", loser.0, loser.1);
    let rules = RuleSet::new(vec![first, second]);
    let pairs = rules.shadowed();
    for (loser, winner) in &pairs {
        assert_eq!(
            (&*loser.route.name, &*winner.route.name),
            ("loser", "winner")
        );
    }
    !pairs.is_empty()
}

#[test]
fn shadowed() {
    for (winner, loser) in [
        (("a.test", ""), ("a.test", "")),
        (("a.test", ""), ("a.test", "PathRegexp(`x`)")),
        (("*", ""), ("*", "Host(`a.test`)")),
        (("a.test", ""), ("*", "Host(`a.test`) && Path(`/`)")),
        (("*.test", ""), ("*", "Host(`a.test`) || Host(`*.test`)")),
        (
            ("*", "Host(`a.test`)"),
            ("*", "Host(`a.test`) && Path(`/`)"),
        ),
        (("*", "Host(`*.test`)"), ("*", "Host(`a.test`)")),
        (("a.test", "Method(`GET`)"), ("a.test", "Method( \"GET\" )")),
        (
            ("a.test", "Path(`/a`)"),
            ("a.test", "Path(`/a`) && Method(`GET`)"),
        ),
        (("a.test", "PathPrefix(`/a`)"), ("a.test", "Path(`/a`)")),
        (
            ("a.test", "PathPrefix(`/a`)"),
            ("a.test", "PathPrefix(`/ab`)"),
        ),
        (
            ("a.test", "PathPrefix(`/`)"),
            ("a.test", "Path(`/x`) || PathPrefix(`/y`)"),
        ),
        (
            ("a.test", "Host(`a.test`) && PathPrefix(`/a`)"),
            ("a.test", "Path(`/a/b`)"),
        ),
        (
            ("*", "PathPrefix(`/a`) && Host(`a.test`)"),
            ("*", "Host(`a.test`) && Path(`/a`)"),
        ),
    ] {
        assert!(shadows(winner, loser), "{winner:?} {loser:?}");
    }
}

#[test]
fn not_shadowed() {
    for (winner, loser) in [
        (("a.test", ""), ("b.test", "")),
        (("a.test", ""), ("*", "")),
        (("a.test", ""), ("*.test", "")),
        (("a.test", ""), ("*", "Host(`a.test`) || Host(`b.test`)")),
        (("a.test", "Path(`/a`)"), ("a.test", "PathPrefix(`/a`)")),
        (
            ("a.test", "PathPrefix(`/a/`)"),
            ("a.test", "PathPrefix(`/a`)"),
        ),
        (("a.test", "PathPrefix(`/a`)"), ("a.test", "")),
        (
            ("a.test", "PathPrefix(`/a`)"),
            ("a.test", "Path(`/a`) || Path(`/b`)"),
        ),
        (
            ("a.test", "PathPrefix(`/a`) && Method(`GET`)"),
            ("a.test", "Path(`/a`)"),
        ),
        (
            ("a.test", "PathPrefix(`/a`) || Method(`GET`)"),
            ("a.test", "Method(`GET`)"),
        ),
        (("a.test", "!PathPrefix(`/a`)"), ("a.test", "Path(`/b`)")),
        (("a.test", "Method(`GET`)"), ("a.test", "Method(`POST`)")),
        (("a.test", "Host(`b.test`)"), ("a.test", "Path(`/a`)")),
        // True, but not seen: only parts of the expressions are equal.
        (
            ("a.test", "Method(`GET`)"),
            ("a.test", "Path(`/`) && Method(`GET`)"),
        ),
        (("a.test", ""), ("a.test", "Host(`b.test`)")),
    ] {
        assert!(!shadows(winner, loser), "{winner:?} {loser:?}");
    }
}

#[test]
fn only_where_the_winner_serves() {
    let on = |name, entry_points: &[u16]| Rule {
        entry_points: entry_points.into(),
        ..rule(name, "*", "")
    };
    let losers = |rules: Vec<Rule>| {
        let rules = RuleSet::new(rules);
        let name = |rule: &Rule| rule.route.name.to_string();
        let pairs = rules.shadowed().into_iter();
        pairs
            .map(|(loser, winner)| [name(loser), name(winner)].concat())
            .collect::<Vec<_>>()
    };
    assert_eq!(losers(vec![on("a", &[0, 1]), on("b", &[1])]), ["ba"]);
    assert!(losers(vec![on("a", &[0]), on("b", &[0, 1])]).is_empty());
    assert_eq!(
        losers(vec![on("a", &[0]), on("b", &[1]), on("c", &[1])]),
        ["cb"]
    );
    assert_eq!(
        losers(vec![on("a", &[0]), on("b", &[0]), on("c", &[0])]),
        ["ba", "ca"]
    );
}
