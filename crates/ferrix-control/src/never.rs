//! Rules, or parts of them, that no request can match: what to tell their author.
//!
//! Each is something that Traefik, or the API server, accepts as well, and so is nothing that makes a version
//! bad.

use ferrix_rule::{HostConstraint, Literal, Rule};
use ferrix_table::{
    host::{self, HostError},
    path::{self, PathError},
    rules::HostPattern,
};

use crate::{
    report::{Finding, Reason},
    url_path::AS_SENT,
};

/// How a rule is written.
#[derive(Clone, Copy)]
enum Form {
    /// In the language of Traefik.
    Text,
    /// As fields of an object.
    Fields,
}

/// What there is to say about a rule for these hosts, whose conditions stand in `field`.
pub(crate) fn findings(rule: &Rule, hosts: &[HostPattern], field: &str) -> Vec<Finding> {
    let form = match rule.text() {
        Some(_) => Form::Text,
        None => Form::Fields,
    };
    let mut messages = rule.never();
    let literals = rule.literals().into_iter();
    messages.extend(literals.filter_map(|it| literal(it, form)));
    if messages.is_empty() {
        messages.extend(other_hosts(rule, hosts));
    }
    let finding = |message| Finding::warning(Reason::NeverMatches, field, message);
    messages.into_iter().map(finding).collect()
}

/// Whether the expression asks for none of the hosts that the rule is for.
fn other_hosts(rule: &Rule, hosts: &[HostPattern]) -> Option<String> {
    let asked = rule.constraints().hosts?;
    let asked: Vec<HostPattern> = asked.into_iter().map(pattern).collect();
    let meet = |one: &HostPattern, other: &HostPattern| one.covers(other) || other.covers(one);
    let any = hosts
        .iter()
        .any(|host| asked.iter().any(|it| meet(host, it)));
    let (Some(host), Some(first), false) = (hosts.first(), asked.first(), any) else {
        return None;
    };
    Some(format!(
        "matches no request: it asks for {first}, and its route is for {host}; leave `Host` out, or \
         make a route of its own"
    ))
}

fn pattern(constraint: HostConstraint) -> HostPattern {
    match constraint {
        HostConstraint::Exact(host) => HostPattern::Exact(host.into()),
        HostConstraint::Wildcard(parent) => HostPattern::Wildcard(parent.into()),
    }
}

/// Why no request has what it is compared with.
fn literal(literal: Literal<'_>, form: Form) -> Option<String> {
    let host_never = |host| Some(format!("matches no request: {}", host_never(host)?));
    let (what, why) = match (literal, form) {
        (Literal::Host(host), _) => (format!("Host(`{host}`)"), host_never(host)?),
        (Literal::ParentDomain(parent), _) => (format!("Host(`*.{parent}`)"), host_never(parent)?),
        (Literal::Path(path), Form::Text) => (format!("Path(`{path}`)"), path_never(path, form)?),
        (Literal::Path(path), Form::Fields) => (format!("path `{path}`"), path_never(path, form)?),
        (Literal::PathPrefix(prefix), Form::Text) => (
            format!("PathPrefix(`{prefix}`)"),
            prefix_never(prefix, form)?,
        ),
        (Literal::PathPrefix(prefix), Form::Fields) => (
            format!("path beginning `{prefix}`"),
            prefix_never(prefix, form)?,
        ),
        (Literal::SegmentPrefix(path), _) => {
            (format!("path prefix `{path}`"), path_never(path, form)?)
        }
    };
    Some(format!("{what} {why}"))
}

fn host_never(host: &str) -> Option<String> {
    if is_of_version_2(host) {
        return Some("this is the syntax of Traefik v2; write HostRegexp(…)".to_owned());
    }
    match host::canonical(host) {
        Ok(canonical) if canonical.port.is_some() => Some(format!(
            "hosts are compared without their port; write Host(`{}`)",
            canonical.host
        )),
        Ok(canonical) if canonical.host != host => Some(format!(
            "requests have it as `{}`; write it so",
            canonical.host
        )),
        Ok(_) => None,
        // As they are compared with.
        Err(HostError::BareIpv6) => None,
        Err(error) => Some(error.to_string()),
    }
}

