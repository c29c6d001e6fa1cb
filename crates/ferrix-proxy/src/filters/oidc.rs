//! OpenID Connect at work: users log in at a provider, and what it has said of them is in sealed cookies, so that
//! no replica keeps or shares anything.
//!
//! ```text
//!  request ─► session? ─► current ─► what it has to say ─► service
//!                │           ▲
//!                │ over      │ continued, by a refresh token
//!                ├───────────┤
//!                ▼           │ a login that came back: code ─► tokens ─► session
//!             login ─► provider ─► callback path
//! ```
//!
//! A request with a current session asks nobody. Providers are asked on a thread beside the workers.

use std::sync::Arc;

use bytes::Bytes;
use ferrix_http1::{RequestHead, ResponseHead};
use ferrix_table::filters::oidc::{Oidc, OidcSecrets};
use http::{Method, StatusCode};

use crate::{Engine, failure::Failure, secret_digest};

mod cookies;
mod form;
mod login;
mod provider;
pub(crate) mod reading;
mod seal;
mod session;
mod tokens;

pub(crate) use provider::Providers;

use super::{jwt, origin::Origin};
use cookies::Cookies;
use login::{Login, Returned};
use provider::Document;
use session::{Session, Standing};
use tokens::{Client, TokenError};

/// What clients are told that send no session and are no browsers. There is no scheme for cookies, and a 401
/// without a challenge is none (RFC 9110, section 15.5.2).
const CHALLENGE: &str = "Cookie";

/// What becomes of a request.
pub(crate) enum Verdict {
    /// It goes on, and the client gets these cookies with the answer.
    Passed(Vec<String>),
    /// This is the answer.
    Answered(ResponseHead, Bytes),
}

/// One request at a filter.
struct Visit<'v> {
    oidc: &'v Arc<Oidc>,
    secrets: &'v Arc<OidcSecrets>,
    engine: &'v Engine,
    origin: &'v Origin,
    cookies: Cookies<'v>,
    now: u64,
}

/// Whether a request comes back from the provider, with a code that is nobody's business.
pub(crate) fn is_callback(oidc: &Oidc, head: &RequestHead) -> bool {
    path(head) == oidc.callback_path.as_bytes()
}

/// Lets a user pass. `secure`: whether the request came over TLS.
///
/// # Errors
/// [`Failure::Unauthenticated`]: it is none, and no browser that could be sent to log in.
/// [`Failure::Forbidden`]: the provider does not say of the user what it has to.
/// [`Failure::LoginRefused`], [`Failure::Provider`]: there is no session, and why.
/// [`Failure::Unresolved`]: nobody knows what seals sessions.
pub(crate) async fn check(
    oidc: &Arc<Oidc>,
    engine: &Engine,
    head: &mut RequestHead,
    secure: bool,
) -> Result<Verdict, Failure> {
    let secrets = oidc.secrets.held.as_ref();
    let secrets = secrets.map_err(|_| Failure::Unresolved)?;
    let origin = Origin::of(head, secure)?;
    let cookies = Cookies::new(oidc, secrets, &origin).ok_or(Failure::Unresolved)?;
    let visit = Visit {
        oidc,
        secrets,
        engine,
        origin: &origin,
        cookies,
        now: jwt::now() as u64,
    };
    if is_callback(oidc, head) {
        return visit.finish_login(head).await;
    }
    if path(head) == oidc.logout_path.as_bytes() {
        if is_of_other_site(head) {
            let why = "another site asks for the end of the session";
            return Err(Failure::LoginRefused(why.to_owned()));
        }
        return Ok(visit.end_session(head).await);
    }
    let Some((session, kept)) = visit.session(head).await? else {
        return visit.begin_login(head).await;
    };
    visit.cookies.take_out(&mut head.fields);
    tell(oidc, &session, head)?;
    Ok(Verdict::Passed(kept))
}

/// Holds a user to what the provider has to say, and tells the service of it.
fn tell(oidc: &Oidc, session: &Session, head: &mut RequestHead) -> Result<(), Failure> {
    let forbidden = || Failure::Forbidden(CHALLENGE.into());
    if !oidc.required.iter().all(|it| jwt::has(&session.claims, it)) {
        return Err(forbidden());
    }
    let values = jwt::values(&oidc.headers, &session.claims).map_err(|_| forbidden())?;
    for (header, value) in values {
        head.fields.set(header, value.as_bytes());
    }
    Ok(())
}

