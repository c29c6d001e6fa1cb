//! What a limit counts by: who or what each of its counts is for.

use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
};

use foldhash::quality::FixedState;

use crate::object::Key;

/// Bits of an IPv6 address that are one client where nothing else is said: every network of hosts has as
/// many (RFC 4291, section 2.5.4).
pub const IPV6_PREFIX: u8 = 64;

/// What a limit counts by. A request without the field, the cookie or the claim is counted by its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitKey {
    /// The real client.
    Client {
        /// Addresses of IPv6 that have so many bits in common are one client, as one household has that
        /// many (RFC 6177 has 48 to 64). At least 1.
        ipv6_prefix: u8,
    },
    /// All requests of a route together.
    Route,
    /// The value of a header field.
    Header(Box<str>),
    /// The value of a cookie.
    Cookie(Box<str>),
    /// What a token claims, by the name of the claim or the names that lead to it.
    Claim(Box<str>),
}

/// Who or what a request is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted<'r> {
    /// A client, or a network of them.
    Client(IpAddr),
    /// All requests of this route.
    Route(&'r Key),
    /// All requests with this value.
    Value(&'r [u8]),
    /// All requests with this number, by its bits.
    Number(u64),
}

/// Makes keys of whom requests are counted for: digests with a secret, so that nobody can find two with one
/// key. With one secret, the same on every replica.
#[derive(Clone, Debug)]
pub struct Digests(FixedState);

impl Digests {
    /// Those with this secret.
    pub fn new(secret: u64) -> Self {
        Self(FixedState::with_seed(secret))
    }

    /// The digest of something.
    pub fn of(&self, counted: impl Hash) -> u64 {
        self.0.hash_one(counted)
    }
}

/// With a secret that nobody knows.
impl Default for Digests {
    fn default() -> Self {
        Self::new(RandomState::new().hash_one(0))
    }
}

impl LimitKey {
    /// One word for it, which clients are told.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Client { .. } => "client",
            Self::Route => "route",
            Self::Header(_) => "header",
            Self::Cookie(_) => "cookie",
            Self::Claim(_) => "claim",
        }
    }
}

impl Counted<'_> {
    /// A client, by the first bits of its address where that is one of IPv6.
    pub fn client(address: IpAddr, ipv6_prefix: u8) -> Self {
        Self::Client(network(address, ipv6_prefix))
    }
}

/// The address of a client without the bits that do not matter, where it is one of IPv6.
pub fn network(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            let rest = u128::MAX.checked_shr(ipv6_prefix.into()).unwrap_or(0);
            IpAddr::from((u128::from(address) & !rest).to_be_bytes())
        }
        v4 => v4,
    }
}

/// `client`, or `header X-Api-Key`.
impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Client { .. } | Self::Route => Ok(()),
            Self::Header(name) | Self::Cookie(name) | Self::Claim(name) => write!(f, " {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_one_network_are_one() {
        let cases = [
            ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"),
            ("2001:db8:1:2:3:4:5:6", 48, "2001:db8:1::"),
            ("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", 1, "::"),
            ("192.0.2.1", 64, "192.0.2.1"),
        ];
        for (address, prefix, network) in cases {
            let counted = Counted::client(address.parse().unwrap(), prefix);
            assert_eq!(counted, Counted::Client(network.parse().unwrap()));
        }
    }
}
