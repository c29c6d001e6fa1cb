//! What a watch does about failures: how long it pauses, and what it says of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event};

use super::pulse::Pulse;

/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// An API server that comes back is found within this time.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The pause where the kind or the permission is missing: somebody has to act first.
pub(super) const LONGEST_PAUSE_WHEN_REFUSED: Duration = Duration::from_secs(15);

/// Without a failure for so long, all is well. Where some requests are answered and others are not,
/// pauses grow, and nobody is told of each.
const STABLE: Duration = Duration::from_secs(10);

/// How often a watch that fails is listened to: one that is well may have nothing to tell.
const LOOK: Duration = Duration::from_secs(1);

/// How a watch fares.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Since the API server answered last.
    failures: u32,
    /// Since all was well.
    strain: u32,
    failed: Option<Instant>,
    /// That the API server does not answer.
    said: bool,
    /// Whether it ever answered with all that there is.
    listed: bool,
    outages: Outages,
    kind: &'static str,
    pulse: Option<Pulse>,
}

/// How many watches over each kind fail now: one of them speaks for all.
#[derive(Clone, Debug, Default)]
pub(super) struct Outages(Arc<Mutex<BTreeMap<&'static str, usize>>>);

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// How long to wait before the next attempt, give or take: see [`crate::jitter`].
    pub(super) pause: Duration,
    /// How many there were in a row, this one with them.
    pub(super) failures: u32,
}

impl Health {
    /// That of one of several watches over a kind, which is heard by its pulse.
    pub(super) fn of(kind: &'static str, outages: Outages, pulse: Pulse) -> Self {
        Self {
            outages,
            kind,
            pulse: Some(pulse),
            ..Self::default()
        }
    }

    /// The next event of a watch, or what went wrong with it. Meanwhile `well` says that the API server
    /// answers again, where it is time to.
    pub(super) async fn next<K>(
        &mut self,
        watch: &mut (impl Stream<Item = watcher::Result<Event<K>>> + Unpin),
        well: impl Fn(),
    ) -> Option<watcher::Result<Event<K>>> {
        loop {
            let next = match self.has_news_at(Instant::now()) {
                None => watch.next().await,
                Some(at) => match tokio::time::timeout_at(at.into(), watch.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        if self.has_news(Instant::now()) {
                            well();
                        }
                        continue;
                    }
                },
            };
            if let Some(Ok(event)) = &next {
                self.came(event);
            }
            return next;
        }
    }

    /// Takes note of an event. That a list begins says nothing: it does so before it is asked for.
    pub(super) fn came<K>(&mut self, event: &Event<K>) {
        match event {
            Event::Init => return,
            Event::InitDone => self.listed = true,
            Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
        }
        self.failures = 0;
    }

    /// When it may be time to say that the API server answers again, though nothing comes.
    pub(super) fn has_news_at(&mut self, now: Instant) -> Option<Instant> {
        let failed = self.failed.filter(|_| self.strain > 0)?;
        if self.failures == 0 {
            return Some(failed + STABLE);
        }
        let age = self.pulse.as_ref()?.age();
        if age.is_some_and(|age| now.checked_sub(age) > Some(failed)) {
            self.failures = 0;
        }
        Some(now + LOOK)
    }

    /// Whether it is time to say so.
    pub(super) fn has_news(&mut self, now: Instant) -> bool {
        let Some(failed) = self
            .failed
            .filter(|_| self.failures == 0 && self.strain > 0)
        else {
            return false;
        };
        if now < failed + STABLE {
            return false;
        }
        self.strain = 0;
        std::mem::take(&mut self.said) && self.outages.end(self.kind)
    }

    /// Takes note of a failure, after which the pause is at most the `longest`.
    pub(super) fn failed(&mut self, longest: Duration, now: Instant) -> Failed {
        if self.failed.is_some_and(|failed| now >= failed + STABLE) && self.failures == 0 {
            self.strain = 0;
        }
        let pause = FIRST_PAUSE * 2_u32.pow(self.strain.min(10));
        self.failures = self.failures.saturating_add(1);
        self.strain = self.strain.saturating_add(1);
        self.failed = Some(now);
        Failed {
            pause: pause.min(longest),
            failures: self.failures,
        }
    }

    /// Whether it is time to say that the API server does not answer: once until it says that it does
    /// again.
    pub(super) fn is_new(&mut self) -> bool {
        !std::mem::replace(&mut self.said, true) && self.outages.begin(self.kind)
    }

    /// Whether all that there is has been listed once.
    pub(super) fn listed(&self) -> bool {
        self.listed
    }
}

