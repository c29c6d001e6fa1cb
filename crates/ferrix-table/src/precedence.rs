//! Which of two rules comes first: one total order over the rules of all kinds.
//!
//! Of all rules that take a request, the first serves it. The keys, the first first:
//!
//! 1. the host: exact, then wildcards by the longer suffix, of one suffix that for one label before
//!    that for several, then any host;
//! 2. the weight: a priority that was given, the higher first, then what follows from the
//!    conditions of a rule: see [`Weight`];
//! 3. the age of the route: the older first, those without one last;
//! 4. its namespace, its name, and its kind only then;
//! 5. the place in its list;
//! 6. what tells the rules of one place apart, so that the order is the same on every replica.

use std::{
    cmp::{Ordering, Reverse},
    fmt,
};

use crate::{
    rules::{HostPattern, Rule},
    weight::{Specificity, Weight},
};

/// The place of a rule in the total order. The lesser comes first and wins.
///
/// Cheap to make and to compare: what lies outside of the rule is read only where host and weight
/// are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence<'r> {
    host: Reverse<HostRank>,
    weight: Reverse<Weight>,
    rest: Rest<'r>,
}

/// How exact a pattern for hosts is: the greater comes first. Two patterns that take the same host
/// have different ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HostRank {
    Any,
    Wildcard {
        suffix_length: usize,
        one_label: bool,
    },
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

impl Rest<'_> {
    fn age(&self) -> (bool, Option<i64>) {
        let created = self.0.route.created;
        (created.is_none(), created)
    }

    fn name(&self) -> (&str, &str, &str) {
        self.0.route.key.rank()
    }

    /// One entry of an object can become several rules with the same position, which never take the
    /// same request or do the same with it. What tells them apart makes the order the same on every
    /// replica.
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
