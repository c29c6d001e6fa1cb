//! The connections to an endpoint that can carry a request at once.
//!
//! The pools are part of the endpoint's state: no map needs to be searched or cleaned, connections
//! outlive tables as the endpoint does, and go when it goes. They are not Pingora's pool, which
//! spawns a task for each release.

use std::{
    any::Any,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use ferrix_table::{
    services::{Endpoint, Protocol},
    state::EndpointState,
};
use h2::client::SendRequest;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use crate::io::Io;

/// A connection that can carry a request.
pub(crate) enum Connection {
    /// To be used by one request at a time.
    Http1 {
        /// The connection.
        io: Io,
        /// Whether it has carried a request before: it may have been closed meanwhile.
        reused: bool,
    },
    /// Shared by many requests.
    Http2 {
        /// Makes streams.
        send: SendRequest<Bytes>,
        /// Whether it has carried a request before.
        reused: bool,
        /// Counts this request as long as it lasts.
        lease: Lease,
    },
}

impl Connection {
    /// Whether it has carried a request before.
    pub(crate) fn is_reused(&self) -> bool {
        match self {
            Self::Http1 { reused, .. } | Self::Http2 { reused, .. } => *reused,
        }
    }
}

/// All endpoints that were ever connected to, and still exist: what is swept.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Vec<Weak<EndpointState>>>);

/// The pools of one endpoint, one for each worker. A worker uses only its own: the connections of
/// others belong to the runtimes of other threads.
#[derive(Debug)]
struct Pools(Box<[Arc<Pool>]>);

/// A worker's connections to one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    http1: Mutex<Vec<Idle>>,
    http2: Mutex<Vec<Arc<Http2>>>,
    /// Held while a connection over HTTP/2 is made, so that requests which arrive together wait for
    /// one instead of making one each.
    pub(crate) connecting: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Idle {
    io: Io,
    since: Instant,
    protocol: Protocol,
}

/// An HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Http2 {
    protocol: Protocol,
    send: SendRequest<Bytes>,
    /// When it was made: one that broke is older than the attempt after it.
    made: Instant,
    streams: AtomicUsize,
    /// When its last stream ended, in milliseconds after it was made.
    idle_since: AtomicU64,
    closed: AtomicBool,
    /// Whether its endpoint is gone, so that it closes when its streams have ended.
    retired: AtomicBool,
    /// Wakes the task that drives it, to look whether to close.
    look: Notify,
}

/// A stream's place on an HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Http2>);

impl Drop for Lease {
    fn drop(&mut self) {
        if self.0.streams.fetch_sub(1, Relaxed) > 1 {
            return;
        }
        let age = self.0.made.elapsed().as_millis();
        let age = u64::try_from(age).unwrap_or(u64::MAX);
        self.0.idle_since.store(age, Relaxed);
        if self.0.retired.load(Relaxed) {
            self.0.look.notify_one();
        }
    }
}

impl Http2 {
    pub(crate) fn new(protocol: Protocol, send: SendRequest<Bytes>) -> Arc<Self> {
        Arc::new(Self {
            protocol,
            send,
            made: Instant::now(),
            streams: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            look: Notify::new(),
        })
    }

    /// How long no request has used it. `None`: one does.
    fn idle(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.idle_since.load(Relaxed));
        let idle = self.made.elapsed().saturating_sub(since);
        (self.streams.load(Relaxed) == 0).then_some(idle)
    }

    /// How long it may go on before it has idled for `limit`. `None`: it is to close.
    pub(crate) fn time_left(&self, limit: Duration) -> Option<Duration> {
        match self.idle() {
            None => Some(limit),
            Some(_) if self.retired.load(Relaxed) => None,
            Some(idle) => limit.checked_sub(idle).filter(|left| !left.is_zero()),
        }
    }

    /// Its endpoint is gone.
    fn retire(&self) {
        self.retired.store(true, Relaxed);
        self.look.notify_one();
    }

    /// Waits until [`Pool::close_idle`] should be asked, at the latest after this time.
    pub(crate) async fn wait(&self, limit: Duration) {
        let _ = timeout(limit, self.look.notified()).await;
    }

    /// A place for a request.
    pub(crate) fn lease(self: &Arc<Self>, reused: bool) -> Connection {
        self.streams.fetch_add(1, Relaxed);
        Connection::Http2 {
            send: self.send.clone(),
            reused,
            lease: Lease(Arc::clone(self)),
        }
    }
}

