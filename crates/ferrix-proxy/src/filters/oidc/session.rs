//! What is known of a user who has logged in, as the cookies of the browser have it.

use ferrix_table::filters::oidc::Oidc;
use serde::{Deserialize, Serialize};

use super::tokens::Tokens;
use crate::filters::jwt::{self, Claims};

/// A session. Of what the provider says of the user it has what the filter asks for, and no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(super) subject: String,
    pub(super) claims: Claims,
    /// Times are in seconds since 1970: that of the login…
    pub(super) since: u64,
    /// …and until when the provider vouches for the user.
    pub(super) until: u64,
    /// That of the login.
    pub(super) nonce: String,
    /// What continues it, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    /// For the provider, which may want to know whom a logout is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id_token: Option<String>,
}

/// What a session is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing<'s> {
    /// The provider vouches for the user.
    Current,
    /// It has to be asked whether it still does, by this refresh token.
    Continuable(&'s str),
    /// The user has to log in.
    Ended,
}

impl Session {
    /// That of a login, by what the ID token claims.
    pub(super) fn begin(
        oidc: &Oidc,
        identity: Identity,
        tokens: Tokens,
        nonce: String,
        now: u64,
    ) -> Self {
        let Identity {
            subject,
            claims,
            until,
        } = identity;
        Self {
            subject,
            claims: kept(oidc, &claims),
            since: now,
            until,
            nonce,
            refresh_token: tokens.refresh_token,
            id_token: tokens.id_token.filter(|_| tokens.is_hint),
        }
    }

    /// The same, now that the provider has said that it goes on. `identity`: as it says now, if it does.
    pub(super) fn continued(
        &self,
        oidc: &Oidc,
        identity: Option<Identity>,
        tokens: Tokens,
        now: u64,
    ) -> Self {
        let mut session = self.clone();
        match identity {
            Some(identity) => {
                session.claims = kept(oidc, &identity.claims);
                session.until = identity.until;
            }
            None => session.until = now.saturating_add(tokens.lifetime),
        }
        // What has not changed is not said.
        session.refresh_token = tokens.refresh_token.or(session.refresh_token);
        let id_token = tokens.id_token.filter(|_| tokens.is_hint);
        session.id_token = id_token.or(session.id_token);
        session
    }

    pub(super) fn standing(&self, oidc: &Oidc, now: u64) -> Standing<'_> {
        if now >= self.since + oidc.lifetime.as_secs() {
            return Standing::Ended;
        }
        if now < self.until.saturating_add(oidc.leeway.as_secs()) {
            return Standing::Current;
        }
        let refresh_token = self.refresh_token.as_deref();
        refresh_token.map_or(Standing::Ended, Standing::Continuable)
    }
}

/// Whom an ID token is about.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) subject: String,
    pub(super) claims: Claims,
    pub(super) until: u64,
}

/// The claims that the filter asks for, each under the name that it has there.
fn kept(oidc: &Oidc, claims: &Claims) -> Claims {
    let names = oidc.claims();
    let found = names.iter().filter_map(|name| {
        let value = jwt::claim(claims, name)?;
        Some(((*name).to_owned(), value.clone()))
    });
    found.collect()
}
