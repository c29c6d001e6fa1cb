//! Requests of one client to one endpoint.

use serde::{Deserialize, Serialize};

/// How requests of one client are kept to the endpoint that answered the first of them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistence {
    /// The name of the cookie or header. Absent: one that the controller chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
    /// A time such as `1h`, after which a session ends however much it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<String>,
    /// `Cookie`, which is what its absence means, or `Header`.
    #[serde(rename = "type", default = "cookie")]
    pub kind: String,
    /// With `Cookie`: more about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie_config: Option<CookieConfig>,
}

/// What a cookie of a session is like.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CookieConfig {
    /// `Permanent`: with an age. `Session`, which is what its absence means: without one.
    #[serde(default = "session")]
    pub lifetime_type: String,
}

impl Default for SessionPersistence {
    fn default() -> Self {
        Self {
            session_name: None,
            absolute_timeout: None,
            kind: cookie(),
            cookie_config: None,
        }
    }
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self {
            lifetime_type: session(),
        }
    }
}

fn cookie() -> String {
    "Cookie".to_owned()
}

fn session() -> String {
    "Session".to_owned()
}
