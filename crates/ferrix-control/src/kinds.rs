//! The kinds that make rules, for those who handle any of them.

use std::sync::Arc;

use ferrix_table::entry_points::EntryPoints;
use serde_json::Value;

use crate::{
    backendpolicy,
    draft::Draft,
    filter, gateway_route, gateway_status, ingress, ingressroute,
    objects::Kind,
    outcome::Outcome,
    own_status,
    report::Entry,
    status::{Form, Read, Signature, Write},
};

/// Whether objects of a kind make rules, and are told in a status what became of them.
pub(crate) fn makes_rules(kind: Kind) -> bool {
    matches!(kind, Kind::Ingress | Kind::IngressRoute) || has_parents(kind)
}

/// Whether versions of objects of a kind are drafts, so that the last good one serves on where a later one
/// is bad.
pub(crate) fn has_drafts(kind: Kind) -> bool {
    makes_rules(kind) || matches!(kind, Kind::BackendPolicy | Kind::Filter)
}

/// The spec of a good draft, as it may have been written; `None`: no version of its kind is kept, because
/// the API server admits hardly any that could not be used by itself.
pub(crate) fn written_spec(draft: &Draft) -> Option<Value> {
    // Texts, numbers and lists of them always have a form in JSON.
    match draft.key().kind {
        Kind::BackendPolicy => serde_json::to_value(backendpolicy::spec(draft)?).ok(),
        Kind::Filter => serde_json::to_value(filter::spec(draft)).ok(),
        Kind::IngressRoute => serde_json::to_value(ingressroute::spec(draft)).ok(),
        _ => None,
    }
}

/// Whether objects of a kind attach to Gateways.
pub(crate) fn has_parents(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::GrpcRoute | Kind::HttpRoute | Kind::TcpRoute | Kind::TlsRoute | Kind::UdpRoute
    )
}

/// The form of the statuses of a kind; `None`: none is written here.
pub(crate) fn form(kind: Kind) -> Option<Form> {
    use Signature::{Entries, Manager, Name};

    let (write, read, signature): (Write, Read, _) = match kind {
        Kind::BackendPolicy | Kind::Filter | Kind::IngressRoute => {
            (own_status::write, own_status::read, Name)
        }
        Kind::Ingress => (ingress::status::write, ingress::status::read, Manager),
        Kind::BackendTlsPolicy | Kind::XBackendTrafficPolicy => (
            gateway_status::write_policy,
            gateway_status::read_policy,
            Entries,
        ),
        Kind::GrpcRoute | Kind::HttpRoute | Kind::TcpRoute | Kind::TlsRoute | Kind::UdpRoute => (
            gateway_status::write_route,
            gateway_status::read_route,
            Entries,
        ),
        Kind::Gateway => (
            gateway_status::write_gateway,
            gateway_status::read_gateway,
            Manager,
        ),
        Kind::GatewayClass => (
            gateway_status::write_class,
            gateway_status::read_class,
            Manager,
        ),
        Kind::ListenerSet => (
            gateway_status::write_listener_set,
            gateway_status::read_listener_set,
            Manager,
        ),
        Kind::ConfigMap
        | Kind::EndpointSlice
        | Kind::IngressClass
        | Kind::Namespace
        | Kind::ReferenceGrant
        | Kind::Secret
        | Kind::Service => return None,
    };
    Some(Form {
        write,
        read,
        signature,
    })
}

/// Whether objects of a kind have a status that is written here.
pub(crate) fn has_status(kind: Kind) -> bool {
    form(kind).is_some()
}

/// What the report says of an object that makes rules.
pub(crate) fn entry(outcome: &Outcome, entry_points: &EntryPoints) -> Entry {
    let kind = outcome.key.kind;
    let is_told = !outcome.not_ours && makes_rules(kind);
    let conditions =
        is_told.then(|| own_status::conditions(outcome, outcome.what_serves(entry_points)));
    let entry = outcome.entry(entry_points, conditions.unwrap_or_default());
    Entry {
        verdict: has_parents(kind).then(|| Arc::new(gateway_route::status::verdict(outcome))),
        ..entry
    }
}
