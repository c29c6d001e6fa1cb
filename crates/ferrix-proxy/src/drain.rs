//! The end of serving: who still works, and how they are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// How long an idle connection may still bring a request after the drain has begun: it may have
/// been on its way.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Shared by all connections.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    begun: AtomicBool,
    begin: Arc<Notify>,
    connections: AtomicUsize,
    idle: Notify,
}

impl Drain {
    /// Tells every connection to finish.
    pub(crate) fn begin(&self) {
        self.begun.store(true, SeqCst);
        self.begin.notify_waiters();
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(SeqCst)
    }

    /// Resolves once the drain begins. One of these serves a connection for its whole life.
    pub(crate) fn watch(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let notified = Arc::clone(&self.begin).notified_owned();
        let drain = Arc::clone(self);
        async move {
            let mut notified = std::pin::pin!(notified);
            notified.as_mut().enable();
            if !drain.has_begun() {
                notified.await;
            }
        }
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
