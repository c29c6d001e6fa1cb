//! Conditions that no request meets, though they parse.
//!
//! Traefik accepts them, and so they are no errors: but nobody writes one on purpose.

use std::{
    collections::{BTreeSet, HashSet},
    slice,
};

use crate::{
    constraints::Constraints,
    expression::{Expression, Leaf},
    matcher::{FieldName, HostPattern, Matcher},
    print::{Form, Shown},
};

/// The argument of a matcher that compares requests with it, byte for byte.
///
/// What requests can have is for whoever makes them canonical to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal<'r> {
    /// A whole host, lower case.
    Host(&'r str),
    /// What follows the first label of a host, lower case.
    ParentDomain(&'r str),
    /// A whole path.
    Path(&'r str),
    /// What a path begins with.
    PathPrefix(&'r str),
    /// A whole path, or one that others lie below.
    SegmentPrefix(&'r str),
}

/// The literals that requests are to have, in their order.
pub(crate) fn literals(expression: &Expression) -> Vec<Literal<'_>> {
    let asked = leaves(expression).into_iter();
    asked
        .filter(|leaf| !leaf.negated)
        .filter_map(|leaf| match &leaf.matcher {
            Matcher::Host(HostPattern::Exact(host)) => Some(Literal::Host(host)),
            Matcher::Host(HostPattern::Wildcard(parent)) => Some(Literal::ParentDomain(parent)),
            Matcher::Path(path) => Some(Literal::Path(path)),
            Matcher::PathPrefix(prefix) => Some(Literal::PathPrefix(prefix)),
            Matcher::SegmentPrefix(prefix) => Some(Literal::SegmentPrefix(prefix)),
            _ => None,
        })
        .collect()
}

fn leaves(expression: &Expression) -> Vec<&Leaf> {
    match expression {
        Expression::Leaf(leaf) => vec![leaf],
        Expression::All(parts) | Expression::Any(parts) => parts.iter().flat_map(leaves).collect(),
    }
}

/// What no request meets, each in a sentence: the widest part for each reason.
pub(crate) fn sentences(expression: &Expression, form: Form) -> Vec<String> {
    let of_parts = |parts: &[Expression]| -> Vec<_> {
        let sentences = parts.iter().flat_map(|part| sentences(part, form));
        sentences.collect()
    };
    match expression {
        Expression::Leaf(leaf) => leaf_sentence(leaf, form).into_iter().collect(),
        Expression::Any(parts) => of_parts(parts),
        Expression::All(parts) => {
            let inside = of_parts(parts);
            let shown = Shown(expression, form);
            match inside.is_empty() {
                true => contradiction(&parts.iter().collect::<Vec<_>>())
                    .map(|why| format!("{shown} matches no request: {why}"))
                    .into_iter()
                    .collect(),
                false => inside,
            }
        }
    }
}

fn leaf_sentence(leaf: &Leaf, form: Form) -> Option<String> {
    let why = match &leaf.matcher {
        Matcher::Host(HostPattern::Any) if leaf.negated => "it excludes every host",
        _ if leaf.negated => return None,
        Matcher::Header(FieldName::Never(name), _)
        | Matcher::HeaderRegexp(FieldName::Never(name), _) => {
            match (name.eq_ignore_ascii_case(b"host"), form) {
                (true, Form::Text) => "the host is no header field to rules; write Host(…)",
                (true, Form::Words) => {
                    "the host is no header field to rules; write it in `hostnames`"
                }
                (false, _) => "no request has a header field of that name",
            }
        }
        _ => return None,
    };
    Some(format!("{} matches no request: {why}", Shown(leaf, form)))
}

/// Whether it shows without a request that none meets both conditions.
pub(crate) fn exclude(one: &Expression, other: &Expression) -> bool {
    let parts: Vec<_> = conjuncts(one).iter().chain(conjuncts(other)).collect();
    contradiction(&parts).is_some()
}

/// The conditions that all hold where this one does.
fn conjuncts(expression: &Expression) -> &[Expression] {
    match expression {
        Expression::All(parts) => parts,
        Expression::Leaf(_) | Expression::Any(_) => slice::from_ref(expression),
    }
}

/// Why conditions that can each be met cannot be met together.
fn contradiction(parts: &[&Expression]) -> Option<&'static str> {
    let constraints = Constraints::of_all(parts.iter().copied());
    let none = |list: &Option<Vec<_>>| list.as_ref().is_some_and(Vec::is_empty);
    let never = none(&constraints.hosts) || constraints.paths.as_ref().is_some_and(Vec::is_empty);
    if methods_of_all(parts.iter().copied()).is_some_and(|methods| methods.is_empty()) {
        Some("no request has two methods; join them by ||")
    } else if never {
        Some("no request has two hosts or two paths; join them by ||")
    } else if opposites(parts) {
        Some("one condition is the opposite of another")
    } else {
        None
    }
}

/// The methods outside which an expression cannot match; `None`: any.
fn methods(expression: &Expression) -> Option<BTreeSet<&str>> {
    match expression {
        Expression::Leaf(Leaf {
            matcher: Matcher::Method(method),
            negated: false,
        }) => Some([&**method].into()),
        Expression::Leaf(_) => None,
        Expression::All(parts) => methods_of_all(parts),
        Expression::Any(parts) => {
            let all: Option<Vec<_>> = parts.iter().map(methods).collect();
            Some(all?.into_iter().flatten().collect())
        }
    }
}

/// The same where all of these hold.
fn methods_of_all<'e>(
    parts: impl IntoIterator<Item = &'e Expression>,
) -> Option<BTreeSet<&'e str>> {
    let lists = parts.into_iter().filter_map(methods);
    lists.reduce(|one, other| &one & &other)
}

