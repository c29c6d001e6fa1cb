//! What replicas tell each other of limits that they count together, without the network in between.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use aws_lc_rs::hmac;
use ferrix_table::filters::rate_limit::{RateLimitState, gcra::Rate};

use super::{
    heard::Heard,
    message::{COUNTS, Count, Message},
};

/// A message that is older or newer than this is not heard, in milliseconds: as far as clocks may differ, and
/// less than what is known of a peer is kept for.
const SKEW: u64 = 10_000;

/// Each count is sent so many times again, so that with one message lost of ten, one count is of a thousand.
const AGAIN: usize = 2;

/// Filters that are counted together, by the digest of their identity.
pub(super) type Filters = HashMap<u64, Shared>;

/// A filter that is counted together.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) rate: Rate,
    pub(super) state: Arc<RateLimitState>,
}

/// This replica among the others.
pub(super) struct Gossip {
    key: hmac::Key,
    /// What it calls itself.
    own: u64,
    sequence: u64,
    peers: Heard,
    /// How many others there are.
    others: usize,
    /// Whether all of them have been heard lately.
    heard: bool,
    /// Messages with counts of the times before, which are sent again: some may be lost.
    before: VecDeque<Vec<Vec<u8>>>,
}

impl Gossip {
    pub(super) fn new(key: hmac::Key, own: u64) -> Self {
        Self {
            key,
            own,
            sequence: 0,
            peers: Heard::default(),
            others: 0,
            heard: true,
            before: VecDeque::new(),
        }
    }

    /// What every other replica is to be told now. There is always something, so that all know who is
    /// there. `others`: how many there are. `time`: in milliseconds since 1970. `now`: in nanoseconds of one
    /// clock.
    pub(super) fn tell(
        &mut self,
        filters: &Filters,
        others: usize,
        time: u64,
        now: u64,
    ) -> Vec<Vec<u8>> {
        self.others = others;
        self.heard = self.peers.heard(now) >= others;
        let ends_round = self.peers.end_round(others);
        let mut counts = Vec::new();
        for (filter, shared) in filters {
            shared.state.tell(ends_round, |key, requests| {
                counts.push(Count {
                    filter: *filter,
                    key,
                    requests,
                });
            });
        }
        let messages: Vec<_> = (counts.chunks(COUNTS))
            .map(|counts| self.message(counts.to_vec(), time))
            .collect();
        let mut all = messages.clone();
        if all.is_empty() {
            all.push(self.message(Vec::new(), time));
        }
        all.extend(self.before.iter().flatten().cloned());
        self.before.push_back(messages);
        self.before.drain(..self.before.len().saturating_sub(AGAIN));
        all
    }

    /// Counts what another replica tells. `now`: in nanoseconds of one clock.
    pub(super) fn hear(&mut self, bytes: &[u8], filters: &Filters, time: u64, now: u64) {
        let Some(message) = Message::read(bytes, &self.key) else {
            return;
        };
        let is_own = message.sender == self.own;
        if is_own
            || message.time.abs_diff(time) > SKEW
            || !self.peers.hear(message.sender, message.sequence, now)
        {
            return;
        }
        self.heard = self.peers.heard(now) >= self.others;
        // What all others let pass has been paid for where one of them is silent.
        let counts = message.counts.iter().filter(|_| self.heard);
        for count in counts {
            // What one has not seen of a change yet, another may have.
            if let Some(shared) = filters.get(&count.filter) {
                shared
                    .state
                    .learn(shared.rate, count.key, count.requests, now);
            }
        }
    }

    /// How many others have been heard lately.
    pub(super) fn heard(&mut self, now: u64) -> usize {
        self.peers.heard(now)
    }

