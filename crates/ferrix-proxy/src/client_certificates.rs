//! What a socket asks of the certificates of its clients (mutual TLS), and what they have shown.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ferrix_table::{
    certificates::ClientCertificates, filters::client_certificate::ClientAuthorities,
};
use parking_lot::Mutex;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoClientAuth, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::transport::Tls;

/// What decides about the certificates of clients. Nothing asked: none is.
///
/// # Errors
/// What the TLS library has against authorities that it could read. One that it cannot read is trusted
/// with nothing.
pub(crate) fn verifier(
    asked: Option<&ClientCertificates>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let Some(asked) = asked else {
        return Ok(Arc::new(NoClientAuth));
    };
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(asked.authorities.iter().cloned());
    let trust = match authorities.is_empty() {
        true => None,
        false => {
            let builder = WebPkiClientVerifier::builder_with_provider(
                Arc::new(authorities),
                Arc::clone(provider),
            );
            Some(
                builder
                    .build()
                    .map_err(|error| Error::General(error.to_string()))?,
            )
        }
    };
    Ok(Arc::new(Verifier {
        trust,
        provider: Arc::clone(provider),
        required: asked.required,
    }))
}

/// So long a certificate is believed that was judged: it may end meanwhile.
const BELIEVED: Duration = Duration::from_secs(60);

/// What a client has shown that was asked for a certificate.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The certificate, and those between it and an authority. None: it has none.
    chain: Box<[CertificateDer<'static>]>,
    /// By whom it was judged valid last, and when.
    judged: Mutex<Option<(Arc<ClientAuthorities>, Instant)>>,
}

impl Shown {
    pub(crate) fn new(stream: &Tls) -> Self {
        Self {
            chain: stream.client_certificates().into(),
            judged: Mutex::default(),
        }
    }

    /// The certificate.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.chain.first()
    }

    /// Whether some authorities have certified the client, and none has revoked it. What is valid is not judged
    /// anew with each request.
    pub(crate) fn is_valid(&self, authorities: &Arc<ClientAuthorities>) -> bool {
        let Some((certificate, between)) = self.chain.split_first() else {
            return false;
        };
        let mut judged = self.judged.lock();
        if let Some((by, at)) = &*judged
            && Arc::ptr_eq(by, authorities)
            && at.elapsed() < BELIEVED
        {
            return true;
        }
        let verifier = &authorities.verifier;
        let verified = verifier.verify_client_cert(certificate, between, UnixTime::now());
        let is_valid = verified.is_ok();
        *judged = is_valid.then(|| (Arc::clone(authorities), Instant::now()));
        is_valid
    }
}

/// The TLS library's verifier, or one that trusts nobody; and whether a client that it refuses is served
/// all the same.
#[derive(Debug)]
struct Verifier {
    trust: Option<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
    required: bool,
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        (self.trust.as_ref()).map_or(&[], |trust| trust.root_hint_subjects())
    }

    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = match &self.trust {
            Some(trust) => trust.verify_client_cert(certificate, between, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match self.required {
            true => verified,
            false => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