fn opposites(parts: &[&Expression]) -> bool {
    let matchers = |negated| {
        let leaves = parts.iter().filter_map(move |part| match part {
            Expression::Leaf(leaf) if leaf.negated == negated => Some(&leaf.matcher),
            _ => None,
        });
        leaves.collect::<HashSet<_>>()
    };
    !matchers(true).is_disjoint(&matchers(false))
}

#[cfg(test)]
mod tests {
    use crate::Rule;

    #[test]
    fn what_no_request_meets() {
        let cases: [(&str, &[&str]); 20] = [
            ("Path(`/a`)", &[]),
            ("Host(`a.test`) && Path(`/a`) && Method(`GET`)", &[]),
            ("Method(`GET`) || Method(`POST`)", &[]),
            ("(Method(`GET`) || Method(`POST`)) && Method(`POST`)", &[]),
            ("!Method(`GET`) && !Method(`POST`)", &[]),
            ("PathPrefix(`/a`) && Path(`/a/b`)", &[]),
            ("Header(`a`, `1`) && Header(`a`, `2`)", &[]),
            ("Path(`/a`) && !Path(`/b`)", &[]),
            ("Method(`GET`) && Method(`POST`)", &["two methods"]),
            (
                "Path(`/a`) && Method(`GET`) && (Method(`PUT`) || Method(`POST`))",
                &["two methods"],
            ),
            ("Path(`/a`) && Path(`/b`)", &["two paths"]),
            ("PathPrefix(`/a`) && Path(`/b`)", &["two paths"]),
            ("Host(`a.test`) && Host(`b.test`)", &["two hosts"]),
            ("Host(`a.test`) && Host(`*.b.test`)", &["two hosts"]),
            // The rest of the rule may match.
            (
                "Path(`/c`) || Path(`/a`) && Path(`/b`)",
                &["Path(`/a`) && Path(`/b`) matches"],
            ),
            ("!Host(`*`)", &["every host"]),
            ("Header(`Host`, `a.test`)", &["write Host"]),
            ("Header(`a b`, `c`)", &["of that name"]),
            (
                "ClientIP(`10.0.0.1`) && !ClientIP(`10.0.0.1`)",
                &["opposite"],
            ),
            (
                "Method(`GET`) && Method(`PUT`) || Path(`/a`) && !Path(`/a`)",
                &["two methods", "opposite"],
            ),
        ];
        for (text, expected) in cases {
            let sentences = Rule::parse(text).unwrap().never();
            assert_eq!(sentences.len(), expected.len(), "{text}: {sentences:?}");
            for (sentence, part) in sentences.iter().zip(expected) {
                assert!(sentence.contains(part), "{text}: {sentence}");
            }
        }
    }

    #[test]
    fn literals_that_requests_are_to_have() {
        use super::Literal::{Host, ParentDomain, Path, PathPrefix};

        let text =
            "Host(`A.test:80`) && !Path(`/x`) && (Path(`/a`) || PathPrefix(`/b`) && Host(`*.c`))";
        let rule = Rule::parse(text).unwrap();
        let expected = [
            Host("a.test:80"),
            Path("/a"),
            PathPrefix("/b"),
            ParentDomain("c"),
        ];
        assert_eq!(rule.literals(), expected);
    }

    #[test]
    fn conditions_that_exclude_each_other() {
        let cases = [
            ("Path(`/a`)", "Path(`/b`)", true),
            ("PathPrefix(`/a`)", "Path(`/b`) || Path(`/c`)", true),
            ("PathPrefix(`/a`)", "Path(`/b`) || Path(`/a/c`)", false),
            ("Method(`GET`)", "Path(`/`) && Method(`POST`)", true),
            ("Method(`GET`)", "Method(`GET`) || Method(`POST`)", false),
            ("Host(`a.test`)", "Host(`*.b.test`)", true),
            ("Header(`a`, `1`)", "!Header(`a`, `1`)", true),
            ("Header(`a`, `1`)", "Header(`a`, `2`)", false),
            // True, but not seen.
            ("PathRegexp(`^/a$`)", "Path(`/b`)", false),
            ("Path(`/a`)", "!PathPrefix(`/`)", false),
        ];
        for (one, other, expected) in cases {
            let (left, right) = (Rule::parse(one).unwrap(), Rule::parse(other).unwrap());
            assert_eq!(left.excludes(&right), expected, "{one}, {other}");
            assert_eq!(right.excludes(&left), expected, "{other}, {one}");
        }
        assert_eq!(cases.len(), 10);
    }
}
