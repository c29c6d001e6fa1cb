//! What holds for every rule, tried on made-up ones.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, and so may what it calls"
)]

use std::{
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use ferrix_rule::{MAX_TEXT, Match, PathMatch, Request, Rule};
use http::{HeaderMap, Method};
use proptest::{prelude::*, sample::select};

const HOSTS: &[&str] = &[
    "a.com",
    "b.com",
    "x.a.com",
    "y.x.a.com",
    "",
    "com",
    "a",
    ".a",
    "x.a",
    "y.a",
    "x.x.a",
];
const PATHS: &[&str] = &["/", "/a", "/a/b", "/ab", "/b", "/a/b/c", "*"];

/// A matcher in text. Hosts and paths come from a small stock, so that rules do match.
fn matcher() -> impl Strategy<Value = String> {
    let text = "\\PC{1,8}".prop_map(|text| literal(&text));
    prop_oneof![
        6 => select(vec!["a.com", "B.com", "x.a.com", "*.a.com", "*.com", "*", "*.", ".", "a.com."])
            .prop_map(|host| format!("Host(`{host}`)")),
        4 => select(&PATHS[..5]).prop_map(|path| format!("Path(`{path}`)")),
        4 => select(&PATHS[..5]).prop_map(|path| format!("PathPrefix(`{path}`)")),
        1 => select(vec!["a", "^$", "(?i)A", "."]).prop_map(|re| format!("HostRegexp(`{re}`)")),
        1 => select(vec!["a", "b$", "^/a"]).prop_map(|re| format!("PathRegexp(\"{re}\")")),
        2 => select(vec!["GET", "put"]).prop_map(|method| format!("METHOD(`{method}`)")),
        1 => text.clone().prop_map(|text| format!("Method({text})")),
        1 => (text.clone(), text.clone()).prop_map(|(name, value)| format!("Header({name}, {value})")),
        1 => text.clone().prop_map(|key| format!("Query({key})")),
        1 => (text.clone(), text).prop_map(|(key, value)| format!("query({key}, {value},)")),
        1 => (any::<IpAddr>(), 0u8..=32).prop_map(|(ip, length)| format!("ClientIP(`{ip}/{length}`)")),
    ]
}

/// Two lists of a matcher with each of some values, every list in parentheses.
fn alternatives(
    matcher: &'static str,
    values: &'static [&'static str],
) -> impl Strategy<Value = Vec<String>> {
    let values: Vec<_> = values
        .iter()
        .filter(|v| matcher == "Host" || v.starts_with('/'))
        .collect();
    let one = select(values).prop_map(move |value| format!("{matcher}(`{value}`)"));
    let list = prop::collection::vec(one, 1..5).prop_map(|list| format!("({})", list.join(" || ")));
    prop::collection::vec(list, 2)
}

fn literal(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn rule() -> impl Strategy<Value = String> {
    matcher().prop_recursive(6, 40, 4, |inner| {
        let many = |operator: &'static str| {
            prop::collection::vec(inner.clone(), 1..4).prop_map(move |parts| parts.join(operator))
        };
        prop_oneof![
            many(" && "),
            many(" ||\n"),
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.clone().prop_map(|inner| format!("!({inner})")),
            matcher().prop_map(|matcher| format!("!{matcher}")),
        ]
    })
}

/// Text that often gets past the first characters of a rule.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop_oneof![
        select(vec![
            "Host",
            "PathRegexp",
            "HeaderRegexp",
            "Query",
            "ClientIP",
            "(",
            ")",
            "`",
            "\"",
            "&&",
            "||",
            "!",
            ",",
            " ",
            "\n",
            "/*",
            "*/",
            "//",
            "\\",
            "[",
            "]",
            "{2}",
            "(?i",
            "\\p{",
            "é",
            "...",
            "`/a`",
            "\"a\"",
            "`10.0.0.0/8`",
            "'",
            "\\Q",
            "[[:",
            "\\x{",
            "\\u00",
        ])
        .prop_map(str::to_owned),
        ".{0,3}",
    ];
    prop::collection::vec(scrap, 0..20).prop_map(|scraps| scraps.concat())
}

