//! Services that filters refer to.

use ferrix_api::{gateway::MirrorReference, ingressroute::Port};
use ferrix_table::services::Scheme;

use super::DraftService;
use crate::{
    draft::BackendReference,
    field::Field,
    names::shared_name,
    report::{Finding, Reason},
};

/// A reference by itself. One that can be none to a Service costs the filter, not its rule.
pub(super) fn of(reference: &MirrorReference, field: Field, namespace: &str) -> DraftService {
    let refuse = |reason, name: &str, message: String| {
        Err(Finding::problem(reason, format!("{field}{name}"), message))
    };
    let MirrorReference { group, kind, .. } = reference;
    if !matches!(group.as_str(), "" | "core") || kind != "Service" {
        let message =
            format!("`{kind}` of group `{group}` cannot be forwarded to; expected a Service");
        return refuse(Reason::InvalidKind, ".kind", message);
    }
    let Some(port) = reference.port.filter(|port| *port != 0) else {
        let message = "expected the number of a port of the Service".to_owned();
        return refuse(Reason::PortNotFound, ".port", message);
    };
    let namespace = reference.namespace.as_deref().unwrap_or(namespace);
    Ok(BackendReference {
        field,
        service: shared_name(namespace, &reference.name),
        weight: None,
        port: Port::Number(port),
        scheme: None,
        default_scheme: Some(Scheme::Http),
        server_name: None,
        filters: None,
    })
}
