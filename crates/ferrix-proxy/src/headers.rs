//! What is taken out of a message and what is put in, on its way through.
//!
//! Hop-by-hop fields go first (RFC 9110, section 7.6.1), ours are set afterwards: a client that
//! names one of ours in `Connection` cannot have it removed.

use std::net::IpAddr;

use ferrix_http1::{Fields, Framing, RequestHead, ResponseHead, tokens};
use http::{HeaderMap, HeaderName, Method, Version};
use ipnet::IpNet;
use smallvec::SmallVec;

use crate::failure::Failure;

const X_FORWARDED_FOR: &str = "X-Forwarded-For";
const X_FORWARDED_HOST: &str = "X-Forwarded-Host";
const X_FORWARDED_PORT: &str = "X-Forwarded-Port";
const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const X_REAL_IP: &str = "X-Real-IP";
const X_REQUEST_ID: &str = "X-Request-Id";

/// More fields than this named by `Connection` are an attack.
const MAX_NOMINATED: usize = 10;

/// Longer names than this are no names that a proxy knows.
const LONGEST_KNOWN: usize = 32;

/// What backends are told about a client connection; made once for it.
#[derive(Clone, Debug)]
pub(crate) struct Forwarding {
    trusted: bool,
    client: String,
    port: String,
    proto: &'static str,
}

impl Forwarding {
    /// `peer` is who is believed or not; `client` is who PROXY protocol says it is; `port` is the
    /// entry point's.
    pub(crate) fn new(
        trusted: &[IpNet],
        peer: IpAddr,
        client: IpAddr,
        port: u16,
        secure: bool,
    ) -> Self {
        Self {
            trusted: trusted.iter().any(|network| network.contains(&peer)),
            client: client.to_string(),
            port: port.to_string(),
            proto: if secure { "https" } else { "http" },
        }
    }
}

/// The value of `X-Request-Id`.
pub(crate) type RequestId = SmallVec<[u8; 32]>;

/// Makes a received header section one that can be sent to a backend. Returns the value of
/// `X-Request-Id`.
///
/// `upgrade` keeps the request for WebSocket; [`wants_websocket`] said that it is one.
pub(crate) fn prepare_request(
    head: &mut RequestHead,
    forwarding: &Forwarding,
    body: Framing,
    upgrade: bool,
) -> Result<RequestId, Failure> {
    let fields = &mut head.fields;
    let wants_trailers = wants_trailers(fields);
    remove_nominated(fields)?;
    let trusted = forwarding.trusted;
    fields.retain(|name, _| !is_unwanted(name, trusted));
    frame(fields, body);
    if upgrade {
        fields.append("Connection", b"upgrade");
        fields.append("Upgrade", b"websocket");
    }
    if wants_trailers {
        fields.append("TE", b"trailers");
    }
    forward(fields, forwarding);
    Ok(request_id(fields))
}

/// A length may be said several times if all are equal; it is passed on once, or not at all where
/// chunks say the end.
fn frame(fields: &mut Fields, body: Framing) {
    match body {
        Framing::Chunked => {
            fields.remove("content-length");
            fields.append("Transfer-Encoding", b"chunked");
        }
        _ => single_content_length(fields),
    }
}

fn forward(fields: &mut Fields, forwarding: &Forwarding) {
    let client = forwarding.client.as_bytes();
    if fields.contains(X_FORWARDED_FOR) {
        let claimed = fields.get_all(X_FORWARDED_FOR).chain([client]);
        let chain = claimed.collect::<Vec<_>>().join(&b", "[..]);
        fields.set(X_FORWARDED_FOR, &chain);
    } else {
        fields.append(X_FORWARDED_FOR, client);
    }
    let mut default = |name: &'static str, value: &[u8]| {
        if !forwarding.trusted || !fields.contains(name) {
            fields.append(name, value);
        }
    };
    default(X_FORWARDED_PROTO, forwarding.proto.as_bytes());
    default(X_FORWARDED_PORT, forwarding.port.as_bytes());
    default(X_REAL_IP, client);
    if !forwarding.trusted || !fields.contains(X_FORWARDED_HOST) {
        let host = fields.get("host").unwrap_or_default();
        let host = SmallVec::<[u8; 64]>::from_slice(host);
        fields.append(X_FORWARDED_HOST, &host);
    }
}

fn request_id(fields: &mut Fields) -> RequestId {
    if let Some(id) = fields.get(X_REQUEST_ID) {
        return SmallVec::from_slice(id);
    }
    let random = fastrand::u128(..).to_le_bytes();
    let id: [u8; 32] = std::array::from_fn(|place| {
        let half = random[place / 2] >> (place % 2 * 4) & 15;
        b"0123456789abcdef"[usize::from(half)]
    });
    fields.append(X_REQUEST_ID, &id);
    SmallVec::from(id)
}

/// Takes out the fields that `Connection` names, beside its own words.
fn remove_nominated(fields: &mut Fields) -> Result<(), Failure> {
    let names = nominated(fields)?;
    if !names.is_empty() {
        fields.retain(|name, _| !names.iter().any(|it| name.eq_ignore_ascii_case(it)));
    }
    Ok(())
}

