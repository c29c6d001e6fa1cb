//! Clients that may pass, by their keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// Lets clients pass that have a key. Others get 401.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// A Secret of the same namespace: each entry is the key of the client that it is named after.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub secret: String,
    /// The one place with the key.
    pub from: CredentialPlace,
    /// The header that tells the service the name of the client. What clients send of it is taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub client_header: Option<String>,
    /// Whether the service does not get the key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hide_credentials: bool,
}

/// Where requests have a key or a token. Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct CredentialPlace {
    /// A header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub header: Option<String>,
    /// A parameter of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub query: Option<String>,
    /// A cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub cookie: Option<String>,
}
