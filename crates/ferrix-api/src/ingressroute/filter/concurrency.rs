//! How many requests may be under way at once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LimitKey;

/// How many requests may be under way at once. One that is too many is answered with 429, or with 503 where
/// those of a route are counted. Each replica counts for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Concurrency {
    /// How many. One lasts until its response has ended, what follows an upgrade included.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("format" = "int32"))]
    pub requests: u32,
    /// What is counted apart. Absent: the requests of each client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<LimitKey>,
}
