//! `ListenerSet`: more listeners for a Gateway, perhaps of another namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::{Deserialize, Serialize};

use super::{
    listener::{Listener, ListenerStatus},
    parent::ParentReference,
};

/// `spec` of a ListenerSet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// The Gateway. It has no section and no port.
    pub parent_ref: ParentReference,
    /// What it adds.
    pub listeners: Vec<Listener>,
}

/// What became of a ListenerSet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ListenerSetStatus {
    /// `Accepted`, `Programmed` and others.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Of each listener.
    #[serde(default)]
    pub listeners: Vec<ListenerStatus>,
}
