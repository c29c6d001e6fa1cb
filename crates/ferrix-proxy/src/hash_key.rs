//! What requests of one endpoint have in common, where a BackendPolicy says what.

use std::net::IpAddr;

use ferrix_http1::RequestHead;
use ferrix_table::{
    backend_policy::BackendPolicy,
    balancing::{self, Algorithm, Asked, HashKey},
    filters::limit_key,
};

use crate::{clock, filters::credentials::parameters, session::cookie};

/// What the choice of an endpoint depends on. A connection has no more than a client, and a request of the
/// proxy's own has none.
pub(crate) fn asked(
    policy: &BackendPolicy,
    head: Option<&RequestHead>,
    client: Option<IpAddr>,
) -> Asked {
    let key = match &policy.balancing.algorithm {
        Algorithm::ConsistentHash { by, .. } => key(by, head, client),
        _ => None,
    };
    Asked {
        key,
        now: clock::milliseconds(),
    }
}

/// The key of a request. `None`: it has none.
fn key(by: &HashKey, head: Option<&RequestHead>, client: Option<IpAddr>) -> Option<u64> {
    let value = match by {
        HashKey::Client { ipv6_prefix } => return Some(of_client(client?, *ipv6_prefix)),
        HashKey::Header(name) => head?.fields.get(name)?,
        HashKey::Cookie(name) => cookie(&head?.fields, name)?,
        HashKey::Query(name) => parameter(head?.target(), name)?,
    };
    Some(balancing::key(value))
}

fn of_client(client: IpAddr, ipv6_prefix: u8) -> u64 {
    match limit_key::network(client, ipv6_prefix) {
        IpAddr::V4(client) => balancing::key(&client.octets()),
        IpAddr::V6(client) => balancing::key(&client.octets()),
    }
}

/// The first value of a parameter, as it stands in the query of a target.
fn parameter<'t>(target: &'t [u8], name: &str) -> Option<&'t [u8]> {
    let mut all = parameters(target);
    all.find_map(|(it, value)| (it == name.as_bytes()).then_some(value))
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::*;

    #[test]
    fn keys_of_requests() {
        let target = b"/a?user=u1&other=2&user=u3&empty";
        let mut head = RequestHead::new(Method::GET, target, Version::HTTP_11);
        head.fields.append("X-User", b"one");
        head.fields.append("Cookie", b"a=1; s=\"two\"");
        let client = IpAddr::from([192, 0, 2, 1]);
        let named = |by: fn(Box<str>) -> HashKey, name: &str| by(name.into());
        let cases: [(HashKey, Option<&[u8]>); 9] = [
            (HashKey::Client { ipv6_prefix: 64 }, Some(&[192, 0, 2, 1])),
            (named(HashKey::Header, "x-user"), Some(b"one")),
            (named(HashKey::Header, "x-other"), None),
            (named(HashKey::Cookie, "s"), Some(b"two")),
            (named(HashKey::Cookie, "t"), None),
            (named(HashKey::Query, "user"), Some(b"u1")),
            (named(HashKey::Query, "use"), None),
            (named(HashKey::Query, "other"), Some(b"2")),
            (named(HashKey::Query, "empty"), Some(b"")),
        ];
        for (by, expected) in cases {
            let found = key(&by, Some(&head), Some(client));
            assert_eq!(found, expected.map(balancing::key), "{by}");
            let without = key(&by, None, None);
            assert_eq!(without, None, "{by}");
        }
    }

    #[test]
    fn clients_of_one_network_have_one_key() {
        let of = |text: &str| of_client(text.parse().unwrap(), 64);
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
