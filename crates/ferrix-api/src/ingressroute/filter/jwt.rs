//! Tokens that let whoever has them pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CredentialPlace;
use crate::pattern;

/// Lets requests pass that have a JSON Web Token of an issuer (RFC 7519). Others get 401.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jwt {
    /// The public keys of the issuer, a set of JWKs (RFC 7517).
    pub jwks: Jwks,
    /// What tokens have to have as `iss`. Absent: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: Option<String>,
    /// Tokens have to have one of these as `aud`. Absent: tokens without `aud` pass, and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub audiences: Vec<String>,
    /// How far clocks may differ, 5 minutes at most. Absent: `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub leeway: Option<String>,
    /// The one place with the token. Absent: `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<CredentialPlace>,
    /// What tokens have to say besides. Others get 403.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub required_claims: Vec<RequiredClaim>,
    /// What of tokens the service is told by headers. What clients send of these is taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub claims_to_headers: Vec<ClaimHeader>,
    /// Whether requests without a token pass as well. Those with one that is not valid never do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Whether the service does not get the token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hide_credentials: bool,
}

/// Where keys are. Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Jwks {
    /// The set itself, in JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub inline: Option<String>,
    /// A Secret of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<KeysEntry>,
    /// A ConfigMap of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KeysEntry>,
    /// Where the set is fetched from, every 5 minutes and when a token names a key that is not known: such
    /// as `https://id.example.com/jwks.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 10, max = 2048), regex(pattern = pattern::HTTP_URL))]
    pub url: Option<String>,
}

/// An entry of a Secret or a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct KeysEntry {
    /// The object.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub name: String,
    /// The entry. Absent: `jwks.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// Something that tokens have to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct RequiredClaim {
    /// The claim, such as `scope`; within others with dots, such as `realm_access.roles`.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// One of these it has to be, or to have among the items of a list or the words of a text. Absent:
    /// anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub values: Vec<String>,
}

/// What a header tells of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ClaimHeader {
    /// The claim, as in `requiredClaims`.
    #[schemars(length(min = 1, max = 256))]
    pub claim: String,
    /// The header.
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub header: String,
}
