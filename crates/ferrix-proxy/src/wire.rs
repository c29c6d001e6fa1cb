//! An HTTP/1 connection while it carries an exchange: bodies decoded on their way in and framed on
//! their way out.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use ferrix_http1::{BodyError, Decoder, Framing, Piece};
use http::HeaderMap;

use crate::{io::Io, pool::Terms, read_buffer::LARGEST};

/// The least and the most that is read at once; so much only where the other side is known to take
/// it.
const READ: (usize, usize) = (4 * 1024, LARGEST);

/// What is read first of a response, with its header section.
const FIRST: usize = 16 * 1024;

/// How fast that grows: a body of 1 MiB should not end before it has.
const GROWTH: usize = 32;

/// A connection with a message on its way in and another on its way out.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) io: Io,
    decoder: Decoder,
    /// How what is sent is framed; what is left of a length.
    encoder: Framing,
    read_size: usize,
    /// How long a connection to a backend is kept, where a policy says so.
    pub(crate) terms: Option<Box<Terms>>,
}

/// A message that cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Body(#[from] BodyError),
    #[error("the body is longer than announced")]
    Excess,
    #[error("the body is shorter than announced")]
    Short,
}

impl Wire {
    /// Nothing is read or sent yet.
    pub(crate) fn new(io: Io) -> Self {
        Self {
            io,
            decoder: Decoder::new(Framing::Empty),
            encoder: Framing::Empty,
            read_size: FIRST,
            terms: None,
        }
    }

    /// Gives memory back before the connection idles.
    pub(crate) fn shrink(&mut self) {
        self.io.shrink();
        self.read_size = FIRST;
    }

    /// A request with this body comes in from here.
    pub(crate) fn expect_request(&mut self, body: Framing) {
        self.decoder = Decoder::strict(body);
    }

    /// A response with this body comes in from here.
    pub(crate) fn expect_response(&mut self, body: Framing) {
        self.decoder = Decoder::new(body);
    }

    /// A message with this body goes out from here.
    pub(crate) fn begin(&mut self, body: Framing) {
        self.encoder = body;
    }

    /// Whether the message that comes in is complete.
    pub(crate) fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// Whether the message that goes out ends where the connection does.
    pub(crate) fn ends_with_connection(&self) -> bool {
        self.encoder == Framing::UntilClose
    }

    /// How much a read should ask for: what came last time tells, and what is still to come.
    pub(crate) fn read_size(&self) -> usize {
        self.read_size.min(self.rest())
    }

    /// The next piece of the message that comes in. What is read for it is no more than there is
    /// `room` for.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<Result<Piece, WireError>> {
        loop {
            if let Some(piece) = self.decoder.decode(&mut self.io.read)? {
                return Poll::Ready(Ok(piece));
            }
            if ready!(self.poll_read(cx, room))? == 0 {
                self.decoder.end()?;
            }
        }
    }

    /// Reads more, but no more than there is `room` for.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        let (size, _) = self.io.at_once(self.read_size().min(room));
        let (_, full) = self.io.at_once(self.read_size);
        let read = ready!(self.io.poll_read(cx, size))?;
        if read >= full {
            self.read_size = READ.1.min(self.read_size * GROWTH);
        } else if read < size / 4 {
            self.read_size = READ.0.max(self.read_size / 2);
        }
        Poll::Ready(Ok(read))
    }

    /// A little more than is still to come, where that is known: a read that is not filled shows that
    /// there is nothing more, and saves another that would tell so.
    fn rest(&self) -> usize {
        let left = self.decoder.remaining().unwrap_or(u64::MAX);
        usize::try_from(left).map_or(usize::MAX, |left| left.saturating_add(READ.0).max(FIRST))
    }

    /// Sends a piece of the body.
    ///
    /// # Errors
    /// [`WireError::Excess`]
    pub(crate) fn data(&mut self, data: Bytes) -> Result<(), WireError> {
        match &mut self.encoder {
            Framing::Empty if data.is_empty() => {}
            Framing::Empty => return Err(WireError::Excess),
            Framing::Length(left) => {
                *left = left
                    .checked_sub(data.len() as u64)
                    .ok_or(WireError::Excess)?;
                self.io.push(data);
            }
            Framing::UntilClose => self.io.push(data),
            // An empty chunk would end the body.
            Framing::Chunked if data.is_empty() => {}
            Framing::Chunked => {
                self.io.write(|out| write_hexadecimal(out, data.len()));
                self.io.push(data);
                self.io.write(|out| out.extend_from_slice(b"\r\n"));
            }
        }
        Ok(())
    }

    /// Sends the end of the body.
    ///
    /// # Errors
    /// [`WireError::Short`]
    pub(crate) fn finish(&mut self, trailers: Option<&HeaderMap>) -> Result<(), WireError> {
        match self.encoder {
            Framing::Length(1..) => return Err(WireError::Short),
            Framing::Chunked => self.io.write(|out| write_last_chunk(out, trailers)),
            Framing::Empty | Framing::Length(0) | Framing::UntilClose => {}
        }
        self.encoder = Framing::Empty;
        Ok(())
    }
}

/// The line before a chunk (RFC 9112, section 7.1).
fn write_hexadecimal(out: &mut BytesMut, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = size >> (place * 4) & 15;
        out.extend_from_slice(&[b"0123456789abcdef"[digit]]);
    }
    out.extend_from_slice(b"\r\n");
}

/// The end of a body in chunks, with the trailer section (RFC 9112, section 7.1.2).
fn write_last_chunk(out: &mut BytesMut, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_hexadecimal() {
        let cases = [
            (0, "0"),
            (9, "9"),
            (10, "a"),
            (16, "10"),
            (0x1234f, "1234f"),
        ];
        for (size, digits) in cases {
            let mut out = BytesMut::new();
            write_hexadecimal(&mut out, size);
            assert_eq!(out, format!("{digits}\r\n"));
        }
    }
}
