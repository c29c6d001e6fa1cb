//! The report: an entry for every route, and for every other object that needs a word.
//!
//! Only reads what the translation has come to. An entry is a function of the world and of that,
//! so that it may be made anew at any time.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use ferrix_table::{rules::Action, services::Services};

use super::{Concerned, Translated, Translation};
use crate::{
    backend::{self, Backend},
    endpointslice,
    guard::{Bug, Step, guarded},
    kinds,
    objects::{Key, Kind, ObjectName},
    outcome::Outcome,
    report::{Condition, ConditionType, Entry, Finding, Reason, Remark},
    resolve::{Context, Resolved},
    world::{Effect, World},
};

impl Translation {
    /// Brings the report up to date. Tells whether that changes anything.
    pub(super) fn tell(
        &mut self,
        context: &Context<'_>,
        effect: &Effect,
        concerned: &Concerned,
        services: &Services,
        default_fault: Option<&(ObjectName, String)>,
    ) -> bool {
        let mut news: Vec<(Key, Option<Arc<Entry>>)> = Vec::new();
        let mut told = false;
        for key in &concerned.routes {
            told |= self.fall_back(context.world, key);
            let entry = guarded(Step::Tell, key, || self.route_entry(context, services, key));
            let entry = entry.unwrap_or_else(|Bug| Some(untold(context.world, key)));
            let entry = entry.map(|mut entry| {
                self.common.entry_points.share(&mut entry.entry_points);
                self.common.conditions.share(&mut entry.conditions);
                Arc::new(entry)
            });
            news.push((key.clone(), entry));
        }
        for name in &concerned.filters {
            let key = name.key(Kind::Filter);
            told |= self.fall_back(context.world, &key);
            let entry = guarded(Step::Tell, &key, || self.filter_entry(context, name));
            let entry = entry.unwrap_or_else(|Bug| Some(untold(context.world, &key)));
            news.push((key, entry.map(Arc::new)));
        }
        for name in &concerned.service_policies {
            let key = name.key(Kind::BackendPolicy);
            told |= self.fall_back(context.world, &key);
            let entry = guarded(Step::Tell, &key, || {
                self.service_policy_entry(context, name)
            });
            let entry = entry.unwrap_or_else(|Bug| Some(untold(context.world, &key)));
            news.push((key, entry.map(Arc::new)));
        }
        let mut tell_of = |key: &Key, entry: &dyn Fn() -> Option<Entry>| {
            let entry = guarded(Step::Tell, key, entry);
            let entry = entry.unwrap_or_else(|Bug| Some(untold(context.world, key)));
            // Of one that is not ours there may be something to say all the same.
            let entry = entry.or_else(|| object_entry(context.world, key, Vec::new()));
            news.push((key.clone(), entry.map(Arc::new)));
        };
        let is_parent = |key: &&Key| matches!(key.kind, Kind::Gateway | Kind::ListenerSet);
        let parents = effect.objects.iter().filter(is_parent);
        let parents: BTreeSet<_> = concerned.parents.iter().chain(parents).collect();
        for key in parents {
            tell_of(key, &|| {
                let entry = self.parent_entry(context, key);
                let of_others = || Self::parent_of_others(context, key);
                entry.or_else(|| object_entry(context.world, key, of_others()))
            });
        }
        for name in &concerned.policies {
            let key = name.key(Kind::BackendTlsPolicy);
            tell_of(&key, &|| self.policy_entry(context, name));
        }
        for name in &concerned.traffic_policies {
            let key = name.key(Kind::XBackendTrafficPolicy);
            tell_of(&key, &|| self.traffic_policy_entry(context, name));
        }
        let is_class = |key: &&Key| key.kind == Kind::GatewayClass;
        for key in effect.objects.iter().filter(is_class) {
            tell_of(key, &|| {
                Self::class_entry(context.world, context.settings, key)
            });
        }
        let mut tell = |key: Key, findings| {
            let entry = object_entry(context.world, &key, findings);
            news.push((key, entry.map(Arc::new)));
        };
        for service in &concerned.services {
            let backends = self.backends.of_service(service);
            let findings = backend::findings(context.world, context.settings, backends, services);
            tell(service.key(Kind::Service), findings);
            for slice in context.world.slice_names(service) {
                let findings = self.slice_findings(context, slice);
                tell(slice.key(Kind::EndpointSlice), findings);
            }
        }
        for key in &effect.objects {
            let name = key.object.clone();
            let findings = match key.kind {
                // There is an entry for each already.
                Kind::BackendPolicy
                | Kind::Filter
                | Kind::GrpcRoute
                | Kind::HttpRoute
                | Kind::Ingress
                | Kind::IngressRoute
                | Kind::Service
                | Kind::TcpRoute
                | Kind::TlsRoute
                | Kind::UdpRoute
                | Kind::BackendTlsPolicy
                | Kind::Gateway
                | Kind::GatewayClass
                | Kind::ListenerSet
                | Kind::XBackendTrafficPolicy => continue,
                Kind::EndpointSlice => self.slice_findings(context, &name),
                Kind::Secret => secret_findings(context.world, &name, default_fault),
                Kind::ConfigMap | Kind::IngressClass | Kind::Namespace | Kind::ReferenceGrant => {
                    Vec::new()
                }
            };
            tell(key.clone(), findings);
        }
        // Nothing of it may be there that could change.
        if let Some((secret, _)) = default_fault {
            let findings = secret_findings(context.world, secret, default_fault);
            tell(secret.key(Kind::Secret), findings);
        }
        told |= self.report.update(news);
        let addresses = context.world.addresses(context.settings);
        told |= self.report.addresses != addresses;
        self.report.addresses = addresses;
        if effect.remarks {
            let remarks = context.world.remarks();
            let remarks: Vec<_> = remarks
                .map(|(path, finding)| Remark {
                    path: Arc::clone(path),
                    finding: finding.clone(),
                })
                .collect();
            told |= self.report.remarks != remarks;
            self.report.remarks = remarks;
        }
        told
    }

