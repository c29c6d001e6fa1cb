//! Filters of addresses: which clients may pass.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

/// Which clients may pass: of the networks that an address is in, the one with the longest prefix decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpFilter {
    allow: Box<[IpNet]>,
    deny: Box<[IpNet]>,
    v4: Ranges,
    v6: Ranges,
}

/// What becomes of the addresses of a family: from each of these on, up to the next, they pass or do not.
///
/// Networks are either one in the other or apart, so that they come to a list of ranges, and the longest
/// prefix is known when the table is made. A look-up is a binary search in one piece of memory; a tree,
/// which could be changed, would be walked from node to node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ranges(Box<[(u128, bool)]>);

impl IpFilter {
    /// Lets clients of the one list pass and not those of the other. Who is in neither passes unless
    /// somebody is allowed. A network that is in both does not pass.
    pub fn new(allow: Box<[IpNet]>, deny: Box<[IpNet]>) -> Self {
        let rest = allow.is_empty();
        let of = |family: fn(&IpNet) -> Option<Network>| {
            let allowed = allow.iter().filter_map(family).map(|it| (it, true));
            let denied = deny.iter().filter_map(family).map(|it| (it, false));
            Ranges::new(allowed.chain(denied).collect(), rest)
        };
        let v4 = of(|network| match network {
            IpNet::V4(it) => Some(Network {
                first: u32::from(it.network()).into(),
                last: u32::from(it.broadcast()).into(),
            }),
            IpNet::V6(_) => None,
        });
        let v6 = of(|network| match network {
            IpNet::V6(it) => Some(Network {
                first: it.network().into(),
                last: it.broadcast().into(),
            }),
            IpNet::V4(_) => None,
        });
        Self {
            allow,
            deny,
            v4,
            v6,
        }
    }

    /// The networks whose clients pass.
    pub fn allow(&self) -> &[IpNet] {
        &self.allow
    }

    /// The networks whose clients do not.
    pub fn deny(&self) -> &[IpNet] {
        &self.deny
    }

    /// Whether a client passes. An address of IPv4 in the form of IPv6 is the former
    /// (RFC 4291, section 2.5.5.2).
    pub fn passes(&self, client: IpAddr) -> bool {
        match client.to_canonical() {
            IpAddr::V4(address) => self.v4.get(u32::from(address).into()),
            IpAddr::V6(address) => self.v6.get(address.into()),
        }
    }
}

/// The addresses of a network, as numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Network {
    first: u128,
    last: u128,
}

impl Ranges {
    fn new(mut networks: Vec<(Network, bool)>, rest: bool) -> Self {
        // What is in another comes after it; of two that are the same, the one that denies.
        networks.sort_by_key(|(it, passes)| (it.first, u128::MAX - it.last, !passes));
        let mut ranges = vec![(0, rest)];
        let mut around: Vec<(Network, bool)> = Vec::new();
        for (network, passes) in networks {
            leave(&mut around, Some(network.first), rest, &mut ranges);
            enter(network.first, passes, &mut ranges);
            around.push((network, passes));
        }
        leave(&mut around, None, rest, &mut ranges);
        ranges.dedup_by(|next, range| next.1 == range.1);
        Self(ranges.into())
    }

    fn get(&self, address: u128) -> bool {
        let later = self.0.partition_point(|(first, _)| *first <= address);
        // The first range begins at 0.
        self.0[later - 1].1
    }
}

/// Ends the networks that end before an address, or all: what follows them is as around them.
fn leave(
    around: &mut Vec<(Network, bool)>,
    address: Option<u128>,
    rest: bool,
    ranges: &mut Vec<(u128, bool)>,
) {
    let ends = |network: &Network| address.is_none_or(|address| network.last < address);
    while let Some((network, _)) = around.pop_if(|(network, _)| ends(network)) {
        let passes = around.last().map_or(rest, |(_, passes)| *passes);
        if let Some(next) = network.last.checked_add(1) {
            enter(next, passes, ranges);
        }
    }
}

/// From this address on, whatever was said of it before.
fn enter(address: u128, passes: bool, ranges: &mut Vec<(u128, bool)>) {
    ranges.pop_if(|(first, _)| *first == address);
    ranges.push((address, passes));
}

