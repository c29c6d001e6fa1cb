//! The connections to an endpoint that can carry a request at once.
//!
//! The pools are part of the endpoint's state: no map needs to be searched or cleaned, connections
//! outlive tables as the endpoint does, and go when it goes. They are not Pingora's pool, which
//! spawns a task for each release.

use std::{
    any::Any,
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use ferrix_table::{
    connection::ConnectionOptions,
    services::{Endpoint, Protocol},
    state::{Connections, EndpointState},
};
use h2::client::SendRequest;
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    task::AbortHandle,
    time::{Instant, timeout},
};

use crate::{
    clock,
    permit::{Limit, Limits},
    settings,
    sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex},
    wire::Wire,
};

/// A connection that can carry a request.
pub(crate) enum Connection {
    /// To be used by one request at a time.
    Http1 {
        /// The connection, in one place for as long as it lives.
        wire: Box<Wire>,
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
#[derive(Debug)]
pub(crate) struct Registry {
    endpoints: Mutex<Vec<Weak<EndpointState>>>,
    /// Of all connections.
    limit: Arc<Limit>,
    /// Of those to one endpoint. 0: any number.
    connections_per_endpoint: usize,
}

/// The pools of one endpoint, one for each worker. A worker uses only its own: the connections of
/// others belong to the runtimes of other threads.
#[derive(Debug)]
struct Pools {
    workers: Box<[Arc<Pool>]>,
    gone: Arc<Notify>,
}

/// A worker's connections to one endpoint.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) limits: Arc<Limits>,
    http1: Mutex<Vec<Idle>>,
    http2: Mutex<Vec<Arc<Http2>>>,
    waiters: Mutex<VecDeque<Waiter>>,
    /// Held while a connection over HTTP/2 is made, so that requests which arrive together wait for
    /// one instead of making one each.
    pub(crate) connecting: Arc<tokio::sync::Mutex<()>>,
    /// Attempts at connections that no request waits for any more.
    late: Mutex<Vec<AbortHandle>>,
    /// Told when the endpoint goes.
    gone: Arc<Notify>,
}

/// A request that waits until there may be another connection, or one of the pool's is free.
#[derive(Debug)]
struct Waiter {
    protocol: Protocol,
    connection: oneshot::Sender<Box<Wire>>,
}

#[derive(Debug)]
struct Idle {
    wire: Box<Wire>,
    since: Instant,
    protocol: Protocol,
}

impl Idle {
    /// Whether it may be used still: where nobody says otherwise, it may idle for `limit`.
    fn is_fresh(&self, now: Instant, limit: Duration) -> bool {
        let terms = self.wire.terms.as_deref();
        let limit = terms.and_then(|terms| terms.idle_timeout).unwrap_or(limit);
        let idle = now.saturating_duration_since(self.since);
        idle < limit && !terms.is_some_and(|terms| terms.is_over(now))
    }
}

/// How long a connection is kept, where the policy of its service says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// `None`: as the settings say.
    pub(crate) idle_timeout: Option<Duration>,
    /// When it is too old to carry another request.
    pub(crate) until: Option<Instant>,
    /// It is for one request.
    pub(crate) alone: bool,
}

impl Terms {
    /// Of a connection that is made now. A tenth of the greatest age is left to chance: those that were made
    /// together end one after another. `None`: as any.
    pub(crate) fn new(options: &ConnectionOptions, alone: bool) -> Option<Self> {
        let ConnectionOptions {
            max_age,
            idle_timeout,
            ..
        } = *options;
        let until = max_age.map(|age| clock::read() + age.mul_f64(1.0 - fastrand::f64() / 10.0));
        let alone = alone || idle_timeout == Some(Duration::ZERO);
        let terms = Self {
            idle_timeout,
            until,
            alone,
        };
        (alone || until.is_some() || idle_timeout.is_some()).then_some(terms)
    }

    /// Whether it carries no other request.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.alone || self.until.is_some_and(|until| until <= now)
    }
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
    /// Whether it closes when its streams have ended, for its endpoint is gone, or somebody needs
    /// its place.
    retired: AtomicBool,
    /// Wakes the task that drives it, to look whether to close.
    look: Notify,
    limits: Arc<Limits>,
}

/// A stream's place on an HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Http2>);

impl Drop for Lease {
    fn drop(&mut self) {
        let last = self.0.streams.fetch_sub(1, SeqCst) == 1;
        let wanted = self.0.limits.is_wanted();
        if wanted {
            self.0.limits.room.notify_one();
        }
        if !last {
            return;
        }
        let age = self.0.made.elapsed().as_millis();
        let age = u64::try_from(age).unwrap_or(u64::MAX);
        self.0.idle_since.store(age, Relaxed);
        if wanted || self.0.retired.load(Relaxed) {
            self.0.look.notify_one();
        }
    }
}

impl Http2 {
    /// For this pool.
    pub(crate) fn new(protocol: Protocol, send: SendRequest<Bytes>, pool: &Pool) -> Arc<Self> {
        Arc::new(Self {
            protocol,
            send,
            made: Instant::now(),
            streams: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            look: Notify::new(),
            limits: Arc::clone(&pool.limits),
        })
    }

