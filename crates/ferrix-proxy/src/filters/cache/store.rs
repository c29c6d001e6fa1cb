//! What a cache keeps, and who fetches what it does not.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use ferrix_http1::{Fields, ResponseHead, tokens};
use parking_lot::Mutex;
use quick_cache::{OptionsBuilder, Weighter, sync};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::freshness::Freshness;

/// Responses that one request line has at most, for different requests.
const VARIANTS: usize = 16;

/// Bytes that a response takes beside its text and its body, about.
const OVERHEAD: usize = 1024;

/// For so long it is remembered that a response was not kept, and nobody waits for the next one.
const NOT_KEPT: Duration = Duration::from_secs(10);

/// Others wait for who fetches a response no longer than this, and then fetch it themselves.
const WAIT: Duration = Duration::from_secs(5);

/// About as much is kept for each entry, for the cache to plan with.
const USUAL_ENTRY: u64 = 16 * 1024;

/// A key as it is kept; it is looked up as a slice.
pub(super) type Key = Box<[u8]>;

/// A response that is kept.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(super) head: ResponseHead,
    pub(super) body: Bytes,
    pub(super) freshness: Freshness,
    selecting: Box<[Selecting]>,
    weight: u64,
}

/// A field of requests that tells responses apart (RFC 9111, section 4.1).
#[derive(Debug, PartialEq, Eq)]
struct Selecting {
    name: Box<str>,
    value: Box<[u8]>,
}

impl Stored {
    /// `request`: the fields of the request that it answers.
    pub(super) fn new(
        head: ResponseHead,
        body: Bytes,
        freshness: Freshness,
        request: &Fields,
    ) -> Self {
        let names = head.fields.get_all("vary").flat_map(tokens);
        let names = names.filter_map(|name| std::str::from_utf8(name).ok());
        let selecting = names.map(|name| Selecting {
            name: name.into(),
            value: normal(request, name),
        });
        let selecting: Box<[_]> = selecting.collect();
        let text = head
            .fields
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let of_request = selecting.iter().map(|it| it.name.len() + it.value.len());
        let length = text.sum::<usize>() + of_request.sum::<usize>() + body.len() + OVERHEAD;
        Self {
            head,
            body,
            freshness,
            selecting,
            weight: length as u64,
        }
    }

    fn answers(&self, request: &Fields) -> bool {
        let mut selecting = self.selecting.iter();
        selecting.all(|it| normal(request, &it.name) == it.value)
    }
}

/// The value of a field, however it is laid out in lines and blanks.
pub(super) fn normal(fields: &Fields, name: &str) -> Box<[u8]> {
    let tokens: Vec<_> = fields.get_all(name).flat_map(tokens).collect();
    tokens.join(&b","[..]).into()
}

/// What is known of a key.
#[derive(Clone)]
enum Entry {
    Kept(Arc<[Arc<Stored>]>),
    /// The response was not such as is kept.
    NotKept {
        until: Instant,
    },
}

#[derive(Clone)]
struct Weights;

impl Weighter<Key, Entry> for Weights {
    fn weight(&self, key: &Key, entry: &Entry) -> u64 {
        let of_entry = match entry {
            Entry::Kept(all) => all.iter().map(|it| it.weight).sum(),
            Entry::NotKept { .. } => 0,
        };
        key.len() as u64 + 128 + of_entry
    }
}

/// All that a cache keeps.
pub(super) struct Store {
    entries: sync::Cache<Key, Entry, Weights>,
    /// What is being fetched.
    flights: Mutex<HashMap<Key, Arc<Flight>>>,
    /// Which purge all of it comes after.
    purge: AtomicU64,
    max_bytes: AtomicU64,
}

/// What there is for a request.
pub(super) enum Found {
    Kept(Arc<Stored>),
    /// Nothing, of this request line or for this request.
    Nothing,
    /// Something that is not kept.
    NotKept,
}

impl Store {
    /// One that has room for the largest response in each of its shards.
    pub(super) fn new(max_bytes: u64, max_object_bytes: u64, purge: u64) -> Self {
        let shards = max_bytes / max_object_bytes.max(1).saturating_mul(VARIANTS as u64);
        let shards = usize::try_from(shards.clamp(1, 16)).unwrap_or(1);
        let entries =
            usize::try_from((max_bytes / USUAL_ENTRY).clamp(1024, 1 << 20)).unwrap_or(1024);
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(entries)
            .weight_capacity(max_bytes)
            .build()
            .expect("all that options need is given");
        let (hasher, lifecycle) = (Default::default(), Default::default());
        Self {
            entries: sync::Cache::with_options(options, Weights, hasher, lifecycle),
            flights: Mutex::default(),
            purge: AtomicU64::new(purge),
            max_bytes: AtomicU64::new(max_bytes),
        }
    }

