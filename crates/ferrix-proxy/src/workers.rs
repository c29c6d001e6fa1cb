//! The threads of the data plane: each has a runtime, an engine and pools of its own, so that a
//! request is served on one processor, and nothing wakes another thread.
//!
//! Connections do not move: a new one goes to the worker that has the fewest.
//!
//! The runtimes are not Pingora's: its runtime of many threads spawns a connection on a random thread,
//! away from the one that is told of its input, and finds threads by ids that are used again for
//! others once they end (`pingora-runtime` 0.9.1, `CURRENT_HANDLE`).

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::{Engine, clock};

/// All workers.
#[derive(Clone)]
pub(crate) struct Workers(Arc<[Worker]>);

/// One thread that serves connections.
pub(crate) struct Worker {
    pub(crate) engine: Arc<Engine>,
    handle: Handle,
    connections: AtomicUsize,
}

/// Ends the threads, and what runs on them, when it is dropped.
pub(crate) struct Threads {
    _stop: Vec<oneshot::Sender<()>>,
}

impl Workers {
    /// Starts a thread for each engine.
    ///
    /// # Errors
    /// What the system says to a further thread; those that were started end.
    pub(crate) fn start(engines: Vec<Engine>) -> io::Result<(Self, Threads)> {
        let mut stop = Vec::new();
        let mut workers = Vec::new();
        for engine in engines {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .on_thread_unpark(|| {
                    clock::read();
                })
                .build()?;
            let (sender, stopped) = oneshot::channel();
            workers.push(Worker {
                engine: Arc::new(engine),
                handle: runtime.handle().clone(),
                connections: AtomicUsize::new(0),
            });
            stop.push(sender);
            let serve = move || {
                // The sender is dropped, never used.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            };
            thread::Builder::new()
                .name("ferrix-proxy".into())
                .spawn(serve)?;
        }
        Ok((Self(workers.into()), Threads { _stop: stop }))
    }

    /// The worker for a task of the whole process, such as accepting at an entry point.
    pub(crate) fn of(&self, index: usize) -> &Worker {
        &self.0[index % self.0.len()]
    }

    /// A place on the worker that has the fewest connections.
    pub(crate) fn place(&self) -> Place {
        let fewest = (0..self.0.len()).min_by_key(|index| self.0[*index].connections.load(Relaxed));
        let index = fewest.unwrap_or_default();
        self.0[index].connections.fetch_add(1, Relaxed);
        Place(self.clone(), index)
    }

    /// The worker of a place.
    pub(crate) fn at(&self, place: &Place) -> &Worker {
        &self.0[place.1]
    }
}

impl Worker {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    /// For what has to be made within the runtime.
    pub(crate) fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.handle.enter()
    }
}

/// A connection of a worker, counted until this is dropped.
pub(crate) struct Place(Workers, usize);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.at(self).connections.fetch_sub(1, Relaxed);
    }
}
