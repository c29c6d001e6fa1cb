//! `BackendPolicy`: where requests of Services go.
//!
//! A version by itself is a draft as those of routes are, so that what was good is kept and serves on in the
//! same way. It has no rule: what it asks for is that of the Services that it is for.
//!
//! ```text
//!  decode      a document to the type, held to the schema where nobody else does
//!  draft       one version by itself
//!  balancing   and each other member: what it means
//!  status      what its author is told
//! ```

use std::sync::Arc;

use ferrix_api::{
    BackendPolicy,
    backendpolicy::{BackendPolicySpec, ServiceReference},
    schema,
};
use ferrix_table::{backend_policy, connection::ConnectionOptions};
use serde_json::Value;

use crate::{
    document::{Fault, Read, Strictness},
    draft::{self, ClassReference, Draft, EntryPointNames, Hosts, ServicePolicy, ServiceTarget},
    field::Field,
    filters::Faults,
    names::{shared, shared_name},
    objects::{Kind, ObjectName, Origin},
    own_kind,
    rare::Rare,
    report::Reason,
};

mod balancing;
mod connection;
mod health;
mod limits;
mod session;
pub(crate) mod status;

/// Reads a document.
pub(crate) fn decode(
    value: &Value,
    strictness: Strictness,
) -> Result<Read<BackendPolicy>, Vec<Fault>> {
    own_kind::decode(value, strictness, &schema::BACKENDPOLICY, |policy| {
        draft(policy, Origin::Api).faults
    })
}

/// Compiles a BackendPolicy by itself. What is wrong with one of its members is wrong with all of it.
pub(crate) fn draft(policy: &BackendPolicy, origin: Origin) -> Draft {
    let spec = &policy.spec;
    let route = draft::route(Kind::BackendPolicy, &policy.metadata);
    let mut faults = Faults::default();
    let targets = targets(&spec.target_refs, &route.key.namespace, &mut faults);
    let connection = spec.connection.as_ref();
    let connection =
        connection.map(|it| connection::compile(it, &route.key.namespace, &mut faults));
    let (connection, named) = connection.unwrap_or_default();
    let policy = compile(spec, &route.key.object, connection, &mut faults);
    let faults = faults.or(()).err().unwrap_or_default().into_iter();
    Draft {
        route,
        class: ClassReference::Name(spec.ingress_class_name.as_deref().map(shared)),
        entry_points: EntryPointNames::Services(Box::new(ServicePolicy {
            spec: spec.clone(),
            targets,
            policy: Arc::new(policy),
            named,
        })),
        hosts: Hosts::default(),
        host_field: "spec",
        rules: Box::default(),
        unserved: Rare::default(),
        certificates: Rare::default(),
        faults: faults.map(|fault| fault.located(&origin)).collect(),
        notes: Rare::default(),
        origin,
    }
}

/// The Services that it is for, and ports of theirs, each once.
fn targets(
    references: &[ServiceReference],
    namespace: &str,
    faults: &mut Faults,
) -> Box<[ServiceTarget]> {
    let mut targets: Vec<ServiceTarget> = Vec::new();
    if references.is_empty() {
        let message = "expected at least one Service";
        faults.add(Reason::InvalidSpec, "spec.targetRefs", message);
    }
    for (place, reference) in references.iter().enumerate() {
        let field = Field::new("spec.targetRefs[]", [place]);
        let (group, kind) = (reference.group.as_str(), reference.kind.as_str());
        if !matches!((group, kind), ("" | "core", "Service")) {
            let message = format!(
                "a {kind} of group `{group}` has no endpoints; expected a Service of group ``"
            );
            faults.add(Reason::UnsupportedValue, field.to_string(), message);
            continue;
        }
        let service = shared_name(namespace, &reference.name);
        let port = reference.section_name.as_deref().map(shared);
        let mut known = targets.iter();
        if known.all(|it| (&it.service, &it.port) != (&service, &port)) {
            targets.push(ServiceTarget {
                field,
                service,
                port,
            });
        }
    }
    targets.into()
}

fn compile(
    spec: &BackendPolicySpec,
    name: &ObjectName,
    connection: ConnectionOptions,
    faults: &mut Faults,
) -> backend_policy::BackendPolicy {
    // A field that is new belongs in here.
    let BackendPolicySpec {
        ingress_class_name: _,
        target_refs,
        balancing,
        health,
        session,
        limits,
        timeouts,
        hedging,
        connection: _,
    } = spec;
    let balancing = balancing.as_ref();
    let health = health.as_ref();
    let session = session.as_ref();
    let timeouts = timeouts.as_ref();
    let limits = limits.as_ref().map(|it| limits::compile(it, faults));
    let limits = limits.unwrap_or_default();
    backend_policy::BackendPolicy {
        name: name.clone(),
        balancing: balancing.map_or_else(Default::default, |it| balancing::compile(it, faults)),
        health: health.map_or_else(Default::default, |it| health::compile(it, faults)),
        session: session.and_then(|it| session::compile(it, name, target_refs.len(), faults)),
        requests: limits.requests,
        retries: limits.retries,
        connections: limits.connections,
        timeouts: timeouts.map_or_else(Default::default, |it| limits::timeouts(it, faults)),
        hedging: (hedging.as_ref()).and_then(|it| limits::hedging(it, faults)),
        connection,
    }
}

/// What a draft says of Services; `None` for one of another kind.
pub(crate) fn policy_of(draft: &Draft) -> Option<&ServicePolicy> {
    match &draft.entry_points {
        EntryPointNames::Services(policy) => Some(policy),
        _ => None,
    }
}

/// The spec of a draft, as it was written.
pub(crate) fn spec(draft: &Draft) -> Option<&BackendPolicySpec> {
    Some(&policy_of(draft)?.spec)
}
