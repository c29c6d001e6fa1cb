//! Who or what a limit counts a request for.

use std::net::IpAddr;

use ferrix_http1::RequestHead;
use ferrix_table::{
    filters::limit_key::{Counted, IPV6_PREFIX, LimitKey},
    object::Key,
};

use crate::session::cookie;

/// What a limit by this counts a request of a client for.
pub(crate) fn counted<'r>(
    by: &LimitKey,
    head: &'r RequestHead,
    client: IpAddr,
    route: &'r Key,
) -> Counted<'r> {
    let value = match by {
        LimitKey::Client { ipv6_prefix } => return Counted::client(client, *ipv6_prefix),
        LimitKey::Route => return Counted::Route(route),
        LimitKey::Header(name) => head.fields.get(name),
        LimitKey::Cookie(name) => cookie(&head.fields, name),
    };
    match value {
        Some(value) => Counted::Value(value),
        None => Counted::client(client, IPV6_PREFIX),
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::*;
    use ferrix_table::object::Kind;

    #[test]
    fn who_a_request_is_counted_for() {
        let route = Key::new(Kind::IngressRoute, "default", "r");
        let client = IpAddr::from([192, 0, 2, 1]);
        let mut head = RequestHead::new(Method::GET, b"/", Version::HTTP_11);
        head.fields.append("X-Api-Key", b"one");
        head.fields.append("Cookie", b"a=1; session=\"two\"");
        let header = |name: &str| LimitKey::Header(name.into());
        let cookie = |name: &str| LimitKey::Cookie(name.into());
        let cases = [
            (
                LimitKey::Client { ipv6_prefix: 64 },
                Counted::Client(client),
            ),
            (LimitKey::Route, Counted::Route(&route)),
            (header("x-api-key"), Counted::Value(b"one")),
            (header("x-other"), Counted::Client(client)),
            (cookie("session"), Counted::Value(b"two")),
            (cookie("sess"), Counted::Client(client)),
        ];
        for (by, expected) in cases {
            assert_eq!(counted(&by, &head, client, &route), expected, "{by}");
        }
    }
}
