//! Which port of the pods stands for each port of a Gateway, where Gateways have Services of their own, and
//! which of these are to be written.
//!
//! ```text
//!  Services ─► what each has ─► listeners ask, Gateway by Gateway ─┬─ it is had: an entry point
//!                                                                  └─ it is not yet: a Service is to be written
//! ```
//!
//! The Services alone say which ports are had: so all replicas open the same ones, and a restart changes
//! nothing. A port that a Gateway does not have yet is opened by nobody before a Service says so.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::Fault;
use crate::{
    gateway::GatewayVersion,
    gateway_service::{self, Deed, Found, Port, Ports, TARGET_PORTS, name_of},
    objects::{Key, ObjectName},
    settings::{GatewayServices, Settings},
    world::World,
};

/// Which ports of the pods Gateways have.
pub(super) struct Services<'w> {
    world: &'w World,
    settings: &'w Settings,
    ours: &'w GatewayServices,
    installation: String,
    /// By Service.
    had: HashMap<&'w ObjectName, Ports>,
    /// Those that any has, or is to have.
    taken: HashSet<u16>,
    /// What the listeners of each Gateway have asked for, and are to have.
    asked: BTreeMap<Key, (&'w GatewayVersion, Ports)>,
}

/// A port of the pods that a Gateway is to have.
pub(super) enum Target {
    Had(u16),
    /// No Service says so yet.
    Promised,
}

impl<'w> Services<'w> {
    pub(super) fn new(world: &'w World, settings: &'w Settings, ours: &'w GatewayServices) -> Self {
        let installation = settings.installation();
        let mut services = Self {
            world,
            settings,
            ours,
            had: HashMap::new(),
            taken: HashSet::new(),
            asked: BTreeMap::new(),
            installation,
        };
        if let Some(namespace) = ours.namespace.as_deref() {
            let exposed: Vec<_> = world
                .exposed_in((namespace, &services.installation))
                .collect();
            services.had = gateway_service::shares(exposed.into_iter());
        }
        let taken = services.had.values().flat_map(Ports::values);
        services.taken = taken.copied().collect();
        services
    }

    /// Finds the port of the pods for a port of a Gateway.
    pub(super) fn find(
        &mut self,
        gateway: &'w GatewayVersion,
        port: Port,
    ) -> Result<Target, Fault> {
        let had = self.had_by(gateway).and_then(|ports| ports.get(&port));
        let had = had.copied();
        let asked = self.asked.get(gateway.key());
        let asked = asked.and_then(|(_, ports)| ports.get(&port)).copied();
        let target = (asked.or(had)).or_else(|| self.free(gateway.uid()));
        let target = target.ok_or_else(|| Fault {
            reason: "PortUnavailable",
            message: format!(
                "All of the {} ports of the pods are taken by other Gateways.",
                TARGET_PORTS.len()
            ),
        })?;
        self.taken.insert(target);
        let asked = self.asked.entry(gateway.key().clone());
        let (_, ports) = asked.or_insert_with(|| (gateway, Ports::new()));
        ports.insert(port, target);
        // Where nobody makes Services, there is nothing to wait for.
        Ok(match had.is_some() || self.ours.namespace.is_none() {
            true => Target::Had(target),
            false => Target::Promised,
        })
    }

    fn had_by(&self, gateway: &GatewayVersion) -> Option<&Ports> {
        let namespace = self.ours.namespace.as_deref()?;
        self.had
            .get(&gateway_service::object_of(namespace, gateway))
    }

    /// The first that is free from a place on that is as good as random, so that what a Gateway leaves is
    /// not at once another's: a replica may be a moment behind whatever leads requests to it.
    fn free(&self, uid: &str) -> Option<u16> {
        let bytes = uid.bytes().map(usize::from);
        let start = bytes.fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        let all = TARGET_PORTS.len();
        let mut ports = TARGET_PORTS.cycle().skip(start % all).take(all);
        ports.find(|port| !self.taken.contains(port))
    }

    /// What is to be done, so that each Gateway has what it has asked for, and no Service is left of one that
    /// is gone. A Gateway that can have nothing keeps what it has: a mistake in it costs no address.
    pub(super) fn deeds(self) -> Arc<[Deed]> {
        let Some(namespace) = self.ours.namespace.as_deref() else {
            return Arc::default();
        };
        let by = (namespace, &*self.installation);
        let writes = self.asked.values().filter_map(|(gateway, ports)| {
            let service = gateway_service::object_of(namespace, gateway);
            let manifest = gateway_service::manifest(by, self.ours, gateway, ports);
            let before = match self.world.found(&self.installation, &service) {
                Found::Foreign => return None,
                Found::Ours(exposed) if exposed.is(&manifest, ports) => return None,
                Found::Ours(exposed) => Some(exposed.uid.clone()),
                Found::Nothing => None,
            };
            Some(Deed::Apply {
                gateway: gateway.key().clone(),
                name: (*service.name).into(),
                before,
                manifest: Arc::new(manifest),
            })
        });
        let kept: BTreeSet<String> = (self.world.gateways())
            .filter(|gateway| self.may_be_ours(gateway))
            .map(|gateway| name_of(gateway.uid()))
            .collect();
        let exposed = self.world.exposed_in(by);
        // A load balancer may take its time to go.
        let removals = exposed
            .filter(|(name, exposed)| !exposed.is_terminating && !kept.contains(&*name.name));
        let removals = removals.map(|(name, exposed)| Deed::Delete {
            name: (*name.name).into(),
            uid: exposed.uid.clone(),
        });
        writes.chain(removals).collect()
    }

    /// Whether a Gateway is ours, or its class is gone for now.
    fn may_be_ours(&self, gateway: &GatewayVersion) -> bool {
        let class = &gateway.spec.gateway.gateway_class_name;
        self.world.gateway_class(class).is_none()
            || self.world.is_our_gateway(self.settings, gateway)
    }
}

#[cfg(test)]
mod tests;
