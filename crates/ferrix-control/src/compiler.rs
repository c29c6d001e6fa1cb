//! Changes to publications: the least work that a change needs.
//!
//! ```text
//!  Change ─► World::take ─► Effect ─► Translation::follow ─► Next ─┬─ as before: done
//!                                                                  └─ published, and reported
//! ```

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ferrix_table::Publisher;
use tokio::sync::watch;
use tracing::{error, info};

use crate::{
    report::Report,
    settings::Settings,
    translate::Translation,
    world::{Change, Effect, World},
};

/// What became of some changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Requests are served as before.
    Nothing,
    /// The endpoints of some services changed.
    Services {
        /// The generation that was published.
        generation: u64,
        /// How many services changed.
        services: usize,
    },
    /// A new table.
    Table {
        /// The generation that was published.
        generation: u64,
    },
}

/// Holds the world, and publishes what becomes of it.
#[derive(Debug)]
pub struct Compiler {
    settings: Settings,
    publisher: Publisher,
    world: World,
    /// Whether every object that there is has been seen once.
    loaded: bool,
    /// What was translated last, but for its table, which is published. `None` before the first
    /// time, and after a failure.
    translation: Option<Translation>,
    generations: watch::Sender<u64>,
    reports: watch::Sender<Arc<Report>>,
    failures: watch::Sender<Failures>,
}

/// Translations that ended in a bug of Ferrix, for which no single object could be blamed. What was
/// published before is served still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// All since the start.
    pub total: u64,
    /// Those in a row up to now. Not 0: what is served is not what the objects say.
    pub in_a_row: u64,
}

impl Compiler {
    /// A compiler of an empty world. Nothing is published before [`Compiler::loaded`].
    pub fn new(settings: Settings, publisher: Publisher) -> Self {
        Self {
            settings,
            publisher,
            world: World::new(),
            loaded: false,
            translation: None,
            generations: watch::Sender::new(0),
            reports: watch::Sender::default(),
            failures: watch::Sender::default(),
        }
    }

    /// The generation that was published last; 0 before the first.
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.generations.subscribe()
    }

    /// What came of every object, as of the newest change.
    pub fn reports(&self) -> watch::Receiver<Arc<Report>> {
        self.reports.subscribe()
    }

    /// How translation fails.
    pub fn failures(&self) -> watch::Receiver<Failures> {
        self.failures.subscribe()
    }

    /// The objects as they are now.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Takes changes in, all together.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Published {
        self.apply_at(changes, now())
    }

    /// The same at a given time, in seconds since 1970.
    pub fn apply_at(&mut self, changes: impl IntoIterator<Item = Change>, now: i64) -> Published {
        let translation = self.translation.take();
        let mut effect = self.world.set_time(now);
        for change in changes {
            let further = self.world.take(change);
            if translation.is_some() {
                effect = effect.and(further);
            }
        }
        match self.loaded {
            true => self.follow_or_fail(translation, effect),
            false => Published::Nothing,
        }
    }

    /// Every object that there is has been seen once: publishes the first table, even if there is
    /// nothing in it.
    pub fn loaded(&mut self) -> Published {
        match self.loaded {
            true => Published::Nothing,
            false => {
                self.loaded = true;
                self.follow_or_fail(None, Effect::default())
            }
        }
    }

    /// Looks again, because time has passed: certificates expire without any change.
    pub fn refresh(&mut self) -> Published {
        self.apply([])
    }

    /// Follows a change; where a bug of ours ends that, once more from nothing. Where that fails as
    /// well, what was published is served still, and the next change begins with nothing.
    fn follow_or_fail(&mut self, translation: Option<Translation>, effect: Effect) -> Published {
        let before = self.failures.borrow().in_a_row;
        // What is half done is thrown away: `translation` is moved in, and nothing else changes
        // before the end.
        let mut attempt = |translation, effect| {
            panic::catch_unwind(AssertUnwindSafe(|| self.follow(translation, effect)))
        };
        let further = translation.is_some();
        let mut followed = attempt(translation, effect);
        if followed.is_err() && further {
            followed = attempt(None, Effect::default());
        }
        let failed = followed.is_err();
        self.failures.send_if_modified(|failures| {
            failures.total += u64::from(failed);
            failures.in_a_row = if failed { before + 1 } else { 0 };
            failures.in_a_row != before
        });
        if failed && before == 0 {
            error!(
                "a bug keeps changes from being taken in; what was served before is served still, \
                 and each change is tried anew"
            );
        }
        if !failed && before > 0 {
            info!(failures = before, "changes are taken in again");
        }
        followed.unwrap_or(Published::Nothing)
    }

    fn follow(&mut self, translation: Option<Translation>, effect: Effect) -> Published {
        #[cfg(test)]
        crate::guard::failing::all();
        let anew = translation.is_none();
        let (mut translation, effect, current) = match translation {
            Some(translation) => (translation, effect, self.publisher.current()),
            None => (
                Translation::default(),
                self.world.everything(),
                Arc::default(),
            ),
        };
        let next = translation.follow(&self.world, &self.settings, &effect, &current);
        drop(current);
        let published = match (next.differs || anew, next.services) {
            (true, _) => Published::Table {
                generation: self.publisher.publish(next.table),
            },
            (false, 0) => Published::Nothing,
            (false, services) => Published::Services {
                generation: self.publisher.publish(next.table),
                services,
            },
        };
        if next.told || anew {
            self.tell(&translation.report);
        }
        self.translation = Some(translation);
        // Who waits for a generation finds its report.
        self.announce(published);
        published
    }

    fn tell(&self, report: &Report) {
        self.reports.send_if_modified(|current| {
            let differs = **current != *report;
            if differs {
                *current = Arc::new(report.clone());
            }
            differs
        });
    }

    fn announce(&self, published: Published) {
        if let Published::Services { generation, .. } | Published::Table { generation } = published
        {
            self.generations.send_replace(generation);
        }
    }
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
