//! API keys: clients that may pass, by a key that each of them has.

use std::fmt;

use super::from_object::FromObject;
use crate::verification::Prepared;

/// Who may pass: clients that have a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The clients.
    pub clients: FromObject<ApiClients>,
    /// Where requests have the key.
    pub place: CredentialPlace,
    /// The field that tells the service the name of the client. What clients send of it is taken out.
    pub client_header: Option<Box<str>>,
    /// Whether the service does not get the key.
    pub hide_credentials: bool,
}

/// Where a request has what it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// In this header field.
    Header(Box<str>),
    /// In this parameter of the query.
    Query(Box<str>),
    /// In this cookie.
    Cookie(Box<str>),
}

/// Clients, each with its key. At least one.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiClients {
    /// Name and key of each; every key once.
    pub all: Box<[(Box<str>, Box<str>)]>,
    /// For whoever looks for keys.
    pub prepared: Prepared,
}

impl ApiClients {
    /// `None`: there are none.
    pub fn new(clients: impl IntoIterator<Item = (Box<str>, Box<str>)>) -> Option<Self> {
        let all: Box<[_]> = clients.into_iter().collect();
        (!all.is_empty()).then(|| Self {
            all,
            prepared: Prepared::default(),
        })
    }
}

/// How many there are, and nothing of them.
impl fmt::Debug for ApiClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiClients({})", self.all.len())
    }
}

/// `header X-Api-Key`.
impl fmt::Display for CredentialPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header {name}"),
            Self::Query(name) => write!(f, "query parameter {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
        }
    }
}

/// `header X-Api-Key, clients of Secret shop/partners, as X-Client`.
impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, place, .. } = self;
        write!(f, "{place}, clients of {}", clients.named)?;
        match &self.client_header {
            Some(header) => write!(f, ", as {header}"),
            None => Ok(()),
        }
    }
}
