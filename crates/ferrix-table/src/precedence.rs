//! Which of two rules comes first: one total order over the rules of all kinds.
//!
//! Of all rules that take a request, the first serves it. The keys, the first first:
//!
//! 1. the host: exact, then wildcards by the longer suffix, of one suffix that for one label before that
//!    for several, then any host;
//! 2. the weight: a priority that was given, the higher first, then what follows from the conditions
//!    of a rule: see [`Weight`];
//! 3. the age of the route: the older first, those without one last;
//! 4. its namespace, its name, and its kind only then;
//! 5. the place in its list;
//! 6. what tells the rules of one place apart, so that the order is the same on every replica.

use std::{
    cmp::{Ordering, Reverse},
    fmt,
};

use ferrix_rule::{Match, PathMatch};
use serde::Serialize;

use crate::rules::{HostPattern, Rule};

/// The place of a rule in the total order. The lesser comes first and wins.
///
/// Cheap to make and to compare: what lies outside of the rule is read only where host and weight are
/// the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence<'r> {
    host: Reverse<HostRank>,
    weight: Reverse<Weight>,
    rest: Rest<'r>,
}

/// How exact a pattern for hosts is: the greater comes first. Two patterns that take the same host have
/// different ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HostRank {
    Any,
    Wildcard {
        suffix_length: usize,
        one_label: bool,
    },
    Exact,
}

/// What speaks for a rule among those for its host: the greater comes first.
///
/// Numbers that people give cannot be compared with what follows from conditions, so they are not: any
/// number comes first. The kind that has them is the one that is reached for on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Of the kinds whose rules have no priority: HTTPRoute, GRPCRoute, Ingress.
    Specificity(Specificity),
    /// Of an IngressRoute.
    Priority(i64),
}

/// How much the conditions of a rule ask for, in the order that the Gateway API gives them
/// (`HTTPRouteRule.matches`): the greater comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Specificity {
    /// That of the path.
    pub path: PathRank,
    /// Whether the method is named.
    pub method: bool,
    /// How many header fields are asked for.
    pub headers: u32,
    /// How many query parameters are asked for.
    pub query: u32,
}

/// How much the condition on a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathRank {
    /// A regular expression.
    Regexp,
    /// A prefix of so many bytes, without a slash at its end; 0 where every path will do.
    Prefix(u32),
    /// A whole path.
    Exact,
}

/// The key of the total order that put one rule before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// Exact hosts, then wildcards, then any host.
    Host,
    /// A priority that was given before what follows from conditions.
    GivenPriority,
    /// The higher priority.
    Priority,
    /// The path that asks for more.
    Path,
    /// A method before none.
    Method,
    /// The larger number of header fields.
    Headers,
    /// The larger number of query parameters.
    Query,
    /// The older route; routes without an age last.
    Age,
    /// Namespace, then name, then kind.
    Name,
    /// The place in the route's list.
    Position,
}

/// All keys beyond those, read from the rule when they are compared.
#[derive(Clone, Copy, Debug)]
struct Rest<'r>(&'r Rule);

impl Rule {
    /// The total order: `Less` comes first and wins.
    pub fn precedence(&self, other: &Rule) -> Ordering {
        Precedence::of(self).cmp(&Precedence::of(other))
    }

    /// Which key of the total order tells two rules apart.
    pub fn criterion(&self, other: &Rule) -> Criterion {
        Precedence::of(self).criterion(&Precedence::of(other))
    }
}

impl<'r> Precedence<'r> {
    /// That of a rule.
    pub fn of(rule: &'r Rule) -> Self {
        Self {
            host: Reverse(rule.host.rank()),
            weight: Reverse(rule.weight),
            rest: Rest(rule),
        }
    }

    fn criterion(&self, other: &Precedence<'_>) -> Criterion {
        if self.host != other.host {
            return Criterion::Host;
        }
        let by_weight = self.weight.0.criterion(&other.weight.0);
        by_weight.unwrap_or_else(|| self.rest.criterion(&other.rest))
    }
}

