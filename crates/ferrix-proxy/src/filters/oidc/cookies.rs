//! The cookies of a filter: a session, in as many as it takes, and one for each login under way.
//!
//! Their names tell filters apart that ask for other things, and what seals them tells filters, hosts and
//! purposes apart: a cookie from elsewhere is none.

use std::sync::Arc;

use aws_lc_rs::digest;
use ferrix_http1::Fields;
use ferrix_table::filters::oidc::{Oidc, OidcSecrets};

use super::{
    login::{self, Login, State},
    seal::Seal,
    session::Session,
};
use crate::{
    filters::{
        credentials::{cookie_names, take_out_cookies},
        origin::Origin,
    },
    session::cookies,
};

/// Browsers keep no more than 4096 bytes of a cookie, its name and attributes among them
/// (RFC 6265, section 6.1): so much of a session is in each…
const PIECE: usize = 3840;

/// …and in so many of them it has to fit: servers read no more of a header section.
const MOST_PIECES: usize = 4;

/// Before the names of cookies that are of one host alone, where browsers can know that (RFC 6265bis,
/// section 4.1.3.2).
const SECURE: &str = "__Host-";

/// A browser has so many logins under way; the oldest give way.
const MOST_LOGINS: usize = 8;

/// The cookies of a filter for one origin.
pub(super) struct Cookies<'o> {
    oidc: &'o Oidc,
    seal: Arc<Seal>,
    binding: Arc<Binding>,
    origin: &'o Origin,
}

/// What tells a filter from others: whom it asks, and for what.
struct Binding {
    digest: [u8; 32],
    /// Of the cookies, without what their origin puts before it.
    name: String,
}

impl Binding {
    fn new(oidc: &Oidc) -> Self {
        let claims = oidc.claims();
        let scopes = oidc.scopes.iter().map(|it| &**it);
        let parts = [&*oidc.issuer, &*oidc.client_id, &*oidc.callback_path].into_iter();
        // A part that is no name stands between lists.
        let parts = parts.chain(scopes).chain([""]).chain(claims);
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        let [a, b, c, d, ..] = digest;
        let name = format!("ferrix-{:08x}", u32::from_be_bytes([a, b, c, d]));
        Self { digest, name }
    }
}

impl<'o> Cookies<'o> {
    /// `None`: what seals them was made for something else.
    pub(super) fn new(oidc: &'o Oidc, secrets: &OidcSecrets, origin: &'o Origin) -> Option<Self> {
        Some(Self {
            oidc,
            seal: Seal::of(secrets)?,
            binding: oidc.prepared.get_or_make(|| Binding::new(oidc))?,
            origin,
        })
    }

    /// The session of a browser, whatever it is still good for.
    pub(super) fn session(&self, fields: &Fields) -> Option<Session> {
        let first = cookies(fields, &self.piece(0)).next()?;
        let dot = first.iter().position(|byte| *byte == b'.')?;
        let pieces: usize = std::str::from_utf8(&first[..dot]).ok()?.parse().ok()?;
        if !(1..=MOST_PIECES).contains(&pieces) {
            return None;
        }
        let mut sealed = first[dot + 1..].to_vec();
        for number in 1..pieces {
            sealed.extend_from_slice(cookies(fields, &self.piece(number)).next()?);
        }
        let opened = self.seal.open(&self.purpose("session"), &sealed)?;
        serde_json::from_slice(&opened).ok()
    }

    /// What lets a browser keep a session, in place of the one that it has. `None`: it is too large.
    pub(super) fn keep(&self, session: &Session, fields: &Fields, now: u64) -> Option<Vec<String>> {
        let text = serde_json::to_vec(session).ok()?;
        let sealed = self.seal.close(&self.purpose("session"), text);
        let pieces: Vec<_> = sealed.as_bytes().chunks(PIECE).collect();
        let count = pieces.len();
        if count > MOST_PIECES {
            return None;
        }
        let ends = session.since + self.oidc.lifetime.as_secs();
        let left = ends.saturating_sub(now);
        let kept = pieces.into_iter().enumerate().map(|(number, piece)| {
            let before = if number == 0 {
                format!("{count}.")
            } else {
                String::new()
            };
            let piece = String::from_utf8_lossy(piece);
            self.set(&self.piece(number), &format!("{before}{piece}"), left)
        });
        Some(kept.chain(self.drop_pieces(count, fields)).collect())
    }

