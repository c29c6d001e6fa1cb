//! The first phase: is this request well formed, and what exactly does it ask for?
//!
//! Whatever leaves here has one host and one canonical path; later phases, the log and the
//! backend see these bytes and no others. Checks that the codecs make already (header syntax,
//! pseudo-fields) are not repeated.

use std::borrow::Cow;

use ferrix_http1::RequestHead;
use ferrix_table::{
    host,
    path::{self, CanonicalTarget},
};
use http::{Method, Version};

use crate::{failure::Failure, settings::Settings};

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// The canonical host; empty where an HTTP/1.0 request names none.
    pub(crate) host: Cow<'a, str>,
    /// The canonical path and query.
    pub(crate) target: CanonicalTarget<'a>,
}

/// Checks an HTTP/1 request.
pub(crate) fn check_http1<'a>(
    head: &'a RequestHead,
    secure: bool,
    settings: &Settings,
) -> Result<Target<'a>, Failure> {
    check_common(head, settings)?;
    check_transfer_coding(head)?;
    let old = head.version == Version::HTTP_10;
    let host = match single_host(head)? {
        Some(host) => text(host)?,
        None if old => "",
        None => return Err(bad_request("missing Host")),
    };
    let target = origin_form(head.target(), host, secure)?;
    build(host, &head.method, target, old, settings)
}

/// Checks an HTTP/2 request (RFC 9113, section 8.3.1; the `h2` crate has refused connection
/// headers, bad names and missing pseudo-headers).
pub(crate) fn check_http2<'a>(
    head: &'a RequestHead,
    authority: Option<&'a str>,
    settings: &Settings,
) -> Result<Target<'a>, Failure> {
    check_common(head, settings)?;
    check_content_length(head)?;
    let host = match (authority, single_host(head)?) {
        (Some(authority), Some(host)) if host != authority.as_bytes() => {
            return Err(bad_request("Host differs from :authority"));
        }
        (Some(authority), _) => authority,
        (None, Some(host)) => text(host)?,
        (None, None) => return Err(bad_request("missing :authority")),
    };
    build(host, &head.method, head.target(), false, settings)
}

fn single_host(head: &RequestHead) -> Result<Option<&[u8]>, Failure> {
    let mut hosts = head.fields.get_all("host");
    let host = hosts.next();
    match hosts.next() {
        None => Ok(host),
        Some(_) => Err(bad_request("several Host fields")),
    }
}

fn text(host: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(host).map_err(|_| bad_request("invalid Host"))
}

fn check_common(head: &RequestHead, settings: &Settings) -> Result<(), Failure> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Failure::MethodNotAllowed);
    }
    if head.target().len() as u64 > settings.limits.uri_bytes.as_u64() {
        return Err(Failure::UriTooLong);
    }
    if head.fields.len() > settings.limits.header_count {
        return Err(Failure::HeaderTooLarge);
    }
    Ok(())
}

/// Any list that ends in `chunked` can be framed, but a body with an inner coding would reach the
/// backend without its name (RFC 9112, section 6.1).
fn check_transfer_coding(head: &RequestHead) -> Result<(), Failure> {
    let mut codings = head.fields.get_all("transfer-encoding");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Failure::TransferCoding),
    }
}

/// One number, or none (RFC 9110, section 8.6).
fn check_content_length(head: &RequestHead) -> Result<(), Failure> {
    let mut lengths = head.fields.get_all("content-length");
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        (Some(length), None) if is_number(length) => Ok(()),
        _ => Err(bad_request("invalid Content-Length")),
    }
}

fn is_number(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len() < 20 && bytes.iter().all(u8::is_ascii_digit)
}

/// Path and query of a target in origin form or absolute form (RFC 9112, section 3.2).
/// The authority of the latter must equal `Host`.
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

#[cfg(test)]
mod tests {
    use super::*;

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
