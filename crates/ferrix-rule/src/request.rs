//! What a rule can see of a request.

use std::{fmt::Debug, net::IpAddr};

use http::{HeaderMap, HeaderName, Method};

/// The parts of a request that rules look at, already in canonical form.
///
/// It borrows everything, so that matching allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The request method, case-sensitive (RFC 9110, section 9.1).
    pub method: &'a Method,
    /// The canonical host: lower case, without port, IPv6 brackets or a trailing dot.
    /// Empty where the request names none.
    pub host: &'a str,
    /// The routing path: every percent-encoding decoded but those of reserved characters
    /// (`: / ? # [ ] @ ! $ & ' ( ) * + , ; = %`) and of bytes that are not UTF-8.
    pub path: &'a str,
    /// The raw query, without the question mark. Empty where there is none.
    pub query: &'a str,
    /// The header fields as received. `Host` is not among them for a rule.
    pub headers: &'a dyn Headers,
    /// The address of the client: the connection's, after PROXY protocol and behind trusted proxies.
    pub client: IpAddr,
}

/// Header fields, however the reader of a message keeps them.
pub trait Headers: Debug + Sync {
    /// Whether one of the values of a field passes the test.
    fn any(&self, name: &HeaderName, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

impl Headers for HeaderMap {
    fn any(&self, name: &HeaderName, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.get_all(name)
            .iter()
            .any(|value| test(value.as_bytes()))
    }
}
