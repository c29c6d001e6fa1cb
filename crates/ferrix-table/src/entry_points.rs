//! Where connections come in: the entry points, known by name, and the sockets that they share, each
//! known by an index that stays its own.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv6Addr, SocketAddr},
    sync::{Arc, Weak},
};

use ipnet::IpNet;

pub use crate::sockets::Protocol;
use crate::{
    certificates::ClientCertificates,
    host_map::HostMap,
    ids::{EntryPointIndex, SocketIndex},
    rules::HostPattern,
    sockets::{Place, Socket, SocketState},
};

/// A place for rules: requests for some hosts, or connections, that come to an address. Entry points of
/// one address are on one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// As routes name it. Unique.
    pub name: Arc<str>,
    /// The hosts that it is for, of those that come to its socket. What is for none of them all has no
    /// entry point.
    pub host: HostPattern,
    /// How what comes is read. Of a socket that is read in one way, those that want another are nowhere.
    pub protocol: Protocol,
    /// What it listens on. Port 0: the system chooses one.
    pub address: SocketAddr,
    /// The port that clients know it by, which redirects name. `None`: the one that it listens on.
    pub exposed_port: Option<u16>,
    /// Connections from these networks begin with a PROXY protocol header. What the first of a socket
    /// says, holds for all of it.
    pub proxy_protocol: Box<[IpNet]>,
    /// What is asked of the certificates of clients; the same.
    pub client_certificates: Option<Arc<ClientCertificates>>,
}

impl EntryPoint {
    /// One for any host on every interface, at a port that the system chooses, for clients that speak no
    /// PROXY protocol.
    pub fn new(name: &str, protocol: Protocol) -> Self {
        Self {
            name: name.into(),
            host: HostPattern::Any,
            protocol,
            address: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
            exposed_port: None,
            proxy_protocol: Box::default(),
            client_certificates: None,
        }
    }

    /// The same for requests in plain text.
    pub fn http(name: &str) -> Self {
        Self::new(name, Protocol::Http)
    }

    /// The same for requests over TLS.
    pub fn https(name: &str) -> Self {
        Self::new(name, Protocol::Https)
    }

    /// Whether requests come over TLS that ends there.
    pub fn is_secure(&self) -> bool {
        self.protocol.is_secure()
    }

    /// What it listens on.
    pub fn place(&self) -> Place {
        let chosen = self.address.port() == 0;
        Place {
            address: self.address,
            datagrams: self.protocol == Protocol::Udp,
            entry_point: chosen.then(|| Arc::clone(&self.name)),
        }
    }
}

/// All entry points, by index, and their sockets.
///
/// A connection keeps the index of the socket that it came in by, and chooses an entry point in a newer
/// table for each request. So a socket keeps its index for as long as it exists, and the index is nobody
/// else's before the last connection of it is gone. Entry points keep theirs for the sake of the rules.
#[derive(Clone, Debug, Default)]
pub struct EntryPoints {
    entry_points: Vec<Option<Arc<EntryPoint>>>,
    /// The index of each by its name: Gateways may have thousands of listeners.
    by_name: HashMap<Arc<str>, EntryPointIndex>,
    sockets: Vec<Slot>,
}

/// The index of a socket, in use or not.
#[derive(Clone, Debug)]
enum Slot {
    Open(Arc<Socket>, Hosts),
    /// Connections may keep it, and are for those of its entry points that there still are, elsewhere.
    Closed(Weak<SocketState>, Hosts),
}

/// The entry points of a socket.
#[derive(Clone, Debug)]
enum Hosts {
    /// As most sockets have it: one for requests for any host.
    One(EntryPointIndex),
    Several(Box<HostMap<EntryPointIndex>>),
}

impl EntryPoints {
    /// The entry point of an index.
    pub fn get(&self, index: EntryPointIndex) -> Option<&Arc<EntryPoint>> {
        self.entry_points.get(usize::from(index))?.as_ref()
    }

    /// The index of an entry point by its name.
    pub fn find(&self, name: &str) -> Option<EntryPointIndex> {
        self.by_name.get(name).copied()
    }

    /// All that there are, with their indices, which ascend.
    pub fn iter(&self) -> impl Iterator<Item = (EntryPointIndex, &Arc<EntryPoint>)> {
        let places = (0..=EntryPointIndex::MAX).zip(&self.entry_points);
        places.filter_map(|(index, it)| Some((index, it.as_ref()?)))
    }

    /// All sockets, with their indices, which ascend.
    pub fn sockets(&self) -> impl Iterator<Item = (SocketIndex, &Arc<Socket>)> {
        self.slots().map(|(index, socket, _)| (index, socket))
    }

