//! Limits of bandwidth: how many bytes of bodies pass in a second.
//!
//! A body passes in portions. Each is given a time at which it may: those that share a limit stand in one line,
//! so that each of them comes to its turn. All that is remembered of a line is one time, as by a rate limit
//! ([`gcra`](super::rate_limit::gcra)).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, Release},
    },
};

use super::{lasting::Lasting, limit_key::LimitKey, places::Places};

/// The lowest rate: what is slower is not worth being held for.
pub const LEAST: u64 = 1000;

/// The largest portion of a body that passes at once: one that waits holds little memory.
const LARGEST: u64 = 32 * 1024;

/// As many portions pass in a second, where they are not the largest.
const PORTIONS: u64 = 20;

const SECOND: u128 = 1_000_000_000;

/// How many bytes of bodies pass in a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// Of bodies of requests. `None`: as many as come.
    pub request: Option<ByteRate>,
    /// Of bodies of responses.
    pub response: Option<ByteRate>,
    /// Which bodies share a limit. `None`: none does.
    pub by: Option<LimitKey>,
    /// What of it has passed, where bodies share it.
    pub state: Lasting<BandwidthState>,
}

/// A number of bytes in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate {
    /// So many; [`LEAST`] at least.
    pub bytes_per_second: u64,
    /// How much passes at once after a pause.
    pub burst: u64,
}

/// What a limit of bandwidth remembers.
#[derive(Debug, Default)]
pub struct BandwidthState {
    /// Up to when the portions of each line are given their times.
    requests: Places,
    responses: Places,
}

/// Where portions of bodies wait for their time.
#[derive(Debug)]
pub enum Line {
    /// That of one body, which ends at this time.
    Own(u64),
    /// That of all bodies with this key.
    Shared(Arc<BandwidthState>, Direction, u64),
}

/// Which bodies a limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those of requests.
    Request,
    /// Those of responses.
    Response,
}

impl ByteRate {
    /// The burst is at least two portions of the largest that there are at this rate, so that a timer that is
    /// late costs nothing.
    pub fn new(bytes_per_second: u64, burst: u64) -> Self {
        let bytes_per_second = bytes_per_second.max(LEAST);
        Self {
            bytes_per_second,
            burst: burst.max(bytes_per_second / (PORTIONS / 2)),
        }
    }

    /// The most that should pass at once.
    pub fn portion(self) -> usize {
        // Not more than LARGEST.
        (self.bytes_per_second / PORTIONS).min(LARGEST) as usize
    }

    /// The time that so many bytes take, rounded up.
    fn time(self, bytes: u64) -> u64 {
        let time = (u128::from(bytes) * SECOND).div_ceil(self.bytes_per_second.into());
        u64::try_from(time).unwrap_or(u64::MAX)
    }
}

impl Line {
    /// Puts so many bytes at its end. Returns when they may pass. Times are nanoseconds of one monotonic
    /// clock, whichever the caller has.
    pub fn join(&mut self, rate: ByteRate, bytes: usize, now: u64) -> u64 {
        let cost = rate.time(bytes as u64);
        let end = self.change(now, |end| end.max(now).saturating_add(cost));
        end.saturating_sub(rate.time(rate.burst))
    }

    /// So many bytes that have joined it do not pass.
    pub fn leave(&mut self, rate: ByteRate, bytes: usize, now: u64) {
        let cost = rate.time(bytes as u64);
        self.change(now, |end| end.saturating_sub(cost));
    }

    /// Changes where it ends. Returns where it does then.
    fn change(&mut self, now: u64, change: impl Fn(u64) -> u64) -> u64 {
        match self {
            Self::Own(end) => {
                *end = change(*end);
                *end
            }
            Self::Shared(state, direction, key) => {
                let lines = match direction {
                    Direction::Request => &state.requests,
                    Direction::Response => &state.responses,
                };
                let end = lines.number(lines.find(*key, now));
                let before = end.fetch_update(Release, Relaxed, |end| Some(change(end)));
                change(before.unwrap_or_else(|before| before))
            }
        }
    }
}

impl Bandwidth {
    /// That of bodies of one kind.
    pub fn rate(&self, direction: Direction) -> Option<ByteRate> {
        match direction {
            Direction::Request => self.request,
            Direction::Response => self.response,
        }
    }
}