impl HostPattern {
    pub(crate) fn rank(&self) -> HostRank {
        match self {
            HostPattern::Exact(_) => HostRank::Exact,
            HostPattern::Wildcard(suffix) | HostPattern::Below(suffix) => HostRank::Wildcard {
                suffix_length: suffix.len(),
                one_label: matches!(self, HostPattern::Wildcard(_)),
            },
            HostPattern::Any => HostRank::Any,
        }
    }
}

impl Weight {
    /// The priority, if there is one.
    pub fn priority(&self) -> Option<i64> {
        match self {
            Weight::Priority(priority) => Some(*priority),
            Weight::Specificity(_) => None,
        }
    }

    fn criterion(&self, other: &Weight) -> Option<Criterion> {
        match (self, other) {
            (Weight::Specificity(one), Weight::Specificity(other)) => one.criterion(other),
            (Weight::Priority(one), Weight::Priority(other)) => {
                (one != other).then_some(Criterion::Priority)
            }
            _ => Some(Criterion::GivenPriority),
        }
    }
}

impl Specificity {
    fn criterion(&self, other: &Specificity) -> Option<Criterion> {
        let keys = [
            (self.path != other.path, Criterion::Path),
            (self.method != other.method, Criterion::Method),
            (self.headers != other.headers, Criterion::Headers),
            (self.query != other.query, Criterion::Query),
        ];
        let differing = keys.into_iter().find(|(differs, _)| *differs);
        differing.map(|(_, criterion)| criterion)
    }
}

impl From<&Match> for Specificity {
    fn from(fields: &Match) -> Self {
        Self {
            path: fields
                .path
                .as_ref()
                .map_or(PathRank::Prefix(0), PathRank::of),
            method: fields.method.is_some(),
            headers: short(fields.headers.len()),
            query: short(fields.query.len()),
        }
    }
}

impl PathRank {
    fn of(path: &PathMatch) -> Self {
        match path {
            PathMatch::Exact(_) => PathRank::Exact,
            PathMatch::Prefix(path) => PathRank::Prefix(short(path.trim_end_matches('/').len())),
            PathMatch::Beginning(path) => PathRank::Prefix(short(path.len())),
            PathMatch::Regexp(_) => PathRank::Regexp,
        }
    }
}

/// A length in half the space: every rule has some of these.
fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Rest<'_> {
    fn age(&self) -> (bool, Option<i64>) {
        let created = self.0.route.created;
        (created.is_none(), created)
    }

    fn name(&self) -> (&str, &str, &str) {
        self.0.route.key.rank()
    }

    /// One entry of an object can become several rules with the same position, which never take the same
    /// request or do the same with it. What tells them apart makes the order the same on every replica.
    fn place(&self) -> impl Ord {
        let Rest(rule) = self;
        (rule.position, &rule.host, &rule.entry_points, rule.text())
    }

    fn criterion(&self, other: &Rest<'_>) -> Criterion {
        if self.age() != other.age() {
            Criterion::Age
        } else if self.name() != other.name() {
            Criterion::Name
        } else {
            Criterion::Position
        }
    }
}

impl Ord for Rest<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.age().cmp(&other.age()))
            .then_with(|| self.name().cmp(&other.name()))
            .then_with(|| self.place().cmp(&other.place()))
    }
}

impl PartialOrd for Rest<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rest<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rest<'_> {}

/// `priority 7`, or that there is none.
impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Weight::Priority(priority) => write!(f, "priority {priority}"),
            Weight::Specificity(_) => f.write_str("no priority"),
        }
    }
}

impl fmt::Display for PathRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathRank::Exact => f.write_str("exact"),
            PathRank::Prefix(0) => f.write_str("any"),
            PathRank::Prefix(length) => write!(f, "a prefix of {length} bytes"),
            PathRank::Regexp => f.write_str("a regular expression"),
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Criterion::Host => "host",
            Criterion::GivenPriority => "having a priority",
            Criterion::Priority => "priority",
            Criterion::Path => "path",
            Criterion::Method => "method",
            Criterion::Headers => "number of headers",
            Criterion::Query => "number of query parameters",
            Criterion::Age => "age",
            Criterion::Name => "name",
            Criterion::Position => "position",
        })
    }
}

#[cfg(test)]
mod tests;
