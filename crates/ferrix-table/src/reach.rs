//! The hosts and paths that a rule can match at most, which are known without a request.

use ferrix_rule::{Constraints, HostConstraint, PathConstraint};

use crate::rules::{HostPattern, Rule};

/// The hosts and paths outside which a rule never matches.
#[derive(Debug)]
pub(crate) struct Reach {
    /// The hosts of the route, narrowed to those that the expression allows. Sorted. Empty: it
    /// never matches.
    pub(crate) hosts: Vec<HostPattern>,
    /// `None`: every path.
    pub(crate) paths: Option<Vec<PathConstraint>>,
    /// Whether the rule takes every request with one of the hosts and one of the paths.
    pub(crate) whole: bool,
}

impl Reach {
    pub(crate) fn new(rule: &Rule) -> Reach {
        let Some(matches) = &rule.matches else {
            return Reach {
                hosts: vec![rule.host.clone()],
                paths: None,
                whole: true,
            };
        };
        let constraints = matches.constraints();
        let whole = is_whole(matches, &constraints);
        Reach {
            hosts: hosts(&rule.host, constraints.hosts),
            paths: constraints.paths,
            whole,
        }
    }

    /// Only the hosts.
    pub(crate) fn hosts_of(rule: &Rule) -> Vec<HostPattern> {
        let matches = rule.matches.as_ref();
        hosts(&rule.host, matches.and_then(|it| it.constraints().hosts))
    }
}

/// Whether an expression asks for nothing beyond its constraints. Noticed only where these are one
/// host, one path, or both: then the expression in canonical spelling is just those matchers.
fn is_whole(matches: &ferrix_rule::Rule, constraints: &Constraints) -> bool {
    let host = match constraints.hosts.as_deref() {
        None => None,
        Some([HostConstraint::Exact(name)]) => Some(format!("Host(`{name}`)")),
        Some([HostConstraint::Wildcard(suffix)]) => Some(format!("Host(`*.{suffix}`)")),
        Some(_) => return false,
    };
    let path = match constraints.paths.as_deref() {
        None => None,
        Some([PathConstraint::Exact(path)]) => Some(format!("Path(`{path}`)")),
        Some([PathConstraint::Prefix(path)]) => Some(format!("PathPrefix(`{path}`)")),
        Some(_) => return false,
    };
    match (host, path) {
        (None, None) => false,
        (Some(one), None) | (None, Some(one)) => matches.to_string() == one,
        (Some(host), Some(path)) => {
            let text = matches.to_string();
            text == format!("{host} && {path}") || text == format!("{path} && {host}")
        }
    }
}

fn hosts(pattern: &HostPattern, constraints: Option<Vec<HostConstraint>>) -> Vec<HostPattern> {
    let Some(constraints) = constraints else {
        return vec![pattern.clone()];
    };
    let mut hosts: Vec<_> = (constraints.into_iter())
        .filter_map(|constraint| intersection(pattern, constraint))
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// The hosts that both take; `None` where there are none.
fn intersection(pattern: &HostPattern, constraint: HostConstraint) -> Option<HostPattern> {
    let constraint = match constraint {
        HostConstraint::Exact(name) => HostPattern::Exact(name.into()),
        HostConstraint::Wildcard(suffix) => HostPattern::Wildcard(suffix.into()),
    };
    if pattern.covers(&constraint) {
        Some(constraint)
    } else if constraint.covers(pattern) {
        Some(pattern.clone())
    } else {
        None
    }
}
