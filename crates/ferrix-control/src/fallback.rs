//! What serves in place of what was edited badly.

use std::collections::BTreeMap;

use crate::objects::Key;

/// What serves in place of the newest version of an object, as that version is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// The last good version, and its generation where it has one.
    LastGood(Option<i64>),
    /// No good version is known. Of a route, what is good of the newest serves.
    Nothing,
}

/// For each route that needs any, the bad objects among itself and those that it depends on (Filters and
/// Secrets that it names, or that of the default certificate), with what serves in place of each; the same
/// for each Filter that is bad.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fallbacks(BTreeMap<Key, Box<[(Key, Fallback)]>>);

impl Fallbacks {
    /// Takes note of the bad objects that a route depends on; none: all is well with it, or it is gone.
    pub(crate) fn set(&mut self, route: &Key, bad: Vec<(Key, Fallback)>) {
        match bad.is_empty() {
            true => self.0.remove(route),
            false => self.0.insert(route.clone(), bad.into()),
        };
    }

    /// The bad objects that a route depends on.
    pub(crate) fn of(&self, route: &Key) -> &[(Key, Fallback)] {
        self.0.get(route).map_or(&[], |bad| bad)
    }

    /// Every route that depends on a bad object.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Key> {
        self.0.keys()
    }

    /// Every bad object, once.
    pub(crate) fn objects(&self) -> BTreeMap<Key, Fallback> {
        let all = self.0.values().flat_map(|bad| bad.iter().cloned());
        all.collect()
    }
}
