//! A connection to an endpoint for a request: from the worker's pool, or new.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use ferrix_table::services::{Endpoint, Protocol, Service};
use pingora_core::protocols::ALPN;
use tokio::{
    sync::{
        OwnedMutexGuard,
        oneshot::{self, error::RecvError},
    },
    time::{Instant, timeout_at},
};

use crate::{
    connector::{ConnectError, Connector},
    io::Io,
    permit::{Limits, Permit},
    pool::{Connection, Http2, Pool, Registry, Terms},
    proxy_protocol::Introduction,
    settings::Settings,
    stream::{SEND_BUFFER, STREAM_WINDOW},
    transport::Stream,
    wire::Wire,
};

/// A connection over HTTP/2 is kept for so long at least.
const SHORTEST_IDLE: Duration = Duration::from_millis(100);

/// The largest window of HTTP/2 (RFC 9113, section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// What a request wants of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// It may become one of another protocol: only one over HTTP/1 can.
    pub(crate) upgrade: bool,
    /// What the endpoint is told of the client. The connection is for this request alone then.
    pub(crate) introduction: Option<Arc<Introduction>>,
}

impl Wanted {
    /// Whether the connection is for one request.
    pub(crate) fn is_alone(&self) -> bool {
        self.introduction.is_some()
    }
}

/// A worker's connections to backends.
pub(crate) struct Upstream {
    worker: usize,
    workers: usize,
    connector: Connector,
    /// Of all workers.
    pools: Arc<Registry>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    idle_connections: usize,
}

impl Upstream {
    /// For one of `workers`.
    pub(crate) fn new(
        settings: &Settings,
        connector: Connector,
        pools: &Arc<Registry>,
        worker: usize,
        workers: usize,
    ) -> Self {
        Self {
            worker,
            workers,
            connector,
            pools: Arc::clone(pools),
            connect_timeout: settings.timeouts.connect,
            idle_timeout: settings.upstream.idle_timeout,
            idle_connections: settings.upstream.idle_connections.div_ceil(workers),
        }
    }

    /// How long a connection to an endpoint of a service may take.
    pub(crate) fn connect_timeout(&self, service: &Service) -> Duration {
        let policy = service.policy.as_ref();
        let says = policy.and_then(|policy| policy.timeouts.connect);
        says.unwrap_or(self.connect_timeout)
    }