fn nominated(fields: &Fields) -> Result<Vec<Box<[u8]>>, Failure> {
    let mut names = Vec::new();
    for token in fields.get_all("connection").flat_map(tokens) {
        let word: [&[u8]; 4] = [b"", b"keep-alive", b"close", b"upgrade"];
        if word.iter().any(|word| token.eq_ignore_ascii_case(word)) {
            continue;
        }
        HeaderName::from_bytes(token)
            .map_err(|_| Failure::BadRequest("invalid Connection".into()))?;
        if known(token, is_protected) || names.len() == MAX_NOMINATED {
            return Err(Failure::BadRequest(
                "Connection names an end-to-end field".into(),
            ));
        }
        names.push(token.into());
    }
    Ok(names)
}

/// Hop-by-hop fields, forwarding fields of peers that are not trusted, and spellings with
/// underscores that many backends read as the same (CVE-2026-39858 in Traefik).
fn is_unwanted(name: &[u8], trusted: bool) -> bool {
    known(name, |name| {
        is_hop_by_hop(name)
            || name == b"http2-settings"
            || is_alias(name)
            || (!trusted && is_forwarding(name))
    })
}

/// Whether `test` knows a name, which it gets in lower case.
fn known(name: &[u8], test: impl Fn(&[u8]) -> bool) -> bool {
    let mut lower = [0; LONGEST_KNOWN];
    let length = name.len().min(LONGEST_KNOWN);
    let lower = &mut lower[..length];
    lower.copy_from_slice(&name[..length]);
    lower.make_ascii_lowercase();
    test(lower)
}

/// Fields without which a message means something else.
fn is_protected(name: &[u8]) -> bool {
    matches!(
        name,
        b"host" | b"content-length" | b"content-type" | b"authorization" | b"cookie"
    ) || is_forwarding(name)
}

fn is_hop_by_hop(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection"
            | b"keep-alive"
            | b"proxy-connection"
            | b"proxy-authenticate"
            | b"proxy-authorization"
            | b"te"
            | b"trailer"
            | b"transfer-encoding"
            | b"upgrade"
    )
}

fn is_forwarding(name: &[u8]) -> bool {
    name.starts_with(b"x-forwarded-")
        || name.starts_with(b"x-original-")
        || matches!(
            name,
            b"forwarded" | b"x-real-ip" | b"x-request-id" | b"x-client-ip" | b"true-client-ip"
        )
}

/// Whether a name with underscores is a forwarding header for a backend that cannot tell.
fn is_alias(name: &[u8]) -> bool {
    let dash = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
    name.contains(&b'_') && is_forwarding(&name.iter().map(dash).collect::<SmallVec<[u8; 32]>>())
}

/// Whether the client asks for trailers (RFC 9110, section 10.1.4).
pub(crate) fn wants_trailers(fields: &Fields) -> bool {
    has_token(fields, "te", b"trailers")
}

fn has_token(fields: &Fields, name: &str, token: &[u8]) -> bool {
    let mut tokens = fields.get_all(name).flat_map(tokens);
    tokens.any(|it| it.eq_ignore_ascii_case(token))
}

/// Whether a request is a WebSocket handshake (RFC 6455, section 4.1). Other upgrades, `h2c`
/// among them, are not passed on.
pub(crate) fn wants_websocket(head: &RequestHead) -> bool {
    let upgrade = head.fields.get("upgrade");
    upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && head.version == Version::HTTP_11
        && head.method == Method::GET
        && has_token(&head.fields, "connection", b"upgrade")
}

/// Makes a received response header section one that can be sent to a client. `upgraded` keeps
/// the answer to a WebSocket handshake.
pub(crate) fn prepare_response(head: &mut ResponseHead, upgraded: bool) {
    let fields = &mut head.fields;
    let chunked = fields.contains("transfer-encoding");
    // What cannot be nominated stays.
    let _ = remove_nominated(fields);
    fields.retain(|name, _| !known(name, is_hop_by_hop));
    if upgraded {
        fields.append("Connection", b"upgrade");
        fields.append("Upgrade", b"websocket");
    }
    match chunked {
        true => fields.remove("content-length"),
        false => single_content_length(fields),
    }
}

/// A length that is said several times, all equal, is said once.
fn single_content_length(fields: &mut Fields) {
    let mut lengths = fields.get_all("content-length").flat_map(tokens);
    let (Some(first), Some(_)) = (lengths.next(), lengths.next()) else {
        return;
    };
    let first = SmallVec::<[u8; 32]>::from_slice(first);
    drop(lengths);
    fields.set("Content-Length", &first);
}

/// Trailers as they may be passed on: without framing, routing or authentication (RFC 9110,
/// section 6.5.1).
pub(crate) fn prepare_trailers(trailers: HeaderMap) -> HeaderMap {
    let forbidden = |name: &HeaderName| {
        let name = name.as_str().as_bytes();
        is_hop_by_hop(name) || is_protected(name) || is_alias(name)
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
