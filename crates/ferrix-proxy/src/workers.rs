//! The threads of the data plane: each has a runtime, an engine and pools of its own, so that a
//! request is served on one processor, and nothing wakes another thread.
//!
//! Connections do not move: a new one goes to the worker that has the fewest.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use tokio::{
    net::TcpStream,
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::{
    Engine,
    connection::{self, Entry},
};

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
            let runtime = Builder::new_current_thread().enable_all().build()?;
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

    /// The worker for the task that accepts at an entry point.
    pub(crate) fn of(&self, entry_point: usize) -> &Worker {
        &self.0[entry_point % self.0.len()]
    }

    /// Hands a connection that was accepted on one of the workers to the one that has the fewest.
    /// `held` is dropped with it.
    pub(crate) fn serve<H>(&self, entry: &Arc<Entry>, stream: TcpStream, peer: SocketAddr, held: H)
    where
        H: Send + 'static,
    {
        let fewest = (0..self.0.len()).min_by_key(|index| self.0[*index].connections.load(Relaxed));
        let place = Place::take(self.clone(), fewest.unwrap_or_default());
        let handle = place.worker().handle.clone();
        let moved = Moved::new(stream, handle.id() == Handle::current().id());
        let entry = Arc::clone(entry);
        handle.spawn(async move {
            let engine = Arc::clone(&place.worker().engine);
            let _panics = engine.panic_guard();
            let _held = (held, place, engine.count_open(entry.index));
            match moved.and_then(Moved::arrive) {
                Ok(stream) => connection::serve(engine, entry, stream, peer).await,
                Err(error) => tracing::debug!(%peer, %error, "connection lost before it was used"),
            }
        });
    }
}

/// A connection on its way to a thread.
enum Moved {
    /// To the one that it is on.
    Nowhere(TcpStream),
    /// To another, whose runtime has to learn of it.
    Elsewhere(std::net::TcpStream),
}

impl Moved {
    fn new(stream: TcpStream, stays: bool) -> io::Result<Self> {
        match stays {
            true => Ok(Self::Nowhere(stream)),
            false => stream.into_std().map(Self::Elsewhere),
        }
    }

    fn arrive(self) -> io::Result<TcpStream> {
        match self {
            Self::Nowhere(stream) => Ok(stream),
            Self::Elsewhere(stream) => TcpStream::from_std(stream),
        }
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
struct Place(Workers, usize);

impl Place {
    fn take(workers: Workers, index: usize) -> Self {
        workers.0[index].connections.fetch_add(1, Relaxed);
        Self(workers, index)
    }

    fn worker(&self) -> &Worker {
        &self.0.0[self.1]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker().connections.fetch_sub(1, Relaxed);
    }
}
