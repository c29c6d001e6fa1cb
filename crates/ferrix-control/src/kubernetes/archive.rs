//! Which last good versions are to be kept, and which are not any more.
//!
//! Pure: no client, no clock. A version is kept for as long as the one after it is bad, so that
//! replicas that begin meanwhile know it. The one that follows is written before the one before is
//! removed. What this replica cannot judge stays: a route that it takes for a bad one, without knowing a
//! good version, may be served by another.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    backoff::{Backoff, Blame, News, pause_of_one},
    budget::Budget,
    revision::BadRoute,
    revisions::Revisions,
};
use crate::{draft::Draft, objects::Key};

/// So long a watch may take to tell of what was done.
const PATIENCE: Duration = Duration::from_secs(5);

/// The routes that are bad now; `None` before every object has been seen.
pub(super) type BadRoutes = Option<Arc<BTreeMap<Key, BadRoute>>>;

/// Something to do.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// The route that it is about.
    pub(super) key: Key,
    /// Its `metadata.uid`.
    pub(super) uid: Box<str>,
    /// That of the version.
    pub(super) generation: i64,
    pub(super) deed: Deed,
}

/// What to do about a version.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// It is not kept yet.
    Write(Arc<Draft>),
    /// The object of this name keeps it in vain.
    Remove(Box<str>),
}

/// What is kept, and what should be.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bad: BadRoutes,
    kept: Arc<Revisions>,
    leading: bool,
    attempts: HashMap<Attempted, Attempt>,
    /// What each route may still cost, by its uid.
    budgets: HashMap<Box<str>, Budget>,
    backoff: Backoff,
}

/// A version, by the uid of its route and its generation, and whether it was to be written.
type Attempted = (Box<str>, i64, bool);

#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// When it may be tried again; `None`: it is under way.
    again: Option<Instant>,
    /// How often it was refused in a row, for a reason of its own.
    refusals: u32,
}

impl Archive {
    /// Whether this replica writes.
    pub(super) fn lead(&mut self, leading: bool) {
        self.leading = leading;
    }

    /// The routes that are bad now.
    pub(super) fn bad(&mut self, bad: BadRoutes) {
        self.bad = bad;
    }

    /// What is kept now.
    pub(super) fn kept(&mut self, kept: Arc<Revisions>) {
        self.kept = kept;
    }

    /// At most `limit` things to do now. Whoever does one has to say what came of it.
    pub(super) fn tasks(&mut self, limit: usize, now: Instant) -> Vec<Task> {
        let due = self.due();
        self.forget(&due, now);
        let mut tasks = Vec::new();
        for task in due {
            if tasks.len() < limit && self.admit(&task, now) {
                tasks.push(task);
            }
        }
        tasks
    }

    /// When something may be done that could not be.
    pub(super) fn next(&self) -> Option<Instant> {
        let due = self.due();
        let attempts = due.iter().map(|task| self.attempts.get(&task.attempted()));
        attempts.filter_map(|attempt| attempt?.again).min()
    }

    /// What came of a task, and what there is to say about that.
    pub(super) fn done(
        &mut self,
        task: &Task,
        outcome: Result<(), Blame>,
        now: Instant,
    ) -> Option<News> {
        let attempt = self.attempts.entry(task.attempted());
        let attempt = attempt.or_insert_with(|| Attempt::new(now));
        let key = &task.key;
        match outcome {
            Ok(()) => {
                attempt.again = Some(now + PATIENCE);
                attempt.refusals = 0;
                self.backoff.succeeded(key)
            }
            Err(blame) => {
                attempt.again = Some(now);
                if blame == Blame::Object {
                    attempt.again = Some(now + pause_of_one(attempt.refusals));
                    attempt.refusals = attempt.refusals.saturating_add(1);
                }
                self.backoff.failed(key, blame, now)
            }
        }
    }

    /// What differs between what is kept and what should be.
    fn due(&self) -> Vec<Task> {
        let (true, Some(bad), Some(kept)) = (self.leading, &self.bad, &*self.kept) else {
            return Vec::new();
        };
        let versions = kept.values().map(|it| (&*it.uid, it.generation));
        let versions: HashSet<_> = versions.collect();
        let writes = bad.iter().filter_map(|(key, route)| {
            let last_good = route.last_good.as_ref()?;
            let generation = last_good.generation()?;
            let missing = !versions.contains(&(&*route.uid, generation));
            missing.then(|| Task {
                key: key.clone(),
                uid: route.uid.clone(),
                generation,
                deed: Deed::Write(Arc::clone(last_good)),
            })
        });
        let removals = kept.iter().filter_map(|(name, version)| {
            let route = bad.get(&version.key).filter(|it| it.uid == version.uid);
            let followed = |route: &BadRoute| {
                let newer = route.last_good.as_ref().and_then(|it| it.generation());
                let newer = newer.filter(|newer| *newer > version.generation);
                newer.is_some_and(|newer| versions.contains(&(&*version.uid, newer)))
            };
            route.is_none_or(followed).then(|| Task {
                key: version.key.clone(),
                uid: version.uid.clone(),
                generation: version.generation,
                deed: Deed::Remove(name.clone()),
            })
        });
        writes.chain(removals).collect()
    }

    /// Whether a task may be done now; it is under way then.
    fn admit(&mut self, task: &Task, now: Instant) -> bool {
        let attempt = self.attempts.entry(task.attempted());
        let attempt = attempt.or_insert_with(|| Attempt::new(now));
        if attempt.again.is_none_or(|again| now < again) {
            return false;
        }
        let budget = self.budgets.entry(task.uid.clone()).or_default();
        let before = *budget;
        let afforded = match task.deed {
            Deed::Write(_) => budget.spend(now),
            // There is one for each write at most.
            Deed::Remove(_) => Ok(()),
        };
        // A task that is admitted is done: the budget comes first.
        let admitted = afforded.and_then(|()| self.backoff.admit(&task.key, now));
        attempt.again = admitted.err();
        if admitted.is_err() {
            *budget = before;
        }
        admitted.is_ok()
    }

    /// Forgets attempts at what is not due any more.
    fn forget(&mut self, due: &[Task], now: Instant) {
        let due: HashSet<_> = due.iter().map(Task::attempted).collect();
        self.attempts.retain(|attempted, attempt| {
            due.contains(attempted) || attempt.again.is_none_or(|again| now < again)
        });
        self.budgets.retain(|_, budget| !budget.is_full(now));
    }
}

impl Attempt {
    fn new(now: Instant) -> Self {
        Self {
            again: Some(now),
            refusals: 0,
        }
    }
}

impl Task {
    fn attempted(&self) -> Attempted {
        let writes = matches!(self.deed, Deed::Write(_));
        (self.uid.clone(), self.generation, writes)
    }
}

#[cfg(test)]
mod tests;
