//! When statuses are written again that could not be: by kind and by namespace, and by object.
//!
//! What is wrong with the API server or with permissions is no object's fault: one write finds out when
//! that is over, and the others wait for it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::jitter::jittered;
use crate::objects::{Key, Kind};

/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A permission that is granted, or an API server that is well again, is found within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An object that the API server does not take a status for is tried again this rarely.
const LONGEST_PAUSE_OF_ONE: Duration = Duration::from_secs(600);

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// This object alone.
    Object,
    /// All of its kind, in its namespace.
    Namespace,
    /// All of its kind.
    Kind,
}

/// What there is to say about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Writing fails from now on.
    Fails,
    /// It works again.
    Works,
}

/// What is not written for now.
#[derive(Debug, Default)]
pub(super) struct Backoff(BTreeMap<Scope, Pause>);

/// `None`: all namespaces.
type Scope = (Kind, Option<Arc<str>>);

#[derive(Debug)]
struct Pause {
    failures: u32,
    until: Instant,
    /// Who finds out whether it is over.
    probe: Option<Key>,
}

impl Backoff {
    /// Whether an object may be written, or when it is to be looked at again. Who may be has to say what
    /// came of it.
    pub(super) fn admit(&mut self, key: &Key, now: Instant) -> Result<(), Instant> {
        for scope in scopes(key) {
            let Some(pause) = self.0.get_mut(&scope) else {
                continue;
            };
            if now < pause.until {
                return Err(pause.until);
            }
            if pause.probe.as_ref().is_some_and(|probe| probe != key) {
                return Err(now + FIRST_PAUSE);
            }
            pause.probe = Some(key.clone());
        }
        Ok(())
    }

    /// It was written, or there was nothing to write: nothing is wrong with its kind.
    pub(super) fn succeeded(&mut self, key: &Key) -> Option<News> {
        let mut ended = false;
        for scope in scopes(key) {
            ended |= self.0.remove(&scope).is_some();
        }
        (ended && self.0.is_empty()).then_some(News::Works)
    }

    /// It could not be written, for a reason that is not its own.
    pub(super) fn failed(&mut self, key: &Key, blame: Blame, now: Instant) -> Option<News> {
        self.release(key);
        let scope = match blame {
            Blame::Object => return None,
            Blame::Namespace => (key.kind, Some(Arc::clone(&key.namespace))),
            Blame::Kind => (key.kind, None),
        };
        let first = self.0.is_empty();
        let pause = self.0.entry(scope).or_insert(Pause {
            failures: 0,
            until: now,
            probe: None,
        });
        // Those that were under way together count as one.
        if pause.until <= now {
            pause.until = now + pause_after(pause.failures, LONGEST_PAUSE);
            pause.failures = pause.failures.saturating_add(1);
        }
        first.then_some(News::Fails)
    }

    /// It finds out nothing: it is gone, or is about something else by now.
    pub(super) fn release(&mut self, key: &Key) {
        for scope in scopes(key) {
            if let Some(pause) = self.0.get_mut(&scope)
                && pause.probe.as_ref() == Some(key)
            {
                pause.probe = None;
            }
        }
    }
}

/// How long one object waits that was refused so often before.
pub(super) fn pause_of_one(failures: u32) -> Duration {
    pause_after(failures, LONGEST_PAUSE_OF_ONE)
}

fn pause_after(failures: u32, longest: Duration) -> Duration {
    jittered((FIRST_PAUSE * 2_u32.pow(failures.min(16))).min(longest))
}

fn scopes(key: &Key) -> [Scope; 2] {
    [
        (key.kind, None),
        (key.kind, Some(Arc::clone(&key.namespace))),
    ]
}
