//! `IngressRoute`: rules for a host, in our own form.
//!
//! ```text
//!  decode   a document to the type, held to the schema where nobody else does
//!  draft    one version by itself: what it asks for, and what is wrong with it
//!  status   what its author is told: conditions, and their form in the object
//! ```

use ferrix_api::{IngressRoute, schema};
use serde_json::Value;

use crate::document::{self, Fault, Read, Strictness};

mod draft;
pub(crate) mod status;

pub(crate) use draft::draft;

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
            return Err(violations.into_iter().map(fault).collect());
        }
    }
    document::read_known(value, strictness)
}
