//! Addresses that can be compared.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// The address of a client or of whoever connected, in canonical form.
///
/// A socket for both families of addresses names clients over IPv4 by addresses of IPv6
/// (`::ffff:192.0.2.1`; RFC 4291, section 2.5.5.2), which no network of IPv4 contains. A load balancer
/// may do the same in a PROXY protocol header. This type can hold no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(SocketAddr);

impl Address {
    pub(crate) fn ip(self) -> IpAddr {
        self.0.ip()
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl From<Address> for SocketAddr {
    fn from(address: Address) -> Self {
        address.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
