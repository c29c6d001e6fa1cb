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
mod background;
mod budget;
mod buffered;
mod checks;
mod client;
mod client_certificates;
mod clients;
mod clock;
mod connecting;
mod connection;
mod connector;
pub mod counters;
mod deadline;
mod drain;
mod encoder;
mod exchange;
pub mod failure;
mod fetch;
mod filters;
mod frames;
pub mod fuzz;
mod governed;
mod grpc_call;
mod hash_key;
mod header_block;
mod headers;
mod http1;
mod http2;
mod inlet;
mod io;
mod judge;
mod lent;
mod listener;
mod listeners;
mod outlet;
mod pace;
mod passwords;
mod permit;
mod places;
mod pool;
pub mod proxy_protocol;
mod queue;
mod race;
mod read_buffer;
mod real_client;
mod registration;
mod relay;
pub mod replicas;
mod request;
mod retry;
mod route;
mod secret_digest;
mod session;
pub mod settings;
mod socket_room;
mod stream;
mod stream_tasks;
mod subrequest;
mod sync;
mod tcp;
mod tls;
mod transport;
mod trust;
mod tunnel;
mod udp;
mod upstream;
mod wire;
mod workers;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ferrix_table::{Reader, filters::limit_key::Digests, sockets::Refusals, table::EntryPoint};
use tokio::sync::watch;

use crate::{
    address::Address,
    checks::Checks,
    clients::{Account, Clients},
    connector::Connector,
    counters::Counters,
    filters::oidc::Providers,
    listener::Connections,
    listeners::{Listeners, Reserved},
    passwords::Passwords,
    pool::Registry,
    replicas::{Peers, Replica, ReplicasError},
    settings::{OutOfBounds, Settings},
    upstream::Upstream,
    workers::{Threads, Workers},
};
pub use crate::{fetch::Fetcher, trust::TrustError};

/// What every request needs. Each worker thread has one; all but the connections to backends is shared.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) settings: Arc<Settings>,
    pub(crate) table: Reader,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) connections: Connections,
    pub(crate) clients: Clients,
    pub(crate) counters: Arc<Counters>,
    pub(crate) access_log: Option<access_log::Sender>,
    /// Makes keys of whom limits count for.
    pub(crate) digests: Digests,
    /// The replicas that count limits together.
    pub(crate) peers: Arc<Peers>,
    pub(crate) passwords: Arc<Passwords>,
    /// Where users log in.
    pub(crate) providers: Arc<Providers>,
}

