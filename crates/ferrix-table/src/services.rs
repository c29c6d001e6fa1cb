//! Services and their endpoints.

use std::{cell::OnceCell, collections::HashMap, fmt, net::SocketAddr, ops::Index, sync::Arc};

use crate::{
    backend_policy::{BackendPolicy, InForce},
    ids::ServiceIndex,
    object::ObjectName,
    standing::Standing,
    state::{EndpointState, ServiceState},
    verification::Verification,
};

/// The services of a table, each at the index that rules know it by.
///
/// An index stays that of its service from table to table, so that a rule need not change when
/// other services come and go. Some indices may have none.
#[derive(Clone, Debug, Default)]
pub struct Services {
    places: Vec<Option<Arc<Service>>>,
}

/// One port of one Kubernetes Service, with the endpoints behind it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Identity: the state of a service is kept across tables by it.
    pub id: ServiceId,
    /// How its endpoints are spoken to.
    pub protocol: Protocol,
    /// The endpoints that take requests now, in a stable order. Empty: 503.
    pub endpoints: Box<[Endpoint]>,
    /// What it asks for beyond that. `None`: nothing. See [`Service::with_policy`].
    pub policy: Option<Box<InForce>>,
    /// What requests count and where the rotation stands.
    pub state: Arc<ServiceState>,
}

/// Which port of which Service, and how: part of the key of [`ServiceState`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    /// The Service.
    pub service: ObjectName,
    /// The Service's port number.
    pub port: u16,
    /// The same port may be spoken to in several ways.
    pub scheme: Scheme,
}

/// What `scheme` of a route's service, or `appProtocol` of the port, asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// HTTP/1.1 in plain text.
    Http,
    /// HTTP/2 in plain text, by prior knowledge.
    H2c,
    /// TLS, then what ALPN chooses.
    Https,
    /// Bytes over TCP.
    Tcp,
    /// Datagrams over UDP.
    Udp,
}

/// How an endpoint is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in plain text.
    Http1,
    /// HTTP/2 in plain text.
    Http2,
    /// TLS with this server name for SNI and verification.
    Tls {
        /// A DNS name: `NAME.NAMESPACE.svc` unless the route says otherwise.
        server_name: Box<str>,
    },
    /// TLS, as an object says.
    Verified(Arc<Verification>),
    /// What the client sends over TCP, as it is.
    Tcp,
    /// What the client sends over UDP, as it is.
    Udp,
}

/// One address of a service.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Kept across tables by service and address.
    pub state: Arc<EndpointState>,
    /// What the policy of its service has come to know of it, kept in the same way. `None`: there is no
    /// policy.
    pub standing: Option<Arc<Standing>>,
}

impl Services {
    /// The service of this index.
    pub fn get(&self, index: usize) -> Option<&Arc<Service>> {
        self.places.get(index)?.as_ref()
    }

    /// Puts a service at an index, or empties that place.
    pub fn put(&mut self, index: ServiceIndex, service: Option<Arc<Service>>) {
        let index = index as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, None);
        }
        self.places[index] = service;
    }

    /// Every service, by index.
    pub fn iter(&self) -> <&Self as IntoIterator>::IntoIter {
        self.into_iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Hands the states of an earlier table (counters, rotation, idle connections) to the services
    /// of the same identity here. A service that both tables hold, as one `Arc`, has its state
    /// already and is skipped. Returns what is to be let go of once this table is current.
    pub(crate) fn adopt(&mut self, earlier: &Services) -> Departed {
        let shared = |here: &[Option<Arc<Service>>], index: usize| {
            let (here, there) = (here.get(index).and_then(Option::as_ref), earlier.get(index));
            here.zip(there)
                .is_some_and(|(here, there)| Arc::ptr_eq(here, there))
        };
        let gone: HashMap<&ServiceId, &Arc<Service>> = (earlier.places.iter().enumerate())
            .filter(|(index, _)| !shared(&self.places, *index))
            .filter_map(|(_, service)| service.as_ref().map(|it| (&it.id, it)))
            .collect();
        for index in 0..self.places.len() {
            if shared(&self.places, index) {
                continue;
            }
            let Some(service) = &mut self.places[index] else {
                continue;
            };
            let same_place = earlier.get(index).filter(|it| it.id == service.id);
            if let Some(predecessor) = same_place.or_else(|| gone.get(&service.id).copied()) {
                Arc::make_mut(service).adopt(predecessor);
            }
            service.endpoints.iter().for_each(|it| it.state.hold());
        }
        let departed = (earlier.places.iter().enumerate())
            .filter(|(index, _)| !shared(&self.places, *index))
            .filter_map(|(_, service)| service.clone());
        Departed(departed.collect())
    }
}

/// Services that the next table has not, or has in another version.
#[derive(Debug)]
#[must_use = "their endpoints are to be let go of"]
pub(crate) struct Departed(Vec<Arc<Service>>);

impl Departed {
    /// Retires the endpoints that no service of the current table has.
    pub(crate) fn let_go(self) {
        let endpoints = self.0.iter().flat_map(|service| &service.endpoints);
        endpoints.for_each(|endpoint| endpoint.state.let_go());
    }
}

impl FromIterator<Arc<Service>> for Services {
    fn from_iter<I: IntoIterator<Item = Arc<Service>>>(services: I) -> Self {
        Services {
            places: services.into_iter().map(Some).collect(),
        }
    }
}

