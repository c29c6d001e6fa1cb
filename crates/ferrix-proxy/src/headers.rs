//! What is taken out of a message and what is put in, on its way through.
//!
//! Hop-by-hop fields go first (RFC 9110, section 7.6.1), ours are set afterwards: a client that
//! names one of ours in `Connection` cannot have it removed.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use ipnet::IpNet;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::failure::Failure;

const X_FORWARDED_FOR: &str = "X-Forwarded-For";
const X_FORWARDED_HOST: &str = "X-Forwarded-Host";
const X_FORWARDED_PORT: &str = "X-Forwarded-Port";
const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const X_REAL_IP: &str = "X-Real-IP";
const X_REQUEST_ID: &str = "X-Request-Id";

/// More fields than this named by `Connection` are an attack.
const MAX_NOMINATED: usize = 10;

/// What backends are told about a client connection; made once for it.
#[derive(Clone, Debug)]
pub(crate) struct Forwarding {
    trusted: bool,
    client: HeaderValue,
    port: HeaderValue,
    proto: HeaderValue,
}

impl Forwarding {
    /// `peer` is who is believed or not; `client` is who PROXY protocol says it is.
    pub(crate) fn new(
        trusted: &[IpNet],
        peer: IpAddr,
        client: IpAddr,
        local: SocketAddr,
        secure: bool,
    ) -> Self {
        Self {
            trusted: trusted.iter().any(|network| network.contains(&peer)),
            client: value(&client.to_string()),
            port: HeaderValue::from(local.port()),
            proto: HeaderValue::from_static(if secure { "https" } else { "http" }),
        }
    }
}

/// An address is always a valid field value.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// How the body of a request is framed towards the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestBody {
    /// There is none.
    None,
    /// `Content-Length` says.
    Length,
    /// In chunks (or HTTP/2 data frames).
    Stream,
}

/// Makes a received header section one that can be sent to a backend. Returns the value of
/// `X-Request-Id`.
///
/// `upgrade` keeps the request for WebSocket; [`wants_websocket`] said that it is one.
pub(crate) fn prepare_request(
    header: &mut RequestHeader,
    forwarding: &Forwarding,
    authority: &HeaderValue,
    body: RequestBody,
    upgrade: bool,
) -> Result<HeaderValue, Failure> {
    let wants_trailers = wants_trailers(&header.headers);
    for name in unwanted_in_request(&header.headers, forwarding.trusted)? {
        header.remove_header(&name);
    }
    let length = single_content_length(&header.headers);
    let known = "field names and values are valid";
    let mut set = |name: &'static str, value: HeaderValue| {
        header.insert_header(name, value).expect(known);
    };
    if let Some(length) = length {
        set("Content-Length", length);
    }
    if upgrade {
        set("Connection", HeaderValue::from_static("upgrade"));
        set("Upgrade", HeaderValue::from_static("websocket"));
    }
    if wants_trailers {
        set("TE", HeaderValue::from_static("trailers"));
    }
    if body == RequestBody::Stream {
        set("Transfer-Encoding", HeaderValue::from_static("chunked"));
    }
    forward(header, forwarding, authority);
    Ok(request_id(header))
}

fn forward(header: &mut RequestHeader, forwarding: &Forwarding, authority: &HeaderValue) {
    let known = "field names and values are valid";
    let chain = if header.headers.contains_key(X_FORWARDED_FOR) {
        let claimed = header.headers.get_all(X_FORWARDED_FOR).iter();
        let chain = claimed
            .chain([&forwarding.client])
            .map(HeaderValue::as_bytes);
        HeaderValue::from_bytes(&chain.collect::<Vec<_>>().join(&b", "[..])).expect(known)
    } else {
        forwarding.client.clone()
    };
    header.insert_header(X_FORWARDED_FOR, chain).expect(known);
    let mut default = |name: &'static str, value: &HeaderValue| {
        if !forwarding.trusted || !header.headers.contains_key(name) {
            header.insert_header(name, value.clone()).expect(known);
        }
    };
    default(X_FORWARDED_PROTO, &forwarding.proto);
    default(X_FORWARDED_PORT, &forwarding.port);
    default(X_REAL_IP, &forwarding.client);
    default(X_FORWARDED_HOST, authority);
}

fn request_id(header: &mut RequestHeader) -> HeaderValue {
    if let Some(id) = header.headers.get(X_REQUEST_ID) {
        return id.clone();
    }
    let random = fastrand::u128(..).to_le_bytes();
    let id: [u8; 32] = std::array::from_fn(|place| {
        let half = random[place / 2] >> (place % 2 * 4) & 15;
        b"0123456789abcdef"[usize::from(half)]
    });
    let id = HeaderValue::from_bytes(&id).expect("hexadecimal digits are a valid field value");
    header
        .insert_header(X_REQUEST_ID, id.clone())
        .expect("a header value is valid");
    id
}

