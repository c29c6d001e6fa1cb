//! What is known of an endpoint, where the policy of its Service asks for that.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use crate::{
    health::Answers,
    latency::Latency,
    sync::{AtomicBool, AtomicU64},
};

/// The least part of its share that an endpoint has while it starts slowly: it has to begin with something.
const LEAST: f64 = 0.1;

/// What is known of an endpoint.
#[derive(Debug, Default)]
pub struct Standing {
    /// How long it takes to answer.
    pub latency: Latency,
    /// How it has answered.
    pub(crate) answers: Answers,
    /// Whether it does not pass checks.
    unhealthy: AtomicBool,
    /// Since when it takes requests: milliseconds, and one more; [`NEW`], or [`WARM`].
    since: AtomicU64,
}

/// It takes requests from the next one on.
const NEW: u64 = 0;

/// It has come to its whole share, as a request has seen.
const WARM: u64 = u64::MAX;

impl Standing {
    /// Whether it does not pass checks.
    pub(crate) fn is_unhealthy(&self) -> bool {
        self.unhealthy.load(Relaxed)
    }

    /// What came of its checks.
    pub fn set_healthy(&self, healthy: bool) {
        if healthy {
            self.begin_anew();
        }
        self.unhealthy.store(!healthy, Relaxed);
    }

    /// It is back, and takes requests from now on.
    pub fn begin_anew(&self) {
        self.since.store(NEW, Relaxed);
    }

    /// Whether it takes less than its share as yet: since its first request, until one finds the time over.
    pub(crate) fn is_starting(&self) -> bool {
        !matches!(self.since.load(Relaxed), NEW | WARM)
    }

    /// The part of its share that it is to have by now, where it comes to the whole in this time. Whoever
    /// asks first makes it begin.
    pub(crate) fn warmth(&self, now: u64, slow_start: Duration) -> f64 {
        let since = match self.since.load(Relaxed) {
            WARM => return 1.0,
            NEW => {
                let begun = (self.since).compare_exchange(NEW, now + 1, Relaxed, Relaxed);
                begun.map_or_else(|since| since, |_| now + 1)
            }
            since => since,
        };
        let passed = now.saturating_sub(since - 1) as f64;
        let whole = slow_start.as_millis().max(1) as f64;
        if passed >= whole {
            // Unless it begins anew meanwhile.
            let _ = (self.since).compare_exchange(since, WARM, Relaxed, Relaxed);
        }
        (passed / whole).clamp(LEAST, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_slow_and_ends() {
        let standing = Standing::default();
        let second = Duration::from_secs(1);
        let warmth = |now| {
            let warmth = standing.warmth(now, second);
            (warmth, standing.is_starting())
        };
        assert!(!standing.is_starting());
        for round in [5_000, 200_000] {
            let times = [0, 50, 500, 999, 1_000, 85_000].map(|after| warmth(round + after));
            let expected = [0.1, 0.1, 0.5, 0.999, 1.0, 1.0];
            assert_eq!(times.map(|(warmth, _)| warmth), expected);
            assert_eq!(times.map(|(_, starts)| starts), expected.map(|it| it < 1.0));
            standing.begin_anew();
        }
    }
}
