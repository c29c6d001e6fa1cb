//! What the access log has of requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// What the access log has of requests, where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessLog {
    /// Whether it has them at all. Absent: yes.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Names of fields of requests that it has besides, as they are sent to the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256), regex(pattern = pattern::TOKEN)))]
    pub request_headers: Vec<String>,
    /// Names of fields of responses that it has besides, as clients get them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256), regex(pattern = pattern::TOKEN)))]
    pub response_headers: Vec<String>,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            enabled: true,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
        }
    }
}

fn yes() -> bool {
    true
}
