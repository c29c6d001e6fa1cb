//! `IngressRoute`: rules for a host, in our own form.
//!
//! ```text
//!  decode   a document to the type, held to the schema where nobody else does
//!  draft    one version by itself: what it asks for, and what is wrong with it
//!  spec     a draft written back, to be kept
//!  status   what its author is told: conditions, and their form in the object
//! ```

use ferrix_api::{IngressRoute, schema};
use serde_json::Value;

use crate::{
    document::{self, Fault, Read, Strictness},
    objects::Origin,
};

#[cfg(test)]
mod tests;

mod draft;
mod spec;
pub(crate) mod status;

pub(crate) use draft::draft;
pub(crate) use spec::spec;

/// Reads a document.
pub(crate) fn decode(
    value: &Value,
    strictness: Strictness,
) -> Result<Read<IngressRoute>, Vec<Fault>> {
    if strictness == Strictness::File {
        let violations = schema::check_ingressroute(value);
        if !violations.is_empty() {
            let fault = |violation: schema::Violation| Fault {
                field: violation.path,
                message: violation.message,
            };
            let mut faults: Vec<_> = violations.into_iter().map(fault).collect();
            let further = further_faults(value, &faults);
            faults.extend(further);
            return Err(faults);
        }
    }
    document::read_known(value, strictness)
}

/// What else is wrong with a document that breaks the schema: with its hosts, its rules and so on, as
/// far as they can be read.
fn further_faults(value: &Value, faults: &[Fault]) -> Vec<Fault> {
    let (route, _) = document::rest::<IngressRoute>(value, faults.to_vec());
    let draft = route.map(|route| draft(&route, Origin::Api));
    let findings = draft.iter().flat_map(|draft| &draft.faults);
    findings
        // Only for what is missing in its place, perhaps.
        .filter(|finding| !faults.iter().any(|fault| fault.is_near(&finding.field)))
        .map(|finding| Fault {
            field: finding.field.clone(),
            message: finding.message.clone(),
        })
        .collect()
}
