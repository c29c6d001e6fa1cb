use super::*;
use crate::{
    rule_set::RuleSet,
    testing::{Asked, rivals, rule},
    weight::Weight,
};

/// Losers and winners of a whole set, in the order of the losers.
fn pairs(rules: Vec<Rule>) -> Vec<(Arc<Rule>, Arc<Rule>)> {
    let rules = RuleSet::new(rules);
    let mut pairs: Vec<_> = (Shadows::default().replace(&[], rules.shared()).into_iter())
        .filter_map(|(loser, verdict)| Some((loser, verdict.shadowed?)))
        .collect();
    pairs.sort_by(|(one, _), (other, _)| one.precedence(other));
    pairs
}

/// Whether the second rule is shadowed by the first, which has the higher priority.
fn shadows(winner: Asked<'_>, loser: Asked<'_>) -> bool {
    let alone = rivals(winner, loser).to_vec();
    // One more that takes something of the host, but nothing of these: it is found among others,
    // too.
    let third = Rule {
        weight: Weight::Priority(2000),
        ..rule("third", winner.0, "Path(`/third`)")
    };
    let among_others = [&*alone, &[third]].concat();
    let [alone, among_others] = [alone, among_others].map(|rules| {
        let pairs = pairs(rules);
        let namespace = |rule: &Rule| rule.route.key.namespace.to_string();
        for (loser, winner) in &pairs {
            assert_eq!(namespace(winner) + ">" + &namespace(loser), "w>v");
        }
        !pairs.is_empty()
    });
    assert_eq!(alone, among_others, "{winner:?} {loser:?}");
    alone
}

#[test]
fn shadowed() {
    let cases = [
        (("a.test", ""), ("a.test", "")),
        (("a.test", ""), ("a.test", "PathRegexp(`x`)")),
        (("*", ""), ("*", "Host(`a.test`)")),
        (("a.test", ""), ("*", "Host(`a.test`) && Path(`/`)")),
        (("*.test", ""), ("*", "Host(`a.test`) || Host(`*.test`)")),
        (("**.test", ""), ("*", "Host(`x.a.test`)")),
        (
            ("**.test", ""),
            ("*", "Host(`x.a.test`) || Host(`*.b.test`)"),
        ),
        (("**.a.test", ""), ("**.test", "Host(`x.y.a.test`)")),
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
        (("**.test", ""), ("**.test", "Path(`/`)")),
        (
            ("*", "Host(`x.a.test`)"),
            ("*", "Host(`x.a.test`) && Path(`/`)"),
        ),
        // Whole segments.
        (("a.test", "/a"), ("a.test", "/a")),
        (("a.test", "/a"), ("a.test", "/a/b")),
        (("a.test", "/a"), ("a.test", "Path(`/a`)")),
        (("a.test", "/a"), ("a.test", "PathPrefix(`/a/`)")),
        (
            ("a.test", "/a"),
            ("a.test", "Path(`/a/x`) || PathPrefix(`/a/y`)"),
        ),
        (
            ("a.test", "Path(`/a`) || PathPrefix(`/a/`)"),
            ("a.test", "/a/b"),
        ),
        (("a.test", "PathPrefix(`/a`)"), ("a.test", "/a/b")),
        (("*", "/a"), ("*", "Host(`a.test`) && Path(`/a/b`)")),
    ];
    for (winner, loser) in cases {
        assert!(shadows(winner, loser), "{winner:?} {loser:?}");
    }
    assert_eq!(cases.len(), 27);
}

#[test]
fn not_shadowed() {
    let cases = [
        (("a.test", ""), ("b.test", "")),
        (("a.test", ""), ("*", "")),
        (("a.test", ""), ("*.test", "")),
        (("*.test", ""), ("**.test", "")),
        (("**.a.test", ""), ("**.test", "")),
        (("**.a.test", ""), ("*", "Host(`a.test`)")),
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
        // Whole segments.
        (("a.test", "/a"), ("a.test", "PathPrefix(`/a`)")),
        (("a.test", "/a"), ("a.test", "Path(`/ab`)")),
        (("a.test", "/a"), ("a.test", "/ab")),
        (("a.test", "/a/b"), ("a.test", "/a")),
        (("a.test", "/a"), ("a.test", "")),
        (("a.test", "/a"), ("a.test", "Path(`/a/b`) || Path(`/b`)")),
    ];
    for (winner, loser) in cases {
        assert!(!shadows(winner, loser), "{winner:?} {loser:?}");
    }
    assert_eq!(cases.len(), 24);
}

#[test]
fn only_where_the_winner_serves() {
    let on = |name, entry_points: &[u16]| Rule {
        entry_points: entry_points.into(),
        ..rule(name, "*", "")
    };
    let losers = |rules: Vec<Rule>| {
        let name = |rule: &Rule| rule.route.key.name.to_string();
        (pairs(rules).iter())
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

#[test]
fn equal_rules_that_share_some_entry_points() {
    let on = |name, entry_points: &[u16]| Rule {
        entry_points: entry_points.into(),
        ..rule(name, "a.test", "Path(`/`)")
    };
    let rules = RuleSet::new(vec![
        on("a", &[0, 1]),
        on("b", &[1, 2, 0]),
        on("c", &[2, 0, 3]),
        on("d", &[2]),
    ]);
    let changed = Shadows::default().replace(&[], rules.shared());
    let mut conflicts: Vec<_> = (changed.iter())
        .map(|(loser, verdict)| {
            let name = |rule: &Rule| rule.route.key.name.to_string();
            let conflicts = (verdict.conflicts.iter())
                .map(|(winner, entry_points)| (name(winner), entry_points.clone()));
            (name(loser), conflicts.collect::<Vec<_>>())
        })
        .collect();
    conflicts.sort();
    let text = |text: &str| text.to_owned();
    assert_eq!(
        conflicts,
        [
            (text("b"), vec![(text("a"), vec![1, 0])]),
            (text("c"), vec![(text("b"), vec![2]), (text("a"), vec![0])]),
            // Shadowed altogether.
            (text("d"), vec![]),
        ]
    );
}
