//! What a route attaches to, and what became of that.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::{Deserialize, Serialize};

use super::gateway_group;

/// A Gateway, a ListenerSet, or listeners of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// Absent: that of the Gateway API.
    #[serde(default = "gateway_group")]
    pub group: String,
    /// Absent: `Gateway`.
    #[serde(default = "gateway")]
    pub kind: String,
    /// Absent: that of the object that refers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the object.
    pub name: String,
    /// The name of a listener. Absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Listeners of this port only, from 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// What became of a route of any kind.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct RouteStatus {
    /// Of each controller, those parents that are its own.
    #[serde(default)]
    pub parents: Vec<RouteParentStatus>,
}

/// What became of a route at one of its parents.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteParentStatus {
    /// As the route names it.
    pub parent_ref: ParentReference,
    /// Who wrote this entry.
    pub controller_name: String,
    /// `Accepted`, `ResolvedRefs` and others.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

impl Default for ParentReference {
    fn default() -> Self {
        Self {
            group: gateway_group(),
            kind: gateway(),
            namespace: None,
            name: String::new(),
            section_name: None,
            port: None,
        }
    }
}

fn gateway() -> String {
    "Gateway".to_owned()
}
