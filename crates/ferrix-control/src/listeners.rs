//! The Gateways and ListenerSets of this installation, and their listeners: what routes attach to.
//!
//! ```text
//!  Gateway, ListenerSets ─► listener     each by itself: protocol, kinds, certificates
//!                             └─► placement     conflicts with earlier ones, and where it is served
//!                                   ├── services    where Gateways have Services of their own
//!                                   └─► entry points of the table, certificates, verdicts
//! ```
//!
//! A pure function of the world, made anew as a whole where anything changes that Gateways name: there
//! are few of them. Routes are followed one by one: see `attachment`.

use std::{collections::BTreeMap, sync::Arc};

use ferrix_api::gateway::ParentReference;
use ferrix_table::{entry_points::EntryPoint, rules::Route, verification::ClientCertificate};

use crate::{
    draft::{Draft, EntryPointNames},
    gateway::GatewayVersion,
    gateway_service::Deed,
    names::shared_name,
    objects::{Key, Kind, Origin},
    secret::Parsed,
    settings::Settings,
    verdict::Condition,
    world::World,
};

mod frontend;
mod gateway;
mod listener;
mod overlap;
mod placement;
mod reach;
mod services;

use gateway::Evaluation;
pub(crate) use listener::Listener;
use placement::Places;
use reach::Reaches;

/// Why something is not as it was asked for: a reason of the specification, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fault {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// All Gateways and ListenerSets that are ours.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    parents: BTreeMap<Key, Arc<Parent>>,
    deeds: Arc<[Deed]>,
}

/// A Gateway or a ListenerSet.
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) route: Arc<Route>,
    /// The Gateway: itself, or that of the ListenerSet.
    pub(crate) gateway: Key,
    pub(crate) origin: Origin,
    pub(crate) generation: Option<i64>,
    pub(crate) listeners: Box<[Listener]>,
    pub(crate) conditions: Box<[Condition]>,
    /// What its Gateway presents to backends.
    pub(crate) client_certificate: Option<ClientCertificate>,
    /// Of a Gateway: where it is reached.
    pub(crate) addresses: Box<[ferrix_api::gateway::GatewayAddress]>,
    /// Of a Gateway: how many ListenerSets are accepted.
    pub(crate) listener_sets: u32,
    /// Whether it is a Gateway to which routes attach that ask for default ones.
    pub(crate) is_default: bool,
}

impl Gateways {
    /// Those of a world.
    pub(crate) fn of(world: &World, settings: &Settings) -> Self {
        let Some(ours) = &settings.gateway else {
            return Self::default();
        };
        let mut gateways: Vec<&GatewayVersion> = (world.gateways())
            .filter(|gateway| world.is_our_gateway(settings, gateway))
            .collect();
        gateways.sort_by_cached_key(|gateway| gateway.seniority());
        let mut reaches = Reaches::of(world, settings, &ours.reach, &gateways);
        let mut places = Places::new(world, settings, ours);
        let mut parents = BTreeMap::new();
        for gateway in gateways {
            let evaluation = Evaluation::new(world, settings, gateway, reaches.of_gateway(gateway));
            for parent in evaluation.parents(&mut places) {
                parents.insert(parent.key().clone(), Arc::new(parent));
            }
        }
        Self {
            parents,
            deeds: places.deeds(),
        }
    }

    /// What is to be done about the Services of Gateways.
    pub(crate) fn deeds(&self) -> &Arc<[Deed]> {
        &self.deeds
    }

    /// The Gateway or ListenerSet of a key.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Parent>> {
        self.parents.get(key)
    }

    /// A Gateway with its ListenerSets, or a ListenerSet.
    pub(crate) fn with<'g>(&'g self, key: &'g Key) -> impl Iterator<Item = Key> + 'g {
        let is_part = move |parent: &&Arc<Parent>| parent.key() == key || parent.gateway == *key;
        let parents = self.parents.values().filter(is_part);
        parents.map(|parent| parent.key().clone())
    }

    /// Those to which routes attach that ask for default Gateways.
    pub(crate) fn defaults(&self) -> impl Iterator<Item = &Arc<Parent>> {
        self.parents.values().filter(|parent| parent.is_default)
    }

    /// The entry points of all listeners that have one of their own, by name.
    pub(crate) fn entry_points(&self) -> impl Iterator<Item = &EntryPoint> {
        let listeners = self.parents.values().flat_map(|it| &it.listeners);
        listeners.flat_map(|listener| &listener.entry_points)
    }

    /// Takes the place of others. Returns the keys of those that differ, or have come or gone. What is
    /// the same stays what it was.
    pub(crate) fn replace(&mut self, mut next: Self) -> Vec<Key> {
        let mut differ = Vec::new();
        for (key, parent) in &mut next.parents {
            match self.parents.remove(key) {
                Some(before) if before.same(parent) => *parent = before,
                _ => differ.push(key.clone()),
            }
        }
        differ.extend(std::mem::take(&mut self.parents).into_keys());
        *self = next;
        differ
    }
}

impl Parent {
    pub(crate) fn key(&self) -> &Key {
        &self.route.key
    }

    /// Whether two versions come to the same.
    fn same(&self, other: &Self) -> bool {
        self.route.created == other.route.created
            && self.origin == other.origin
            && self.generation == other.generation
            && self.conditions == other.conditions
            && self.client_certificate == other.client_certificate
            && self.addresses == other.addresses
            && self.listener_sets == other.listener_sets
            && self.is_default == other.is_default
            && self.listeners.len() == other.listeners.len()
            && (self.listeners.iter().zip(&other.listeners)).all(|(one, other)| one.same(other))
    }

    /// The certificates of its listeners, each with the name of an entry point that presents it.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = (&str, &Arc<Parsed>)> {
        self.listeners.iter().flat_map(|listener| {
            let names = listener.served_by();
            names.flat_map(move |name| listener.certificates.iter().map(move |it| (name, it)))
        })
    }
}

/// The key of the Gateway or ListenerSet that a route of a namespace names; `None`: it is neither.
pub(crate) fn key_of_parent(reference: &ParentReference, namespace: &str) -> Option<Key> {
    let kind = kind_of_parent(&reference.group, &reference.kind)?;
    let namespace = reference.namespace.as_deref().unwrap_or(namespace);
    Some(shared_name(namespace, &reference.name).key(kind))
}

/// The Gateways and ListenerSets that a draft names, whether they exist or not; [`any_default`] among them where
/// it asks for default ones.
pub(crate) fn parents_of(draft: &Draft) -> impl Iterator<Item = Key> {
    let parents = match &draft.entry_points {
        EntryPointNames::Parents(parents) => Some(parents),
        _ => None,
    };
    let namespace = &draft.key().namespace;
    let named = parents.into_iter().flat_map(|it| &it.named);
    let named = named.filter_map(|it| key_of_parent(it, namespace));
    named.chain(parents.filter(|it| it.defaults).map(|_| any_default()))
}

/// What stands for all default Gateways: no object has such a name.
pub(crate) fn any_default() -> Key {
    shared_name("", "").key(Kind::Gateway)
}

/// The kind of what a reference to a parent names; `None`: nothing that routes can attach to.
fn kind_of_parent(group: &str, kind: &str) -> Option<Kind> {
    let parents = [Kind::Gateway, Kind::ListenerSet].into_iter();
    let mut of_group = parents.filter(|_| group == ferrix_api::gateway::GROUP);
    of_group.find(|it| it.as_str() == kind)
}
