//! PROXY protocol, versions 1 and 2: a load balancer in front names the real client.
//!
//! The header is read to the byte, so that TLS or HTTP begins where it ends. The format is that
//! of HAProxy's `proxy-protocol.txt`; parsing is the `ppp` crate's.

use std::{io, net::SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

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
    Text(#[from] ppp::v1::BinaryParseError),
    /// Malformed.
    #[error("version 2: {0}")]
    Binary(#[from] ppp::v2::ParseError),
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
    use ppp::v1::Addresses;
    Ok(match ppp::v1::Header::try_from(&header[..])?.addresses {
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
    use ppp::v2::{Addresses, Command, Header};
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
