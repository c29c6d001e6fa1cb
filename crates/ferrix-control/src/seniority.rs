//! Which of two objects that claim the same came first.

use std::cmp::Ordering;

use ferrix_table::rules::Route;

use crate::objects::Key;

/// The age of an object among others: the lesser came first. Those without an age come last, and those
/// of one age stand in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seniority {
    ageless: bool,
    created: Option<i64>,
    object: Ranked,
}

/// An object by its key, in the order in which those of equal age stand.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ranked(Key);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.rank().cmp(&other.0.rank())
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Seniority {
    pub(crate) fn of(route: &Route) -> Self {
        Self {
            ageless: route.created.is_none(),
            created: route.created,
            object: Ranked(route.key.clone()),
        }
    }

    /// The object.
    pub(crate) fn key(&self) -> &Key {
        &self.object.0
    }

    /// Whether another object is of the same age, so that only their keys decide.
    pub(crate) fn is_as_old_as(&self, other: &Self) -> bool {
        self.created == other.created
    }
}
