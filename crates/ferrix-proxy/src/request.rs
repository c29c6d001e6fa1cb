//! The first phase: is this request well formed, and what exactly does it ask for?
//!
//! Whatever leaves here has one host and one canonical path; later phases, the log and the
//! backend see these bytes and no others. Checks that the codecs make already (header syntax,
//! `Content-Length`, duplicate `Host`) are not repeated, but where HTTP/2 bypasses Pingora's
//! session they are made here for both.

use std::borrow::Cow;

use ferrix_table::{
    host,
    path::{self, CanonicalTarget},
};
use http::{Method, Version, header};
use pingora_http::RequestHeader;

use crate::{failure::Failure, settings::Settings};

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// The canonical host; empty where an HTTP/1.0 request names none.
    pub(crate) host: Cow<'a, str>,
    /// The canonical path and query.
    pub(crate) target: CanonicalTarget<'a>,
}

/// Checks an HTTP/1 request. `raw_target` is its target as received.
pub(crate) fn check_http1<'a>(
    header: &'a RequestHeader,
    raw_target: &'a [u8],
    secure: bool,
    settings: &Settings,
) -> Result<Target<'a>, Failure> {
    check_common(header, raw_target, settings)?;
    check_transfer_coding(header)?;
    let host = match header.headers.get(header::HOST) {
        Some(host) => host.to_str().map_err(|_| bad_request("invalid Host"))?,
        None if header.version == Version::HTTP_10 => "",
        None => return Err(bad_request("missing Host")),
    };
    let target = origin_form(raw_target, host, secure)?;
    build(
        host,
        &header.method,
        target,
        header.version == Version::HTTP_10,
        settings,
    )
}

/// Checks an HTTP/2 request (RFC 9113, section 8.3.1; the `h2` crate has refused connection
/// headers, bad names and missing pseudo-headers).
pub(crate) fn check_http2<'a>(
    header: &'a RequestHeader,
    settings: &Settings,
) -> Result<Target<'a>, Failure> {
    let raw_target = header
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    check_common(header, raw_target.as_bytes(), settings)?;
    check_content_length(header)?;
    let mut hosts = header.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad_request("several Host fields"));
    }
    let authority = match (header.uri.authority(), host) {
        (Some(authority), Some(host)) if host.as_bytes() != authority.as_str().as_bytes() => {
            return Err(bad_request("Host differs from :authority"));
        }
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().map_err(|_| bad_request("invalid Host"))?,
        (None, None) => return Err(bad_request("missing :authority")),
    };
    build(
        authority,
        &header.method,
        raw_target.as_bytes(),
        false,
        settings,
    )
}

fn check_common(
    header: &RequestHeader,
    raw_target: &[u8],
    settings: &Settings,
) -> Result<(), Failure> {
    if matches!(header.method, Method::CONNECT | Method::TRACE) {
        return Err(Failure::MethodNotAllowed);
    }
    if raw_target.len() as u64 > settings.limits.uri_bytes.as_u64() {
        return Err(Failure::UriTooLong);
    }
    if header.headers.len() > settings.limits.header_count {
        return Err(Failure::HeaderTooLarge);
    }
    Ok(())
}

/// Pingora frames any list that ends in `chunked` and drops the rest of it: a body with an inner
/// coding would reach the backend without its name (RFC 9112, section 6.1).
fn check_transfer_coding(header: &RequestHeader) -> Result<(), Failure> {
    let mut codings = header.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Failure::TransferCoding),
    }
}

/// One number, or none (RFC 9110, section 8.6).
fn check_content_length(header: &RequestHeader) -> Result<(), Failure> {
    let mut lengths = header.headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        (Some(length), None) if is_number(length.as_bytes()) => Ok(()),
        _ => Err(bad_request("invalid Content-Length")),
    }
}

fn is_number(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len() < 20 && bytes.iter().all(u8::is_ascii_digit)
}

/// Path and query of a target in origin form or absolute form (RFC 9112, section 3.2). That the
/// authority of the latter equals `Host` was checked by the codec.
fn origin_form<'a>(target: &'a [u8], host: &str, secure: bool) -> Result<&'a [u8], Failure> {
    if target.starts_with(b"/") || target == b"*" {
        return Ok(target);
    }
    let (scheme, rest) = target
        .windows(3)
        .position(|window| window == b"://")
        .map(|colon| (&target[..colon], &target[colon + 3..]))
        .ok_or(bad_request("invalid request target"))?;
    let expected: &[u8] = if secure { b"https" } else { b"http" };
    if !scheme.eq_ignore_ascii_case(expected) {
        return Err(bad_request("the target's scheme is not that of this port"));
    }
    let end = rest
        .iter()
        .position(|byte| b"/?#".contains(byte))
        .unwrap_or(rest.len());
    if &rest[..end] != host.as_bytes() {
        return Err(bad_request("the target's authority differs from Host"));
    }
    match &rest[end..] {
        b"" => Ok(b"/"),
        path if path.starts_with(b"/") => Ok(path),
        _ => Err(bad_request("invalid request target")),
    }
}

fn build<'a>(
    authority: &'a str,
    method: &Method,
    raw_target: &'a [u8],
    host_optional: bool,
    settings: &Settings,
) -> Result<Target<'a>, Failure> {
    let host = if authority.is_empty() && host_optional {
        Cow::Borrowed("")
    } else {
        let canonical = host::canonical(authority);
        canonical
            .map_err(|error| Failure::BadRequest(error.to_string().into()))?
            .host
    };
    let target = if raw_target == b"*" {
        if method != Method::OPTIONS {
            return Err(bad_request("the target * is for OPTIONS only"));
        }
        CanonicalTarget {
            path_and_query: "*".into(),
            routing_path: "*".into(),
        }
    } else {
        let options = path::PathOptions {
            merge_slashes: settings.paths.merge_slashes,
            refuse_encoded_slashes: settings.paths.refuse_encoded_slashes,
        };
        path::canonical(raw_target, &options)
            .map_err(|error| Failure::BadRequest(error.to_string().into()))?
    };
    Ok(Target { host, target })
}

fn bad_request(reason: &'static str) -> Failure {
    Failure::BadRequest(reason.into())
}

/// The target in the raw bytes of an HTTP/1 header section that a codec has accepted.
pub(crate) fn raw_target(head: &[u8]) -> &[u8] {
    let line = head.trim_ascii_start();
    let line = &line[..line
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(line.len())];
    let mut words = line
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty());
    words.nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_target_is_what_stood_between_the_spaces() {
        let cases: [(&[u8], &[u8]); 4] = [
            (b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n", b"/a?b"),
            (b"\r\nGET /a#b HTTP/1.1\r\n\r\n", b"/a#b"),
            (b"OPTIONS * HTTP/1.1\n\n", b"*"),
            (b"", b""),
        ];
        for (head, target) in cases {
            assert_eq!(raw_target(head), target);
        }
    }

    #[test]
    fn absolute_targets_name_this_port_and_this_host() {
        // Empty: refused.
        let cases: [(&[u8], bool, &[u8]); 8] = [
            (b"http://h/a", false, b"/a"),
            (b"HTTP://h", false, b"/"),
            (b"https://h/a", true, b"/a"),
            (b"https://h/a", false, b""),
            (b"http://other/a", false, b""),
            (b"http://u@h/a", false, b""),
            (b"http://h?q", false, b""),
            (b"h:80", false, b""),
        ];
        for (target, secure, expected) in cases {
            assert_eq!(
                origin_form(target, "h", secure).unwrap_or_default(),
                expected
            );
        }
    }
}
