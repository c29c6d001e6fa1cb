//! Who or what a limit counts a request for.

use std::net::IpAddr;

use ferrix_http1::RequestHead;
use ferrix_table::{
    filters::limit_key::{Counted, IPV6_PREFIX, LimitKey},
    object::Key,
};
use serde_json::Value;

use super::jwt::{self, Claims};
use crate::session::cookie;

/// What a limit by this counts a request of a client for. `claims`: those of its token.
pub(crate) fn counted<'r>(
    by: &LimitKey,
    head: &'r RequestHead,
    claims: Option<&'r Claims>,
    client: IpAddr,
    route: &'r Key,
) -> Counted<'r> {
    let value = match by {
        LimitKey::Client { ipv6_prefix } => return Counted::client(client, *ipv6_prefix),
        LimitKey::Route => return Counted::Route(route),
        LimitKey::Header(name) => head.fields.get(name),
        LimitKey::Cookie(name) => cookie(&head.fields, name),
        LimitKey::Claim(name) => {
            let claim = claims.and_then(|claims| jwt::claim(claims, name));
            let counted = claim.and_then(of_claim);
            return counted.unwrap_or(Counted::client(client, IPV6_PREFIX));
        }
    };
    match value {
        Some(value) => Counted::Value(value),
        None => Counted::client(client, IPV6_PREFIX),
    }
}

/// `None`: it is no one value.
fn of_claim(claim: &Value) -> Option<Counted<'_>> {
    match claim {
        Value::String(text) => Some(Counted::Value(text.as_bytes())),
        Value::Bool(value) => Some(Counted::Number(u64::from(*value))),
        Value::Number(number) => {
            let signed = || number.as_i64().map(i64::cast_unsigned);
            let float = || number.as_f64().map(f64::to_bits);
            let bits = number.as_u64().or_else(signed).or_else(float);
            bits.map(Counted::Number)
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};
    use serde_json::json;

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
        let claim = |name: &str| LimitKey::Claim(name.into());
        let Value::Object(claims) = json!({
            "sub": "alice", "tenant": {"id": 7}, "minus": -1, "half": 0.5, "paid": true, "roles": ["a"],
            "none": null,
        }) else {
            panic!()
        };
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
            (claim("sub"), Counted::Value(b"alice")),
            (claim("tenant.id"), Counted::Number(7)),
            (claim("minus"), Counted::Number(u64::MAX)),
            (claim("half"), Counted::Number(0.5_f64.to_bits())),
            (claim("paid"), Counted::Number(1)),
            (claim("roles"), Counted::Client(client)),
            (claim("tenant"), Counted::Client(client)),
            (claim("none"), Counted::Client(client)),
            (claim("other"), Counted::Client(client)),
        ];
        for (by, expected) in &cases {
            let found = counted(by, &head, Some(&claims), client, &route);
            assert_eq!(found, *expected, "{by}");
        }
        assert_eq!(cases.len(), 15);
        let found = counted(&claim("sub"), &head, None, client, &route);
        assert_eq!(found, Counted::Client(client));
    }
}
