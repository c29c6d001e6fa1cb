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
    /// Since when it takes requests: milliseconds, and one more; 0: since nobody knows when.
    since: AtomicU64,
}

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
        self.since.store(0, Relaxed);
    }

    /// The part of its share that it is to have by now, where it comes to the whole in this time. Whoever
    /// asks first makes it begin.
    pub(crate) fn warmth(&self, now: u64, slow_start: Duration) -> f64 {
        let begun = match self.since.compare_exchange(0, now + 1, Relaxed, Relaxed) {
            Ok(_) => now,
            Err(begun) => begun - 1,
        };
        let passed = now.saturating_sub(begun) as f64;
        let whole = slow_start.as_millis().max(1) as f64;
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
        let warmth =
            [5_000, 5_050, 5_500, 5_999, 6_000, 90_000].map(|now| standing.warmth(now, second));
        assert_eq!(warmth, [0.1, 0.1, 0.5, 0.999, 1.0, 1.0]);
    }
}
