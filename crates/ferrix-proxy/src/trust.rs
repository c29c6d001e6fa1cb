//! TLS towards backends: whose certificates are believed.

use std::{collections::HashMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use ferrix_table::verification::{Authorities, ClientCertificate, SubjectName, Verification};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::SingleCertAndKey,
};
use x509_cert::{
    Version,
    certificate::{CertificateInner, Raw},
    der::{
        Decode,
        oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_SERVER_AUTH},
    },
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, name::GeneralName},
    time::Time,
};

use crate::settings::UpstreamTls;

/// How backends are verified.
pub(crate) fn client_config(settings: &UpstreamTls) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let believed = match (settings.verify, &settings.authorities) {
        (false, _) => Believed::Anyone,
        (true, Some(path)) => Believed::Listed(Listed::new(listed(path)?, &provider)),
        (true, None) => {
            // A system without certificates is fine until a backend wants TLS.
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(builder.with_root_certificates(roots).with_no_client_auth());
        }
    };
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { believed, provider }))
        .with_no_client_auth())
}

/// How servers are verified that are no backends: by the authorities of the system and those of the settings,
/// also where the settings believe any backend.
pub(crate) fn of_outside(settings: &UpstreamTls) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &settings.authorities {
        roots.add_parsable_certificates(listed(path)?);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// How the backends of one service are verified, and what they are presented, where an object says so.
pub(crate) fn verified(
    verification: &Verification,
    of_settings: &ClientConfig,
) -> Result<ClientConfig, TrustError> {
    let mut config = match &verification.authorities {
        Authorities::Anyone => believing(Believed::Anyone)?,
        Authorities::OfSettings => of_settings.clone(),
        Authorities::OfSystem => {
            named(verification, rustls_native_certs::load_native_certs().certs)?
        }
        Authorities::These(all) => named(
            verification,
            all.iter().map(|it| CertificateDer::from(it.to_vec())),
        )?,
    };
    if let Some(ClientCertificate(client)) = &verification.client {
        let client = SingleCertAndKey::from(Arc::clone(&client.key));
        config.client_auth_cert_resolver = Arc::new(client);
        // A session that one certificate has begun is for no other.
        config.resumption = Resumption::default();
    }
    Ok(config)
}

/// Certificates of these authorities, with the names that an object says.
fn named<'c>(
    verification: &Verification,
    authorities: impl IntoIterator<Item = CertificateDer<'c>>,
) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    believing(Believed::As(Named {
        roots,
        names: verification.names.clone(),
    }))
}

fn believing(believed: Believed) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { believed, provider }))
        .with_no_client_auth())
}

/// The certificates of a PEM file.
fn listed(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let wrap = |error: &dyn fmt::Display| TrustError::Authorities {
        path: path.clone(),
        error: error.to_string(),
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrap(&error))?
        .collect::<Result<_, _>>()
        .map_err(|error| wrap(&error))?;
    match certificates.is_empty() {
        true => Err(wrap(&"it has no certificate in it")),
        false => Ok(certificates),
    }
}

/// Why the authorities for backends cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file is missing or no PEM.
    #[error("upstream.tls.authorities: {}: {error}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
    /// The TLS library refuses its own defaults.
    #[error("TLS: {0}")]
    Tls(#[from] Error),
}

/// Verifies backends where the settings say how. Signatures of handshakes are checked in any case.
#[derive(Debug)]
struct Verifier {
    believed: Believed,
    provider: Arc<CryptoProvider>,
}

/// Whose certificates are believed.
#[derive(Debug)]
enum Believed {
    /// With `upstream.tls.authorities`.
    Listed(Listed),
    /// With `upstream.tls.verify: false`, or as an object says: the connection is private, the peer unknown.
    Anyone,
    /// As an object says.
    As(Named),
}

/// What an object says of the certificates of a service.
#[derive(Debug)]
struct Named {
    roots: RootCertStore,
    /// Names of which a certificate has to have one. None: the name that was asked for.
    names: Box<[SubjectName]>,
}

impl Named {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
        provider: &CryptoProvider,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        match self.names.is_empty() {
            true => verify_server_name(&parsed, server_name)?,
            false if self.has_any(end_entity, &parsed) => {}
            false => return Err(CertificateError::NotValidForName.into()),
        }
        Ok(ServerCertVerified::assertion())
    }

    fn has_any(&self, certificate: &CertificateDer<'_>, parsed: &ParsedCertificate<'_>) -> bool {
        let alternatives = alternatives(certificate);
        self.names.iter().any(|name| match name {
            SubjectName::Uri(uri) => alternatives.iter().any(|it| match it {
                GeneralName::UniformResourceIdentifier(other) => other.as_str() == &**uri,
                _ => false,
            }),
            SubjectName::Dns(name) => match ServerName::try_from(&**name) {
                Ok(name) => verify_server_name(parsed, &name).is_ok(),
                // A wildcard, which the certificate has as such.
                Err(_) => alternatives.iter().any(|it| match it {
                    GeneralName::DnsName(other) => other.as_str().eq_ignore_ascii_case(name),
                    _ => false,
                }),
            },
        })
    }
}

