//! TLS towards backends: whose certificates are believed.

use std::{fmt, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use crate::settings::UpstreamTls;

/// How backends are verified.
pub(crate) fn client_config(settings: &UpstreamTls) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    if !settings.verify {
        let verifier = Arc::new(AcceptAll(provider));
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities(settings)?);
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn authorities(settings: &UpstreamTls) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let Some(path) = &settings.authorities else {
        // A system without certificates is fine until a backend wants TLS.
        return Ok(rustls_native_certs::load_native_certs().certs);
    };
    let wrap = |error: &dyn fmt::Display| TrustError::Authorities {
        path: path.clone(),
        error: error.to_string(),
    };
    CertificateDer::pem_file_iter(path)
        .map_err(|error| wrap(&error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrap(&error))
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

/// The verifier for `upstream.tls.verify: false`: the connection is private, the peer unknown.
#[derive(Debug)]
struct AcceptAll(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