    /// What takes the session away from a browser.
    pub(super) fn end(&self, fields: &Fields) -> Vec<String> {
        self.drop_pieces(0, fields).collect()
    }

    fn drop_pieces(&self, first: usize, fields: &Fields) -> impl Iterator<Item = String> {
        let pieces = (first..MOST_PIECES).map(|number| self.piece(number));
        let there = pieces.filter(|name| cookies(fields, name).next().is_some());
        there.map(|name| self.set(&name, "", 0))
    }

    /// A login that the browser has begun, unless that was too long ago.
    pub(super) fn login(&self, state: &State, fields: &Fields, now: u64) -> Option<Login> {
        let name = self.login_name(state.as_str());
        let purpose = self.purpose(&name);
        let mut sealed = cookies(fields, &name);
        let login = sealed.find_map(|it| self.seal.open(&purpose, it))?;
        let login: Login = serde_json::from_slice(&login).ok()?;
        (!login.is_over(now)).then_some(login)
    }

    /// What lets a browser begin one more login.
    pub(super) fn begin(
        &self,
        state: &State,
        login: &Login,
        fields: &Fields,
        now: u64,
    ) -> Vec<String> {
        let name = self.login_name(state.as_str());
        let text = serde_json::to_vec(login).unwrap_or_default();
        let sealed = self.seal.close(&self.purpose(&name), text);
        let begun = self.set(&name, &sealed, login::LIMIT);
        let others = self.too_many(fields, now);
        let others = others.iter().map(|name| self.set(name, "", 0));
        others.chain([begun]).collect()
    }

    /// What takes a login away from a browser, once it is over.
    pub(super) fn finish(&self, state: &State) -> String {
        self.set(&self.login_name(state.as_str()), "", 0)
    }

    /// The names of the logins that give way to one more.
    fn too_many(&self, fields: &Fields, now: u64) -> Vec<String> {
        let prefix = self.login_name("");
        let names = cookie_names(fields).filter_map(|name| {
            let name = std::str::from_utf8(name).ok()?;
            let state = State::parse(name.strip_prefix(&*prefix)?)?;
            let since = self.login(&state, fields, now).map(|login| login.since);
            Some((since, name.to_owned()))
        });
        let mut logins: Vec<_> = names.collect();
        // Those that are none come first.
        logins.sort_unstable();
        let too_many = (logins.len() + 1).saturating_sub(MOST_LOGINS);
        let too_many = logins.into_iter().take(too_many);
        too_many.map(|(_, name)| name).collect()
    }

    /// Takes all of them out of a request: they are nothing for services.
    pub(super) fn take_out(&self, fields: &mut Fields) {
        let name = self.binding.name.as_bytes();
        take_out_cookies(fields, |it| {
            // Browsers send those of the other scheme as well.
            let rest = it.strip_prefix(SECURE.as_bytes()).unwrap_or(it);
            let rest = rest.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'-')
        });
    }

    /// That of the session, which others begin with.
    pub(super) fn name(&self) -> String {
        let prefix = if self.origin.secure { SECURE } else { "" };
        format!("{prefix}{}", self.binding.name)
    }

    fn piece(&self, number: usize) -> String {
        match number {
            0 => self.name(),
            number => format!("{}-{number}", self.name()),
        }
    }

    fn login_name(&self, state: &str) -> String {
        format!("{}-login-{state}", self.name())
    }

    fn purpose(&self, what: &str) -> Vec<u8> {
        let Binding { digest, .. } = &*self.binding;
        [digest, self.origin.as_bytes(), b" ", what.as_bytes()].concat()
    }

    /// `seconds`: for so long a browser keeps it; 0: no longer.
    fn set(&self, name: &str, value: &str, seconds: u64) -> String {
        let secure = if self.origin.secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }
}

#[cfg(test)]
mod tests;