    /// The socket of an entry point. `None`: there is no such entry point, or it is nowhere, as one that
    /// came before it has what it asks for, or reads its socket in another way.
    pub fn socket_of(&self, entry_point: EntryPointIndex) -> Option<(SocketIndex, &Arc<Socket>)> {
        let wanted = self.get(entry_point)?;
        let place = wanted.place();
        let mut slots = self.slots();
        let (index, socket, hosts) = slots.find(|(_, socket, _)| socket.place == place)?;
        let has_it = hosts.get(&wanted.host) == Some(entry_point);
        has_it.then_some((index, socket))
    }

    /// The entry point of a socket that takes a request for this canonical host: see
    /// [`EntryPoints::choose`]. `None` as well where that one takes no requests.
    #[inline]
    pub fn choose_for_request(&self, socket: SocketIndex, host: &str) -> Option<EntryPointIndex> {
        match self.sockets.get(usize::from(socket))?.hosts() {
            Hosts::One(index) => Some(*index),
            Hosts::Several(hosts) => {
                let index = *hosts.find(Some(host))?;
                (self.get(index)?.protocol.takes_requests()).then_some(index)
            }
        }
    }

    /// The entry point of a socket that what comes for this canonical host is for: the one with the most
    /// exact host that takes it. An empty host, as that of a client of TLS that names no server: the one
    /// for any host.
    pub fn choose(&self, socket: SocketIndex, host: &str) -> Option<EntryPointIndex> {
        match self.sockets.get(usize::from(socket))?.hosts() {
            Hosts::One(index) => Some(*index),
            Hosts::Several(hosts) => hosts.find(Some(host)).copied(),
        }
    }

    /// Whether TLS ends at one of the entry points of a socket, so that its clients know Ferrix as a
    /// server of TLS.
    pub fn ends_tls(&self, socket: SocketIndex) -> bool {
        let ends = |index: &EntryPointIndex| {
            let entry_point = self.get(*index);
            entry_point.is_some_and(|it| it.protocol.ends_tls())
        };
        match self.sockets.get(usize::from(socket)).map(Slot::hosts) {
            Some(Hosts::One(index)) => ends(index),
            Some(Hosts::Several(hosts)) => hosts.values().any(ends),
            None => false,
        }
    }

    /// Those of `wanted` from now on. Whoever has been there before, by name, has its index still, and so
    /// has a socket, by what it listens on; those that are new get what is free. A name that comes twice
    /// is the first one's, and so is a host of one socket. Beyond [`EntryPointIndex::MAX`] there are none.
    #[must_use]
    pub fn followed_by(&self, wanted: &[EntryPoint]) -> Self {
        let entry_points = self.places_followed_by(wanted);
        let is_there = |index: EntryPointIndex| entry_points[usize::from(index)].is_some();
        let closed = self.sockets.iter().map(|slot| slot.closed(is_there));
        let mut next = Self {
            sockets: closed.collect(),
            entry_points,
            by_name: HashMap::new(),
        };
        let by_name = next.iter().map(|(index, it)| (Arc::clone(&it.name), index));
        next.by_name = by_name.collect();
        // In the order of what is wanted: the first of a socket says how it is read.
        for entry_point in first_of_each_name(wanted) {
            if let Some(index) = next.find(&entry_point.name) {
                next.join(index, self);
            }
        }
        next
    }

    /// Each wanted entry point at its index.
    fn places_followed_by(&self, wanted: &[EntryPoint]) -> Vec<Option<Arc<EntryPoint>>> {
        let mut places = vec![None; self.entry_points.len()];
        let mut fresh: Vec<&EntryPoint> = Vec::new();
        for entry_point in first_of_each_name(wanted) {
            match self.find(&entry_point.name) {
                Some(index) => {
                    let same = self.get(index).filter(|it| ***it == *entry_point);
                    let kept = same.cloned().unwrap_or_else(|| entry_point.clone().into());
                    places[usize::from(index)] = Some(kept);
                }
                None => fresh.push(entry_point),
            }
        }
        // Those that go now may still be in the rules of the caller.
        let mut free = (0..self.entry_points.len()).filter(|it| self.entry_points[*it].is_none());
        for entry_point in fresh {
            let entry_point = Some(Arc::new(entry_point.clone()));
            match free.next() {
                Some(index) => places[index] = entry_point,
                None if places.len() <= usize::from(EntryPointIndex::MAX) => {
                    places.push(entry_point);
                }
                None => {}
            }
        }
        places
    }

    /// Puts an entry point on its socket, which is opened where there is none yet.
    fn join(&mut self, index: EntryPointIndex, earlier: &Self) {
        let Some(entry_point) = self.get(index).cloned() else {
            return;
        };
        let place = entry_point.place();
        let is_its = |slot: &&mut Slot| slot.socket().is_some_and(|it| it.place == place);
        if let Some(slot) = self.sockets.iter_mut().find(is_its) {
            return slot.admit(index, &entry_point);
        }
        let mut before = earlier.slots();
        let before = before.find(|(_, socket, _)| socket.place == place);
        let before = before.map(|(index, socket, _)| (index, socket));
        let slot = Slot::opened(index, &entry_point, place.clone(), before.map(|(_, it)| it));
        match before {
            Some((index, _)) => self.sockets[usize::from(index)] = slot,
            None => self.insert(slot),
        }
    }

