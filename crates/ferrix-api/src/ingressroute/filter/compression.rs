//! Compression of responses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// Compresses the bodies of responses for clients that take it. Left alone are responses that are
/// compressed already, parts of a resource (206), and those with `Cache-Control: no-transform`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compression {
    /// What there is to choose from: of several that a client likes as well, the first. Absent: `zstd`,
    /// `br` and `gzip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    pub encodings: Option<Vec<ContentEncoding>>,

    /// Shorter bodies stay as they are, where their length is known. Absent: 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647), extend("format" = "int32"))]
    pub min_bytes: Option<u32>,

    /// Media types whose bodies are compressed: `type/subtype`, `type/*`, or `+suffix` for all that end in
    /// it. Absent: text, JSON, XML, JavaScript, WebAssembly, and fonts and pictures that are not
    /// compressed already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 2, max = 127), regex(pattern = pattern::MEDIA_RANGE)))]
    pub content_types: Option<Vec<String>>,
}

/// How a body is compressed, by its name in `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ContentEncoding {
    /// Zstandard.
    #[serde(rename = "zstd")]
    Zstd,
    /// Brotli.
    #[serde(rename = "br")]
    Brotli,
    /// Gzip.
    #[serde(rename = "gzip")]
    Gzip,
}
