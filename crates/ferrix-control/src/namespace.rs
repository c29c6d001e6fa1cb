//! `Namespace`: what other objects are in.

use k8s_openapi::api::core::v1::Namespace;
use serde_json::Value;

use crate::document::{self, Fault, Read, Strictness};

/// Reads a document.
pub(crate) fn decode(value: &Value, strictness: Strictness) -> Result<Read<Namespace>, Vec<Fault>> {
    document::read(value, strictness)
}
