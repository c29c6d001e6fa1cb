//! Services that filters refer to.

use ferrix_api::gateway::MirrorReference;
use ferrix_table::services::Scheme;

use super::DraftService;
use crate::{
    draft::{BackendReference, Named},
    field::Field,
};

/// A reference by itself. One that can be none to a Service costs the filter, not its rule.
pub(super) fn of(reference: &MirrorReference, field: Field, namespace: &str) -> DraftService {
    let named = Named {
        group: &reference.group,
        kind: &reference.kind,
        namespace: reference.namespace.as_deref(),
        name: &reference.name,
        port: reference.port.filter(|port| *port != 0),
    };
    let service = named.service(field, namespace, |it| {
        format!(
            "`{}` of group `{}` cannot be forwarded to; expected a Service",
            it.kind, it.group
        )
    });
    service.map(|service| BackendReference {
        default_scheme: Some(Scheme::Http),
        ..service
    })
}
