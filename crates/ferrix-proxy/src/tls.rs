//! TLS towards clients: certificates come from the table at each handshake, so that a rotation
//! touches no open connection.

use std::sync::{Arc, LazyLock};

use ferrix_table::{
    Reader, Table,
    certificates::{Certificate, ClientCertificates},
    entry_points::Protocol,
    table::{EntryPointIndex, SocketIndex},
};
use pingora_core::listeners::tls::Acceptor;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{
    client_certificates,
    settings::{Tls, TlsVersion},
    transport,
};

/// The acceptors of one socket.
pub(crate) struct Acceptors {
    /// Of TLS with requests in it.
    pub(crate) requests: Acceptor,
    /// The same for names of hosts whose rules want certificates of clients, where the socket itself does not:
    /// they are asked for, and judged by the rules.
    pub(crate) asking: Acceptor,
    /// Of TLS with bytes in it, whose protocol is for client and backend to agree on: none is chosen by
    /// ALPN.
    pub(crate) bytes: Acceptor,
}

impl Acceptors {
    /// For a socket that asks so of its clients.
    pub(crate) fn new(
        settings: &Tls,
        socket: SocketIndex,
        asked: Option<&ClientCertificates>,
        table: Reader,
    ) -> Result<Self, rustls::Error> {
        let bytes = config(settings, socket, asked, table.clone())?;
        let mut requests = bytes.clone();
        // With tickets of its own: whoever was not asked cannot go on as one who was.
        let mut asking = config(settings, socket, Some(&ANYBODY), table)?;
        for config in [&mut requests, &mut asking] {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        let [requests, asking, bytes] = [requests, asking, bytes].map(Arc::new);
        Ok(Self {
            requests: Acceptor::from_server_config(requests),
            asking: Acceptor::from_server_config(asking),
            bytes: Acceptor::from_server_config(bytes),
        })
    }
}

/// Clients show what they have, of whomever. That the key is theirs is verified.
static ANYBODY: LazyLock<ClientCertificates> = LazyLock::new(|| ClientCertificates {
    authorities: Box::default(),
    required: false,
});

fn config(
    settings: &Tls,
    socket: SocketIndex,
    asked: Option<&ClientCertificates>,
    table: Reader,
) -> Result<ServerConfig, rustls::Error> {
    let versions: &[_] = match settings.minimum_version {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = client_certificates::verifier(asked, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(TableCertificates { socket, table }));
    config.max_fragment_size = Some(transport::RECORD);
    if settings.tickets {
        config.ticketer = aws_lc_rs::Ticketer::new()?;
    } else {
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

#[derive(Debug)]
struct TableCertificates {
    socket: SocketIndex,
    table: Reader,
}

impl ResolvesServerCert for TableCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        let name = hello.server_name().map(canonical_name);
        let name = name.as_deref();
        let entry_point = choose(&table, self.socket, name)?;
        let certificate = presented(&table, entry_point, name)?;
        Some(Arc::clone(&certificate.key))
    }
}

fn choose(table: &Table, socket: SocketIndex, name: Option<&str>) -> Option<EntryPointIndex> {
    table.entry_points.choose(socket, name.unwrap_or_default())
}

fn presented<'t>(
    table: &'t Table,
    entry_point: EntryPointIndex,
    name: Option<&str>,
) -> Option<&'t Arc<Certificate>> {
    table.certificates.find(entry_point, name)
}

/// What becomes of a connection after the client's first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reception {
    /// TLS ends here, and there are requests in it. Clients are asked for a certificate, where rules want one.
    Requests {
        /// Whether they do.
        asking: bool,
    },
    /// TLS ends here, and there are bytes in it.
    Bytes,
    /// It passes through as it is.
    Through,
}

/// What becomes of a client that asks for a name in canonical form, or for none.
///
/// # Errors
/// Why the handshake is refused before it begins: the TLS library has one alert for all.
pub(crate) fn receive(
    table: &Table,
    socket: SocketIndex,
    name: Option<&str>,
) -> Result<Reception, Refusal> {
    let refusal = match name {
        Some(_) => Refusal::UnknownName,
        None => Refusal::NoName,
    };
    let index = choose(table, socket, name).ok_or(refusal)?;
    let entry_point = table.entry_points.get(index).ok_or(refusal)?;
    let reception = match entry_point.protocol {
        Protocol::Https => Reception::Requests {
            asking: table.rules.ask_for_certificates(index, name),
        },
        Protocol::TlsTerminate => Reception::Bytes,
        Protocol::TlsPassthrough => return Ok(Reception::Through),
        // No socket has them beside those with TLS.
        Protocol::Http | Protocol::Tcp | Protocol::Udp => return Err(refusal),
    };
    presented(table, index, name).ok_or(refusal)?;
    Ok(reception)
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