    /// How long no request has used it. `None`: one does.
    fn idle(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.idle_since.load(Relaxed));
        let idle = self.made.elapsed().saturating_sub(since);
        (self.streams.load(SeqCst) == 0).then_some(idle)
    }

    /// How long it may go on before it has idled for `limit`. `None`: it is to close.
    pub(crate) fn time_left(&self, limit: Duration) -> Option<Duration> {
        match self.idle() {
            None => Some(limit),
            Some(_) if self.retired.load(Relaxed) || self.limits.is_wanted() => None,
            Some(idle) => limit.checked_sub(idle).filter(|left| !left.is_zero()),
        }
    }

    /// It is to close when it has no stream.
    pub(crate) fn retire(&self) {
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
        let slot = &endpoint.state.connections;
        if slot.get().is_none() && slot.set(Arc::new(Self::new(workers, registry))).is_ok() {
            let mut endpoints = registry.endpoints.lock();
            endpoints.push(Arc::downgrade(&endpoint.state));
        }
        let pools = Self::existing(&endpoint.state);
        pools.expect("the slot was filled above, or by another worker")
    }

    fn new(workers: usize, registry: &Registry) -> Self {
        let limit = Limit::new(registry.connections_per_endpoint);
        let gone = Arc::default();
        let pool = |_| Arc::new(Pool::new(&limit, &registry.limit, &gone));
        Self {
            workers: (0..workers).map(pool).collect(),
            gone,
        }
    }

    /// Those of an endpoint that was connected to.
    fn existing(endpoint: &EndpointState) -> Option<&Self> {
        let slot: &dyn Any = &**endpoint.connections.get()?;
        slot.downcast_ref()
    }

    /// See [`Pool::close_one`].
    fn close_one(&self) -> bool {
        self.workers.iter().any(|pool| pool.close_one())
    }
}

impl Connections for Pools {
    fn retire(&self) {
        self.gone.notify_waiters();
    }
}

impl Registry {
    /// Without endpoints.
    pub(crate) fn new(settings: &settings::Upstream) -> Self {
        Self {
            endpoints: Mutex::default(),
            limit: Limit::new(settings.connections),
            connections_per_endpoint: settings.connections_per_endpoint,
        }
    }

    /// How many connections to one endpoint there may be, where a policy allows so many. 0: any number.
    pub(crate) fn connections_per_endpoint(&self, of_policy: Option<u32>) -> usize {
        let of_policy = of_policy.and_then(|most| usize::try_from(most).ok());
        match (of_policy, self.connections_per_endpoint) {
            (Some(most), 0) => most,
            (Some(most), limit) => most.min(limit),
            (None, limit) => limit,
        }
    }

    /// Closes a connection that idles, if there is one, to any endpoint.
    pub(crate) fn close_one(&self) {
        let endpoints = self.endpoints.lock();
        let mut endpoints = endpoints.iter().filter_map(Weak::upgrade);
        endpoints.any(|endpoint| Pools::existing(&endpoint).is_some_and(Pools::close_one));
    }

