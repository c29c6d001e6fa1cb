//! Rate limits: how many requests a client may make in a time.

use std::{
    fmt,
    sync::atomic::Ordering::{Relaxed, Release},
    time::Duration,
};

use super::{lasting::Lasting, limit_key::LimitKey, places::Places};
use crate::state::Counter;

pub mod gcra;
mod share;

pub use share::Replicas;

use gcra::{Exceeded, Rate};

/// How many requests may pass in a time, for each of those that are counted apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// So many requests; not 0…
    pub requests: u32,
    /// …in this time, spread evenly…
    pub per: Duration,
    /// …but so many at once; not 0.
    pub burst: u32,
    /// The same, ready to be counted by.
    pub rate: Rate,
    /// What is counted apart.
    pub by: LimitKey,
    /// Who counts.
    pub scope: Scope,
    /// Whether requests that are too many pass all the same, and are only counted.
    pub dry_run: bool,
    /// What has been counted.
    pub state: Lasting<RateLimitState>,
}

/// Who counts what a rate limit allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Each replica for itself.
    #[default]
    Replica,
    /// All replicas together.
    Cluster,
}

/// What a rate limit remembers.
#[derive(Debug, Default)]
pub struct RateLimitState {
    paid: Places,
    /// What this replica has let pass, where all count together.
    own: Places,
    /// Requests that were refused.
    pub refused: Counter,
    /// Requests that would have been, but for the dry run.
    pub would_refuse: Counter,
}

impl RateLimitState {
    /// Counts a request of a key. `now`: in nanoseconds of one monotonic clock, whichever the caller has.
    ///
    /// # Errors
    /// It is one too many, and not counted.
    pub fn take(&self, rate: Rate, key: u64, now: u64) -> Result<(), Exceeded> {
        self.change(key, now, |paid| rate.take(paid, now))
    }

    /// Changes what a key has paid for.
    fn change(
        &self,
        key: u64,
        now: u64,
        change: impl Fn(u64) -> Result<u64, Exceeded>,
    ) -> Result<(), Exceeded> {
        let paid = self.paid.number(self.paid.find(key, now));
        let mut before = paid.load(Relaxed);
        loop {
            let after = change(before)?;
            match paid.compare_exchange_weak(before, after, Release, Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => before = other,
            }
        }
    }
}

/// `100 in 60s by client, 20 at once`.
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requests,
            per,
            burst,
            by,
            scope,
            dry_run,
            ..
        } = self;
        write!(f, "{requests} in {per:?} by {by}, {burst} at once")?;
        if *scope == Scope::Cluster {
            f.write_str(", all replicas together")?;
        }
        match dry_run {
            true => f.write_str("; only counted"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU64};

    use ferrix_model::{check, spawn};

    use super::*;
    use crate::filters::limit_key::Digests;

    #[test]
    fn each_key_has_its_own() {
        let state = RateLimitState::default();
        let rate = Rate::new(2, Duration::from_secs(60), 2);
        let passed = |key| (0..5).filter(|_| state.take(rate, key, 1).is_ok()).count();
        assert_eq!([passed(7), passed(8), passed(7)], [2, 2, 0]);
    }

    #[test]
    fn threads_get_no_more_than_there_is() {
        let state = RateLimitState::default();
        let rate = Rate::new(1, Duration::from_secs(3600), 1000);
        let passed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let taken = state.take(rate, 7, 1);
                        passed.fetch_add(u64::from(taken.is_ok()), Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 1000);
    }

    #[test]
    fn threads_get_no_more_than_there_is_in_any_order() {
        let orders = check(|| {
            let state = Arc::new(RateLimitState::default());
            let rate = Rate::new(1, Duration::from_secs(1), 2);
            let threads = [(); 3].map(|()| {
                let state = Arc::clone(&state);
                spawn(move || u32::from(state.take(rate, 7, 1).is_ok()))
            });
            let passed = threads.map(|thread| thread.join().unwrap());
            assert_eq!(passed.iter().sum::<u32>(), 2);
        });
        assert!(orders > 0);
    }

    #[test]
    fn a_flood_of_others_frees_nobody() {
        let state = RateLimitState::default();
        let rate = Rate::new(1, Duration::from_secs(10), 5);
        assert_eq!((0..9).filter(|_| state.take(rate, 7, 1).is_ok()).count(), 5);
        let digests = Digests::default();
        for other in 0..400_000 {
            let _ = state.take(rate, digests.of(other), 1);
        }
        assert!(state.take(rate, 7, 1).is_err());
    }
}
