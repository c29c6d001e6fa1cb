//! `ReferenceGrant` of the Gateway API: the parts that Ferrix reads.
//!
//! The type is our own so that one struct serves `v1` and `v1beta1`, which have the same fields,
//! and so that nothing of the Gateway API needs to be installed for IngressRoutes to work.

use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

/// The group of [`ReferenceGrant`].
pub const GROUP: &str = "gateway.networking.k8s.io";

/// The versions of [`ReferenceGrant`] that are understood.
pub const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// Lets objects of other namespaces refer to objects of this one's namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrant {
    /// `gateway.networking.k8s.io/v1` or `…/v1beta1`.
    #[serde(default)]
    pub api_version: String,
    /// `ReferenceGrant`.
    #[serde(default)]
    pub kind: String,
    /// Its namespace is the one that grants.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Who may refer to what.
    pub spec: ReferenceGrantSpec,
}

/// Each of `from` may refer to each of `to`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ReferenceGrantSpec {
    /// Who may refer.
    pub from: Vec<ReferenceGrantFrom>,
    /// What may be referred to.
    pub to: Vec<ReferenceGrantTo>,
}

/// Objects of one kind in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ReferenceGrantFrom {
    /// `ferrix.com` for IngressRoutes.
    pub group: String,
    /// `IngressRoute`.
    pub kind: String,
    /// The namespace of the object that refers.
    pub namespace: String,
}

/// Objects of one kind in the grant's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ReferenceGrantTo {
    /// Empty for Services and Secrets.
    pub group: String,
    /// `Service`.
    pub kind: String,
    /// Absent: all objects of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
