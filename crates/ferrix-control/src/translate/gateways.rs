//! Gateways and ListenerSets: what changes with them, and what is told of them.

use std::{collections::BTreeSet, sync::Arc};

use ferrix_table::{rules::HostPattern, table::EntryPoints};

use super::{Concerned, Translation, entries::with_decoding};
use crate::{
    field::Field,
    listeners::{self, Gateways, Parent},
    objects::{Key, Kind, Origin},
    report::{Entry, Finding, Reason, Serving},
    resolve::{Context, Presented},
    settings::{Publish, Settings},
    verdict::{
        ClassVerdict, Condition, GatewayVerdict, ListenerSetVerdict, ListenerVerdict, Verdict,
    },
    world::{Effect, World},
};

impl Translation {
    /// Makes the Gateways anew where anything changed that they name. Returns those that differ.
    pub(super) fn follow_gateways(
        &mut self,
        world: &World,
        settings: &Settings,
        effect: &Effect,
    ) -> Vec<Key> {
        let concerns = |key: &Key| match key.kind {
            Kind::ConfigMap | Kind::Gateway | Kind::GatewayClass | Kind::ListenerSet => true,
            Kind::Namespace | Kind::ReferenceGrant | Kind::Secret => true,
            // Where Gateways are reached.
            Kind::Service => is_way(settings, key),
            _ => false,
        };
        let is_concerned = effect.sight || effect.refused || effect.objects.iter().any(concerns);
        match settings.gateway.is_some() && is_concerned {
            true => self.gateways.replace(Gateways::of(world, settings)),
            false => Vec::new(),
        }
    }

    /// Moves from the certificates that Gateways and ListenerSets presented to those that they present
    /// now.
    pub(super) fn claim(&mut self, parents: &[Key], entry_points: &EntryPoints) {
        for key in parents {
            if let Some((route, before)) = self.presented.remove(key) {
                self.claims.remove(&route, &before);
            }
            let Some(parent) = self.gateways.get(key) else {
                continue;
            };
            let presented = presented(parent, entry_points);
            if !presented.is_empty() {
                self.claims.add(&parent.route, &presented);
                let presented = (Arc::clone(&parent.route), presented);
                self.presented.insert(key.clone(), presented);
            }
        }
    }

    /// The routes that name any of these, or ask for default Gateways where any is among them.
    pub(super) fn users_of(&self, parents: &[Key]) -> BTreeSet<Key> {
        let first = super::first_key();
        let any_default = listeners::any_default();
        let is_gateway = |key: &Key| key.kind == Kind::Gateway;
        let defaults = parents.iter().any(is_gateway).then_some(&any_default);
        let users = parents.iter().chain(defaults).flat_map(|parent| {
            let users = self
                .users_of_parent
                .range((parent.clone(), first.clone())..);
            users.take_while(move |(it, _)| it == parent)
        });
        users.map(|(_, user)| user.clone()).collect()
    }

    /// Takes note that a route is attached to a listener no more.
    pub(super) fn detach(&mut self, listener: &(Key, Arc<str>), concerned: &mut Concerned) {
        concerned.parents.insert(listener.0.clone());
        if let Some(count) = self.attached.get_mut(listener) {
            *count -= 1;
            if *count == 0 {
                self.attached.remove(listener);
            }
        }
    }

    /// What is told of a Gateway or a ListenerSet; `None`: it is not ours, or gone.
    pub(super) fn parent_entry(&self, context: &Context<'_>, key: &Key) -> Option<Entry> {
        let parent = context.gateways.get(key)?;
        let listeners = parent.listeners.iter().map(|listener| {
            let place = (key.clone(), Arc::clone(&listener.name));
            ListenerVerdict {
                name: listener.name.to_string(),
                supported_kinds: listener.kinds.clone(),
                attached_routes: self.attached.get(&place).copied().unwrap_or_default(),
                conditions: listener.conditions.clone(),
            }
        });
        let listeners = listeners.collect();
        let verdict = match key.kind {
            Kind::Gateway => Verdict::Gateway(GatewayVerdict {
                addresses: parent.addresses.clone(),
                conditions: parent.conditions.clone(),
                listeners,
                attached_listener_sets: parent.listener_sets,
            }),
            _ => Verdict::ListenerSet(ListenerSetVerdict {
                conditions: parent.conditions.clone(),
                listeners,
            }),
        };
        let served_by = parent.listeners.iter().flat_map(|it| it.served_by());
        let served_by: Vec<String> = served_by.map(str::to_owned).collect();
        let entry = Entry {
            observed_generation: parent.generation,
            serving: match served_by.is_empty() {
                true => Serving::Nothing,
                false => Serving::Newest,
            },
            entry_points: served_by.into(),
            verdict: Some(Arc::new(verdict)),
            ..Entry::remarks(key.clone(), parent.origin.clone(), findings(parent))
        };
        Some(with_decoding(context.world, entry))
    }

