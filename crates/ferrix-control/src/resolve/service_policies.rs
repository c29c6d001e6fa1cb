//! Which BackendPolicy each port of a Service has: of those that name it, or else the whole Service, the oldest.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ferrix_table::backend_policy::BackendPolicy;

use super::{all_no_longer_seen, backend_tls, opened};
use crate::{
    backend, backendpolicy,
    draft::{NamedByTls, ServiceTarget, Versions},
    objects::{Key, Kind, ObjectName},
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
    /// Those that can be used, by the Services that they name.
    of_service: HashMap<ObjectName, Naming>,
    /// Each ConfigMap and Secret that they name, with those.
    users: BTreeSet<(Key, ObjectName)>,
    /// Those by which endpoints of the own zone come first.
    zoned: BTreeSet<ObjectName>,
}

/// Those that name a Service: the oldest first, each with the port that it names, if any.
type Naming = BTreeMap<(Seniority, Option<Arc<str>>), ObjectName>;

/// A BackendPolicy by itself, in this installation.
#[derive(Debug)]
pub(crate) struct NamedPolicy {
    /// `None`: no version can be used.
    policy: Option<Arc<BackendPolicy>>,
    /// The Services that it names, whether they exist or not.
    targets: Box<[ServiceTarget]>,
    /// The ConfigMaps and Secrets that it names, in the same way.
    names: Vec<Key>,
    outcome: Outcome,
    seniority: Seniority,
}

/// The ConfigMaps and Secrets that a policy names.
fn named(named: &NamedByTls) -> Vec<Key> {
    let authorities = named.authorities.iter().map(|(_, key)| key.clone());
    let client = named.client.as_ref().map(|name| name.key(Kind::Secret));
    authorities.chain(client).collect()
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
        let mut findings = match not_ours {
            Some(finding) => vec![finding],
            None => all_no_longer_seen(world, draft),
        };
        let policy = said
            .map(|said| backend_tls::look_up(world, settings, draft.key(), said, &mut findings));
        for finding in findings {
            outcome.remark(finding);
        }
        Self {
            policy,
            names: said
                .and_then(|it| it.named.as_deref())
                .map_or_else(Vec::new, named),
            targets: said.map_or_else(Box::default, |it| it.targets.clone()),
            seniority: Seniority::of(&draft.route),
            outcome,
        }
    }

    /// The Services that it names, some perhaps more than once; none where it cannot be used.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ObjectName> {
        self.targets.iter().map(|it| &it.service)
    }
}

impl ServicePolicies {
    /// The policy that a port of a Service has, by the name of the port.
    pub(crate) fn of(&self, service: &ObjectName, port: &str) -> Option<&Arc<BackendPolicy>> {
        let for_port = self.naming_target(service, Some(port)).next();
        let oldest = for_port.or_else(|| self.naming_target(service, None).next())?;
        self.known.get(oldest)?.policy.as_ref()
    }

    /// Those that name a port of a Service, or the whole of it; the oldest first.
    fn naming_target(
        &self,
        service: &ObjectName,
        port: Option<&str>,
    ) -> impl Iterator<Item = &ObjectName> {
        let naming = self.of_service.get(service).into_iter().flatten();
        let naming = naming.filter(move |((_, named), _)| named.as_deref() == port);
        naming.map(|(_, name)| name)
    }

    /// Those that name a Service or a port of it, the oldest first, some perhaps more than once.
    pub(crate) fn naming(&self, service: &ObjectName) -> impl Iterator<Item = &ObjectName> {
        let naming = self.of_service.get(service);
        naming.into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.known.keys()
    }

    /// Whether any asks which endpoints are in the own zone.
    pub(crate) fn ask_for_zones(&self) -> bool {
        !self.zoned.is_empty()
    }

    /// The Services of those that ask.
    pub(crate) fn in_zones(&self) -> impl Iterator<Item = &ObjectName> {
        let policies = self.zoned.iter().filter_map(|name| self.known.get(name));
        policies.flat_map(NamedPolicy::services)
    }

    /// Those that name a ConfigMap or a Secret.
    pub(crate) fn users(&self, object: &Key) -> impl Iterator<Item = &ObjectName> {
        let first = (object.clone(), ObjectName::new("", ""));
        let users = self.users.range(first..);
        let users = users.take_while(move |(it, _)| it == object);
        users.map(|(_, user)| user)
    }

    /// Those that name any Secret of a namespace, some perhaps more than once.
    pub(crate) fn users_of_secrets_in(&self, namespace: &str) -> impl Iterator<Item = &ObjectName> {
        let is_there = |it: &Key| it.kind == Kind::Secret && *it.namespace == *namespace;
        let users = self.users.iter();
        users
            .filter(move |(it, _)| is_there(it))
            .map(|(_, user)| user)
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
        for object in before.iter().flat_map(|it| &it.names) {
            self.users.remove(&(object.clone(), name.clone()));
        }
        let in_zones = |policy: &BackendPolicy| policy.balancing.zones.is_some();
        match (policy.as_ref()).is_some_and(|it| it.policy.as_deref().is_some_and(in_zones)) {
            true => self.zoned.insert(name.clone()),
            false => self.zoned.remove(name),
        };
        let named = policy.iter().flat_map(|it| &it.names);
        (self.users).extend(named.map(|object| (object.clone(), name.clone())));
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
            for ServiceTarget { service, port, .. } in &policy.targets {
                let naming = self.of_service.entry(service.clone()).or_default();
                naming.insert((policy.seniority.clone(), port.clone()), name.clone());
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
        for target in &policy.targets {
            self.tell_of(world, settings, target, policy, &mut outcome);
        }
        Some(outcome)
    }

    /// What becomes of a policy at a target of it.
    fn tell_of(
        &self,
        world: &World,
        settings: &Settings,
        target: &ServiceTarget,
        policy: &NamedPolicy,
        outcome: &mut Outcome,
    ) {
        let ServiceTarget {
            field,
            service,
            port,
        } = target;
        let key = outcome.key.clone();
        let first = self.naming_target(service, port.as_deref()).next();
        if let Some(older) = first.filter(|it| **it != key.object) {
            let message = format!("BackendPolicy {older} is older, and for the same Service");
            outcome.left_out = true;
            let field = field.to_string();
            outcome.remark(Finding::problem(Reason::Conflicted, field, message));
            return;
        }
        outcome.rules += 1;
        Self::compare(world, policy, service, outcome);
        let found = world.service(settings, Referrer::Object(&key), service);
        let Ok((_, spec)) = found else {
            let message = backend::why_missing(world, Kind::Service, service);
            let field = field.to_string();
            outcome.remark(Finding::problem(Reason::ServiceNotFound, field, message));
            return;
        };
        if let Some(port) = port
            && spec.ports.iter().all(|it| it.name != *port)
        {
            let message = format!("Service {service} has no port of the name `{port}`");
            let field = format!("{field}.sectionName");
            outcome.remark(Finding::problem(Reason::PortNotFound, field, message));
        }
    }

    /// What is said of TLS in two places is said in one of them for the routes of the Gateway API.
    fn compare(world: &World, policy: &NamedPolicy, service: &ObjectName, outcome: &mut Outcome) {
        let tls = policy.policy.as_ref().map(|it| &it.connection.tls);
        if let (Some(Some(_)), Some(other)) = (tls, world.policies_of(service).next()) {
            let message = format!(
                "{} says how the endpoints of Service {service} are known, and comes first for \
                 routes of the Gateway API",
                other.key()
            );
            let field = "spec.connection.tls";
            outcome.remark(Finding::warning(Reason::NoEffect, field, message));
        }
    }
}