impl Visit<'_> {
    /// The session of the user, with the cookies that keep it where it has just been continued. `None`: there is
    /// none, or it has ended.
    async fn session(
        &self,
        head: &RequestHead,
    ) -> Result<Option<(Arc<Session>, Vec<String>)>, Failure> {
        let Some(session) = self.cookies.session(&head.fields) else {
            return Ok(None);
        };
        let refresh_token = match session.standing(self.oidc, self.now) {
            Standing::Current => return Ok(Some((Arc::new(session), Vec::new()))),
            Standing::Ended => return Ok(None),
            Standing::Continuable(refresh_token) => refresh_token.to_owned(),
        };
        let Some(session) = self.continued(session, refresh_token).await? else {
            return Ok(None);
        };
        let kept = self.keep(&session, head)?;
        Ok(Some((session, kept)))
    }

    /// Sends a browser to the provider.
    async fn begin_login(&self, head: &RequestHead) -> Result<Verdict, Failure> {
        if !is_navigation(head) {
            return Err(Failure::Unauthenticated(CHALLENGE.into()));
        }
        let document = self.document().await?;
        let (state, login) = Login::begin(head.target(), self.now);
        let url = login.url(&state, self.oidc, &document, self.origin);
        let cookies = self.cookies.begin(&state, &login, &head.fields, self.now);
        Ok(sent_to(&url, cookies))
    }

    /// Makes a session of a login that comes back from the provider.
    async fn finish_login(&self, head: &RequestHead) -> Result<Verdict, Failure> {
        let refused = |why: &str| Failure::LoginRefused(why.to_owned());
        if head.method != Method::GET {
            return Err(refused("it is no request of a browser that comes back"));
        }
        let answer = Returned::of(head.target()).map_err(refused)?;
        let login = self.cookies.login(&answer.state, &head.fields, self.now);
        let login = login.ok_or_else(|| {
            refused("this browser has not begun it here, or too long ago, or it is over")
        })?;
        let code = answer.code.map_err(Failure::LoginRefused)?;
        let target = login.target.clone();
        let session = self.redeem(login, code, answer.issuer).await?;
        let mut cookies = self.keep(&session, head)?;
        cookies.push(self.cookies.finish(&answer.state));
        Ok(sent_to(&target, cookies))
    }

    /// A session, for a code. `issuer`: as the answer of the provider names it, where it does.
    async fn redeem(
        &self,
        login: Login,
        code: String,
        issuer: Option<String>,
    ) -> Result<Session, TokenError> {
        let callback = self.origin.url(&self.oidc.callback_path);
        let now = self.now;
        self.ask(async move |client: Client| {
            // An answer of another provider, which an attacker may be (RFC 9207).
            let is_of_issuer = match issuer {
                Some(issuer) => *issuer == *client.oidc.issuer,
                None => !client.document.names_itself,
            };
            if !is_of_issuer {
                let why = "it comes from another provider";
                return Err(TokenError::Refused(why.to_owned()));
            }
            client.begin(login, &code, &callback, now).await
        })
        .await
    }

    /// A session once the provider vouches for it again; `None`: it does not. Requests with the same session
    /// ask once, as many providers take a refresh token once.
    async fn continued(
        &self,
        session: Session,
        refresh_token: String,
    ) -> Result<Option<Arc<Session>>, TokenError> {
        let now = self.now;
        // What is kept of a user is for filters that ask for the same.
        let name = self.cookies.name();
        let key = secret_digest::of(&[name.as_bytes(), refresh_token.as_bytes()]);
        let continued = self.ask(async move |client: Client| {
            let continued = &client.provider.continued;
            // Some give the same refresh token again, so that what was remembered may be over as well.
            continued.remove_if(&key, |known| {
                let known = known.as_ref().ok();
                known.is_some_and(|it| it.standing(&client.oidc, now) != Standing::Current)
            });
            let asking = async {
                match client.continued(&session, &refresh_token, now).await {
                    Ok(session) => Ok(Ok(Arc::new(session))),
                    Err(TokenError::Refused(why)) => Ok(Err(why)),
                    Err(unavailable) => Err(unavailable),
                }
            };
            continued.get_or_insert_async(&key, asking).await
        });
        Ok(continued.await?.ok())
    }

    /// What the provider says of itself.
    async fn document(&self) -> Result<Arc<Document>, TokenError> {
        let provider = self.engine.providers.of(&self.oidc.issuer);
        // Whoever sends many browsers to log in disturbs nobody who does.
        if let Some(document) = provider.fresh() {
            return Ok(document);
        }
        let asked = Arc::clone(&provider);
        Ok(provider
            .run(async move { asked.document().await })
            .await??)
    }

    /// Asks the provider for something, beside the workers.
    async fn ask<T: Send + 'static, W: Future<Output = Result<T, TokenError>> + Send>(
        &self,
        work: impl FnOnce(Client) -> W + Send + 'static,
    ) -> Result<T, TokenError> {
        let provider = self.engine.providers.of(&self.oidc.issuer);
        let (oidc, secrets) = (Arc::clone(self.oidc), Arc::clone(self.secrets));
        let asked = Arc::clone(&provider);
        let asking = async move {
            let document = asked.document().await?;
            let client = Client {
                oidc,
                secrets,
                provider: asked,
                document,
            };
            work(client).await
        };
        provider.run(asking).await?
    }

    /// The cookies of a session. Without the ID token, which is of least use, where it is too large.
    fn keep(&self, session: &Session, head: &RequestHead) -> Result<Vec<String>, Failure> {
        let kept = |session: &Session| self.cookies.keep(session, &head.fields, self.now);
        let kept = kept(session).or_else(|| {
            kept(&Session {
                id_token: None,
                ..session.clone()
            })
        });
        kept.ok_or_else(|| {
            Failure::Provider("what it says of the user is too long for cookies".to_owned())
        })
    }

    /// Ends a session here, and at the provider where that can be.
    async fn end_session(&self, head: &RequestHead) -> Verdict {
        let hint = self.cookies.session(&head.fields);
        let hint = hint.and_then(|session| session.id_token);
        let ended = self.cookies.end(&head.fields);
        let after = self.oidc.after_logout.as_deref();
        let document = self.document().await.ok();
        let end = document.as_ref();
        let end = end.and_then(|it| it.end_session_endpoint.as_deref());
        match (end, after) {
            (Some(end), _) => {
                let after = after.map(|path| self.origin.url(path));
                let parameters = [
                    ("client_id", Some(&*self.oidc.client_id)),
                    ("id_token_hint", hint.as_deref()),
                    ("post_logout_redirect_uri", after.as_deref()),
                ];
                let parameters = parameters.into_iter();
                let parameters: Vec<_> = parameters
                    .filter_map(|(name, value)| Some((name, value?)))
                    .collect();
                sent_to(&form::with_query(end, &parameters), ended)
            }
            (None, Some(path)) => sent_to(path, ended),
            (None, None) => logged_out(ended),
        }
    }
}

