//! Limits of bandwidth at work: a body waits for its turn, portion by portion.
//!
//! What has been read waits in the hand, and nothing more is read meanwhile, so that a sender is held back by its
//! own connection.

use std::{
    mem,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use ferrix_table::filters::bandwidth::{ByteRate, Line};

use crate::{clock, deadline::Deadline, io::HIGH_WATER};

/// One body on its way, of which every limit is kept.
#[derive(Default)]
pub(crate) struct Shaper {
    limits: Vec<(ByteRate, Line)>,
    /// What has come and waits.
    hand: Bytes,
    /// So much of it stands in line; 0: nothing does.
    portion: usize,
    /// Its time, in nanoseconds of the clock.
    turn: u64,
    timer: Deadline,
    /// What was let pass since it was compared with what was sent…
    passed: u64,
    /// …which was so much by then.
    sent: u64,
}

impl Shaper {
    /// Another limit is to be kept.
    pub(crate) fn add(&mut self, rate: ByteRate, line: Line) {
        self.limits.push((rate, line));
    }

    /// Takes what has come in hand, once nothing is there.
    pub(crate) fn hold(&mut self, data: Bytes) {
        self.hand = data;
    }

    /// How many bytes wait.
    pub(crate) fn held(&self) -> usize {
        self.hand.len()
    }

    /// The most that may be read at once.
    pub(crate) fn most(&self) -> usize {
        self.portion().max(HIGH_WATER)
    }

    /// What may pass next of what waits.
    pub(crate) fn poll_portion(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let now = clock::nanoseconds();
        if self.portion == 0 {
            self.portion = self.portion().min(self.hand.len());
            self.turn = self.join(self.portion, now);
            self.timer
                .set(Duration::from_nanos(self.turn.saturating_sub(now)));
        }
        if self.turn > now {
            ready!(self.timer.poll_passed(cx));
        }
        let portion = self.hand.split_to(mem::take(&mut self.portion));
        self.passed += portion.len() as u64;
        Poll::Ready(portion)
    }

    /// How long so many bytes have to wait that are elsewhere.
    pub(crate) fn wait_for(&mut self, bytes: usize) -> Duration {
        let now = clock::nanoseconds();
        Duration::from_nanos(self.join(bytes, now).saturating_sub(now))
    }

    /// So much was sent of the body in all: where it is compressed, that is what counts.
    pub(crate) fn settle(&mut self, sent: u64) {
        let (passed, now) = (mem::take(&mut self.passed), clock::nanoseconds());
        let sent_since = sent - mem::replace(&mut self.sent, sent);
        let difference = usize::try_from(passed.abs_diff(sent_since)).unwrap_or(usize::MAX);
        if sent_since > passed {
            self.join(difference, now);
        } else if sent_since < passed {
            self.leave(difference, now);
        }
    }

    fn portion(&self) -> usize {
        let portions = self.limits.iter().map(|(rate, _)| rate.portion());
        portions.min().unwrap_or(usize::MAX)
    }

    /// Stands in every line at once. Returns when the last one lets it pass.
    fn join(&mut self, bytes: usize, now: u64) -> u64 {
        let lines = self.limits.iter_mut();
        let turns = lines.map(|(rate, line)| line.join(*rate, bytes, now));
        turns.max().unwrap_or(now)
    }

    fn leave(&mut self, bytes: usize, now: u64) {
        for (rate, line) in &mut self.limits {
            line.leave(*rate, bytes, now);
        }
    }
}

/// Who leaves takes nothing from those who stay.
impl Drop for Shaper {
    fn drop(&mut self) {
        if self.portion > 0 {
            self.leave(self.portion, clock::nanoseconds());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use ferrix_table::filters::bandwidth::{BandwidthState, Direction};
    use tokio::time::Instant;

    use super::*;

    fn shaper(bytes_per_second: u64) -> Shaper {
        let mut shaper = Shaper::default();
        shaper.add(ByteRate::new(bytes_per_second, 0), Line::Own(0));
        shaper
    }

    /// What passes of a body of this length, and how long that takes.
    async fn pass(shaper: &mut Shaper, length: usize) -> (Vec<usize>, Duration) {
        let begun = Instant::now();
        let mut portions = Vec::new();
        shaper.hold(Bytes::from(vec![b'x'; length]));
        while shaper.held() > 0 {
            portions.push(poll_fn(|cx| shaper.poll_portion(cx)).await.len());
        }
        (portions, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_passes_in_portions_at_its_rate() {
        let mut shaper = shaper(2000);
        let (portions, time) = pass(&mut shaper, 2250).await;
        assert_eq!(portions.iter().sum::<usize>(), 2250);
        assert!(portions.iter().all(|it| *it <= 100), "{portions:?}");
        // 200 bytes pass at once.
        let expected = Duration::from_millis(1025);
        assert!(
            time >= expected && time < expected + Duration::from_millis(20),
            "{time:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_limit_decides() {
        let mut shaper = shaper(1_000_000);
        let state = Arc::new(BandwidthState::default());
        let line = || Line::Shared(Arc::clone(&state), Direction::Request, 7);
        let rate = ByteRate::new(2000, 0);
        shaper.add(rate, line());
        assert_eq!(shaper.most(), HIGH_WATER);
        let (_, time) = pass(&mut shaper, 1200).await;
        assert!(time >= Duration::from_millis(500), "{time:?}");
        // Another body of the same line finds it used up.
        let mut other = Shaper::default();
        other.add(rate, line());
        assert!(other.wait_for(1000) >= Duration::from_millis(450));
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_line_takes_nothing() {
        let state = Arc::new(BandwidthState::default());
        let shared = || {
            let mut shaper = Shaper::default();
            let line = Line::Shared(Arc::clone(&state), Direction::Response, 7);
            shaper.add(ByteRate::new(2000, 0), line);
            shaper
        };
        assert_eq!(shared().wait_for(200), Duration::ZERO);
        for _ in 0..100 {
            let mut shaper = shared();
            shaper.hold(Bytes::from(vec![b'x'; 1000]));
            let passes = poll_fn(|cx| Poll::Ready(shaper.poll_portion(cx).is_ready()));
            assert!(!passes.await);
        }
        assert!(shared().wait_for(100) < Duration::from_millis(60));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_is_what_counts() {
        let compressed = |sent: u64| async move {
            let mut shaper = shaper(2000);
            pass(&mut shaper, 200).await;
            shaper.settle(sent);
            shaper.wait_for(100)
        };
        let near = |wait: Duration, milliseconds: u64| {
            let expected = Duration::from_millis(milliseconds);
            wait.abs_diff(expected) < Duration::from_millis(20)
        };
        for (sent, wait) in [(0, 0), (100, 0), (200, 50), (400, 150)] {
            let waited = compressed(sent).await;
            assert!(near(waited, wait), "{sent}: {waited:?}");
        }
    }
}
