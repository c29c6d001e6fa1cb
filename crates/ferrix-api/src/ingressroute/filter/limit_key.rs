//! What limits count apart.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// What is counted apart. Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct LimitKey {
    /// The requests of each client, as `ClientIP` knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientKey>,
    /// The requests of each route: all together, where the filter is for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteKey>,
    /// The requests with each value of a header. Those without it are counted by client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub header: Option<String>,
    /// The requests with each value of a cookie. Those without it are counted by client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub cookie: Option<String>,
    /// The requests with each value of a claim, of the token that a `jwt` before has taken: a text, a number,
    /// or true or false. Those without it are counted by client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub claim: Option<String>,
}

/// Clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientKey {
    /// So many first bits of an IPv6 address are one client. Absent: 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 32, max = 128), extend("format" = "int32"))]
    pub ipv6_prefix: Option<u8>,
}

/// Routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct RouteKey {}
