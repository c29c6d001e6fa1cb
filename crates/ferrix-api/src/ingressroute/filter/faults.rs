//! Faults on purpose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// Faults that requests are given on purpose, to see what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Faults {
    /// Requests that wait. They may be aborted after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<FaultDelay>,
    /// Requests that fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<FaultAbort>,
}

/// Requests that wait before they go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultDelay {
    /// How long: such as `500ms`; five minutes at most.
    #[schemars(regex(pattern = pattern::DURATION))]
    pub duration: String,
    /// How many of a hundred requests. Absent: all.
    #[serde(default = "hundred")]
    #[schemars(range(min = 0, max = 100), extend("format" = "int32"))]
    pub percent: u32,
}

/// Requests that are answered as if they had failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultAbort {
    /// The status of the answer.
    #[schemars(range(min = 400, max = 599), extend("format" = "int32"))]
    pub status: u16,
    /// How many of a hundred requests. Absent: all.
    #[serde(default = "hundred")]
    #[schemars(range(min = 0, max = 100), extend("format" = "int32"))]
    pub percent: u32,
}

fn hundred() -> u32 {
    100
}