    /// Takes note of what serves in place of a route, or of a Secret or Filter that it depends on. Tells
    /// whether that is new.
    fn fall_back(&mut self, world: &World, key: &Key) -> bool {
        let resolved = self.routes.get(key).map(|route| &route.resolved);
        let is_ours = resolved.is_none_or(|it| !it.outcome.not_ours);
        let secrets = resolved.into_iter().flat_map(Resolved::certificate_secrets);
        let filters = resolved.into_iter().flat_map(Resolved::filters);
        let objects = std::iter::once(key.clone())
            .chain(secrets.map(|it| it.key(Kind::Secret)))
            .chain(filters.map(|it| it.filter.key(Kind::Filter)));
        let bad = objects.filter_map(|object| {
            let fallback = world.fallback(&object).filter(|_| is_ours)?;
            Some((object, fallback))
        });
        let bad: Vec<_> = bad.collect();
        let differs = *self.report.fallbacks.of(key) != *bad;
        if differs {
            Arc::make_mut(&mut self.report.fallbacks).set(key, bad);
        }
        differs
    }

    fn route_entry(&self, context: &Context<'_>, services: &Services, key: &Key) -> Option<Entry> {
        if self.failed.contains(key)
            && let Some(versions) = context.world.route(key)
        {
            let before = self.routes.get(key).map(|route| &route.resolved);
            let outcome = Resolved::failed(before, versions);
            return Some(kinds::entry(&outcome, context.entry_points));
        }
        let Some(route) = self.routes.get(key) else {
            let (origin, error) = context.world.rejection(key)?;
            let outcome = Outcome::undecodable(key, origin, error);
            return Some(kinds::entry(&outcome, context.entry_points));
        };
        let mut resolved = Cow::Borrowed(&route.resolved);
        if !resolved.certificates.is_empty() {
            self.claims.tell(resolved.to_mut());
        }
        if self.conflicts.concern(key) {
            let of = |key: &Key| self.routes.get(key).map(|route| &route.resolved);
            self.conflicts
                .tell(resolved.to_mut(), context.entry_points, of);
        }
        for finding in self.idle_server_names(route, services) {
            resolved.to_mut().outcome.remark(finding);
        }
        if self.logins.concern(&route.rules) {
            self.logins.tell(&route.rules, resolved.to_mut());
        }
        let without_endpoints = self.without_endpoints(context.world, route, services);
        if !without_endpoints.is_empty() {
            resolved.to_mut().outcome.without_endpoints = without_endpoints;
        }
        let entry = kinds::entry(&resolved.outcome, context.entry_points);
        Some(with_notes(context.world, entry))
    }

    /// What of a route says which name is asked for over TLS, where TLS is not spoken.
    fn idle_server_names(&self, route: &Translated, services: &Services) -> Vec<Finding> {
        let is_idle = |(_, backend): &(String, &Backend)| {
            let index = self.backends.index(backend);
            let service = index.and_then(|index| services.get(index as usize));
            service.is_some_and(|service| !service.protocol.is_tls())
        };
        let idle = route.resolved.server_names().filter(is_idle);
        let message = "has no effect: only `https` asks for a name";
        idle.map(|(field, _)| Finding::warning(Reason::NoEffect, field, message))
            .collect()
    }