fn path_never(path: &str, form: Form) -> Option<String> {
    if let Some(why) = part_never(path, form) {
        return Some(why);
    }
    match path::canonical(&as_sent(path), &AS_SENT) {
        Ok(canonical) if canonical.routing_path != path => Some(format!(
            "matches no request: requests have it as `{}`; write it so",
            canonical.routing_path
        )),
        Ok(_) => None,
        Err(error) => Some(format!("matches no request: {error}")),
    }
}

fn prefix_never(prefix: &str, form: Form) -> Option<String> {
    if let Some(why) = part_never(prefix, form) {
        return Some(why);
    }
    // Some path that begins so, of which a last segment that is no more than dots says nothing.
    match path::canonical(&as_sent(&format!("{prefix}x")), &AS_SENT) {
        Ok(canonical) if !canonical.routing_path.starts_with(prefix) => {
            let path = &canonical.routing_path;
            let path = path.strip_suffix('x').unwrap_or(path);
            Some(format!(
                "matches no request: requests have it as `{path}`; write it so"
            ))
        }
        Err(
            error @ (PathError::Control(_) | PathError::EncodedControl(_) | PathError::Fragment),
        ) => Some(format!("matches no request: {error}")),
        _ => None,
    }
}

/// A path as rules see it, where a request may have what no target holds as it stands.
fn as_sent(path: &str) -> String {
    path.replace(' ', "%20").replace('\\', "%5C")
}

/// What is wrong with a path or the beginning of one.
fn part_never(path: &str, form: Form) -> Option<String> {
    let (is_of_version_2, has_query) = (is_of_version_2(path), path.contains('?'));
    let why = match form {
        Form::Text if is_of_version_2 => {
            "takes the braces as they stand: this is the syntax of Traefik v2; write PathRegexp(…)"
        }
        Form::Text if has_query => "matches no request: a path ends before the `?`; write Query(…)",
        Form::Fields if is_of_version_2 => {
            "takes the braces as they stand: there are no variables here"
        }
        Form::Fields if is_expression(path) => {
            "takes the path as it stands: it is no regular expression"
        }
        Form::Fields if has_query => "matches no request: a path ends before the `?`",
        Form::Text | Form::Fields => return None,
    };
    Some(why.to_owned())
}

/// Whether a path looks like an expression, as other controllers take it for one.
fn is_expression(path: &str) -> bool {
    [".*", ".+", "(?", "(/|", "$)", "\\"]
        .iter()
        .any(|part| path.contains(part))
}

/// Whether there are braces with something in them: variables, until version 2.
fn is_of_version_2(text: &str) -> bool {
    let inside = text
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    inside.is_some_and(|(inside, _)| !inside.is_empty())
}

#[cfg(test)]
mod tests {
    use ferrix_rule::{Match, PathMatch};

    use super::*;

