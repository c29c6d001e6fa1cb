//! References to objects that are no parents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::filter::HttpRouteFilter;
use crate::pattern;

/// A Service, and its share of what a rule takes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendReference {
    /// Empty for Services, which is what its absence means.
    #[serde(default)]
    pub group: String,
    /// Absent: `Service`.
    #[serde(default = "service")]
    pub kind: String,
    /// The name of the object.
    pub name: String,
    /// Absent: that of the object that refers. Any other needs a ReferenceGrant there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The port of the Service, from 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The share, up to 1,000,000. Absent: 1. With 0 it gets nothing.
    #[serde(default = "one")]
    pub weight: u32,
    /// What is done with that share alone. HTTPRoutes and GRPCRoutes only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpRouteFilter>,
}

/// A Service without a share: what copies go to, or who is asked for permission
/// (`BackendObjectReference`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MirrorReference {
    /// Empty for Services, which is what its absence means.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub group: String,
    /// Absent: `Service`.
    #[serde(default = "service")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The name of the object.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::SUBDOMAIN))]
    pub name: String,
    /// Absent: that of the object that refers. Any other needs a ReferenceGrant there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub namespace: Option<String>,
    /// The port of the Service, from 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: Option<u16>,
}

/// A Secret (`SecretObjectReference`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Empty for Secrets, which is what its absence means.
    #[serde(default)]
    pub group: String,
    /// Absent: `Secret`.
    #[serde(default = "secret")]
    pub kind: String,
    /// The name of the object.
    pub name: String,
    /// Absent: that of the object that refers. Any other needs a ReferenceGrant there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// An object of any kind, such as a ConfigMap with authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// Empty for ConfigMaps and Secrets.
    pub group: String,
    /// Such as `ConfigMap`.
    pub kind: String,
    /// The name of the object.
    pub name: String,
    /// Absent: that of the object that refers. Any other needs a ReferenceGrant there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// An object in the namespace of the one that refers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// Empty for ConfigMaps and Secrets.
    pub group: String,
    /// Such as `ConfigMap`.
    pub kind: String,
    /// The name of the object.
    pub name: String,
}

/// Settings of an implementation, for a GatewayClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParametersReference {
    /// The group of the object.
    pub group: String,
    /// The kind of the object.
    pub kind: String,
    /// The name of the object.
    pub name: String,
    /// Absent: the kind is in no namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl Default for BackendReference {
    fn default() -> Self {
        Self {
            group: String::new(),
            kind: service(),
            name: String::new(),
            namespace: None,
            port: None,
            weight: one(),
            filters: Vec::new(),
        }
    }
}

impl Default for MirrorReference {
    fn default() -> Self {
        Self {
            group: String::new(),
            kind: service(),
            name: String::new(),
            namespace: None,
            port: None,
        }
    }
}

impl Default for SecretReference {
    fn default() -> Self {
        Self {
            group: String::new(),
            kind: secret(),
            name: String::new(),
            namespace: None,
        }
    }
}

fn service() -> String {
    "Service".to_owned()
}

fn secret() -> String {
    "Secret".to_owned()
}

fn one() -> u32 {
    1
}
