//! Header sections: the first line of a message and its fields.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::{Method, StatusCode, Version};
use httparse::{Header, ParserConfig, Status};

use crate::fields::{Fields, Span};

/// A header section may have this many fields.
pub const MAX_FIELDS: usize = 256;

/// Why bytes are no header section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// More than [`MAX_FIELDS`].
    #[error("too many header fields")]
    TooManyFields,
    /// Against the grammar (RFC 9112, sections 3 to 5).
    #[error("malformed header section: {0}")]
    Malformed(httparse::Error),
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
    /// # Errors
    /// [`HeadError`]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let mut lines = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let Status::Complete(length) = request.parse_with_uninit_headers(bytes, &mut lines)? else {
            return Ok(None);
        };
        let malformed = HeadError::Malformed(httparse::Error::Token);
        let target = request.path.ok_or(malformed)?.as_bytes();
        let method = request.method.ok_or(malformed)?.as_bytes();
        let head = Self {
            method: Method::from_bytes(method).map_err(|_| malformed)?,
            version: version(request.version),
            target: place(bytes, target),
            fields: fields(bytes, length, request.headers),
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

    /// Writes it in HTTP/1.1.
    pub fn write(&self, out: &mut BytesMut) {
        out.reserve(self.fields.size() + 32);
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
    reason: Option<Span>,
}

impl ResponseHead {
    /// A response without fields, with the usual reason phrase.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            version: Version::HTTP_11,
            fields: Fields::default(),
            reason: None,
        }
    }

    /// Parses what begins `bytes`, and says how long it is. `None`: it has not come to its end.
    ///
    /// Folded lines and spaces before a colon, which old servers send, are taken.
    ///
    /// # Errors
    /// [`HeadError`]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let mut lines = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let mut config = ParserConfig::default();
        config.allow_spaces_after_header_name_in_responses(true);
        config.allow_obsolete_multiline_headers_in_responses(true);
        let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut lines)?;
        let Status::Complete(length) = parsed else {
            return Ok(None);
        };
        let status = StatusCode::from_u16(response.code.unwrap_or_default());
        let head = Self {
            status: status.map_err(|_| HeadError::Status)?,
            version: version(response.version),
            reason: Some(place(bytes, response.reason.unwrap_or_default().as_bytes())),
            fields: fields(bytes, length, response.headers),
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
        out.reserve(self.fields.size() + 32);
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

/// Takes over the parsed lines: the text in one copy, and where each name and value stands in it.
fn fields(bytes: &[u8], length: usize, lines: &[Header<'_>]) -> Fields {
    let mut fields = Fields::with_text(&bytes[..length], lines.len());
    for line in lines {
        let name = place(bytes, line.name.as_bytes());
        let value = match line.value.contains(&b'\n') {
            false => place(bytes, line.value),
            true => fields.add_text(&unfolded(line.value)),
        };
        fields.push_line(name, value);
    }
    fields
}

/// A value that was folded over several lines, in one (RFC 9112, section 5.2).
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
