//! The client's side of TLS: 1.3, one key exchange and one cipher for all proxies, so that none
//! gains or loses by what it would have chosen itself.

use std::{fs, io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::arguments::Arguments;

/// Connects and makes the handshake, as often as one likes.
pub struct Client {
    connector: TlsConnector,
    name: ServerName<'static>,
    address: (&'static str, u16),
}

impl Client {
    /// For `--port`, `--host`, `--certificate`; speaks `protocol` (ALPN), and resumes sessions of
    /// its own if told so.
    pub fn new(arguments: &Arguments, protocol: &str, resume: bool) -> io::Result<Self> {
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let pem = fs::read(arguments.text("certificate"))?;
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(&pem).map_err(io::Error::other)?)
            .map_err(io::Error::other)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        config.resumption = match resume {
            true => Resumption::in_memory_sessions(4),
            false => Resumption::disabled(),
        };
        let host = arguments.text("host").to_string();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name: host.try_into().map_err(io::Error::other)?,
            address: arguments.address(),
        })
    }

    /// A new connection.
    pub async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        self.connector.connect(self.name.clone(), stream).await
    }
}
