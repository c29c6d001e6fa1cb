//! How much may wait in the process for peers that do not take it: bodies that were read and not yet
//! written.
//!
//! A message that leaves as fast as it comes is not counted. One that has to wait is, from then on, by
//! what waits of it, until it has left.

use ferrix_table::state::Gauge;

/// So little waits that it is not worth counting.
const LITTLE: usize = 4 * 1024;

/// What waits of one exchange, counted among what waits of all, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'w> {
    all: &'w Gauge,
    counted: i64,
}

impl<'w> Waiting<'w> {
    /// Nothing waits yet.
    pub(crate) fn new(all: &'w Gauge) -> Self {
        Self { all, counted: 0 }
    }

    /// So many bytes wait now.
    pub(crate) fn set(&mut self, bytes: usize) {
        let bytes = match bytes < LITTLE {
            true => 0,
            false => i64::try_from(bytes).unwrap_or(i64::MAX),
        };
        if bytes != self.counted {
            self.all.add(bytes - self.counted);
            self.counted = bytes;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_the_sum_of_what_waits() {
        let all = Gauge::default();
        let (mut one, mut other) = (Waiting::new(&all), Waiting::new(&all));
        for (bytes, sum) in [(10_000, 10_000), (30_000, 30_000), (5_000, 5_000)] {
            one.set(bytes);
            assert_eq!(all.get(), sum);
        }
        other.set(LITTLE - 1);
        assert_eq!(all.get(), 5_000, "little is not counted");
        other.set(7_000);
        assert_eq!(all.get(), 12_000);
        one.set(LITTLE - 1);
        assert_eq!(all.get(), 7_000);
        drop(other);
        assert_eq!(all.get(), 0);
    }
}
