//! How slowly a client may send a body whose length it has announced.
//!
//! `timeouts.body` is for a client that sends nothing; this is for one that sends a byte now and then to
//! hold what a request holds. It counts only the time that the client was waited for: where the backend
//! takes nothing, the client cannot send. What has no length may be a stream of events, or a call that
//! lasts, and is as slow as it likes.

use std::time::Duration;

use crate::settings::{Limits, Timeouts};

/// One body's account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    grace: Duration,
    /// Bytes a second.
    rate: u64,
    waited: Duration,
}

impl Pace {
    /// For a body with a length. `None`: it may be as slow as it likes.
    pub(crate) fn new(limits: &Limits, timeouts: &Timeouts) -> Option<Self> {
        let rate = limits.body_rate.as_u64();
        (rate > 0).then_some(Self {
            grace: timeouts.body_grace,
            rate,
            waited: Duration::ZERO,
        })
    }

    /// The client was waited for.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.waited = self.waited.saturating_add(time);
    }

    /// How long the client may still be waited for, of whose body so many bytes have come.
    pub(crate) fn left(&self, received: u64) -> Duration {
        let (seconds, rest) = (received / self.rate, received % self.rate);
        let nanoseconds = u128::from(rest) * 1_000_000_000 / u128::from(self.rate);
        let earned = Duration::from_secs(seconds)
            + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        self.grace
            .saturating_add(earned)
            .saturating_sub(self.waited)
    }
}

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;

    fn pace(rate: u64) -> Option<Pace> {
        let limits = Limits {
            body_rate: ByteSize(rate),
            ..Limits::default()
        };
        let timeouts = Timeouts {
            body_grace: Duration::from_secs(30),
            ..Timeouts::default()
        };
        Pace::new(&limits, &timeouts)
    }

    #[test]
    fn what_comes_earns_time() {
        let pace = pace(100).unwrap();
        let cases = [
            (0, 30_000),
            (1, 30_010),
            (99, 30_990),
            (100, 31_000),
            (12_345, 153_450),
            (u64::MAX, u128::from(u64::MAX / 100) * 1000 + 30_150),
        ];
        for (received, milliseconds) in cases {
            let left = pace.left(received);
            assert_eq!(left.as_millis(), milliseconds, "{received}");
        }
        assert_eq!(cases.len(), 6);
    }

    #[test]
    fn only_waiting_is_counted() {
        let mut pace = pace(100).unwrap();
        pace.wait(Duration::from_secs(29));
        assert_eq!(pace.left(0), Duration::from_secs(1));
        assert_eq!(pace.left(200), Duration::from_secs(3));
        pace.wait(Duration::from_secs(29));
        assert_eq!(pace.left(200), Duration::ZERO);
        pace.wait(Duration::MAX);
        assert_eq!(pace.left(1_000_000), Duration::ZERO);
    }

    #[test]
    fn a_byte_every_two_seconds_ends_within_forty() {
        let mut pace = Pace::new(&Limits::default(), &Timeouts::default()).unwrap();
        let mut received = 0;
        let mut seconds = 0;
        while !pace.left(received).is_zero() {
            pace.wait(Duration::from_secs(2));
            received += 1;
            seconds += 2;
        }
        assert!((30..40).contains(&seconds), "{seconds} s");
    }

    #[test]
    fn without_a_rate_there_is_no_pace() {
        assert!(pace(0).is_none());
    }
}
