//! Redirects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PathChange;

/// An answer that sends the client elsewhere: what an HTTPRoute can say (`HTTPRequestRedirectFilter`),
/// and more. What is absent stays as in the request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["http", "https"]))]
    pub scheme: Option<String>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub hostname: Option<String>,
    /// The host of the request with `www.` before it, or without. Requests that nothing is changed of
    /// go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub www: Option<Www>,
    /// The path. With `ReplaceRegexMatch` or `StripPrefix`, requests that nothing is changed of go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathChange>,
    /// The port. Absent: that of the scheme, or of the listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308. Absent: 302.
    #[serde(default = "found")]
    #[schemars(range(min = 301, max = 308), extend("format" = "int32"))]
    pub status_code: u16,
}

/// What becomes of `www.` before a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Www {
    /// It is there.
    Add,
    /// It is not.
    Strip,
}

impl Default for Redirect {
    fn default() -> Self {
        Self {
            scheme: None,
            hostname: None,
            www: None,
            path: None,
            port: None,
            status_code: found(),
        }
    }
}

fn found() -> u16 {
    302
}