    #[test]
    fn what_no_request_can_have() {
        let cases = [
            ("Host(`a.test`)", "a.test", None),
            ("Host(`*.test`)", "a.test", None),
            ("Host(`a.test`)", "*.test", None),
            ("Host(`a.test`)", "", None),
            ("Host(`::1`)", "", None),
            ("Path(`/a`) || Host(`b.test`)", "a.test", None),
            ("Path(`/a/b-c~d`)", "", None),
            ("Path(`/é`)", "", None),
            // As docs/rules.md has it: requests have it as `/a%20b`.
            ("Path(`/a b`)", "", None),
            ("PathPrefix(`/a b/`)", "", None),
            ("Path(`/a\\b`)", "", None),
            ("Path(`/\\a`)", "", Some("encoded slash or backslash")),
            ("PathPrefix(`/a/.`)", "", None),
            ("PathPrefix(`/a/..`)", "", None),
            ("PathPrefix(`/%2`)", "", None),
            ("Path(`//a`)", "", None),
            ("PathPrefix(`/{`)", "", None),
            ("Host(`b.test`)", "a.test", Some("its route is for a.test")),
            ("Host(`*.b.test`)", "a.test", Some("asks for *.b.test")),
            (
                "Host(`a.b.test`)",
                "*.test",
                Some("its route is for *.test"),
            ),
            ("Host(`a.test:8080`)", "", Some("write Host(`a.test`)")),
            ("Host(`[::1]`)", "", Some("`::1`")),
            ("Host(`http://a.test`)", "", Some("matches no request")),
            ("Host(`a.*.test`)", "", Some("matches no request")),
            ("Host(`{name:[a-z]+}.test`)", "", Some("HostRegexp")),
            ("Host(`*.test:80`)", "", Some("without their port")),
            ("Path(`/users/{id}`)", "", Some("PathRegexp")),
            ("PathPrefix(`/users/{id:[0-9]+}/`)", "", Some("PathRegexp")),
            ("Path(`/a?b=c`)", "", Some("Query")),
            ("PathPrefix(`/a#b`)", "", Some("fragment")),
            ("Path(`/caf%C3%A9`)", "", Some("`/café`")),
            ("PathPrefix(`/%7Euser`)", "", Some("`/~user`")),
            ("Path(`/a/../b`)", "", Some("`/b`")),
            ("Path(`/a`) && Path(`/b`)", "", Some("two paths")),
            ("!Host(`a.test:80`)", "", None),
        ];
        for (text, host, expected) in cases {
            let host = match host {
                "" => HostPattern::Any,
                host => HostPattern::parse(host).unwrap(),
            };
            let rule = Rule::parse(text).unwrap();
            let found = findings(&rule, &[host], "f");
            let messages: Vec<_> = found.into_iter().map(|it| it.message).collect();
            match expected {
                None => assert!(messages.is_empty(), "{text}: {messages:?}"),
                Some(part) => {
                    assert_eq!(messages.len(), 1, "{text}: {messages:?}");
                    assert!(messages[0].contains(part), "{text}: {messages:?}");
                }
            }
        }
        assert_eq!(cases.len(), 35);
    }
    #[test]
    fn what_no_request_can_have_of_fields() {
        let cases = [
            (PathMatch::Exact("/a".to_owned()), None),
            (PathMatch::Prefix("/a".to_owned()), None),
            (PathMatch::Beginning("/a/..".to_owned()), None),
            (
                PathMatch::Exact("/a?b".to_owned()),
                Some("path `/a?b` matches no request: a path ends before the `?`"),
            ),
            (
                PathMatch::Prefix("/users/{id}".to_owned()),
                Some(
                    "path prefix `/users/{id}` takes the braces as they stand: there are no variables here",
                ),
            ),
            (
                PathMatch::Beginning("/api(/|$)(.*)".to_owned()),
                Some(
                    "path beginning `/api(/|$)(.*)` takes the path as it stands: it is no regular expression",
                ),
            ),
            (PathMatch::Exact("/Products(1)".to_owned()), None),
            (
                PathMatch::Beginning("/a#b".to_owned()),
                Some("path beginning `/a#b` matches no request: the target holds a fragment (`#`)"),
            ),
        ];
        for (path, expected) in &cases {
            let fields = Match {
                path: Some(path.clone()),
                ..Match::default()
            };
            let rule = Rule::of(&fields).unwrap().unwrap();
            let found = findings(&rule, &[HostPattern::Any], "f");
            let messages: Vec<_> = found.iter().map(|it| &*it.message).collect();
            assert_eq!(messages, Vec::from_iter(*expected), "{path:?}");
        }
        assert_eq!(cases.len(), 8);
    }
}
