//! The names that Services of type ExternalName stand for, looked up and kept up to date.
//!
//! They are asked for at once, then whenever the records have outlived their TTL.
//!
//! What a lookup that fails does to the addresses known before is decided in `external_name`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};

use crate::{
    external_name::{Answer, DomainName, Failure},
    follower::{Follower, InUse, Subject, Unanswered},
    jitter::jittered,
    world::Change,
};

mod dns;
#[cfg(test)]
mod tests;

pub(crate) use dns::Dns;

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
    names: InUse<DomainName>,
    lookups: Arc<Lookups>,
    tell: impl Fn(Change) + Send,
) {
    let names_in_use = Names {
        resolver: Arc::new(resolver),
        pace: PACE,
        lookups,
        tell,
    };
    Follower::new(names_in_use).run(names).await;
}

struct Names<R, T> {
    resolver: Arc<R>,
    pace: Pace,
    lookups: Arc<Lookups>,
    tell: T,
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

impl<R: Resolver, T: Fn(Change)> Subject for Names<R, T> {
    type Key = DomainName;
    type Known = Known;
    type Answer = Looked;

    const AT_ONCE: usize = 32;
    const LONGEST: Duration = Duration::from_secs(5);

    fn first(&self, _: &DomainName, _: &UnboundedSender<DomainName>) -> Known {
        Known::default()
    }

    fn ask(&self, name: &DomainName) -> impl Future<Output = Looked> + Send + 'static {
        let (resolver, name) = (Arc::clone(&self.resolver), name.clone());
        async move { resolver.look_up(&name).await }
    }

    fn unanswered(why: Unanswered) -> Looked {
        let failure = match why {
            Unanswered::Late => Failure::TimedOut,
            Unanswered::Bug => Failure::NoServer("a bug of Ferrix, which its log shows".into()),
        };
        Looked {
            answer: Answer::failed(failure),
            ttl: Duration::ZERO,
        }
    }

    fn answered(&self, name: &DomainName, known: &mut Known, looked: Looked) -> Duration {
        let Looked { answer, ttl } = looked;
        self.lookups.count(&answer);
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
        let transient = known.found && !answer.is_found() && !answer.is_empty();
        if transient && known.failures < FAILURES_TOLD {
            return pause;
        }
        known.found |= answer.is_found();
        if let Some(why) = answer.failure()
            && !std::mem::replace(&mut known.said, true)
        {
            warn!(%name, %why, "the name is looked up in vain");
        }
        let name = name.clone();
        (self.tell)(Change::LookedUp { name, answer });
        pause
    }

    fn forget(&self, name: DomainName) {
        (self.tell)(Change::Forget(name));
    }
}
