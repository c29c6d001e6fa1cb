//! BackendTLSPolicies: what changes with them, and what is told of them.

use std::{collections::BTreeSet, sync::Arc};

use ferrix_api::gateway::{GROUP, ParentReference};

use super::{Translation, entries::with_decoding, users};
use crate::{
    backendtlspolicy,
    names::shared_name,
    objects::{Key, Kind, ObjectName, Origin},
    report::{Entry, Finding, Reason},
    resolve::Context,
    verdict::{Condition, ParentVerdict, Verdict},
    version::Version,
    world::{Effect, World},
};

impl Translation {
    /// The policies that change, or name what changes, with those for the same Services, and these Services.
    /// Adds the routes that forward to those.
    pub(super) fn follow_policies(
        &mut self,
        world: &World,
        effect: &Effect,
        routes: &mut BTreeSet<Key>,
    ) -> (BTreeSet<ObjectName>, BTreeSet<ObjectName>) {
        let mut concerned: BTreeSet<ObjectName> = BTreeSet::new();
        for key in &effect.objects {
            match key.kind {
                Kind::BackendTlsPolicy => drop(concerned.insert(key.object.clone())),
                Kind::ConfigMap => concerned.extend(world.policies_in(&key.namespace).cloned()),
                Kind::Service => {
                    let policies = world.policies_of(&key.object);
                    concerned.extend(policies.map(|it| it.key().object.clone()));
                }
                _ => {}
            }
        }
        let mut services: BTreeSet<ObjectName> = BTreeSet::new();
        for name in &concerned {
            let before = self.policy_targets.remove(name);
            services.extend(before.into_iter().flatten());
            if let Some(policy) = world.policy(name) {
                let targets = policy.spec.target_refs.iter();
                let targets = targets.map(|it| shared_name(&name.namespace, &it.name));
                let targets: Vec<_> = targets.collect();
                services.extend(targets.iter().cloned());
                self.policy_targets.insert(name.clone(), targets);
            }
        }
        for service in &services {
            routes.extend(users(&self.users_of_service, service).cloned());
            routes.extend(users(&self.filters_of_service, service).cloned());
            let others = world.policies_of(service);
            concerned.extend(others.map(|it| it.key().object.clone()));
        }
        (concerned, services)
    }

    /// What is told of a policy, for each Gateway with a route that forwards to what it is for; `None`: it
    /// is gone.
    pub(super) fn policy_entry(&self, context: &Context<'_>, name: &ObjectName) -> Option<Entry> {
        let policy = context.world.policy(name)?;
        context.settings.gateway.as_ref()?;
        let conditions = backendtlspolicy::conditions(context.world, context.settings, policy);
        let targets = policy.spec.target_refs.iter();
        let services = targets.map(|it| shared_name(&name.namespace, &it.name));
        let gateways = self.gateways_with(context, &services.collect());
        Some(entry(context, policy, &gateways, &conditions))
    }

    /// The Gateways with routes that forward to any of these Services.
    pub(super) fn gateways_with(
        &self,
        context: &Context<'_>,
        services: &BTreeSet<ObjectName>,
    ) -> BTreeSet<Key> {
        let mut gateways = BTreeSet::new();
        for service in services {
            for route in users(&self.users_of_service, service) {
                let attached = self.routes.get(route).map(|it| &it.resolved.attached);
                for (parent, _) in attached.into_iter().flatten() {
                    let parent = context.gateways.get(parent);
                    gateways.extend(parent.map(|it| it.gateway.clone()));
                }
            }
        }
        gateways
    }
}

/// What is told of a policy of any kind, to which this applies for each of these Gateways.
pub(super) fn entry<Spec>(
    context: &Context<'_>,
    policy: &Version<Spec>,
    gateways: &BTreeSet<Key>,
    conditions: &[Condition],
) -> Entry {
    let ancestors = gateways.iter().map(|gateway| ParentVerdict {
        parent: ParentReference {
            group: GROUP.to_owned(),
            kind: Kind::Gateway.as_str().to_owned(),
            namespace: Some(gateway.namespace.to_string()),
            name: gateway.name.to_string(),
            section_name: None,
            port: None,
        },
        conditions: conditions.into(),
    });
    let wrong = conditions.iter().filter(|it| !it.status);
    let findings = wrong.map(|it| {
        let message = it.message.clone().into_owned();
        Finding::problem(Reason::UnsupportedValue, "spec", message)
    });
    let findings = match gateways.is_empty() && policy.origin == Origin::Api {
        // Of nobody's concern here.
        true => Vec::new(),
        false => findings.collect(),
    };
    let entry = Entry {
        observed_generation: policy.generation,
        verdict: Some(Arc::new(Verdict::Policy(ancestors.collect()))),
        ..Entry::remarks(policy.key().clone(), policy.origin.clone(), findings)
    };
    with_decoding(context.world, entry)
}
