//! How long an endpoint takes to answer, of late.
//!
//! The mean over the last seconds, in which what was newer counts more (an exponentially weighted moving
//! average), and a time above it counts at once: what becomes slow is known as soon as it is so, as in
//! Finagle's "peak EWMA". What is not asked is forgotten, so that it is asked again.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use crate::sync::AtomicU64;

/// After so long, what was measured counts for a third.
const MEMORY: f64 = 10_000.0;

/// The mean time to the header section of an answer. 0: none was measured.
#[derive(Debug, Default)]
pub struct Latency(AtomicU64);

/// What the atomic holds: all of it, so that it changes as one.
#[derive(Clone, Copy)]
struct Measured {
    /// In microseconds.
    mean: f32,
    /// When, in milliseconds: what fits 32 bits, which is 49 days.
    at: u32,
}

impl Latency {
    /// Takes note of an answer that came in this time. `now` is in milliseconds, of one monotonic clock.
    pub fn measured(&self, took: Duration, now: u64) {
        let sample = (took.as_micros() as f64).max(1.0);
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let mean = match word {
                0 => sample,
                word => {
                    let before = Measured::from(word);
                    let (mean, weight) = (f64::from(before.mean), before.weight(now));
                    match sample > mean {
                        true => sample,
                        false => mean * weight + sample * (1.0 - weight),
                    }
                }
            };
            let mean = mean.max(1.0) as f32;
            Some(u64::from(mean.to_bits()) << 32 | u64::from(now as u32))
        });
    }

    /// The mean in microseconds, which fades where nothing is measured; `None`: nothing ever was.
    pub fn get(&self, now: u64) -> Option<f64> {
        let word = self.0.load(Relaxed);
        let measured = (word != 0).then(|| Measured::from(word))?;
        Some(f64::from(measured.mean) * measured.weight(now))
    }
}

impl Measured {
    /// What it counts for by now.
    fn weight(self, now: u64) -> f64 {
        let since = (now as u32).wrapping_sub(self.at);
        (-f64::from(since) / MEMORY).exp()
    }
}

impl From<u64> for Measured {
    fn from(word: u64) -> Self {
        Self {
            mean: f32::from_bits((word >> 32) as u32),
            at: word as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(latency: &Latency, now: u64) -> Option<u64> {
        Some((latency.get(now)? / 1000.0).round() as u64)
    }

    #[test]
    fn what_becomes_slow_is_slow_at_once_and_fast_by_and_by() {
        let latency = Latency::default();
        assert_eq!(latency.get(0), None);
        latency.measured(Duration::from_millis(10), 0);
        assert_eq!(milliseconds(&latency, 0), Some(10));
        latency.measured(Duration::from_millis(200), 100);
        assert_eq!(milliseconds(&latency, 100), Some(200));
        latency.measured(Duration::from_millis(10), 1_100);
        let after_a_second = milliseconds(&latency, 1_100).unwrap();
        assert!((170..200).contains(&after_a_second), "{after_a_second}");
        for second in 2..60 {
            latency.measured(Duration::from_millis(10), second * 1000 + 100);
        }
        let after_a_minute = milliseconds(&latency, 59_100).unwrap();
        assert!((10..12).contains(&after_a_minute), "{after_a_minute}");
    }

    #[test]
    fn what_is_not_asked_is_forgotten() {
        let latency = Latency::default();
        latency.measured(Duration::from_secs(1), 5_000);
        let later = latency.get(65_000).unwrap();
        assert!(later < 10_000.0, "{later}");
    }

    #[test]
    fn no_measurement_is_taken_for_none() {
        let latency = Latency::default();
        latency.measured(Duration::ZERO, 0);
        assert_eq!(latency.get(0), Some(1.0));
    }
}
