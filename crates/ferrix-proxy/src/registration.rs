//! Whom something wakes that a task waits for.

use std::task::{Context, Waker};

/// Whom it wakes, so that a task that is registered need not be once more.
#[derive(Debug, Default)]
pub(crate) struct Registration(Option<Waker>);

impl Registration {
    /// Whether it wakes this task.
    pub(crate) fn is_for(&self, cx: &Context<'_>) -> bool {
        let Self(waker) = self;
        (waker.as_ref()).is_some_and(|waker| waker.will_wake(cx.waker()))
    }

    /// It wakes this task from now on.
    pub(crate) fn renew(&mut self, cx: &Context<'_>) {
        if !self.is_for(cx) {
            self.0 = Some(cx.waker().clone());
        }
    }
}
