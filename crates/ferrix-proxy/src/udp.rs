//! Datagrams: each client address has a session, which is a socket of its own to one endpoint. Answers go
//! back from the address that is listened on.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ferrix_table::services::{Endpoint, Protocol};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    Engine, clock,
    connection::Entry,
    counters::OpenGuard,
    drain::LINGER,
    failure::Failure,
    hash_key,
    listener::Accepting,
    permit::Permit,
    relay::InFlight,
    tcp::{self, Arrival},
    transport::Datagrams,
};

/// No datagram is longer.
const LONGEST: usize = 64 * 1024;

/// Answers of one session that are passed on before others have their turn.
const AT_ONCE: usize = 32;

/// After an error of the system.
const PAUSE: Duration = Duration::from_millis(50);

/// Passes datagrams on for as long as there is somebody who may say what for. Then what was asked may
/// still be answered for a moment.
pub(crate) async fn serve(
    engine: Arc<Engine>,
    socket: Datagrams,
    accepts: watch::Receiver<Arc<Accepting>>,
) {
    let _panics = engine.panic_guard();
    let mut accepts = accepts;
    let mut accepting = Arc::clone(&accepts.borrow_and_update());
    let mut sessions = Sessions {
        shared: Arc::new(Shared {
            engine,
            socket,
            answer: Mutex::new(vec![0; LONGEST]),
        }),
        open: HashMap::new(),
        running: JoinSet::new(),
    };
    let mut datagram = vec![0; LONGEST];
    loop {
        let shared = Arc::clone(&sessions.shared);
        tokio::select! {
            biased;
            more = accepts.changed() => match more {
                Ok(()) => accepting = Arc::clone(&accepts.borrow_and_update()),
                Err(_) => break,
            },
            Some(ended) = sessions.running.join_next() => {
                if let Ok(client) = ended {
                    sessions.open.remove(&client);
                }
            }
            received = shared.socket.receive_from(&mut datagram) => match received {
                Ok((length, client)) => {
                    sessions.pass(&accepting.entry, client, &datagram[..length]);
                }
                Err(error) => {
                    let entry_point = &*accepting.entry.socket.name;
                    tracing::warn!(entry_point, %error, "cannot receive datagrams");
                    sleep(PAUSE).await;
                }
            },
        }
    }
    let ended = async { while sessions.running.join_next().await.is_some() {} };
    let _ = timeout(LINGER, ended).await;
}

/// The sessions of one socket.
struct Sessions {
    shared: Arc<Shared>,
    open: HashMap<SocketAddr, (Arc<Session>, AbortHandle)>,
    /// Each passes answers on, and ends with the address of its client.
    running: JoinSet<SocketAddr>,
}

/// What sessions share.
struct Shared {
    engine: Arc<Engine>,
    socket: Datagrams,
    /// Room for an answer.
    answer: Mutex<Vec<u8>>,
}

struct Session {
    client: SocketAddr,
    endpoint: Endpoint,
    backend: Datagrams,
    /// After the socket, and so given back when that is closed.
    _permit: Permit,
    /// When something has last moved: see [`clock::milliseconds`].
    moved: AtomicU64,
}

impl Sessions {
    /// Passes a client's datagram on. What cannot be sent at once is lost, as in any network.
    fn pass(&mut self, entry: &Entry, client: SocketAddr, datagram: &[u8]) {
        if let Some((session, running)) = self.open.get(&client) {
            if session.pass(datagram).is_ok() {
                return;
            }
            // The endpoint has refused an earlier one.
            running.abort();
            self.open.remove(&client);
        }
        match self.begin(entry, client) {
            Ok(session) => drop(session.pass(datagram)),
            Err(failure) => {
                entry.counters.failures[failure.index()].add(1);
                tracing::debug!(%client, %failure, "datagram dropped");
            }
        }
    }

    fn begin(&mut self, entry: &Entry, client: SocketAddr) -> Result<Arc<Session>, Failure> {
        let engine = &self.shared.engine;
        if self.open.len() >= engine.settings.limits.udp_sessions {
            return Err(Failure::NoConnection);
        }
        let arrival = Arrival {
            socket: entry.index,
            port: entry.port,
            client: client.into(),
            server_name: "",
        };
        let table = engine.table.load();
        let (_, service) = tcp::choose(&table, &arrival, &Protocol::Udp)?;
        let policy = service.policy.as_ref();
        let asked = policy.map(|policy| hash_key::asked(policy, None, Some(client.ip())));
        let endpoint = service.choose(asked, &[], |_| {});
        let endpoint = endpoint.ok_or(Failure::NoEndpoint)?;
        let permit = engine.upstream.limits(service, endpoint).try_permit();
        let permit = permit.ok_or(Failure::NoConnection)?;
        let backend = Datagrams::connect(endpoint.address)
            .map_err(|error| Failure::Connect(format!("{}: {error}", endpoint.address)))?;
        let session = Arc::new(Session {
            client,
            endpoint: endpoint.clone(),
            backend,
            _permit: permit,
            moved: AtomicU64::new(clock::milliseconds()),
        });
        entry.counters.accepted_connections.add(1);
        let open = OpenGuard::new(&entry.counters);
        let (shared, of_task) = (Arc::clone(&self.shared), Arc::clone(&session));
        let running = self.running.spawn(async move {
            let _open = open;
            of_task.answer(&shared).await;
            of_task.client
        });
        let open = (Arc::clone(&session), running);
        self.open.insert(client, open);
        Ok(session)
    }
}

impl Session {
    /// Sends a datagram of the client to the endpoint.
    ///
    /// # Errors
    /// The endpoint takes none. That the system has no room is none.
    fn pass(&self, datagram: &[u8]) -> io::Result<()> {
        self.move_on();
        match self.backend.send(datagram) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    fn move_on(&self) {
        self.moved.store(clock::milliseconds(), Relaxed);
    }

    /// Passes answers on, until nothing has moved for too long, or the endpoint is gone or takes nothing.
    async fn answer(&self, shared: &Shared) {
        let _in_flight = InFlight::new(&self.endpoint);
        let engine = &shared.engine;
        let pool = engine.upstream.pool(&self.endpoint);
        let limit = engine.settings.timeouts.udp;
        let mut left = limit;
        loop {
            tokio::select! {
                biased;
                readable = self.backend.readable() => {
                    if readable.and_then(|()| self.answer_some(shared)).is_err() {
                        return;
                    }
                }
                () = sleep(left) => {}
                () = pool.gone(&self.endpoint.state) => return,
            }
            let idle = clock::milliseconds().saturating_sub(self.moved.load(Relaxed));
            left = limit.saturating_sub(Duration::from_millis(idle));
            if left.is_zero() {
                return;
            }
        }
    }

    /// Passes on what has come.
    fn answer_some(&self, shared: &Shared) -> io::Result<()> {
        let mut answer = shared.answer.lock();
        for _ in 0..AT_ONCE {
            match self.backend.try_receive(&mut answer) {
                Ok(length) => {
                    self.move_on();
                    // What the system has no room for is lost, as in any network.
                    let _ = shared.socket.send_to(&answer[..length], self.client);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
