//! PROXY protocol, versions 1 and 2: a load balancer in front names the real client.
//!
//! The header is read to the byte, so that TLS or HTTP begins where it ends. The format is that
//! of HAProxy's `proxy-protocol.txt`; parsing is the `ppp` crate's.

use std::{io, net::SocketAddr};

use tokio::io::AsyncReadExt;

use crate::{address::Address, transport::L4};

/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest version 1 header.
const MAX_LINE: usize = 107;

/// The longest version 2 header that is read: addresses and a few kilobytes of extensions.
const MAX_BINARY: usize = 4096;

/// Why there is no client address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyProtocolError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("neither version 1 nor version 2")]
    Unknown,
    #[error("longer than {MAX_BINARY} bytes")]
    TooLong,
    #[error("version 1: {0}")]
    Text(#[from] ppp::v1::BinaryParseError),
    #[error("version 2: {0}")]
    Binary(#[from] ppp::v2::ParseError),
}

/// The client's address; `None` where the load balancer speaks for itself (health checks) or
/// knows no address.
pub(crate) async fn read(stream: &mut L4) -> Result<Option<Address>, ProxyProtocolError> {
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
    stream: &mut L4,
    header: Vec<u8>,
) -> Result<Option<Address>, ProxyProtocolError> {
    let mut header = header;
    while !header.ends_with(b"\r\n") {
        if header.len() == MAX_LINE {
            return Err(ProxyProtocolError::TooLong);
        }
        header.push(stream.read_u8().await?);
    }
    use ppp::v1::Addresses;
    Ok(match ppp::v1::Header::try_from(&header[..])?.addresses {
        Addresses::Tcp4(tcp) => Some(address((tcp.source_address, tcp.source_port))),
        Addresses::Tcp6(tcp) => Some(address((tcp.source_address, tcp.source_port))),
        Addresses::Unknown => None,
    })
}

async fn read_binary(
    stream: &mut L4,
    header: Vec<u8>,
) -> Result<Option<Address>, ProxyProtocolError> {
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
        Addresses::IPv4(ip) => Some(address((ip.source_address, ip.source_port))),
        Addresses::IPv6(ip) => Some(address((ip.source_address, ip.source_port))),
        Addresses::Unspecified | Addresses::Unix(_) => None,
    })
}

fn address(address: impl Into<SocketAddr>) -> Address {
    Address::from(address.into())
}
