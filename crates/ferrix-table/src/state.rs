//! What requests leave behind: counters that outlive tables.
//!
//! All of it is atomics, written with relaxed ordering by every worker and read by the metrics
//! page. No lock, no label look-up on the request path, and no allocation but at the first request.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use crate::{
    backoff::Backoff,
    sync::{AtomicBool, AtomicI32, AtomicI64, AtomicU64},
};

/// A counter that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the counter.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A value that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds to the gauge; negative to subtract. Returns the value before.
    pub fn add(&self, amount: i64) -> i64 {
        self.0.fetch_add(amount, Relaxed)
    }

    /// The value now.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// The same in half of the room, for what never comes to two thousand million.
#[derive(Debug, Default)]
pub struct SmallGauge(AtomicI32);

impl SmallGauge {
    /// Adds to the gauge; negative to subtract.
    pub fn add(&self, amount: i32) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed).into()
    }
}

/// Upper bounds of the duration buckets, in seconds; the last bucket is infinite.
pub const DURATION_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// Requests by the first digit of their status, how long they took, and how long their bodies were.
///
/// Most routes of a large installation are at rest, and so this takes its memory when it first
/// counts.
#[derive(Debug, Default)]
pub struct RequestCounts(OnceLock<Box<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    classes: [Counter; 5],
    durations: [Counter; DURATION_BUCKETS.len() + 1],
    microseconds: Counter,
    received_bytes: Counter,
    sent_bytes: Counter,
}

/// One request that has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// Status 0 (the client left before an answer) counts as 4xx, as nginx's 499 does.
    pub status: u16,
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
    /// Body bytes from the client.
    pub received_bytes: u64,
    /// Body bytes to the client.
    pub sent_bytes: u64,
}

impl RequestCounts {
    /// Counts one request.
    pub fn count(&self, request: &Served) {
        let class = match request.status {
            status @ 100..=599 => usize::from(status / 100 - 1),
            _ => 3,
        };
        let seconds = request.duration.as_secs_f64();
        let bucket = DURATION_BUCKETS.partition_point(|bound| *bound < seconds);
        let microseconds = u64::try_from(request.duration.as_micros()).unwrap_or(u64::MAX);
        let counts = self.0.get_or_init(Box::default);
        counts.classes[class].add(1);
        counts.durations[bucket].add(1);
        counts.microseconds.add(microseconds);
        counts.received_bytes.add(request.received_bytes);
        counts.sent_bytes.add(request.sent_bytes);
    }

    /// Requests by class: 1xx (upgraded), 2xx, 3xx, 4xx, 5xx.
    pub fn classes(&self) -> [u64; 5] {
        self.get(|counts| counts.classes.each_ref().map(Counter::get))
    }

    /// Requests by bucket of duration (not cumulative), and the sum of durations in seconds.
    pub fn durations(&self) -> ([u64; DURATION_BUCKETS.len() + 1], f64) {
        self.get(|counts| {
            let buckets = counts.durations.each_ref().map(Counter::get);
            (buckets, counts.microseconds.get() as f64 / 1e6)
        })
    }

    /// Body bytes from clients.
    pub fn received_bytes(&self) -> u64 {
        self.get(|counts| counts.received_bytes.get())
    }

    /// Body bytes to clients.
    pub fn sent_bytes(&self) -> u64 {
        self.get(|counts| counts.sent_bytes.get())
    }

    fn get<T: Default>(&self, get: impl FnOnce(&Counts) -> T) -> T {
        self.0.get().map_or_else(T::default, |counts| get(counts))
    }
}

/// What is counted for one route.
#[derive(Debug, Default)]
pub struct RouteState {
    /// Its requests.
    pub requests: RequestCounts,
}

/// What is counted for one service.
#[derive(Debug, Default)]
pub struct ServiceState {
    /// Its requests.
    pub requests: RequestCounts,
    /// Attempts after the first.
    pub retries: Counter,
    /// Connections that could not be made.
    pub connect_failures: Counter,
    /// Responses with fields that no response may have.
    pub odd_responses: Counter,
    /// Where the round robin stands.
    pub rotation: Sequence,
}

/// What is counted for one service with a policy.
#[derive(Debug, Default)]
pub struct PolicyState {
    /// Endpoints that were left out for how they have answered, each time.
    pub ejections: Counter,
    /// Requests that are sent once more, and under way.
    pub retrying: Gauge,
    /// Requests that were refused, as too many were under way.
    pub refused: Counter,
    /// What holds requests back while too many are under way; what it is is the proxy's own affair.
    pub queue: OnceLock<Arc<dyn Queue>>,
    /// Whether somebody is about to leave an endpoint out.
    pub(crate) ejecting: AtomicBool,
}

/// What holds requests of a service back.
pub trait Queue: Any + fmt::Debug + Send + Sync {
    /// How many wait.
    fn waiting(&self) -> usize;
}

/// What is known of one endpoint.
#[derive(Debug, Default)]
pub struct EndpointState {
    /// Requests in flight.
    pub in_flight: SmallGauge,
    /// Whether connections to it fail.
    pub backoff: Backoff,
    /// The proxy's connections to it.
    pub connections: OnceLock<Arc<dyn Connections>>,
    /// How many services of the current table have it; [`RETIRED`]: none any more. The publisher alone
    /// changes it.
    holders: AtomicI32,
}

/// Of an endpoint that was in a table, and is in the current one no more.
const RETIRED: i32 = -1;