    /// Follows what the table says: how much is kept at most, and whether all is to be forgotten.
    pub(super) fn follow(&self, max_bytes: u64, purge: u64) {
        if self.purge.load(Relaxed) != purge && self.purge.swap(purge, Relaxed) != purge {
            self.entries.clear();
        }
        if self.max_bytes.load(Relaxed) != max_bytes
            && self.max_bytes.swap(max_bytes, Relaxed) != max_bytes
        {
            self.entries.set_capacity(max_bytes);
        }
    }

    pub(super) fn find(&self, key: &[u8], request: &Fields, now: Instant) -> Found {
        match self.entries.get(key) {
            Some(Entry::Kept(all)) => match all.iter().find(|it| it.answers(request)) {
                Some(stored) => Found::Kept(Arc::clone(stored)),
                None => Found::Nothing,
            },
            Some(Entry::NotKept { until }) if now < until => Found::NotKept,
            Some(Entry::NotKept { .. }) | None => Found::Nothing,
        }
    }

    /// Keeps a response that was asked for after this `purge`.
    pub(super) fn keep(&self, key: &Key, stored: Stored, purge: u64) {
        if self.purge.load(Relaxed) != purge {
            return;
        }
        let mut all = vec![Arc::new(stored)];
        if let Some(Entry::Kept(others)) = self.entries.peek(key) {
            let others = others.iter().filter(|it| it.selecting != all[0].selecting);
            let others: Vec<_> = others.take(VARIANTS - 1).cloned().collect();
            all.extend(others);
        }
        self.entries.insert(key.clone(), Entry::Kept(all.into()));
    }

    /// Remembers that a response was not such as is kept; `stale` is what it takes the place of. What is
    /// kept for other requests stays.
    pub(super) fn pass_by(&self, key: &Key, stale: Option<&Arc<Stored>>, now: Instant) {
        let others: Vec<_> = match self.entries.peek(key) {
            Some(Entry::Kept(all)) => {
                let differs =
                    |it: &&Arc<Stored>| stale.is_none_or(|stale| it.selecting != stale.selecting);
                all.iter().filter(differs).cloned().collect()
            }
            Some(Entry::NotKept { .. }) | None => Vec::new(),
        };
        let entry = match others.is_empty() {
            true => Entry::NotKept {
                until: now + NOT_KEPT,
            },
            false => Entry::Kept(others.into()),
        };
        self.entries.insert(key.clone(), entry);
    }

    /// Forgets all responses to a request line, and one that is on its way.
    pub(super) fn forget(&self, key: &[u8]) {
        self.entries.remove(key);
        if let Some(flight) = self.flights.lock().remove(key) {
            flight.void.store(true, Relaxed);
            flight.landing.send_replace(Landing::Failed);
        }
    }

    /// Becomes the one who fetches a response, or learns who is.
    pub(super) fn board(self: &Arc<Self>, key: &[u8]) -> Result<Lead, Arc<Flight>> {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(key) {
            return Err(Arc::clone(flight));
        }
        let key = Key::from(key);
        let flight = Arc::new(Flight {
            landing: watch::Sender::new(Landing::UnderWay),
            void: AtomicBool::new(false),
        });
        flights.insert(key.clone(), Arc::clone(&flight));
        Ok(Lead {
            store: Arc::clone(self),
            key,
            flight,
        })
    }
}

/// A response that is being fetched, for all who want it.
pub(crate) struct Flight {
    landing: watch::Sender<Landing>,
    /// What it fetches may be out of date before it is there.
    void: AtomicBool,
}

/// How a fetch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landing {
    UnderWay,
    /// The response is kept.
    Kept,
    /// It is not such as is kept: everybody needs one of their own.
    NotKept,
    /// There is none. The next one may try.
    Failed,
}

impl Flight {
    /// Waits for its end, but not for long. Returns whether there is no use in waiting for another.
    pub(crate) async fn is_in_vain(&self) -> bool {
        let mut landing = self.landing.subscribe();
        let landed = landing.wait_for(|it| *it != Landing::UnderWay);
        match timeout(WAIT, landed).await {
            Ok(Ok(landing)) => *landing == Landing::NotKept,
            Ok(Err(_)) | Err(_) => true,
        }
    }
}

/// The one who fetches a response. Where it goes before it has landed, it has failed.
pub(super) struct Lead {
    store: Arc<Store>,
    key: Key,
    flight: Arc<Flight>,
}

impl Lead {
    /// Lets all others go on.
    pub(super) fn land(&self, landing: Landing) {
        let mut flights = self.store.flights.lock();
        if flights
            .get(&self.key)
            .is_some_and(|it| Arc::ptr_eq(it, &self.flight))
        {
            flights.remove(&self.key);
        }
        drop(flights);
        self.flight.landing.send_if_modified(|it| {
            let under_way = *it == Landing::UnderWay;
            if under_way {
                *it = landing;
            }
            under_way
        });
    }

    /// Whether what it fetches is out of date.
    pub(super) fn is_void(&self) -> bool {
        self.flight.void.load(Relaxed)
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.land(Landing::Failed);
    }
}

#[cfg(test)]
mod tests;
