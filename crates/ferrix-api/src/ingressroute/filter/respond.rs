//! Answers that a rule gives itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::HttpHeader;

/// An answer to every request, so that none reaches a service: for maintenance, or for a fixed text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Respond {
    /// The status. Absent: 200.
    #[serde(default = "ok")]
    #[schemars(range(min = 200, max = 599), extend("format" = "int32"))]
    pub status: u16,
    /// The body. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub body: Option<String>,
    /// What the body is. Absent: `text/plain; charset=utf-8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub content_type: Option<String>,
    /// More header fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<HttpHeader>,
}

impl Default for Respond {
    fn default() -> Self {
        Self {
            status: ok(),
            body: None,
            content_type: None,
            headers: Vec::new(),
        }
    }
}

fn ok() -> u16 {
    200
}
