//! The pause that an endpoint is given when connections to it fail.
//!
//! ```text
//!            an attempt fails           the pause is over, and one asks
//!  connects ─────────────────► paused ─────────────────────────────────► probed
//!   │   ▲                      ▲   │                                      │ │ │
//!   │   └──────────────────────┼───┴─── an attempt succeeds ──────────────┘ │ │
//!   │                          └─────── the probe fails: a longer pause ────┘ │
//!   └────────── an attempt takes long, and is the probe from then on ─────────┘
//! ```
//!
//! Only attempts at connections count, never what a backend answers. Attempts that began before a pause,
//! or go on beside a probe, fail for the same reason and do not lengthen it.
//!
//! Pauses have no jitter: what they space out is one connection for each replica and endpoint, and it
//! begins with a request, at a time of its own.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use crate::sync::AtomicU64;

/// The first pause. Each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause: so long an endpoint may be back before it gets requests.
const LONGEST: Duration = Duration::from_secs(10);

/// Whether connections to an endpoint fail, and how long it is paused for.
///
/// Times are milliseconds of one monotonic clock, whichever the caller has.
#[derive(Debug, Default)]
pub struct Backoff(AtomicU64);

/// What the atomic holds: all of it, so that it changes as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Phase {
    /// Failures one after another: the pauses so far.
    failures: u16,
    /// Whether an attempt is under way that decides.
    probed: bool,
    /// The end of the pause.
    until: u64,
}

impl Backoff {
    /// Whether connections fail, or one takes long: the endpoint is for when there is no other. One
    /// relaxed load.
    pub fn is_failing(&self) -> bool {
        self.0.load(Relaxed) != 0
    }

    /// How many times one after another connecting has failed, each time after a pause. 0 also while
    /// a first attempt only takes long.
    pub fn failures(&self) -> u16 {
        Phase::from(self.0.load(Relaxed)).failures
    }

    /// A connection was made. Returns how many times one after another that had failed before.
    pub fn succeed(&self) -> u16 {
        match self.is_failing() {
            true => Phase::from(self.0.swap(0, Relaxed)).failures,
            false => 0,
        }
    }

    /// An attempt that is no probe has failed. Returns whether a pause begins.
    pub fn fail(&self, now: u64) -> bool {
        self.change(|phase| phase.failed(now))
    }

    /// An attempt takes long: makes it the probe, unless the endpoint is known to fail. Returns
    /// whether it is.
    pub(crate) fn suspect(&self) -> bool {
        self.change(Phase::suspected)
    }

    /// Whether the pause is over; the caller has to probe then, for nobody else will.
    pub(crate) fn claim(&self, now: u64) -> bool {
        self.change(|phase| phase.claimed(now))
    }

    /// The probe has failed. Returns whether a pause begins.
    pub(crate) fn fail_probe(&self, now: u64) -> bool {
        self.change(|phase| phase.probed.then(|| phase.paused(now)))
    }

    /// The probe was given up, and has found nothing out.
    pub(crate) fn release(&self) {
        self.change(Phase::released);
    }

    fn change(&self, change: impl Fn(Phase) -> Option<Phase>) -> bool {
        let change = |word: u64| change(Phase::from(word)).map(u64::from);
        self.0.fetch_update(Relaxed, Relaxed, change).is_ok()
    }
}

/// Each returns `None` where nothing changes.
impl Phase {
    fn failed(self, now: u64) -> Option<Self> {
        (!self.probed && self.until <= now).then(|| self.paused(now))
    }

    fn suspected(self) -> Option<Self> {
        let probed = Self {
            probed: true,
            ..Self::default()
        };
        (self == Self::default()).then_some(probed)
    }

    fn claimed(self, now: u64) -> Option<Self> {
        let due = self.failures > 0 && !self.probed && self.until <= now;
        due.then_some(Self {
            probed: true,
            ..self
        })
    }

    fn released(self) -> Option<Self> {
        self.probed.then_some(Self {
            probed: false,
            ..self
        })
    }

    fn paused(self, now: u64) -> Self {
        let failures = self.failures.saturating_add(1).min(MOST_FAILURES);
        let pause = u64::try_from(pause(failures).as_millis()).unwrap_or(u64::MAX);
        Self {
            failures,
            probed: false,
            until: now.saturating_add(pause).min(LATEST),
        }
    }
}

