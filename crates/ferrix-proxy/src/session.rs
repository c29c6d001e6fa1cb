//! Sessions: a client comes back to the endpoint that answered it first (Gateway API,
//! `SessionPersistence`).
//!
//! What the client keeps is a digest of the Service and the address of the endpoint. It tells neither,
//! and finds an endpoint only among those that the rule has at the moment: a token that was made up finds
//! none. Every replica makes the same one, without having to know any other.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use ferrix_http1::{Fields, RequestHead};
use ferrix_table::{
    Table,
    policy::{Session, SessionCarrier},
    rules::{Destination, Split},
    services::{Service, ServiceId},
};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;

/// Which endpoint a client is to come back to, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    digest: [u8; 16],
    /// In seconds since 1970; 0: for as long as the endpoint is there.
    until: u64,
}

impl Token {
    /// That of an endpoint of a service, without an end.
    pub(crate) fn of(service: &ServiceId, endpoint: SocketAddr) -> Self {
        let text = format!("{service} {} {endpoint}", service.scheme.as_str());
        Self {
            digest: digest(text.as_bytes()),
            until: 0,
        }
    }

    /// As a client has it: a digest, and where the session ends `.` and its end, both in hexadecimal.
    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (digest, until) = match text.split_once('.') {
            Some((digest, until)) => (digest, u64::from_str_radix(until, 16).ok()?),
            None => (text, 0),
        };
        if digest.len() != 32 || digest.starts_with('+') {
            return None;
        }
        let digest = u128::from_str_radix(digest, 16).ok()?.to_be_bytes();
        Some(Self { digest, until })
    }

    fn text(self) -> String {
        let digest = u128::from_be_bytes(self.digest);
        match self.until {
            0 => format!("{digest:032x}"),
            until => format!("{digest:032x}.{until:x}"),
        }
    }

    fn is_for(self, other: Self) -> bool {
        self.digest == other.digest
    }
}

/// The first half of SHA-256, by the library that TLS is made with.
fn digest(bytes: &[u8]) -> [u8; 16] {
    let suite = TLS13_AES_128_GCM_SHA256.tls13();
    let hash = suite
        .expect("it is a suite of TLS 1.3")
        .common
        .hash_provider;
    let mut half = [0; 16];
    half.copy_from_slice(&hash.hash(bytes).as_ref()[..16]);
    half
}

/// The token that a request has, unless its session has ended.
pub(crate) fn token(session: &Session, head: &RequestHead) -> Option<Token> {
    let token = match &session.carrier {
        SessionCarrier::Cookie { name, .. } => Token::parse(cookie(&head.fields, name)?)?,
        SessionCarrier::Header(name) => Token::parse(head.fields.get(name)?)?,
    };
    let lasts = match session.absolute_timeout {
        None => true,
        // One without an end was given before there was one.
        Some(timeout) => (seconds()..=seconds() + timeout.as_secs()).contains(&token.until),
    };
    lasts.then_some(token)
}

/// The value of a cookie: of several of one name, that of the first.
pub(crate) fn cookie<'f>(fields: &'f Fields, name: &str) -> Option<&'f [u8]> {
    cookies(fields, name).next()
}

/// The values of all cookies of a name.
pub(crate) fn cookies<'f, 'n>(
    fields: &'f Fields,
    name: &'n str,
) -> impl Iterator<Item = &'f [u8]> + use<'f, 'n> {
    let pairs = fields.get_all("cookie");
    let pairs = pairs.flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(unquoted(value))
    })
}

/// The value of a cookie may stand in quotation marks (RFC 6265, section 4.1.1).
fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"");
    inner.and_then(|it| it.strip_suffix(b"\"")).unwrap_or(value)
}

/// Where the endpoint of a token is, if the rule has it still.
pub(crate) fn find<'s>(
    token: Token,
    split: &'s Split,
    table: &Table,
) -> Option<(&'s Destination, SocketAddr)> {
    split.weights().find_map(|(destination, _)| {
        let index = *destination.service.as_ref().ok()?;
        Some((destination, find_in(token, table.service(index)?)?))
    })
}

/// The endpoint of a token among those of a service.
pub(crate) fn find_in(token: Token, service: &Service) -> Option<SocketAddr> {
    let mut addresses = service.endpoints.iter().map(|endpoint| endpoint.address);
    addresses.find(|it| token.is_for(Token::of(&service.id, *it)))
}

