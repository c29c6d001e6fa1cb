//! Header sections: the first line of a message and its fields.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::{Method, StatusCode, Version};
use httparse::{Header, ParserConfig, Status};

use crate::{
    fields::{Fields, Span},
    oddity::{Mended, Oddity},
    target,
};

/// A header section may have this many fields.
pub const MAX_FIELDS: usize = 256;

/// Room for the first line of a message, and for a body that leaves with its header section.
const SMALL_BODY: usize = 512;

/// About as many fields as a response has that is not parsed here.
const FIELDS: usize = 16;

/// Why bytes are no header section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// More than [`MAX_FIELDS`].
    #[error("too many header fields")]
    TooManyFields,
    /// Against the grammar (RFC 9112, sections 3 to 5).
    #[error("malformed header section: {0}")]
    Malformed(httparse::Error),
    /// In a request: servers disagree on whether LF alone ends a line.
    #[error("a line of the header section ends in LF without CR")]
    LineFeed,
    /// A status outside of 100 to 999.
    #[error("invalid status")]
    Status,
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyFields,
            error => Self::Malformed(error),
        }
    }
}

/// The header section of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The version that the sender speaks. It is written as HTTP/1.1 whatever it is.
    pub version: Version,
    /// The fields.
    pub fields: Fields,
    target: Span,
}

impl RequestHead {
    /// A request without fields.
    pub fn new(method: Method, target: &[u8], version: Version) -> Self {
        let mut fields = Fields::default();
        let target = fields.add_text(target);
        Self {
            method,
            version,
            fields,
            target,
        }
    }

    /// Parses what begins `bytes`, and says how long it is. `None`: it has not come to its end.
    ///
    /// A target that is not UTF-8 is taken with its bytes above 0x7F percent-encoded.
    ///
    /// # Errors
    /// [`HeadError`]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        match Self::parse_utf8(bytes) {
            Err(HeadError::Malformed(httparse::Error::Token)) if !bytes.is_ascii() => {}
            parsed => return parsed,
        }
        match target::encoded(bytes) {
            Some((bytes, longer)) => {
                let parsed = Self::parse_utf8(&bytes)?;
                Ok(parsed.map(|(head, length)| (head, length - longer)))
            }
            None => Err(HeadError::Malformed(httparse::Error::Token)),
        }
    }

    fn parse_utf8(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let mut lines = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let Status::Complete(length) = request.parse_with_uninit_headers(bytes, &mut lines)? else {
            return Ok(None);
        };
        let malformed = HeadError::Malformed(httparse::Error::Token);
        let target = request.path.ok_or(malformed)?.as_bytes();
        let method = request.method.ok_or(malformed)?.as_bytes();
        let before = &bytes[..place(bytes, method).start()];
        if has_bare_line_feed(before, &bytes[..length], request.headers) {
            return Err(HeadError::LineFeed);
        }
        let head = Self {
            method: Method::from_bytes(method).map_err(|_| malformed)?,
            version: version(request.version),
            target: place(bytes, target),
            fields: fields(bytes, &bytes[..length], request.headers, Folding::Refused),
        };
        Ok(Some((head, length)))
    }

    /// The request target as it was sent, or set.
    pub fn target(&self) -> &[u8] {
        self.fields.text(self.target)
    }

    /// Sets the request target, which must have no space or control byte.
    pub fn set_target(&mut self, target: &[u8]) {
        self.target = self.fields.add_text(target);
    }

    /// Gives back the room of text that was replaced.
    pub fn shrink(&mut self) {
        let target = self.target().to_vec();
        self.target = self.fields.shrink_behind(&target);
    }

    /// How many bytes [`RequestHead::write`] writes, where no text was replaced.
    pub fn size(&self) -> usize {
        self.method.as_str().len() + "  HTTP/1.1\r\n\r\n".len() + self.fields.size()
    }

    /// Writes it in HTTP/1.1.
    pub fn write(&self, out: &mut BytesMut) {
        out.reserve(self.fields.size() + SMALL_BODY);
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.extend_from_slice(b" ");
        out.extend_from_slice(self.target());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.fields.write(out);
    }
}

/// The header section of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The version that the sender speaks. It is written as HTTP/1.1 whatever it is.
    pub version: Version,
    /// The fields.
    pub fields: Fields,
    /// What no response may have, and this one had.
    pub oddities: Vec<Oddity>,
    reason: Option<Span>,
}