impl Engine {
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

/// Why the data plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A number of the settings breaks what it is used for.
    #[error(transparent)]
    Settings(#[from] OutOfBounds),
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
    /// Limits cannot be counted together with other replicas.
    #[error(transparent)]
    Replicas(#[from] ReplicasError),
}

/// A data plane whose ports are taken, and that accepts nothing yet.
pub struct Bound {
    engines: Vec<Engine>,
    reserved: Reserved,
    settings: Arc<Settings>,
    table: Reader,
    counters: Arc<Counters>,
    replica: Option<Replica>,
    checks: Checks,
    fetcher: Arc<Fetcher>,
    refused: watch::Sender<Refusals>,
}

/// The running data plane, with threads of its own.
pub struct Proxy {
    listeners: Arc<Listeners>,
    counters: Arc<Counters>,
    peers: Option<Arc<Peers>>,
    _threads: Threads,
}

impl Bound {
    /// Takes the ports of these entry points, which the table is to have. The settings are held to
    /// [`settings::BOUNDS`], whoever has made them.
    ///
    /// # Errors
    /// [`StartError`]; no port is taken then.
    pub fn new(
        entry_points: &[EntryPoint],
        settings: Settings,
        table: Reader,
        access_log: Option<access_log::Sender>,
    ) -> Result<Self, StartError> {
        settings.check()?;
        let reserved = listeners::reserve(entry_points)?;
        let trust = trust::client_config(&settings.upstream.tls)?;
        let connector = Connector::new(&settings.upstream.tcp, &trust);
        let replica = settings.replicas.as_ref().map(Replica::new).transpose()?;
        let digests = replica.as_ref().map(Replica::digests).unwrap_or_default();
        let peers = replica.as_ref().map(Replica::peers).unwrap_or_default();
        let counters = Arc::<Counters>::default();
        let clients = Clients::default();
        let connections = Connections::new(&settings.limits, &clients);
        let workers = workers(settings.server.threads);
        let passwords = Arc::new(Passwords::new(workers));
        let settings = Arc::new(settings);
        let fetcher = Arc::new(Fetcher::new(&settings));
        let providers = Arc::new(Providers::new(Arc::clone(&fetcher)));
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
            digests: digests.clone(),
            peers: Arc::clone(&peers),
            passwords: Arc::clone(&passwords),
            providers: Arc::clone(&providers),
        };
        Ok(Self {
            engines: (0..workers).map(engine).collect(),
            reserved,
            checks: Checks::new(&settings, connector.clone()),
            fetcher,
            settings: Arc::clone(&settings),
            table,
            counters,
            replica,
            refused: watch::Sender::default(),
        })
    }

    /// What is counted beside routes and services.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// What asks servers that are no backends.
    pub fn fetcher(&self) -> Arc<Fetcher> {
        Arc::clone(&self.fetcher)
    }

    /// The replicas that count limits together; `None`: each counts for itself.
    pub fn peers(&self) -> Option<Arc<Peers>> {
        self.replica.as_ref().map(Replica::peers)
    }

    /// Where the system does not let the sockets of the table listen, which is tried again every second.
    pub fn refused(&self) -> watch::Receiver<Refusals> {
        self.refused.subscribe()
    }

    /// Accepts from now on at the entry points of the table, and at those of each that follows.
    ///
    /// # Errors
    /// [`StartError`], where an address that was taken cannot be listened on; nothing listens then.
    pub fn serve(self) -> Result<Proxy, StartError> {
        let (workers, threads) = Workers::start(self.engines).map_err(StartError::Threads)?;
        let listeners = Arc::new(Listeners::new(
            workers.clone(),
            self.table.clone(),
            self.settings.tls.clone(),
            Arc::clone(&self.counters),
            self.refused,
            self.reserved,
        ));
        listeners.begin()?;
        let worker = workers.of(0);
        let engine = Arc::clone(&worker.engine);
        worker.spawn(sweep(engine, Arc::clone(&listeners), self.checks));
        let peers = self.replica.as_ref().map(Replica::peers);
        if let Some(replica) = self.replica {
            worker.spawn(replica.talk(self.table));
        }
        Ok(Proxy {
            listeners,
            counters: self.counters,
            peers,
            _threads: threads,
        })
    }
}

impl Proxy {
    /// The entry points' names with the addresses that they really listen on, in the table's order.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.listeners.addresses()
    }

    /// Listens from now on at the entry points of the current table, and not at those that are gone,
    /// whose connections finish what they are about. Done every second, too.
    pub fn follow(&self) {
        self.listeners.follow();
    }

    /// The same, for whoever is told of new tables.
    pub fn follower(&self) -> impl Fn() + Send + Sync + use<> {
        let listeners = Arc::clone(&self.listeners);
        move || listeners.follow()
    }

    /// What is counted beside routes and services.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The replicas that count limits together; `None`: each counts for itself.
    pub fn peers(&self) -> Option<Arc<Peers>> {
        self.peers.clone()
    }

    /// Stops accepting, tells every connection to end after its requests, and waits for them.
    /// Returns how many connections were still open when `limit` had passed.
    pub fn drain(&self, limit: Duration) -> impl Future<Output = usize> + Send + use<> {
        let listeners = Arc::clone(&self.listeners);
        async move {
            let drains = listeners.close();
            let emptied = async {
                for drain in &drains {
                    drain.emptied().await;
                }
            };
            let _ = tokio::time::timeout(limit, emptied).await;
            drains.iter().map(|drain| drain.connections()).sum()
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

/// Closes idle connections to backends that no request asks for any more, frees tables, tries again to
/// listen where that failed, and has endpoints checked that are new.
async fn sweep(engine: Arc<Engine>, listeners: Arc<Listeners>, checks: Checks) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    loop {
        interval.tick().await;
        listeners.follow();
        engine.upstream.sweep();
        if let Err(error) = checks.follow(&engine.table.load()) {
            tracing::error!(%error, "endpoints cannot be checked");
        }
        let unread = engine.table.take_unread();
        if !unread.is_empty() {
            // This takes milliseconds, and requests are served here.
            tokio::task::spawn_blocking(move || drop(unread));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever uses this crate may have read the settings from elsewhere.
    #[test]
    fn nothing_starts_by_settings_that_break_it() {
        let mut settings = Settings::default();
        settings.timeouts.response = Duration::MAX;
        let (_publisher, table) = ferrix_table::publish::channel();
        let refused = Bound::new(&[], settings, table, None).err();
        let refused = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(
            refused.starts_with("timeouts.response: expected "),
            "{refused}"
        );
    }
}