/// Gives the client the token of the endpoint that has answered, unless it has it.
pub(crate) fn keep(
    session: &Session,
    has: Option<Token>,
    token: Token,
    secure: bool,
    fields: &mut Fields,
) {
    if has.is_some_and(|has| has.is_for(token)) {
        return;
    }
    let lasts = session.absolute_timeout;
    let token = Token {
        until: lasts.map_or(0, |lasts| seconds() + lasts.as_secs()),
        ..token
    };
    match &session.carrier {
        SessionCarrier::Header(name) => fields.set(name, token.text().as_bytes()),
        SessionCarrier::Cookie {
            name,
            path,
            permanent,
        } => {
            let mut cookie = format!(
                "{name}={}; Path={path}; HttpOnly; SameSite=Lax",
                token.text()
            );
            if let Some(lasts) = lasts.filter(|_| *permanent) {
                cookie += &format!("; Max-Age={}", lasts.as_secs());
            }
            if secure {
                cookie += "; Secure";
            }
            fields.append("Set-Cookie", cookie.as_bytes());
        }
    }
}

fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.as_ref().map_or(0, Duration::as_secs)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferrix_table::{object::ObjectName, services::Scheme};
    use http::{Method, Version};

    use super::*;

    fn service(name: &str) -> ServiceId {
        ServiceId {
            service: ObjectName::new("default", name),
            port: 80,
            scheme: Scheme::Http,
        }
    }

    fn session(absolute_timeout: Option<Duration>) -> Session {
        Session {
            carrier: SessionCarrier::Cookie {
                name: Arc::from("s"),
                path: Arc::from("/app"),
                permanent: true,
            },
            absolute_timeout,
        }
    }

    fn with_cookie(value: &str) -> RequestHead {
        let mut head = RequestHead::new(Method::GET, b"/", Version::HTTP_11);
        head.fields.append("Cookie", value.as_bytes());
        head
    }

    #[test]
    fn a_client_gives_back_what_it_was_given() {
        let endpoint = "10.0.0.7:8080".parse().unwrap();
        let token = Token::of(&service("a"), endpoint);
        let mut cases = 0;
        for timeout in [None, Some(Duration::from_secs(60))] {
            let session = session(timeout);
            let mut fields = Fields::default();
            keep(&session, None, token, true, &mut fields);
            let cookie = fields.get("set-cookie").unwrap();
            let cookie = std::str::from_utf8(cookie).unwrap();
            assert!(!cookie.contains("10.0.0.7"), "{cookie}");
            assert!(
                cookie.contains("; Path=/app; HttpOnly; SameSite=Lax"),
                "{cookie}"
            );
            assert!(cookie.ends_with("; Secure"), "{cookie}");
            assert_eq!(
                cookie.contains("; Max-Age=60"),
                timeout.is_some(),
                "{cookie}"
            );
            let pair = cookie.split(';').next().unwrap();
            let back = super::token(&session, &with_cookie(&format!("a=b; {pair}; c=d")));
            assert!(back.unwrap().is_for(token));
            let mut again = Fields::default();
            keep(&session, back, token, true, &mut again);
            assert!(again.is_empty(), "it has it");
            cases += 1;
        }
        assert_eq!(cases, 2);
    }

    #[test]
    fn sessions_end() {
        let digest = "0".repeat(32);
        let hour = session(Some(Duration::from_secs(3600)));
        let at = |seconds: u64| with_cookie(&format!("s={digest}.{seconds:x}"));
        assert!(token(&hour, &at(seconds() + 60)).is_some());
        assert!(token(&hour, &at(seconds() - 60)).is_none());
        assert!(token(&hour, &at(seconds() + 7200)).is_none(), "made longer");
        assert!(token(&hour, &with_cookie(&format!("s={digest}"))).is_none());
        assert!(token(&session(None), &with_cookie(&format!("s=\"{digest}\""))).is_some());
        for wrong in ["s=", "s=abc", "s=zz", "t=1", &format!("s={digest}.")] {
            assert!(
                token(&session(None), &with_cookie(wrong)).is_none(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn tokens_tell_services_and_endpoints_apart() {
        let [one, other] = ["10.0.0.7:80", "10.0.0.8:80"].map(|it| it.parse().unwrap());
        let token = Token::of(&service("a"), one);
        assert!(token.is_for(Token::of(&service("a"), one)));
        assert!(!token.is_for(Token::of(&service("a"), other)));
        assert!(!token.is_for(Token::of(&service("b"), one)));
    }
}
