//! The data plane: from accepted connections to backends and back.
//!
//! ```text
//!  listener ─► connection ─► proxy_protocol, tls ─► http1 | http2      one task per connection,
//!                                                      │               and per HTTP/2 stream
//!     request (check) ─► route ─► headers ─► upstream ─► relay ─► access_log
//!                            exchange: all of these, for one request
//! ```
//!
//! It stands on Pingora's HTTP/1 codec and on the `h2` crate under Pingora's HTTP/2. It reads the
//! table and nothing else of the configuration; it never imports the control plane.

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
mod tls;
mod upstream;

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

/// The running data plane, with threads of its own.
pub struct Proxy {
    engine: Arc<Engine>,
    addresses: Vec<(String, SocketAddr)>,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Binds every entry point, then serves.
    ///
    /// # Errors
    /// [`StartError`]; nothing listens then.
    pub fn start(
        entry_points: Vec<EntryPoint>,
        settings: Settings,
        table: Reader,
        access_log: Option<access_log::Sender>,
    ) -> Result<Self, StartError> {
        let mut listeners = Vec::new();
        let mut entries = Vec::new();
        for (index, entry_point) in (0..).zip(&entry_points) {
            listeners.push(bind(entry_point)?);
            let tls = entry_point
                .secure
                .then(|| tls::acceptor(&settings.tls, index, table.clone()));
            let tls = tls.transpose()?;
            entries.push(Arc::new(Entry {
                index,
                settings: entry_point.clone(),
                tls,
            }));
        }
        let connector = Connector::new(&settings, &upstream::client_config(&settings)?);
        let runtime = runtime(settings.server.threads).map_err(StartError::Threads)?;
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
        let addresses = serve(&runtime, &engine, entries, listeners)?;
        Ok(Self {
            engine,
            addresses,
            runtime: Some(runtime),
        })
    }

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

impl Drop for Proxy {
    fn drop(&mut self) {
        // May run on a thread of another runtime, where waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
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

fn bind(entry_point: &EntryPoint) -> Result<std::net::TcpListener, StartError> {
    let address = entry_point.socket_address();
    listener::bind(address).map_err(|error| StartError::Bind {
        name: entry_point.name.clone(),
        address,
        error,
    })
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(if threads == 0 { available() } else { threads })
        .thread_name("ferrix-proxy")
        .enable_all()
        .build()
}

fn serve(
    runtime: &Runtime,
    engine: &Arc<Engine>,
    entries: Vec<Arc<Entry>>,
    listeners: Vec<std::net::TcpListener>,
) -> Result<Vec<(String, SocketAddr)>, StartError> {
    let _inside = runtime.enter();
    let mut addresses = Vec::new();
    for (entry, listener) in entries.into_iter().zip(listeners) {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Threads)?;
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
