//! What a watch does about failures: how long it pauses, and what it says of them.

use std::time::Duration;

use kube::runtime::watcher::Event;

/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// An API server that comes back is found within this time.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a watch has fared since the API server answered last.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: u32,
    /// That the API server does not answer.
    said: bool,
    /// Whether it ever answered with all that there is.
    listed: bool,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// How long to wait before the next attempt, give or take: see [`jittered`].
    pub(super) pause: Duration,
    /// How many there were in a row, this one with them.
    pub(super) failures: u32,
}

impl Health {
    /// Takes note of an event. That a list begins says nothing: it does so before it is asked for.
    pub(super) fn came<K>(&mut self, event: &Event<K>) {
        match event {
            Event::Init => return,
            Event::InitDone => self.listed = true,
            Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
        }
        self.failures = 0;
    }

    /// Whether it is time to say that the API server answers again.
    pub(super) fn has_news(&mut self) -> bool {
        self.failures == 0 && std::mem::take(&mut self.said)
    }

    /// Takes note of a failure, after which the pause is at most the `longest`.
    pub(super) fn failed(&mut self, longest: Duration) -> Failed {
        let pause = FIRST_PAUSE * 2_u32.pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        Failed {
            pause: pause.min(longest),
            failures: self.failures,
        }
    }

    /// Whether it is time to say that the API server does not answer: once for all failures in a
    /// row.
    pub(super) fn is_new(&mut self) -> bool {
        !std::mem::replace(&mut self.said, true)
    }

    /// Whether all that there is has been listed once.
    pub(super) fn listed(&self) -> bool {
        self.listed
    }
}

/// From three quarters of a time to all of it, at random: replicas that lost the API server together
/// do not come back in step.
pub(super) fn jittered(time: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // Each state has other keys.
    let random = RandomState::new().hash_one(0) % 256;
    time.mul_f64(0.75 + random as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_said_once_and_pauses_grow() {
        let mut health = Health::default();
        let (mut pauses, mut said) = (Vec::new(), 0);
        for _ in 0..20 {
            // The watcher begins a list before each attempt.
            health.came::<()>(&Event::Init);
            assert!(!health.has_news(), "nothing was answered");
            pauses.push(health.failed(LONGEST_PAUSE).pause);
            said += usize::from(health.is_new());
        }
        assert_eq!(said, 1);
        assert_eq!(pauses[..3], [200, 400, 800].map(Duration::from_millis));
        assert!(pauses.is_sorted() && pauses[5..].iter().all(|it| *it == LONGEST_PAUSE));
        health.came::<()>(&Event::InitDone);
        assert!(health.has_news(), "it answers again");
        assert!(!health.has_news(), "which is said once");
        assert_eq!(health.failed(LONGEST_PAUSE).pause, FIRST_PAUSE);
    }

    #[test]
    fn jitter_never_lengthens() {
        for _ in 0..1_000 {
            let time = jittered(Duration::from_secs(4));
            assert!((3..=4).contains(&time.as_secs()), "{time:?}");
        }
    }
}