/// A watch that is given up fails no more.
impl Drop for Health {
    fn drop(&mut self) {
        if self.said {
            self.outages.end(self.kind);
        }
    }
}

impl Outages {
    /// Whether it is the first of its kind.
    fn begin(&self, kind: &'static str) -> bool {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = failing.entry(kind).or_default();
        *failing += 1;
        *failing == 1
    }

    /// Whether it was the last of its kind.
    fn end(&self, kind: &'static str) -> bool {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = failing.entry(kind).or_default();
        *failing = failing.saturating_sub(1);
        *failing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_said_once_and_pauses_grow() {
        let mut health = Health::default();
        let (mut pauses, mut said) = (Vec::new(), 0);
        let mut now = Instant::now();
        for _ in 0..20 {
            // The watcher begins a list before each attempt.
            health.came::<()>(&Event::Init);
            assert_eq!(health.has_news_at(now), None, "nothing was answered");
            let failed = health.failed(LONGEST_PAUSE, now);
            now += failed.pause;
            pauses.push(failed.pause);
            said += usize::from(health.is_new());
        }
        assert_eq!(said, 1);
        assert_eq!(pauses[..3], [200, 400, 800].map(Duration::from_millis));
        assert!(pauses.is_sorted() && pauses[5..].iter().all(|it| *it == LONGEST_PAUSE));
        health.came::<()>(&Event::InitDone);
        assert!(!health.has_news(now), "it may fail again at once");
        let at = health.has_news_at(now).unwrap();
        assert!(at > now && at <= now + STABLE);
        assert!(health.has_news(at), "it answers again");
        assert!(!health.has_news(at), "which is said once");
        assert_eq!(health.failed(LONGEST_PAUSE, at).pause, FIRST_PAUSE);
    }

    /// A list that is answered, a watch that is not, and so on.
    #[test]
    fn failures_and_answers_in_turn_are_said_once_and_pauses_grow() {
        let mut health = Health::default();
        let (mut said, mut attempts) = (0, 0);
        let start = Instant::now();
        let mut now = start;
        while now < start + Duration::from_secs(60) {
            health.came::<()>(&Event::InitDone);
            said += usize::from(health.has_news(now));
            let failed = health.failed(LONGEST_PAUSE, now);
            assert_eq!(failed.failures, 1, "it was answered between");
            said += usize::from(health.is_new());
            now += failed.pause;
            attempts += 1;
        }
        assert_eq!(said, 1);
        assert!((10..20).contains(&attempts), "{attempts}");
    }

    #[test]
    fn one_watch_speaks_for_all_of_its_kind() {
        let outages = Outages::default();
        let now = Instant::now();
        let mut all: Vec<_> = (0..100)
            .map(|_| Health::of("Secret", outages.clone(), Pulse::default()))
            .collect();
        let mut other = Health::of("Service", outages, Pulse::default());
        let mut said = Vec::new();
        for health in &mut all {
            health.failed(LONGEST_PAUSE, now);
            said.push(health.is_new());
        }
        other.failed(LONGEST_PAUSE, now);
        assert!(other.is_new());
        assert_eq!(said.iter().filter(|said| **said).count(), 1);
        // One is given up, the others recover.
        drop(all.pop());
        let mut said = 0;
        for health in &mut all {
            health.came::<()>(&Event::InitDone);
            said += usize::from(health.has_news(now + STABLE));
        }
        assert_eq!(said, 1);
    }

    /// It goes on where it ended, and nothing has changed meanwhile.
    #[test]
    fn a_watch_that_has_nothing_to_tell_is_heard() {
        let pulse = Pulse::default();
        let mut health = Health::of("Service", Outages::default(), pulse.clone());
        let failed = Instant::now();
        health.failed(LONGEST_PAUSE, failed);
        assert!(health.is_new());
        let look = health.has_news_at(failed).unwrap();
        assert_eq!(look, failed + LOOK);
        assert!(!health.has_news(failed + STABLE * 10), "it was not heard");
        std::thread::sleep(Duration::from_millis(2));
        pulse.beat();
        health.has_news_at(Instant::now());
        assert_eq!(health.has_news_at(Instant::now()), Some(failed + STABLE));
        assert!(!health.has_news(failed + STABLE / 2));
        assert!(health.has_news(failed + STABLE));
    }
}
