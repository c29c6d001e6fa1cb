//! The sockets that entry points share: what each is, and whether it listens.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;

use crate::certificates::ClientCertificates;

/// How what comes to an entry point is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP in plain text.
    Http,
    /// TLS, which ends there, and HTTP in it.
    Https,
    /// TLS, of which only the server name is read.
    TlsPassthrough,
    /// TLS, which ends there, and bytes in it.
    TlsTerminate,
    /// Bytes.
    Tcp,
    /// Datagrams.
    Udp,
}

/// How what comes to a socket is read before it is known which entry point it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// As requests in plain text, each of which names its host.
    Http,
    /// As TLS, whose first message names a server.
    Tls,
    /// As bytes.
    Tcp,
    /// As datagrams.
    Udp,
}

/// What a socket listens on. TCP and UDP may share an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Address and port.
    pub address: SocketAddr,
    /// Whether for datagrams.
    pub datagrams: bool,
    /// Where the system chooses the port: the entry point, as each has a socket of its own then.
    pub entry_point: Option<Arc<str>>,
}

/// A listening socket. Its entry points come and go without the socket being another.
#[derive(Clone, Debug)]
pub struct Socket {
    /// What it listens on.
    pub place: Place,
    /// The name of the first of its entry points, by which it is counted and logged.
    pub name: Arc<str>,
    /// How what comes is read.
    pub layer: Layer,
    /// Connections from these networks begin with a PROXY protocol header.
    pub proxy_protocol: Box<[IpNet]>,
    /// What is asked of the certificates of clients.
    pub client_certificates: Option<Arc<ClientCertificates>>,
    /// Whether it listens. A socket that changes keeps it, and who holds it keeps the socket's index
    /// from being another's.
    pub state: Arc<SocketState>,
}

/// Where the system does not let a process listen, and what it says.
pub type Refusals = BTreeMap<Place, Arc<str>>;

/// Whether a socket listens, as the proxy found out last.
#[derive(Debug, Default)]
pub struct SocketState(Mutex<Listening>);

/// Whether a socket listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listening {
    /// Nobody has tried yet.
    #[default]
    Pending,
    /// On this address: the port is the one that the system chose where none was asked for.
    On(SocketAddr),
    /// The system does not let us: why, as it says.
    Refused(Arc<str>),
}

impl Protocol {
    /// Whether requests come over TLS that ends there.
    pub fn is_secure(self) -> bool {
        self == Self::Https
    }

    /// Whether what comes are requests, each with a host of its own.
    pub fn takes_requests(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// Whether TLS ends there, so that a certificate is needed.
    pub fn ends_tls(self) -> bool {
        matches!(self, Self::Https | Self::TlsTerminate)
    }

    /// What those that share a socket have in common.
    pub fn layer(self) -> Layer {
        match self {
            Self::Http => Layer::Http,
            Self::Https | Self::TlsPassthrough | Self::TlsTerminate => Layer::Tls,
            Self::Tcp => Layer::Tcp,
            Self::Udp => Layer::Udp,
        }
    }

    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::TlsPassthrough => "tls-passthrough",
            Self::TlsTerminate => "tls-terminate",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl Socket {
    /// Whether connections are taken in as on `other`, so that those that there are can stay.
    pub fn is_like(&self, other: &Self) -> bool {
        self.place == other.place
            && self.layer == other.layer
            && self.proxy_protocol == other.proxy_protocol
            && self.client_certificates == other.client_certificates
    }
}

impl SocketState {
    /// Whether it listens.
    pub fn get(&self) -> Listening {
        self.lock().clone()
    }

    /// Says whether it listens.
    pub fn set(&self, listening: Listening) {
        *self.lock() = listening;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Listening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
