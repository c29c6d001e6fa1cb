//! Filters of rules: those of an HTTPRoute, each under its own name instead of a type, and more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    access_log::AccessLog,
    api_key::{ApiKey, CredentialPlace},
    bandwidth::{Bandwidth, ByteRate},
    basic_auth::BasicAuth,
    body_size::BodySize,
    cache::Cache,
    client_certificate::{
        CertificateAuthorities, CertificateDetail, ClientCertificate, DetailHeader,
    },
    compression::{Compression, ContentEncoding},
    concurrency::Concurrency,
    error_pages::{ErrorPages, StatusRange},
    external_auth::{ExternalAuth, VerdictCache},
    faults::{FaultAbort, FaultDelay, Faults},
    ip_filter::IpFilter,
    jwt::{ClaimHeader, Jwks, Jwt, KeysEntry, RequiredClaim},
    limit_key::{ClientKey, LimitKey, RouteKey},
    oidc::{ClientAuthentication, Oidc},
    path_change::{PathChange, RegexMatch},
    rate_limit::{LimitScope, RateLimit},
    redirect::{Redirect, Www},
    request_buffering::RequestBuffering,
    respond::Respond,
    rewrite::Rewrite,
};
use crate::{
    gateway::{CorsFilter, HeaderChanges, RequestMirror},
    pattern,
};

mod access_log;
mod api_key;
mod bandwidth;
mod basic_auth;
mod body_size;
mod cache;
mod client_certificate;
mod compression;
mod concurrency;
mod error_pages;
mod external_auth;
mod faults;
mod ip_filter;
mod jwt;
mod limit_key;
mod oidc;
mod path_change;
mod rate_limit;
mod redirect;
mod request_buffering;
mod respond;
mod rewrite;

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

    /// Answers requests with another place to go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<Redirect>,

    /// Changes host and path of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<Rewrite>,

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

    /// Lets so many bytes of bodies pass in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,

    /// Answers every request itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<Respond>,

    /// Puts a page in the place of the bodies of failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_pages: Option<ErrorPages>,

    /// Gives requests faults on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<Faults>,

    /// Says what the access log has of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,

    /// Reads whole bodies of requests before their service is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_buffering: Option<RequestBuffering>,

    /// Lets users pass that know their password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,

    /// Lets clients pass that have a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKey>,

    /// Lets requests pass that have a JSON Web Token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,

    /// Lets clients pass that have a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// Lets users pass that have logged in at a provider of OpenID Connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,

    /// Does all that a `Filter` says, by its name: `NAME` in the namespace of the route, or
    /// `NAMESPACE/NAME` in another one, with a ReferenceGrant there. Without it requests get 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317), regex(pattern = pattern::OBJECT_NAME))]
    pub filter: Option<String>,
    /// Keeps responses, and answers requests with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
}