/// `allows 10.0.0.0/8; denies 10.1.0.0/16, 2001:db8::/32`.
impl fmt::Display for IpFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [("allows", &self.allow), ("denies", &self.deny)];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let lists: Vec<_> = lists
            .map(|(verb, list)| {
                let networks: Vec<_> = list.iter().map(IpNet::to_string).collect();
                format!("{verb} {}", networks.join(", "))
            })
            .collect();
        f.write_str(&lists.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn networks(texts: &[&str]) -> Box<[IpNet]> {
        texts.iter().map(|it| it.parse().unwrap()).collect()
    }

    #[test]
    fn the_longest_prefix_decides() {
        type Case<'c> = (&'c [&'c str], &'c [&'c str], &'c [(&'c str, bool)]);
        let cases: [Case<'_>; 6] = [
            (
                &["10.0.0.0/8", "10.1.2.0/24"],
                &["10.1.0.0/16"],
                &[
                    ("10.0.0.0", true),
                    ("10.0.255.255", true),
                    ("10.1.0.0", false),
                    ("10.1.2.0", true),
                    ("10.1.2.255", true),
                    ("10.1.3.0", false),
                    ("10.1.255.255", false),
                    ("10.2.0.0", true),
                    ("10.255.255.255", true),
                    ("11.0.0.0", false),
                    ("9.255.255.255", false),
                    ("::1", false),
                    ("::ffff:10.1.2.3", true),
                ],
            ),
            (
                &[],
                &["192.0.2.1/32"],
                &[("192.0.2.1", false), ("192.0.2.2", true), ("::1", true)],
            ),
            (
                &["0.0.0.0/0"],
                &["128.0.0.0/1", "255.255.255.255/32"],
                &[
                    ("127.255.255.255", true),
                    ("128.0.0.0", false),
                    ("255.255.255.255", false),
                    ("2001:db8::1", false),
                ],
            ),
            (
                &["::/0"],
                &["2001:db8::/32"],
                &[
                    ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", true),
                    ("2001:db8::", false),
                    ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", false),
                    ("2001:db9::", true),
                    ("192.0.2.1", false),
                ],
            ),
            // Both end at one address.
            (
                &["10.0.0.0/8"],
                &["10.255.0.0/16", "10.255.255.0/24"],
                &[
                    ("10.254.0.0", true),
                    ("10.255.255.255", false),
                    ("11.0.0.0", false),
                ],
            ),
            // One that is in both lists.
            (
                &["10.0.0.0/8"],
                &["10.0.0.0/8"],
                &[("10.0.0.1", false), ("11.0.0.1", false)],
            ),
        ];
        let mut ran = 0;
        for (allow, deny, expected) in cases {
            let filter = IpFilter::new(networks(allow), networks(deny));
            for (client, passes) in expected {
                assert_eq!(filter.passes(client.parse().unwrap()), *passes, "{client}");
                ran += 1;
            }
        }
        assert_eq!(ran, 30);
    }

    /// Networks of few bits, so that many are one in the other.
    fn network() -> impl Strategy<Value = IpNet> {
        prop_oneof![
            (0..4_u32, 0..=32_u8).prop_map(|(bits, length)| {
                let address = IpAddr::from((bits << 30).to_be_bytes());
                IpNet::new(address, length).expect("a length").trunc()
            }),
            (any::<u32>(), 24..=32_u8).prop_map(|(bits, length)| {
                let address = IpAddr::from((bits & 0x3ff).to_be_bytes());
                IpNet::new(address, length).expect("a length").trunc()
            }),
            (any::<u128>(), 0..=128_u8).prop_map(|(bits, length)| {
                let address = IpAddr::from((bits & 0x7 | bits & 0x7 << 125).to_be_bytes());
                IpNet::new(address, length).expect("a length").trunc()
            }),
        ]
    }

    /// The network with the longest prefix, by looking at each.
    fn oracle(allow: &[IpNet], deny: &[IpNet], client: IpAddr) -> bool {
        let client = client.to_canonical();
        let longest = |list: &[IpNet]| {
            let around = list.iter().filter(|it| it.contains(&client));
            around.map(|it| it.prefix_len()).max()
        };
        match (longest(allow), longest(deny)) {
            (None, None) => allow.is_empty(),
            (allowed, denied) => allowed > denied,
        }
    }

    proptest! {
        #[test]
        fn ranges_say_what_each_network_says(
            allow in vec(network(), 0..12),
            deny in vec(network(), 0..12),
            clients in vec(network(), 1..12),
        ) {
            let filter = IpFilter::new(allow.clone().into(), deny.clone().into());
            let clients = clients.iter().chain(&allow).chain(&deny);
            for client in clients.flat_map(|it| [it.network(), it.broadcast()]) {
                let expected = oracle(&allow, &deny, client);
                prop_assert_eq!(filter.passes(client), expected, "{}", client);
            }
        }
    }
}
