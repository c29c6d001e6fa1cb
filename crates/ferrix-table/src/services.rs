//! Services and their endpoints.

use std::{cell::OnceCell, collections::HashMap, fmt, net::SocketAddr, sync::Arc};

use crate::state::{EndpointState, ServiceState};

/// One port of one Kubernetes Service, with the endpoints behind it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Identity: the state of a service is kept across tables by it.
    pub id: ServiceId,
    /// How its endpoints are spoken to.
    pub protocol: Protocol,
    /// The endpoints that take requests now, in a stable order. Empty: 503.
    pub endpoints: Box<[Endpoint]>,
    /// What requests count and where the rotation stands.
    pub state: Arc<ServiceState>,
}

/// Which port of which Service, and how: part of the key of [`ServiceState`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    /// Namespace of the Service.
    pub namespace: Box<str>,
    /// Name of the Service.
    pub name: Box<str>,
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
}

/// One address of a service.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Kept across tables by service and address.
    pub state: Arc<EndpointState>,
}

impl Service {
    /// The endpoint that the next attempt goes to: each in turn, but none that this request has
    /// `tried`. `None` where that leaves none.
    pub fn pick(&self, tried: &[SocketAddr]) -> Option<&Endpoint> {
        let untried = |endpoint: &&Endpoint| !tried.contains(&endpoint.address);
        let count = self.endpoints.len();
        if count < 2 {
            return self.endpoints.first().filter(untried);
        }
        // The remainder of a division by `count` fits `usize`.
        let turn = (self.state.rotation.next() % count as u64) as usize;
        let (before, after) = self.endpoints.split_at(turn);
        after.iter().chain(before).find(untried)
    }

    /// Takes over the states of an earlier version of the same service.
    pub(crate) fn adopt(&mut self, earlier: &Service) {
        self.state = Arc::clone(&earlier.state);
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
            }
        }
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.name, self.port)
    }
}

impl Scheme {
    /// As routes write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::H2c => "h2c",
            Scheme::Https => "https",
        }
    }
}

#[cfg(test)]
mod tests;
