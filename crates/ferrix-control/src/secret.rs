//! `Secret`: a certificate and its key, or what filters name.
//!
//! The bytes are parsed and checked when the Secret is seen, so that a handshake never meets a
//! certificate that does not work. Nothing here repeats what a Secret holds.

use std::{net::IpAddr, sync::Arc};

use ferrix_table::{certificates::Certificate, rules::HostPattern};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use rustls::{InconsistentKeys, crypto::aws_lc_rs::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::Value;
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::{
    credentials::Entries,
    document::{self, Fault, Read, Strictness},
    report::{Finding, Reason},
};

/// The type of Secrets that hold certificates.
pub const TLS_TYPE: &str = "kubernetes.io/tls";

/// A certificate that can be presented, and what is known of it.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// For the table.
    pub certificate: Arc<Certificate>,
    /// Start of validity of the leaf, in seconds since 1970.
    pub not_before: i64,
    /// The names that the leaf is for.
    pub names: Vec<HostPattern>,
}

/// Why a certificate cannot be presented.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A Secret without one of the two entries.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// The chain is no PEM, or holds no certificate.
    #[error("`tls.crt` holds no certificate in PEM form")]
    NoCertificate,
    /// The leaf is no X.509 certificate.
    #[error("the first certificate of `tls.crt` cannot be read")]
    Unreadable,
    /// The key is no PEM, or holds no private key.
    #[error("`tls.key` holds no private key in PEM form")]
    NoKey,
    /// An algorithm that is not supported, or bytes that are no key.
    #[error(
        "the private key of `tls.key` is of a kind that is not supported (RSA from 2048 bits, ECDSA P-256, P-384, P-521 and Ed25519 are)"
    )]
    UnsupportedKey,
    /// They do not belong together.
    #[error("the private key of `tls.key` does not belong to the first certificate of `tls.crt`")]
    Mismatch,
}

/// Reads a chain and its key. `id` tells the certificate apart across rotations: `NAMESPACE/NAME`
/// of the Secret, or `default` for files.
pub fn certificate(id: &str, chain_pem: &[u8], key_pem: &[u8]) -> Result<Parsed, CertificateError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem)
        .collect::<Result<_, _>>()
        .map_err(|_| CertificateError::NoCertificate)?;
    let leaf = chain.first().ok_or(CertificateError::NoCertificate)?;
    let leaf = CertificateInner::<Raw>::from_der(leaf).map_err(|_| CertificateError::Unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| CertificateError::NoKey)?;
    let key = any_supported_type(&key).map_err(|_| CertificateError::UnsupportedKey)?;
    let key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        // Unknown: the key does not tell its public half, which none of the supported ones does.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => return Err(CertificateError::Mismatch),
        Err(_) => return Err(CertificateError::Unreadable),
    }
    let validity = leaf.tbs_certificate().validity();
    let seconds = |time: &x509_cert::time::Time| {
        i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
    };
    Ok(Parsed {
        certificate: Arc::new(Certificate {
            id: id.into(),
            key: Arc::new(key),
            not_after: seconds(&validity.not_after),
        }),
        not_before: seconds(&validity.not_before),
        names: names(&leaf),
    })
}

fn names(leaf: &CertificateInner<Raw>) -> Vec<HostPattern> {
    let alternatives = leaf.tbs_certificate().get_extension::<SubjectAltName>();
    let Ok(Some((_, SubjectAltName(alternatives)))) = alternatives else {
        return Vec::new();
    };
    let name = |alternative: &GeneralName| match alternative {
        GeneralName::DnsName(name) => HostPattern::parse(name.as_str()).ok(),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let address = <[u8; 4]>::try_from(bytes)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
                .ok()?;
            Some(HostPattern::Exact(address.to_string().into()))
        }
        _ => None,
    };
    alternatives.iter().filter_map(name).collect()
}

/// What a Secret amounts to.
#[derive(Clone, Debug)]
pub(crate) struct SecretState {
    /// Its newest version.
    pub(crate) newest: Result<Arc<Parsed>, SecretFault>,
    /// The version that was good before it, where the newest is not.
    pub(crate) last_good: Option<Arc<Parsed>>,
    /// What it holds where it is no certificate, but for filters.
    pub(crate) entries: Option<Arc<Entries>>,
}

