//! The names that Services of type ExternalName stand for, looked up and kept up to date.
//!
//! ```text
//!  names in use ─► when: at once, then whenever the records have outlived their TTL
//!                    └─► DNS ─► Change::LookedUp ─► the compiler
//! ```
//!
//! What a lookup that fails does to the addresses known before is decided in `external_name`.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use crate::{
    external_name::{Answer, DomainName, Failure},
    jitter::jittered,
    world::Change,
};

mod dns;
#[cfg(test)]
mod tests;

pub(crate) use dns::Dns;

/// How many names are looked up at once.
const AT_ONCE: usize = 32;

/// How long one lookup may take, with the wait for its turn.
const LONGEST_LOOKUP: Duration = Duration::from_secs(5);

/// Failures in a row after which they are told, where the addresses found before serve on: a packet
/// gets lost now and then, and another lookup follows within two seconds.
const FAILURES_TOLD: u32 = 2;

/// How long what was found, or not found, holds.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// TTLs below this count as this.
    shortest: Duration,
    /// TTLs above this count as this, so that a mistake in a zone does not last.
    longest: Duration,
    /// The pause after the first failure, give or take. It doubles with each further one.
    first_pause: Duration,
    /// But for this.
    longest_pause: Duration,
}

const PACE: Pace = Pace {
    shortest: Duration::from_secs(5),
    longest: Duration::from_secs(300),
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(30),
};

/// Whoever knows the addresses of names.
pub(crate) trait Resolver: Send + Sync + 'static {
    /// Looks a name up.
    fn look_up(&self, name: &DomainName) -> impl Future<Output = Looked> + Send;
}

/// What came of a lookup.
#[derive(Clone, Debug)]
pub(crate) struct Looked {
    pub(crate) answer: Answer,
    /// How long it holds: the least TTL of the records. No matter where there are none.
    pub(crate) ttl: Duration,
}

/// How many lookups there were since the start, by what came of them.
#[derive(Debug, Default)]
pub struct Lookups {
    found: AtomicU64,
    empty: AtomicU64,
    failed: AtomicU64,
}

impl Lookups {
    /// Those that found an address.
    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Those that a DNS server answered with no address: the name does not exist, or has none.
    pub fn empty(&self) -> u64 {
        self.empty.load(Ordering::Relaxed)
    }

    /// Those that no DNS server could be made to answer.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn count(&self, answer: &Answer) {
        let counter = match answer {
            answer if answer.is_found() => &self.found,
            answer if answer.is_empty() => &self.empty,
            _ => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Looks up all names in use, for as long as there are any to come, and tells what came of it.
pub(crate) async fn follow(
    resolver: impl Resolver,
    names: watch::Receiver<Arc<BTreeSet<DomainName>>>,
    lookups: Arc<Lookups>,
    tell: impl Fn(Change) + Send,
) {
    let follower = Follower::new(resolver, PACE, lookups, tell);
    follower.run(names).await;
}

struct Follower<R, T> {
    resolver: Arc<R>,
    pace: Pace,
    lookups: Arc<Lookups>,
    tell: T,
    known: BTreeMap<DomainName, Known>,
    /// When each name that is not looked up right now is looked up next.
    due: BTreeSet<(Instant, DomainName)>,
    turns: Arc<Semaphore>,
    underway: JoinSet<(DomainName, Looked)>,
}

/// What is known of a name.
#[derive(Default)]
struct Known {
    found: bool,
    /// In a row.
    failures: u32,
    /// Whether it was logged that there are some.
    said: bool,
}

impl<R: Resolver, T: Fn(Change) + Send> Follower<R, T> {
    fn new(resolver: R, pace: Pace, lookups: Arc<Lookups>, tell: T) -> Self {
        Self {
            resolver: Arc::new(resolver),
            pace,
            lookups,
            tell,
            known: BTreeMap::new(),
            due: BTreeSet::new(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            underway: JoinSet::new(),
        }
    }

    async fn run(mut self, mut names: watch::Receiver<Arc<BTreeSet<DomainName>>>) {
        let mut wanted = Arc::clone(&names.borrow_and_update());
        self.begin(&wanted);
        loop {
            let next = self.due.first().map(|(at, _)| *at);
            // Far from now: there is something else to wait for.
            let next = next.unwrap_or_else(|| Instant::now() + self.pace.longest);
            tokio::select! {
                changed = names.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    wanted = Arc::clone(&names.borrow_and_update());
                    self.begin(&wanted);
                }
                Some(looked) = self.underway.join_next() => {
                    // The work itself catches what panics, and nobody aborts it.
                    if let Ok((name, looked)) = looked {
                        self.looked_up(name, looked);
                    }
                }
                () = sleep_until(next) => self.proceed(&wanted),
            }
        }
    }

    /// Looks names up that are wanted for the first time. Those that are not wanted any more go when
    /// they are due, so that a route that is replaced finds its addresses again.
    fn begin(&mut self, wanted: &BTreeSet<DomainName>) {
        for name in wanted {
            if !self.known.contains_key(name) {
                self.known.insert(name.clone(), Known::default());
                self.look_up(name.clone());
            }
        }
    }

    /// Looks names up anew that are due.
    fn proceed(&mut self, wanted: &BTreeSet<DomainName>) {
        let now = Instant::now();
        while self.due.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, name)) = self.due.pop_first()
        {
            if wanted.contains(&name) {
                self.look_up(name);
            } else {
                self.known.remove(&name);
                (self.tell)(Change::Forget(name));
            }
        }
    }

    fn look_up(&mut self, name: DomainName) {
        let (resolver, turns) = (Arc::clone(&self.resolver), Arc::clone(&self.turns));
        self.underway.spawn(async move {
            let work = async {
                // Nobody closes it.
                let _turn = turns.acquire().await;
                resolver.look_up(&name).await
            };
            let work = timeout(LONGEST_LOOKUP, AssertUnwindSafe(work).catch_unwind()).await;
            let failed = |why| Looked {
                answer: Answer::failed(why),
                ttl: Duration::ZERO,
            };
            let looked = match work {
                Ok(Ok(looked)) => looked,
                Ok(Err(_)) => failed(Failure::NoServer(
                    "a bug of Ferrix, which its log shows".into(),
                )),
                Err(_) => failed(Failure::TimedOut),
            };
            (name, looked)
        });
    }

    fn looked_up(&mut self, name: DomainName, looked: Looked) {
        let Looked { answer, ttl } = looked;
        self.lookups.count(&answer);
        let Some(known) = self.known.get_mut(&name) else {
            return;
        };
        let pause = match answer.is_found() {
            true => {
                if std::mem::take(&mut known.said) {
                    info!(%name, "the name has addresses again");
                }
                known.failures = 0;
                ttl.clamp(self.pace.shortest, self.pace.longest)
            }
            false => {
                let pause = self.pace.first_pause * 2_u32.pow(known.failures.min(10));
                known.failures = known.failures.saturating_add(1);
                jittered(pause.min(self.pace.longest_pause))
            }
        };
        self.due.insert((Instant::now() + pause, name.clone()));
        let transient = known.found && !answer.is_found() && !answer.is_empty();
        if transient && known.failures < FAILURES_TOLD {
            return;
        }
        known.found |= answer.is_found();
        if let Some(why) = answer.failure()
            && !std::mem::replace(&mut known.said, true)
        {
            warn!(%name, %why, "the name is looked up in vain");
        }
        (self.tell)(Change::LookedUp { name, answer });
    }
}
