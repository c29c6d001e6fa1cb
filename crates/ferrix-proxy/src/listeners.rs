//! Which sockets listen: those of the entry points that the current table has.
//!
//! A socket is known by what it listens on, so that its entry points come, change their hosts and go
//! without a connection noticing. Where connections are taken in differently, such as by TLS, new ones see
//! the socket of the moment, and those that there are already finish what they are about and end. A socket
//! whose entry points are all gone accepts what waits in its queue first.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
};

use ferrix_table::{
    Reader,
    sockets::{Layer, Listening, Place, Refusals, Socket},
    table::{EntryPoint, EntryPoints, SocketIndex},
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    StartError,
    connection::Entry,
    counters::Counters,
    drain::Drain,
    listener::{self, Accepting, Bound},
    settings::Tls,
    tls::Acceptors,
    workers::Workers,
};

/// Ports that are taken, where nobody listens yet.
pub(crate) type Reserved = BTreeMap<Place, Bound>;

/// Takes the ports of entry points.
///
/// # Errors
/// What the system says to the first that it refuses; no port is taken then.
pub(crate) fn reserve(entry_points: &[EntryPoint]) -> Result<Reserved, StartError> {
    let bind = |(_, socket): (_, &Arc<Socket>)| {
        let bound = listener::bind(&socket.place);
        let bound = bound.map_err(|error| cannot_listen(socket, error))?;
        Ok((socket.place.clone(), bound))
    };
    EntryPoints::from(entry_points)
        .sockets()
        .map(bind)
        .collect()
}

/// All sockets that listen.
pub(crate) struct Listeners {
    workers: Workers,
    table: Reader,
    tls: Tls,
    counters: Arc<Counters>,
    /// Where the system does not let us listen.
    refused: watch::Sender<Refusals>,
    sockets: Mutex<Sockets>,
}

#[derive(Default)]
struct Sockets {
    reserved: Reserved,
    open: BTreeMap<Place, Open>,
    /// Of sockets that are gone or have changed, while they have connections.
    ending: Vec<Arc<Drain>>,
    /// The generation of the table that they follow.
    generation: u64,
    /// Where the system does not let us listen, and what it says.
    refused: Refusals,
    /// Nothing is opened any more.
    draining: bool,
}

/// A socket that listens until this is dropped.
struct Open {
    /// What it really listens on.
    address: SocketAddr,
    accepting: watch::Sender<Arc<Accepting>>,
}

impl Listeners {
    pub(crate) fn new(
        workers: Workers,
        table: Reader,
        tls: Tls,
        counters: Arc<Counters>,
        refused: watch::Sender<Refusals>,
        reserved: Reserved,
    ) -> Self {
        let sockets = Sockets {
            reserved,
            ..Sockets::default()
        };
        Self {
            workers,
            table,
            tls,
            counters,
            refused,
            sockets: Mutex::new(sockets),
        }
    }

    /// Opens and closes sockets as the current table says, where that differs from what was done
    /// before. What is opened is opened first. The next call tries again what could not be.
    pub(crate) fn follow(&self) {
        self.try_follow();
    }

    /// The same for the first table.
    ///
    /// # Errors
    /// The last of the sockets whose ports were reserved and that cannot listen all the same. Others may
    /// be of addresses that only some machines have.
    pub(crate) fn begin(&self) -> Result<(), StartError> {
        let reserved: BTreeSet<_> = self.sockets.lock().reserved.keys().cloned().collect();
        let failures = self.try_follow().into_iter();
        let mut failures = failures.filter(|(place, _)| reserved.contains(place));
        failures.next().map_or(Ok(()), |(_, failure)| Err(failure))
    }

    /// Returns what cannot listen.
    fn try_follow(&self) -> Vec<(Place, StartError)> {
        let table = self.table.load();
        let mut sockets = self.sockets.lock();
        let same = sockets.generation == table.generation && sockets.refused.is_empty();
        if same || sockets.draining {
            return Vec::new();
        }
        sockets.generation = table.generation;
        let mut failures = Vec::new();
        let mut places = BTreeSet::new();
        let mut refused = Refusals::new();
        for (index, socket) in table.entry_points.sockets() {
            socket
                .state
                .set(match self.open(&mut sockets, index, socket) {
                    Ok(address) => Listening::On(address),
                    Err(failure) => {
                        let why: Arc<str> = failure.to_string().into();
                        refused.insert(socket.place.clone(), Arc::clone(&why));
                        failures.push((socket.place.clone(), failure));
                        Listening::Refused(why)
                    }
                });
            places.insert(socket.place.clone());
        }
        sockets.close_all_but(&places);
        self.refused.send_if_modified(|told| {
            let differs = *told != refused;
            told.clone_from(&refused);
            differs
        });
        sockets.say(refused);
        self.counters
            .keep(|name| table.entry_points.find(name).is_some());
        failures
    }

