//! Changes to publications: the least work that a change needs.
//!
//! ```text
//!  Change ─► World::apply ─► Effect ─┬─ nothing      the object is as it was: done
//!                                    ├─ endpoints    those services anew, the rest shared
//!                                    └─ everything   translate; published if it differs
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ferrix_table::{Publisher, Table, services::Service};
use tokio::sync::watch;

use crate::{
    objects::{Key, ObjectName},
    report::{Entry, Report},
    service,
    settings::Settings,
    translate::{self, Translation},
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
    /// What was translated last, but for its table, which is published.
    translation: Translation,
    /// About which objects something was said on account of each Service.
    told: HashMap<ObjectName, BTreeSet<Key>>,
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
            translation: Translation::default(),
            told: HashMap::new(),
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
        self.world.set_time(now);
        let mut effect = Effect::Nothing;
        for change in changes {
            effect = effect.and(self.world.take(change));
        }
        if !self.loaded {
            return Published::Nothing;
        }
        match effect {
            Effect::Nothing => Published::Nothing,
            Effect::Endpoints(services) => self.rebuild(&services),
            Effect::Services(services) => {
                match services
                    .iter()
                    .any(|it| self.translation.named.contains(it))
                {
                    true => self.translate(),
                    false => Published::Nothing,
                }
            }
            Effect::Everything => self.translate(),
        }
    }

    /// Every object that there is has been seen once: publishes the first table, even if there is
    /// nothing in it.
    pub fn loaded(&mut self) -> Published {
        match self.loaded {
            true => Published::Nothing,
            false => {
                self.loaded = true;
                self.translate()
            }
        }
    }

    /// Translates again, because time has passed: certificates expire without any change.
    pub fn refresh(&mut self) -> Published {
        self.world.set_time(now());
        match self.loaded {
            true => self.translate(),
            false => Published::Nothing,
        }
    }

    fn translate(&mut self) -> Published {
        let mut translation = Translation::new(&self.world, &self.settings);
        let table = std::mem::take(&mut translation.table);
        let current = self.publisher.current();
        let published = match current.generation > 0 && translate::same_table(&table, &current) {
            true => Published::Nothing,
            false => {
                let generation = self.publisher.publish(table);
                Published::Table { generation }
            }
        };
        self.told = translation.take_told();
        self.translation = translation;
        self.tell(published);
        published
    }

    /// Makes the endpoints of some Services anew, and nothing else.
    fn rebuild(&mut self, names: &BTreeSet<ObjectName>) -> Published {
        let current = self.publisher.current();
        let mut changed = Vec::new();
        let mut entries: BTreeMap<Key, Option<Arc<Entry>>> = BTreeMap::new();
        for name in names {
            let (first, backends) = self.translation.backends.of_service(name);
            if backends.is_empty() {
                continue;
            }
            let services: Vec<_> = backends
                .iter()
                .map(|backend| service::table_service(&self.world, &self.settings, backend))
                .map(Arc::new)
                .collect();
            let findings = service::findings(&self.world, &self.settings, backends, &services);
            for (place, service) in services.into_iter().enumerate() {
                let before = &current.services[first + place];
                if !translate::same_service(before, &service) {
                    changed.push((first + place, service));
                }
            }
            let keys: BTreeSet<Key> = findings.iter().map(|(key, _)| key.clone()).collect();
            let before = match keys.is_empty() {
                true => self.told.remove(name),
                false => self.told.insert(name.clone(), keys),
            };
            for key in before.into_iter().flatten() {
                // What else there is to say about it stays. A slice may have moved to another
                // Service, which has its own word about it.
                entries.entry(key).or_insert_with_key(|key| {
                    let has_more = self.world.notes_of(key).is_some()
                        || self.world.rejection(key.kind, &key.object_name()).is_some();
                    has_more
                        .then(|| Arc::new(translate::entry(&self.world, key.clone(), Vec::new())))
                });
            }
            for (key, findings) in findings {
                let entry = translate::entry(&self.world, key.clone(), findings);
                entries.insert(key, Some(Arc::new(entry)));
            }
        }
        let services = changed.len();
        let published = match services {
            0 => Published::Nothing,
            _ => {
                let generation = self.publisher.publish(with_services(&current, changed));
                Published::Services {
                    generation,
                    services,
                }
            }
        };
        drop(current);
        let report = &mut self.translation.report;
        let mut told = false;
        for (key, entry) in entries {
            told |= report.replace(&key, entry);
        }
        match told {
            true => self.tell(published),
            false => self.announce(published),
        }
        published
    }

    fn tell(&self, published: Published) {
        let report = &self.translation.report;
        self.reports.send_if_modified(|current| {
            let differs = **current != *report;
            if differs {
                *current = Arc::new(report.clone());
            }
            differs
        });
        // Who waits for a generation finds its report.
        self.announce(published);
    }

    fn announce(&self, published: Published) {
        if let Published::Services { generation, .. } | Published::Table { generation } = published
        {
            self.generations.send_replace(generation);
        }
    }
}

/// The same table but for some services.
fn with_services(table: &Table, changed: Vec<(usize, Arc<Service>)>) -> Table {
    let mut services = Arc::clone(&table.services);
    let places = Arc::make_mut(&mut services);
    for (place, service) in changed {
        places[place] = service;
    }
    Table {
        services,
        ..table.clone()
    }
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
