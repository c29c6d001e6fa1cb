//! Rules, or parts of them, that no request can match: what to tell their author.
//!
//! Each is something that Traefik accepts as well, and so is nothing that makes a version bad.

use ferrix_rule::{HostConstraint, Literal, Rule};
use ferrix_table::{
    host::{self, HostError},
    path::{self, PathError, PathOptions},
    rules::HostPattern,
};

use crate::report::{Finding, Reason};

/// What there is to say about a rule for these hosts, whose expression stands in `field`.
pub(crate) fn findings(rule: &Rule, hosts: &[HostPattern], field: &str) -> Vec<Finding> {
    let mut messages = rule.never();
    messages.extend(rule.literals().into_iter().filter_map(literal));
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
fn literal(literal: Literal<'_>) -> Option<String> {
    match literal {
        Literal::Host(host) => {
            let why = host_never(host)?;
            Some(format!("Host(`{host}`) matches no request: {why}"))
        }
        Literal::ParentDomain(parent) => {
            let why = host_never(parent)?;
            Some(format!("Host(`*.{parent}`) matches no request: {why}"))
        }
        Literal::Path(path) => {
            let why = path_never(path)?;
            Some(format!("Path(`{path}`) {why}"))
        }
        Literal::PathPrefix(prefix) => {
            let why = prefix_never(prefix)?;
            Some(format!("PathPrefix(`{prefix}`) {why}"))
        }
        Literal::SegmentPrefix(path) => {
            let why = path_never(path)?;
            Some(format!("path prefix `{path}` {why}"))
        }
    }
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

fn path_never(path: &str) -> Option<String> {
    if let Some(why) = part_never(path) {
        return Some(why);
    }
    match path::canonical(path, &options()) {
        Ok(canonical) if canonical.routing_path != path => Some(format!(
            "matches no request: requests have it as `{}`; write it so",
            canonical.routing_path
        )),
        Ok(_) => None,
        Err(error) => Some(format!("matches no request: {error}")),
    }
}

fn prefix_never(prefix: &str) -> Option<String> {
    if let Some(why) = part_never(prefix) {
        return Some(why);
    }
    // Some path that begins so, of which a last segment that is no more than dots says nothing.
    match path::canonical(&format!("{prefix}x"), &options()) {
        Ok(canonical) if !canonical.routing_path.starts_with(prefix) => {
            let path = &canonical.routing_path;
            let path = path.strip_suffix('x').unwrap_or(path);
            Some(format!(
                "matches no request: requests have it as `{path}`; write it so"
            ))
        }
        Err(
            error @ (PathError::Control(_)
            | PathError::EncodedControl(_)
            | PathError::Backslash
            | PathError::Fragment
            | PathError::Space),
        ) => Some(format!("matches no request: {error}")),
        _ => None,
    }
}

/// What is wrong with a path or the beginning of one.
fn part_never(path: &str) -> Option<String> {
    if is_of_version_2(path) {
        return Some(
            "takes the braces as they stand: this is the syntax of Traefik v2; write PathRegexp(…)"
                .to_owned(),
        );
    }
    path.contains('?')
        .then(|| "matches no request: a path ends before the `?`; write Query(…)".to_owned())
}

/// The most that a request can have: who does not merge slashes has more paths.
fn options() -> PathOptions {
    PathOptions {
        merge_slashes: false,
        refuse_encoded_slashes: false,
    }
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
            ("Path(`/a b`)", "", Some("space")),
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
        assert_eq!(cases.len(), 32);
    }
}
