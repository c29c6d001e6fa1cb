//! Who a request is really from, where trusted proxies stand in between.
//!
//! Each proxy appends the address of who spoke to it. From the connection backwards, an address is
//! believed as long as the one that reported it is a trusted proxy's; the first that is no trusted
//! proxy is the client. What stands before it may be anybody's invention.

use std::net::{IpAddr, SocketAddr};

use ferrix_http1::{Fields, tokens};
use ipnet::IpNet;

use crate::address::Address;

/// The client of a request that came from `connection`, by its own `X-Forwarded-For`, or by
/// `Forwarded` (RFC 7239) where that is absent. The port is 0 where it was not reported.
pub(crate) fn real_client(fields: &Fields, connection: Address, trusted: &[IpNet]) -> Address {
    let is_trusted = |address: Address| {
        let ip = address.ip();
        trusted.iter().any(|network| network.contains(&ip))
    };
    if !is_trusted(connection) {
        return connection;
    }
    let reports: Vec<Option<Address>> = match fields.contains("x-forwarded-for") {
        true => {
            let values = fields.get_all("x-forwarded-for");
            values.flat_map(tokens).map(node).collect()
        }
        false => {
            let values = fields.get_all("forwarded");
            values.flat_map(elements).map(forwarded_for).collect()
        }
    };
    let mut client = connection;
    for report in reports.into_iter().rev() {
        // Behind what is no address, nobody knows who reported.
        let Some(address) = report else { break };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// The elements of a `Forwarded` value (RFC 7239, section 4): commas within quotes end none.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(value, b',')
}

fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |byte| {
        let ends = *byte == separator && !quoted;
        quoted ^= *byte == b'"' && !escaped;
        escaped = quoted && *byte == b'\\' && !escaped;
        ends
    })
}

/// What an element says of who spoke to the proxy.
fn forwarded_for(element: &[u8]) -> Option<Address> {
    let pair = split(element, b';').find_map(|pair| {
        let (name, value) = pair.split_at_checked(pair.iter().position(|byte| *byte == b'=')?)?;
        name.trim_ascii()
            .eq_ignore_ascii_case(b"for")
            .then_some(&value[1..])
    })?;
    let pair = pair.trim_ascii();
    let unquoted = pair
        .strip_prefix(b"\"")
        .and_then(|it| it.strip_suffix(b"\""));
    node(unquoted.unwrap_or(pair))
}

/// An address with or without brackets and port (RFC 7239, section 6).
fn node(text: &[u8]) -> Option<Address> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    let plain = text
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .unwrap_or(text);
    let alone = plain.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    let address = alone.or_else(|_| text.parse::<SocketAddr>()).ok()?;
    Some(address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&'static str, &str)], connection: &str, expected: &str) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut head = Fields::default();
        for (name, value) in fields {
            head.append(name, value.as_bytes());
        }
        let connection = SocketAddr::new(connection.parse().unwrap(), 4711);
        let client = real_client(&head, connection.into(), &trusted);
        assert_eq!(client.ip().to_string(), expected, "{fields:?}");
    }

    #[test]
    fn the_last_that_is_no_trusted_proxy() {
        const FOR: &str = "X-Forwarded-For";
        let cases: [(&[(&'static str, &str)], &str); 27] = [
            (&[], "10.0.0.1"),
            (&[(FOR, "192.0.2.7")], "192.0.2.7"),
            (&[(FOR, "::ffff:192.0.2.7")], "192.0.2.7"),
            (&[(FOR, "1.1.1.1, 192.0.2.7")], "192.0.2.7"),
            (&[(FOR, "1.1.1.1, 192.0.2.7, 10.1.1.1")], "192.0.2.7"),
            (
                &[(FOR, "1.1.1.1"), (FOR, "192.0.2.7 ,10.1.1.1")],
                "192.0.2.7",
            ),
            (&[(FOR, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            (&[(FOR, "192.0.2.7:1234")], "192.0.2.7"),
            (&[(FOR, "[2001:db8::1]:1234")], "2001:db8::1"),
            (&[(FOR, "[2001:db8::1]")], "2001:db8::1"),
            (&[(FOR, "2001:db8::1, fd00::1")], "2001:db8::1"),
            // What is no address says nothing, nor does what stands before it.
            (&[(FOR, "unknown")], "10.0.0.1"),
            (&[(FOR, "192.0.2.7, unknown, 10.0.0.2")], "10.0.0.2"),
            (&[(FOR, "192.0.2.7,")], "10.0.0.1"),
            (&[(FOR, "")], "10.0.0.1"),
            (&[("Forwarded", "for=192.0.2.7")], "192.0.2.7"),
            (
                &[("Forwarded", "For=\"192.0.2.7:80\";proto=https")],
                "192.0.2.7",
            ),
            (
                &[("Forwarded", "proto=https; for=\"[2001:db8::1]:80\"")],
                "2001:db8::1",
            ),
            (
                &[("Forwarded", "for=1.1.1.1, for=192.0.2.7;by=10.0.0.9")],
                "192.0.2.7",
            ),
            (&[("Forwarded", "for=192.0.2.7, for=10.0.0.2")], "192.0.2.7"),
            (
                &[
                    ("Forwarded", "for=192.0.2.7"),
                    ("Forwarded", "for=10.0.0.2"),
                ],
                "192.0.2.7",
            ),
            (&[("Forwarded", "for=\"_a,for=1.1.1.1\"")], "10.0.0.1"),
            (&[("Forwarded", "for=_hidden, for=10.0.0.2")], "10.0.0.2"),
            (&[("Forwarded", "for=unknown")], "10.0.0.1"),
            (&[("Forwarded", "by=192.0.2.7")], "10.0.0.1"),
            (&[("Forwarded", "for")], "10.0.0.1"),
            (
                &[(FOR, "192.0.2.7"), ("Forwarded", "for=192.0.2.8")],
                "192.0.2.7",
            ),
        ];
        for (fields, expected) in cases {
            check(fields, "10.0.0.1", expected);
            // Of a stranger, nothing is believed.
            check(fields, "203.0.113.9", "203.0.113.9");
        }
    }
}
