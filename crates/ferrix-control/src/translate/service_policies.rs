//! BackendPolicies: what changes with them, and what is told of them.

use std::collections::BTreeSet;

use super::{Translation, entries::with_notes};
use crate::{
    backendpolicy,
    guard::{Step, guarded},
    objects::{Key, Kind, ObjectName},
    outcome::Outcome,
    report::Entry,
    resolve::{Context, NamedPolicy},
    settings::Settings,
    world::{Effect, World},
};

/// What follows from a change of policies, or of Services that they name.
#[derive(Debug, Default)]
pub(super) struct OfPolicies {
    /// Those of which there may be something else to say.
    pub(super) policies: BTreeSet<ObjectName>,
    /// The Services that may have another.
    pub(super) services: BTreeSet<ObjectName>,
}

impl Translation {
    /// Takes the policies out that are among some objects, and resolves them anew.
    pub(super) fn follow_service_policies(
        &mut self,
        world: &World,
        settings: &Settings,
        effect: &Effect,
        objects: &mut BTreeSet<Key>,
    ) -> OfPolicies {
        let mut of_policies = OfPolicies::default();
        let is_policy = |key: &Key| key.kind == Kind::BackendPolicy;
        for key in objects.extract_if(.., is_policy) {
            let name = key.object.clone();
            let versions = world.backend_policy_versions(&name);
            let resolved = guarded(Step::Resolve, &key, || {
                versions.map(|versions| NamedPolicy::new(world, settings, versions))
            });
            match resolved {
                Ok(resolved) => {
                    self.failed.remove(&key);
                    let services = self.service_policies.replace(&name, resolved);
                    of_policies.services.extend(services);
                }
                Err(_) => drop(self.failed.insert(key)),
            }
            of_policies.policies.insert(name);
        }
        let changed = effect.objects.iter().filter(|it| it.kind == Kind::Service);
        let changed = changed.map(|it| &it.object);
        for service in of_policies.services.iter().chain(changed) {
            let naming = self.service_policies.naming(service);
            of_policies.policies.extend(naming.cloned());
        }
        of_policies
    }

    /// What is told of a policy; `None`: it is gone.
    pub(super) fn service_policy_entry(
        &self,
        context: &Context<'_>,
        name: &ObjectName,
    ) -> Option<Entry> {
        let Context {
            world, settings, ..
        } = *context;
        let undecodable = || {
            let key = name.key(Kind::BackendPolicy);
            let (origin, error) = world.rejection(&key)?;
            Some(Outcome::undecodable(&key, origin, error))
        };
        let outcome = self.service_policies.outcome(world, settings, name);
        let outcome = outcome.or_else(undecodable)?;
        let conditions = match outcome.not_ours {
            true => Vec::new(),
            false => backendpolicy::status::conditions(&outcome),
        };
        let entry = outcome.entry(context.entry_points, conditions);
        Some(with_notes(world, entry))
    }
}
