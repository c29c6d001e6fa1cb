//! PROXY protocol, versions 1 and 2: a load balancer in front names the real client, and endpoints are told it
//! where a BackendPolicy asks for that.
//!
//! The header is read to the byte, so that TLS or HTTP begins where it ends. The format is that
//! of HAProxy's `proxy-protocol.txt`; parsing and formatting are the `ppp` crate's.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ferrix_table::{
    Table, backend_policy::BackendPolicy, connection::ProxyProtocol, table::SocketIndex,
};
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::address::Address;

/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest version 1 header.
const MAX_LINE: usize = 107;

/// The longest version 2 header that is read: addresses and a few kilobytes of extensions.
const MAX_BINARY: usize = 4096;

/// Why there is no client address.
#[derive(Debug, thiserror::Error)]
pub enum ProxyProtocolError {
    /// The connection's, or it ended first.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The connection begins with something else.
    #[error("neither version 1 nor version 2")]
    Unknown,
    /// Longer than any header that says what is needed.
    #[error("longer than {MAX_BINARY} bytes")]
    TooLong,
    /// Malformed.
    #[error("version 1: {0}")]
    Text(#[from] v1::BinaryParseError),
    /// Malformed.
    #[error("version 2: {0}")]
    Binary(#[from] v2::ParseError),
}

/// Reads a header and no byte more. The result is the client's address; `None` where the load balancer
/// speaks for itself (health checks) or knows no address.
///
/// # Errors
/// [`ProxyProtocolError`]
pub async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, ProxyProtocolError> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header.starts_with(b"PROXY ") {
        return read_text(stream, header).await;
    }
    if header != SIGNATURE {
        return Err(ProxyProtocolError::Unknown);
    }
    read_binary(stream, header).await
}

async fn read_text(
    stream: &mut (impl AsyncRead + Unpin),
    header: Vec<u8>,
) -> Result<Option<SocketAddr>, ProxyProtocolError> {
    let mut header = header;
    while !header.ends_with(b"\r\n") {
        if header.len() == MAX_LINE {
            return Err(ProxyProtocolError::TooLong);
        }
        header.push(stream.read_u8().await?);
    }
    use v1::Addresses;
    Ok(match v1::Header::try_from(&header[..])?.addresses {
        Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        Addresses::Unknown => None,
    })
}

async fn read_binary(
    stream: &mut (impl AsyncRead + Unpin),
    header: Vec<u8>,
) -> Result<Option<SocketAddr>, ProxyProtocolError> {
    let mut header = header;
    header.resize(16, 0);
    stream.read_exact(&mut header[12..]).await?;
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if length > MAX_BINARY {
        return Err(ProxyProtocolError::TooLong);
    }
    header.resize(16 + length, 0);
    stream.read_exact(&mut header[16..]).await?;
    use v2::{Addresses, Command, Header};
    let header = Header::try_from(&header[..])?;
    if header.command == Command::Local {
        return Ok(None);
    }
    Ok(match header.addresses {
        Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
        Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
        Addresses::Unspecified | Addresses::Unix(_) => None,
    })
}

/// What an endpoint is told of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Introduction {
    version: ProxyProtocol,
    /// The client, and where it came in. `None`: Ferrix speaks for itself.
    ends: Option<(SocketAddr, SocketAddr)>,
}

impl Introduction {
    /// For a client that came in by a socket of this port. `None`: the policy does not ask for it.
    pub(crate) fn of(
        policy: &BackendPolicy,
        client: Address,
        table: &Table,
        socket: SocketIndex,
        port: u16,
    ) -> Option<Arc<Self>> {
        let version = policy.connection.proxy_protocol?;
        let mut sockets = table.entry_points.sockets();
        let found = sockets.find(|(index, _)| *index == socket);
        let ip = found.map_or(Ipv4Addr::UNSPECIFIED.into(), |(_, it)| {
            it.place.address.ip()
        });
        let ends = Some((client.into(), SocketAddr::new(ip, port)));
        Some(Arc::new(Self { version, ends }))
    }

    /// For a request of the proxy's own.
    pub(crate) fn of_nobody(policy: &BackendPolicy) -> Option<Arc<Self>> {
        let version = policy.connection.proxy_protocol?;
        let ends = None;
        Some(Arc::new(Self { version, ends }))
    }

    /// The header.
    ///
    /// # Errors
    /// None: what is longer than a header may be is never in one.
    pub(crate) fn header(&self) -> io::Result<Vec<u8>> {
        match self.version {
            ProxyProtocol::V1 => Ok(self.text().to_string().into_bytes()),
            ProxyProtocol::V2 => self.binary(),
        }
    }

