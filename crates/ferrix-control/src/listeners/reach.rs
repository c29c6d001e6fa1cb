//! Where a Gateway is reached, and whether it is where it asks to be.

use std::collections::HashMap;

use ferrix_api::gateway::GatewayAddress;

use super::Fault;
use crate::{
    gateway::GatewayVersion,
    gateway_addresses::{self, Addresses, IP_ADDRESS},
    gateway_service::{self, Found},
    objects::Key,
    settings::{GatewayReach, Settings},
    status::Address,
    world::World,
};

/// Where all Gateways are reached.
pub(super) struct Reaches<'w> {
    world: &'w World,
    settings: &'w Settings,
    reach: &'w GatewayReach,
    /// From the pool.
    addresses: HashMap<Key, Addresses>,
}

/// Where one is reached.
pub(super) enum Reach<'w> {
    /// Where the installation is.
    Installation(Box<[Address]>),
    /// At addresses from the pool.
    Pool(Addresses),
    /// Where its Service is; and why that cannot be written, where it cannot.
    Service(Found<'w>, Option<&'w str>),
    /// Nobody can tell: nobody makes its Service.
    Unknown,
}

impl<'w> Reaches<'w> {
    /// Those of Gateways, the oldest of which comes first.
    pub(super) fn of(
        world: &'w World,
        settings: &'w Settings,
        reach: &'w GatewayReach,
        gateways: &[&GatewayVersion],
    ) -> Self {
        let addresses = match reach {
            GatewayReach::Pool(pool) => gateway_addresses::share(gateways, pool),
            GatewayReach::EntryPoints | GatewayReach::Services(_) => HashMap::new(),
        };
        Self {
            world,
            settings,
            reach,
            addresses,
        }
    }

    pub(super) fn of_gateway(&mut self, gateway: &GatewayVersion) -> Reach<'w> {
        match self.reach {
            GatewayReach::EntryPoints => {
                Reach::Installation((*self.world.addresses(self.settings)).into())
            }
            GatewayReach::Pool(_) => {
                Reach::Pool(self.addresses.remove(gateway.key()).unwrap_or_default())
            }
            GatewayReach::Services(services) => match &services.namespace {
                None => Reach::Unknown,
                Some(namespace) => {
                    let service = gateway_service::object_of(namespace, gateway);
                    let found = self.world.found(&self.settings.installation(), &service);
                    Reach::Service(found, self.world.unwritten(&service))
                }
            },
        }
    }
}

impl Reach<'_> {
    /// The addresses from the pool.
    pub(super) fn assigned(&self) -> &[std::net::IpAddr] {
        match self {
            Self::Pool(addresses) => &addresses.assigned,
            Self::Installation(_) | Self::Service(..) | Self::Unknown => &[],
        }
    }

    /// The addresses that its status tells.
    pub(super) fn told(&self) -> Box<[GatewayAddress]> {
        let address = |kind: &str, value: &str| GatewayAddress {
            kind: kind.to_owned(),
            value: Some(value.to_owned()),
        };
        let told = |it: &Address| match it {
            Address::Ip(ip) => address(IP_ADDRESS, ip),
            Address::Hostname(name) => address("Hostname", name),
        };
        match self {
            Self::Installation(addresses) => addresses.iter().map(told).collect(),
            Self::Pool(addresses) => {
                let assigned = addresses.assigned.iter();
                assigned
                    .map(|it| address(IP_ADDRESS, &it.to_string()))
                    .collect()
            }
            Self::Service(found, _) => found.addresses().iter().map(told).collect(),
            Self::Unknown => Box::default(),
        }
    }

    /// Why it is not reached, whatever its listeners: it asks for what cannot be had, or has nothing.
    pub(super) fn fault(&self, wanted: &[GatewayAddress]) -> Option<Fault> {
        let unusable = self.unusable(wanted).map(|message| Fault {
            reason: "AddressNotUsable",
            message,
        });
        unusable.or_else(|| {
            let message = self.missing()?;
            Some(Fault {
                reason: "AddressNotAssigned",
                message,
            })
        })
    }

    /// The first that is asked for by value and cannot be had.
    fn unusable(&self, wanted: &[GatewayAddress]) -> Option<String> {
        let why = match self {
            Self::Pool(addresses) => return addresses.unusable.first().cloned(),
            Self::Unknown => return None,
            Self::Installation(_) => "this installation is not reached there",
            Self::Service(..) => "its Service has not got it",
        };
        let told = self.told();
        let mut values = wanted.iter().filter_map(|it| it.value.as_ref());
        let value = values.find(|value| told.iter().all(|it| it.value.as_ref() != Some(*value)))?;
        Some(format!("Address {value} cannot be used: {why}."))
    }

    fn missing(&self) -> Option<String> {
        let message = match self {
            Self::Pool(addresses) if addresses.assigned.is_empty() => {
                "No address of `gateway.addresses` of the settings is free."
            }
            Self::Service(Found::Foreign, _) => {
                "In the place of its Service there is one that Ferrix has not made, and does not touch."
            }
            Self::Service(Found::Nothing, Some(why)) => {
                return Some(format!("Its Service cannot be written: {why}"));
            }
            Self::Service(Found::Nothing, None) => "Its Service has not been made yet.",
            Self::Service(Found::Ours(exposed), _) if exposed.addresses.is_empty() => {
                "Its Service has no address yet."
            }
            Self::Installation(_) | Self::Pool(_) | Self::Service(..) | Self::Unknown => {
                return None;
            }
        };
        Some(message.to_owned())
    }

    /// Why a port is not in its Service yet.
    pub(super) fn awaits(&self) -> String {
        match self {
            Self::Service(_, Some(why)) => {
                format!("The Service of the Gateway cannot be written: {why}")
            }
            _ => "Its port is not in the Service of the Gateway yet.".to_owned(),
        }
    }
}