/// `1000000 bytes a second, 100000 at once`.
impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bytes_per_second,
            burst,
        } = self;
        write!(f, "{bytes_per_second} bytes a second, {burst} at once")
    }
}

/// `responses 1000000 bytes a second, 100000 at once; shared by client`.
impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates = [("requests", &self.request), ("responses", &self.response)];
        let rates = rates
            .into_iter()
            .filter_map(|(name, rate)| Some(format!("{name} {}", rate.as_ref()?)));
        f.write_str(&rates.collect::<Vec<_>>().join("; "))?;
        match &self.by {
            Some(by) => write!(f, "; shared by {by}"),
            None => Ok(()),
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
        let rate = ByteRate::new(1000, 500);
        let state = Arc::new(BandwidthState::default());
        let shared = || Line::Shared(Arc::clone(&state), Direction::Response, 7);
        for mut line in [Line::Own(0), shared()] {
            let now = 5 * SECOND;
            let mut turn = |bytes| line.join(rate, bytes, now).saturating_sub(now);
            assert_eq!([turn(300), turn(200)], [0, 0]);
            assert_eq!(turn(50), SECOND / 20);
            assert_eq!(turn(50), SECOND / 10);
            line.leave(rate, 100, now);
            assert_eq!(line.join(rate, 50, now), now + SECOND / 20);
        }
        // Whoever has the key stands in the line, and others do not.
        let now = 5 * SECOND;
        assert_eq!(shared().join(rate, 50, now), now + SECOND / 10);
        let others = [(Direction::Response, 8), (Direction::Request, 7)];
        for (direction, key) in others {
            let mut line = Line::Shared(Arc::clone(&state), direction, key);
            assert_eq!(line.join(rate, 500, now), now);
        }
        // After a pause there is a whole burst again.
        let later = 50 * SECOND;
        assert!(shared().join(rate, 500, later) <= later);
        assert_eq!(shared().join(rate, 1, later), later + SECOND / 1000);
    }

    #[test]
    fn portions_are_a_twentieth_of_a_second_at_most() {
        let cases = [
            (0, 50, 100),
            (1000, 50, 100),
            (600_000, 30_000, 60_000),
            (1_000_000_000, 32_768, 100_000_000),
        ];
        for (bytes_per_second, portion, burst) in cases {
            let rate = ByteRate::new(bytes_per_second, 7);
            assert_eq!((rate.portion(), rate.burst), (portion, burst));
        }
        assert_eq!(ByteRate::new(1000, 5000).burst, 5000);
    }

    #[test]
    fn for_people() {
        let limit = Bandwidth {
            request: None,
            response: Some(ByteRate::new(2000, 0)),
            by: Some(LimitKey::Route),
            state: Lasting::new(crate::filters::lasting::FilterId {
                object: crate::object::Key::new(crate::object::Kind::Filter, "a", "b"),
                place: "x".into(),
            }),
        };
        assert_eq!(
            limit.to_string(),
            "responses 2000 bytes a second, 200 at once; shared by route"
        );
    }

    proptest! {
        /// Whoever shares a line: never more than a burst and what the time gives, and no less where somebody
        /// always waits.
        #[test]
        fn a_line_gives_what_there_is(
            bytes_per_second in 1000..10_000_000_u64,
            burst in 0..1_000_000_u64,
            pieces in vec((1..70_000_usize, prop_oneof![Just(0), 0..100_000_000_u64]), 1..200),
        ) {
            let rate = ByteRate::new(bytes_per_second, burst);
            let mut line = Line::Own(0);
            let (mut now, mut passed, mut before) = (SECOND, 0_u128, 0);
            for (bytes, pause) in pieces {
                now += pause;
                let turn = line.join(rate, bytes, now);
                prop_assert!(turn >= before, "each comes after those before it");
                before = turn;
                passed += bytes as u128;
                let time = u128::from(turn.max(now) - SECOND);
                let most = u128::from(rate.burst) + time * u128::from(bytes_per_second) / 1_000_000_000;
                prop_assert!(passed <= most + 1, "{passed} of {most}");
            }
            // Nobody waits for more than what has passed before.
            let owed = u128::from(before.saturating_sub(now)) * u128::from(bytes_per_second) / 1_000_000_000;
            prop_assert!(owed <= passed);
        }
    }
}
