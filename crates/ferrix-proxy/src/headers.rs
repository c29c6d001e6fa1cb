//! What is taken out of a message and what is put in, on its way through.
//!
//! Hop-by-hop fields go first (RFC 9110, section 7.6.1), ours are set afterwards: a client that
//! names one of ours in `Connection` cannot have it removed.

use std::{hint::cold_path, net::IpAddr};

use ferrix_http1::{Fields, Framing, RequestHead, ResponseHead, tokens};
use http::{HeaderMap, HeaderName, StatusCode, Version};
use ipnet::IpNet;
use smallvec::SmallVec;

use crate::{failure::Failure, settings::Underscores};

const FORWARDED: &str = "Forwarded";
const X_FORWARDED_FOR: &str = "X-Forwarded-For";
const X_FORWARDED_HOST: &str = "X-Forwarded-Host";
const X_FORWARDED_PORT: &str = "X-Forwarded-Port";
const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const X_REAL_IP: &str = "X-Real-IP";
const X_REQUEST_ID: &str = "X-Request-Id";

/// More fields than this named by `Connection` are an attack.
const MAX_NOMINATED: usize = 10;

/// Why HTTP/2 fields are refused that RFC 9113, section 8.2.1, calls malformed.
pub(crate) const BLANK_AROUND: &str = "a field value begins or ends with a blank";

/// Longer names than this are no names that a proxy knows.
const LONGEST_KNOWN: usize = 32;

/// What backends are told about a client connection; made once for it.
#[derive(Clone, Debug)]
pub(crate) struct Forwarding {
    trusted: bool,
    client: String,
    port: u16,
    proto: &'static str,
}

impl Forwarding {
    /// `client` sends the requests, and is believed or not. It is the one that PROXY protocol names where
    /// that is spoken: who speaks it passes on what others say. `port` is the entry point's.
    pub(crate) fn new(trusted: &[IpNet], client: IpAddr, port: u16, secure: bool) -> Self {
        Self {
            trusted: trusted.iter().any(|network| network.contains(&client)),
            client: text(client),
            port,
            proto: if secure { "https" } else { "http" },
        }
    }
}

impl Forwarding {
    /// The port of the entry point.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Whether what the client reports is believed.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }
}

/// An address as it is written. The standard library takes a thousand instructions for one of IPv4, which
/// is a tenth of what a new connection costs in user mode.
fn text(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else {
        return address.to_string();
    };
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(octet));
    }
    text
}

/// The value of `X-Request-Id`.
pub(crate) type RequestId = SmallVec<[u8; 32]>;

/// What is known of a header section once it is prepared.
pub(crate) struct Prepared {
    pub(crate) request_id: RequestId,
    /// Whether there are `Connection` or `Upgrade` to settle.
    pub(crate) of_connection: bool,
}

/// Makes a received header section one that can be sent to a backend, but for `Connection` and
/// `Upgrade`: [`settle_connection`] sees to these once the service is known. `real` is the client
/// behind trusted proxies, where it is not the connection's.
pub(crate) fn prepare_request(
    head: &mut RequestHead,
    forwarding: &Forwarding,
    real: Option<IpAddr>,
    body: Framing,
    underscores: Underscores,
) -> Result<Prepared, Failure> {
    let fields = &mut head.fields;
    let wants_trailers = wants_trailers(fields);
    remove_nominated(fields)?;
    let http2 = head.version == Version::HTTP_2;
    let mut refused = None;
    let mut of_connection = false;
    fields.retain(|name, value| {
        if http2 && has_blank_around(value) {
            // RFC 9113, section 8.2.1. HTTP/1 takes them off before anything is compared.
            refused = Some(BLANK_AROUND);
        }
        match judge(name, forwarding.trusted, underscores) {
            Fate::Stay => true,
            Fate::Drop => false,
            Fate::Settle => {
                of_connection = true;
                true
            }
            Fate::Refuse(reason) => {
                refused = Some(reason);
                false
            }
        }
    });
    if let Some(reason) = refused {
        return Err(Failure::BadRequest(reason.into()));
    }
    frame(fields, body);
    if wants_trailers {
        fields.append("TE", b"trailers");
    }
    forward(fields, forwarding, real);
    Ok(Prepared {
        request_id: request_id(fields),
        of_connection,
    })
}

