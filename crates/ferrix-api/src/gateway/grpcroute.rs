//! `GRPCRoute`: which calls of gRPC, and who answers them.

use serde::{Deserialize, Serialize};

use super::{
    filter::HttpRouteFilter, httproute::HeaderMatch, parent::ParentReference,
    reference::BackendReference, session::SessionPersistence,
};

/// `spec` of a GRPCRoute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// `All`: it attaches to default Gateways too. `None` or absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<String>,
    /// Hosts, or `*.` and one. Empty: those of the listeners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Which calls of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<GrpcRouteRule>,
}

/// Calls, and who answers them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteRule {
    /// What tells it apart from others of the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A call is taken by any of them. Empty: all calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<GrpcRouteMatch>,
    /// What is done with calls and answers: of the types only those of headers, `RequestMirror` and
    /// `ExtensionRef`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpRouteFilter>,
    /// The Services that share the calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<BackendReference>,
    /// How calls of one client are kept to one endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// Calls for which all of these hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct GrpcRouteMatch {
    /// Absent: any method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<GrpcMethodMatch>,
    /// Each of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
}

/// A method of a service, one of both at least.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct GrpcMethodMatch {
    /// `RegularExpression`, or `Exact`, which is what its absence means.
    #[serde(rename = "type", default = "exact")]
    pub kind: String,
    /// Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

impl Default for GrpcMethodMatch {
    fn default() -> Self {
        Self {
            kind: exact(),
            service: None,
            method: None,
        }
    }
}

fn exact() -> String {
    "Exact".to_owned()
}
