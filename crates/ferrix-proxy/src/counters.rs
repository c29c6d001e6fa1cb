//! What the data plane counts beside routes and services.

use std::sync::Arc;

use ferrix_table::state::{Counter, Gauge, RequestCounts};

use parking_lot::Mutex;

use crate::failure::Failure;

/// Counts of the whole process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Of the entry points that there are, and of those that connections are left of.
    entry_points: Mutex<Vec<Arc<EntryPointCounters>>>,
    /// Bytes of bodies that were read, and wait for peers that do not take them.
    pub buffered_bytes: Gauge,
    /// Copies of requests that are on their way to mirrors.
    pub mirrored_requests: Gauge,
    /// Of all caches.
    pub cache: CacheCounters,
    /// Tasks that panicked: each cost one connection or stream, and is a bug.
    pub panics: Counter,
}

impl Counters {
    /// Those of each entry point, by name.
    pub fn entry_points(&self) -> Vec<Arc<EntryPointCounters>> {
        self.entry_points.lock().clone()
    }

    /// Those of one entry point, from zero where there are none yet.
    pub fn entry_point(&self, name: &str) -> Arc<EntryPointCounters> {
        let mut all = self.entry_points.lock();
        let place = all.binary_search_by(|it| (*it.name).cmp(name));
        let place = place.unwrap_or_else(|place| {
            let fresh = EntryPointCounters {
                name: name.into(),
                ..EntryPointCounters::default()
            };
            all.insert(place, Arc::new(fresh));
            place
        });
        Arc::clone(&all[place])
    }

    /// Forgets those of other entry points that nobody adds to any more.
    pub(crate) fn keep(&self, exists: impl Fn(&str) -> bool) {
        let is_used = |it: &Arc<EntryPointCounters>| Arc::strong_count(it) > 1 || exists(&it.name);
        self.entry_points.lock().retain(is_used);
    }
}

/// An open connection, until it is dropped.
pub(crate) struct OpenGuard(Arc<EntryPointCounters>);

impl OpenGuard {
    pub(crate) fn new(counters: &Arc<EntryPointCounters>) -> Self {
        counters.open_connections.add(1);
        Self(Arc::clone(counters))
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open_connections.add(-1);
    }
}

/// What caches did with requests.
#[derive(Debug, Default)]
pub struct CacheCounters {
    /// Answered by what is kept and fresh.
    pub hits: Counter,
    /// Sent on, for what there is not or is no longer good.
    pub misses: Counter,
    /// Answered by what is kept and stale, while it is fetched anew.
    pub stale: Counter,
    /// Sent on, for what caches have no part in.
    pub bypasses: Counter,
}

/// Counts of one entry point.
#[derive(Debug, Default)]
pub struct EntryPointCounters {
    /// Its name.
    pub name: Arc<str>,
    /// Client connections open now.
    pub open_connections: Gauge,
    /// Client connections accepted.
    pub accepted_connections: Counter,
    /// Client connections closed at once because of a limit or a bad PROXY protocol header.
    pub refused_connections: Counter,
    /// Connections over HTTP/2 that were ended for what the client did.
    pub abusive_connections: Counter,
    /// TLS handshakes that failed.
    pub tls_failures: Counter,
    /// Requests.
    pub requests: RequestCounts,
    /// Requests that Ferrix answered itself, by [`Failure::index`]; names in [`Failure::NAMES`].
    pub failures: [Counter; Failure::NAMES.len()],
}
