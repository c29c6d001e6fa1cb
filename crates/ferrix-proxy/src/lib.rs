//! The data plane: from accepted connections to backends and back.
//!
//! ```text
//!  listener ─► connection ─► proxy_protocol, tls ─► http1 | http2      one task per connection,
//!                                                      │               and per HTTP/2 stream
//!     request (check) ─► route ─► headers ─► upstream ─► relay ─► access_log
//!                            exchange: all of these, for one request
//! ```
//!
//! It stands on the HTTP/1 codec of `ferrix-http1` and on the `h2` crate. It reads the table and nothing else of the configuration; it never imports the control plane.

pub mod access_log;
mod answer;
mod backend;
mod client;
mod connection;
pub mod counters;
mod deadline;
mod drain;
mod exchange;
pub mod failure;
mod headers;
mod http1;
mod http2;
mod io;
mod listener;
mod outlet;
mod proxy_protocol;
mod relay;
mod request;
mod route;
pub mod settings;
mod stream;
mod tls;
mod upstream;
mod wire;
mod workers;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ferrix_table::{Reader, table::EntryPointIndex};

pub use crate::upstream::TrustError;
use crate::{
    connection::Entry,
    counters::{Counters, EntryPointCounters},
    drain::Drain,
    listener::Connections,
    settings::{EntryPoint, Settings},
    upstream::Connector,
    workers::{Threads, Workers},
};

/// What every request needs. Each worker thread has one; all but the connector is shared.
pub(crate) struct Engine {
    pub(crate) settings: Arc<Settings>,
    pub(crate) table: Reader,
    pub(crate) connector: Connector,
    pub(crate) connections: Connections,
    pub(crate) counters: Arc<Counters>,
    pub(crate) access_log: Option<access_log::Sender>,
    pub(crate) drain: Arc<Drain>,
}

impl Engine {
    pub(crate) fn counters(&self, entry_point: EntryPointIndex) -> &EntryPointCounters {
        &self.counters.entry_points[usize::from(entry_point)]
    }

    pub(crate) fn panic_guard(&self) -> PanicGuard {
        PanicGuard(Arc::clone(&self.counters))
    }

    pub(crate) fn count_open(&self, entry_point: EntryPointIndex) -> OpenGuard {
        self.counters(entry_point).open_connections.add(1);
        OpenGuard(Arc::clone(&self.counters), usize::from(entry_point))
    }
}

/// Counts a panic that unwinds through it. The runtime confines it to the task.
pub(crate) struct PanicGuard(Arc<Counters>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panics.add(1);
        }
    }
}

/// An open connection, until it is dropped.
pub(crate) struct OpenGuard(Arc<Counters>, usize);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.entry_points[self.1].open_connections.add(-1);
    }
}

