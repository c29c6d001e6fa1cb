//! The end of serving: who still works, and how they are told.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use pingora_core::server::ShutdownWatch;
use tokio::{
    sync::{Notify, watch},
    task::coop::unconstrained,
};

use crate::registration::Registration;

/// How long an idle connection may still bring a request after the drain has begun: it may have
/// been on its way.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// The end of one listener and of the connections that it accepted. Connections learn of it by
/// Pingora's [`ShutdownWatch`].
#[derive(Debug)]
pub(crate) struct Drain {
    shutdown: watch::Sender<bool>,
    /// As it was before anything was said. Connections get copies of this one, so that those accepted
    /// after the drain has begun learn of it too: a new subscription would count it as seen.
    watch: ShutdownWatch,
    connections: AtomicUsize,
    idle: Notify,
}

/// Whether the drain has begun. `shutdown` must be one that nobody has waited on: the question is
/// whether anything was said since it was made, which takes no lock.
pub(crate) fn has_begun(shutdown: &ShutdownWatch) -> bool {
    shutdown.has_changed().unwrap_or(true)
}

/// Resolves once the drain begins. One of these serves a connection for its whole life.
pub(crate) async fn begins(shutdown: ShutdownWatch) {
    let asked = shutdown.clone();
    let mut shutdown = shutdown;
    // Whatever the task has done before in this turn: a watch that is polled when the task's budget is
    // spent registers no waker (tokio, `task::coop`).
    let mut begun = pin!(unconstrained(shutdown.wait_for(|begun| *begun)));
    let mut registered = Registration::default();
    poll_fn(|cx| {
        if registered.is_for(cx) {
            // This task is told. To be registered once more would take a lock that connections share.
            return match has_begun(&asked) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            };
        }
        // A listener that is gone without a word has ended too.
        let polled = begun.as_mut().poll(cx).map(drop);
        registered.renew(cx);
        polled
    })
    .await;
}

impl Default for Drain {
    fn default() -> Self {
        let (shutdown, watch) = watch::channel(false);
        Self {
            shutdown,
            watch,
            connections: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }
}

impl Drain {
    /// Tells every connection to finish.
    pub(crate) fn begin(&self) {
        self.shutdown.send_replace(true);
    }

    /// What connections are given.
    pub(crate) fn watch(&self) -> ShutdownWatch {
        self.watch.clone()
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Working {
        self.connections.fetch_add(1, SeqCst);
        Working(Arc::clone(self))
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Resolves when no connection is left.
    pub(crate) async fn emptied(&self) {
        let mut notified = std::pin::pin!(self.idle.notified());
        loop {
            notified.as_mut().enable();
            if self.connections() == 0 {
                return;
            }
            notified.as_mut().await;
            notified.set(self.idle.notified());
        }
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Working(Arc<Drain>);

impl Drop for Working {
    fn drop(&mut self) {
        if self.0.connections.fetch_sub(1, SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use tokio::task::coop::{consume_budget, has_budget_remaining};

    use super::*;

    /// The last connections are taken from the queue after the drain has begun.
    #[tokio::test]
    async fn it_is_known_to_have_begun_whenever_one_asks() {
        let drain = Drain::default();
        let before = drain.watch();
        assert!(!has_begun(&before));
        drain.begin();
        for watch in [before, drain.watch()] {
            assert!(has_begun(&watch));
            begins(watch.clone()).await;
            assert!(has_begun(&watch), "after a copy was waited on");
        }
    }

    /// Also where the first question comes from another task, or at the end of a task's turn.
    #[tokio::test]
    async fn whoever_waits_is_told() {
        let mut ran = 0;
        for (asked, elsewhere, spent) in [
            (0, false, false),
            (1, false, false),
            (2, false, false),
            (2, true, false),
            (1, false, true),
        ] {
            let drain = Drain::default();
            let mut begun = Box::pin(begins(drain.watch()));
            let (waits, waiting) = tokio::sync::oneshot::channel();
            let task = async move {
                if elsewhere {
                    let cx = &mut Context::from_waker(Waker::noop());
                    assert!(begun.as_mut().poll(cx).is_pending());
                }
                poll_fn(|cx| {
                    while spent && has_budget_remaining() {
                        let _ = pin!(consume_budget()).poll(cx);
                    }
                    for _ in 0..asked {
                        assert!(begun.as_mut().poll(cx).is_pending());
                    }
                    Poll::Ready(())
                })
                .await;
                waits.send(()).unwrap();
                begun.await;
            };
            let task = tokio::spawn(task);
            waiting.await.unwrap();
            drain.begin();
            let limit = Duration::from_secs(10);
            let told = tokio::time::timeout(limit, task).await;
            told.expect("it is told").unwrap();
            ran += 1;
        }
        assert_eq!(ran, 5);
    }
}