    /// What of a route's rules gets 503, as there is no endpoint: each a sentence.
    fn without_endpoints(
        &self,
        world: &World,
        route: &Translated,
        services: &Services,
    ) -> Vec<String> {
        let mut sentences = Vec::new();
        for rule in &route.rules {
            match &rule.action {
                Action::Forward(split) => {
                    for (destination, _) in split.weights() {
                        let Ok(index) = destination.service else {
                            continue;
                        };
                        let empty = services.get(index as usize);
                        let Some(empty) = empty.filter(|service| service.endpoints.is_empty())
                        else {
                            continue;
                        };
                        // Only what is looked up has a reason of its own for everybody who refers to it.
                        let backends = route.resolved.backends().iter();
                        let why = backends
                            .filter(|backend| backend.external_name().is_some())
                            .find(|backend| self.backends.index(backend) == Some(index))
                            .map_or_else(String::new, |backend| {
                                format!(", as {}", backend::why_none(world, backend))
                            });
                        sentences.push(format!(
                            "No endpoint of Service {} takes requests{why}: they get 503.",
                            empty.id
                        ));
                    }
                }
                Action::Unavailable => {
                    let sentence = "No service of a rule has a weight: its requests get 503.";
                    sentences.push(sentence.into());
                }
                Action::Answered | Action::Unresolved(_) => {}
            }
        }
        sentences.sort();
        sentences.dedup();
        sentences
    }

    fn slice_findings(&self, context: &Context<'_>, name: &ObjectName) -> Vec<Finding> {
        let Context {
            world, settings, ..
        } = *context;
        let service = world.service_of(name);
        let any = service.and_then(|service| self.backends.of_service(service).first());
        let slice = world.slice_of(any.map(|any| any.backend.permitted()), name);
        slice.map_or_else(Vec::new, |it| endpointslice::findings(settings, it))
    }
}

/// The entry of a route of which a bug of ours keeps the rest from being told.
fn untold(world: &World, key: &Key) -> Entry {
    let finding = Finding::problem(Reason::InternalError, "", Bug::MESSAGE);
    let generation = world.route(key).and_then(|it| it.newest.generation());
    let condition = |condition| Condition {
        observed_generation: generation,
        ..Condition::new(condition, Reason::InternalError, false, Bug::MESSAGE)
    };
    Entry {
        observed_generation: generation,
        conditions: [ConditionType::Ready, ConditionType::Accepted]
            .map(condition)
            .into(),
        ..Entry::remarks(key.clone(), world.origin(key), vec![finding])
    }
}

fn secret_findings(
    world: &World,
    name: &ObjectName,
    default_fault: Option<&(ObjectName, String)>,
) -> Vec<Finding> {
    let mut findings = world.secret_findings(name);
    if let Some((_, why)) = default_fault.filter(|(secret, _)| secret == name) {
        let message = format!("the default certificate cannot be presented: {why}");
        findings.push(Finding::problem(Reason::InvalidCertificate, "", message));
    }
    findings
}

/// The entry of an object of which versions are drafts, with what decoding found though it succeeded.
pub(super) fn with_notes(world: &World, mut entry: Entry) -> Entry {
    if let Some(notes) = world.notes_of(&entry.key) {
        let notes = notes.iter().map(|note| note.clone().located(&entry.origin));
        let mut findings: Vec<_> = notes.chain(entry.findings.iter().cloned()).collect();
        findings.sort_by_key(|finding| finding.severity);
        entry.findings = findings.into();
    }
    entry
}

/// An entry with what decoding found about the object.
pub(super) fn with_decoding(world: &World, entry: Entry) -> Entry {
    let Some(told) = object_entry(world, &entry.key, Vec::new()) else {
        return entry;
    };
    let mut findings: Vec<_> = told.findings.into_iter().chain(entry.findings).collect();
    findings.sort_by_key(|finding| finding.severity);
    Entry {
        findings: findings.into(),
        ..entry
    }
}

/// The entry of an object that is no route, where there is anything to say about it: what
/// decoding found, then what translation did.
fn object_entry(world: &World, key: &Key, findings: Vec<Finding>) -> Option<Entry> {
    let rejection = world.rejection(key);
    let notes = world.notes_of(key);
    if findings.is_empty() && rejection.is_none() && notes.is_none() {
        return None;
    }
    let mut all: Vec<Finding> = Vec::new();
    all.extend(rejection.iter().flat_map(|(_, error)| error.findings()));
    all.extend(notes.into_iter().flatten().cloned());
    all.extend(findings);
    all.sort_by_key(|finding| finding.severity);
    let origin = match rejection {
        Some((origin, _)) => origin.clone(),
        None => world.origin(key),
    };
    Some(Entry::remarks(key.clone(), origin, all))
}
