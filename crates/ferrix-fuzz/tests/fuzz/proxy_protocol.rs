//! PROXY protocol headers, as the data plane reads them.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    task::{Context, Poll, Waker},
};

use ferrix_fuzz::Corpus;
use ferrix_proxy::proxy_protocol::{ProxyProtocolError, read};
use tokio::io::{AsyncRead, AsyncReadExt};

const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    " ",
    "  ",
    "\0",
    "PROXY ",
    "PROXY TCP4 10.0.0.1 10.0.0.2 1234 80\r\n",
    "PROXY TCP6 2001:db8::1 ::2 1234 80\r\n",
    "PROXY UNKNOWN\r\n",
    "TCP4",
    "TCP6",
    "UNKNOWN",
    "10.0.0.1",
    "256.0.0.1",
    "010.0.0.1",
    "::ffff:10.0.0.1",
    "::",
    "65535",
    "65536",
    "+80",
    "080",
    "\r\n\r\n\0\r\nQUIT\n",
    "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
    "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    "\x21",
    "\x11",
    "\0\x0c",
    "\x10\0",
    "\x7f\x7f",
];

#[test]
fn proxy_protocol() {
    fuzz!(Corpus::read("proxy_protocol", WORDS), property);
}

/// The longest headers of both versions.
const LONGEST_TEXT: usize = 107;
const LONGEST_BINARY: usize = 16 + 4096;

type Client = Result<Option<SocketAddr>, ProxyProtocolError>;

fn property(bytes: &[u8]) {
    let mut left = bytes;
    let client = read_now(&mut left);
    let (header, rest) = bytes.split_at(bytes.len() - left.len());
    assert!(header.len() <= LONGEST_BINARY);
    // However it arrives.
    let halves = header.split_at(header.len() / 2);
    let mut pieces = halves.0.chain(halves.1).chain(rest);
    assert_eq!(read_now(&mut pieces).ok(), client.as_ref().ok().copied());
    let Ok(client) = client else {
        return;
    };
    // Every part of it matters, and nothing behind it does.
    assert_eq!(read_now(&mut &*header).ok(), Some(client));
    for cut in 0..header.len() {
        let ended = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
        let cut = read_now(&mut &header[..cut]);
        assert!(matches!(cut, Err(ProxyProtocolError::Io(error)) if ended(&error)));
    }
    match header.strip_prefix(b"PROXY ") {
        Some(text) => {
            assert!(header.len() <= LONGEST_TEXT);
            assert_eq!(client, written(text));
        }
        None => assert_eq!(client, encoded(header)),
    }
}

/// What comes without waiting.
fn read_now(stream: &mut (impl AsyncRead + Unpin)) -> Client {
    match pin!(read(stream)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(client) => client,
        Poll::Pending => unreachable!("a slice is never waited for"),
    }
}

/// The source address of a header of version 1, by its words.
fn written(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text)
        .unwrap()
        .strip_suffix("\r\n")
        .unwrap();
    let words: Vec<_> = text.split(' ').collect();
    match words[..] {
        ["TCP4", source, _, port, _] => {
            let source = IpAddr::V4(source.parse().unwrap());
            Some((source, port.parse().unwrap()).into())
        }
        ["TCP6", source, _, port, _] => {
            let source = IpAddr::V6(source.parse().unwrap());
            Some((source, port.parse().unwrap()).into())
        }
        _ => {
            assert_eq!(words[0], "UNKNOWN");
            None
        }
    }
}

/// That of a header of version 2, by its bytes.
fn encoded(header: &[u8]) -> Option<SocketAddr> {
    let (fixed, addresses) = header.split_at(16);
    assert_eq!(fixed[12] >> 4, 2);
    let length = u16::from_be_bytes([fixed[14], fixed[15]]);
    assert_eq!(addresses.len(), usize::from(length));
    let (ip, port): (IpAddr, _) = match (fixed[12] & 15, fixed[13] >> 4) {
        (1, 1) => (<[u8; 4]>::try_from(&addresses[..4]).unwrap().into(), 8),
        (1, 2) => (<[u8; 16]>::try_from(&addresses[..16]).unwrap().into(), 32),
        _ => return None,
    };
    let port = u16::from_be_bytes([addresses[port], addresses[port + 1]]);
    Some((ip, port).into())
}
