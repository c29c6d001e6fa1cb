//! Bodies: the bytes of a message after its header section.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{Framing, head::MAX_FIELDS};

/// The longest line with a chunk's size, extensions included.
const MAX_CHUNK_LINE: usize = 4096;

/// The longest trailer section.
const MAX_TRAILERS: usize = 16 * 1024;

/// Finds a body in the bytes of a connection.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    extensions: Extensions,
}

/// How the text behind a chunk's size is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extensions {
    /// To the letter (RFC 9112, section 7.1.1).
    Strict,
    /// Anything without control characters, and spaces, which some servers send.
    Loose,
}

#[derive(Debug)]
enum State {
    /// This many bytes are left.
    Length(u64),
    UntilClose,
    ChunkSize,
    /// This many bytes of a chunk are left.
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    Done,
}

/// A part of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Some of it, never empty.
    Data(Bytes),
    /// It is over.
    End(Option<HeaderMap>),
}

/// Why bytes are no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A chunk's size is not hexadecimal, or too large, or its line is too long.
    #[error("invalid chunk size")]
    ChunkSize,
    /// A chunk is longer than its size.
    #[error("a chunk is longer than its size")]
    ChunkEnd,
    /// Against the grammar, or too long.
    #[error("invalid trailer section")]
    Trailers,
    /// The connection ended first.
    #[error("the body was cut short")]
    Truncated,
}

impl Decoder {
    /// For a body framed so.
    pub fn new(framing: Framing) -> Self {
        Self {
            state: match framing {
                Framing::Empty | Framing::Length(0) => State::Done,
                Framing::Length(length) => State::Length(length),
                Framing::Chunked => State::ChunkSize,
                Framing::UntilClose => State::UntilClose,
            },
            extensions: Extensions::Loose,
        }
    }

    /// The same for a body from somebody who may want another reader to see another body: the
    /// extensions of its chunks are as the grammar wants them (RFC 9112, section 7.1.1).
    pub fn strict(framing: Framing) -> Self {
        Self {
            extensions: Extensions::Strict,
            ..Self::new(framing)
        }
    }

    /// Whether the body is over: `decode` has returned its last byte or, where it is chunked, its
    /// [`Piece::End`], or the connection's end was that of the body.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many bytes are still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Takes the next piece out of what was read. `None`: more has to be read.
    ///
    /// A body with a length is done with its last byte; `End` is not told then.
    ///
    /// # Errors
    /// [`BodyError`]; the connection is of no use then.
    pub fn decode(&mut self, read: &mut BytesMut) -> Result<Option<Piece>, BodyError> {
        loop {
            match &mut self.state {
                State::Done => return Ok(Some(Piece::End(None))),
                _ if read.is_empty() => return Ok(None),
                State::UntilClose => return Ok(Some(Piece::Data(read.split().freeze()))),
                State::Length(left) => {
                    let data = take(read, left);
                    if *left == 0 {
                        self.state = State::Done;
                    }
                    return Ok(Some(Piece::Data(data)));
                }
                State::ChunkData(left) => {
                    let data = take(read, left);
                    if *left == 0 {
                        self.state = State::ChunkEnd;
                    }
                    return Ok(Some(Piece::Data(data)));
                }
                State::ChunkSize => match chunk_size(read, self.extensions)? {
                    None => return Ok(None),
                    Some((0, line)) => {
                        read.advance(line);
                        self.state = State::Trailers;
                    }
                    Some((size, line)) => {
                        read.advance(line);
                        self.state = State::ChunkData(size);
                    }
                },
                State::ChunkEnd => match &read[..] {
                    [b'\r', b'\n', ..] => {
                        read.advance(2);
                        self.state = State::ChunkSize;
                    }
                    [b'\r'] => return Ok(None),
                    _ => return Err(BodyError::ChunkEnd),
                },
                State::Trailers => {
                    let Some((trailers, length)) = trailers(read)? else {
                        return Ok(None);
                    };
                    read.advance(length);
                    self.state = State::Done;
                    return Ok(Some(Piece::End(trailers)));
                }
            }
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] where that does not end the body.
    pub fn end(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyError::Truncated),
        }
    }
}

