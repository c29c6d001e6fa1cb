//! Where the body of a message ends (RFC 9112, section 6.3), and whether its connection goes on.

use http::{Method, Version};

use crate::{Fields, RequestHead, ResponseHead};

const TRANSFER_ENCODING: &str = "transfer-encoding";

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// It has this many bytes.
    Length(u64),
    /// The last chunk says.
    Chunked,
    /// The connection ends. Responses only.
    UntilClose,
}

/// Why it cannot be said where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// No number, or several that differ.
    #[error("invalid Content-Length")]
    ContentLength,
    /// Not ASCII; in a request, `chunked` does not come last, has a blank behind it, or HTTP/1.0
    /// names a coding at all; in a response with a body, any coding beside one `chunked`.
    #[error("invalid Transfer-Encoding")]
    TransferEncoding,
}

/// How the body of a request is framed. `Transfer-Encoding` wins over `Content-Length`: who sends
/// both must not be sent a further message on this connection, nor be trusted with one.
///
/// # Errors
/// [`FramingError`]
pub fn request_framing(head: &RequestHead) -> Result<Framing, FramingError> {
    match last_coding(&head.fields)? {
        // Some readers take `chunked ` for another word than `chunked`.
        Some(coding)
            if is_chunked(coding)
                && head.version != Version::HTTP_10
                && !head.fields.has_blank_behind(TRANSFER_ENCODING) =>
        {
            Ok(Framing::Chunked)
        }
        Some(_) => Err(FramingError::TransferEncoding),
        None => Ok(match content_length(&head.fields)? {
            None | Some(0) => Framing::Empty,
            Some(length) => Framing::Length(length),
        }),
    }
}

/// How the body of a response to a request with `method` is framed. For 101 it is what follows in
/// the other protocol.
///
/// # Errors
/// [`FramingError`]
pub fn response_framing(head: &ResponseHead, method: &Method) -> Result<Framing, FramingError> {
    let coded = last_coding(&head.fields)?.is_some();
    let length = match coded {
        true => None,
        // Also where there is no body: somebody behind might read one.
        false => content_length(&head.fields)?,
    };
    let status = head.status.as_u16();
    let bodiless = *method == Method::HEAD || matches!(status, 102..=199 | 100 | 204 | 304);
    Ok(match length {
        _ if status == 101 => Framing::UntilClose,
        _ if bodiless => Framing::Empty,
        _ if coded => coded_response(&head.fields)?,
        None => Framing::UntilClose,
        Some(0) => Framing::Empty,
        Some(length) => Framing::Length(length),
    })
}

/// The codings of a response stay behind, as they are from hop to hop, and a body that only they
/// explain must not go on without them.
fn coded_response(fields: &Fields) -> Result<Framing, FramingError> {
    let mut codings = fields.get_all(TRANSFER_ENCODING).flat_map(tokens);
    match (codings.next().unwrap_or_default(), codings.next()) {
        (coding, None) if is_chunked(coding) => Ok(Framing::Chunked),
        // No coding at all (RFC 2616, section 3.6).
        (coding, None) if coding.is_empty() || coding.eq_ignore_ascii_case(b"identity") => {
            Ok(Framing::UntilClose)
        }
        _ => Err(FramingError::TransferEncoding),
    }
}

/// Whether the sender of a message wants its connection to go on after it (RFC 9112, section 9.3).
pub fn keeps_alive(version: Version, fields: &Fields) -> bool {
    let mut alive = version != Version::HTTP_10;
    for value in fields.get_all("connection") {
        for token in tokens(value) {
            if token.eq_ignore_ascii_case(b"close") {
                return false;
            }
            alive |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    // Who frames a body in two ways may mean another end, and so does HTTP/1.0 with a coding, which
    // it does not know (RFC 9112, section 6.1).
    let ambiguous = fields.contains(TRANSFER_ENCODING)
        && (version == Version::HTTP_10 || fields.contains("content-length"));
    alive && !ambiguous
}

/// The elements of a list (RFC 9110, section 5.6.1), empty ones among them.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn last_coding(fields: &Fields) -> Result<Option<&[u8]>, FramingError> {
    let mut last = None;
    for value in fields.get_all(TRANSFER_ENCODING) {
        // Some readers see no coding at all in a list with such text.
        if !value.is_ascii() {
            return Err(FramingError::TransferEncoding);
        }
        last = tokens(value).last();
    }
    Ok(last)
}

fn is_chunked(coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(b"chunked")
}

/// The length of a body: one number, however often it is said (RFC 9110, section 8.6).
///
/// # Errors
/// [`FramingError::ContentLength`]
pub fn content_length(fields: &Fields) -> Result<Option<u64>, FramingError> {
    let mut said = None;
    for value in fields.get_all("content-length") {
        for value in tokens(value) {
            let length = number(value).ok_or(FramingError::ContentLength)?;
            if said.is_some_and(|said| said != length) {
                return Err(FramingError::ContentLength);
            }
            said = Some(length);
        }
    }
    Ok(said)
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests;