    fn message(&mut self, counts: Vec<Count>, time: u64) -> Vec<u8> {
        self.sequence += 1;
        let message = Message {
            sender: self.own,
            sequence: self.sequence,
            time,
            counts,
        };
        message.write(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ferrix_table::filters::rate_limit::Replicas;

    use super::*;

    const FILTER: u64 = 1;
    const KEY: u64 = 2;
    const MILLISECOND: u64 = 1_000_000;

    /// Replicas in a network that delays and loses messages.
    struct Network {
        replicas: Vec<(Gossip, Filters)>,
        /// How many each takes for the number of all.
        known: u32,
        rate: Rate,
        /// In milliseconds.
        delay: u64,
        /// Of a hundred messages.
        lost: u32,
        /// When, to whom, what.
        under_way: Vec<(u64, usize, Vec<u8>)>,
        random: fastrand::Rng,
        /// In milliseconds.
        now: u64,
    }

    impl Network {
        fn new(replicas: u64, requests: u32, burst: u32, delay: u64, lost: u32) -> Self {
            let rate = Rate::new(requests, Duration::from_secs(1), burst);
            let replica = |own| {
                let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
                let state = Arc::default();
                let filters = Filters::from([(FILTER, Shared { rate, state })]);
                (Gossip::new(key, own), filters)
            };
            Self {
                replicas: (0..replicas).map(replica).collect(),
                known: replicas as u32,
                rate,
                delay,
                lost,
                under_way: Vec::new(),
                random: fastrand::Rng::with_seed(7),
                now: 1000,
            }
        }

        /// Offers each replica so many requests in each of these milliseconds. Returns how many passed.
        fn run(&mut self, milliseconds: u64, offered: &[u32]) -> u64 {
            let mut passed = 0;
            for _ in 0..milliseconds {
                self.now += 1;
                passed += self.step(offered);
            }
            passed
        }

        fn step(&mut self, offered: &[u32]) -> u64 {
            let (milliseconds, now) = (self.now, self.now * MILLISECOND);
            let due = self.under_way.extract_if(.., |it| it.0 <= milliseconds);
            for (_, to, bytes) in due {
                let (gossip, filters) = &mut self.replicas[to];
                gossip.hear(&bytes, filters, milliseconds, now);
            }
            let mut passed = 0;
            let others = self.known as usize - 1;
            for from in 0..self.replicas.len() {
                let (gossip, filters) = &mut self.replicas[from];
                let state = &filters[&FILTER].state;
                let replicas = Replicas {
                    count: self.known,
                    heard: gossip.heard,
                };
                let take = |_: &u32| state.take_share(self.rate, KEY, replicas, now).is_ok();
                passed += (0..offered[from]).filter(take).count() as u64;
                // At times of its own.
                let ticks = (milliseconds + 17 * from as u64).is_multiple_of(50);
                if !ticks {
                    continue;
                }
                for bytes in gossip.tell(filters, others, milliseconds, now) {
                    for to in 0..offered.len() {
                        if self.random.u32(0..100) >= self.lost {
                            let delay = self.random.u64(0..=self.delay);
                            self.under_way
                                .push((milliseconds + delay, to, bytes.clone()));
                        }
                    }
                }
            }
            passed
        }
    }

    /// How many may pass in so many milliseconds.
    fn allowed(requests: u64, burst: u64, milliseconds: u64) -> u64 {
        burst + requests * milliseconds / 1000
    }

    #[test]
    fn all_together_get_what_the_limit_gives() {
        let mut ran = 0;
        for (requests, burst) in [(100, 100), (1000, 1000), (1000, 100), (20, 20)] {
            for (delay, lost) in [(0, 0), (5, 0), (20, 0), (5, 10), (20, 30)] {
                let mut network = Network::new(3, requests, burst, delay, lost);
                // They have to know each other.
                network.run(500, &[0, 0, 0]);
                let mut passed = 0;
                for second in 1..=5 {
                    passed += network.run(1000, &[10, 10, 10]);
                    let allowed = allowed(requests.into(), burst.into(), 1000 * second);
                    let what = format!(
                        "{passed} of {allowed} in {second} s: {requests} {burst} {delay} {lost}"
                    );
                    assert!(passed <= allowed + allowed / 10, "{what}");
                    assert!(passed >= allowed * 8 / 10, "{what}");
                    ran += 1;
                }
            }
        }
        assert_eq!(ran, 4 * 5 * 5);
    }

    #[test]
    fn one_replica_may_use_what_the_others_do_not() {
        for offered in [[10, 0, 0], [0, 1, 10], [10, 1, 0]] {
            let mut network = Network::new(3, 1000, 1000, 5, 1);
            let passed = network.run(5000, &offered);
            assert!((5000..=6100).contains(&passed), "{passed} by {offered:?}");
        }
    }

    #[test]
    fn who_hears_nobody_has_its_share() {
        let mut network = Network::new(3, 900, 900, 5, 100);
        let all = network.run(5000, &[10, 10, 10]);
        assert!((4500..=5410).contains(&all), "{all}");
        let mut network = Network::new(3, 900, 900, 5, 100);
        let one = network.run(5000, &[10, 0, 0]);
        assert!((1500..=1805).contains(&one), "{one}");
        // One of three that is not there.
        let mut network = Network::new(2, 900, 900, 5, 0);
        network.known = 3;
        let two = network.run(5000, &[10, 10]);
        assert!((3000..=3620).contains(&two), "{two}");
    }

    #[test]
    fn what_is_lost_once_comes_again() {
        let mut network = Network::new(2, 1, 1000, 0, 0);
        network.run(49, &[5, 0]);
        // The messages of this time get nowhere.
        network.lost = 100;
        network.run(50, &[0, 0]);
        network.lost = 0;
        network.run(100, &[0, 0]);
        let (_, filters) = &network.replicas[1];
        let state = &filters[&FILTER].state;
        let now = network.now * MILLISECOND;
        let left = (0..2000).filter(|_| state.take(network.rate, KEY, now).is_ok());
        let left = left.count();
        assert!((750..=760).contains(&left), "{left}");
    }

    #[test]
    fn what_is_own_old_or_of_strangers_is_not_heard() {
        let mut network = Network::new(2, 1, 10, 0, 0);
        network.run(1, &[5, 0]);
        let (one, filters) = &mut network.replicas[0];
        let told = one.tell(filters, 1, 1000, 0);
        let [bytes] = &*told else { panic!("{told:?}") };
        one.hear(bytes, filters, 1000, 0);
        assert_eq!(one.heard(0), 0, "itself");
        let (two, filters) = &mut network.replicas[1];
        two.hear(bytes, filters, 1000 + SKEW + 1, 0);
        two.hear(&bytes[1..], filters, 1000, 0);
        assert_eq!(two.heard(0), 0);
        two.hear(bytes, filters, 1000, 0);
        two.hear(bytes, filters, 1000, 0);
        assert_eq!(two.heard(0), 1);
        let state = &filters[&FILTER].state;
        let left = (0..20).filter(|_| state.take(network.rate, KEY, 0).is_ok());
        // Counted once.
        assert_eq!(left.count(), 5);
    }
}
