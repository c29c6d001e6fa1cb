//! How many requests may pass in a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LimitKey;
use crate::pattern;

/// How many requests may pass in a time. One that is too many is answered with 429, which says when to come
/// again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// How many, in `per`.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("format" = "int32"))]
    pub requests: u32,
    /// A time such as `1s`, `1m` or `1h`, a day at most. Absent: `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub per: Option<String>,
    /// How many may come at once. Absent: as many as `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000), extend("format" = "int32"))]
    pub burst: Option<u32>,
    /// What is counted apart. Absent: the requests of each client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<LimitKey>,
    /// Who counts. Absent: `Replica`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<LimitScope>,
    /// Whether requests that are too many pass all the same, and are only counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Who counts what a limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LimitScope {
    /// Each replica for itself.
    Replica,
    /// All replicas together, where the settings let them tell each other.
    Cluster,
}
