//! The data plane: from accepted connections to backends and back.
//!
//! ```text
//!  listener ─► connection ─► proxy_protocol, tls ─► http1 | http2      one task per connection,
//!                                                      │               and per HTTP/2 stream
//!     request (check) ─► route ─► headers ─► upstream ─► relay ─► access_log
//!                            exchange: all of these, for one request
//! ```
//!
//! It is a Pingora application ([`connection::Application`]) on Pingora's connections
//! ([`transport`]), with the HTTP/1 codec of `ferrix-http1` and the `h2` crate. It reads the table and
//! nothing else of the configuration; it never imports the control plane.

pub mod access_log;
mod address;
mod answer;
mod backend;
mod budget;
mod client;
mod clients;
mod clock;
mod connecting;
mod connection;
mod connector;
pub mod counters;
mod deadline;
mod drain;
mod exchange;
pub mod failure;
mod frames;
mod headers;
mod http1;
mod http2;
mod io;
mod listener;
mod outlet;
mod pace;
mod permit;
mod pool;
pub mod proxy_protocol;
mod race;
mod real_client;
mod relay;
mod request;
mod retry;
mod route;
pub mod settings;
mod stream;
mod sync;
mod tls;
mod transport;
mod trust;
mod tunnel;
mod upstream;
mod wire;
mod workers;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ferrix_table::{Reader, table::EntryPointIndex};

pub use crate::trust::TrustError;
use crate::{
    address::Address,
    clients::{Account, Clients},
    connection::Entry,
    connector::Connector,
    counters::{Counters, EntryPointCounters},
    drain::Drain,
    listener::Connections,
    pool::Registry,
    settings::{EntryPoint, Settings},
    upstream::Upstream,
    workers::{Threads, Workers},
};

/// What every request needs. Each worker thread has one; all but the connections to backends is shared.
pub(crate) struct Engine {
    pub(crate) settings: Arc<Settings>,
    pub(crate) table: Reader,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) connections: Connections,
    pub(crate) clients: Clients,
    pub(crate) counters: Arc<Counters>,
    pub(crate) access_log: Option<access_log::Sender>,
}

impl Engine {
    pub(crate) fn counters(&self, entry_point: EntryPointIndex) -> &EntryPointCounters {
        &self.counters.entry_points[usize::from(entry_point)]
    }

    /// Where the requests of this client are counted, if they are.
    pub(crate) fn account(&self, client: Address) -> Option<Arc<Account>> {
        let counted = self.settings.limits.requests_per_client() > 0;
        counted.then(|| self.clients.get(client.ip()))
    }

    /// Whether more waits for peers that do not take it than may.
    pub(crate) fn is_overloaded(&self) -> bool {
        let limit = self.settings.limits.buffered_bytes;
        let limit = limit.map_or(0, |limit| limit.as_u64());
        let waiting = u64::try_from(self.counters.buffered_bytes.get()).unwrap_or(0);
        limit > 0 && waiting > limit
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
            let (port, listener) = bind(entry_point)?;
            let tls = entry_point
                .secure
                .then(|| tls::acceptor(&settings.tls, index, table.clone()));
            let tls = tls.transpose()?;
            let entry = Entry {
                index,
                settings: entry_point.clone(),
                port,
                tls,
            };
            listeners.push((Arc::new(entry), listener));
        }
        let trust = trust::client_config(&settings.upstream.tls)?;
        let connector = Connector::new(&settings.upstream.tcp, &trust);
        let counters = Arc::new(Counters::new(&entry_points));
        let clients = Clients::default();
        let connections = Connections::new(&settings.limits, &clients);
        let workers = workers(settings.server.threads);
        let settings = Arc::new(settings);
        let pools = Arc::new(Registry::new(&settings.upstream));
        let engine = |worker| Engine {
            upstream: Arc::new(Upstream::new(
                &settings,
                connector.clone(),
                &pools,
                worker,
                workers,
            )),
            settings: Arc::clone(&settings),
            table: table.clone(),
            connections: connections.clone(),
            clients: clients.clone(),
            counters: Arc::clone(&counters),
            access_log: access_log.clone(),
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
        let mut proxy = Proxy {
            addresses: Vec::new(),
            counters: self.counters,
            drain: Arc::default(),
            _threads: threads,
        };
        for (entry, listener) in self.listeners {
            let cannot_listen = |error| cannot_listen(&entry.settings, error);
            let address = listener.local_address().map_err(cannot_listen)?;
            let listening = listener.listen(&workers, &entry, &proxy.drain);
            listening.map_err(cannot_listen)?;
            let name = entry.settings.name.clone();
            proxy.addresses.push((name, address));
        }
        let worker = workers.of(0);
        worker.spawn(sweep(Arc::clone(&worker.engine)));
        Ok(proxy)
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

/// The socket of an entry point, and its real port.
fn bind(entry_point: &EntryPoint) -> Result<(u16, listener::Bound), StartError> {
    let bound = listener::bind(entry_point.socket_address());
    bound
        .and_then(|bound| Ok((bound.local_address()?.port(), bound)))
        .map_err(|error| cannot_listen(entry_point, error))
}

fn cannot_listen(entry_point: &EntryPoint, error: std::io::Error) -> StartError {
    StartError::Bind {
        name: entry_point.name.clone(),
        address: entry_point.socket_address(),
        error,
    }
}

/// Closes idle connections to backends that no request asks for any more, and frees tables.
async fn sweep(engine: Arc<Engine>) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    loop {
        interval.tick().await;
        engine.upstream.sweep();
        let unread = engine.table.take_unread();
        if !unread.is_empty() {
            // This takes milliseconds, and requests are served here.
            tokio::task::spawn_blocking(move || drop(unread));
        }
    }
}