    fn text(&self) -> v1::Addresses {
        let Some((client, local)) = self.ends else {
            return v1::Addresses::Unknown;
        };
        let ports = (client.port(), local.port());
        match one_family(client.ip(), local.ip()) {
            OneFamily::V4(client, local) => {
                v1::Addresses::new_tcp4(client, local, ports.0, ports.1)
            }
            OneFamily::V6(client, local) => {
                v1::Addresses::new_tcp6(client, local, ports.0, ports.1)
            }
        }
    }

    fn binary(&self) -> io::Result<Vec<u8>> {
        let version = |command| v2::Version::Two | command;
        let Some((client, local)) = self.ends else {
            let none = v2::Addresses::Unspecified;
            let local = version(v2::Command::Local);
            return v2::Builder::with_addresses(local, v2::Protocol::Unspecified, none).build();
        };
        let ports = (client.port(), local.port());
        let addresses = match one_family(client.ip(), local.ip()) {
            OneFamily::V4(client, local) => {
                v2::Addresses::from(v2::IPv4::new(client, local, ports.0, ports.1))
            }
            OneFamily::V6(client, local) => {
                v2::Addresses::from(v2::IPv6::new(client, local, ports.0, ports.1))
            }
        };
        let proxy = version(v2::Command::Proxy);
        v2::Builder::with_addresses(proxy, v2::Protocol::Stream, addresses).build()
    }
}

/// Two addresses that a header can name together.
enum OneFamily {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// The client decides; where the other is of another family it is given in that (RFC 4291, section 2.5.5.2).
fn one_family(client: IpAddr, local: IpAddr) -> OneFamily {
    match (client, local) {
        (IpAddr::V4(client), IpAddr::V4(local)) => OneFamily::V4(client, local),
        // A socket for both listens everywhere.
        (IpAddr::V4(client), IpAddr::V6(local)) => OneFamily::V4(
            client,
            local.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
        ),
        (IpAddr::V6(client), IpAddr::V6(local)) => OneFamily::V6(client, local),
        (IpAddr::V6(client), IpAddr::V4(local)) => OneFamily::V6(client, local.to_ipv6_mapped()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader makes of a header.
    async fn read_back(introduction: Introduction) -> (Option<SocketAddr>, Vec<u8>) {
        let header = introduction.header().unwrap();
        let mut unread = [&header[..], b"GET"].concat();
        let mut stream = &unread[..];
        let client = read(&mut stream).await.unwrap();
        assert_eq!(stream, b"GET", "a header ends where it ends");
        unread.truncate(header.len());
        (client, unread)
    }

    #[tokio::test]
    async fn what_is_told_is_what_is_read() {
        let ends = |client: &str, local: &str| (client.parse().unwrap(), local.parse().unwrap());
        let cases = [
            Some(ends("192.0.2.1:1234", "10.0.0.1:443")),
            Some(ends("192.0.2.1:1234", "[::]:443")),
            Some(ends("[2001:db8::1]:1234", "[2001:db8::2]:443")),
            Some(ends("[2001:db8::1]:0", "10.0.0.1:443")),
            None,
        ];
        let mut ran = 0;
        for ends in cases {
            for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
                let (client, _) = read_back(Introduction { version, ends }).await;
                assert_eq!(client, ends.map(|(client, _)| client), "{version:?}");
                ran += 1;
            }
        }
        assert_eq!(ran, 10);
    }

    #[tokio::test]
    async fn headers_to_the_byte() {
        let ends = Some((
            "192.0.2.1:258".parse().unwrap(),
            "10.0.0.1:443".parse().unwrap(),
        ));
        let of = |version, ends| read_back(Introduction { version, ends });
        let (_, text) = of(ProxyProtocol::V1, ends).await;
        assert_eq!(text, b"PROXY TCP4 192.0.2.1 10.0.0.1 258 443\r\n");
        let (_, text) = of(ProxyProtocol::V1, None).await;
        assert_eq!(text, b"PROXY UNKNOWN\r\n");
        let (_, binary) = of(ProxyProtocol::V2, ends).await;
        let rest = [0x21, 0x11, 0, 12, 192, 0, 2, 1, 10, 0, 0, 1, 1, 2, 1, 187];
        assert_eq!(binary, [SIGNATURE, &rest[..]].concat());
        let (_, binary) = of(ProxyProtocol::V2, None).await;
        assert_eq!(binary, [SIGNATURE, &[0x20, 0, 0, 0][..]].concat());
    }
}
