//! OpenID Connect: who may pass, by a login at a provider.

use std::{fmt, time::Duration};

use super::{
    from_object::FromObject,
    jwt::{ClaimHeader, RequiredClaim, write_claims},
};
use crate::verification::Prepared;

/// Who may pass: users that have logged in at a provider, and of whom it says what it has to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// The URL of the provider, as it names itself: `http` or `https`, without a query.
    pub issuer: Box<str>,
    /// What it knows this client by.
    pub client_id: Box<str>,
    /// What seals cookies, and what the provider knows the client by besides.
    pub secrets: FromObject<OidcSecrets>,
    /// How the provider is told the secret of the client. `None`: as it says.
    pub authentication: Option<ClientAuthentication>,
    /// What is asked for beside `openid`, each a token without blanks.
    pub scopes: Box<[Box<str>]>,
    /// Canonical, as are the other paths: where the provider sends browsers back to.
    pub callback_path: Box<str>,
    /// What ends a session.
    pub logout_path: Box<str>,
    /// Where browsers go then. `None`: they stay.
    pub after_logout: Option<Box<str>>,
    /// From one login to the next.
    pub lifetime: Duration,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// What the provider has to say of a user, or requests are refused as ones without the right to pass.
    pub required: Box<[RequiredClaim]>,
    /// What the service is told of the user. What clients send of these fields is taken out.
    pub headers: Box<[ClaimHeader]>,
    /// For whoever seals cookies: what tells those of this filter from others.
    pub prepared: Prepared,
}

/// What a Secret holds for logins.
#[derive(Clone, PartialEq, Eq)]
pub struct OidcSecrets {
    /// What seals cookies: at least 32 bytes.
    pub session_key: Box<[u8]>,
    /// `None`: the client is a public one.
    pub client_secret: Option<Box<str>>,
    /// For whoever seals cookies: what was made of the key.
    pub prepared: Prepared,
}

/// How a provider is told the secret of a client (OpenID Connect Core 1.0, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// In `Authorization`.
    Basic,
    /// In the body.
    Post,
}

impl Oidc {
    /// Whether whoever has logged in by one has done so by the other, on the same host: both ask the same provider
    /// for the same.
    pub fn shares_logins(&self, other: &Self) -> bool {
        let asks = |it: &Self| {
            (
                it.issuer.clone(),
                it.client_id.clone(),
                it.callback_path.clone(),
            )
        };
        asks(self) == asks(other)
            && self.secrets.named == other.secrets.named
            && self.scopes == other.scopes
            && self.claims() == other.claims()
    }

    /// The claims of ID tokens that matter after a login, each once and in order.
    pub fn claims(&self) -> Vec<&str> {
        let required = self.required.iter().map(|it| &*it.name);
        let mut claims: Vec<_> = required
            .chain(self.headers.iter().map(|it| &*it.claim))
            .collect();
        claims.sort_unstable();
        claims.dedup();
        claims
    }
}

/// Nothing of them.
impl fmt::Debug for OidcSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OidcSecrets")
    }
}

/// `at https://id.example.com as shop, by Secret shop/login, with groups staff, email as X-Email`.
impl fmt::Display for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (issuer, client, secret) = (&self.issuer, &self.client_id, &self.secrets.named);
        write!(f, "at {issuer} as {client}, by {secret}")?;
        write_claims(f, &self.required, &self.headers)
    }
}
