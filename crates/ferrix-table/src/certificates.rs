//! Certificates by entry point and server name.

use std::sync::Arc;

use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

use crate::{host_map::HostMap, ids::EntryPointIndex};

/// A certificate with its key, from one Secret or from the settings.
#[derive(Debug)]
pub struct Certificate {
    /// `NAMESPACE/NAME` of the Secret, or `default` from files: tells certificates apart across
    /// rotations.
    pub id: Box<str>,
    /// The chain and a key that signs.
    pub key: Arc<CertifiedKey>,
    /// End of validity of the leaf, in seconds since 1970.
    pub not_after: i64,
}

impl Certificate {
    /// Whether a client is presented the same: by one Secret, however often it was renewed, or by copies of
    /// it, which namespaces have that share a wildcard certificate.
    fn is_alike(&self, other: &Self) -> bool {
        let copied = || {
            let own = self.key.cert.first();
            own.is_some_and(|leaf| other.key.cert.first() == Some(leaf))
        };
        self.id == other.id || copied()
    }
}

/// What each secure entry point presents.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    /// By [`crate::ids::EntryPointIndex`].
    pub entry_points: Vec<ServerNames>,
    /// For clients that nothing of their entry point fits.
    pub default: Option<Arc<Certificate>>,
}

/// The names that one entry point has certificates for. That of a route for any host is for all other
/// names, and for clients that send none.
pub type ServerNames = HostMap<Arc<Certificate>>;

/// What a socket asks of the certificates of its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The authorities that they must come from. Of none: no certificate is valid.
    pub authorities: Box<[CertificateDer<'static>]>,
    /// Whether a client without a valid one is refused, rather than served all the same.
    pub required: bool,
}

impl Certificates {
    /// What to present to a client that asks for `name`, in canonical form, there: the name's own
    /// certificate, that of the most exact wildcard above it, that for any host, or the default
    /// one.
    pub fn find(
        &self,
        entry_point: EntryPointIndex,
        name: Option<&str>,
    ) -> Option<&Arc<Certificate>> {
        let names = self.entry_points.get(usize::from(entry_point));
        names
            .and_then(|names| names.find(name))
            .or(self.default.as_ref())
    }

    /// Whether requests for two canonical hosts may come on one connection: the same is presented for both,
    /// whichever routes name it, or nothing is presented for either.
    pub fn share_connection(&self, entry_point: EntryPointIndex, one: &str, other: &str) -> bool {
        let find = |name| self.find(entry_point, Some(name));
        match (find(one), find(other)) {
            (Some(one), Some(other)) => one.is_alike(other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

#[cfg(test)]
mod tests;
