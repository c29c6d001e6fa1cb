//! `TCPRoute`, `TLSRoute` and `UDPRoute`: connections and datagrams that are handed on as they are.

use serde::{Deserialize, Serialize};

use super::{parent::ParentReference, reference::BackendReference};

/// `spec` of a TCPRoute and of a UDPRoute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// `All`: it attaches to default Gateways too. `None` or absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<String>,
    /// Who takes them.
    pub rules: Vec<StreamRouteRule>,
}

/// `spec` of a TLSRoute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// `All`: it attaches to default Gateways too. `None` or absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<String>,
    /// Names that clients ask for: a host, or `*.` and one. Only early versions let it be absent, for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Who takes them.
    pub rules: Vec<StreamRouteRule>,
}

/// Who takes the connections or datagrams of a route.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRouteRule {
    /// What tells it apart from others of the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The Services that share them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<BackendReference>,
}
