//! TLS towards clients: certificates come from the table at each handshake, so that a rotation
//! touches no open connection.

use std::sync::Arc;

use ferrix_table::{Reader, Table, certificates::Certificate, table::EntryPointIndex};
use pingora_core::listeners::tls::Acceptor;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{
    settings::{Tls, TlsVersion},
    transport,
};

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
    config.max_fragment_size = Some(transport::RECORD);
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
        let table = self.table.load();
        let certificate = presented(&table, self.entry_point, &hello)?;
        Some(Arc::clone(&certificate.key))
    }
}

/// The certificate for a client's first message.
fn presented<'t>(
    table: &'t Table,
    entry_point: EntryPointIndex,
    hello: &ClientHello<'_>,
) -> Option<&'t Arc<Certificate>> {
    let name = hello.server_name().map(canonical_name);
    table.certificates.find(entry_point, name.as_deref())
}

/// Why a handshake is refused before it begins, if it is: the TLS library has one alert for all.
pub(crate) fn refusal(
    table: &Table,
    entry_point: EntryPointIndex,
    hello: &ClientHello<'_>,
) -> Option<Refusal> {
    match presented(table, entry_point, hello) {
        Some(_) => None,
        None if hello.server_name().is_some() => Some(Refusal::UnknownName),
        None => Some(Refusal::NoName),
    }
}

/// Why there is no certificate for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no certificate for the name that the client asks for")]
    UnknownName,
    #[error("the client names no host, and there is no certificate for any host")]
    NoName,
}

impl Refusal {
    /// The record that says so (RFC 8446, sections 5.1, 6 and 9.2; RFC 6066, section 3).
    pub(crate) fn alert(self) -> [u8; 7] {
        let description = match self {
            Self::UnknownName => 112,
            Self::NoName => 109,
        };
        // An alert record of two bytes in the version that all records name: fatal, and why.
        [21, 3, 3, 0, 2, 2, description]
    }
}

/// A server name as the table has it.
pub(crate) fn canonical_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
