//! TLS towards clients: certificates come from the table at each handshake, so that a rotation
//! touches no open connection.

use std::sync::Arc;

use ferrix_table::{Reader, table::EntryPointIndex};
use pingora_core::listeners::tls::Acceptor;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::settings::{Tls, TlsVersion};

/// Makes the acceptor of one entry point.
pub(crate) fn acceptor(
    settings: &Tls,
    entry_point: EntryPointIndex,
    table: Reader,
) -> Result<Acceptor, rustls::Error> {
    let versions: &[_] = match settings.minimum_version {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(TableCertificates { entry_point, table }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if settings.tickets {
        config.ticketer = aws_lc_rs::Ticketer::new()?;
    } else {
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Acceptor::from_server_config(Arc::new(config)))
}

#[derive(Debug)]
struct TableCertificates {
    entry_point: EntryPointIndex,
    table: Reader,
}

impl ResolvesServerCert for TableCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let table = self.table.load();
        let certificate = table.certificates.find(self.entry_point, name.as_deref())?;
        Some(Arc::clone(&certificate.key))
    }
}
