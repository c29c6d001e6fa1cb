//! Users that may pass, by their passwords.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// Lets users pass that know their password (RFC 7617). Others get 401.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// A Secret of the same namespace with users: lines of `htpasswd` in the entry `auth` or `users`, with
    /// hashes of bcrypt, SHA-crypt or apr1; or one user, of the type `kubernetes.io/basic-auth`.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub secret: String,
    /// What the password is for, as browsers show it. Absent: `ferrix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub realm: Option<String>,
    /// The header that tells the service the name of the user. What clients send of it is taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub user_header: Option<String>,
    /// Whether the service does not get `Authorization`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hide_credentials: bool,
}
