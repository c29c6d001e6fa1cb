//! Responses that are kept and used again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// Keeps responses and answers requests with them, as a shared cache (RFC 9111): those to GET that say for
/// how long they are fresh. Each replica has a cache of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    /// All that is kept takes about this much memory at most, in each replica. Absent: `64MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = pattern::SIZE))]
    pub max_bytes: Option<String>,

    /// The longest body that is kept. Absent: `1MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = pattern::SIZE))]
    pub max_object_bytes: Option<String>,

    /// How long a response is fresh that does not say so, to a request without `Cookie` and
    /// `Authorization`. Absent: it is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = pattern::DURATION))]
    pub default_ttl: Option<String>,

    /// How long a stale response answers requests while it is fetched anew, where it does not say so.
    /// Absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = pattern::DURATION))]
    pub stale_while_revalidate: Option<String>,

    /// How long a stale response answers requests while it cannot be fetched, where it does not say so.
    /// Absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = pattern::DURATION))]
    pub stale_if_error: Option<String>,

    /// Request header fields whose values tell responses apart that do not say so by `Vary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 256), regex(pattern = pattern::TOKEN)))]
    pub key_headers: Option<Vec<String>>,
}
