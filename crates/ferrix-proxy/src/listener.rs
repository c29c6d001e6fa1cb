//! Listening sockets and the connections that they accept.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{Engine, connection::Entry, workers::Workers};

/// Connections that wait for us, at most.
const BACKLOG: i32 = 4096;

/// After an error of the system (mostly: no file descriptors left).
const PAUSE: Duration = Duration::from_millis(50);

/// Binds without listening yet.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Bound> {
    match bind_to(address) {
        // A machine without IPv6: every interface is every IPv4 one.
        Err(error)
            if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                && error.kind() != io::ErrorKind::AddrInUse =>
        {
            bind_to(SocketAddr::new(
                Ipv4Addr::UNSPECIFIED.into(),
                address.port(),
            ))
        }
        result => result,
    }
}

fn bind_to(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(Bound(socket))
}

/// A port that is taken. Until [`Bound::listen`], clients are refused rather than left waiting.
pub(crate) struct Bound(Socket);

impl Bound {
    /// Listens. Needs a runtime.
    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        self.0.listen(BACKLOG)?;
        TcpListener::from_std(self.0.into())
    }
}

/// Accepts until the drain begins, then what already waits in the queue.
pub(crate) async fn accept(
    engine: Arc<Engine>,
    workers: Workers,
    entry: Arc<Entry>,
    listener: TcpListener,
) {
    // The drain is not over before the queue is empty.
    let _working = engine.drain.enter();
    let mut draining = std::pin::pin!(engine.drain.watch());
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = &mut draining => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let permit = engine.connections.permit().await;
                start(&engine, &workers, &entry, stream, peer, permit);
            }
            Err(error) => {
                tracing::warn!(entry_point = entry.settings.name, %error, "cannot accept connections");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    if let Err(error) = accept_queued(&engine, &workers, &entry, listener) {
        tracing::warn!(entry_point = entry.settings.name, %error, "cannot accept the last connections");
    }
}

/// The runtime learns of new connections a little late; the system knows.
fn accept_queued(
    engine: &Engine,
    workers: &Workers,
    entry: &Arc<Entry>,
    listener: TcpListener,
) -> io::Result<()> {
    let listener = listener.into_std()?;
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(true)?;
                let stream = TcpStream::from_std(stream)?;
                start(engine, workers, entry, stream, peer, None);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn start(
    engine: &Engine,
    workers: &Workers,
    entry: &Arc<Entry>,
    stream: TcpStream,
    peer: SocketAddr,
    permit: Option<OwnedSemaphorePermit>,
) {
    let counters = engine.counters(entry.index);
    let Some(seat) = engine.connections.seat(peer.ip()) else {
        counters.refused_connections.add(1);
        return;
    };
    counters.accepted_connections.add(1);
    workers.serve(entry, stream, peer, (permit, seat, engine.drain.enter()));
}

/// How many connections there may be, in all and from one address.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    all: Option<Arc<Semaphore>>,
    per_client: usize,
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Connections {
    /// 0: no limit.
    pub(crate) fn new(all: usize, per_client: usize) -> Self {
        Self {
            all: (all > 0).then(|| Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS)))),
            per_client,
            clients: Arc::default(),
        }
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(self.all.as_ref()?).acquire_owned().await.ok()
    }

    /// `None`: this client has too many already.
    fn seat(&self, client: IpAddr) -> Option<Seat> {
        let client = client.to_canonical();
        let mut clients = self.clients.lock();
        let count = clients.entry(client).or_default();
        if self.per_client > 0 && *count == self.per_client {
            return None;
        }
        *count += 1;
        let clients = Arc::clone(&self.clients);
        Some(Seat { client, clients })
    }
}

/// One connection of one address, until it is dropped.
struct Seat {
    client: IpAddr,
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut clients = self.clients.lock();
        if let Some(count) = clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}
