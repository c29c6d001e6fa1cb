//! A login under way: what sends a browser to the provider, and knows it when it comes back.

use aws_lc_rs::{digest, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ferrix_table::filters::oidc::Oidc;
use serde::{Deserialize, Serialize};

use super::{form, provider::Document};
use crate::filters::origin::Origin;

/// A user takes no longer, in seconds.
pub(super) const LIMIT: u64 = 3600;

/// Longer places are not gone back to.
const LONGEST_TARGET: usize = 1024;

/// A login, as a cookie of the browser has it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Login {
    /// What the ID token has to repeat.
    pub(super) nonce: String,
    /// What shows that whoever redeems the code has asked for it (RFC 7636).
    pub(super) verifier: String,
    /// Where the browser was about to go: a path of the same host.
    pub(super) target: String,
    /// In seconds since 1970.
    pub(super) since: u64,
}

/// A browser that comes back from the provider (OpenID Connect Core 1.0, section 3.1.2.5).
pub(super) struct Returned {
    pub(super) state: State,
    /// `Err`: why there is none.
    pub(super) code: Result<String, String>,
    /// Who has sent it back, where that is said (RFC 9207).
    pub(super) issuer: Option<String>,
}

impl Returned {
    /// # Errors
    /// Why it is none.
    pub(super) fn of(target: &[u8]) -> Result<Self, &'static str> {
        let parameter = |name: &str| form::parameter(target, name);
        let ambiguous = |_| "its parameters are ambiguous";
        let state = parameter("state").map_err(ambiguous)?;
        let state = state.and_then(|it| State::parse(&it));
        let error = parameter("error").map_err(ambiguous)?;
        let code = parameter("code").map_err(ambiguous)?;
        Ok(Self {
            state: state.ok_or("it has no state")?,
            code: match (error, code) {
                (Some(error), _) => Err(format!("the provider says `{}`", error.escape_debug())),
                (None, Some(code)) => Ok(code),
                (None, None) => Err("it has no code".to_owned()),
            },
            issuer: parameter("iss").map_err(ambiguous)?,
        })
    }
}

/// What tells a login from the others of a browser, and from those that somebody else has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State(String);

impl State {
    fn new() -> Self {
        Self(random::<16>())
    }

    /// That of a text, if it can be one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (text.len() == 22 && text.bytes().all(fits)).then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Login {
    /// That of a request with this target. `now`: in seconds since 1970.
    pub(super) fn begin(target: &[u8], now: u64) -> (State, Self) {
        let login = Self {
            nonce: random::<16>(),
            verifier: random::<32>(),
            target: way_back(target).to_owned(),
            since: now,
        };
        (State::new(), login)
    }

    pub(super) fn is_over(&self, now: u64) -> bool {
        now >= self.since + LIMIT
    }

    /// Where the browser goes to log in.
    pub(super) fn url(
        &self,
        state: &State,
        oidc: &Oidc,
        document: &Document,
        origin: &Origin,
    ) -> String {
        let challenge = digest::digest(&digest::SHA256, self.verifier.as_bytes());
        let challenge = URL_SAFE_NO_PAD.encode(challenge);
        let scopes = oidc.scopes.iter().map(|it| &**it);
        let scopes: Vec<_> = ["openid"].into_iter().chain(scopes).collect();
        let parameters = [
            ("response_type", "code"),
            ("client_id", &*oidc.client_id),
            ("redirect_uri", &*origin.url(&oidc.callback_path)),
            ("scope", &*scopes.join(" ")),
            ("state", state.as_str()),
            ("nonce", &*self.nonce),
            ("code_challenge", &*challenge),
            ("code_challenge_method", "S256"),
        ];
        form::with_query(&document.authorization_endpoint, &parameters)
    }
}

