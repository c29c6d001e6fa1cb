//! The first phase: is this request well formed, and what exactly does it ask for?
//!
//! Whatever leaves here has one host and one canonical path; later phases, the log and the
//! backend see these bytes and no others. Checks that the codecs make already (header syntax,
//! pseudo-fields) are not repeated.

use std::borrow::Cow;

use ferrix_http1::{MAX_FIELDS, RequestHead};
use ferrix_table::{
    host,
    path::{self, CanonicalTarget},
};
use http::{Method, Version};
use smallvec::SmallVec;

use crate::{failure::Failure, headers, settings::Settings};

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// The canonical host; empty where an HTTP/1.0 request names none.
    pub(crate) host: Cow<'a, str>,
    /// The canonical path and query.
    pub(crate) target: CanonicalTarget<'a>,
}

/// Checks an HTTP/1 request as it came, and leaves it one `Host` at most.
pub(crate) fn check_http1(head: &mut RequestHead, settings: &Settings) -> Result<(), Failure> {
    check_common(head, head.fields.len(), settings)?;
    check_transfer_coding(head)?;
    let old = head.version == Version::HTTP_10;
    let named = match single_host(head)? {
        Some(host) if !old || !host.is_empty() => without_empty_port(host),
        // Who asks a proxy names the host all the same (RFC 9112, section 3.2.2).
        _ if old => authority_of(head.target()).map(SmallVec::from),
        _ => return Err(bad_request("missing Host")),
    };
    if let Some(host) = named {
        head.fields.set("Host", &host);
    }
    Ok(())
}

/// Checks an HTTP/2 request (RFC 9113, section 8.3.1; the `h2` crate has refused connection
/// headers, most bad names and missing pseudo-headers) and makes it like HTTP/1, where the host is
/// a field, and a cookie is one.
pub(crate) fn check_http2(
    head: &mut RequestHead,
    authority: Option<&str>,
    secure: bool,
    settings: &Settings,
) -> Result<(), Failure> {
    let fields = head.fields.len();
    let crumbs = match fields > settings.limits.header_count {
        true => head.fields.get_all("cookie").count().saturating_sub(1),
        false => 0,
    };
    check_common(head, fields - crumbs, settings)?;
    if head.size() as u64 > settings.limits.header_bytes.as_u64() {
        return Err(Failure::HeaderTooLarge);
    }
    check_content_length(head)?;
    let host = match (authority, single_host(head)?) {
        (Some(authority), Some(host))
            if host != authority.as_bytes()
                && !is_same_authority(authority.as_bytes(), host, default_port(secure)) =>
        {
            return Err(bad_request("Host differs from :authority"));
        }
        (Some(authority), _) => Some(
            without_empty_port(authority.as_bytes()).unwrap_or_else(|| authority.as_bytes().into()),
        ),
        (None, Some(host)) => without_empty_port(host),
        (None, None) => return Err(bad_request("missing :authority")),
    };
    if let Some(host) = host {
        head.fields.set("Host", &host);
    }
    join_cookie(head)
}

/// The crumbs of one that is longer are not kept beside it while the request lasts.
const LONG_COOKIE: usize = 2048;

/// HTTP/2 may split a cookie for compression (RFC 9113, section 8.2.3).
fn join_cookie(head: &mut RequestHead) -> Result<(), Failure> {
    let fields = &mut head.fields;
    if fields.get_all("cookie").nth(1).is_some() {
        let crumbs: Vec<_> = fields.get_all("cookie").collect();
        // What stands around one is within the whole, where it is no fault any more.
        if crumbs.iter().any(|crumb| headers::has_blank_around(crumb)) {
            return Err(bad_request(headers::BLANK_AROUND));
        }
        let joined = crumbs.join(&b"; "[..]);
        fields.set("Cookie", &joined);
        if joined.len() > LONG_COOKIE {
            head.shrink();
        }
    }
    Ok(())
}

