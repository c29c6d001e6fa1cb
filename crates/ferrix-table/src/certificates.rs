//! Certificates by entry point and server name.

use std::{collections::HashMap, sync::Arc};

use rustls::sign::CertifiedKey;

use crate::{
    ids::EntryPointIndex,
    rules::{domains, parent_domain},
};

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
    /// For clients that nothing of their entry point fits.
    pub default: Option<Arc<Certificate>>,
}

/// The names that one entry point has certificates for.
#[derive(Clone, Debug, Default)]
pub struct ServerNames {
    /// Canonical host to certificate.
    pub exact: HashMap<Arc<str>, Arc<Certificate>>,
    /// `example.com` for `*.example.com`.
    pub wildcard: HashMap<Arc<str>, Arc<Certificate>>,
    /// The same where the wildcard stands for one label or more.
    pub below: HashMap<Arc<str>, Arc<Certificate>>,
    /// That of a route for any host: for all other names, and clients that send none.
    pub any: Option<Arc<Certificate>>,
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

    /// Whether requests for two canonical hosts may come on one connection: what is presented for
    /// both comes from one Secret, whichever routes name it and however often it was renewed, or
    /// nothing is presented for either.
    pub fn share_connection(&self, entry_point: EntryPointIndex, one: &str, other: &str) -> bool {
        let id = |name| self.find(entry_point, Some(name)).map(|found| &found.id);
        id(one) == id(other)
    }
}

impl ServerNames {
    /// The certificate that a route claims for this canonical host, or for a client that names none.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<Certificate>> {
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcard = || self.wildcard.get(parent_domain(name?)?);
        let below = || match self.below.is_empty() {
            true => None,
            false => domains(name?).find_map(|domain| self.below.get(domain)),
        };
        (exact.or_else(wildcard))
            .or_else(below)
            .or(self.any.as_ref())
    }
}

#[cfg(test)]
mod tests;