    /// Makes a socket accept what comes, and tells where that really is.
    fn open(
        &self,
        sockets: &mut Sockets,
        index: SocketIndex,
        socket: &Arc<Socket>,
    ) -> Result<SocketAddr, StartError> {
        if let Some(open) = sockets.open.get(&socket.place) {
            let (before, address) = (Arc::clone(&open.accepting.borrow().entry), open.address);
            if before.index == index && Arc::ptr_eq(&before.socket, socket) {
                return Ok(address);
            }
            let entry = self.successor(&before, index, socket)?;
            let stays = Arc::ptr_eq(&entry.drain, &before.drain);
            open.accepting.send_replace(Accepting::new(entry));
            if !stays {
                sockets.end(&before.drain);
            }
            return Ok(address);
        }
        let cannot_listen = |error| cannot_listen(socket, error);
        let bound = match sockets.reserved.remove(&socket.place) {
            Some(reserved) => reserved,
            None => listener::bind(&socket.place).map_err(cannot_listen)?,
        };
        let address = bound.local_address().map_err(cannot_listen)?;
        let entry = self.entry(index, socket, address.port())?;
        let (accepting, accepts) = watch::channel(Accepting::new(entry));
        let worker = self.workers.of(usize::from(index));
        let listening = bound.listen(worker, self.workers.clone(), accepts);
        listening.map_err(cannot_listen)?;
        let open = Open { address, accepting };
        sockets.open.insert(socket.place.clone(), open);
        Ok(address)
    }

    /// What connections of a socket share that was another before. Where they are taken in alike, those
    /// that there are go on.
    fn successor(
        &self,
        before: &Entry,
        index: SocketIndex,
        socket: &Arc<Socket>,
    ) -> Result<Entry, StartError> {
        if before.index != index || !before.socket.is_like(socket) {
            return self.entry(index, socket, before.port);
        }
        Ok(Entry {
            index,
            socket: Arc::clone(socket),
            port: before.port,
            tls: before.tls.clone(),
            counters: self.counters.entry_point(&socket.name),
            drain: Arc::clone(&before.drain),
        })
    }

    fn entry(
        &self,
        index: SocketIndex,
        socket: &Arc<Socket>,
        port: u16,
    ) -> Result<Entry, StartError> {
        let asked = socket.client_certificates.as_deref();
        let acceptors = || Acceptors::new(&self.tls, index, asked, self.table.clone());
        let tls = (socket.layer == Layer::Tls).then(acceptors).transpose()?;
        Ok(Entry {
            index,
            socket: Arc::clone(socket),
            port,
            tls: tls.map(Arc::new),
            counters: self.counters.entry_point(&socket.name),
            drain: Arc::default(),
        })
    }

    /// The entry points' names with the addresses that they really listen on, by their indices.
    pub(crate) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let table = self.table.load();
        let all = table.entry_points.iter();
        let listening = all.filter_map(|(index, entry_point)| {
            let (_, socket) = table.entry_points.socket_of(index)?;
            match socket.state.get() {
                Listening::On(address) => Some((entry_point.name.to_string(), address)),
                Listening::Pending | Listening::Refused(_) => None,
            }
        });
        listening.collect()
    }

    /// Closes all sockets for good, and tells every connection to end. Returns what to wait for.
    pub(crate) fn close(&self) -> Vec<Arc<Drain>> {
        let mut sockets = self.sockets.lock();
        sockets.draining = true;
        sockets.close_all_but(&BTreeSet::new());
        sockets.ending.clone()
    }
}

impl Sockets {
    fn close_all_but(&mut self, places: &BTreeSet<Place>) {
        let mut gone = Vec::new();
        self.open.retain(|place, open| {
            let stays = places.contains(place);
            if !stays {
                let entry = &open.accepting.borrow().entry;
                entry.socket.state.set(Listening::Pending);
                gone.push(Arc::clone(&entry.drain));
            }
            stays
        });
        for drain in gone {
            self.end(&drain);
        }
        self.ending.retain(|drain| drain.connections() > 0);
    }

    fn end(&mut self, drain: &Arc<Drain>) {
        drain.begin();
        self.ending.push(Arc::clone(drain));
    }

    /// Says once where we cannot listen, and once where we can again.
    fn say(&mut self, refused: Refusals) {
        for (place, error) in &refused {
            if self.refused.get(place) != Some(error) {
                tracing::error!(%error, "tried again every second");
            }
        }
        for place in self.refused.keys().filter(|it| self.open.contains_key(it)) {
            tracing::info!(address = %place.address, "listening after all");
        }
        self.refused = refused;
    }
}

fn cannot_listen(socket: &Socket, error: io::Error) -> StartError {
    StartError::Bind {
        name: socket.name.to_string(),
        address: socket.place.address,
        error,
    }
}