/// Where a browser goes after its login: where it was about to go, if that is surely of the same host.
fn way_back(target: &[u8]) -> &str {
    let is_path = target.first() == Some(&b'/');
    // Browsers read `//a.test` and `/\a.test` as a host.
    let is_host = matches!(target.get(1), Some(b'/' | b'\\'));
    let fits = target.len() <= LONGEST_TARGET && target.iter().all(u8::is_ascii_graphic);
    let target = std::str::from_utf8(target).ok();
    target
        .filter(|_| is_path && !is_host && fits)
        .unwrap_or("/")
}

/// Chance, in the characters of base64url.
fn random<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).expect("the library makes random bytes, or ends the process");
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_come_back_with() {
        let state = "s".repeat(22);
        let cases = [
            ("?state=S&code=c", Ok((Ok("c"), None))),
            (
                "?code=c&state=S&iss=https%3A%2F%2Fid",
                Ok((Ok("c"), Some("https://id"))),
            ),
            (
                "?state=S&error=access_denied",
                Ok((Err("the provider says `access_denied`"), None)),
            ),
            (
                "?state=S&error=a%0Ab&code=c",
                Ok((Err("the provider says `a\\nb`"), None)),
            ),
            ("?state=S", Ok((Err("it has no code"), None))),
            ("?code=c", Err("it has no state")),
            ("", Err("it has no state")),
            ("?state=s&code=c", Err("it has no state")),
            (
                "?state=S&state=S&code=c",
                Err("its parameters are ambiguous"),
            ),
            (
                "?state=S&code=c&code=d",
                Err("its parameters are ambiguous"),
            ),
            (
                "?state=S&code=c&iss=a&%69ss=b",
                Err("its parameters are ambiguous"),
            ),
        ];
        for (query, expected) in &cases {
            let target = format!("/oauth2/callback{}", query.replace('S', &state));
            let returned = Returned::of(target.as_bytes());
            let found = returned.as_ref().map(|it| {
                assert_eq!(it.state.as_str(), state);
                let code = it.code.as_deref().map_err(String::as_str);
                (code, it.issuer.as_deref())
            });
            assert_eq!(found.map_err(|why| *why), *expected, "{query}");
        }
        assert_eq!(cases.len(), 11);
    }

    #[test]
    fn browsers_come_back_to_the_same_host_alone() {
        let long = format!("/{}", "a".repeat(LONGEST_TARGET));
        let cases = [
            ("/", "/"),
            ("/a/b?c=d&e=%2F", "/a/b?c=d&e=%2F"),
            ("/a//b", "/a//b"),
            ("/?next=//evil.test", "/?next=//evil.test"),
            ("//evil.test", "/"),
            ("///evil.test", "/"),
            ("/\\evil.test", "/"),
            ("\\\\evil.test", "/"),
            ("https://evil.test/", "/"),
            ("evil.test", "/"),
            ("/\t/evil.test", "/"),
            ("/a\r\nSet-Cookie: b", "/"),
            ("*", "/"),
            ("", "/"),
            (&*long, "/"),
        ];
        for (target, expected) in cases {
            assert_eq!(way_back(target.as_bytes()), expected, "{target:?}");
        }
        assert_eq!(cases.len(), 15);
    }

    #[test]
    fn logins_are_told_apart_and_end() {
        let (one, login) = Login::begin(b"/a", 1000);
        let (other, another) = Login::begin(b"/a", 1000);
        assert_ne!(one, other);
        assert_ne!(
            (&login.nonce, &login.verifier),
            (&another.nonce, &another.verifier)
        );
        // RFC 7636, section 4.1.
        assert_eq!((one.as_str().len(), login.verifier.len()), (22, 43));
        assert!(!login.is_over(1000 + LIMIT - 1) && login.is_over(1000 + LIMIT));
        assert_eq!(State::parse(one.as_str()), Some(one));
        for odd in ["", "a", "aaaaaaaaaaaaaaaaaaaaa;", "aaaaaaaaaaaaaaaaaaaaaaa"] {
            assert_eq!(State::parse(odd), None);
        }
    }
}