impl ResponseHead {
    /// A response without fields, with the usual reason phrase.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            version: Version::HTTP_11,
            fields: Fields::with_text(b"", FIELDS),
            oddities: Vec::new(),
            reason: None,
        }
    }

    /// Parses what begins `bytes`, and says how long it is. `None`: it has not come to its end.
    ///
    /// Folded lines, spaces before a colon and lines that end in LF alone, which old servers send,
    /// are taken, and so is what an [`Oddity`] is.
    ///
    /// # Errors
    /// [`HeadError`]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        match Self::parse_as(bytes, bytes, Folding::Refused) {
            Err(HeadError::Malformed(error)) if is_of_field(error) => Self::parse_odd(bytes),
            parsed => parsed,
        }
    }

    /// Parses what begins `bytes` once more, as old and odd servers send it.
    fn parse_odd(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        match Self::parse_as(bytes, bytes, Folding::Undone) {
            Err(HeadError::Malformed(error)) if is_of_field(error) => {
                let mended = Mended::new(bytes).map_err(|_| error)?;
                let Some(mended) = mended else {
                    return Ok(None);
                };
                let parsed = Self::parse_as(&mended.shown, &mended.text, Folding::Undone)?;
                Ok(parsed.map(|(mut head, _)| {
                    head.oddities = mended.oddities;
                    (head, mended.length)
                }))
            }
            parsed => parsed,
        }
    }

    /// Parses `bytes` and takes over the same places of `text`, which is as long.
    fn parse_as(
        bytes: &[u8],
        text: &[u8],
        folding: Folding,
    ) -> Result<Option<(Self, usize)>, HeadError> {
        let mut lines = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let mut config = ParserConfig::default();
        let lenient = folding == Folding::Undone;
        config.allow_spaces_after_header_name_in_responses(lenient);
        config.allow_obsolete_multiline_headers_in_responses(lenient);
        let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut lines)?;
        let Status::Complete(length) = parsed else {
            return Ok(None);
        };
        let status = StatusCode::from_u16(response.code.unwrap_or_default());
        let head = Self {
            status: status.map_err(|_| HeadError::Status)?,
            version: version(response.version),
            reason: Some(place(bytes, response.reason.unwrap_or_default().as_bytes())),
            fields: fields(bytes, &text[..length], response.headers, folding),
            oddities: Vec::new(),
        };
        Ok(Some((head, length)))
    }

    /// The reason phrase as it was sent, or the usual one.
    pub fn reason(&self) -> &[u8] {
        match self.reason {
            Some(reason) => self.fields.text(reason),
            None => self
                .status
                .canonical_reason()
                .unwrap_or_default()
                .as_bytes(),
        }
    }

    /// Writes it in HTTP/1.1.
    pub fn write(&self, out: &mut BytesMut) {
        out.reserve(self.fields.size() + SMALL_BODY);
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.as_str().as_bytes());
        out.extend_from_slice(b" ");
        out.extend_from_slice(self.reason());
        out.extend_from_slice(b"\r\n");
        self.fields.write(out);
    }
}

fn version(minor: Option<u8>) -> Version {
    match minor {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    }
}

/// What becomes of a value that goes on in a further line (RFC 9112, section 5.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Folding {
    Refused,
    Undone,
}

fn is_of_field(error: httparse::Error) -> bool {
    use httparse::Error::{HeaderName, HeaderValue};
    matches!(error, HeaderName | HeaderValue)
}

/// Takes over the lines that were parsed in `bytes`: `text` in one copy, and where each name and
/// value stands in it.
fn fields(bytes: &[u8], text: &[u8], lines: &[Header<'_>], folding: Folding) -> Fields {
    let mut fields = Fields::with_text(text, lines.len());
    for line in lines {
        let name = place(bytes, line.name.as_bytes());
        let value = place(bytes, line.value);
        let value = match folding == Folding::Undone && line.value.contains(&b'\n') {
            false => value,
            true => fields.add_text(&unfolded(value.of(text))),
        };
        fields.push_line(name, value);
    }
    fields
}

/// Whether a line of a request ends in LF without CR: each but the last ends where a name begins.
fn has_bare_line_feed(before: &[u8], text: &[u8], lines: &[Header<'_>]) -> bool {
    let ends_line = |line: &Header<'_>| {
        let start = place(text, line.name.as_bytes()).start();
        text[..start].ends_with(b"\r\n")
    };
    !(before.chunks(2).all(|line| line == b"\r\n")
        && lines.iter().all(ends_line)
        && text.ends_with(b"\r\n\r\n"))
}

/// A value that was folded over several lines, in one.
fn unfolded(value: &[u8]) -> Vec<u8> {
    let space = |byte: &u8| if b"\r\n".contains(byte) { b' ' } else { *byte };
    value.iter().map(space).collect()
}

/// Where a part of `whole` stands in it.
fn place(whole: &[u8], part: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    match part.is_empty() {
        true => Span::default(),
        false => Span::new(start, start + part.len()),
    }
}

#[cfg(test)]
mod tests;
