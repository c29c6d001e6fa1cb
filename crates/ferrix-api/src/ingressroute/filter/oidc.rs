//! Users that log in at a provider of OpenID Connect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClaimHeader, RequiredClaim};
use crate::pattern;

/// Lets users pass that have logged in at a provider (OpenID Connect, authorization code flow with PKCE).
/// Browsers of others are sent there, other requests get 401.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Oidc {
    /// The URL of the provider, as it names itself in `issuer`. By `http` whoever is on the way can let
    /// anybody pass.
    #[schemars(length(min = 1, max = 1024), regex(pattern = pattern::ISSUER))]
    pub issuer: String,
    /// What the provider knows this client by.
    #[schemars(length(min = 1, max = 256))]
    pub client_id: String,
    /// A Secret of the same namespace. Its entry `session-key`, 32 bytes or more of chance, seals cookies;
    /// `client-secret` is what the provider knows the client by besides. Absent: a public client.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub secret: String,
    /// How the provider is told `client-secret`. Absent: as the provider says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_authentication: Option<ClientAuthentication>,
    /// What is asked for beside `openid`. Absent: `profile` and `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub scopes: Option<Vec<String>>,
    /// The path that the provider sends browsers back to. Absent: `/oauth2/callback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1024))]
    pub callback_path: Option<String>,
    /// The path that ends a session. Absent: `/oauth2/logout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1024))]
    pub logout_path: Option<String>,
    /// The path of the same host where browsers go after that, through the provider if it ends sessions
    /// itself. Absent: a page says that the session has ended, here or there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub after_logout: Option<String>,
    /// When a user has to log in anew at the latest, from 1 minute to 30 days. Absent: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub session_lifetime: Option<String>,
    /// How far clocks may differ, 5 minutes at most. Absent: `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub leeway: Option<String>,
    /// What ID tokens of users have to say, such as a group. Others get 403.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub required_claims: Vec<RequiredClaim>,
    /// What of ID tokens the service is told by headers. What clients send of these is taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub claims_to_headers: Vec<ClaimHeader>,
}

/// How a provider is told the secret of a client (OpenID Connect Core 1.0, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ClientAuthentication {
    /// In `Authorization`: `client_secret_basic`.
    Basic,
    /// In the body: `client_secret_post`.
    Post,
}
