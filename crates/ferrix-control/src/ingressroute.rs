//! `IngressRoute`: rules for a host, in our own form.
//!
//! ```text
//!  decode   a document to the type, held to the schema where nobody else does
//!  draft    one version by itself: what it asks for, and what is wrong with it
//!  spec     a draft written back, to be kept
//! ```

use ferrix_api::{IngressRoute, schema};
use serde_json::Value;

use crate::{
    document::{Fault, Read, Strictness},
    objects::Origin,
    own_kind,
};

#[cfg(test)]
mod tests;

mod draft;
pub(crate) mod policy;
mod spec;

pub(crate) use draft::draft;
pub(crate) use spec::spec;

/// Reads a document.
pub(crate) fn decode(
    value: &Value,
    strictness: Strictness,
) -> Result<Read<IngressRoute>, Vec<Fault>> {
    own_kind::decode(value, strictness, &schema::INGRESSROUTE, |route| {
        draft(route, Origin::Api).faults
    })
}