/// Whether a browser is about to show what it gets, so that it may be sent elsewhere. Scripts would follow
/// without a word, to what they may not read.
fn is_navigation(head: &RequestHead) -> bool {
    let has = |name: &str, part: &str| {
        let mut values = head.fields.get_all(name);
        values.any(|value| String::from_utf8_lossy(value).contains(part))
    };
    let navigates = match head.fields.get("sec-fetch-mode") {
        Some(mode) => mode == b"navigate",
        None => has("accept", "text/html") && !has("x-requested-with", "XMLHttpRequest"),
    };
    navigates && head.method == Method::GET
}

/// Whether a page of another site has made a browser ask. Navigations bring the cookies of a session all the same.
fn is_of_other_site(head: &RequestHead) -> bool {
    let site = head.fields.get("sec-fetch-site");
    site.is_some_and(|site| site == b"cross-site")
}

fn path(head: &RequestHead) -> &[u8] {
    let target = head.target();
    let path = target.split(|byte| *byte == b'?').next();
    path.unwrap_or_default()
}

/// Sends a browser elsewhere.
fn sent_to(location: &str, cookies: Vec<String>) -> Verdict {
    let mut answer = ResponseHead::new(StatusCode::FOUND);
    answer.fields.append("Location", location.as_bytes());
    Verdict::Answered(with_cookies(answer, cookies), Bytes::new())
}

fn logged_out(cookies: Vec<String>) -> Verdict {
    let mut answer = ResponseHead::new(StatusCode::OK);
    answer
        .fields
        .append("Content-Type", b"text/html; charset=utf-8");
    let page = "<!doctype html><title>Logged out</title><h1>Logged out</h1>\n";
    Verdict::Answered(
        with_cookies(answer, cookies),
        Bytes::from_static(page.as_bytes()),
    )
}

/// An answer for one browser, and no cache.
fn with_cookies(mut answer: ResponseHead, cookies: Vec<String>) -> ResponseHead {
    answer.fields.append("Cache-Control", b"no-store");
    for cookie in cookies {
        answer.fields.append("Set-Cookie", cookie.as_bytes());
    }
    answer
}

#[cfg(test)]
mod tests;
