//! Filters of rules: those of an HTTPRoute, each under its own name instead of a type, and more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    gateway::{
        CorsFilter, ExternalAuth, HeaderChanges, RequestMirror, RequestRedirect, UrlRewrite,
    },
    pattern,
};

mod body_size;
mod cache;
mod compression;
mod concurrency;
mod ip_filter;
mod limit_key;
mod rate_limit;

pub use body_size::BodySize;
pub use cache::Cache;
pub use compression::{Compression, ContentEncoding};
pub use concurrency::Concurrency;
pub use ip_filter::IpFilter;
pub use limit_key::{ClientKey, LimitKey, RouteKey};
pub use rate_limit::RateLimit;

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

    /// Lets clients pass, or refuses them, by their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_filter: Option<IpFilter>,

    /// Refuses requests that are too many in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,

    /// Refuses requests that are too many at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,

    /// Refuses requests whose body is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_size: Option<BodySize>,

    /// Does all that a `Filter` says, by its name: `NAME` in the namespace of the route, or
    /// `NAMESPACE/NAME` in another one, with a ReferenceGrant there. Without it requests get 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317), regex(pattern = pattern::OBJECT_NAME))]
    pub filter: Option<String>,
    /// Keeps responses, and answers requests with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
}
