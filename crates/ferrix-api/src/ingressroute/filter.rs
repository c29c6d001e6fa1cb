//! Filters of rules: those of an HTTPRoute, each under its own name instead of a type, and more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::{
    CorsFilter, ExternalAuth, HeaderChanges, RequestMirror, RequestRedirect, UrlRewrite,
};

mod compression;

pub use compression::{Compression, ContentEncoding};

/// One thing that happens to requests or responses. Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct RouteFilter {
    /// Changes header fields of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderChanges>,

    /// Changes header fields of responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderChanges>,

    /// Sends copies of requests to another Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<RequestMirror>,

    /// Answers every request with another place to go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<RequestRedirect>,

    /// Changes host and path of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<UrlRewrite>,

    /// Tells browsers which origins may read responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsFilter>,

    /// Asks another Service whether requests may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<ExternalAuth>,

    /// Compresses responses for clients that take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}
