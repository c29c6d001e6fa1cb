//! The keys of issuers at URLs, fetched and kept up to date.
//!
//! They are asked for at once, then every few minutes, and when a token names a key that is not known. Whoever runs
//! the control plane says how a URL is asked.
//!
//! What a fetch that fails does to the keys known before is decided in `issuer_keys`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ferrix_table::filters::jwt::Renewal;
use tokio::{sync::mpsc::UnboundedSender, time::Instant};
use tracing::{info, warn};

use crate::{
    follower::{Follower, InUse, Subject, Unanswered},
    issuer_keys::{Fetched, FetchedKeys},
    jitter::jittered,
    world::Change,
};

#[cfg(test)]
mod tests;

/// How long keys hold, give or take.
const REFRESH: Duration = Duration::from_secs(300);

/// The pause after the first failure, give or take. It doubles with each further one…
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// …but for this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Keys that tokens ask for are fetched so often at most: whoever makes tokens up makes nobody busy.
const COOLDOWN: Duration = Duration::from_secs(10);

/// Whoever can be asked for keys.
pub trait KeyFetcher: Send + Sync + 'static {
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
    fetcher: Arc<impl KeyFetcher>,
    urls: InUse<Arc<str>>,
    fetches: Arc<KeyFetches>,
    tell: impl Fn(Change) + Send,
) {
    let keys = Keys {
        fetcher,
        fetches,
        tell,
    };
    Follower::new(keys).run(urls).await;
}

struct Keys<F, T> {
    fetcher: Arc<F>,
    fetches: Arc<KeyFetches>,
    tell: T,
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

impl<F: KeyFetcher, T: Fn(Change)> Subject for Keys<F, T> {
    type Key = Arc<str>;
    type Known = Known;
    type Answer = Fetched;

    const AT_ONCE: usize = 8;
    const LONGEST: Duration = Duration::from_secs(5);

    fn first(&self, url: &Arc<str>, hasten: &UnboundedSender<Arc<str>>) -> Known {
        let is_asked = Arc::new(AtomicBool::new(false));
        let (hasten, url, flag) = (hasten.clone(), Arc::clone(url), Arc::clone(&is_asked));
        let renewal = Renewal::new(move || {
            // Once until it is answered, so that the queue has each URL once.
            if !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::Relaxed) {
                // Whoever listened has gone only if the program ends.
                let _ = hasten.send(Arc::clone(&url));
            }
        });
        Known {
            failures: 0,
            is_asked,
            renewal,
            not_before: Instant::now(),
        }
    }

    fn ask(&self, url: &Arc<str>) -> impl Future<Output = Fetched> + Send + 'static {
        let (fetcher, url) = (Arc::clone(&self.fetcher), Arc::clone(url));
        async move {
            let text = fetcher.fetch(&url).await;
            let keys = text.and_then(|text| FetchedKeys::parse(&text));
            keys.map_err(Arc::from)
        }
    }

    fn unanswered(why: Unanswered) -> Fetched {
        Err(match why {
            Unanswered::Late => "no whole answer in time".into(),
            Unanswered::Bug => "a bug of Ferrix, which its log shows".into(),
        })
    }

    fn answered(&self, url: &Arc<str>, known: &mut Known, fetched: Fetched) -> Duration {
        self.fetches.count(&fetched);
        // From now on tokens may miss a key again.
        known.is_asked.store(false, Ordering::Relaxed);
        let pause = match &fetched {
            Ok(FetchedKeys { .. }) => {
                if std::mem::take(&mut known.failures) > 0 {
                    info!(%url, "keys are fetched again");
                }
                REFRESH
            }
            Err(why) => {
                if known.failures == 0 {
                    warn!(%url, %why, "keys are fetched in vain; those fetched last serve on");
                }
                let pause = FIRST_PAUSE * 2_u32.pow(known.failures.min(10));
                known.failures = known.failures.saturating_add(1);
                pause.min(LONGEST_PAUSE)
            }
        };
        (self.tell)(Change::KeysFetched {
            url: Arc::clone(url),
            fetched,
            renewal: known.renewal.clone(),
        });
        jittered(pause)
    }

    /// A token names a key at the URL that is not known: it is asked as soon as it may be. Where the newest fetch
    /// failed, that is soon enough.
    fn hastened(&self, known: &mut Known, due: Instant) -> Option<Instant> {
        let at = known.not_before.max(Instant::now());
        if known.failures > 0 || at >= due {
            return None;
        }
        known.not_before = at + COOLDOWN;
        Some(at)
    }

    fn forget(&self, url: Arc<str>) {
        (self.tell)(Change::ForgetKeys(url));
    }
}