impl Pools {
    fn of<'e>(endpoint: &'e Endpoint, workers: usize, registry: &Registry) -> &'e Self {
        let slot: &Arc<dyn Any + Send + Sync> = endpoint.state.connections.get_or_init(|| {
            let pools = (0..workers).map(|_| Arc::default()).collect();
            registry.0.lock().push(Arc::downgrade(&endpoint.state));
            Arc::new(Self(pools))
        });
        let pools = slot.downcast_ref();
        pools.expect("only the proxy fills the slot, with pools")
    }
}

impl Registry {
    /// Closes the connections that have idled for `limit`, and all idle ones of endpoints that are
    /// gone, those of all workers. Taking a connection checks its age too: this is for endpoints
    /// that get no requests any more.
    pub(crate) fn sweep(&self, limit: Duration) {
        self.0.lock().retain(|endpoint| {
            let Some(endpoint) = endpoint.upgrade() else {
                return false;
            };
            let slot = endpoint.connections.get();
            let pools: Option<&Pools> = slot.and_then(|slot| slot.downcast_ref());
            for pool in pools.iter().flat_map(|pools| &pools.0) {
                match endpoint.is_retired() {
                    true => pool.retire(),
                    false => pool.sweep(limit),
                }
            }
            true
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.retire();
    }
}

impl Pool {
    /// The pool of one of `workers` for `endpoint`.
    pub(crate) fn of<'e>(
        endpoint: &'e Endpoint,
        worker: usize,
        workers: usize,
        registry: &Registry,
    ) -> &'e Arc<Self> {
        let pools = Pools::of(endpoint, workers, registry);
        &pools.0[worker % pools.0.len()]
    }

    fn sweep(&self, limit: Duration) {
        let mut idle = self.http1.lock();
        idle.retain(|idle| idle.since.elapsed() < limit);
    }

    /// The endpoint is gone: closes what idles, and the rest when it does.
    fn retire(&self) {
        self.http1.lock().clear();
        for connection in &*self.http2.lock() {
            connection.retire();
        }
    }

    /// Keeps an HTTP/1 connection after a whole exchange, unless there are `most` already.
    pub(crate) fn put(&self, protocol: &Protocol, io: Io, most: usize) {
        let mut idle = self.http1.lock();
        if idle.len() < most {
            idle.push(Idle {
                io,
                since: Instant::now(),
                protocol: protocol.clone(),
            });
        }
    }

    /// Shares an HTTP/2 connection until it is [removed](Self::remove_http2).
    pub(crate) fn put_http2(&self, connection: &Arc<Http2>) {
        self.http2.lock().push(Arc::clone(connection));
    }

    /// Forgets an HTTP/2 connection that has ended.
    pub(crate) fn remove_http2(&self, connection: &Arc<Http2>) {
        connection.closed.store(true, Relaxed);
        let mut connections = self.http2.lock();
        connections.retain(|other| !Arc::ptr_eq(other, connection));
    }

    /// Forgets an HTTP/2 connection for good if it has idled for `limit`, or has no stream and its
    /// endpoint is gone. If not, tells when to ask again. A request takes its place on a connection
    /// under the same lock, so that none is lost.
    pub(crate) fn close_idle(&self, connection: &Arc<Http2>, limit: Duration) -> Option<Duration> {
        let mut connections = self.http2.lock();
        let left = connection.time_left(limit);
        if left.is_none() {
            connection.closed.store(true, Relaxed);
            connections.retain(|other| !Arc::ptr_eq(other, connection));
        }
        left
    }

    /// A connection for a request; an upgrade needs HTTP/1.
    pub(crate) fn take(
        &self,
        protocol: &Protocol,
        idle_timeout: Duration,
        upgrade: bool,
    ) -> Option<Connection> {
        if !upgrade
            && *protocol != Protocol::Http1
            && let Some(shared) = self.take_http2(protocol, None)
        {
            return Some(shared);
        }
        let mut idle = self.http1.lock();
        // The one used last is the likeliest to be alive.
        while let Some(position) = idle.iter().rposition(|idle| idle.protocol == *protocol) {
            let mut candidate = idle.remove(position);
            if candidate.since.elapsed() < idle_timeout && candidate.io.is_quiet() {
                return Some(Connection::Http1 {
                    io: candidate.io,
                    reused: true,
                });
            }
        }
        None
    }

    /// An HTTP/2 connection that has room for a request, made after this time.
    pub(crate) fn take_http2(
        &self,
        protocol: &Protocol,
        after: Option<Instant>,
    ) -> Option<Connection> {
        let connections = self.http2.lock();
        let usable = connections.iter().rev().find(|shared| {
            shared.protocol == *protocol
                && !shared.closed.load(Relaxed)
                && after.is_none_or(|after| shared.made > after)
                && shared.streams.load(Relaxed) < shared.send.current_max_send_streams()
        })?;
        Some(usable.lease(true))
    }
}
