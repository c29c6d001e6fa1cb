//! Changes to publications: the least work that a change needs.
//!
//! ```text
//!  Change ─► World::take ─► Effect ─► Translation::follow ─► Next ─┬─ as before: done
//!                                                                  └─ published, and reported
//! ```

use std::{
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ferrix_table::Publisher;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::watch;
use tracing::{error, info};

use crate::{
    external_name::DomainName,
    gateway_service::Deed,
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
    stage: Stage,
    /// What was translated last, but for its table, which is published. `None` before the first
    /// time, and after a failure.
    translation: Option<Translation>,
    names: watch::Sender<Arc<BTreeSet<DomainName>>>,
    key_urls: watch::Sender<Arc<BTreeSet<Arc<str>>>>,
    generations: watch::Sender<u64>,
    reports: watch::Sender<Arc<Report>>,
    failures: watch::Sender<Failures>,
}

/// Is told of a change, of what differs for it, and of the world that has just taken it in.
type Note<'n> = dyn FnMut(&Change, &Effect, &World) + 'n;

/// How far the first publication is.
#[derive(Debug)]
enum Stage {
    /// Not every object that there is has been seen.
    Listing,
    /// The same, and meanwhile another world is served: what an earlier process had seen.
    Restored {
        world: Box<World>,
        at: Timestamp,
    },
    /// This was not found out yet: a table without it would answer 503 where an older replica does not.
    LookingUp(Unknown),
    Serving,
}

/// What the first publication waits for.
#[derive(Debug)]
struct Unknown {
    /// Names without addresses.
    names: BTreeSet<DomainName>,
    /// URLs whose keys were not fetched.
    key_urls: BTreeSet<Arc<str>>,
}

impl Unknown {
    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.key_urls.is_empty()
    }

    /// Leaves out what a world knows of.
    fn settle(&mut self, world: &World) {
        self.names.retain(|name| world.resolution(name).is_none());
        self.key_urls.retain(|url| world.keys_at(url).is_none());
    }
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
            stage: Stage::Listing,
            translation: None,
            names: watch::Sender::default(),
            key_urls: watch::Sender::default(),
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

    /// The names that have to be looked up. Whoever does so tells by [`Change::LookedUp`] what came of
    /// each, success or failure, and soon: the first publication waits for it.
    pub fn names(&self) -> watch::Receiver<Arc<BTreeSet<DomainName>>> {
        self.names.subscribe()
    }

    /// The URLs that keys have to be fetched from. Whoever does so tells by [`Change::KeysFetched`] what came of
    /// each, success or failure, and soon: the first publication waits for it.
    pub fn key_urls(&self) -> watch::Receiver<Arc<BTreeSet<Arc<str>>>> {
        self.key_urls.subscribe()
    }

    /// Whether a table was published of all objects that there are, or would have been but for a bug.
    pub fn is_serving(&self) -> bool {
        matches!(self.stage, Stage::Serving)
    }

    /// What is to be done about the Services of Gateways, as of the newest change.
    pub(crate) fn gateway_services(&self) -> Arc<[Deed]> {
        let translation = self.translation.as_ref();
        translation.map_or_else(Arc::default, |it| Arc::clone(it.gateway_services()))
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
        self.take_in(changes, now, None)
    }

    /// The same now. Each change is noted as soon as the world has taken it in.
    pub(crate) fn apply_and_note(
        &mut self,
        changes: impl IntoIterator<Item = Change>,
        mut note: impl FnMut(&Change, &Effect, &World),
    ) -> Published {
        self.take_in(changes, now(), Some(&mut note))
    }

    fn take_in(
        &mut self,
        changes: impl IntoIterator<Item = Change>,
        now: i64,
        mut note: Option<&mut Note<'_>>,
    ) -> Published {
        let translation = self.translation.take();
        let mut effect = self.world.set_time(now);
        if let Stage::Restored { world, .. } = &mut self.stage {
            effect = world.set_time(now);
        }
        for change in changes {
            let noted = note.is_some().then(|| change.clone());
            let served = match &mut self.stage {
                Stage::Restored { world, .. } if change.is_of_no_object() => {
                    Some(world.take(change.clone()))
                }
                Stage::Restored { .. } => Some(Effect::default()),
                Stage::Listing | Stage::LookingUp(_) | Stage::Serving => None,
            };
            let further = self.world.take(change);
            if let (Some(note), Some(noted)) = (&mut note, noted) {
                note(&noted, &further, &self.world);
            }
            if translation.is_some() {
                effect = effect.and(served.unwrap_or(further));
            }
        }
        if let Stage::LookingUp(unknown) = &mut self.stage {
            unknown.settle(&self.world);
            if unknown.is_empty() {
                self.stage = Stage::Serving;
            }
        }
        match self.stage {
            Stage::Serving => self.follow_or_fail(translation, effect),
            Stage::Restored { .. } if translation.is_none() || !effect.is_empty() => {
                self.follow_or_fail(translation, effect)
            }
            Stage::Restored { .. } | Stage::Listing | Stage::LookingUp(_) => {
                self.translation = translation;
                Published::Nothing
            }
        }
    }

    /// Publishes a world that an earlier process had seen, until every object that there is has been seen
    /// once. It is published at once: what was found of its names came with it, and nothing else serves.
    pub(crate) fn restore(&mut self, mut world: World, at: Timestamp) -> Published {
        if !matches!(self.stage, Stage::Listing) {
            return Published::Nothing;
        }
        world.set_time(now());
        self.world.inherit_finds(&world);
        let world = Box::new(world);
        self.stage = Stage::Restored { world, at };
        self.follow_or_fail(None, Effect::default())
    }

    /// Every object that there is has been seen once: publishes the first table, even if there is
    /// nothing in it; where there are names to look up, as soon as that is done.
    pub fn loaded(&mut self) -> Published {
        match self.stage {
            Stage::LookingUp(_) | Stage::Serving => Published::Nothing,
            // From nothing, so that nothing is left of what was served meanwhile.
            Stage::Restored { .. } => {
                self.stage = Stage::Serving;
                self.translation = None;
                self.follow_or_fail(None, Effect::default())
            }
            Stage::Listing => {
                let published = self.follow_or_fail(None, Effect::default());
                if matches!(self.stage, Stage::Listing) {
                    self.stage = Stage::Serving;
                }
                published
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
        let world: &World = match &self.stage {
            Stage::Restored { world, .. } => world,
            Stage::Listing | Stage::LookingUp(_) | Stage::Serving => &self.world,
        };
        let (mut translation, effect, current) = match translation {
            Some(translation) => (translation, effect, self.publisher.current()),
            None => (Translation::default(), world.everything(), Arc::default()),
        };
        let next = translation.follow(world, &self.settings, &effect, &current);
        drop(current);
        announce(&self.names, translation.names());
        announce(&self.key_urls, translation.key_urls());
        if self.awaits_lookups() {
            return Published::Nothing;
        }
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

    /// Whether the first publication has to wait for names or keys. It does so once: those that come to be
    /// named meanwhile are not waited for.
    fn awaits_lookups(&mut self) -> bool {
        if !matches!(self.stage, Stage::Listing) {
            return false;
        }
        let mut unknown = Unknown {
            names: BTreeSet::clone(&self.names.borrow()),
            key_urls: BTreeSet::clone(&self.key_urls.borrow()),
        };
        unknown.settle(&self.world);
        let awaits = !unknown.is_empty();
        if awaits {
            self.stage = Stage::LookingUp(unknown);
        }
        awaits
    }

    fn tell(&self, report: &Report) {
        let snapshot = match self.stage {
            Stage::Restored { at, .. } => Some(at),
            Stage::Listing | Stage::LookingUp(_) | Stage::Serving => None,
        };
        self.reports.send_if_modified(|current| {
            let differs = current.snapshot != snapshot || !current.tells_the_same(report);
            if differs {
                *current = Arc::new(Report {
                    snapshot,
                    ..report.clone()
                });
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

/// Tells what has to be found out, where that is something else than before.
fn announce<'w, T: Clone + Ord + 'w>(
    announced: &watch::Sender<Arc<BTreeSet<T>>>,
    wanted: impl Iterator<Item = &'w T>,
) {
    let wanted: Vec<_> = wanted.collect();
    announced.send_if_modified(|announced| {
        let differ = !announced.iter().eq(wanted.iter().copied());
        if differ {
            *announced = Arc::new(wanted.into_iter().cloned().collect());
        }
        differ
    });
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
