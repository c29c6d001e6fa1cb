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
mod proxy_protocol;
mod relay;
mod request;
mod route;
pub mod settings;
mod stream;
mod tls;
mod upstream;
mod wire;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ferrix_table::{Reader, table::EntryPointIndex};
use tokio::runtime::Runtime;

pub use crate::upstream::TrustError;
use crate::{
    connection::Entry,
    counters::{Counters, EntryPointCounters},
    drain::Drain,
    listener::Connections,
    settings::{EntryPoint, Settings},
    upstream::Connector,
};

/// What every request needs.
pub(crate) struct Engine {
    pub(crate) settings: Settings,
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
    engine: Arc<Engine>,
    listeners: Vec<(Arc<Entry>, listener::Bound)>,
    workers: Workers,
}

/// The running data plane, with threads of its own.
pub struct Proxy {
    engine: Arc<Engine>,
    addresses: Vec<(String, SocketAddr)>,
    _workers: Workers,
}

/// The threads of the data plane. They end with it, whatever thread drops it.
struct Workers(Option<Runtime>);

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
        let connector = Connector::new(&settings, &upstream::client_config(&settings)?);
        let workers = Workers::new(settings.server.threads).map_err(StartError::Threads)?;
        let engine = Arc::new(Engine {
            connector,
            connections: Connections::new(
                settings.limits.connections,
                settings.limits.connections_per_client,
            ),
            counters: Arc::new(Counters::new(&entry_points)),
            access_log,
            drain: Arc::default(),
            table,
            settings,
        });
        Ok(Self {
            engine,
            listeners,
            workers,
        })
    }

    /// What is counted beside routes and services.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.engine.counters)
    }

    /// Accepts from now on.
    ///
    /// # Errors
    /// [`StartError`]; nothing listens then.
    pub fn serve(self) -> Result<Proxy, StartError> {
        let Self {
            engine,
            listeners,
            workers,
        } = self;
        let addresses = match &workers.0 {
            Some(runtime) => serve(runtime, &engine, listeners)?,
            None => Vec::new(),
        };
        Ok(Proxy {
            engine,
            addresses,
            _workers: workers,
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
        Arc::clone(&self.engine.counters)
    }

    /// Stops accepting, tells every connection to end after its requests, and waits for them.
    /// Returns how many connections were still open when `limit` had passed.
    pub fn drain(&self, limit: Duration) -> impl Future<Output = usize> + Send + use<> {
        let drain = Arc::clone(&self.engine.drain);
        async move {
            drain.begin();
            let _ = tokio::time::timeout(limit, drain.emptied()).await;
            drain.connections()
        }
    }
}

impl Workers {
    fn new(threads: usize) -> std::io::Result<Self> {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(if threads == 0 { available() } else { threads })
            .thread_name("ferrix-proxy")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // May run on a thread of another runtime, where waiting is not allowed.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
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
    runtime: &Runtime,
    engine: &Arc<Engine>,
    listeners: Vec<(Arc<Entry>, listener::Bound)>,
) -> Result<Vec<(String, SocketAddr)>, StartError> {
    let _inside = runtime.enter();
    let mut addresses = Vec::new();
    for (entry, listener) in listeners {
        let listener = listener
            .listen()
            .map_err(|error| cannot_listen(&entry.settings, error))?;
        let address = listener.local_addr().map_err(StartError::Threads)?;
        addresses.push((entry.settings.name.clone(), address));
        runtime.spawn(listener::accept(Arc::clone(engine), entry, listener));
    }
    runtime.spawn(sweep(Arc::clone(engine)));
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
