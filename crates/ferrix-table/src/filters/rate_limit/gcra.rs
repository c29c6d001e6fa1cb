//! The generic cell rate algorithm: how many requests may pass in a time.
//!
//! All that it remembers of a client is one time, up to which what the client has had is paid for: each
//! request moves it on by the time that one request takes at this rate, and where it would be further ahead
//! than a whole burst, the request is one too many (ATM Forum, Traffic Management 4.1, section 4.4.2, as a
//! virtual schedule).

use std::time::Duration;

/// The longest time that requests are counted in.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A rate, and how far one may be ahead of it. All times are nanoseconds of one monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time that one request takes; not 0.
    pub(super) interval: u64,
    /// The time that a burst takes.
    pub(super) burst: u64,
}

/// A request is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// When the next may pass, from now on.
    pub retry_after: Duration,
    /// When there is a whole burst again, from now on.
    pub whole_after: Duration,
}

impl Rate {
    /// So many requests in this time, which is [`LONGEST`] at most, and so many at once. No number is 0,
    /// and each request takes a nanosecond at least: what is less is taken for that.
    pub fn new(requests: u32, per: Duration, burst: u32) -> Self {
        let per = per.min(LONGEST).as_nanos() / u128::from(requests.max(1));
        // A day has less than 2^47 nanoseconds.
        let interval = (per as u64).max(1);
        Self {
            interval,
            burst: interval
                .saturating_mul(burst.max(1).into())
                .min(u64::MAX >> 3),
        }
    }

    /// What is to be remembered once another request has passed.
    ///
    /// # Errors
    /// It may not.
    pub fn take(self, paid: u64, now: u64) -> Result<u64, Exceeded> {
        // What was had at another rate, before the limit was changed, is a burst of this one at most.
        let paid = paid.clamp(now, now + self.burst);
        let next = paid + self.interval;
        match next <= now + self.burst {
            true => Ok(next),
            false => Err(Exceeded {
                retry_after: Duration::from_nanos(next - self.burst - now),
                whole_after: Duration::from_nanos(paid - now),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate::new(10, Duration::from_secs(1), 3);
        let mut paid = 0;
        let mut take = |now| rate.take(paid, now).map(|next| paid = next);
        let now = 5 * SECOND;
        assert_eq!([take(now), take(now), take(now)], [Ok(()); 3]);
        let exceeded = Exceeded {
            retry_after: Duration::from_millis(100),
            whole_after: Duration::from_millis(300),
        };
        assert_eq!(take(now), Err(exceeded));
        // What is refused costs nothing.
        assert_eq!(take(now), Err(exceeded));
        assert!(take(now + SECOND / 10 - 1).is_err());
        assert_eq!(take(now + SECOND / 10), Ok(()));
        assert!(take(now + SECOND / 10).is_err());
        // A clock that is late by a little harms nobody.
        assert!(take(now).is_err());
        assert_eq!(take(now + SECOND), Ok(()));
    }

    #[test]
    fn another_rate_is_in_force_at_once() {
        let slow = Rate::new(1, Duration::from_secs(3600), 1);
        let paid = slow.take(0, SECOND).unwrap();
        assert!(slow.take(paid, 2 * SECOND).is_err());
        let fast = Rate::new(10, Duration::from_secs(1), 10);
        let exceeded = fast.take(paid, 2 * SECOND).unwrap_err();
        assert_eq!(exceeded.retry_after, Duration::from_millis(100));
    }

    /// A bucket of whole tokens, which drips.
    struct Bucket {
        /// In units of which `interval` are a token.
        level: u64,
        last: u64,
    }

    impl Bucket {
        fn take(&mut self, rate: Rate, now: u64) -> bool {
            self.level = (self.level + now - self.last).min(rate.burst);
            self.last = now;
            let passes = self.level >= rate.interval;
            if passes {
                self.level -= rate.interval;
            }
            passes
        }
    }

    proptest! {
        #[test]
        fn it_is_a_bucket_of_tokens(
            requests in 1..1000_u32,
            per in 1..100_000_u64,
            burst in 1..50_u32,
            pauses in vec(prop_oneof![Just(0), 0..1000_u64, 0..10_000_000_u64], 1..300),
        ) {
            let rate = Rate::new(requests, Duration::from_micros(per), burst);
            let mut bucket = Bucket { level: rate.burst, last: 0 };
            let (mut now, mut paid, mut passed) = (0, 0, 0_u64);
            for pause in pauses {
                now += pause;
                let taken = rate.take(paid, now);
                prop_assert_eq!(taken.is_ok(), bucket.take(rate, now));
                match taken {
                    Ok(next) => (paid, passed) = (next, passed + 1),
                    Err(exceeded) => {
                        let later = now + exceeded.retry_after.as_nanos() as u64;
                        prop_assert!(rate.take(paid, later).is_ok());
                        prop_assert!(rate.take(paid, later - 1).is_err());
                    }
                }
                // No more than a burst and what the time gives.
                prop_assert!(passed * rate.interval <= rate.burst + now);
            }
        }
    }
}
