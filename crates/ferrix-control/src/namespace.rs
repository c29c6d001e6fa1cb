//! `Namespace`: what other objects are in.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Namespace;
use serde_json::Value;

use crate::{
    document::{self, Fault, Read, Strictness},
    names::shared,
};

/// The labels of a namespace.
pub(crate) type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// Reads a document.
pub(crate) fn decode(value: &Value, strictness: Strictness) -> Result<Read<Namespace>, Vec<Fault>> {
    document::read(value, strictness)
}

/// What of a namespace is kept.
pub(crate) fn compile(namespace: &Namespace) -> Labels {
    let labels = namespace.metadata.labels.iter().flatten();
    let shared = |(name, value): (&String, &String)| (shared(name), shared(value));
    labels.map(shared).collect()
}