    fn insert(&mut self, slot: Slot) {
        match self.sockets.iter().position(Slot::is_free) {
            Some(free) => self.sockets[free] = slot,
            None if self.sockets.len() <= usize::from(SocketIndex::MAX) => self.sockets.push(slot),
            None => {}
        }
    }

    fn slots(&self) -> impl Iterator<Item = (SocketIndex, &Arc<Socket>, &Hosts)> {
        let slots = (0..=SocketIndex::MAX).zip(&self.sockets);
        slots.filter_map(|(index, slot)| match slot {
            Slot::Open(socket, hosts) => Some((index, socket, hosts)),
            Slot::Closed(..) => None,
        })
    }
}

/// Entry points but for those whose name came before, in their order.
fn first_of_each_name(all: &[EntryPoint]) -> impl Iterator<Item = &EntryPoint> {
    let mut known = HashSet::new();
    all.iter().filter(move |it| known.insert(&*it.name))
}

impl Slot {
    /// A socket for its first entry point. Where nothing is different it is the one of `before`.
    fn opened(
        index: EntryPointIndex,
        first: &EntryPoint,
        place: Place,
        before: Option<&Arc<Socket>>,
    ) -> Self {
        let socket = Socket {
            place,
            name: Arc::clone(&first.name),
            layer: first.protocol.layer(),
            proxy_protocol: first.proxy_protocol.clone(),
            client_certificates: first.client_certificates.clone(),
            state: before.map(|it| Arc::clone(&it.state)).unwrap_or_default(),
        };
        let same = before.filter(|it| it.is_like(&socket) && it.name == socket.name);
        let socket = same.cloned().unwrap_or_else(|| Arc::new(socket));
        let mut hosts = Hosts::Several(Box::default());
        hosts.insert(index, first);
        Self::Open(socket, hosts)
    }

    fn socket(&self) -> Option<&Arc<Socket>> {
        match self {
            Self::Open(socket, _) => Some(socket),
            Self::Closed(..) => None,
        }
    }

    fn hosts(&self) -> &Hosts {
        let (Self::Open(_, hosts) | Self::Closed(_, hosts)) = self;
        hosts
    }

    /// Puts another entry point on the socket, where it is read in the same way and nobody has the host.
    fn admit(&mut self, index: EntryPointIndex, entry_point: &EntryPoint) {
        if let Self::Open(socket, hosts) = self
            && socket.layer == entry_point.protocol.layer()
            && hosts.get(&entry_point.host).is_none()
        {
            hosts.insert(index, entry_point);
        }
    }

    /// What becomes of it where nobody wants it any more, with those of its entry points that `are_there`.
    fn closed(&self, are_there: impl Fn(EntryPointIndex) -> bool) -> Self {
        let state = match self {
            Self::Open(socket, _) => Arc::downgrade(&socket.state),
            Self::Closed(state, _) => Weak::clone(state),
        };
        let mut hosts = self.hosts().to_map();
        hosts.retain(|index| are_there(*index));
        Self::Closed(state, Hosts::Several(Box::new(hosts)))
    }

    fn is_free(&self) -> bool {
        matches!(self, Self::Closed(state, _) if state.strong_count() == 0)
    }
}

impl Hosts {
    fn get(&self, host: &HostPattern) -> Option<EntryPointIndex> {
        match self {
            Self::One(index) => (*host == HostPattern::Any).then_some(*index),
            Self::Several(hosts) => hosts.get(host).copied(),
        }
    }

    fn to_map(&self) -> HostMap<EntryPointIndex> {
        match self {
            Self::One(any) => HostMap {
                any: Some(*any),
                ..HostMap::default()
            },
            Self::Several(hosts) => HostMap::clone(hosts),
        }
    }

    fn insert(&mut self, index: EntryPointIndex, entry_point: &EntryPoint) {
        let mut hosts = match self {
            Self::One(_) => self.to_map(),
            Self::Several(hosts) => std::mem::take(&mut **hosts),
        };
        hosts.insert(&entry_point.host, index);
        *self = match hosts.only_any() {
            Some(index) if entry_point.protocol.takes_requests() => Self::One(*index),
            _ => Self::Several(Box::new(hosts)),
        };
    }
}

/// In this order, from index 0.
impl From<&[EntryPoint]> for EntryPoints {
    fn from(all: &[EntryPoint]) -> Self {
        Self::default().followed_by(all)
    }
}

#[cfg(test)]
mod tests;
