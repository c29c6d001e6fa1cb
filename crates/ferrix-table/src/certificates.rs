//! Certificates by entry point and server name.

use std::{collections::HashMap, sync::Arc};

use rustls::sign::CertifiedKey;

use crate::{ids::EntryPointIndex, rules::parent_domain};

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

/// What each secure entry point presents.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    /// By [`crate::ids::EntryPointIndex`].
    pub entry_points: Vec<ServerNames>,
    /// For names that no route claims, and clients that send none.
    pub default: Option<Arc<Certificate>>,
}

/// The names that one entry point has certificates for.
#[derive(Clone, Debug, Default)]
pub struct ServerNames {
    /// Canonical host to certificate.
    pub exact: HashMap<Arc<str>, Arc<Certificate>>,
    /// `example.com` for `*.example.com`.
    pub wildcard: HashMap<Arc<str>, Arc<Certificate>>,
}

impl Certificates {
    /// What to present to a client that asks for `name`, in canonical form, there: the name's own
    /// certificate, that of the wildcard above it, or the default one.
    pub fn find(
        &self,
        entry_point: EntryPointIndex,
        name: Option<&str>,
    ) -> Option<&Arc<Certificate>> {
        let names = self.entry_points.get(usize::from(entry_point));
        (names.zip(name))
            .and_then(|(names, name)| names.find(name))
            .or(self.default.as_ref())
    }

    /// Whether requests for two canonical hosts may come on one connection: one route has the
    /// certificate for both hosts, or no route has one for either.
    pub fn share_connection(&self, entry_point: EntryPointIndex, one: &str, other: &str) -> bool {
        let names = self.entry_points.get(usize::from(entry_point));
        names.is_none_or(|names| names.claim(one) == names.claim(other))
    }
}

impl ServerNames {
    /// The certificate that a route claims for this canonical host.
    pub fn find(&self, name: &str) -> Option<&Arc<Certificate>> {
        let wildcard = || self.wildcard.get(parent_domain(name)?);
        self.exact.get(name).or_else(wildcard)
    }

    /// The host, as a route claims it, that this canonical host falls under; `None` where no
    /// route presents a certificate for it.
    pub fn claim(&self, name: &str) -> Option<Claim<'_>> {
        let exact = self.exact.get_key_value(name);
        let wildcard = || self.wildcard.get_key_value(parent_domain(name)?);
        exact
            .map(|(host, _)| Claim::Exact(host))
            .or_else(|| wildcard().map(|(suffix, _)| Claim::Wildcard(suffix)))
    }
}

/// A host that a route presents a certificate for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim<'n> {
    /// This host.
    Exact(&'n str),
    /// Exactly one label before this suffix.
    Wildcard(&'n str),
}

#[cfg(test)]
mod tests;
