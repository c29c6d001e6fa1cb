//! A deadline that is cheap to move.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::coop::unconstrained,
    time::{Instant, Sleep},
};

use crate::{clock, registration::Registration};

/// One timer for the life of a connection or a stream.
///
/// Moving it later, which happens at every piece of progress, only stores a number; the timer
/// finds out when it fires too early.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
    at: Option<Instant>,
    /// It is never later than this.
    ceiling: Option<Instant>,
    /// Whom the timer wakes.
    registered: Registration,
}

impl Deadline {
    pub(crate) fn never() -> Self {
        Self::default()
    }

    /// `limit` from now; zero: never. Not later than the ceiling.
    pub(crate) fn set(&mut self, limit: Duration) {
        self.at = (!limit.is_zero()).then(|| clock::recent() + limit);
        if let Some(ceiling) = self.ceiling {
            self.at = Some(self.at.map_or(ceiling, |at| at.min(ceiling)));
        }
    }

    /// From now on it is never set later than this.
    pub(crate) fn set_ceiling(&mut self, ceiling: Option<Instant>) {
        self.ceiling = ceiling;
    }

    /// What it is never set later than.
    pub(crate) fn ceiling(&self) -> Option<Instant> {
        self.ceiling
    }

    /// Whether the time of the ceiling has come.
    pub(crate) fn is_over(&self) -> bool {
        (self.ceiling).is_some_and(|ceiling| clock::recent() >= ceiling)
    }

    pub(crate) async fn passed(&mut self) {
        std::future::poll_fn(|cx| self.poll_passed(cx)).await;
    }

    pub(crate) fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        } else if !sleep.is_elapsed() && self.registered.is_for(cx) {
            // A running timer that wakes this task has nothing to tell it.
            return Poll::Pending;
        }
        // Whatever the task has done before in this turn: a timer that is polled when the task's budget
        // is spent registers no waker (tokio, `task::coop`), and is taken for a running one from then on.
        while pin!(unconstrained(sleep.as_mut())).poll(cx).is_ready() {
            if clock::read() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        self.registered.renew(cx);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::coop::{consume_budget, has_budget_remaining};

    use super::*;

    /// A flood of frames had a connection use up its turn before its deadline was first asked.
    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_is_first_asked_at_the_end_of_a_turn_passes() {
        for moved in [false, true] {
            let mut deadline = Deadline::never();
            deadline.set(Duration::from_secs(75));
            if moved {
                let _ = std::future::poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx))).await;
                deadline.set(Duration::from_secs(5));
            }
            let mut turns = 0;
            let passed = std::future::poll_fn(|cx| {
                turns += 1;
                while turns == 1 && has_budget_remaining() {
                    let _ = pin!(consume_budget()).poll(cx);
                }
                deadline.poll_passed(cx)
            });
            let limit = Duration::from_secs(100);
            tokio::time::timeout(limit, passed)
                .await
                .expect("it passes");
            assert_eq!(turns, 2, "moved: {moved}");
        }
    }
}
