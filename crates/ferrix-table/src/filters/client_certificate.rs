//! Certificates of clients (mutual TLS): who may pass, by what an authority has certified.

use std::{fmt, sync::Arc};

use rustls::{
    pki_types::{CertificateDer, CertificateRevocationListDer},
    server::danger::ClientCertVerifier,
};

use super::from_object::FromObject;

/// Who may pass: clients that have a certificate of one of these authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The authorities, in a Secret or a ConfigMap.
    pub authorities: FromObject<ClientAuthorities>,
    /// Whether clients without a certificate pass as well, and nothing is told of them.
    pub optional: bool,
    /// What the service is told of it. What clients send of these fields is taken out.
    pub headers: Box<[DetailHeader]>,
}

/// Authorities of clients, and what they have revoked.
#[derive(Clone, Debug)]
pub struct ClientAuthorities {
    /// Their certificates; at least one.
    pub authorities: Box<[CertificateDer<'static>]>,
    /// What they have revoked. None: nobody knows, and nobody asks.
    pub revocations: Box<[CertificateRevocationListDer<'static>]>,
    /// What judges by all of these.
    pub verifier: Arc<dyn ClientCertVerifier>,
}

/// What judges follows from the others.
impl PartialEq for ClientAuthorities {
    fn eq(&self, other: &Self) -> bool {
        self.authorities == other.authorities && self.revocations == other.revocations
    }
}

impl Eq for ClientAuthorities {}

/// A field that tells a service something of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailHeader {
    /// What.
    pub detail: Detail,
    /// The field.
    pub header: Box<str>,
}

/// Something of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Its subject (RFC 4514).
    Subject,
    /// Its alternative names, with commas between.
    Names,
    /// SHA-256 of it, in hexadecimal.
    Fingerprint,
    /// The certificate in PEM, URL-encoded.
    Certificate,
    /// An element of `X-Forwarded-Client-Cert`, as Envoy has it.
    ForwardedClientCert,
}

impl ClientCertificate {
    /// The authorities, or why there are none.
    pub fn authorities(&self) -> Result<&Arc<ClientAuthorities>, &Arc<str>> {
        self.authorities.held.as_ref()
    }
}

impl Detail {
    fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Names => "names",
            Self::Fingerprint => "fingerprint",
            Self::Certificate => "certificate",
            Self::ForwardedClientCert => "details",
        }
    }
}

/// `of authorities of ConfigMap shop/partners, subject as X-Client`.
impl fmt::Display for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.optional { "perhaps of" } else { "of" })?;
        write!(f, " authorities of {}", self.authorities.named)?;
        for DetailHeader { detail, header } in &self.headers {
            write!(f, ", {} as {header}", detail.as_str())?;
        }
        Ok(())
    }
}
