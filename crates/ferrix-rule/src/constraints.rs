//! Which hosts and paths a rule can match at all, for an index over many rules.
//!
//! A constraint may admit more than its rule, never less. Hosts and paths are worked out
//! independently; regular expressions and negations restrict neither.

use crate::{
    expression::{Expression, Leaf},
    matcher::{HostPattern, Matcher, parent},
};

/// The hosts and the paths of the requests that a rule can match.
///
/// `None`: any. With `Some(list)`, every request that matches has a host (or a path) that is in at
/// least one set of the list. If the rule can never match, both lists are empty. No set of a list
/// lies within another, and equal rules have equal lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraints {
    /// The hosts.
    pub hosts: Option<Vec<HostConstraint>>,
    /// The paths.
    pub paths: Option<Vec<PathConstraint>>,
    /// Whether the rule asks for nothing else, so that it takes every request with such a host and
    /// such a path. `false` says nothing: of alternatives that differ in hosts and in paths it is
    /// not told.
    pub whole: bool,
}

/// A set of hosts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostConstraint {
    /// This host, in the canonical form of [`Request::host`](crate::Request::host).
    Exact(String),
    /// The hosts with exactly one label more than this: `example.com` for `*.example.com`.
    Wildcard(String),
}

/// A set of paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathConstraint {
    /// This path.
    Exact(String),
    /// The paths that begin with these bytes, at a segment's end or not.
    Prefix(String),
}

impl HostConstraint {
    /// Whether the host is in the set.
    pub fn admits(&self, host: &str) -> bool {
        match self {
            HostConstraint::Exact(exact) => exact == host,
            HostConstraint::Wildcard(domain) => parent(host) == Some(domain),
        }
    }
}

impl PathConstraint {
    /// Whether the path is in the set.
    pub fn admits(&self, path: &str) -> bool {
        match self {
            PathConstraint::Exact(exact) => exact == path,
            PathConstraint::Prefix(prefix) => path.starts_with(prefix.as_str()),
        }
    }
}

impl Constraints {
    /// Of conditions that every request meets.
    const FREE: Constraints = Constraints {
        hosts: None,
        paths: None,
        whole: true,
    };
    /// Of conditions that no request meets.
    const NEVER: Constraints = Constraints {
        hosts: Some(Vec::new()),
        paths: Some(Vec::new()),
        whole: true,
    };
    /// Of conditions on something else than host and path.
    const OTHER: Constraints = Constraints {
        whole: false,
        ..Constraints::FREE
    };

    pub(crate) fn of(expression: &Expression) -> Constraints {
        match expression {
            Expression::Leaf(leaf) => Constraints::of_leaf(leaf),
            Expression::All(parts) => Constraints::of_all(parts),
            Expression::Any(parts) => {
                Constraints::of_any(parts.iter().map(Constraints::of).collect())
            }
        }
    }

    /// Those of conditions that all hold.
    pub(crate) fn of_all<'e>(parts: impl IntoIterator<Item = &'e Expression>) -> Constraints {
        let parts = parts.into_iter().map(Constraints::of);
        parts.fold(Constraints::FREE, Constraints::and)
    }

    /// Those of conditions of which one holds.
    fn of_any(parts: Vec<Constraints>) -> Constraints {
        let all_same = |same: fn(&Constraints, &Constraints) -> bool| {
            parts.windows(2).all(|pair| same(&pair[0], &pair[1]))
        };
        // Any host with any path is more than the parts take, unless they differ in one of the two
        // alone.
        let whole = parts.iter().all(|part| part.whole)
            && (all_same(|one, other| one.hosts == other.hosts)
                || all_same(|one, other| one.paths == other.paths));
        let (hosts, paths) = parts.into_iter().map(|it| (it.hosts, it.paths)).unzip();
        Constraints {
            hosts: union(hosts),
            paths: union(paths),
            whole,
        }
    }

    fn of_leaf(leaf: &Leaf) -> Constraints {
        let host = |host| Constraints {
            hosts: Some(vec![host]),
            ..Constraints::FREE
        };
        let paths = |paths| Constraints {
            paths: Some(paths),
            ..Constraints::FREE
        };
        let path = |path| paths(vec![path]);
        match &leaf.matcher {
            Matcher::Host(HostPattern::Any) if leaf.negated => Constraints::NEVER,
            _ if leaf.negated => Constraints::OTHER,
            Matcher::Host(HostPattern::Any) => Constraints::FREE,
            // A request without a host has no exact host.
            Matcher::Host(HostPattern::Exact(exact)) if exact.is_empty() => Constraints::NEVER,
            Matcher::Host(HostPattern::Exact(exact)) => {
                host(HostConstraint::Exact(exact.to_string()))
            }
            Matcher::Host(HostPattern::Wildcard(parent)) => {
                host(HostConstraint::Wildcard(parent.to_string()))
            }
            Matcher::Path(exact) => path(PathConstraint::Exact(exact.to_string())),
            Matcher::PathPrefix(prefix) => path(PathConstraint::Prefix(prefix.to_string())),
            Matcher::SegmentPrefix(prefix) => paths(vec![
                PathConstraint::Exact(prefix.to_string()),
                PathConstraint::Prefix(format!("{prefix}/")),
            ]),
            _ => Constraints::OTHER,
        }
    }

    fn and(self, other: Constraints) -> Constraints {
        let hosts = intersection(self.hosts, other.hosts);
        let paths = intersection(self.paths, other.paths);
        let never =
            hosts.as_ref().is_some_and(Vec::is_empty) || paths.as_ref().is_some_and(Vec::is_empty);
        if never {
            Constraints::NEVER
        } else {
            Constraints {
                hosts,
                paths,
                whole: self.whole && other.whole,
            }
        }
    }
}