/// The names of a certificate.
fn alternatives(certificate: &CertificateDer<'_>) -> Vec<GeneralName> {
    let parsed = CertificateInner::<Raw>::from_der(certificate).ok();
    let found = parsed.and_then(|it| {
        let found = it.tbs_certificate().get_extension::<SubjectAltName>();
        found.ok().flatten()
    });
    found.map_or_else(Vec::new, |(_, SubjectAltName(names))| names)
}

/// The certificates of `upstream.tls.authorities`: believes what a listed authority has signed, and each
/// listed certificate itself, which may be a backend's own. It signs for no other then, unless it is
/// an authority's too.
///
/// rustls alone knows authorities only: it refuses one that is presented as a server's certificate,
/// and lets one that is no authority's sign for others.
#[derive(Debug)]
struct Listed {
    /// `None`: no listed certificate is an authority's.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    /// Those that may be a server's, in DER.
    servers: HashMap<CertificateDer<'static>, Validity>,
}

/// When a certificate is valid, in seconds since 1970, both ends included.
#[derive(Clone, Copy, Debug)]
struct Validity {
    not_before: u64,
    not_after: u64,
}

impl Listed {
    fn new(certificates: Vec<CertificateDer<'static>>, provider: &Arc<CryptoProvider>) -> Self {
        let mut roots = RootCertStore::empty();
        let mut servers = HashMap::new();
        for certificate in certificates {
            let parsed = CertificateInner::<Raw>::from_der(&certificate).ok();
            if parsed.as_ref().is_none_or(is_authority) {
                roots.add_parsable_certificates([certificate.clone()]);
            }
            if let Some(parsed) = parsed.filter(may_serve) {
                servers.insert(certificate, Validity::of(&parsed));
            }
        }
        let authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        Self {
            // It fails without authorities only.
            authorities: authorities.build().ok(),
            servers,
        }
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(validity) = self.servers.get(end_entity) {
            validity.check(now)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let authorities = self.authorities.as_ref();
        let authorities = authorities.ok_or(CertificateError::UnknownIssuer)?;
        authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }
}

/// Whether it may sign for others (RFC 5280, sections 4.2.1.3 and 4.2.1.9). Before version 3 there was
/// no way to say so.
fn is_authority(certificate: &CertificateInner<Raw>) -> bool {
    let certificate = certificate.tbs_certificate();
    if certificate.version() != Version::V3 {
        return true;
    }
    match certificate.get_extension::<BasicConstraints>() {
        Ok(Some((_, constraints))) => constraints.ca,
        _ => matches!(
            certificate.get_extension::<KeyUsage>(),
            Ok(Some((_, usage))) if usage.key_cert_sign()
        ),
    }
}

/// Whether it may be a server's (RFC 5280, sections 4.2.1.3 and 4.2.1.12).
fn may_serve(certificate: &CertificateInner<Raw>) -> bool {
    let certificate = certificate.tbs_certificate();
    let key = match certificate.get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) => {
            usage.digital_signature() || usage.key_encipherment() || usage.key_agreement()
        }
        usage => usage.is_ok(),
    };
    let purpose = match certificate.get_extension::<ExtendedKeyUsage>() {
        Ok(Some((_, ExtendedKeyUsage(usages)))) => {
            (usages.iter()).any(|usage| [ID_KP_SERVER_AUTH, ANY_EXTENDED_KEY_USAGE].contains(usage))
        }
        usages => usages.is_ok(),
    };
    key && purpose
}

impl Validity {
    fn of(certificate: &CertificateInner<Raw>) -> Self {
        let validity = certificate.tbs_certificate().validity();
        let seconds = |time: &Time| time.to_unix_duration().as_secs();
        Self {
            not_before: seconds(&validity.not_before),
            not_after: seconds(&validity.not_after),
        }
    }

    fn check(self, time: UnixTime) -> Result<(), CertificateError> {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        if time.as_secs() < self.not_before {
            let not_before = at(self.not_before);
            return Err(CertificateError::NotValidYetContext { time, not_before });
        }
        if time.as_secs() > self.not_after {
            let not_after = at(self.not_after);
            return Err(CertificateError::ExpiredContext { time, not_after });
        }
        Ok(())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.believed {
            Believed::Listed(listed) => {
                listed.verify(end_entity, intermediates, server_name, ocsp_response, now)
            }
            Believed::Anyone => Ok(ServerCertVerified::assertion()),
            Believed::As(named) => {
                named.verify(end_entity, intermediates, server_name, now, &self.provider)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
