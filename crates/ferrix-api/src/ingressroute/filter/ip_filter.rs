//! Which clients may pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which clients may pass, by their address. Of the networks that it is in, the one with the longest prefix
/// decides; who is in none passes unless `allow` names any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(extend("minProperties" = 1))]
pub struct IpFilter {
    /// Addresses and networks such as `10.0.0.0/8` whose clients pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 2, max = 49)))]
    pub allow: Vec<String>,
    /// Those whose clients are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 2, max = 49)))]
    pub deny: Vec<String>,
}
