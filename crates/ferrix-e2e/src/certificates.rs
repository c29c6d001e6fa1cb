//! Certificates of an authority that only the test trusts.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    sync::Arc,
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    CertifiedIssuer, DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
};
use tempfile::NamedTempFile;

/// An authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Certified {
    /// What tells it from others.
    pub id: String,
    /// In DER.
    pub der: CertificateDer<'static>,
    /// In PEM, for Secrets.
    pub certificate_pem: String,
    /// In PEM, for Secrets.
    pub key_pem: String,
    key: Vec<u8>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "Authority of a test");
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        Self { issuer }
    }

    /// A certificate for these names.
    pub fn certify(&self, id: &str, names: &[&str]) -> Certified {
        let key = KeyPair::generate().unwrap();
        let certificate = params(id, names).signed_by(&key, &self.issuer).unwrap();
        Certified::new(id, &certificate, &key)
    }

    /// A list in PEM that revokes a certificate of this authority, and is in force until 2100.
    pub fn revoke(&self, certified: &Certified) -> String {
        let revoked = RevokedCertParams {
            serial_number: serial(&certified.id),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// A client that trusts this authority alone, and offers these protocols by ALPN.
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        self.client_of(alpn, rustls::DEFAULT_VERSIONS)
    }

    /// A client that trusts this authority alone, and presents a certificate.
    pub fn client_with(&self, certified: &Certified) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certified.der.clone()], certified.private_key())
            .unwrap()
    }

    /// Its own certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.as_ref().der().clone()
    }

    /// The same in PEM.
    pub fn certificate_pem(&self) -> String {
        self.issuer.as_ref().pem()
    }

    /// The same with these versions of TLS.
    pub fn client_of(
        &self,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// Its certificate as a file, for settings.
    pub fn file(&self) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(self.certificate_pem().as_bytes()).unwrap();
        file
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// Of a certificate for these names.
fn params(id: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, id);
    params.serial_number = Some(serial(id));
    params
}

/// What an authority knows a certificate by.
fn serial(id: &str) -> SerialNumber {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    SerialNumber::from(hasher.finish())
}

impl Certified {
    fn new(id: &str, certificate: &Certificate, key: &KeyPair) -> Self {
        Self {
            id: id.into(),
            der: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: key.serialize_der(),
        }
    }

    /// A certificate for these names that is signed by its own key, with what the test changes.
    pub fn self_signed(
        id: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let mut params = params(id, names);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Self::new(id, &params.self_signed(&key).unwrap(), &key)
    }

    /// A certificate for these names that is signed by the key of this one.
    pub fn certify(&self, id: &str, names: &[&str]) -> Self {
        let key = KeyPair::try_from(&*self.key).unwrap();
        let issuer = Issuer::new(params(&self.id, &[]), key);
        let key = KeyPair::generate().unwrap();
        let certificate = params(id, names).signed_by(&key, &issuer).unwrap();
        Self::new(id, &certificate, &key)
    }

    /// As a file, for settings.
    pub fn file(&self) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(self.certificate_pem.as_bytes()).unwrap();
        file
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// As tables hold it.
    pub fn for_table(&self) -> Arc<ferrix_table::certificates::Certificate> {
        let key = aws_lc_rs::sign::any_supported_type(&self.private_key()).unwrap();
        Arc::new(ferrix_table::certificates::Certificate {
            id: self.id.as_str().into(),
            key: Arc::new(CertifiedKey::new(vec![self.der.clone()], key)),
            not_after: 4_102_444_800,
        })
    }

    /// A server that presents it, for backends.
    pub fn server(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        self.server_for(alpn, None)
    }

    /// The same, for clients with a certificate of this authority alone.
    pub fn server_for(&self, alpn: &[&str], clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = vec![self.der.clone()];
        let mut config = builder.with_single_cert(chain, self.private_key()).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}