/// Why the data plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address of an entry point cannot be listened on.
    #[error("entry point {name}: cannot listen on {address}: {error}")]
    Bind {
        /// The entry point.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The runtime cannot start its threads.
    #[error("cannot start worker threads: {0}")]
    Threads(std::io::Error),
    /// TLS towards clients cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// TLS towards backends cannot be set up.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// A data plane whose ports are taken, and that accepts nothing yet.
pub struct Bound {
    engines: Vec<Engine>,
    listeners: Vec<(Arc<Entry>, listener::Bound)>,
    counters: Arc<Counters>,
}

/// The running data plane, with threads of its own.
pub struct Proxy {
    addresses: Vec<(String, SocketAddr)>,
    counters: Arc<Counters>,
    drain: Arc<Drain>,
    _threads: Threads,
}

impl Bound {
    /// Takes the ports of every entry point.
    ///
    /// # Errors
    /// [`StartError`]; no port is taken then.
    pub fn new(
        entry_points: Vec<EntryPoint>,
        settings: Settings,
        table: Reader,
        access_log: Option<access_log::Sender>,
    ) -> Result<Self, StartError> {
        let mut listeners = Vec::new();
        for (index, entry_point) in (0..).zip(&entry_points) {
            let listener = bind(entry_point)?;
            let tls = entry_point
                .secure
                .then(|| tls::acceptor(&settings.tls, index, table.clone()));
            let tls = tls.transpose()?;
            let entry = Entry {
                index,
                settings: entry_point.clone(),
                tls,
            };
            listeners.push((Arc::new(entry), listener));
        }
        let trust = upstream::client_config(&settings)?;
        let counters = Arc::new(Counters::new(&entry_points));
        let connections = Connections::new(
            settings.limits.connections,
            settings.limits.connections_per_client,
        );
        let drain = Arc::<Drain>::default();
        let workers = workers(settings.server.threads);
        let settings = Arc::new(settings);
        let engine = |worker| Engine {
            connector: Connector::new(&settings, &trust, worker, workers),
            settings: Arc::clone(&settings),
            table: table.clone(),
            connections: connections.clone(),
            counters: Arc::clone(&counters),
            access_log: access_log.clone(),
            drain: Arc::clone(&drain),
        };
        Ok(Self {
            engines: (0..workers).map(engine).collect(),
            listeners,
            counters,
        })
    }

    /// What is counted beside routes and services.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Accepts from now on.
    ///
    /// # Errors
    /// [`StartError`]; nothing listens then.
    pub fn serve(self) -> Result<Proxy, StartError> {
        let (workers, threads) = Workers::start(self.engines).map_err(StartError::Threads)?;
        let addresses = serve(&workers, self.listeners)?;
        Ok(Proxy {
            addresses,
            counters: self.counters,
            drain: Arc::clone(&workers.of(0).engine.drain),
            _threads: threads,
        })
    }
}

impl Proxy {
    /// The entry points' names with the addresses that they really listen on.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// What is counted beside routes and services.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Stops accepting, tells every connection to end after its requests, and waits for them.
    /// Returns how many connections were still open when `limit` had passed.
    pub fn drain(&self, limit: Duration) -> impl Future<Output = usize> + Send + use<> {
        let drain = Arc::clone(&self.drain);
        async move {
            drain.begin();
            let _ = tokio::time::timeout(limit, drain.emptied()).await;
            drain.connections()
        }
    }
}

/// How many worker threads there are to be. 0: as many as the process may use.
fn workers(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

impl Counters {
    fn new(entry_points: &[EntryPoint]) -> Self {
        let named = |entry_point: &EntryPoint| EntryPointCounters {
            name: entry_point.name.clone(),
            ..Default::default()
        };
        Self {
            entry_points: entry_points.iter().map(named).collect(),
            ..Default::default()
        }
    }
}

fn bind(entry_point: &EntryPoint) -> Result<listener::Bound, StartError> {
    let bound = listener::bind(entry_point.socket_address());
    bound.map_err(|error| cannot_listen(entry_point, error))
}

fn cannot_listen(entry_point: &EntryPoint, error: std::io::Error) -> StartError {
    StartError::Bind {
        name: entry_point.name.clone(),
        address: entry_point.socket_address(),
        error,
    }
}

fn serve(
    workers: &Workers,
    listeners: Vec<(Arc<Entry>, listener::Bound)>,
) -> Result<Vec<(String, SocketAddr)>, StartError> {
    let mut addresses = Vec::new();
    for (index, (entry, listener)) in listeners.into_iter().enumerate() {
        let worker = workers.of(index);
        let _inside = worker.enter();
        let listener = listener
            .listen()
            .map_err(|error| cannot_listen(&entry.settings, error))?;
        let address = listener.local_addr().map_err(StartError::Threads)?;
        addresses.push((entry.settings.name.clone(), address));
        let engine = Arc::clone(&worker.engine);
        worker.spawn(listener::accept(engine, workers.clone(), entry, listener));
    }
    let worker = workers.of(0);
    worker.spawn(sweep(Arc::clone(&worker.engine)));
    Ok(addresses)
}

/// Closes idle connections to backends that no request asks for any more.
async fn sweep(engine: Arc<Engine>) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    loop {
        interval.tick().await;
        engine.connector.sweep(&engine.table.load());
    }
}
