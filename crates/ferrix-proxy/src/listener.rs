//! Listening sockets, and where the connections that they accept go: to the worker with the fewest,
//! where Pingora's [`Service::handle_event`] hands them to [`Application`].
//!
//! The accept loop is not Pingora's, because its service accepts on the runtime that serves: of eight
//! connections over two workers one had to carry two thirds, and an accepted stream of Pingora's can
//! move to another runtime only by `unsafe` code. Here a socket is accepted without a runtime, and
//! becomes a stream on the thread that serves it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use ferrix_table::sockets::Place;
use pingora_core::{server::ShutdownWatch, services::listening::Service};
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use crate::{
    Engine,
    address::Address,
    clients::{Clients, Open},
    connection::{Application, Entry},
    counters::OpenGuard,
    drain::Working,
    settings::Limits,
    transport::{self, Datagrams},
    udp,
    workers::{Worker, Workers},
};

/// Connections that wait for us, at most.
const BACKLOG: i32 = 4096;

/// After an error of the system (mostly: no file descriptors left).
const PAUSE: Duration = Duration::from_millis(50);

/// Binds without listening yet.
pub(crate) fn bind(place: &Place) -> io::Result<Bound> {
    let (address, datagrams) = (place.address, place.datagrams);
    match bind_to(address, datagrams) {
        // A machine without IPv6: every interface is every IPv4 one.
        Err(error)
            if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                && error.kind() != io::ErrorKind::AddrInUse =>
        {
            let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            bind_to(address, datagrams)
        }
        result => result,
    }
}

fn bind_to(address: SocketAddr, datagrams: bool) -> io::Result<Bound> {
    let (kind, protocol) = match datagrams {
        true => (Type::DGRAM, Protocol::UDP),
        false => (Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    if !datagrams {
        // For connections of before that are not quite over. Of datagrams, another would get ours.
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit it, which saves a system call for each.
        socket.set_tcp_nodelay(true)?;
    }
    socket.bind(&address.into())?;
    Ok(Bound { socket, datagrams })
}

/// A port that is taken. Until [`Bound::listen`], clients are refused rather than left waiting.
pub(crate) struct Bound {
    socket: Socket,
    datagrams: bool,
}

impl Bound {
    /// The address that the socket really has.
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?;
        address.as_socket().ok_or(io::ErrorKind::Unsupported.into())
    }

    /// For datagrams that are no client's; they are received in the runtime that this runs in.
    pub(crate) fn into_datagrams(self) -> io::Result<Datagrams> {
        Datagrams::adopt(self.socket.into())
    }

    /// Listens, and accepts on `worker` for as long as there is somebody who may say what for, then what
    /// already waits in the queue.
    pub(crate) fn listen(
        self,
        worker: &Worker,
        workers: Workers,
        accepts: watch::Receiver<Arc<Accepting>>,
    ) -> io::Result<()> {
        let _inside = worker.enter();
        let engine = Arc::clone(&worker.engine);
        if self.datagrams {
            let socket = Datagrams::adopt(self.socket.into())?;
            worker.spawn(udp::serve(engine, socket, accepts));
            return Ok(());
        }
        self.socket.listen(BACKLOG)?;
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe code, for types that may lose their descriptor; a \
                      `Socket` keeps it"
        )]
        let socket = AsyncFd::with_interest(self.socket, Interest::READABLE)?;
        let listener = Listener {
            engine,
            workers,
            accepts,
        };
        worker.spawn(listener.accept(socket));
        Ok(())
    }
}

/// What a socket accepts connections for.
pub(crate) struct Accepting {
    pub(crate) entry: Arc<Entry>,
    /// The drain is not over before the queue of the socket is empty.
    _working: Working,
}

impl Accepting {
    pub(crate) fn new(entry: Entry) -> Arc<Self> {
        Arc::new(Self {
            _working: entry.drain.enter(),
            entry: Arc::new(entry),
        })
    }
}

/// What accepts the connections of one socket.
struct Listener {
    engine: Arc<Engine>,
    workers: Workers,
    accepts: watch::Receiver<Arc<Accepting>>,
}

