//! A deadline that is cheap to move.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use crate::clock;

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
    waker: Option<Waker>,
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
        } else if !sleep.is_elapsed() && is_for(&self.waker, cx) {
            // A running timer that wakes this task has nothing to tell it.
            return Poll::Pending;
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if clock::read() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        if !is_for(&self.waker, cx) {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

fn is_for(waker: &Option<Waker>, cx: &Context<'_>) -> bool {
    waker
        .as_ref()
        .is_some_and(|waker| waker.will_wake(cx.waker()))
}
