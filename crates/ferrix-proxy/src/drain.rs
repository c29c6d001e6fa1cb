//! The end of serving: who still works, and how they are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use pingora_core::server::ShutdownWatch;
use tokio::sync::{Notify, watch};

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
    let mut shutdown = shutdown;
    // A listener that is gone without a word has ended too.
    let _ = shutdown.wait_for(|begun| *begun).await;
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
}