    /// This worker's connections to `endpoint`.
    pub(crate) fn pool<'e>(&self, endpoint: &'e Endpoint) -> &'e Arc<Pool> {
        Pool::of(endpoint, self.worker, self.workers, &self.pools)
    }

    /// A connection to `endpoint` that is there already.
    pub(crate) fn pooled(
        &self,
        endpoint: &Endpoint,
        protocol: &Protocol,
        wanted: &Wanted,
    ) -> Option<Connection> {
        if wanted.is_alone() {
            return None;
        }
        self.pool(endpoint)
            .take(protocol, self.idle_timeout, wanted.upgrade)
    }

    /// What connections to an endpoint of a service count for.
    pub(crate) fn limits<'e>(&self, service: &Service, endpoint: &'e Endpoint) -> &'e Limits {
        let policy = service.policy.as_ref();
        let of_policy = policy.and_then(|policy| policy.connections);
        let limits = &self.pool(endpoint).limits;
        limits
            .endpoint
            .allow(self.pools.connections_per_endpoint(of_policy));
        limits
    }

    /// What a new connection to an `endpoint` of a service needs before it is opened, or one over HTTP/2 that
    /// somebody else made meanwhile: since the last attempt `broke`, if one did. All of it is to be done
    /// `within` this time.
    pub(crate) async fn start(
        self: &Arc<Self>,
        service: &Arc<Service>,
        endpoint: &Endpoint,
        within: Duration,
        broke: Option<Instant>,
        wanted: &Wanted,
    ) -> Result<Start, ConnectError> {
        let pool = self.pool(endpoint);
        let limits = self.limits(service, endpoint);
        let protocol = &service.protocol;
        let until = Instant::now() + within;
        let starting = async {
            let turn = match protocol {
                Protocol::Http2 if !wanted.is_alone() => Some(turn(pool, until).await?),
                _ => None,
            };
            let shared = || match protocol {
                Protocol::Http1 | Protocol::Tcp | Protocol::Udp => None,
                _ if wanted.upgrade || wanted.is_alone() => None,
                _ => pool.take_http2(protocol, broke),
            };
            if let Some(connection) = shared() {
                return Ok(Start::Connection(connection));
            }
            let permit = match limits.try_permit() {
                Some(permit) => permit,
                None => {
                    let waiting = self.wait(endpoint, protocol, wanted, shared);
                    let waited = timeout_at(until, waiting).await;
                    match waited.map_err(|_| ConnectError::Busy)? {
                        Waited::Permit(permit) => permit,
                        Waited::Connection(connection) => {
                            return Ok(Start::Connection(connection));
                        }
                    }
                }
            };
            Ok(Start::Opening(Box::new(Opening {
                upstream: Arc::clone(self),
                service: Arc::clone(service),
                endpoint: endpoint.clone(),
                wanted: wanted.clone(),
                until,
                permit,
                turn,
            })))
        };
        tokio::select! {
            biased;
            () = pool.gone(&endpoint.state) => Err(ConnectError::Gone),
            started = starting => started,
        }
    }

    /// The same, if nobody needs to be waited for.
    pub(crate) fn try_start(
        self: &Arc<Self>,
        service: &Arc<Service>,
        endpoint: &Endpoint,
        within: Duration,
        wanted: Wanted,
    ) -> Option<Opening> {
        let pool = self.pool(endpoint);
        let turn = match service.protocol {
            Protocol::Http2 if !wanted.is_alone() => {
                Some(Arc::clone(&pool.connecting).try_lock_owned().ok()?)
            }
            _ => None,
        };
        Some(Opening {
            upstream: Arc::clone(self),
            service: Arc::clone(service),
            endpoint: endpoint.clone(),
            wanted,
            until: Instant::now() + within,
            permit: self.limits(service, endpoint).try_permit()?,
            turn,
        })
    }

    /// Waits until there may be another connection, or one is free; `shared` looks for one over
    /// HTTP/2.
    async fn wait(
        &self,
        endpoint: &Endpoint,
        protocol: &Protocol,
        wanted: &Wanted,
        shared: impl Fn() -> Option<Connection>,
    ) -> Waited {
        let pool = self.pool(endpoint);
        let close_of_endpoint = || Pool::close_one_of(endpoint);
        let close_any = || self.pools.close_one();
        let mut permit = pin!(pool.limits.permit(close_of_endpoint, close_any));
        let mut handed_over = (!wanted.is_alone()).then(|| pool.handed_over(protocol));
        loop {
            tokio::select! {
                biased;
                permit = &mut permit => return Waited::Permit(permit),
                Ok(wire) = received(&mut handed_over) => {
                    return Waited::Connection(Connection::Http1 { wire, reused: true });
                }
                () = pool.limits.room.notified() => {}
            }
            if let Some(connection) = shared() {
                return Waited::Connection(connection);
            }
        }
    }

    async fn open(
        &self,
        service: &Service,
        endpoint: &Endpoint,
        wanted: &Wanted,
        permit: Permit,
    ) -> Result<Connection, ConnectError> {
        let (address, protocol) = (endpoint.address, &service.protocol);
        let options = service.policy.as_ref().map(|policy| &policy.connection);
        let tcp = options.map(|options| &options.tcp);
        let opening = self.connector.open(address, protocol, wanted, tcp);
        let stream = opening.await?;
        let terms = options.and_then(|options| Terms::new(options, wanted.is_alone()));
        if *protocol == Protocol::Http2 || stream.selected_alpn_proto() == Some(ALPN::H2) {
            let pool = self.pool(endpoint);
            return self
                .start_http2(stream, protocol, pool, permit, terms)
                .await;
        }
        let mut wire = Box::new(Wire::new(Io::to_backend(stream, permit)));
        wire.terms = terms.map(Box::new);
        Ok(Connection::Http1 {
            wire,
            reused: false,
        })
    }

    /// The handshake is not Pingora's: what its HTTP/2 connections send requests with is private,
    /// and drops interim responses.
    async fn start_http2(
        &self,
        stream: Stream,
        protocol: &Protocol,
        pool: &Arc<Pool>,
        permit: Permit,
        terms: Option<Terms>,
    ) -> Result<Connection, ConnectError> {
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW as u32)
            // Streams whose clients take nothing must not stop the others.
            .initial_connection_window_size(MAX_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(64 << 10)
            .enable_push(false)
            .handshake::<_, Bytes>(stream)
            .await?;
        let shared = Http2::new(protocol.clone(), send, pool);
        let leased = shared.lease(false);
        match terms.is_some_and(|terms| terms.alone) {
            true => shared.retire(),
            false => pool.put_http2(&shared),
        }
        let pool = Arc::downgrade(pool);
        let of_policy = terms.and_then(|terms| terms.idle_timeout);
        let idle_timeout = idle_timeout(of_policy, self.idle_timeout);
        let until = terms.and_then(|terms| terms.until);
        tokio::spawn(async move {
            drive_http2(connection, shared, pool, idle_timeout, until).await;
            drop(permit);
        });
        Ok(leased)
    }

    /// Gives an HTTP/1 connection back after a whole exchange. One for bytes is for one client alone.
    pub(crate) fn release(&self, endpoint: &Endpoint, protocol: &Protocol, wire: Box<Wire>) {
        if let Some(terms) = &wire.terms
            && terms.is_over(Instant::now())
        {
            return;
        }
        if !endpoint.state.is_retired() && *protocol != Protocol::Tcp {
            self.pool(endpoint)
                .put(protocol, wire, self.idle_connections);
        }
    }

    /// Closes what has idled too long, and what idles for endpoints that are gone, everywhere.
    pub(crate) fn sweep(&self) {
        self.pools.sweep(self.idle_timeout);
    }
}

