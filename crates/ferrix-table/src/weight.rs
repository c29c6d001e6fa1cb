//! What speaks for a rule among those for its host.

use std::fmt;

use ferrix_rule::{Match, PathMatch};
use serde::Serialize;

/// A priority, or what follows from the conditions of a rule: the greater comes first.
///
/// Numbers that people give cannot be compared with what follows from conditions, so they are not:
/// any number comes first. The kind that has them is the one that is reached for on purpose.
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
    pub headers: u16,
    /// How many query parameters are asked for.
    pub query: u16,
}

/// How much the condition on a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathRank {
    /// A prefix of so many bytes, without a slash at its end; 0 where every path will do.
    Prefix(u32),
    /// A regular expression. Its place is for implementations to choose: before prefixes, so that one beside
    /// a rule for every path is of use.
    Regexp,
    /// A whole path.
    Exact,
}

impl Weight {
    /// The priority, if there is one.
    pub fn priority(&self) -> Option<i64> {
        match self {
            Weight::Priority(priority) => Some(*priority),
            Weight::Specificity(_) => None,
        }
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
            headers: count(fields.headers.len()),
            query: count(fields.query.len()),
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

/// A count in a quarter of it. With the length of a path, and beside the number of a priority, it fits in 16
/// bytes then. The Gateway API has at most 16 of each.
fn count(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

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
