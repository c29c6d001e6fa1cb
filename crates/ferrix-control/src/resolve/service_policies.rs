//! Which BackendPolicy each Service has: of several that name it the oldest.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ferrix_table::backend_policy::BackendPolicy;

use super::{all_no_longer_seen, opened};
use crate::{
    backend, backendpolicy,
    draft::Versions,
    field::Field,
    objects::{Kind, ObjectName},
    outcome::Outcome,
    referencegrant::Referrer,
    report::{Finding, Reason},
    seniority::Seniority,
    settings::Settings,
    world::World,
};

/// Every BackendPolicy that there is, as far as it could be decoded.
#[derive(Debug, Default)]
pub(crate) struct ServicePolicies {
    known: HashMap<ObjectName, NamedPolicy>,
    /// Those that can be used, by the Services that they name: the oldest first.
    of_service: HashMap<ObjectName, BTreeMap<Seniority, ObjectName>>,
}

/// A BackendPolicy by itself, in this installation.
#[derive(Debug)]
pub(crate) struct NamedPolicy {
    /// `None`: no version can be used.
    policy: Option<Arc<BackendPolicy>>,
    /// The Services that it names, whether they exist or not.
    targets: Box<[(Field, ObjectName)]>,
    outcome: Outcome,
    seniority: Seniority,
}

impl NamedPolicy {
    /// The version of a policy that serves.
    pub(crate) fn new(world: &World, settings: &Settings, versions: &Versions) -> Self {
        let draft = versions.serving();
        let mut outcome = opened(world, versions);
        let not_ours = world.finding_if_not_ours(settings, draft);
        outcome.not_ours = not_ours.is_some();
        let said = backendpolicy::policy_of(draft);
        let said = said.filter(|_| draft.is_good() && not_ours.is_none());
        let findings = match not_ours {
            Some(finding) => vec![finding],
            None => all_no_longer_seen(world, draft),
        };
        for finding in findings {
            outcome.remark(finding);
        }
        Self {
            policy: said.map(|it| Arc::clone(&it.policy)),
            targets: said.map_or_else(Box::default, |it| it.targets.clone()),
            seniority: Seniority::of(&draft.route),
            outcome,
        }
    }

    /// The Services that it names; none where it cannot be used.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ObjectName> {
        self.targets.iter().map(|(_, service)| service)
    }
}

impl ServicePolicies {
    /// The policy that a Service has.
    pub(crate) fn of(&self, service: &ObjectName) -> Option<&Arc<BackendPolicy>> {
        let oldest = self.of_service.get(service)?.values().next()?;
        self.known.get(oldest)?.policy.as_ref()
    }

    /// Those that name a Service, the oldest first.
    pub(crate) fn naming(&self, service: &ObjectName) -> impl Iterator<Item = &ObjectName> {
        let naming = self.of_service.get(service);
        naming.into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.known.keys()
    }

    /// Puts a policy in the place of its version before, or takes it out. Returns the Services that
    /// either names.
    pub(crate) fn replace(
        &mut self,
        name: &ObjectName,
        policy: Option<NamedPolicy>,
    ) -> Vec<ObjectName> {
        let mut services = Vec::new();
        let before = self.known.remove(name);
        for service in before.iter().flat_map(NamedPolicy::services) {
            if let Some(naming) = self.of_service.get_mut(service) {
                naming.retain(|_, it| it != name);
                if naming.is_empty() {
                    self.of_service.remove(service);
                }
            }
            services.push(service.clone());
        }
        if let Some(policy) = policy {
            for service in policy.services() {
                let naming = self.of_service.entry(service.clone()).or_default();
                naming.insert(policy.seniority.clone(), name.clone());
                services.push(service.clone());
            }
            self.known.insert(name.clone(), policy);
        }
        services
    }

    /// What became of a policy among all others; `None`: there is none that could be decoded.
    pub(crate) fn outcome(
        &self,
        world: &World,
        settings: &Settings,
        name: &ObjectName,
    ) -> Option<Outcome> {
        let policy = self.known.get(name)?;
        let mut outcome = policy.outcome.clone();
        let from = name.key(Kind::BackendPolicy);
        for (field, service) in &policy.targets {
            let first = self.naming(service).next();
            if let Some(older) = first.filter(|it| *it != name) {
                let message = format!("BackendPolicy {older} is older, and for the same Service");
                outcome.left_out = true;
                outcome.remark(Finding::problem(
                    Reason::Conflicted,
                    field.to_string(),
                    message,
                ));
                continue;
            }
            outcome.rules += 1;
            let found = world.service(settings, Referrer::Object(&from), service);
            if found.is_err() {
                let message = backend::why_missing(world, Kind::Service, service);
                let field = field.to_string();
                outcome.remark(Finding::problem(Reason::ServiceNotFound, field, message));
            }
        }
        Some(outcome)
    }
}