/// The proxy's connections to an endpoint; what they are is its own affair.
pub trait Connections: Any + fmt::Debug + Send + Sync {
    /// The endpoint is gone: what waits for a connection to it waits in vain.
    fn retire(&self);
}

impl EndpointState {
    /// Whether the current table has the endpoint no more. Requests that began before may still use
    /// its connections; nothing else should be begun or kept for it.
    pub fn is_retired(&self) -> bool {
        self.holders.load(SeqCst) == RETIRED
    }

    /// A service has it, which is about to be published.
    pub(crate) fn hold(&self) {
        let others = self.holders.load(Relaxed).max(0);
        self.holders.store(others + 1, SeqCst);
    }

    /// A service that had it is not in the current table any more.
    pub(crate) fn let_go(&self) {
        let others = self.holders.load(Relaxed) - 1;
        if others > 0 {
            self.holders.store(others, SeqCst);
            return;
        }
        self.holders.store(RETIRED, SeqCst);
        if let Some(connections) = self.connections.get() {
            connections.retire();
        }
    }

    /// Makes an attempt at a connection that takes long the probe of this endpoint, unless it is
    /// known to fail.
    pub fn suspect(self: &Arc<Self>) -> Option<Probe> {
        self.backoff.suspect().then(|| Probe::new(self))
    }

    /// For who is to find out, now that the pause is over, whether the endpoint can be connected to.
    /// `now` is in milliseconds: see [`Backoff`].
    pub fn probe(self: &Arc<Self>, now: u64) -> Option<Probe> {
        self.backoff.claim(now).then(|| Probe::new(self))
    }
}

/// The attempt at a connection to a failing endpoint that decides whether it fails still. There is one
/// at a time; dropped, it leaves the question to another.
#[derive(Debug)]
pub struct Probe(Option<Arc<EndpointState>>);

impl Probe {
    fn new(endpoint: &Arc<EndpointState>) -> Self {
        Self(Some(Arc::clone(endpoint)))
    }

    /// There is no connection. `now` is in milliseconds: see [`Backoff`]. Returns whether a pause
    /// begins.
    pub fn fail(mut self, now: u64) -> bool {
        self.answered().backoff.fail_probe(now)
    }

    /// There is one. Returns how many attempts one after another had failed before.
    pub fn succeed(mut self) -> u16 {
        self.answered().backoff.succeed()
    }

    /// The question is answered with what follows: by the time that this is dropped, another may ask it.
    fn answered(&mut self) -> Arc<EndpointState> {
        (self.0.take()).expect("an answer takes the probe")
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(endpoint) = &self.0 {
            endpoint.backoff.release();
        }
    }
}

/// A shared position in a sequence.
#[derive(Debug, Default)]
pub struct Sequence(AtomicU64);

impl Sequence {
    /// This caller's position; each position is given out once.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }
}

impl Sequence {
    /// A sequence that goes on from this position.
    pub fn starting_at(position: u64) -> Sequence {
        Sequence(AtomicU64::new(position))
    }

    /// The position that [`Sequence::next`] gives out next.
    pub fn position(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Clone for Sequence {
    /// Another sequence, from the same position on.
    fn clone(&self) -> Self {
        Sequence::starting_at(self.position())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use ferrix_model::{check, spawn};

    use super::*;

    /// Longer than any pause, in milliseconds.
    const LATER: u64 = 60_000;

    /// Whether the endpoint is connected to, or somebody can find out that it is.
    fn is_not_stuck(endpoint: &Arc<EndpointState>) -> bool {
        !endpoint.backoff.is_failing() || endpoint.probe(u64::MAX >> 17).is_some()
    }

    #[test]
    fn one_probes_at_a_time_in_any_order() {
        let orders = check(|| {
            let endpoint = Arc::new(EndpointState::default());
            endpoint.backoff.fail(0);
            let probing = Arc::new(AtomicUsize::new(0));
            let threads = [1, 2, 3, 4].map(|turn| {
                let (endpoint, probing) = (Arc::clone(&endpoint), Arc::clone(&probing));
                spawn(move || {
                    let now = turn * LATER;
                    let Some(probe) = endpoint.probe(now) else {
                        return;
                    };
                    assert_eq!(probing.fetch_add(1, SeqCst), 0, "two probe");
                    endpoint.is_retired();
                    probing.fetch_sub(1, SeqCst);
                    match turn {
                        4 => drop(probe),
                        _ => assert!(probe.fail(now)),
                    }
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
            assert!(is_not_stuck(&endpoint));
        });
        assert!(orders > 0);
    }

    #[test]
    fn no_endpoint_is_paused_for_ever_in_any_order() {
        let orders = check(|| {
            let endpoint = Arc::new(EndpointState::default());
            let probe = endpoint.suspect();
            assert!(probe.is_some());
            let spawned = |attempt: fn(&Arc<EndpointState>)| {
                let endpoint = Arc::clone(&endpoint);
                spawn(move || attempt(&endpoint))
            };
            let threads = [
                spawned(|endpoint| {
                    endpoint.backoff.succeed();
                }),
                spawned(|endpoint| {
                    endpoint.backoff.fail(0);
                    drop(endpoint.probe(LATER));
                }),
                spawned(|endpoint| match endpoint.suspect() {
                    Some(probe) => {
                        probe.succeed();
                    }
                    None => {
                        endpoint.backoff.fail(LATER);
                    }
                }),
            ];
            drop(probe);
            for thread in threads {
                thread.join().unwrap();
            }
            assert!(is_not_stuck(&endpoint));
        });
        assert!(orders > 0);
    }
}
