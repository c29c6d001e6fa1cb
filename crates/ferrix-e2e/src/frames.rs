//! HTTP/2 frames written by hand, for what no well-behaved client sends.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{wire::Reader, within};

/// Frame types (RFC 9113, section 6).
pub mod kind {
    #![expect(missing_docs, reason = "the names are those of the RFC")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// The flag that ends a stream, and that acknowledges settings and pings.
pub const END_STREAM: u8 = 1;

/// The flag that ends a header section.
pub const END_HEADERS: u8 = 4;

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Bytes,
}

impl Frame {
    /// The error code of a `GOAWAY` or `RST_STREAM`.
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::GOAWAY => 4,
            kind::RST_STREAM => 0,
            _ => return None,
        };
        Some(u32::from_be_bytes(
            self.payload.get(at..at + 4)?.try_into().ok()?,
        ))
    }
}

/// A connection of frames.
pub struct Frames {
    reader: Reader,
    writer: OwnedWriteHalf,
}

impl Frames {
    /// Connects, and sends the preface with these settings.
    pub async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = within("a connection", TcpStream::connect(address))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        let (reader, writer): (OwnedReadHalf, _) = stream.into_split();
        let mut frames = Self {
            reader: Reader::new(reader),
            writer,
        };
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend_from_slice(&frame(kind::SETTINGS, 0, 0, &payload));
        frames.send(&bytes).await;
        frames
    }

    /// Sends bytes. Returns whether the gateway takes them.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        within("the gateway to read", self.writer.write_all(bytes))
            .await
            .is_ok()
    }

    /// Sends the same bytes up to so many times, and reads what comes meanwhile, until the gateway
    /// says goodbye or takes no more. Returns how often they were sent, and the `GOAWAY`.
    pub async fn flood(&mut self, bytes: &[u8], times: usize) -> (usize, Option<Frame>) {
        let Self { reader, writer } = self;
        let mut sent = 0;
        let sending = async {
            while sent < times && writer.write_all(bytes).await.is_ok() {
                sent += 1;
            }
            std::future::pending().await
        };
        let goodbye = async {
            loop {
                match next(reader).await {
                    Some(frame) if frame.kind != kind::GOAWAY => {}
                    end => return end,
                }
            }
        };
        let goodbye = tokio::select! {
            goodbye = goodbye => goodbye,
            never = sending => never,
        };
        (sent, goodbye)
    }

    /// The next frame. `None`: the connection has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        next(&mut self.reader).await
    }

    /// The next frame of this type. `None`: the connection has ended before one.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }
}

async fn next(reader: &mut Reader) -> Option<Frame> {
    let head = within("a frame", reader.exactly(9)).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let length = usize::try_from(length).ok()?;
    let payload = within("a frame", reader.exactly(length)).await.ok()?;
    Some(Frame {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
        payload,
    })
}

/// A frame in bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.push(kind);
    bytes.push(flags);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literals that are not indexed (RFC 7541, section 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits.
fn length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest > 127 {
        block.push(u8::try_from(rest & 127).unwrap() | 128);
        rest >>= 7;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The header block of a GET of `/` of `example.com`.
pub fn get_block() -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "example.com"),
        (":path", "/"),
    ])
}

/// A GET of `/` of `example.com`, whole.
pub fn get(stream: u32) -> Vec<u8> {
    frame(
        kind::HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        &get_block(),
    )
}
