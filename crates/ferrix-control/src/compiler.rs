//! Changes to publications: the least work that a change needs.
//!
//! ```text
//!  Change ─► World::take ─► Effect ─► Translation::follow ─► Next ─┬─ as before: done
//!                                                                  └─ published, and reported
//! ```

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ferrix_table::Publisher;
use tokio::sync::watch;

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
    /// time, and where a bug has ended a change half way: the next one then begins with nothing.
    translation: Option<Translation>,
    generations: watch::Sender<u64>,
    reports: watch::Sender<Arc<Report>>,
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
            true => self.follow(translation, effect),
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
                self.follow(None, Effect::default())
            }
        }
    }

    /// Looks again, because time has passed: certificates expire without any change.
    pub fn refresh(&mut self) -> Published {
        self.apply([])
    }

    fn follow(&mut self, translation: Option<Translation>, effect: Effect) -> Published {
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
