//! Responses that are kept and used again.

use std::{
    any::Any,
    fmt,
    hash::BuildHasher,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::lasting::{Lasting, States};

/// Keeps responses and answers requests with them, as a shared cache (RFC 9111).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// All that is kept takes about this much memory at most, in bytes.
    pub max_bytes: u64,
    /// What is kept, and for how long.
    pub terms: CacheTerms,
    /// Names of request header fields whose values tell responses apart that do not say so.
    pub key_headers: Box<[Box<str>]>,
    /// Where this becomes another, all that is kept is forgotten.
    pub purge: Option<Box<str>>,
    /// What is kept.
    pub state: Lasting<CacheState>,
}

/// Which responses are kept, and for how long where they do not say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheTerms {
    /// The longest body that is kept, in bytes.
    pub max_object_bytes: u64,
    /// How long a response is fresh. Zero: it is not kept.
    pub default_ttl: Duration,
    /// How long a stale response answers requests while it is fetched anew (RFC 5861, section 3).
    pub stale_while_revalidate: Duration,
    /// How long a stale response answers requests while it cannot be fetched (RFC 5861, section 4).
    pub stale_if_error: Duration,
}

/// What a cache keeps from one table to the next.
#[derive(Default)]
pub struct CacheState {
    /// The responses, in the form of whoever keeps them.
    kept: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Stands for the `purge` of the table that was published last.
    purge: AtomicU64,
}

impl CacheState {
    /// What is kept: what `make` gives at the first request.
    pub fn kept<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let kept = self.kept.get_or_init(|| Arc::new(make()));
        let kept = Arc::clone(kept).downcast();
        kept.expect("the data plane keeps responses in one form")
    }

    /// A number that is another once all is to be forgotten.
    pub fn purge(&self) -> u64 {
        self.purge.load(Relaxed)
    }
}

impl Cache {
    /// Connects it with what an earlier version of it keeps, and has that forgotten where it is due.
    pub(super) fn connect(&self, states: &mut States) {
        states.connect(&self.state);
        let purge = foldhash::fast::FixedState::default().hash_one(&self.purge);
        self.state.get().purge.store(purge, Relaxed);
    }
}

/// Nothing of what is kept.
impl fmt::Debug for CacheState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheState")
    }
}

/// How much is kept, and how long.
impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CacheTerms {
            max_object_bytes,
            default_ttl,
            stale_while_revalidate,
            stale_if_error,
        } = self.terms;
        write!(
            f,
            "{} bytes, {max_object_bytes} for each response",
            self.max_bytes
        )?;
        let limits = [
            ("fresh for", default_ttl),
            ("stale while revalidated for", stale_while_revalidate),
            ("stale if there are errors for", stale_if_error),
        ];
        for (name, limit) in limits.into_iter().filter(|(_, limit)| !limit.is_zero()) {
            write!(f, ", {name} {limit:?}")?;
        }
        match self.key_headers.is_empty() {
            true => Ok(()),
            false => write!(f, ", by {}", self.key_headers.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        filters::lasting::FilterId,
        object::{Key, Kind},
    };

    fn cache(purge: Option<&str>) -> Cache {
        Cache {
            max_bytes: 1000,
            terms: CacheTerms {
                max_object_bytes: 100,
                default_ttl: Duration::ZERO,
                stale_while_revalidate: Duration::from_secs(30),
                stale_if_error: Duration::ZERO,
            },
            key_headers: ["x-tenant".into()].into(),
            purge: purge.map(Into::into),
            state: Lasting::new(FilterId {
                object: Key::new(Kind::IngressRoute, "default", "r"),
                place: "rules[0].filters[0].cache".into(),
            }),
        }
    }

    #[test]
    fn what_is_kept_outlives_tables_and_is_forgotten_on_demand() {
        let mut states = States::default();
        let connected = [None, None, Some("1"), Some("1"), Some("2"), None].map(|purge| {
            let cache = cache(purge);
            cache.connect(&mut states);
            cache
        });
        let first = connected[0].state.get().kept(|| 7_u32);
        let last = connected[5].state.get().kept(|| 8_u32);
        assert!(Arc::ptr_eq(&first, &last));
        let mut states = States::default();
        let numbers = [None, None, Some("1"), Some("1"), Some("2"), None].map(|purge| {
            let cache = cache(purge);
            cache.connect(&mut states);
            cache.state.get().purge()
        });
        let changes: Vec<_> = numbers.windows(2).map(|pair| pair[0] != pair[1]).collect();
        assert_eq!(changes, [false, true, false, true, true]);
    }

    #[test]
    fn what_it_does_in_words() {
        let text =
            "1000 bytes, 100 for each response, stale while revalidated for 30s, by x-tenant";
        assert_eq!(cache(None).to_string(), text);
    }
}
