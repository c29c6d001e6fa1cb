//! How long the body of a request may be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// How long the body of a request may be. A longer one is answered with 413 as soon as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct BodySize {
    /// A size such as `10MB` or `512KiB`, in place of `limits.body_bytes` of the settings.
    #[schemars(length(min = 1, max = 32), regex(pattern = pattern::SIZE))]
    pub max: String,
}
