//! Where listeners are served: conflicts with others, and the entry points that come of them.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ferrix_table::{
    certificates::ClientCertificates,
    entry_points::{EntryPoint, Protocol},
    rules::HostPattern,
    sockets::Layer,
};

use super::{
    Fault,
    services::{Services, Target},
};
use crate::{
    gateway::GatewayVersion,
    gateway_service::{Deed, Port},
    objects::Key,
    settings::{GatewayReach, GatewaySettings, Settings},
    world::World,
};

/// The listeners of a Gateway that were accepted before another, by port, TCP and UDP apart: how each
/// port is read, and its hosts.
#[derive(Default)]
pub(super) struct Earlier(HashMap<(u16, bool), (Layer, HashSet<HostPattern>)>);

impl Earlier {
    /// Takes a listener in, unless it conflicts with one that came before.
    pub(super) fn admit(
        &mut self,
        port: u16,
        protocol: Protocol,
        host: &HostPattern,
    ) -> Result<(), Fault> {
        let layer = protocol.layer();
        let of_port = self.0.entry((port, layer == Layer::Udp));
        let (read_as, hosts) = of_port.or_insert_with(|| (layer, HashSet::new()));
        if *read_as != layer {
            return Err(Fault {
                reason: "ProtocolConflict",
                message: format!("Port {port} is read in another way by an earlier listener."),
            });
        }
        match hosts.insert(host.clone()) {
            true => Ok(()),
            false => Err(Fault {
                reason: match layer {
                    Layer::Http | Layer::Tls => "HostnameConflict",
                    Layer::Tcp | Layer::Udp => "ProtocolConflict",
                },
                message: format!("An earlier listener has {host} on port {port}."),
            }),
        }
    }
}

/// The places that Gateways share: entry points of the settings, or the ports of the pods. In a pool of
/// addresses each has its own.
pub(super) struct Places<'s> {
    settings: &'s Settings,
    ours: &'s GatewaySettings,
    /// Who has which host of an address already.
    taken: HashMap<(SocketAddr, bool, HostPattern), Key>,
    services: Option<Services<'s>>,
}

/// Where a listener is served.
pub(super) enum Place {
    Own(Box<[EntryPoint]>),
    Adopted(Arc<str>),
    /// Nowhere yet: its Service is to say where.
    Promised,
}

/// What a listener asks for.
pub(super) struct Wanted<'w, 's> {
    pub(super) gateway: &'s GatewayVersion,
    pub(super) owner: &'w Key,
    pub(super) listener: &'w str,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    pub(super) host: &'w HostPattern,
    pub(super) client_certificates: Option<&'w Arc<ClientCertificates>>,
    /// Those of its Gateway.
    pub(super) addresses: &'w [IpAddr],
}

impl Wanted<'_, '_> {
    fn entry_point(&self, name: String, address: SocketAddr) -> EntryPoint {
        EntryPoint {
            name: name.into(),
            host: self.host.clone(),
            protocol: self.protocol,
            address,
            exposed_port: Some(self.port),
            proxy_protocol: Box::default(),
            client_certificates: self.client_certificates.cloned(),
        }
    }
}

impl<'s> Places<'s> {
    pub(super) fn new(world: &'s World, settings: &'s Settings, ours: &'s GatewaySettings) -> Self {
        let services = settings.gateway_services();
        Self {
            settings,
            ours,
            taken: HashMap::new(),
            services: services.map(|services| Services::new(world, settings, services)),
        }
    }

    /// Finds the place of a listener, or says why there is none.
    pub(super) fn find(&mut self, wanted: &Wanted<'_, 's>) -> Result<Place, Fault> {
        match (&self.ours.reach, &mut self.services) {
            (GatewayReach::Pool(_), _) => Ok(Place::Own(own(wanted))),
            (_, Some(services)) => expose(services, wanted),
            (_, None) => self.adopt(wanted),
        }
    }

    /// What is to be done about Services, once every listener has been placed.
    pub(super) fn deeds(self) -> Arc<[Deed]> {
        self.services.map_or_else(Arc::default, Services::deeds)
    }

    fn adopt(&mut self, wanted: &Wanted<'_, 's>) -> Result<Place, Fault> {
        let unavailable = |message| Fault {
            reason: "PortUnavailable",
            message,
        };
        let port = wanted.port;
        let mut all = self.settings.entry_points.iter();
        let entry_point = all.find(|it| {
            self.ours.exposed_port(it) == port && it.protocol.layer() == wanted.protocol.layer()
        });
        let Some(entry_point) = entry_point else {
            let known = (self.settings.entry_points.iter())
                .map(|it| format!("{} ({})", self.ours.exposed_port(it), it.protocol.as_str()));
            let known: Vec<_> = known.collect();
            return Err(unavailable(format!(
                "No entry point of the settings has port {port} for this protocol; there are {}.",
                known.join(", ")
            )));
        };
        if wanted.client_certificates != entry_point.client_certificates.as_ref() {
            return Err(unavailable(format!(
                "Entry point `{}` is shared, and asks clients for no certificate.",
                entry_point.name
            )));
        }
        let adopts = *wanted.host == HostPattern::Any && wanted.protocol == entry_point.protocol;
        if *wanted.host == HostPattern::Any && !adopts {
            return Err(unavailable(format!(
                "Entry point `{}` has what comes to port {port} for any host; name a host.",
                entry_point.name
            )));
        }
        let address = entry_point.address;
        let datagrams = wanted.protocol == Protocol::Udp;
        let place = (address, datagrams, wanted.host.clone());
        if let Some(other) = self.taken.get(&place) {
            return Err(unavailable(format!(
                "{other} is older and has {} on port {port}.",
                wanted.host
            )));
        }
        self.taken.insert(place, wanted.owner.clone());
        Ok(match adopts {
            true => Place::Adopted(Arc::clone(&entry_point.name)),
            false => {
                let name = format!("{}/{}", wanted.owner, wanted.listener);
                let own = EntryPoint {
                    proxy_protocol: entry_point.proxy_protocol.clone(),
                    ..wanted.entry_point(name, address)
                };
                Place::Own([own].into())
            }
        })
    }
}

/// The entry point on the port of the pods that stands for that of the listener.
fn expose<'s>(services: &mut Services<'s>, wanted: &Wanted<'_, 's>) -> Result<Place, Fault> {
    let port = Port {
        number: wanted.port,
        datagrams: wanted.protocol == Protocol::Udp,
    };
    Ok(match services.find(wanted.gateway, port)? {
        Target::Promised => Place::Promised,
        Target::Had(target) => {
            let name = format!("{}/{}", wanted.owner, wanted.listener);
            let address = (Ipv6Addr::UNSPECIFIED, target).into();
            Place::Own([wanted.entry_point(name, address)].into())
        }
    })
}

/// One entry point for each address.
fn own(wanted: &Wanted<'_, '_>) -> Box<[EntryPoint]> {
    let addresses = wanted.addresses.iter().enumerate();
    addresses
        .map(|(place, address)| {
            let mut name = format!("{}/{}", wanted.owner, wanted.listener);
            if place > 0 {
                name.push_str(&format!(" on {address}"));
            }
            wanted.entry_point(name, SocketAddr::new(*address, wanted.port))
        })
        .collect()
}