/// What a checked request asks for.
pub(crate) fn target<'a>(
    head: &'a RequestHead,
    secure: bool,
    settings: &Settings,
) -> Result<Target<'a>, Failure> {
    let host = head.fields.get("host").unwrap_or_default();
    let old = head.version == Version::HTTP_10;
    let target = match head.version {
        Version::HTTP_2 => head.target(),
        _ => origin_form(head.target(), host, secure)?,
    };
    build(host, &head.method, target, old, settings)
}

/// A host that a colon ends, without it (RFC 3986, section 3.2.3). `None`: as it is.
fn without_empty_port(host: &[u8]) -> Option<SmallVec<[u8; 64]>> {
    match host.strip_suffix(b":") {
        Some(name) if !name.is_empty() => Some(SmallVec::from_slice(name)),
        _ => None,
    }
}

fn single_host(head: &RequestHead) -> Result<Option<&[u8]>, Failure> {
    let mut hosts = head.fields.get_all("host");
    let host = hosts.next();
    match hosts.next() {
        None => Ok(host),
        Some(_) => Err(bad_request("several Host fields")),
    }
}

/// `fields` is how many count.
fn check_common(head: &RequestHead, fields: usize, settings: &Settings) -> Result<(), Failure> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Failure::MethodNotAllowed);
    }
    if head.target().len() as u64 > settings.limits.uri_bytes.as_u64() {
        return Err(Failure::UriTooLong);
    }
    if fields > settings.limits.header_count.min(MAX_FIELDS) {
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
fn origin_form<'a>(target: &'a [u8], host: &[u8], secure: bool) -> Result<&'a [u8], Failure> {
    if target.starts_with(b"/") || target == b"*" {
        return Ok(target);
    }
    let absolute = Absolute::split(target).ok_or(bad_request("invalid request target"))?;
    let scheme: &[u8] = if secure { b"https" } else { b"http" };
    if !absolute.scheme.eq_ignore_ascii_case(scheme) {
        return Err(bad_request("the target's scheme is not that of this port"));
    }
    if !is_same_authority(absolute.authority, host, default_port(secure)) {
        return Err(bad_request("the target's authority differs from Host"));
    }
    match absolute.path {
        b"" => Ok(b"/"),
        path if path.starts_with(b"/") => Ok(path),
        _ => Err(bad_request("invalid request target")),
    }
}

/// The parts of a target in absolute form.
struct Absolute<'a> {
    scheme: &'a [u8],
    authority: &'a [u8],
    /// With the query.
    path: &'a [u8],
}

impl<'a> Absolute<'a> {
    fn split(target: &'a [u8]) -> Option<Self> {
        let colon = target.windows(3).position(|window| window == b"://")?;
        let rest = &target[colon + 3..];
        let end = rest.iter().position(|byte| b"/?#".contains(byte));
        let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
        Some(Self {
            scheme: &target[..colon],
            authority,
            path,
        })
    }
}

/// The authority of a target in absolute form.
fn authority_of(target: &[u8]) -> Option<&[u8]> {
    match target.first() {
        Some(b'/' | b'*') => None,
        _ => Absolute::split(target).map(|absolute| absolute.authority),
    }
}

/// The port that goes without saying.
fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Whether two spellings name one host and port (RFC 3986, section 6.2.3).
fn is_same_authority(one: &[u8], other: &[u8], default_port: u16) -> bool {
    let canonical = |authority: &[u8]| {
        let authority = authority.strip_suffix(b":").unwrap_or(authority);
        let canonical = host::canonical(authority).ok()?;
        Some((
            canonical.host.into_owned(),
            canonical.port.unwrap_or(default_port),
        ))
    };
    canonical(one).is_some_and(|one| canonical(other) == Some(one))
}

fn build<'a>(
    authority: &'a [u8],
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

