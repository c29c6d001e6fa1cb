//! Clients that may pass, by their keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// Lets clients pass that have a key, in one place of `header`, `query` and `cookie`. Others get 401.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// A Secret of the same namespace: each entry is the key of the client that it is named after.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub secret: String,
    /// The header that has the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub header: Option<String>,
    /// The parameter of the query that has the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub query: Option<String>,
    /// The cookie that has the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub cookie: Option<String>,
    /// The header that tells the service the name of the client. What clients send of it is taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub client_header: Option<String>,
    /// Whether the service does not get the key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hide_credentials: bool,
}