/// Leaves `Connection` and `Upgrade` as the backend gets them. `upgrade` keeps the wish for another
/// protocol; [`wants_upgrade`] said that there is one.
pub(crate) fn settle_connection(fields: &mut Fields, upgrade: bool) {
    if upgrade {
        fields.set("Connection", b"upgrade");
    } else {
        fields.retain(|name, _| !is_of_connection(name));
    }
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

fn forward(fields: &mut Fields, forwarding: &Forwarding, real: Option<IpAddr>) {
    extend_forwarded(fields, forwarding);
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
    let mut port = itoa::Buffer::new();
    default(X_FORWARDED_PORT, port.format(forwarding.port).as_bytes());
    match real {
        None => default(X_REAL_IP, client),
        Some(real) => default(X_REAL_IP, real.to_string().as_bytes()),
    }
    if !forwarding.trusted || !fields.contains(X_FORWARDED_HOST) {
        let host = fields.get("host").unwrap_or_default();
        let host = SmallVec::<[u8; 64]>::from_slice(host);
        fields.append(X_FORWARDED_HOST, &host);
    }
}

/// A trusted `Forwarded` names who spoke to us as well (RFC 7239, section 4). There is none of
/// others, and none is begun.
fn extend_forwarded(fields: &mut Fields, forwarding: &Forwarding) {
    if !fields.contains(FORWARDED) {
        return;
    }
    let Forwarding { client, proto, .. } = forwarding;
    // An address of IPv6 is no token.
    let element = match client.contains(':') {
        true => format!("for=\"[{client}]\";proto={proto}"),
        false => format!("for={client};proto={proto}"),
    };
    let claimed = fields.get_all(FORWARDED).chain([element.as_bytes()]);
    let chain = claimed.collect::<Vec<_>>().join(&b", "[..]);
    fields.set(FORWARDED, &chain);
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
    for value in fields.get_all("connection") {
        for token in tokens(value).filter(|token| !is_connection_option(token)) {
            HeaderName::from_bytes(token)
                .map_err(|_| Failure::BadRequest("invalid Connection".into()))?;
            if known(token, is_protected) || names.len() == MAX_NOMINATED {
                return Err(Failure::BadRequest(
                    "Connection names an end-to-end field".into(),
                ));
            }
            names.push(token.into());
        }
    }
    Ok(names)
}

/// Whether an element of `Connection` is no name of a field.
fn is_connection_option(token: &[u8]) -> bool {
    let options: [&[u8]; 4] = [b"", b"keep-alive", b"close", b"upgrade"];
    options.iter().any(|it| token.eq_ignore_ascii_case(it))
}

/// What becomes of a field of a request.
enum Fate {
    Stay,
    Drop,
    /// It stays until the service is known.
    Settle,
    Refuse(&'static str),
}

/// Drops hop-by-hop fields, forwarding fields of clients that are not trusted, and spellings that
/// many backends read as the same (CVE-2026-39858 in Traefik).
fn judge(name: &[u8], trusted: bool, underscores: Underscores) -> Fate {
    if is_of_connection(name) {
        return Fate::Settle;
    }
    let plain = name
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    if !plain {
        // The `h2` crate takes it for a character of names.
        if name.contains(&b'"') {
            return Fate::Refuse("invalid field name");
        }
        match (name.contains(&b'_'), underscores) {
            (true, Underscores::Refuse) => return Fate::Refuse("a field name has an underscore"),
            (true, Underscores::Allow) => return Fate::Stay,
            _ if known(name, is_alias) => return Fate::Drop,
            _ => {}
        }
    }
    let unwanted = known(name, |name| {
        is_hop_by_hop(name) || is_never_passed_on(name) || (!trusted && is_forwarding(name))
    });
    match unwanted {
        true => Fate::Drop,
        false => Fate::Stay,
    }
}

/// Whether a field is one of those that depend on the service.
fn is_of_connection(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"upgrade")
}

pub(crate) fn has_blank_around(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    blank(value.first()) || blank(value.last())
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

/// Whether a field is about one message or one connection, and means something else on another.
pub(crate) fn is_of_message(name: &str) -> bool {
    known(name.as_bytes(), |name| {
        is_hop_by_hop(name)
            || is_never_passed_on(name)
            || matches!(name, b"host" | b"content-length" | b"expect")
    })
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

/// An offer of another protocol; and what CGI makes the address of a proxy of (CVE-2016-5385).
fn is_never_passed_on(name: &[u8]) -> bool {
    matches!(name, b"http2-settings" | b"proxy")
}

/// Also fields that replace the target for some frameworks.
fn is_forwarding(name: &[u8]) -> bool {
    name.starts_with(b"x-forwarded-")
        || name.starts_with(b"x-original-")
        || matches!(
            name,
            b"forwarded"
                | b"x-real-ip"
                | b"x-request-id"
                | b"x-client-ip"
                | b"true-client-ip"
                | b"x-rewrite-url"
        )
}

/// Whether a name is that of a field of framing, of one hop or of forwarding for a backend that
/// takes all but letters and digits for one character, as CGI does, or leaves it away at the ends.
fn is_alias(name: &[u8]) -> bool {
    let plain = |byte: &u8| match byte.is_ascii_alphanumeric() {
        true => *byte,
        false => b'-',
    };
    let plain: SmallVec<[u8; LONGEST_KNOWN]> = name.iter().map(plain).collect();
    let start = plain.iter().take_while(|byte| **byte == b'-').count();
    let end = plain.iter().rposition(|byte| *byte != b'-');
    let name = &plain[start..end.map_or(start, |end| end + 1)];
    matches!(name, b"content-length" | b"host")
        || is_hop_by_hop(name)
        || is_never_passed_on(name)
        || is_forwarding(name)
}

/// Whether the client asks for trailers (RFC 9110, section 10.1.4).
pub(crate) fn wants_trailers(fields: &Fields) -> bool {
    has_token(fields, "te", b"trailers")
}

fn has_token(fields: &Fields, name: &str, token: &[u8]) -> bool {
    let is_there = |value| tokens(value).any(|it| it.eq_ignore_ascii_case(token));
    fields.get_all(name).any(is_there)
}

/// Whether a request asks for another protocol (RFC 9110, section 7.8), whichever it is: WebSocket,
/// `SPDY/3.1` of Kubernetes, `tcp` of Docker. The backend decides. Only where HTTP itself is among
/// them it is no upgrade: requests that no rule has seen would follow.
pub(crate) fn wants_upgrade(head: &RequestHead) -> bool {
    let mut protocols = head.fields.get_all("upgrade").flat_map(tokens).peekable();
    head.version == Version::HTTP_11
        && protocols.peek().is_some()
        && protocols.all(|protocol| !protocol.is_empty() && !is_http(protocol))
        && has_token(&head.fields, "connection", b"upgrade")
}

/// Whether a protocol name of `Upgrade` is one of HTTP's, in any version.
fn is_http(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next();
    let names: [&[u8]; 5] = [b"h2c", b"h2", b"h3", b"http", b"https"];
    name.is_some_and(|name| names.iter().any(|it| name.eq_ignore_ascii_case(it)))
}

/// Removes from a received response header section what must not be sent on to a client. With
/// `upgraded`, it says which protocol follows, and keeps that.
pub(crate) fn prepare_response(head: &mut ResponseHead, upgraded: bool) {
    let fields = &mut head.fields;
    let chunked = fields.contains("transfer-encoding");
    // An error means that Connection lists a field that it must not. Then nothing that it lists is
    // removed, and the response is passed on all the same.
    let _ = remove_nominated(fields);
    fields.retain(|name, _| {
        let protocol = upgraded && name.eq_ignore_ascii_case(b"upgrade");
        protocol || !known(name, is_hop_by_hop)
    });
    if upgraded {
        fields.append("Connection", b"upgrade");
    }
    // RFC 9110, section 8.6.
    let bodiless = head.status.is_informational() || head.status == StatusCode::NO_CONTENT;
    match chunked || bodiless {
        true => fields.remove("content-length"),
        false => single_content_length(fields),
    }
}

/// A length that is said several times, all equal, is said once, and without leading zeros, which
/// some readers take for the sign of an octal number.
fn single_content_length(fields: &mut Fields) {
    let mut lines = fields.get_all("content-length");
    let (Some(line), further) = (lines.next(), lines.next()) else {
        return;
    };
    let plain = matches!(line, [b'0'] | [b'1'..=b'9', ..]) && line.iter().all(u8::is_ascii_digit);
    if plain && further.is_none() {
        return;
    }
    cold_path();
    let first = tokens(line).next().unwrap_or_default();
    let zeros = first.iter().take_while(|digit| **digit == b'0').count();
    let first = &first[zeros.min(first.len().saturating_sub(1))..];
    let first = SmallVec::<[u8; 32]>::from_slice(first);
    drop(lines);
    fields.set("Content-Length", &first);
}

/// Trailers as they may be passed on: without framing, routing or authentication (RFC 9110,
/// section 6.5.1), and without what only HTTP/2 can carry.
pub(crate) fn prepare_trailers(trailers: HeaderMap) -> HeaderMap {
    let forbidden = |name: &HeaderName| {
        let text = name.as_str().as_bytes();
        is_hop_by_hop(text)
            || is_protected(text)
            || is_never_passed_on(text)
            || is_alias(text)
            || text.contains(&b'"')
            || (trailers.get_all(name).iter()).any(|value| has_blank_around(value.as_bytes()))
    };
    let unwanted: Vec<_> = trailers
        .keys()
        .filter(|name| forbidden(name))
        .cloned()
        .collect();
    let mut trailers = trailers;
    for name in unwanted {
        trailers.remove(name);
    }
    trailers
}

#[cfg(test)]
mod tests;
