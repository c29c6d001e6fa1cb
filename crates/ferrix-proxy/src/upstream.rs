//! A connection to an endpoint for a request: from the worker's pool, or new.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use ferrix_table::services::{Endpoint, Protocol};
use pingora_core::protocols::ALPN;
use tokio::time::{Instant, timeout};

use crate::{
    connector::{ConnectError, Connector},
    io::Io,
    pool::{Connection, Http2, Pool, Registry},
    settings::Settings,
    transport::Stream,
};

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

    fn pool<'e>(&self, endpoint: &'e Endpoint) -> &'e Arc<Pool> {
        Pool::of(endpoint, self.worker, self.workers, &self.pools)
    }

    /// A connection to `endpoint` that is there already. An upgrade needs HTTP/1.
    pub(crate) fn pooled(
        &self,
        endpoint: &Endpoint,
        protocol: &Protocol,
        upgrade: bool,
    ) -> Option<Connection> {
        self.pool(endpoint)
            .take(protocol, self.idle_timeout, upgrade)
    }

    /// A new connection to `endpoint`, or one over HTTP/2 that somebody else made meanwhile: since
    /// the last attempt `broke`, if one did. An upgrade needs HTTP/1.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        protocol: &Protocol,
        broke: Option<Instant>,
        upgrade: bool,
    ) -> Result<Connection, ConnectError> {
        let pool = self.pool(endpoint);
        let connecting = async {
            if *protocol == Protocol::Http2 {
                return self.connect_http2(endpoint, pool, broke).await;
            }
            let address = endpoint.address;
            let stream = self.connector.open(address, protocol, upgrade).await?;
            if stream.selected_alpn_proto() == Some(ALPN::H2) {
                return self.start_http2(stream, protocol, pool).await;
            }
            Ok(Connection::Http1 {
                io: Io::new(stream),
                reused: false,
            })
        };
        let connected = timeout(self.connect_timeout, connecting).await;
        connected.map_err(|_| ConnectError::Timeout)?
    }

    async fn connect_http2(
        &self,
        endpoint: &Endpoint,
        pool: &Arc<Pool>,
        broke: Option<Instant>,
    ) -> Result<Connection, ConnectError> {
        let protocol = &Protocol::Http2;
        let _turn = pool.connecting.lock().await;
        if let Some(connection) = pool.take_http2(protocol, broke) {
            return Ok(connection);
        }
        let stream = self
            .connector
            .open(endpoint.address, protocol, false)
            .await?;
        self.start_http2(stream, protocol, pool).await
    }

    /// The handshake is not Pingora's: what its HTTP/2 connections send requests with is private,
    /// and drops interim responses.
    async fn start_http2(
        &self,
        stream: Stream,
        protocol: &Protocol,
        pool: &Arc<Pool>,
    ) -> Result<Connection, ConnectError> {
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(8 << 20)
            .max_header_list_size(64 << 10)
            .enable_push(false)
            .handshake::<_, Bytes>(stream)
            .await?;
        let shared = Http2::new(protocol.clone(), send);
        pool.put_http2(&shared);
        let leased = shared.lease(false);
        let pool = Arc::downgrade(pool);
        tokio::spawn(drive_http2(connection, shared, pool, self.idle_timeout));
        Ok(leased)
    }

    /// Gives an HTTP/1 connection back after a whole exchange.
    pub(crate) fn release(&self, endpoint: &Endpoint, protocol: &Protocol, io: Io) {
        if !endpoint.state.is_retired() {
            self.pool(endpoint).put(protocol, io, self.idle_connections);
        }
    }

    /// Closes what has idled too long, and what idles for endpoints that are gone, everywhere.
    pub(crate) fn sweep(&self) {
        self.pools.sweep(self.idle_timeout);
    }
}

/// Runs a connection until it fails, or has been without a stream for the idle timeout, or without
/// a pool or an endpoint and a stream.
async fn drive_http2(
    mut connection: h2::client::Connection<Stream, Bytes>,
    shared: Arc<Http2>,
    pool: Weak<Pool>,
    idle_timeout: Duration,
) {
    let mut left = idle_timeout;
    loop {
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
