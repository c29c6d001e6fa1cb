//! Where listeners are served: conflicts with others, and the entry points that come of them.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ferrix_table::{
    certificates::ClientCertificates,
    entry_points::{EntryPoint, Protocol},
    rules::HostPattern,
    sockets::Layer,
};

use super::Fault;
use crate::{
    objects::Key,
    settings::{GatewaySettings, Settings},
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

/// The places that Gateways share: entry points of the settings, where there is no pool of addresses.
pub(super) struct Places<'s> {
    settings: &'s Settings,
    ours: &'s GatewaySettings,
    /// Who has which host of an address already.
    taken: HashMap<(SocketAddr, bool, HostPattern), Key>,
}

/// Where a listener is served.
pub(super) enum Place {
    Own(Box<[EntryPoint]>),
    Adopted(Arc<str>),
}

/// What a listener asks for.
pub(super) struct Wanted<'w> {
    pub(super) owner: &'w Key,
    pub(super) listener: &'w str,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    pub(super) host: &'w HostPattern,
    pub(super) client_certificates: Option<&'w Arc<ClientCertificates>>,
    /// Those of its Gateway.
    pub(super) addresses: &'w [IpAddr],
}

impl Wanted<'_> {
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
    pub(super) fn new(settings: &'s Settings, ours: &'s GatewaySettings) -> Self {
        Self {
            settings,
            ours,
            taken: HashMap::new(),
        }
    }

    /// Finds the place of a listener, or says why there is none.
    pub(super) fn find(&mut self, wanted: &Wanted<'_>) -> Result<Place, Fault> {
        match self.ours.addresses.is_empty() {
            true => self.adopt(wanted),
            false => Ok(Place::Own(own(wanted))),
        }
    }

    fn adopt(&mut self, wanted: &Wanted<'_>) -> Result<Place, Fault> {
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

/// One entry point for each address.
fn own(wanted: &Wanted<'_>) -> Box<[EntryPoint]> {
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