/// What comes before a connection is opened.
pub(crate) enum Start {
    /// All that it needs is there.
    Opening(Box<Opening>),
    /// One that is there already is free.
    Connection(Connection),
}

/// A connection that may be opened.
pub(crate) struct Opening {
    upstream: Arc<Upstream>,
    service: Arc<Service>,
    endpoint: Endpoint,
    wanted: Wanted,
    until: Instant,
    permit: Permit,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Opening {
    /// Opens it, TLS and HTTP/2 included; in vain as soon as the endpoint is gone.
    pub(crate) async fn open(self) -> Result<Connection, ConnectError> {
        let Self {
            upstream,
            service,
            endpoint,
            wanted,
            until,
            permit,
            turn: _turn,
        } = self;
        let opening = upstream.open(&service, &endpoint, &wanted, permit);
        let opened = tokio::select! {
            biased;
            () = upstream.pool(&endpoint).gone(&endpoint.state) => Err(ConnectError::Gone),
            opened = timeout_at(until, opening) => opened.unwrap_or(Err(ConnectError::Timeout)),
        };
        // It may go before anybody is told of it.
        match opened {
            Err(_) if endpoint.state.is_retired() => Err(ConnectError::Gone),
            opened => opened,
        }
    }
}

/// What a request has waited for.
enum Waited {
    /// It may open a connection.
    Permit(Permit),
    /// Another request is done with one, or it has room for more.
    Connection(Connection),
}

/// The turn to make a connection over HTTP/2, which may wait for one that waits for a permit.
async fn turn(pool: &Pool, until: Instant) -> Result<OwnedMutexGuard<()>, ConnectError> {
    let turn = timeout_at(until, Arc::clone(&pool.connecting).lock_owned()).await;
    turn.map_err(|_| match pool.limits.is_full() {
        true => ConnectError::Busy,
        false => ConnectError::Timeout,
    })
}

/// A connection that another request is done with, where one is waited for.
async fn received(
    handed_over: &mut Option<oneshot::Receiver<Box<Wire>>>,
) -> Result<Box<Wire>, RecvError> {
    match handed_over {
        Some(handed_over) => handed_over.await,
        None => pending().await,
    }
}

/// How long a connection over HTTP/2 may be without a stream. It is looked at that often while it has some, which
/// would be all the time where nothing is to be kept.
fn idle_timeout(of_policy: Option<Duration>, of_settings: Duration) -> Duration {
    let of_policy = of_policy.filter(|time| !time.is_zero());
    of_policy.unwrap_or(of_settings).max(SHORTEST_IDLE)
}

/// Runs a connection until it fails, or has been without a stream for the idle timeout, or without
/// a pool or an endpoint and a stream. It takes no further stream after `until`.
async fn drive_http2(
    mut connection: h2::client::Connection<Stream, Bytes>,
    shared: Arc<Http2>,
    pool: Weak<Pool>,
    idle_timeout: Duration,
    mut until: Option<Instant>,
) {
    let mut left = idle_timeout;
    loop {
        if let Some(time) = until {
            let young = time.saturating_duration_since(Instant::now());
            left = left.min(young);
            if young.is_zero() {
                until = None;
                left = idle_timeout;
                match pool.upgrade() {
                    Some(pool) => pool.put_away(&shared),
                    None => shared.retire(),
                }
            }
        }
        tokio::select! {
            biased;
            _ended = &mut connection => break,
            () = shared.wait(left) => {}
        }
        let asked = match pool.upgrade() {
            Some(pool) => pool.close_idle(&shared, idle_timeout),
            None => shared.time_left(idle_timeout),
        };
        match asked {
            Some(time) => left = time,
            None => break,
        }
    }
    if let Some(pool) = pool.upgrade() {
        pool.remove_http2(&shared);
    }
}

#[cfg(test)]
mod tests;
