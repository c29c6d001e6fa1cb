use ferrix_rule::{Match, PathMatch, ValueMatch};
use http::Method;

use super::*;
use crate::testing::{get, rule, table};

/// A rule that weighs what these fields ask for, and takes every request.
fn weighing(name: &str, fields: &Match) -> Rule {
    Rule {
        weight: Weight::Specificity(Specificity::from(fields)),
        ..rule(name, "a.test", "")
    }
}

fn fields(path: PathMatch) -> Match {
    Match {
        path: Some(path),
        ..Match::default()
    }
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.to_owned())
}

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.to_owned())
}

fn values(count: usize) -> Vec<(String, ValueMatch)> {
    let value = |number: usize| (format!("n{number}"), ValueMatch::Exact("1".to_owned()));
    (0..count).map(value).collect()
}

/// Fields in the order of the Gateway API, each with what puts it before the next.
fn ordered() -> Vec<(Match, Criterion)> {
    let method = |fields: Match| Match {
        method: Some(Method::GET),
        ..fields
    };
    let counts = |fields: Match, headers, query| Match {
        headers: values(headers),
        query: values(query),
        ..fields
    };
    let long = || fields(prefix("/foo/bar"));
    let short = || fields(prefix("/foo"));
    vec![
        (method(fields(exact("/"))), Criterion::Method),
        (counts(fields(exact("/foo")), 1, 0), Criterion::Headers),
        (fields(exact("/foo")), Criterion::Path),
        (
            method(fields(PathMatch::Regexp("/foo/bar/.*".to_owned()))),
            Criterion::Method,
        ),
        (fields(PathMatch::Regexp(".*".to_owned())), Criterion::Path),
        (method(counts(long(), 2, 0)), Criterion::Headers),
        (method(counts(long(), 1, 9)), Criterion::Query),
        (method(counts(long(), 1, 8)), Criterion::Method),
        (counts(long(), 9, 9), Criterion::Path),
        (method(short()), Criterion::Method),
        (counts(short(), 2, 0), Criterion::Headers),
        (counts(short(), 1, 1), Criterion::Query),
        (counts(short(), 1, 0), Criterion::Headers),
        (counts(short(), 0, 3), Criterion::Path),
        (method(fields(prefix("/"))), Criterion::Method),
        (counts(Match::default(), 0, 1), Criterion::Query),
        (Match::default(), Criterion::Position),
    ]
}

#[test]
fn specificity_is_that_of_the_gateway_api() {
    let rules: Vec<_> = (ordered().iter())
        .map(|(fields, criterion)| (weighing("r", fields), *criterion))
        .collect();
    let mut compared = 0;
    for (place, (earlier, criterion)) in rules.iter().enumerate() {
        for (later, _) in &rules[place + 1..] {
            assert!(earlier.precedence(later).is_lt(), "{earlier:?} {later:?}");
            assert!(later.precedence(earlier).is_gt(), "{earlier:?} {later:?}");
            compared += 1;
        }
        if let Some((next, _)) = rules.get(place + 1) {
            assert_eq!(earlier.criterion(next), *criterion, "{earlier:?}");
            assert_eq!(next.criterion(earlier), *criterion, "{earlier:?}");
        }
    }
    assert_eq!(compared, 17 * 16 / 2);
}

#[test]
fn paths_that_say_the_same_weigh_the_same() {
    let weight = |path| Specificity::from(&fields(path));
    assert_eq!(weight(prefix("/foo")), weight(prefix("/foo/")));
    assert_eq!(weight(prefix("/")), Specificity::from(&Match::default()));
    // Exact paths that take one request are one path: their length says nothing.
    assert_eq!(weight(exact("/foo")), weight(exact("/foo/bar")));
}

#[test]
fn any_priority_comes_before_any_specificity() {
    let fields = fields(exact("/foo"));
    for priority in [i64::MIN, -1, 0, 1, i64::MAX] {
        let first = Rule {
            weight: Weight::Priority(priority),
            ..rule("z", "a.test", "")
        };
        let second = weighing("a", &fields);
        assert!(first.precedence(&second).is_lt());
        assert_eq!(first.criterion(&second), Criterion::GivenPriority);
        // But no host that is less exact.
        let wild = rule("z", "*.test", "");
        assert!(second.precedence(&wild).is_lt());
        assert_eq!(second.criterion(&wild), Criterion::Host);
    }
}

#[test]
fn reasons_in_words() {
    let method = Match {
        method: Some(Method::GET),
        ..fields(prefix("/foo"))
    };
    let counts = |headers, query| Match {
        headers: values(headers),
        query: values(query),
        ..fields(prefix("/foo"))
    };
    let none = fields(prefix("/foo"));
    let young = |mut rule: Rule| {
        let mut route = crate::rules::Route::clone(&rule.route);
        route.created = Some(7);
        rule.route = route.into();
        rule
    };
    let cases = [
        (
            rule("z", "a.test", ""),
            weighing("a", &none),
            "it has a priority, and this one goes by its conditions",
        ),
        (
            weighing("z", &fields(exact("/"))),
            weighing("a", &none),
            "its path (exact) is more specific than this one's (a prefix of 4 bytes)",
        ),
        (
            weighing("z", &method),
            weighing("a", &counts(2, 2)),
            "the paths are as specific and only it names a method",
        ),
        (
            weighing("z", &counts(2, 0)),
            weighing("a", &counts(1, 2)),
            "it asks for more headers",
        ),
        (
            weighing("z", &counts(1, 3)),
            weighing("a", &counts(1, 2)),
            "it asks for more query parameters",
        ),
        (
            weighing("z", &none),
            young(weighing("a", &none)),
            "the specificities are equal and its route is older",
        ),
    ];
    for (winner, loser, reason) in &cases {
        let table = table(vec![loser.clone(), winner.clone()], vec![]);
        let explained = table.explain(0, &get("a.test", "/foo")).to_string();
        let expected = format!("it matches, but {winner} comes first: {reason}\n");
        assert!(explained.contains(&expected), "{explained}");
        assert!(explained.contains(&format!(
            "not by {loser}: every request of a.test, no priority"
        )));
    }
    assert_eq!(cases.len(), 6);
}
