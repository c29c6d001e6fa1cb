//! Bodies that are read before requests go on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// The whole body of a request is read before the service is asked, which then knows its length: for
/// services that take no body in chunks, or keep a worker busy while one comes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestBuffering {
    /// The longest body, such as `100MB`: 413 above. Absent: `10MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = pattern::SIZE))]
    pub max_bytes: Option<String>,
    /// How much of it is kept in memory, the rest in a file. Absent: `64KiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = pattern::SIZE))]
    pub memory_bytes: Option<String>,
}