#[cold]
fn bad_request(reason: &'static str) -> Failure {
    Failure::BadRequest(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_targets_name_this_port_and_this_host() {
        // Empty: refused.
        let cases: [(&[u8], bool, &[u8]); 18] = [
            (b"http://h/a", false, b"/a"),
            (b"HTTP://h", false, b"/"),
            (b"https://h/a", true, b"/a"),
            (b"https://h/a", false, b""),
            (b"http://other/a", false, b""),
            (b"http://u@h/a", false, b""),
            (b"http://h?q", false, b""),
            (b"h:80", false, b""),
            // In any case, and with the port that goes without saying.
            (b"http://H/a", false, b"/a"),
            (b"http://h./a", false, b"/a"),
            (b"http://h:80/a", false, b"/a"),
            (b"http://h:/a", false, b"/a"),
            (b"https://H:443/a", true, b"/a"),
            (b"http://h:443/a", false, b""),
            (b"https://h:80/a", true, b""),
            (b"http://h:81/a", false, b""),
            (b"http:///a", false, b""),
            (b"http://h::/a", false, b""),
        ];
        for (target, secure, expected) in cases {
            let path = origin_form(target, b"h", secure).unwrap_or_default();
            assert_eq!(path, expected, "{}", target.escape_ascii());
        }
        let with_port: [(&[u8], &str, bool); 5] = [
            (b"http://h:81/a", "h:81", true),
            (b"http://h:81/a", "H:81", true),
            (b"http://h/a", "h:80", true),
            (b"http://h/a", "h:81", false),
            (b"http://h/a", "", false),
        ];
        for (target, host, same) in with_port {
            let path = origin_form(target, host.as_bytes(), false);
            assert_eq!(path.is_ok(), same, "{} {host}", target.escape_ascii());
        }
    }

    #[test]
    fn limits_are_those_of_both_protocols() {
        let mut settings = Settings::default();
        settings.limits.header_count = 3;
        let head = |fields: &[&str]| {
            let mut head = RequestHead::new(Method::GET, b"/", Version::HTTP_2);
            for name in fields {
                head.fields.append(name, b"a=b");
            }
            head
        };
        let cases: [(&[&str], bool); 5] = [
            (&["a", "b", "c"], true),
            (&["a", "b", "c", "d"], false),
            (&["a", "cookie", "cookie", "cookie", "b"], true),
            (&["a", "cookie", "cookie", "cookie", "b", "c"], false),
            (&["cookie", "cookie", "cookie", "cookie"], true),
        ];
        for (fields, fits) in cases {
            let checked = check_http2(&mut head(fields), Some("h"), false, &settings);
            assert_eq!(checked.is_ok(), fits, "{fields:?}");
        }
        settings.limits.header_count = 10_000;
        let checked = check_http2(
            &mut head(&["a"; MAX_FIELDS + 1]),
            Some("h"),
            false,
            &settings,
        );
        assert_eq!(checked, Err(Failure::HeaderTooLarge));
        let written = {
            let mut out = bytes::BytesMut::new();
            head(&["a", "b"]).write(&mut out);
            out.len() as u64
        };
        for (limit, fits) in [(written, true), (written - 1, false)] {
            settings.limits.header_bytes = bytesize::ByteSize(limit);
            let checked = check_http2(&mut head(&["a", "b"]), Some("h"), false, &settings);
            assert_eq!(checked.is_ok(), fits);
        }
    }

    #[test]
    fn hosts_are_left_without_an_empty_port() {
        let cases = [
            (Version::HTTP_11, Some("h:"), "/", Some("h")),
            (Version::HTTP_11, Some("[::1]:"), "/", Some("[::1]")),
            (Version::HTTP_11, Some("h:80"), "/", Some("h:80")),
            (Version::HTTP_11, Some(":"), "/", Some(":")),
            (Version::HTTP_10, None, "/", None),
            (Version::HTTP_10, None, "http://h:81/", Some("h:81")),
            (Version::HTTP_10, None, "http://h", Some("h")),
            (Version::HTTP_10, Some("h"), "http://g", Some("h")),
        ];
        for (version, host, target, expected) in cases {
            let mut head = RequestHead::new(Method::GET, target.as_bytes(), version);
            if let Some(host) = host {
                head.fields.append("host", host.as_bytes());
            }
            check_http1(&mut head, &Settings::default()).unwrap();
            assert_eq!(head.fields.get("host"), expected.map(str::as_bytes));
        }
        assert_eq!(cases.len(), 8);
    }
}
