//! Which addresses each Gateway has, where there is a pool of them.
//!
//! Follows from the Gateways alone, with the addresses that their statuses tell: so every replica comes
//! to the same, and a Gateway keeps its address when others come and go, and over restarts.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use ferrix_api::gateway::GatewayAddress;
use ipnet::IpNet;

use crate::{gateway::GatewayVersion, objects::Key};

/// The type of addresses that can be had.
pub(crate) const IP_ADDRESS: &str = "IPAddress";

/// What became of the addresses that a Gateway asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) assigned: Vec<IpAddr>,
    /// Those that it asks for by value and cannot have, each with a sentence that says why.
    pub(crate) unusable: Vec<String>,
}

/// Shares a pool out among Gateways, the oldest of which comes first.
pub(crate) fn share(gateways: &[&GatewayVersion], pool: &[IpNet]) -> HashMap<Key, Addresses> {
    let mut sharing = Sharing {
        pool,
        taken: HashSet::new(),
        addresses: HashMap::new(),
    };
    for gateway in gateways {
        sharing.give_values(gateway);
    }
    let any = gateways.iter().filter(|it| wants_any(it));
    // Before others are given what is free.
    let (known, unknown): (Vec<&GatewayVersion>, Vec<_>) =
        any.partition(|gateway| sharing.give_known(gateway));
    drop(known);
    for gateway in unknown {
        sharing.give_free(gateway);
    }
    sharing.addresses
}

/// An address of a type that is not known, where there is one.
pub(crate) fn unsupported(addresses: &[GatewayAddress]) -> Option<&GatewayAddress> {
    addresses.iter().find(|it| it.kind != IP_ADDRESS)
}

/// Whether any address will do for a Gateway.
fn wants_any(gateway: &GatewayVersion) -> bool {
    let wanted = &gateway.spec.gateway.addresses;
    wanted.iter().all(|it| it.value.is_none())
}

struct Sharing<'p> {
    pool: &'p [IpNet],
    taken: HashSet<IpAddr>,
    addresses: HashMap<Key, Addresses>,
}

impl Sharing<'_> {
    fn of(&mut self, gateway: &GatewayVersion) -> &mut Addresses {
        self.addresses.entry(gateway.key().clone()).or_default()
    }

    fn give(&mut self, gateway: &GatewayVersion, address: IpAddr) -> bool {
        let is_free = self.taken.insert(address);
        if is_free {
            self.of(gateway).assigned.push(address);
        }
        is_free
    }

    fn is_of_pool(&self, address: &IpAddr) -> bool {
        self.pool.iter().any(|net| net.contains(address))
    }

    fn give_values(&mut self, gateway: &GatewayVersion) {
        let wanted = gateway.spec.gateway.addresses.iter();
        for value in wanted.filter_map(|it| it.value.as_deref()) {
            let why = match value.parse::<IpAddr>() {
                Err(_) => "it is no IP address",
                Ok(address) if !self.is_of_pool(&address) => {
                    "it is in no network of `gateway.addresses` of the settings"
                }
                Ok(address) if !self.give(gateway, address) => "another Gateway has it",
                Ok(_) => continue,
            };
            let sentence = format!("Address {value} cannot be used: {why}.");
            self.of(gateway).unusable.push(sentence);
        }
    }

    /// The address that it had, where its status tells one that is free.
    fn give_known(&mut self, gateway: &GatewayVersion) -> bool {
        let known = gateway.spec.addresses.iter().copied();
        known
            .filter(|address| self.is_of_pool(address))
            .collect::<Vec<_>>()
            .into_iter()
            .any(|address| self.give(gateway, address))
    }

    /// The first that is free.
    fn give_free(&mut self, gateway: &GatewayVersion) {
        let mut hosts = self.pool.iter().flat_map(IpNet::hosts);
        if let Some(free) = hosts.find(|address| !self.taken.contains(address)) {
            self.give(gateway, free);
        }
    }
}
