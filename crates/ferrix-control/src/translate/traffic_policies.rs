//! XBackendTrafficPolicies: what changes with them, and what is told of them.

use std::collections::BTreeSet;

use super::{Concerned, Translation};
use crate::{
    backendtrafficpolicy,
    gateway_objects::services_of,
    objects::{Key, Kind, ObjectName},
    referencegrant::Referrer,
    report::Entry,
    resolve::Context,
    world::{Effect, World},
};

impl Translation {
    /// Adds the policies that change, with those of the same Services and of Services that do, and the
    /// Services of the former.
    pub(super) fn follow_traffic_policies(
        &mut self,
        world: &World,
        effect: &Effect,
        concerned: &mut Concerned,
    ) {
        let is_policy = |key: &&Key| key.kind == Kind::XBackendTrafficPolicy;
        for key in effect.objects.iter().filter(is_policy) {
            let name = &key.object;
            concerned.traffic_policies.insert(name.clone());
            let before = self.traffic_policy_targets.remove(name);
            concerned.services.extend(before.into_iter().flatten());
            if let Some(policy) = world.traffic_policy(name) {
                let services: Vec<_> = services_of(name, &policy.spec).collect();
                concerned.services.extend(services.iter().cloned());
                (self.traffic_policy_targets).insert(name.clone(), services);
            }
        }
        // Most Services have none, and most worlds no policy.
        if self.traffic_policy_targets.is_empty() {
            return;
        }
        for service in &concerned.services {
            let others = world.traffic_policies_of(service);
            (concerned.traffic_policies).extend(others.map(|it| it.key().object.clone()));
        }
    }

    /// What is told of a policy, for each Gateway with a route that forwards to what it is for; `None`: it
    /// is gone.
    pub(super) fn traffic_policy_entry(
        &self,
        context: &Context<'_>,
        name: &ObjectName,
    ) -> Option<Entry> {
        let Context {
            world, settings, ..
        } = *context;
        let policy = world.traffic_policy(name)?;
        settings.gateway.as_ref()?;
        let services: BTreeSet<ObjectName> = services_of(name, &policy.spec).collect();
        let gateways = self.gateways_with(context, &services);
        let from = Referrer::Object(policy.key());
        let exist = |service: &ObjectName| world.service(settings, from, service).is_ok();
        let services = services.into_iter().filter(exist).map(|service| {
            // That of the whole Service: ports may have others.
            let own = self.service_policies.of(&service, "").cloned();
            (service, own)
        });
        let services: Vec<_> = services.collect();
        let accepted = backendtrafficpolicy::accepted(world, policy, &services);
        Some(super::policies::entry(
            context,
            policy,
            &gateways,
            &[accepted],
        ))
    }
}
