//! Certificates that clients show in the TLS handshake.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// Lets clients pass that have a certificate of an authority (mutual TLS). Others get 403. TLS asks clients for
/// one whose name (SNI) is of a host with such a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    /// Whose certificates are valid.
    pub authorities: CertificateAuthorities,
    /// Whether clients without a certificate pass as well. Those with one that is not valid never do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What of certificates the service is told by headers. What clients send of these is taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub details_to_headers: Vec<DetailHeader>,
}

/// An object of the same namespace with authorities: exactly one of these. Its entry `ca.crt` has their
/// certificates in PEM; `ca.crl`, where there is one, the lists of what they have revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct CertificateAuthorities {
    /// A Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub secret: Option<String>,
    /// A ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub config_map: Option<String>,
}

/// What a header tells of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct DetailHeader {
    /// What of it.
    pub detail: CertificateDetail,
    /// The header.
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub header: String,
}

/// Something about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum CertificateDetail {
    /// Whose it is, as RFC 4514 writes names: `CN=client,O=Example`.
    Subject,
    /// Its alternative names: `DNS:a.example,URI:spiffe://example/a`.
    Names,
    /// SHA-256 of its DER form, in lower-case hexadecimal.
    Fingerprint,
    /// The certificate itself in PEM, URL-encoded.
    Certificate,
    /// The element of Envoy's `X-Forwarded-Client-Cert` with `Hash`, `Subject`, `URI` and `DNS`.
    ForwardedClientCert,
}