impl<'a> IntoIterator for &'a Services {
    type Item = &'a Arc<Service>;
    type IntoIter = std::iter::Flatten<std::slice::Iter<'a, Option<Arc<Service>>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.places.iter().flatten()
    }
}

impl Index<usize> for Services {
    type Output = Arc<Service>;

    /// # Panics
    /// Where the index has no service.
    fn index(&self, index: usize) -> &Arc<Service> {
        self.get(index).expect("a service has this index")
    }
}

impl Service {
    /// The same with what a policy asks for, and with a place for what it comes to know of each endpoint.
    #[must_use]
    pub fn with_policy(mut self, policy: Arc<BackendPolicy>) -> Self {
        self.policy = Some(Box::new(InForce::new(policy)));
        for endpoint in &mut self.endpoints {
            endpoint.standing = Some(Arc::default());
        }
        self
    }

    /// The endpoint that the next attempt goes to: each in turn, but none that this request has
    /// `tried`, and none that connections fail to while they do to another. `passed_over` is told of
    /// one that would have had its turn. `None` where all are tried.
    pub fn pick(
        &self,
        tried: &[SocketAddr],
        passed_over: impl FnOnce(&Endpoint),
    ) -> Option<&Endpoint> {
        let untried = |endpoint: &&Endpoint| !tried.contains(&endpoint.address);
        let count = self.endpoints.len();
        if count < 2 {
            return self.endpoints.first().filter(untried);
        }
        let turn = self.state.rotation.next();
        // The remainder of a division by `count` fits `usize`.
        let endpoint = &self.endpoints[(turn % count as u64) as usize];
        match endpoint.is_failing() || !untried(&endpoint) {
            false => Some(endpoint),
            true => self.pick_other(turn, untried, passed_over),
        }
    }

    /// As [`Service::pick`], where whose turn it is should not have it. From round to round another
    /// takes its place, so that no single one has to bear twice as much.
    fn pick_other(
        &self,
        turn: u64,
        untried: impl Fn(&&Endpoint) -> bool,
        passed_over: impl FnOnce(&Endpoint),
    ) -> Option<&Endpoint> {
        let count = self.endpoints.len() as u64;
        let step = 1 + turn / count % (count - 1);
        let (before, from_turn) = self.endpoints.split_at((turn % count) as usize);
        let (before_other, from_other) = self.endpoints.split_at(((turn + step) % count) as usize);
        let mut others = from_other.iter().chain(before_other).filter(&untried);
        let Some(other) = others.find(|it| !it.is_failing()) else {
            return from_turn.iter().chain(before).find(untried);
        };
        if let Some(endpoint) = from_turn.first().filter(untried) {
            passed_over(endpoint);
        }
        Some(other)
    }

    /// Whether there is an endpoint that this request has not `tried`.
    pub fn has_other(&self, tried: &[SocketAddr]) -> bool {
        (self.endpoints.iter()).any(|endpoint| !tried.contains(&endpoint.address))
    }

    /// Counts together with another of the same identity.
    pub fn count_with(&mut self, other: &Service) {
        self.state = Arc::clone(&other.state);
        if let (Some(policy), Some(other)) = (&mut self.policy, &other.policy) {
            policy.state = Arc::clone(&other.state);
        }
    }

    /// Takes over the states of an earlier version of the same service.
    pub(crate) fn adopt(&mut self, earlier: &Service) {
        self.count_with(earlier);
        let by_address: OnceCell<HashMap<SocketAddr, &Endpoint>> = OnceCell::new();
        for (place, endpoint) in self.endpoints.iter_mut().enumerate() {
            let predecessor = match earlier.endpoints.get(place) {
                Some(same_place) if same_place.address == endpoint.address => Some(same_place),
                _ => {
                    let endpoints = earlier.endpoints.iter().map(|it| (it.address, it));
                    let by_address = by_address.get_or_init(|| endpoints.collect());
                    by_address.get(&endpoint.address).copied()
                }
            };
            if let Some(predecessor) = predecessor {
                endpoint.state = Arc::clone(&predecessor.state);
                if let (Some(standing), Some(before)) =
                    (&mut endpoint.standing, &predecessor.standing)
                {
                    *standing = Arc::clone(before);
                }
            }
        }
    }
}

impl Protocol {
    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        self.server_name().is_some()
    }

    /// The name that is asked for over TLS.
    pub fn server_name(&self) -> Option<&str> {
        match self {
            Protocol::Tls { server_name } => Some(server_name),
            Protocol::Verified(verification) => Some(&verification.server_name),
            Protocol::Http1 | Protocol::Http2 | Protocol::Tcp | Protocol::Udp => None,
        }
    }
}

impl Endpoint {
    /// One of which nothing is known.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            state: Arc::default(),
            standing: None,
        }
    }

    /// Whether connections to it fail: see [`Backoff::is_failing`](crate::backoff::Backoff::is_failing).
    pub fn is_failing(&self) -> bool {
        self.state.backoff.is_failing()
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.port)
    }
}

impl Scheme {
    /// As routes write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::H2c => "h2c",
            Scheme::Https => "https",
            Scheme::Tcp => "tcp",
            Scheme::Udp => "udp",
        }
    }
}

#[cfg(test)]
mod tests;
