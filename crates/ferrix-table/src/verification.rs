//! How the endpoints of a service are known over TLS, and know Ferrix, where an object says so.

use std::{
    any::Any,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use crate::certificates::Certificate;

/// What endpoints have to show (Gateway API, `BackendTLSPolicyValidation`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verification {
    /// The name that is asked for; the certificate has to have it where `names` is empty.
    pub server_name: Box<str>,
    /// Those that certificates have to come from.
    pub authorities: Authorities,
    /// Names of which the certificate has to have one.
    pub names: Box<[SubjectName]>,
    /// What is presented to endpoints that ask for a certificate.
    pub client: Option<ClientCertificate>,
    /// What is made of this once.
    pub prepared: Prepared,
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Authorities {
    /// Whoever shows one: nobody knows who it is.
    Anyone,
    /// As the settings say.
    OfSettings,
    /// The system's.
    OfSystem,
    /// These, in DER.
    These(Box<[Box<[u8]>]>),
}

/// A certificate that Ferrix presents to backends. Two are the same where their bytes are: whose connection
/// was authenticated by one is for no request that comes with another.
#[derive(Clone, Debug)]
pub struct ClientCertificate(pub Arc<Certificate>);

impl ClientCertificate {
    fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.0.key.cert.iter().map(AsRef::as_ref)
    }
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.bytes().eq(other.bytes())
    }
}

impl Eq for ClientCertificate {}

impl PartialOrd for ClientCertificate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ClientCertificate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl Hash for ClientCertificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().for_each(|bytes| bytes.hash(state));
    }
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
