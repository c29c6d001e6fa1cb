//! `Ingress`: rules for hosts, in the form that every Kubernetes knows.
//!
//! ```text
//!  decode   a document to the type
//!  draft    one version by itself: what it asks for, and what is wrong with it
//!  status   the form of its status, which has addresses and no conditions
//! ```
//!
//! The meaning is that of the API reference (`networking.k8s.io/v1`) and of the page on Ingress of the
//! Kubernetes documentation.

use k8s_openapi::api::networking::v1::Ingress;
use serde_json::Value;

use crate::{
    document::{self, Fault, Read, Strictness},
    objects::Origin,
};

mod draft;
pub(crate) mod status;

pub(crate) use draft::draft;

/// Reads a document.
pub(crate) fn decode(value: &Value, strictness: Strictness) -> Result<Read<Ingress>, Vec<Fault>> {
    document::read_and_compile(value, strictness, |ingress| {
        draft(ingress, Origin::Api).faults
    })
}