fn for_every_request(mut check: impl FnMut(&Request<'_>)) {
    let headers = HeaderMap::new();
    for host in HOSTS {
        for path in PATHS {
            for method in [Method::GET, Method::PUT] {
                let client = "10.0.0.1".parse().unwrap();
                check(&Request {
                    method: &method,
                    host,
                    path,
                    query: "a",
                    headers: &headers,
                    client,
                });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_printed_rule_parses_to_an_equal_one(text in rule()) {
        let rule = Rule::parse(&text).unwrap();
        let printed = rule.to_string();
        let again = Rule::parse(&printed).unwrap();
        prop_assert_eq!(&again, &rule);
        prop_assert_eq!(again.to_string(), printed);
        for_every_request(|request| assert_eq!(again.matches(request), rule.matches(request)));
    }

    #[test]
    fn negation_and_grouping_mean_what_they_say(left in rule(), right in rule()) {
        let parse = |text: String| Rule::parse(&text).unwrap();
        let not = parse(format!("!({left})"));
        let both = parse(format!("({left}) && ({right})"));
        let either = parse(format!("({left}) || ({right})"));
        let (left, right) = (parse(left), parse(right));
        for_every_request(|request| {
            let (l, r) = (left.matches(request), right.matches(request));
            assert_eq!(not.matches(request), !l);
            assert_eq!(both.matches(request), l && r);
            assert_eq!(either.matches(request), l || r);
        });
    }

    #[test]
    fn a_mismatch_is_told_exactly_when_there_is_one(text in rule()) {
        let rule = Rule::parse(&text).unwrap();
        for_every_request(|request| {
            let told = rule.mismatch(request);
            assert_eq!(told.is_none(), rule.matches(request), "{told:?}");
        });
    }

    /// Without negation, hosts alone and paths alone are not approximated.
    #[test]
    fn constraints_on_hosts_alone_and_on_paths_alone_are_exact(
        hosts in alternatives("Host", &["a", ".a", "x.a", "y.a", "*.a", "x.x.a", "*.x.a", "b", "."]),
        paths in alternatives("Path", PATHS),
        prefixes in alternatives("PathPrefix", PATHS),
    ) {
        let of_hosts = Rule::parse(&hosts.join(" && ")).unwrap();
        let of_paths: Vec<_> = paths.iter().zip(prefixes).map(|(a, b)| format!("({a} || {b})")).collect();
        let of_paths = Rule::parse(&of_paths.join(" && ")).unwrap();
        let hosts = of_hosts.constraints().hosts.unwrap();
        let paths = of_paths.constraints().paths.unwrap();
        for_every_request(|request| {
            let admitted = hosts.iter().any(|host| host.admits(request.host));
            assert_eq!(of_hosts.matches(request), admitted, "{of_hosts} on {request:?}");
            let admitted = paths.iter().any(|path| path.admits(request.path));
            assert_eq!(of_paths.matches(request), admitted, "{of_paths} on {request:?}");
        });
    }

    /// In the language, a whole text is what anchors around a group ask for.
    #[test]
    fn expressions_of_fields_match_whole_values(
        pieces in prop::collection::vec(
            select(vec!["a", "/", "|", "b*", "(a|b)", "(?i)", "^", "$", ".", "[^a]", "(", ")", "\\n"]),
            0..6,
        ),
        path in "[/abA\n]{0,5}",
    ) {
        let source = pieces.concat();
        let fields = Match {
            path: Some(PathMatch::Regexp(source.clone())),
            ..Match::default()
        };
        let searched = Rule::parse(&format!("PathRegexp(`^(?:{source})$`)"));
        // A parenthesis of the source can close that group, but not the one around it in fields.
        let alone = Rule::parse(&format!("PathRegexp(`({source})`) && PathRegexp(`.*{source}`)"));
        match Rule::of(&fields) {
            Ok(rule) => {
                let (rule, searched) = (rule.unwrap(), searched.unwrap());
                for_every_request(|request| {
                    let request = Request { path: &path, ..*request };
                    assert_eq!(rule.matches(&request), searched.matches(&request), "{source:?}");
                });
            }
            Err(error) => prop_assert!(alone.is_err(), "{}", error),
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in prop_oneof![scraps(), any::<String>()]) {
        match Rule::parse(&text) {
            Ok(rule) => prop_assert_eq!(Rule::parse(&rule.to_string()).unwrap(), rule),
            Err(error) => {
                let line = text.split('\n').nth(error.line - 1);
                prop_assert_eq!(line, Some(error.text.as_str()));
                prop_assert!((1..=error.text.chars().count() + 1).contains(&error.column));
                prop_assert!(!error.message.is_empty() && !error.help.is_empty());
                prop_assert!(error.to_string().lines().count() == 4, "{}", error);
            }
        }
    }
}

/// Not by the macro, so that the requests that matched can be counted: a property over none of
/// them would hold for nothing.
#[test]
fn what_matches_satisfies_the_constraints() {
    let matched = AtomicUsize::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2000));
    let outcome = runner.run(&rule(), |text| {
        let rule = Rule::parse(&text).unwrap();
        let constraints = rule.constraints();
        for_every_request(|request| {
            if !rule.matches(request) {
                return;
            }
            matched.fetch_add(1, Ordering::Relaxed);
            if let Some(hosts) = &constraints.hosts {
                assert!(
                    hosts.iter().any(|host| host.admits(request.host)),
                    "{text} on {request:?}"
                );
            }
            if let Some(paths) = &constraints.paths {
                assert!(
                    paths.iter().any(|path| path.admits(request.path)),
                    "{text} on {request:?}"
                );
            }
        });
        Ok(())
    });
    outcome.unwrap();
    assert!(matched.into_inner() > 10_000);
}

/// What nothing is asked for beyond is all that it takes.
#[test]
fn what_satisfies_constraints_that_are_the_whole_matches() {
    let (rules, requests) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(4000));
    let outcome = runner.run(&rule(), |text| {
        let rule = Rule::parse(&text).unwrap();
        let constraints = rule.constraints();
        if !constraints.whole {
            return Ok(());
        }
        rules.fetch_add(1, Ordering::Relaxed);
        for_every_request(|request| {
            let hosts = constraints.hosts.as_ref();
            let paths = constraints.paths.as_ref();
            let admitted = hosts.is_none_or(|it| it.iter().any(|it| it.admits(request.host)))
                && paths.is_none_or(|it| it.iter().any(|it| it.admits(request.path)));
            assert_eq!(rule.matches(request), admitted, "{text} on {request:?}");
            requests.fetch_add(usize::from(admitted), Ordering::Relaxed);
        });
        Ok(())
    });
    outcome.unwrap();
    let (rules, requests) = (rules.into_inner(), requests.into_inner());
    assert!(
        rules > 500 && requests > 5_000,
        "{rules} rules, {requests} requests"
    );
}

#[test]
fn hostile_texts_are_answered_and_bounded() {
    let repeat = |text: &str| text.repeat(10_000 / text.len());
    let big = |text: &str| text.repeat(MAX_TEXT / text.len() - 10);
    let cases = [
        (
            "(".repeat(10_000),
            "parentheses nest deeper than 128 levels",
        ),
        (
            "!(".repeat(5_000),
            "parentheses nest deeper than 128 levels",
        ),
        (
            "!".repeat(10_000),
            "expected a matcher, found the end of the rule",
        ),
        (")".repeat(10_000), "expected a matcher, found `)`"),
        (
            repeat("Host(`a`)("),
            "expected `&&`, `||` or the end of the rule, found `(`",
        ),
        (
            repeat("é"),
            "unknown matcher `éééééééééééééééééééééééééééééééééééééééé`",
        ),
        (
            format!("PathRegexp(`{}`)", repeat("(")),
            "in the regular expression, groups nest deeper than 100 levels",
        ),
        (
            format!("PathRegexp(`{}`)", repeat("(?i")),
            "in the regular expression, `(?` is not followed by flags, `:` or a name in angle brackets",
        ),
        (
            format!("PathRegexp(`{}`)", repeat("[")),
            "in the regular expression, the class that opens here is not closed",
        ),
        (
            format!("PathRegexp(`{}`)", repeat("[[:")),
            "in the regular expression, the class that opens here is not closed",
        ),
        (
            format!("PathRegexp(`{}`)", big(r"\pL")),
            "in the regular expression, it takes more than 1024 KiB once compiled",
        ),
        (
            format!("PathRegexp(`(?i){}`)", big(r"\pL")),
            "in the regular expression, it takes more than 1024 KiB once compiled",
        ),
        (
            "PathRegexp(`((((((a{1000}){1000}){1000}){1000}){1000}){1000})`)".to_owned(),
            "in the regular expression, it takes more than 1024 KiB once compiled",
        ),
        (
            "PathRegexp(`((((((a{0}){1000}){1000}){1000}){1000}){1000}){1000}[`)".to_owned(),
            "in the regular expression, the class that opens here is not closed",
        ),
        (
            vec![r"PathRegexp(`\pL{20}`)"; 700].join("||"),
            "in the regular expression, what the rule has up to here takes more than 4096 KiB once \
             compiled",
        ),
        (
            "x".repeat(MAX_TEXT + 1),
            "the rule is longer than 16384 bytes",
        ),
        ("é".repeat(1 << 20), "the rule is longer than 16384 bytes"),
    ];
    let count = cases.len();
    for (text, expect) in cases {
        let error = Rule::parse(&text).unwrap_err();
        assert_eq!(error.message, expect);
        assert!(error.to_string().len() < 2_000, "{error}");
    }
    assert_eq!(count, 17);
}

#[test]
fn large_rules_within_the_bounds_work() {
    let deep = format!("{}Path(`/a`){}", "!(".repeat(128), ")".repeat(128));
    assert_eq!(Rule::parse(&deep).unwrap().to_string(), "Path(`/a`)");

    let even = format!("{}Path(`/a`)", "!".repeat(10_000));
    assert_eq!(Rule::parse(&even).unwrap().to_string(), "Path(`/a`)");

    let hosts: Vec<_> = (0..700).map(|i| format!("Host(`h{i}`)")).collect();
    let wide = hosts.join(" || ");
    let rule = Rule::parse(&wide).unwrap();
    assert_eq!(rule.constraints().hosts.map(|hosts| hosts.len()), Some(700));
    assert_eq!(rule.to_string(), wide);

    let many = vec![r"PathRegexp(`^/[a-z]+\.[0-9]{1,9}$`)"; 400].join("||");
    assert!(Rule::parse(&many).is_ok());

    let groups = format!("PathRegexp(`{}a{}`)", "(".repeat(100), ")".repeat(100));
    assert!(Rule::parse(&groups).is_ok());
    let folded = format!("PathRegexp(`(?i){}`)", "é".repeat(1000));
    assert!(Rule::parse(&folded).is_ok());
}