    /// Closes the connections that have idled for `limit`, and all idle ones of endpoints that are
    /// gone, those of all workers. Taking a connection checks its age too: this is for endpoints
    /// that get no requests any more.
    pub(crate) fn sweep(&self, limit: Duration) {
        self.endpoints.lock().retain(|endpoint| {
            let Some(endpoint) = endpoint.upgrade() else {
                return false;
            };
            let Some(pools) = Pools::existing(&endpoint) else {
                return true;
            };
            let retired = endpoint.is_retired();
            for pool in &pools.workers {
                match retired {
                    true => pool.retire(),
                    false => pool.sweep(limit),
                }
            }
            if retired {
                // Again: the first connections may have been made as it went.
                pools.retire();
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
    fn new(endpoint: &Arc<Limit>, all: &Arc<Limit>, gone: &Arc<Notify>) -> Self {
        let limits = Limits {
            endpoint: Arc::clone(endpoint),
            all: Arc::clone(all),
            room: Notify::new(),
        };
        Self {
            limits: Arc::new(limits),
            http1: Mutex::default(),
            http2: Mutex::default(),
            waiters: Mutex::default(),
            connecting: Arc::default(),
            late: Mutex::default(),
            gone: Arc::clone(gone),
        }
    }

    /// The pool of one of `workers` for `endpoint`.
    pub(crate) fn of<'e>(
        endpoint: &'e Endpoint,
        worker: usize,
        workers: usize,
        registry: &Registry,
    ) -> &'e Arc<Self> {
        let pools = Pools::of(endpoint, workers, registry);
        &pools.workers[worker % pools.workers.len()]
    }

    /// Closes a connection to `endpoint` that idles, if there is one, whichever worker has it.
    pub(crate) fn close_one_of(endpoint: &Endpoint) {
        if let Some(pools) = Pools::existing(&endpoint.state) {
            pools.close_one();
        }
    }

    /// Ends when the endpoint, which is that of this pool, is gone.
    pub(crate) async fn gone(&self, endpoint: &EndpointState) {
        loop {
            // Begun before looking, so that nothing is missed between.
            let gone = self.gone.notified();
            if endpoint.is_retired() {
                return;
            }
            gone.await;
        }
    }

    /// Runs an attempt at a connection that no request waits for, as long as nobody waits for its
    /// place.
    pub(crate) fn run_late(&self, attempt: impl Future<Output = ()> + Send + 'static) {
        // Without a runtime the process ends.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let attempt = runtime.spawn(attempt).abort_handle();
        {
            let mut late = self.late.lock();
            late.retain(|attempt| !attempt.is_finished());
            late.push(attempt);
        }
        // Who began to wait before it was there to be found has found nothing.
        if self.limits.is_wanted() {
            self.give_up_late();
        }
    }

    /// Gives up an attempt that no request waits for. Returns whether there was one.
    fn give_up_late(&self) -> bool {
        let mut late = self.late.lock();
        late.retain(|attempt| !attempt.is_finished());
        let Some(attempt) = late.pop() else {
            return false;
        };
        attempt.abort();
        true
    }

    /// Closes a connection that idles, or that no request waits for. Returns whether there was one.
    fn close_one(&self) -> bool {
        if self.give_up_late() {
            return true;
        }
        let mut idle = self.http1.lock();
        if !idle.is_empty() {
            // The one that has idled longest.
            idle.remove(0);
            return true;
        }
        let mut connections = self.http2.lock();
        let Some(position) = connections.iter().position(|it| it.idle().is_some()) else {
            return false;
        };
        let connection = connections.remove(position);
        connection.closed.store(true, Relaxed);
        connection.retire();
        true
    }

    fn sweep(&self, limit: Duration) {
        let now = Instant::now();
        self.http1.lock().retain(|idle| idle.is_fresh(now, limit));
        // An attempt holds its memory until nobody can give it up.
        self.late.lock().retain(|attempt| !attempt.is_finished());
    }

    /// The endpoint is gone: closes what idles, and the rest when it does.
    fn retire(&self) {
        self.http1.lock().clear();
        for connection in &*self.http2.lock() {
            connection.retire();
        }
    }

    /// Keeps an HTTP/1 connection after a whole exchange, unless there are `most` already, or
    /// somebody waits for its place: that is looked at under the lock under which idle connections
    /// are closed for who waits.
    pub(crate) fn put(&self, protocol: &Protocol, wire: Box<Wire>, most: usize) {
        let Some(wire) = self.hand_over(protocol, wire) else {
            return;
        };
        let mut idle = self.http1.lock();
        if idle.len() < most && !self.limits.is_wanted() {
            idle.push(Idle {
                wire,
                since: clock::recent(),
                protocol: protocol.clone(),
            });
        }
    }

    /// Gives an HTTP/1 connection to the request that has waited for one longest, so that not each
    /// has to open its own. Where some wait elsewhere it is closed instead, and its place is given in
    /// the order of asking: connections cannot move to other threads, and places can.
    fn hand_over(&self, protocol: &Protocol, wire: Box<Wire>) -> Option<Box<Wire>> {
        let mut wire = wire;
        let waiting = self.limits.waiting();
        if waiting == 0 {
            return Some(wire);
        }
        let mut waiters = self.waiters.lock();
        waiters.retain(|waiter| !waiter.connection.is_closed());
        while waiting <= waiters.len()
            && let Some(position) = waiters.iter().position(|it| it.protocol == *protocol)
            && let Some(waiter) = waiters.remove(position)
        {
            match waiter.connection.send(wire) {
                Ok(()) => return None,
                Err(unsent) => wire = unsent,
            }
        }
        Some(wire)
    }

    /// Waits for an HTTP/1 connection that another request is done with.
    pub(crate) fn handed_over(&self, protocol: &Protocol) -> oneshot::Receiver<Box<Wire>> {
        let (connection, handed_over) = oneshot::channel();
        let mut waiters = self.waiters.lock();
        // Those at the front have waited longest, and so are the first to give up.
        while waiters.front().is_some_and(|it| it.connection.is_closed()) {
            waiters.pop_front();
        }
        waiters.push_back(Waiter {
            protocol: protocol.clone(),
            connection,
        });
        handed_over
    }

    /// Shares an HTTP/2 connection until it is [removed](Self::remove_http2).
    pub(crate) fn put_http2(&self, connection: &Arc<Http2>) {
        self.http2.lock().push(Arc::clone(connection));
    }

    /// Lets an HTTP/2 connection carry no further request, and close when its streams have ended.
    pub(crate) fn put_away(&self, connection: &Arc<Http2>) {
        self.remove_http2(connection);
        connection.retire();
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
            if candidate.is_fresh(clock::recent(), idle_timeout) && candidate.wire.io.is_quiet() {
                return Some(Connection::Http1 {
                    wire: candidate.wire,
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

#[cfg(test)]
mod tests;
