//! The keys of issuers at URLs, fetched and kept up to date.
//!
//! ```text
//!  URLs in use ─► when: at once, then every few minutes, and when a token names a key that is not known
//!                   └─► HTTP ─► Change::KeysFetched ─► the compiler
//! ```
//!
//! What a fetch that fails does to the keys known before is decided in `issuer_keys`.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ferrix_table::filters::jwt::Renewal;
use futures_util::FutureExt as _;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use crate::{
    issuer_keys::{Fetched, FetchedKeys},
    jitter::jittered,
    world::Change,
};

mod http;
#[cfg(test)]
mod tests;

pub(crate) use http::Http;

/// How many URLs are asked at once.
const AT_ONCE: usize = 8;

/// When keys are fetched.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How long one fetch may take, with the wait for its turn.
    longest_fetch: Duration,
    /// How long keys hold, give or take.
    refresh: Duration,
    /// The pause after the first failure, give or take. It doubles with each further one.
    first_pause: Duration,
    /// But for this.
    longest_pause: Duration,
    /// Keys that tokens ask for are fetched so often at most: whoever makes tokens up makes nobody busy.
    cooldown: Duration,
}

const PACE: Pace = Pace {
    longest_fetch: Duration::from_secs(5),
    refresh: Duration::from_secs(300),
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(60),
    cooldown: Duration::from_secs(10),
};

/// Whoever can be asked for keys.
pub(crate) trait Fetcher: Send + Sync + 'static {
    /// Gets what is at a URL, as a text.
    ///
    /// # Errors
    /// Why there is none, in a sentence.
    fn fetch(&self, url: &str) -> impl Future<Output = Result<String, String>> + Send;
}

/// How many fetches there were since the start, by what came of them.
#[derive(Debug, Default)]
pub struct KeyFetches {
    fetched: AtomicU64,
    failed: AtomicU64,
}

impl KeyFetches {
    /// Those that brought keys.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Those that brought none.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn count(&self, fetched: &Fetched) {
        let counter = match fetched {
            Ok(_) => &self.fetched,
            Err(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Fetches the keys at all URLs in use, for as long as there are any to come, and tells what came of it.
pub(crate) async fn follow(
    fetcher: impl Fetcher,
    urls: watch::Receiver<Arc<BTreeSet<Arc<str>>>>,
    fetches: Arc<KeyFetches>,
    tell: impl Fn(Change) + Send,
) {
    Follower::new(fetcher, PACE, fetches, tell).run(urls).await;
}

struct Follower<F, T> {
    fetcher: Arc<F>,
    pace: Pace,
    fetches: Arc<KeyFetches>,
    tell: T,
    known: BTreeMap<Arc<str>, Known>,
    /// When each URL that is not asked right now is asked next.
    due: BTreeSet<(Instant, Arc<str>)>,
    turns: Arc<Semaphore>,
    underway: JoinSet<(Arc<str>, Fetched)>,
    asked: mpsc::UnboundedReceiver<Arc<str>>,
    ask: mpsc::UnboundedSender<Arc<str>>,
}

/// What is known of a URL.
struct Known {
    /// In a row.
    failures: u32,
    /// Whether a token has named a key since that is not known.
    is_asked: Arc<AtomicBool>,
    renewal: Renewal,
    /// Before then nobody's asking counts.
    not_before: Instant,
}

impl<F: Fetcher, T: Fn(Change) + Send> Follower<F, T> {
    fn new(fetcher: F, pace: Pace, fetches: Arc<KeyFetches>, tell: T) -> Self {
        let (ask, asked) = mpsc::unbounded_channel();
        Self {
            fetcher: Arc::new(fetcher),
            pace,
            fetches,
            tell,
            known: BTreeMap::new(),
            due: BTreeSet::new(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            underway: JoinSet::new(),
            asked,
            ask,
        }
    }

    async fn run(mut self, mut urls: watch::Receiver<Arc<BTreeSet<Arc<str>>>>) {
        let mut wanted = Arc::clone(&urls.borrow_and_update());
        self.begin(&wanted);
        loop {
            let next = self.due.first().map(|(at, _)| *at);
            // Far from now: there is something else to wait for.
            let next = next.unwrap_or_else(|| Instant::now() + self.pace.refresh);
            tokio::select! {
                changed = urls.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    wanted = Arc::clone(&urls.borrow_and_update());
                    self.begin(&wanted);
                }
                Some(fetched) = self.underway.join_next() => {
                    // The work itself catches what panics, and nobody aborts it.
                    if let Ok((url, fetched)) = fetched {
                        self.fetched(url, fetched);
                    }
                }
                Some(url) = self.asked.recv() => self.hasten(&url),
                () = sleep_until(next) => self.proceed(&wanted),
            }
        }
    }

    /// Fetches what is wanted for the first time. What is not wanted any more goes when it is due, so that a
    /// route that is replaced finds its keys again.
    fn begin(&mut self, wanted: &BTreeSet<Arc<str>>) {
        for url in wanted {
            if !self.known.contains_key(url) {
                let known = self.first(url);
                self.known.insert(Arc::clone(url), known);
                self.fetch(Arc::clone(url));
            }
        }
    }

    fn first(&self, url: &Arc<str>) -> Known {
        let is_asked = Arc::new(AtomicBool::new(false));
        let (ask, url, flag) = (self.ask.clone(), Arc::clone(url), Arc::clone(&is_asked));
        let renewal = Renewal::new(move || {
            // Once until it is answered, so that the queue has each URL once.
            if !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::Relaxed) {
                // Whoever listened has gone only if the program ends.
                let _ = ask.send(Arc::clone(&url));
            }
        });
        Known {
            failures: 0,
            is_asked,
            renewal,
            not_before: Instant::now(),
        }
    }

    /// Fetches what is due.
    fn proceed(&mut self, wanted: &BTreeSet<Arc<str>>) {
        let now = Instant::now();
        while self.due.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, url)) = self.due.pop_first()
        {
            if wanted.contains(&url) {
                self.fetch(url);
            } else {
                self.known.remove(&url);
                (self.tell)(Change::ForgetKeys(url));
            }
        }
    }

