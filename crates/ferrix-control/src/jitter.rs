//! A little chance, so that replicas do not do the same things at the same time.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// From three quarters of a time to all of it, at random: replicas that lost the API server or a DNS
/// server together do not come back in step.
pub(crate) fn jittered(time: Duration) -> Duration {
    // Each state has other keys.
    let random = RandomState::new().hash_one(0) % 256;
    time.mul_f64(0.75 + random as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_never_lengthens() {
        for _ in 0..1_000 {
            let time = jittered(Duration::from_secs(4));
            assert!((3..=4).contains(&time.as_secs()), "{time:?}");
        }
    }
}