/// A set of hosts or paths. Two of them never overlap in part: one lies within the other, or they
/// have nothing in common.
///
/// Sorted by [`Set::key`], every set stands right before all that lie within it. One pass over a
/// sorted list is then enough to find these, which matters as a rule may name a thousand hosts.
trait Set: Clone {
    type Key<'k>: Ord
    where
        Self: 'k;

    /// What sets are sorted by: first a set, then at once all sets that lie within it.
    fn key(&self) -> Self::Key<'_>;

    /// Whether all of the other set is in this one.
    fn covers(&self, other: &Self) -> bool;
}

impl Set for HostConstraint {
    /// The parent domain (`None` for a host that no wildcard can cover), then the host: so the
    /// wildcard of a domain stands before the hosts of that domain.
    type Key<'k> = (Option<&'k str>, Option<&'k str>);

    fn key(&self) -> Self::Key<'_> {
        match self {
            HostConstraint::Wildcard(parent) => (Some(parent), None),
            HostConstraint::Exact(host) => (parent(host), Some(host)),
        }
    }

    fn covers(&self, other: &HostConstraint) -> bool {
        match other {
            HostConstraint::Exact(host) => self.admits(host),
            HostConstraint::Wildcard(_) => self == other,
        }
    }
}

impl Set for PathConstraint {
    /// The text, then whether the set is only that path: so a prefix stands before longer paths.
    type Key<'k> = (&'k str, bool);

    fn key(&self) -> Self::Key<'_> {
        match self {
            PathConstraint::Prefix(prefix) => (prefix, false),
            PathConstraint::Exact(path) => (path, true),
        }
    }

    fn covers(&self, other: &PathConstraint) -> bool {
        match (self, other) {
            (_, PathConstraint::Exact(path)) => self.admits(path),
            (PathConstraint::Prefix(_), PathConstraint::Prefix(longer)) => self.admits(longer),
            (PathConstraint::Exact(_), PathConstraint::Prefix(_)) => false,
        }
    }
}

/// The sets of all lists, without those that lie within another. `None`, which is any, if one of
/// the lists is.
fn union<T: Set>(lists: Vec<Option<Vec<T>>>) -> Option<Vec<T>> {
    let lists: Option<Vec<Vec<T>>> = lists.into_iter().collect();
    let mut all = lists?.concat();
    all.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
    all.dedup_by(|set, kept| kept.covers(set));
    Some(all)
}

/// What both lists have in common. Within one list, no set may lie within another.
fn intersection<T: Set>(left: Option<Vec<T>>, right: Option<Vec<T>>) -> Option<Vec<T>> {
    let (left, right) = match (left, right) {
        (Some(left), Some(right)) => (left, right),
        (one, other) => return one.or(other),
    };
    let of = |list: Vec<T>, side: usize| list.into_iter().map(move |set| (set, side));
    let mut all: Vec<(T, usize)> = of(left, 0).chain(of(right, 1)).collect();
    all.sort_by(|(a, _), (b, _)| a.key().cmp(&b.key()));

    // Of two sets that overlap, the smaller one is what they have in common. So the result is
    // every set of one list that lies within a set of the other.
    let mut both = Vec::new();
    let mut last: [Option<&T>; 2] = [None, None];
    for (set, side) in &all {
        if last[1 - side].is_some_and(|other| other.covers(set)) {
            both.push(set.clone());
        }
        last[*side] = Some(set);
    }
    Some(both)
}