/// The pause after so many failures, the first included.
fn pause(failures: u16) -> Duration {
    let doublings = u32::from(failures.saturating_sub(1)).min(31);
    FIRST.saturating_mul(1 << doublings).min(LONGEST)
}

const UNTIL_BITS: u32 = 48;
const LATEST: u64 = (1 << UNTIL_BITS) - 1;
const PROBED: u64 = 1 << 63;
const MOST_FAILURES: u16 = (1 << 15) - 1;

impl From<Phase> for u64 {
    fn from(phase: Phase) -> Self {
        let probed = if phase.probed { PROBED } else { 0 };
        probed | u64::from(phase.failures) << UNTIL_BITS | phase.until
    }
}

impl From<u64> for Phase {
    fn from(word: u64) -> Self {
        Self {
            // 15 bits are left.
            failures: ((word & !PROBED) >> UNTIL_BITS) as u16,
            probed: word & PROBED != 0,
            until: word & LATEST,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let seconds: Vec<_> = [1, 2, 3, 4, 5, 6, 100, MOST_FAILURES]
            .map(|failures| pause(failures).as_secs())
            .into();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10, 10, 10]);
    }

    #[test]
    fn a_pause_ends_with_one_probe() {
        let backoff = Backoff::default();
        assert!(!backoff.is_failing() && !backoff.claim(0));
        assert!(backoff.fail(500));
        assert!(backoff.is_failing());
        assert_eq!(backoff.failures(), 1);
        assert!(!backoff.claim(1_499), "the pause is a second");
        assert!(backoff.claim(1_500));
        assert!(!backoff.claim(9_999), "somebody probes already");
        backoff.fail_probe(2_000);
        assert_eq!(backoff.failures(), 2);
        assert!(!backoff.claim(3_999));
        assert!(backoff.claim(4_000));
        assert_eq!(backoff.succeed(), 2);
        assert!(!backoff.is_failing());
        assert_eq!((backoff.failures(), backoff.succeed()), (0, 0));
    }

    #[test]
    fn failures_together_count_once() {
        let backoff = Backoff::default();
        let begun = [0, 1, 999].map(|now| backoff.fail(now));
        assert_eq!(begun, [true, false, false]);
        assert_eq!(backoff.failures(), 1);
        assert!(backoff.claim(1_000));
        assert!(!backoff.fail(1_200), "it is the probe that decides");
        assert!(backoff.fail_probe(1_300));
        assert!(!backoff.fail(1_400));
        assert_eq!(backoff.failures(), 2);
        assert!(backoff.fail(3_300));
        assert_eq!(backoff.failures(), 3, "where no other endpoint connects");
    }

    #[test]
    fn an_attempt_that_takes_long_is_the_probe() {
        let backoff = Backoff::default();
        assert!(backoff.suspect());
        assert!(backoff.is_failing() && !backoff.suspect());
        assert_eq!(backoff.failures(), 0);
        assert!(!backoff.claim(u64::MAX), "it is under way");
        backoff.release();
        assert!(!backoff.is_failing());

        assert!(backoff.suspect());
        backoff.fail_probe(5_000);
        assert!(!backoff.suspect(), "it is known to fail");
        assert!(!backoff.claim(5_999) && backoff.claim(6_000));
    }

    #[test]
    fn a_probe_that_is_given_up_leaves_the_pause_as_it_was() {
        let backoff = Backoff::default();
        backoff.fail(0);
        assert!(backoff.claim(1_000));
        backoff.release();
        assert_eq!(backoff.failures(), 1);
        assert!(backoff.claim(1_001));
        assert_eq!(backoff.succeed(), 1);
        assert!(!backoff.fail_probe(1_002));
        backoff.release();
        assert!(!backoff.is_failing(), "another attempt has succeeded");
    }

    proptest! {
        #[test]
        fn a_phase_fits_its_word(
            failures in 0..=MOST_FAILURES, probed: bool, until in 0..=LATEST, now: u64,
        ) {
            let phase = Phase { failures, probed, until };
            prop_assert_eq!(Phase::from(u64::from(phase)), phase);
            let paused = phase.paused(now);
            prop_assert_eq!(Phase::from(u64::from(paused)), paused);
            prop_assert!(u64::from(paused) != 0);
        }
    }
}
