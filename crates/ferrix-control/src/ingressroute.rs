//! `IngressRoute`: rules for a host, in our own form.
//!
//! ```text
//!  decode   a document to the type, held to the schema where nobody else does
//!  draft    one version by itself: what it asks for, and what is wrong with it
//!  spec     a draft written back, to be kept
//!  status   what its author is told: conditions, and their form in the object
//! ```

use ferrix_api::{
    IngressRoute,
    schema::{self, Mended},
};
use serde_json::Value;

use crate::{
    document::{self, Fault, Read, Reading, Repaired, Strictness},
    objects::Origin,
};

#[cfg(test)]
mod tests;

mod draft;
mod policy;
mod spec;
pub(crate) mod status;

pub(crate) use draft::draft;
pub(crate) use spec::spec;

/// Reads a document. Where it is no good route, all that is wrong with it by itself is said: what breaks
/// the schema, and what is wrong with its hosts, its rules and so on.
pub(crate) fn decode(
    value: &Value,
    strictness: Strictness,
) -> Result<Read<IngressRoute>, Vec<Fault>> {
    let mut reading = Reading::new(value, repair);
    if strictness == Strictness::File {
        for violation in schema::check_ingressroute(value) {
            reading.refuse(Fault {
                field: violation.path,
                message: violation.message,
            });
        }
    }
    let route = reading.rest_of_known::<IngressRoute>(strictness);
    if let Some(route) = route.as_ref().filter(|_| !reading.is_good()) {
        for finding in draft(route, Origin::Api).faults {
            reading.remark(Fault {
                field: finding.field,
                message: finding.message,
            });
        }
    }
    reading.end(route)
}

/// Of what the schema does not speak of, nothing has to be there.
fn repair(value: &mut Value, field: &str) -> Repaired {
    let in_schema = field == "spec" || field.starts_with("spec.");
    match in_schema.then(|| schema::mend_ingressroute(value, field)) {
        None => document::take_out(value, field),
        Some(Mended::Replaced) => Repaired::Replaced,
        Some(Mended::Completed | Mended::Removed) => Repaired::Kept,
    }
}
