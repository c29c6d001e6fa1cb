//! What Go makes of string literals and regular expressions, against what a rule makes of them.
//!
//! The tables were made with Go; each says how. A rule may take what Go refuses, and must refuse
//! what it would read in another way.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, and so may what it calls"
)]

use std::net::{IpAddr, Ipv4Addr};

use ferrix_rule::{Request, Rule, Substitution};
use http::{HeaderMap, Method};

/// Expressions that Go takes and a rule refuses.
const REFUSED: [&str; 1] = [r#""\\x{D800}""#];

#[test]
fn regular_expressions_mean_what_they_mean_in_go() {
    let mut inputs = Vec::new();
    let mut refused = Vec::new();
    let mut pairs = 0;
    for row in rows(include_str!("go_regexps.tsv")) {
        let (pattern, expect) = match row {
            ("input", input) => {
                inputs.push(format!("k={input}"));
                continue;
            }
            row => row,
        };
        let rule = Rule::parse(&format!("QueryRegexp(`k`, {pattern})"));
        let rule = match rule {
            Ok(rule) => rule,
            Err(_) if expect == "error" || pattern == r#""""# => continue,
            Err(_) => {
                refused.push(pattern);
                continue;
            }
        };
        if expect == "error" {
            continue;
        }
        assert_eq!(expect.len(), inputs.len(), "{pattern}");
        for (query, expect) in inputs.iter().zip(expect.chars()) {
            assert_eq!(matches(&rule, query), expect == '1', "{pattern} on {query}");
            pairs += 1;
        }
    }
    assert_eq!(refused, REFUSED);
    assert_eq!(pairs, 46746);
}

#[test]
fn string_literals_mean_what_they_mean_in_go() {
    let mut cases = 0;
    for (literal, expect) in rows(include_str!("go_strings.tsv")) {
        let literal = percent_decoded(literal);
        let rule = Rule::parse(&format!("Query(`k`, {literal})"));
        cases += 1;
        match rule {
            Err(error) => assert_eq!(expect, "error", "{literal}: {error}"),
            Ok(rule) => {
                assert_ne!(expect, "error", "{literal} was read as {rule}");
                let bytes = expect
                    .as_bytes()
                    .chunks(2)
                    .map(|hex| str::from_utf8(hex).unwrap());
                let query: String = bytes.map(|hex| format!("%{hex}")).collect();
                assert!(
                    matches(&rule, &format!("k={query}")),
                    "{literal} was read as {rule}"
                );
            }
        }
    }
    assert_eq!(cases, 304);
}

#[test]
fn rules_mean_what_they_mean_in_go() {
    let headers = HeaderMap::new();
    let (mut rules, mut more_liberal) = (0, 0);
    for (text, expect) in rows(include_str!("go_rules.tsv")) {
        let text = percent_decoded(text);
        rules += 1;
        let rule = match Rule::parse(&text) {
            Ok(rule) => rule,
            Err(error) => {
                assert_eq!(expect, "error", "{error}");
                continue;
            }
        };
        if expect == "error" {
            // The only liberty: a line may end where Go would end the whole expression.
            assert!(text.contains('\n'), "{text} was read as {rule}");
            more_liberal += 1;
            continue;
        }
        for (i, expect) in expect.chars().enumerate() {
            let request = Request {
                method: if i & 4 != 0 {
                    &Method::GET
                } else {
                    &Method::PUT
                },
                host: if i & 1 != 0 { "a" } else { "b" },
                path: if i & 2 != 0 { "/a" } else { "/b" },
                query: if i & 8 != 0 { "a" } else { "b" },
                headers: &headers,
                client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            };
            assert_eq!(
                rule.matches(&request),
                expect == '1',
                "{text} on {request:?}"
            );
            assert_eq!(
                rule.mismatch(&request).is_none(),
                expect == '1',
                "{text} on {request:?}"
            );
        }
    }
    assert_eq!((rules, more_liberal), (415, 5));
}

#[test]
fn substitutions_are_those_of_go() {
    let mut inputs = Vec::new();
    let mut cases = 0;
    for (kind, row) in rows(include_str!("go_substitutions.tsv")) {
        let mut columns = row.split('\t');
        if kind == "input" {
            inputs.push(unquoted(row));
            continue;
        }
        let mut column = || unquoted(columns.next().unwrap());
        let (pattern, template) = (column(), column());
        let substitution = Substitution::new(&pattern, &template).unwrap();
        for (input, expected) in inputs.iter().zip(columns.by_ref()) {
            let expected = (expected != "-").then(|| unquoted(expected));
            let replaced = substitution.apply(input, 10_000).unwrap();
            assert_eq!(replaced, expected, "{pattern} {template} on {input:?}");
            cases += 1;
        }
        assert_eq!(columns.next(), None);
    }
    assert_eq!(cases, 2106);
}

/// The text of a Go string literal, as far as these have escapes.
fn unquoted(literal: &str) -> String {
    let text = literal.strip_prefix('"').unwrap();
    let text = text.strip_suffix('"').unwrap();
    let mut unquoted = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        unquoted.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => panic!("{literal}"),
            },
            other => other,
        });
    }
    unquoted
}

/// The lines of a table, without its comments, each split in two.
fn rows(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('\t'))
}

fn matches(rule: &Rule, query: &str) -> bool {
    rule.matches(&Request {
        method: &Method::GET,
        host: "",
        path: "/",
        query,
        headers: &HeaderMap::new(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
    })
}

fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap().to_owned();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        decoded.push(char::from(u8::from_str_radix(hex, 16).unwrap()));
        decoded.push_str(rest);
    }
    decoded
}
