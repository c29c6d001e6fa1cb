//! How often the status of one object is written, whatever happens to it.

use std::time::{Duration, Instant};

/// So many writes may follow one another at once.
const BURST: u32 = 10;

/// After a burst there is one in so long.
const INTERVAL: Duration = Duration::from_secs(6);

/// What one object may still cost: a token bucket, kept as the time at which it is full again. Whoever
/// writes the same object as well, whatever for, costs the API server no more than this.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    /// `None`: it was never used.
    full: Option<Instant>,
}

impl Budget {
    /// Spends one write, or says when there is one.
    pub(super) fn spend(&mut self, now: Instant) -> Result<(), Instant> {
        let full = self.full.map_or(now, |full| full.max(now));
        // The bucket is empty where it takes this long to be full.
        let empty = now + INTERVAL * (BURST - 1);
        if full > empty {
            return Err(now + (full - empty));
        }
        self.full = Some(full + INTERVAL);
        Ok(())
    }

    /// Whether it is as if it had never been used.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full.is_none_or(|full| full <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_at_a_time() {
        let mut budget = Budget::default();
        let start = Instant::now();
        let mut spent = 0;
        for millis in (0..600_000).step_by(100) {
            let now = start + Duration::from_millis(millis);
            match budget.spend(now) {
                Ok(()) => spent += 1,
                Err(until) => assert!(until > now && until <= now + INTERVAL),
            }
            if millis == 0 {
                while budget.spend(now).is_ok() {
                    spent += 1;
                }
                assert_eq!(spent, BURST);
            }
        }
        // Ten minutes.
        assert_eq!(spent, BURST + 600 / 6 - 1);
        // It has recovered after a rest.
        let later = start + Duration::from_secs(1_200);
        let spent = (0..BURST + 1).filter(|_| budget.spend(later).is_ok());
        assert_eq!(spent.count(), BURST as usize);
    }
}
