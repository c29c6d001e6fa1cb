//! The hosts and paths that a rule can match at most, which are known without a request.

use std::{ops::Deref, slice};

use ferrix_rule::{Constraints, HostConstraint, PathConstraint};

use crate::rules::{HostPattern, Rule};

/// The hosts and paths outside which a rule never matches.
#[derive(Debug)]
pub(crate) struct Reach {
    /// The hosts of the route, narrowed to those that the expression allows. Sorted. Empty: it
    /// never matches.
    pub(crate) hosts: Hosts,
    /// `None`: every path.
    pub(crate) paths: Option<Box<[PathConstraint]>>,
    /// Whether the rule takes every request with one of the hosts and one of the paths.
    pub(crate) whole: bool,
}

/// Hosts. Nearly all rules have one, which takes no memory of its own.
#[derive(Debug)]
pub(crate) enum Hosts {
    One(HostPattern),
    Others(Box<[HostPattern]>),
}

impl Deref for Hosts {
    type Target = [HostPattern];

    fn deref(&self) -> &[HostPattern] {
        match self {
            Self::One(host) => slice::from_ref(host),
            Self::Others(hosts) => hosts,
        }
    }
}

impl Reach {
    pub(crate) fn new(rule: &Rule) -> Reach {
        let Some(matches) = &rule.matches else {
            return Reach {
                hosts: Hosts::One(rule.host.clone()),
                paths: None,
                whole: true,
            };
        };
        let Constraints {
            hosts,
            paths,
            whole,
        } = matches.constraints();
        Reach {
            hosts: narrowed(&rule.host, hosts),
            paths: paths.map(Into::into),
            whole,
        }
    }

    /// Only the hosts.
    pub(crate) fn hosts_of(rule: &Rule) -> Hosts {
        let matches = rule.matches.as_ref();
        narrowed(&rule.host, matches.and_then(|it| it.constraints().hosts))
    }
}

fn narrowed(pattern: &HostPattern, constraints: Option<Vec<HostConstraint>>) -> Hosts {
    let Some(constraints) = constraints else {
        return Hosts::One(pattern.clone());
    };
    let mut hosts: Vec<_> = (constraints.into_iter())
        .filter_map(|constraint| intersection(pattern, constraint))
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    match hosts.pop() {
        Some(only) if hosts.is_empty() => Hosts::One(only),
        last => Hosts::Others(hosts.into_iter().chain(last).collect()),
    }
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
