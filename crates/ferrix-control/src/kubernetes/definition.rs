//! Whether the API server keeps all of a status.
//!
//! Pure. Where its definition of a kind is one of a release before, it has no place for the name of the
//! installation: statuses go without it then, and now and then one is written with it, so that an
//! upgrade of the definition is noticed. All kinds are taken to be of one release.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::objects::Key;

/// How long statuses go without the name before it is tried again.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Definition {
    /// When the name is tried again; `None`: it is written.
    retry: Option<Instant>,
    /// Routes whose status lacks the name for want of a place.
    nameless: BTreeSet<Key>,
}

impl Definition {
    /// Whether statuses are to be written without the name.
    pub(super) fn lacks_name(&self) -> bool {
        self.retry.is_some()
    }

    /// Whether it is known to be of a release before.
    pub(super) fn is_outdated(&self) -> bool {
        !self.nameless.is_empty()
    }

    /// The name was written, and not kept.
    pub(super) fn dropped_name(&mut self, key: Key, now: Instant) {
        self.retry = Some(now + PAUSE);
        self.nameless.insert(key);
    }

    /// A status is as it should be, but for the name.
    pub(super) fn went_without(&mut self, key: Key) {
        self.nameless.insert(key);
    }

    /// The name was written, and kept: the routes whose status lacks it.
    pub(super) fn kept_name(&mut self) -> BTreeSet<Key> {
        self.retry = None;
        std::mem::take(&mut self.nameless)
    }

    /// A route is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        self.nameless.remove(key);
    }

    /// A route to try the name with, where it is time.
    pub(super) fn probe(&mut self, now: Instant) -> Option<Key> {
        self.retry.filter(|retry| *retry <= now)?;
        self.retry = None;
        self.nameless.first().cloned()
    }

    /// When there may be one.
    pub(super) fn retries(&self) -> Option<Instant> {
        self.retry
    }
}
