//! Which listeners a route attaches to, and for which hosts.

use std::{collections::BTreeSet, sync::Arc};

use ferrix_api::gateway::{GROUP, ParentReference};
use ferrix_table::{entry_points::EntryPoints, ids::EntryPointIndex, rules::HostPattern};

use crate::{
    draft::{Draft, EntryPointNames},
    entry_points::list,
    listeners::{self, Gateways, Listener, Parent, key_of_parent},
    objects::Key,
    outcome::ParentOutcome,
    report::Reason,
    world::World,
};

/// A listener that a route is attached to.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    /// Its Gateway or ListenerSet.
    pub(crate) parent: Key,
    pub(crate) listener: Arc<str>,
    /// None where it is not served.
    pub(crate) entry_points: Vec<EntryPointIndex>,
    /// The hosts that both are for.
    pub(crate) hosts: Vec<HostPattern>,
}

/// Attaches a draft to its parents. Gives, for each parent that is ours, what became of that.
pub(crate) fn attach(
    world: &World,
    gateways: &Gateways,
    entry_points: &EntryPoints,
    draft: &Draft,
) -> (Vec<Attached>, Vec<ParentOutcome>) {
    let (mut attached, mut outcomes) = (Vec::new(), Vec::new());
    let EntryPointNames::Parents(parents) = &draft.entry_points else {
        return (attached, outcomes);
    };
    for reference in &parents.named {
        let key = key_of_parent(reference, &draft.key().namespace);
        let Some(parent) = key.and_then(|key| gateways.get(&key)) else {
            continue;
        };
        let refused = match attach_to(world, entry_points, draft, reference, parent) {
            Ok(listeners) => {
                attached.extend(listeners);
                None
            }
            Err(refused) => Some(refused),
        };
        outcomes.push(ParentOutcome {
            parent: reference.clone(),
            refused,
        });
    }
    if parents.defaults {
        let named: Vec<_> = listeners::parents_of(draft).collect();
        let defaults = gateways.defaults();
        for parent in defaults.filter(|it| !named.contains(it.key())) {
            let reference = reference_to(parent.key());
            // One that may not claim it says nothing.
            let found = attach_to(world, entry_points, draft, &reference, parent);
            if let Ok(listeners) = found {
                attached.extend(listeners);
                outcomes.push(ParentOutcome {
                    parent: reference,
                    refused: None,
                });
            }
        }
    }
    (attached, outcomes)
}

/// The parents that a draft names and that are none of ours: the place of each, and what it is.
pub(crate) fn strangers(gateways: &Gateways, draft: &Draft) -> Vec<(usize, String)> {
    let EntryPointNames::Parents(parents) = &draft.entry_points else {
        return Vec::new();
    };
    let own_namespace = &draft.key().namespace;
    let strangers = parents.named.iter().enumerate().filter(|(_, parent)| {
        let key = key_of_parent(parent, own_namespace);
        key.is_none_or(|key| gateways.get(&key).is_none())
    });
    let name = |(place, parent): (usize, &ParentReference)| {
        let namespace = parent.namespace.as_deref().unwrap_or(own_namespace);
        (
            place,
            format!("{} {namespace}/{}", parent.kind, parent.name),
        )
    };
    strangers.map(name).collect()
}

/// A reference to a Gateway as a whole.
fn reference_to(gateway: &Key) -> ParentReference {
    ParentReference {
        group: GROUP.to_owned(),
        kind: gateway.kind.as_str().to_owned(),
        namespace: Some(gateway.namespace.to_string()),
        name: gateway.name.to_string(),
        section_name: None,
        port: None,
    }
}

/// The hosts that a draft is served for, at any of its parents.
pub(crate) fn hosts(world: &World, gateways: &Gateways, draft: &Draft) -> BTreeSet<HostPattern> {
    let (attached, _) = attach(world, gateways, &EntryPoints::default(), draft);
    attached.into_iter().flat_map(|it| it.hosts).collect()
}

fn attach_to(
    world: &World,
    entry_points: &EntryPoints,
    draft: &Draft,
    reference: &ParentReference,
    parent: &Parent,
) -> Result<Vec<Attached>, (Reason, String)> {
    let named = |listener: &&Listener| {
        let section = reference.section_name.as_deref();
        section.is_none_or(|it| it == &*listener.name)
            && reference.port.is_none_or(|port| port == listener.port)
    };
    let named: Vec<_> = parent.listeners.iter().filter(named).collect();
    if named.is_empty() {
        let known: Vec<_> = parent.listeners.iter().map(|it| &*it.name).collect();
        let message = format!(
            "{} has no listener of this name and port; it has {}",
            parent.key(),
            list(&known)
        );
        return Err((Reason::NoMatchingParent, message));
    }
    let (kind, namespace) = (draft.key().kind, &draft.key().namespace);
    let allowed =
        |listener: &&&Listener| listener.kinds.contains(&kind) && listener.admits(world, namespace);
    let allowed: Vec<_> = named.iter().filter(allowed).collect();
    if allowed.is_empty() {
        let message = format!(
            "no listener of {} takes {kind}s of namespace {namespace}",
            parent.key()
        );
        return Err((Reason::NotAllowedByListeners, message));
    }
    if !allowed.iter().any(|it| it.accepted) {
        let message = format!("no listener of {} that it names is valid", parent.key());
        return Err((Reason::NoMatchingParent, message));
    }
    let mut serves = false;
    // Of a listener that is not valid it is counted as well, if it is accepted for another
    // (`ListenerStatus.AttachedRoutes`).
    let attached = allowed.into_iter().filter_map(|listener| {
        let hosts = common_hosts(&listener.host, &draft.hosts);
        let indices = listener.served_by();
        serves |= listener.accepted && !hosts.is_empty();
        (!hosts.is_empty()).then(|| Attached {
            parent: parent.key().clone(),
            listener: Arc::clone(&listener.name),
            entry_points: indices.filter_map(|name| entry_points.find(name)).collect(),
            hosts,
        })
    });
    let attached: Vec<_> = attached.collect();
    match serves {
        false => {
            let message = format!(
                "it has no hostname in common with any listener of {}",
                parent.key()
            );
            Err((Reason::NoMatchingListenerHostname, message))
        }
        true => Ok(attached),
    }
}

/// The hosts that both a listener and a route are for.
fn common_hosts(listener: &HostPattern, route: &[HostPattern]) -> Vec<HostPattern> {
    let mut hosts: Vec<HostPattern> = Vec::new();
    for host in route {
        let common = if listener.covers(host) {
            host
        } else if host.covers(listener) {
            listener
        } else {
            continue;
        };
        if !hosts.contains(common) {
            hosts.push(common.clone());
        }
    }
    hosts
}