/// Why a Secret is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretFault {
    #[error("its type is `{0}`; a certificate is in a Secret of type `{TLS_TYPE}`")]
    Type(String),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl SecretState {
    /// What is presented: the newest version, or the last good one.
    pub(crate) fn serving(&self) -> Result<&Arc<Parsed>, &SecretFault> {
        match (&self.newest, &self.last_good) {
            (Ok(parsed), _) | (Err(_), Some(parsed)) => Ok(parsed),
            (Err(fault), None) => Err(fault),
        }
    }

    /// Whether two states present the same, hold the same for filters and have the same to say.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let same_parsed = |one: &Arc<Parsed>, other: &Arc<Parsed>| {
            one.certificate.key.cert == other.certificate.key.cert
        };
        let newest = match (&self.newest, &other.newest) {
            (Ok(one), Ok(other)) => same_parsed(one, other),
            (Err(one), Err(other)) => one == other,
            _ => false,
        };
        newest
            && self.entries == other.entries
            && match (&self.last_good, &other.last_good) {
                (Some(one), Some(other)) => same_parsed(one, other),
                (one, other) => one.is_none() && other.is_none(),
            }
    }

    /// What there is to say about it, whoever uses it. `now` is in seconds since 1970.
    pub(crate) fn findings(&self, now: i64) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Err(fault) = &self.newest {
            let kept = match &self.last_good {
                Some(_) => "; the last good certificate is still presented",
                None => "",
            };
            let message = format!("{fault}{kept}");
            // A Secret of another type is nothing to do with us until somebody names it.
            if !matches!(fault, SecretFault::Type(_)) || self.last_good.is_some() {
                findings.push(Finding::problem(
                    Reason::InvalidCertificate,
                    "data",
                    message,
                ));
            }
        }
        if let Ok(parsed) = self.serving() {
            findings.extend(parsed.out_of_date(now));
        }
        findings
    }
}

impl SecretState {
    /// When after `now` there will be something else to say.
    pub(crate) fn turn_after(&self, now: i64) -> Option<i64> {
        let parsed = self.serving().ok()?;
        let turns = [
            parsed.not_before,
            parsed.certificate.not_after.saturating_add(1),
        ];
        turns.into_iter().filter(|turn| *turn > now).min()
    }
}

impl Parsed {
    /// Whether another version of it is presented as the same.
    pub(crate) fn presents_the_same(&self, other: &Self) -> bool {
        let (one, other) = (&self.certificate, &other.certificate);
        Arc::ptr_eq(one, other) || (one.id == other.id && one.key.cert == other.key.cert)
    }

    /// Whether clients that ask for the host will find it in the certificate.
    pub(crate) fn is_for(&self, host: &HostPattern) -> bool {
        match host {
            HostPattern::Exact(host) => self.names.iter().any(|name| name.takes(host)),
            HostPattern::Wildcard(_) => self.names.contains(host),
            // A certificate's wildcard is for one label: those of more labels will not find theirs.
            HostPattern::Below(suffix) => {
                let wildcard = HostPattern::Wildcard(Arc::clone(suffix));
                self.names.contains(&wildcard)
            }
            HostPattern::Any => true,
        }
    }

    fn out_of_date(&self, now: i64) -> Option<Finding> {
        let message = if now > self.certificate.not_after {
            "the certificate has expired; it is presented all the same, and clients refuse it: \
             renew it"
        } else if now < self.not_before {
            "the certificate is not valid yet; it is presented all the same, and clients refuse \
             it: check the clock or the certificate"
        } else {
            return None;
        };
        Some(Finding::warning(
            Reason::CertificateOutOfDate,
            "data",
            message,
        ))
    }
}

/// Reads a document.
pub(crate) fn decode(value: &Value, strictness: Strictness) -> Result<Read<Secret>, Vec<Fault>> {
    // What serde found is left out: it may be the key.
    let hidden = |fault: Fault| Fault {
        field: fault.field,
        message: "is not what a Secret has there (the value is not shown)".to_owned(),
    };
    document::read(value, strictness).map_err(|faults| faults.into_iter().map(hidden).collect())
}

/// What a Secret holds for filters; `None`: it is a certificate.
pub(crate) fn entries(secret: &Secret) -> Option<Arc<Entries>> {
    let kind = type_of(secret);
    (kind != TLS_TYPE).then(|| Arc::new(Entries::new(kind, secret)))
}

fn type_of(secret: &Secret) -> &str {
    secret.type_.as_deref().unwrap_or("Opaque")
}

/// Keeps what is read of a Secret.
pub(crate) fn compile(id: &str, secret: &Secret) -> Result<Arc<Parsed>, SecretFault> {
    let kind = type_of(secret);
    if kind != TLS_TYPE {
        return Err(SecretFault::Type(kind.to_owned()));
    }
    // What the API server does on write: `stringData` goes over `data`.
    let entry = |name: &'static str| {
        let text = secret
            .string_data
            .as_ref()
            .and_then(|texts| texts.get(name));
        let bytes = secret.data.as_ref().and_then(|data| data.get(name));
        text.map(String::as_bytes)
            .or(bytes.map(|ByteString(bytes)| bytes.as_slice()))
            .ok_or(CertificateError::Missing(name))
    };
    let parsed = certificate(id, entry("tls.crt")?, entry("tls.key")?)?;
    Ok(Arc::new(parsed))
}