/// The names to remove: hop-by-hop ones, those that `Connection` names, forwarding headers of
/// peers that are not trusted, and spellings with underscores that many backends read as the
/// same (CVE-2026-39858 in Traefik).
fn unwanted_in_request(
    headers: &HeaderMap,
    trusted: bool,
) -> Result<smallvec::SmallVec<[HeaderName; 8]>, Failure> {
    let mut unwanted = nominated(headers)?;
    for name in headers.keys() {
        let text = name.as_str();
        let hop_by_hop = is_hop_by_hop(text) || text == "http2-settings";
        if hop_by_hop || is_alias(text) || (!trusted && is_forwarding(text)) {
            unwanted.push(name.clone());
        }
    }
    Ok(unwanted)
}

/// The fields that `Connection` names, beside its own words.
fn nominated(headers: &HeaderMap) -> Result<smallvec::SmallVec<[HeaderName; 8]>, Failure> {
    let mut names = smallvec::SmallVec::new();
    for value in headers.get_all(header::CONNECTION) {
        for token in value
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
        {
            let word: [&[u8]; 4] = [b"", b"keep-alive", b"close", b"upgrade"];
            if word.iter().any(|word| token.eq_ignore_ascii_case(word)) {
                continue;
            }
            let name = HeaderName::from_bytes(token)
                .map_err(|_| Failure::BadRequest("invalid Connection".into()))?;
            if is_protected(name.as_str()) || names.len() == MAX_NOMINATED {
                return Err(Failure::BadRequest(
                    "Connection names an end-to-end field".into(),
                ));
            }
            names.push(name);
        }
    }
    Ok(names)
}

/// Fields without which a message means something else.
fn is_protected(name: &str) -> bool {
    matches!(
        name,
        "host" | "content-length" | "content-type" | "authorization" | "cookie"
    ) || is_forwarding(name)
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn is_forwarding(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || name.starts_with("x-original-")
        || matches!(
            name,
            "forwarded" | "x-real-ip" | "x-request-id" | "x-client-ip" | "true-client-ip"
        )
}

/// Whether a name with underscores is a forwarding header for a backend that cannot tell.
fn is_alias(name: &str) -> bool {
    name.contains('_') && is_forwarding(&name.replace('_', "-"))
}

/// Whether the client asks for trailers (RFC 9110, section 10.1.4).
pub(crate) fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| {
        let mut tokens = value.as_bytes().split(|byte| *byte == b',');
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// Whether a request is a WebSocket handshake (RFC 6455, section 4.1). Other upgrades, `h2c`
/// among them, are not passed on.
pub(crate) fn wants_websocket(header: &RequestHeader) -> bool {
    header.version == Version::HTTP_11
        && header.method == http::Method::GET
        && header
            .headers
            .get(header::UPGRADE)
            .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && header
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .any(|value| {
                let mut tokens = value.as_bytes().split(|byte| *byte == b',');
                tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
            })
}

/// Makes a received response header section one that can be sent to a client. `upgraded` keeps
/// the answer to a WebSocket handshake.
pub(crate) fn prepare_response(header: &mut ResponseHeader, upgraded: bool) {
    let mut unwanted = nominated(&header.headers).unwrap_or_default();
    for name in header.headers.keys() {
        if is_hop_by_hop(name.as_str()) {
            unwanted.push(name.clone());
        }
    }
    for name in unwanted {
        header.remove_header(&name);
    }
    if upgraded {
        let known = "field names and values are valid";
        header.insert_header("Connection", "upgrade").expect(known);
        header.insert_header("Upgrade", "websocket").expect(known);
    }
    if let Some(length) = single_content_length(&header.headers) {
        header
            .insert_header(header::CONTENT_LENGTH, length)
            .expect("field names and values are valid");
    }
}

/// The codec accepts a length said several times if all are equal; it is passed on once. `None`:
/// nothing to change.
fn single_content_length(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = lengths.next()?;
    if lengths.next().is_none() && !first.as_bytes().contains(&b',') {
        return None;
    }
    let length = first.as_bytes().split(|byte| *byte == b',').next()?;
    HeaderValue::from_bytes(length.trim_ascii()).ok()
}

/// Trailers as they may be passed on: without framing, routing or authentication (RFC 9110,
/// section 6.5.1).
pub(crate) fn prepare_trailers(trailers: HeaderMap) -> HeaderMap {
    let forbidden = |name: &HeaderName| {
        is_hop_by_hop(name.as_str()) || is_protected(name.as_str()) || is_alias(name.as_str())
    };
    let mut trailers = trailers;
    let unwanted: Vec<_> = trailers
        .keys()
        .filter(|name| forbidden(name))
        .cloned()
        .collect();
    for name in unwanted {
        trailers.remove(name);
    }
    trailers
}

#[cfg(test)]
mod tests;
