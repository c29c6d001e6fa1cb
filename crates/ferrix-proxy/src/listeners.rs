//! Which sockets listen: those of the entry points that the current table has.
//!
//! A socket is known by what it listens on, so that an entry point that gets another name, or TLS, loses
//! no connection: new ones see the entry point of the moment, and those that there are already finish
//! what they are about and end. A socket whose entry point is gone accepts what waits in its queue first.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
};

use ferrix_table::{
    Reader,
    table::{EntryPoint, EntryPointIndex},
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
    tls,
    workers::Workers,
};

/// What a socket listens on. Where the system chooses the port, each entry point has a socket of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(SocketAddr, Option<Arc<str>>);

impl Place {
    fn of(entry_point: &EntryPoint) -> Self {
        let chosen = entry_point.address.port() == 0;
        Self(
            entry_point.address,
            chosen.then(|| Arc::clone(&entry_point.name)),
        )
    }
}

/// Ports that are taken, where nobody listens yet.
pub(crate) type Reserved = BTreeMap<Place, Bound>;

/// Takes the ports of entry points.
///
/// # Errors
/// What the system says to the first that it refuses; no port is taken then.
pub(crate) fn reserve(entry_points: &[EntryPoint]) -> Result<Reserved, StartError> {
    let bind = |entry_point: &EntryPoint| {
        let bound = listener::bind(entry_point.address);
        let bound = bound.map_err(|error| cannot_listen(entry_point, error))?;
        Ok((Place::of(entry_point), bound))
    };
    entry_points.iter().map(bind).collect()
}

/// All sockets that listen.
pub(crate) struct Listeners {
    workers: Workers,
    table: Reader,
    tls: Tls,
    counters: Arc<Counters>,
    sockets: Mutex<Sockets>,
}

#[derive(Default)]
struct Sockets {
    reserved: Reserved,
    open: BTreeMap<Place, Open>,
    /// Of entry points that are gone or have changed, while they have connections.
    ending: Vec<Arc<Drain>>,
    /// The generation of the table that they follow.
    generation: u64,
    /// Where the system does not let us listen, and what it says.
    refused: BTreeMap<Place, String>,
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
            sockets: Mutex::new(sockets),
        }
    }

    /// Opens and closes sockets as the current table says, where that differs from what was done
    /// before. What is opened is opened first.
    ///
    /// # Errors
    /// Those entry points that cannot be listened on. The others are, and the next call tries again.
    pub(crate) fn follow(&self) -> Vec<StartError> {
        let table = self.table.load();
        let mut sockets = self.sockets.lock();
        let same = sockets.generation == table.generation && sockets.refused.is_empty();
        if same || sockets.draining {
            return Vec::new();
        }
        sockets.generation = table.generation;
        let mut refused = BTreeMap::new();
        let mut failures = Vec::new();
        let mut places = BTreeSet::new();
        for (index, entry_point) in table.entry_points.iter() {
            let place = Place::of(entry_point);
            if let Err(failure) = self.open(&mut sockets, &place, index, entry_point) {
                refused.insert(place.clone(), failure.to_string());
                failures.push(failure);
            }
            places.insert(place);
        }
        sockets.close_all_but(&places);
        sockets.say(refused);
        self.counters
            .keep(|name| table.entry_points.find(name).is_some());
        failures
    }

    /// Makes a socket accept connections for an entry point.
    fn open(
        &self,
        sockets: &mut Sockets,
        place: &Place,
        index: EntryPointIndex,
        entry_point: &Arc<EntryPoint>,
    ) -> Result<(), StartError> {
        if let Some(open) = sockets.open.get(place) {
            let before = Arc::clone(&open.accepting.borrow().entry);
            if before.index == index && before.entry_point == *entry_point {
                return Ok(());
            }
            let entry = self.entry(index, entry_point, open.address)?;
            open.accepting.send_replace(Accepting::new(entry));
            sockets.end(&before.drain);
            return Ok(());
        }
        let cannot_listen = |error| cannot_listen(entry_point, error);
        let bound = match sockets.reserved.remove(place) {
            Some(reserved) => reserved,
            None => listener::bind(entry_point.address).map_err(cannot_listen)?,
        };
        let address = bound.local_address().map_err(cannot_listen)?;
        let entry = self.entry(index, entry_point, address)?;
        let (accepting, accepts) = watch::channel(Accepting::new(entry));
        let worker = self.workers.of(usize::from(index));
        let listening = bound.listen(worker, self.workers.clone(), accepts);
        listening.map_err(cannot_listen)?;
        sockets
            .open
            .insert(place.clone(), Open { address, accepting });
        Ok(())
    }

    fn entry(
        &self,
        index: EntryPointIndex,
        entry_point: &Arc<EntryPoint>,
        address: SocketAddr,
    ) -> Result<Entry, StartError> {
        let acceptor = || tls::acceptor(&self.tls, index, self.table.clone());
        Ok(Entry {
            index,
            entry_point: Arc::clone(entry_point),
            port: address.port(),
            tls: entry_point.is_secure().then(acceptor).transpose()?,
            counters: self.counters.entry_point(&entry_point.name),
            drain: Arc::default(),
        })
    }

    /// The entry points' names with the addresses that they really listen on, by their indices.
    pub(crate) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let sockets = self.sockets.lock();
        let of = |open: &Open| {
            let accepting = open.accepting.borrow();
            let Entry {
                index, entry_point, ..
            } = &*accepting.entry;
            (*index, entry_point.name.to_string(), open.address)
        };
        let mut all: Vec<_> = sockets.open.values().map(of).collect();
        all.sort_unstable();
        let pair = |(_, name, address)| (name, address);
        all.into_iter().map(pair).collect()
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
                gone.push(Arc::clone(&open.accepting.borrow().entry.drain));
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
    fn say(&mut self, refused: BTreeMap<Place, String>) {
        for (place, error) in &refused {
            if self.refused.get(place) != Some(error) {
                tracing::error!(%error, "tried again every second");
            }
        }
        for place in self.refused.keys().filter(|it| self.open.contains_key(it)) {
            tracing::info!(address = %place.0, "listening after all");
        }
        self.refused = refused;
    }
}

fn cannot_listen(entry_point: &EntryPoint, error: io::Error) -> StartError {
    StartError::Bind {
        name: entry_point.name.to_string(),
        address: entry_point.address,
        error,
    }
}
