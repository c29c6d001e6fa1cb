//! How fast bodies may pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LimitKey;
use crate::pattern;

/// How many bytes of bodies pass in a second. What comes faster waits, and is not refused. Each replica counts
/// for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Bandwidth {
    /// Of bodies of requests. Absent: as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<ByteRate>,
    /// Of bodies of responses, as clients get them. Absent: as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ByteRate>,
    /// What shares these. Absent: nothing, so that each body has them by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<LimitKey>,
}

/// So many bytes in a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ByteRate {
    /// A size such as `1MB` or `512KiB`; `1KB` at least.
    #[schemars(length(min = 1, max = 32), regex(pattern = pattern::SIZE))]
    pub bytes_per_second: String,
    /// How much passes at once, after a pause and at first. Absent, and at least: a tenth of what passes in a
    /// second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = pattern::SIZE))]
    pub burst: Option<String>,
}
