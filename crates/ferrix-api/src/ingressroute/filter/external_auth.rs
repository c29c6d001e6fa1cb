//! Another Service that says who may pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    gateway::{ForwardBody, GrpcAuth, HttpAuth, MirrorReference},
    pattern,
};

/// Another service is asked whether a request may pass.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalAuth {
    /// `HTTP` or `GRPC` (Envoy's `ext_authz`).
    #[schemars(extend("enum" = ["HTTP", "GRPC"]))]
    pub protocol: String,
    /// Who is asked.
    pub backend_ref: MirrorReference,
    /// Of `GRPC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAuth>,
    /// Of `HTTP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAuth>,
    /// Absent: the body is not sent along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_body: Option<ForwardBody>,
    /// Absent: the service is asked about each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<VerdictCache>,
    /// Where browsers sign in, such as `https://sign-in.example.com/start`: a GET that gets 401 is sent there
    /// instead, with its own URL in the parameter `rd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 10, max = 2048), regex(pattern = pattern::HTTP_URL))]
    pub sign_in: Option<String>,
}

/// How long an answer that lets a request pass is for others that are like it. What refuses one is never kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerdictCache {
    /// How long, an hour at most.
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub ttl: String,
    /// Requests are alike that have these headers in common, besides `Authorization`, the `allowedHeaders`, method,
    /// host, path and query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256), regex(pattern = pattern::TOKEN)))]
    pub key_headers: Vec<String>,
    /// Whether the headers alone count, whatever method, host, path and query are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub headers_alone: bool,
}