    /// What is told of a Gateway or a ListenerSet that is not ours, where it comes from a file: in a cluster
    /// most of them are those of other controllers.
    pub(super) fn parent_of_others(context: &Context<'_>, key: &Key) -> Vec<Finding> {
        if context.world.origin(key) == Origin::Api {
            return Vec::new();
        }
        let (field, message) = match (key.kind, &context.settings.gateway) {
            (Kind::Gateway, Some(ours)) => {
                let message = format!(
                    "ignored: no GatewayClass of this name has the controller of this installation, `{}`",
                    ours.controller
                );
                ("spec.gatewayClassName", message)
            }
            (Kind::Gateway, None) => ("spec", "ignored: no Gateway is served".to_owned()),
            _ => {
                let message = "ignored: its Gateway is none of this installation";
                ("spec.parentRef", message.to_owned())
            }
        };
        vec![Finding::info(Reason::NotOurs, field, message)]
    }

    /// What is told of a GatewayClass; `None`: it is not ours, or gone.
    pub(super) fn class_entry(world: &World, settings: &Settings, key: &Key) -> Option<Entry> {
        let class = world.gateway_class(&key.name)?;
        let ours = settings.gateway.as_ref()?;
        if class.spec.controller_name != ours.controller {
            return None;
        }
        let accepted = match &class.spec.parameters_ref {
            None => Condition::new("Accepted", true, "Accepted", "The class is served."),
            Some(parameters) => {
                let message = format!(
                    "`parametersRef` names a {}; Ferrix knows no parameters.",
                    parameters.kind
                );
                Condition::new("Accepted", false, "InvalidParameters", message)
            }
        };
        let finding = (!accepted.status).then(|| problem("spec.parametersRef", &accepted));
        let entry = Entry {
            observed_generation: class.generation,
            verdict: Some(Arc::new(Verdict::GatewayClass(ClassVerdict {
                conditions: [accepted].into(),
                retries: world.keeps_retries(),
            }))),
            ..Entry::remarks(
                key.clone(),
                class.origin.clone(),
                finding.into_iter().collect(),
            )
        };
        Some(with_decoding(world, entry))
    }
}

/// Whether Gateways are reached by a Service.
fn is_way(settings: &Settings, service: &Key) -> bool {
    let own = settings.gateway_services();
    let own = own.and_then(|it| it.namespace.as_deref());
    own == Some(&*service.namespace)
        || matches!(
            &settings.publish,
            Publish::Service { namespace, name }
                if **namespace == *service.namespace && **name == *service.name
        )
}

/// The certificates of a Gateway or ListenerSet.
fn presented(parent: &Parent, entry_points: &EntryPoints) -> Box<[Presented]> {
    let certificates = parent.certificates();
    let presented = certificates.filter_map(|(name, parsed)| {
        Some(Presented {
            field: Field::new("spec.listeners", []),
            hosts: [HostPattern::Any].into(),
            parsed: Arc::clone(parsed),
            entry_points: [entry_points.find(name)?].into(),
        })
    });
    presented.collect()
}

/// Every condition that is not as it should be.
fn findings(parent: &Parent) -> Vec<Finding> {
    let own = parent.conditions.iter().filter(|it| !it.status);
    let own = own.map(|condition| problem("spec", condition));
    let listeners = parent.listeners.iter().enumerate();
    let of_listeners = listeners.flat_map(|(place, listener)| {
        let wrong = listener.conditions.iter().filter(|it| is_wrong(it));
        let field = Field::new("spec.listeners[]", [place]).to_string();
        wrong.map(move |condition| problem(&field, condition))
    });
    let mut findings: Vec<Finding> = Vec::new();
    // Several conditions have one cause.
    for finding in of_listeners.chain(own) {
        if findings.iter().all(|it| it.message != finding.message) {
            findings.push(finding);
        }
    }
    findings
}

/// Whether a condition of a listener says that something is wrong.
fn is_wrong(condition: &Condition) -> bool {
    condition.status == (condition.condition == "Conflicted")
}

fn problem(field: &str, condition: &Condition) -> Finding {
    Finding::problem(
        Reason::ListenersNotValid,
        field,
        condition.message.clone().into_owned(),
    )
}
