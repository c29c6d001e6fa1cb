//! How the endpoints of a service are known over TLS, where an object says so.

use std::{
    any::Any,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

/// What endpoints have to show (Gateway API, `BackendTLSPolicyValidation`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verification {
    /// The name that is asked for; the certificate has to have it where `names` is empty.
    pub server_name: Box<str>,
    /// Authorities that certificates have to come from, in DER. `None`: those of the system.
    pub authorities: Option<Box<[Box<[u8]>]>>,
    /// Names of which the certificate has to have one.
    pub names: Box<[SubjectName]>,
    /// What is made of this once.
    pub prepared: Prepared,
}

/// A name of a certificate (RFC 5280, section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectName {
    /// A host, or a wildcard that the certificate has as such.
    Dns(Box<str>),
    /// A URI, as it is.
    Uri(Box<str>),
}

/// What whoever connects makes of something once, such as a configuration of TLS. It tells no two apart.
#[derive(Clone, Default)]
pub struct Prepared(Arc<OnceLock<Arc<dyn Any + Send + Sync>>>);

impl Prepared {
    /// What was made, or is made now. `None`: something else was made before.
    pub fn get_or_make<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<Arc<T>> {
        let prepared = self.0.get_or_init(|| Arc::new(make()));
        Arc::clone(prepared).downcast().ok()
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared")
    }
}

impl PartialEq for Prepared {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Prepared {}

impl PartialOrd for Prepared {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Prepared {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl Hash for Prepared {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
