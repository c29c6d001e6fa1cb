//! Addresses that nobody who writes an object may have Ferrix connect to.

use std::net::IpAddr;

/// Why an address is never connected to, where it is not: what listens on the proxy's own host, and what a
/// cloud offers to its machines, is not for whoever may write an EndpointSlice or a URL. `loopback`: whether
/// loopback addresses are allowed all the same.
pub fn refusal(address: IpAddr, loopback: bool) -> Option<&'static str> {
    let address = address.to_canonical();
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    if address.is_loopback() && !loopback {
        Some("loopback addresses are refused")
    } else if link_local {
        Some("link-local addresses are refused")
    } else if address.is_unspecified() {
        Some("the unspecified address is refused")
    } else if address.is_multicast() || broadcast {
        Some("multicast and broadcast addresses are refused")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_hosts_or_the_clouds_is_refused() {
        let cases = [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("169.254.169.254", true),
            ("::ffff:169.254.169.254", true),
            ("fe80::1", true),
            ("0.0.0.0", true),
            ("::", true),
            ("224.0.0.1", true),
            ("255.255.255.255", true),
            ("10.0.0.1", false),
            ("fd00::1", false),
        ];
        for (address, refused) in cases {
            let address = address.parse().unwrap();
            assert_eq!(refusal(address, false).is_some(), refused, "{address}");
        }
        assert_eq!(cases.len(), 12);
        let loopback = ["127.0.0.1", "::1", "::ffff:127.0.0.1"].map(|it| it.parse().unwrap());
        assert_eq!(loopback.map(|it| refusal(it, true)), [None; 3]);
    }
}
