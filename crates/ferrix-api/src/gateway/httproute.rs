//! `HTTPRoute`: which requests, and who answers them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{
    filter::HttpRouteFilter, parent::ParentReference, reference::BackendReference,
    session::SessionPersistence,
};
use crate::pattern;

/// `spec` of an HTTPRoute.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// `All`: it attaches to default Gateways too. `None` or absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<String>,
    /// Hosts, or `*.` and one. Empty: those of the listeners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Which requests of them. Absent: one rule that takes all and answers none.
    #[serde(default = "any_request")]
    pub rules: Vec<HttpRouteRule>,
}

/// Requests, and who answers them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteRule {
    /// What tells it apart from others of the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A request is taken by any of them. Absent or empty: all requests.
    #[serde(default = "any_path")]
    pub matches: Vec<HttpRouteMatch>,
    /// What is done with requests and answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpRouteFilter>,
    /// The Services that share the requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<BackendReference>,
    /// How long requests may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// When requests are sent once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How requests of one client are kept to one endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// Requests for which all of these hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteMatch {
    /// Absent: any path.
    #[serde(default)]
    pub path: HttpPathMatch,
    /// Each of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// Each of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<QueryParamMatch>,
    /// Such as `GET`. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct HttpPathMatch {
    /// `Exact`, `RegularExpression`, or `PathPrefix`, which is what its absence means.
    #[serde(rename = "type", default = "path_prefix")]
    pub kind: String,
    /// Absent: `/`.
    #[serde(default = "slash")]
    pub value: String,
}

/// A header, or metadata of gRPC.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct HeaderMatch {
    /// `RegularExpression`, or `Exact`, which is what its absence means.
    #[serde(rename = "type", default = "exact")]
    pub kind: String,
    /// Its name, in any case.
    pub name: String,
    /// What its value is, or is matched by.
    pub value: String,
}

/// A parameter of the query.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct QueryParamMatch {
    /// `RegularExpression`, or `Exact`, which is what its absence means.
    #[serde(rename = "type", default = "exact")]
    pub kind: String,
    /// Its name, in this very case.
    pub name: String,
    /// What its value is, or is matched by.
    pub value: String,
}

/// How long requests may take, such as `10s`; `0s` is for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// From the first byte of the request to the last of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 28), regex(pattern = pattern::DURATION))]
    pub request: Option<String>,
    /// One attempt at one backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 28), regex(pattern = pattern::DURATION))]
    pub backend_request: Option<String>,
}

/// When requests are sent once more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Retry {
    /// Statuses of answers for which they are, from 400 to 599.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "failures")]
    pub codes: Vec<u16>,
    /// How often at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647), extend("format" = "int32"))]
    pub attempts: Option<u32>,
    /// How long to wait before, such as `100ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 28), regex(pattern = pattern::DURATION))]
    pub backoff: Option<String>,
}

impl Default for HttpRouteSpec {
    fn default() -> Self {
        Self {
            parent_refs: Vec::new(),
            use_default_gateways: None,
            hostnames: Vec::new(),
            rules: any_request(),
        }
    }
}

impl Default for HttpRouteRule {
    fn default() -> Self {
        Self {
            name: None,
            matches: any_path(),
            filters: Vec::new(),
            backend_refs: Vec::new(),
            timeouts: None,
            retry: None,
            session_persistence: None,
        }
    }
}

impl Default for HttpPathMatch {
    fn default() -> Self {
        Self {
            kind: path_prefix(),
            value: slash(),
        }
    }
}

/// Statuses of failures.
fn failures(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": {"type": "integer", "format": "int32", "minimum": 400, "maximum": 599},
    })
}

fn any_request() -> Vec<HttpRouteRule> {
    vec![HttpRouteRule::default()]
}

fn any_path() -> Vec<HttpRouteMatch> {
    vec![HttpRouteMatch::default()]
}

fn path_prefix() -> String {
    "PathPrefix".to_owned()
}

fn slash() -> String {
    "/".to_owned()
}

fn exact() -> String {
    "Exact".to_owned()
}