    /// A token names a key at a URL that is not known: it is asked as soon as it may be. Where the newest fetch
    /// failed, that is soon enough.
    fn hasten(&mut self, url: &Arc<str>) {
        let place = self.due.iter().find(|(_, it)| it == url).cloned();
        let (Some(known), Some((due, url))) = (self.known.get_mut(url), place) else {
            return;
        };
        let at = known.not_before.max(Instant::now());
        if known.failures > 0 || at >= due {
            return;
        }
        known.not_before = at + self.pace.cooldown;
        self.due.remove(&(due, Arc::clone(&url)));
        self.due.insert((at, url));
    }

    fn fetch(&mut self, url: Arc<str>) {
        let (fetcher, turns) = (Arc::clone(&self.fetcher), Arc::clone(&self.turns));
        let longest = self.pace.longest_fetch;
        self.underway.spawn(async move {
            let work = async {
                // Nobody closes it.
                let _turn = turns.acquire().await;
                fetcher.fetch(&url).await
            };
            let work = timeout(longest, AssertUnwindSafe(work).catch_unwind()).await;
            let text = match work {
                Ok(Ok(text)) => text,
                Ok(Err(_)) => Err("a bug of Ferrix, which its log shows".to_owned()),
                Err(_) => Err("no whole answer in time".to_owned()),
            };
            let fetched = text.and_then(|text| FetchedKeys::parse(&text));
            (url, fetched.map_err(Arc::from))
        });
    }

    fn fetched(&mut self, url: Arc<str>, fetched: Fetched) {
        self.fetches.count(&fetched);
        let Some(known) = self.known.get_mut(&url) else {
            return;
        };
        // From now on tokens may miss a key again.
        known.is_asked.store(false, Ordering::Relaxed);
        let pause = match &fetched {
            Ok(FetchedKeys { .. }) => {
                if std::mem::take(&mut known.failures) > 0 {
                    info!(%url, "keys are fetched again");
                }
                self.pace.refresh
            }
            Err(why) => {
                if known.failures == 0 {
                    warn!(%url, %why, "keys are fetched in vain; those fetched last serve on");
                }
                let pause = self.pace.first_pause * 2_u32.pow(known.failures.min(10));
                known.failures = known.failures.saturating_add(1);
                pause.min(self.pace.longest_pause)
            }
        };
        let renewal = known.renewal.clone();
        let due = Instant::now() + jittered(pause);
        self.due.insert((due, Arc::clone(&url)));
        (self.tell)(Change::KeysFetched {
            url,
            fetched,
            renewal,
        });
    }
}