/// At most `left` bytes.
fn take(read: &mut BytesMut, left: &mut u64) -> Bytes {
    let length = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
    *left -= length as u64;
    read.split_to(length).freeze()
}

/// The size of a chunk, and the length of the line that says it (RFC 9112, section 7.1).
fn chunk_size(read: &[u8], extensions: Extensions) -> Result<Option<(u64, usize)>, BodyError> {
    let Some(end) = read
        .iter()
        .take(MAX_CHUNK_LINE)
        .position(|byte| *byte == b'\n')
    else {
        return match read.len() < MAX_CHUNK_LINE {
            true => Ok(None),
            false => Err(BodyError::ChunkSize),
        };
    };
    let line = read[..end]
        .strip_suffix(b"\r")
        .ok_or(BodyError::ChunkSize)?;
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (size, rest) = line.split_at(digits);
    let extension = rest.trim_ascii_start();
    let plain = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    if !(1..=16).contains(&digits)
        || !(extension.is_empty() || extension.starts_with(b";"))
        || !rest.iter().all(plain)
        || (extensions == Extensions::Strict && after_extensions(rest).is_none())
    {
        return Err(BodyError::ChunkSize);
    }
    let size = size.iter().fold(0, |size, digit| {
        size << 4 | u64::from(char::from(*digit).to_digit(16).unwrap_or_default())
    });
    Ok(Some((size, end + 1)))
}

/// Reads extensions to the end of the text. `None`: it is something else.
fn after_extensions(text: &[u8]) -> Option<()> {
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.trim_ascii_start().strip_prefix(b";")?;
        rest = after_token(rest.trim_ascii_start())?;
        if let Some(value) = rest.trim_ascii_start().strip_prefix(b"=") {
            let value = value.trim_ascii_start();
            rest = match value.strip_prefix(b"\"") {
                Some(quoted) => after_quoted(quoted)?,
                None => after_token(value)?,
            };
        }
    }
    Some(())
}

/// RFC 9110, section 5.6.2.
fn after_token(text: &[u8]) -> Option<&[u8]> {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    match text.iter().take_while(|byte| token(byte)).count() {
        0 => None,
        length => Some(&text[length..]),
    }
}

/// RFC 9110, section 5.6.4, behind the first quotation mark.
fn after_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', _, after @ ..] | [_, after @ ..] => after,
            [] => return None,
        };
    }
}

/// The trailer section, if there is more than its empty line, and its length.
type Trailers = (Option<HeaderMap>, usize);

fn trailers(read: &[u8]) -> Result<Option<Trailers>, BodyError> {
    if read.starts_with(b"\r\n") {
        return Ok(Some((None, 2)));
    }
    let mut lines = [httparse::EMPTY_HEADER; MAX_FIELDS];
    match httparse::parse_headers(read, &mut lines) {
        Ok(httparse::Status::Complete((length, lines)))
            if length <= MAX_TRAILERS && !has_bare_line_feed(&read[..length]) =>
        {
            let mut trailers = HeaderMap::with_capacity(lines.len());
            for line in lines {
                let name = HeaderName::from_bytes(line.name.as_bytes());
                let value = HeaderValue::from_bytes(line.value);
                let (Ok(name), Ok(value)) = (name, value) else {
                    return Err(BodyError::Trailers);
                };
                trailers.append(name, value);
            }
            Ok(Some((Some(trailers), length)))
        }
        Ok(httparse::Status::Partial) if read.len() < MAX_TRAILERS => Ok(None),
        _ => Err(BodyError::Trailers),
    }
}

/// Servers disagree on whether LF alone ends a line, and so on where a body ends.
fn has_bare_line_feed(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n');
    // Nothing follows the last line feed.
    lines.next_back();
    lines.any(|line| !line.ends_with(b"\r"))
}

#[cfg(test)]
mod tests;