impl Listener {
    async fn accept(mut self, socket: AsyncFd<Socket>) {
        while let Some(accepted) = next(&mut self.accepts, &socket).await {
            match accepted {
                Ok((socket, peer)) => {
                    let permit = self.engine.connections.permit().await;
                    self.start(socket, peer, permit);
                }
                Err(error) => {
                    let entry_point = &*self.entry().socket.name;
                    tracing::warn!(entry_point, %error, "cannot accept connections");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        self.accept_queued(socket.get_ref());
    }

    /// The runtime learns of new connections a little late; the system knows. No more than could wait
    /// when the socket was given up, because others come while these are taken.
    fn accept_queued(&self, socket: &Socket) {
        for _ in 0..=BACKLOG {
            match accept(socket) {
                Ok((socket, peer)) => self.start(socket, peer, None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    let entry_point = &*self.entry().socket.name;
                    return tracing::warn!(entry_point, %error, "cannot accept the last connections");
                }
            }
        }
    }

    /// What the socket is for at the moment, or was last: whoever has said so finds it so from then on.
    fn entry(&self) -> Arc<Entry> {
        Arc::clone(&self.accepts.borrow().entry)
    }

    /// Starts a task for a connection, on the worker that has the fewest.
    fn start(&self, socket: OwnedFd, peer: Address, permit: Option<OwnedSemaphorePermit>) {
        let entry = self.entry();
        let counters = &entry.counters;
        let Some(seat) = self.engine.connections.seat(peer) else {
            counters.refused_connections.add(1);
            return;
        };
        counters.accepted_connections.add(1);
        let place = self.workers.place();
        let worker = self.workers.at(&place);
        let held = (permit, seat, place, entry.drain.enter());
        let shutdown = entry.drain.watch();
        let application = Arc::new(Application {
            engine: Arc::clone(&worker.engine),
            entry,
            peer,
        });
        // In a box, because the runtime copies a task from one place to another when it ends.
        worker.spawn(Box::pin(serve(application, socket, shutdown, held)));
    }
}

/// Serves a connection on the worker that it is to stay on. `held` is dropped with it.
async fn serve<H>(
    application: Arc<Application>,
    socket: OwnedFd,
    shutdown: ShutdownWatch,
    held: H,
) {
    let _panics = application.engine.panic_guard();
    let _held = (held, OpenGuard::new(&application.entry.counters));
    match transport::adopt(socket) {
        Ok(stream) => Service::handle_event(Box::new(stream), application, shutdown).await,
        Err(error) => {
            tracing::debug!(peer = %application.peer, %error, "connection lost before it was used");
        }
    }
}

/// The next connection, or why there is none; `None` where there is nothing to accept for any more. That is
/// asked first, because clients that come without a pause would keep a socket open for ever.
async fn next<T>(
    accepts: &mut watch::Receiver<T>,
    socket: &AsyncFd<Socket>,
) -> Option<io::Result<(OwnedFd, Address)>> {
    loop {
        tokio::select! {
            biased;
            told = accepts.changed() => told.ok()?,
            accepted = socket.async_io(Interest::READABLE, accept) => return Some(accepted),
        }
    }
}

/// A connection from the queue, and whoever it is from.
fn accept(socket: &Socket) -> io::Result<(OwnedFd, Address)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, peer) = acceptfrom_with(socket, flags)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let peer = peer.ok_or(io::ErrorKind::Unsupported)?;
    Ok((socket, peer.into()))
}

/// How many connections there may be, in all and from one address.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    all: Option<Arc<Semaphore>>,
    per_client: usize,
    clients: Clients,
}

impl Connections {
    pub(crate) fn new(limits: &Limits, clients: &Clients) -> Self {
        let all = limits.connections;
        Self {
            all: (all > 0).then(|| Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS)))),
            per_client: limits.connections_per_client(),
            clients: clients.clone(),
        }
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(self.all.as_ref()?).acquire_owned().await.ok()
    }

    /// `None`: this client has too many already.
    fn seat(&self, client: Address) -> Option<Open> {
        self.clients.get(client.ip()).connect(self.per_client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: SocketAddr) -> Socket {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.connect(&address.into()).unwrap();
        client
    }

    /// As where a load balancer has not heard yet that the socket is gone.
    #[tokio::test]
    async fn connections_that_wait_do_not_keep_a_socket_open() {
        let bound = bind_to("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = bound.local_address().unwrap();
        bound.socket.listen(BACKLOG).unwrap();
        let _clients = [(); 2].map(|()| client(address));
        #[expect(deprecated, reason = "as where it is served")]
        let socket = AsyncFd::with_interest(bound.socket, Interest::READABLE).unwrap();
        let (sender, mut accepts) = watch::channel(0);
        sender.send_replace(1);
        assert!(matches!(next(&mut accepts, &socket).await, Some(Ok(_))));
        drop(sender);
        assert!(next(&mut accepts, &socket).await.is_none());
        assert!(accept(socket.get_ref()).is_ok(), "one waits");
    }

    /// Saves a system call for each connection, and holds on Linux only because the listening socket
    /// hands it down.
    #[test]
    fn accepted_sockets_send_without_delay() {
        let bound = bind_to("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = bound.local_address().unwrap();
        bound.socket.listen(1).unwrap();
        let client = client(address);
        bound.socket.set_nonblocking(false).unwrap();
        let (accepted, peer) = accept(&bound.socket).unwrap();
        assert!(Socket::from(accepted).tcp_nodelay().unwrap());
        let client = client.local_addr().unwrap();
        assert_eq!(peer, client.as_socket().unwrap().into());
    }
}
