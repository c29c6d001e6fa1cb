//! What limits count apart, as it is written.

use ferrix_api::ingressroute::filter;
use ferrix_table::filters::limit_key::{IPV6_PREFIX, LimitKey};

use super::{Faults, is_token};
use crate::report::Reason;

/// `field`: that of the limit.
pub(super) fn compile(
    written: Option<&filter::LimitKey>,
    field: &str,
    faults: &mut Faults,
) -> LimitKey {
    let by_client = LimitKey::Client {
        ipv6_prefix: IPV6_PREFIX,
    };
    let Some(written) = written else {
        return by_client;
    };
    // A field that is new belongs in here.
    let filter::LimitKey {
        client,
        route,
        header,
        cookie,
        claim,
    } = written;
    let name = |name: &String| Box::from(name.as_str());
    let all = [
        client.as_ref().map(|client| LimitKey::Client {
            ipv6_prefix: client.ipv6_prefix.unwrap_or(IPV6_PREFIX),
        }),
        route.as_ref().map(|_| LimitKey::Route),
        header.as_ref().map(|it| LimitKey::Header(name(it))),
        cookie.as_ref().map(|it| LimitKey::Cookie(name(it))),
        claim.as_ref().map(|it| LimitKey::Claim(name(it))),
    ];
    let mut named = all.into_iter().flatten();
    let (Some(key), None) = (named.next(), named.next()) else {
        let message = "expected exactly one of `client`, `route`, `header`, `cookie` and `claim`";
        faults.add(Reason::InvalidSpec, format!("{field}.by"), message);
        return by_client;
    };
    let (name, message) = match &key {
        LimitKey::Client { ipv6_prefix } if !(32..=128).contains(ipv6_prefix) => (
            "client.ipv6Prefix",
            format!("{ipv6_prefix} bits are no client; expected 32 to 128"),
        ),
        LimitKey::Header(name) if !is_token(name) => {
            ("header", format!("`{name}` is no name of a header"))
        }
        LimitKey::Cookie(name) if !is_token(name) => {
            ("cookie", format!("`{name}` is no name of a cookie"))
        }
        LimitKey::Claim(name) if name.is_empty() => {
            ("claim", "expected the name of a claim".to_owned())
        }
        _ => return key,
    };
    faults.add(Reason::InvalidSpec, format!("{field}.by.{name}"), message);
    key
}
