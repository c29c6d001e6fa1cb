//! A rate limit that replicas count together, without anybody in between.
//!
//! Each replica counts what it lets pass, and tells the others many times a second; what it is told moves its
//! own counts on. Of what the others have let pass since they told it last, it knows nothing. So from one
//! round of such messages to the next it takes its share of what is left and no more: with *N* replicas, an
//! *N*th part.
//!
//! ```text
//!  left, as this replica knows it, and what it took in this round:  ██████████▒▒▒▒▒▒▒▒▒▒
//!  its share of three                                               ██████▌
//! ```
//!
//! Where another is not heard for some time, no round ends. Then what this replica took since the last one is
//! taken to be what each of the others took as well, and from then on a request costs as much as one at each of
//! them: this replica has an *N*th part of the limit, and all together never get more.

use std::{
    sync::atomic::Ordering::{Relaxed, Release},
    time::Duration,
};

use super::{
    RateLimitState,
    gcra::{Exceeded, Rate},
};

/// What a replica has let pass for a key: in this round, and since it told the others last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Own {
    in_round: u32,
    untold: u32,
}

/// Both, in one number.
impl From<u64> for Own {
    fn from(number: u64) -> Self {
        Self {
            in_round: (number >> 32) as u32,
            untold: number as u32,
        }
    }
}

/// One more that is untold.
const UNTOLD: u64 = 1;

/// One more that is in this round.
const IN_ROUND: u64 = 1 << 32;

/// All that are untold.
const ALL_UNTOLD: u64 = IN_ROUND - 1;

/// All that are in this round.
const ALL_IN_ROUND: u64 = !ALL_UNTOLD;

/// The replicas that count a limit together, as one of them knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// How many there are; not 0.
    pub count: u32,
    /// Whether all others have been heard lately.
    pub heard: bool,
}

impl Rate {
    /// As [`Rate::take`], for one of so many replicas, which has let `in_round` pass since it heard of all
    /// others.
    ///
    /// # Errors
    /// The request may not pass.
    fn take_share(
        self,
        paid: u64,
        in_round: u32,
        replicas: u32,
        now: u64,
    ) -> Result<u64, Exceeded> {
        let paid = self.bounded(paid, now);
        let left = (now + self.burst).saturating_sub(paid) / self.interval;
        let taken = u64::from(in_round);
        let share = (left + taken).div_ceil(replicas.into());
        if left > 0 && taken < share {
            return Ok(paid + self.interval);
        }
        let next = paid + self.interval;
        // The others leave some of what is left.
        let wait = next.saturating_sub(now + self.burst).max(self.interval);
        Err(Exceeded {
            retry_after: Duration::from_nanos(wait),
            whole_after: Duration::from_nanos(paid - now),
        })
    }

    /// That of one of so many replicas, which knows nothing of the others.
    fn part(self, replicas: u32) -> Self {
        Self {
            interval: self.interval.saturating_mul(replicas.into()),
            ..self
        }
    }

    /// What is to be remembered once others have let so many requests pass.
    fn learn(self, paid: u64, requests: u32, now: u64) -> u64 {
        let more = self.interval.saturating_mul(requests.into());
        self.bounded(self.bounded(paid, now).saturating_add(more), now)
    }

    /// More than a burst ahead is what several replicas have let pass at once; what is more than two is of
    /// another rate, before the limit was changed.
    fn bounded(self, paid: u64, now: u64) -> u64 {
        paid.clamp(now, now + 2 * self.burst)
    }
}

impl RateLimitState {
    /// Counts a request of a key, which is the same on every replica. `now`: as for
    /// [`RateLimitState::take`].
    ///
    /// # Errors
    /// It is one too many, and not counted.
    pub fn take_share(
        &self,
        rate: Rate,
        key: u64,
        replicas: Replicas,
        now: u64,
    ) -> Result<(), Exceeded> {
        let Replicas { count, heard } = replicas;
        let own = self.own.number(self.own.find(key, 0));
        if heard {
            let Own { in_round, .. } = own.load(Relaxed).into();
            self.change(key, now, |paid| rate.take_share(paid, in_round, count, now))?;
            own.fetch_add(IN_ROUND | UNTOLD, Release);
            return Ok(());
        }
        let Own { in_round, .. } = own.fetch_and(ALL_UNTOLD, Relaxed).into();
        if in_round > 0 {
            self.learn(rate, key, in_round.saturating_mul(count - 1), now);
        }
        let part = rate.part(count);
        self.change(key, now, |paid| part.take(paid, now))?;
        own.fetch_add(UNTOLD, Release);
        Ok(())
    }

    /// Counts what another replica has let pass.
    pub fn learn(&self, rate: Rate, key: u64, requests: u32, now: u64) {
        // Nothing of it can be refused.
        let _ = self.change(key, now, |paid| Ok(rate.learn(paid, requests, now)));
    }

    /// Tells what was let pass since the last time, by keys. `ends_round`: all others have been heard in it.
    pub fn tell(&self, ends_round: bool, mut tell: impl FnMut(u64, u32)) {
        let kept = if ends_round { 0 } else { ALL_IN_ROUND };
        self.own.each(|key, number| {
            let Own { untold, .. } = number.fetch_and(kept, Relaxed).into();
            if untold > 0 {
                tell(key, untold);
            }
        });
    }
}
