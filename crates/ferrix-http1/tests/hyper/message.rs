//! What a message says, in a form that does not depend on who read it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use ferrix_http1::{BodyError, Decoder, Piece};
use http::HeaderMap;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// Names in lower case with values (escaped), lines of one name together.
pub(crate) type Lines = Vec<(String, String)>;

pub(crate) fn lines(map: &HeaderMap) -> Lines {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (
            name.to_string(),
            value.as_bytes().escape_ascii().to_string(),
        )
    };
    map.iter().map(line).collect()
}

/// The length is said once, or by the coding.
pub(crate) fn framed_once(map: &mut HeaderMap) {
    if map.contains_key("transfer-encoding") {
        map.remove("content-length");
    } else if let Some(length) = map.get("content-length").cloned() {
        map.insert("content-length", length);
    }
}

/// A body (escaped) and its trailers.
pub(crate) type Body = (String, Lines);

/// Takes a body out of what was read. `None`: it is cut short.
pub(crate) fn decode(decoder: Decoder, read: &mut BytesMut) -> Result<Option<Body>, BodyError> {
    let mut decoder = decoder;
    let mut data = Vec::new();
    loop {
        match decoder.decode(read)? {
            Some(Piece::Data(piece)) => data.extend_from_slice(&piece),
            Some(Piece::End(trailers)) => {
                let trailers = trailers.as_ref().map(lines).unwrap_or_default();
                return Ok(Some((data.escape_ascii().to_string(), trailers)));
            }
            None if decoder.end().is_err() => return Ok(None),
            None => return Ok(Some((data.escape_ascii().to_string(), Lines::new()))),
        }
    }
}

/// One end of a pipe, as hyper wants it.
pub(crate) struct Pipe(pub(crate) DuplexStream);

impl Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut room = [0; 4096];
        let size = room.len().min(cursor.remaining());
        let mut read = ReadBuf::new(&mut room[..size]);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut read))?;
        cursor.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
