//! What a provider gives for a code or a refresh token, and what it says of the user there
//! (OpenID Connect Core 1.0, sections 3.1.3 and 12).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ferrix_table::filters::oidc::{ClientAuthentication, Oidc, OidcSecrets};
use http::{Method, StatusCode};
use serde_json::Value;

use super::{
    form,
    login::Login,
    provider::{Document, Provider, ProviderError},
    session::{Identity, Session},
};
use crate::{
    failure::Failure,
    fetch::{FetchError, FetchRequest},
    filters::jwt::{self, Claims},
};

/// How long a session goes on where the provider does not say, in seconds.
const LIFETIME: u64 = 300;

/// Why there are no tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenError {
    /// The provider does not let this user in, or not any more.
    Refused(String),
    /// It has said nothing of use.
    Unavailable(String),
}

impl From<FetchError> for TokenError {
    fn from(error: FetchError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<ProviderError> for TokenError {
    fn from(error: ProviderError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Refused(why) => Self::LoginRefused(why),
            TokenError::Unavailable(why) => Self::Provider(why),
        }
    }
}

/// What a provider gives.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) id_token: Option<String>,
    /// Whether the provider has use for its ID token when a session ends.
    pub(super) is_hint: bool,
    pub(super) refresh_token: Option<String>,
    /// In seconds.
    pub(super) lifetime: u64,
}

/// What an ID token has to be about.
#[derive(Clone, Copy, Debug)]
enum Expected<'e> {
    /// The login with this nonce.
    Login(&'e str),
    /// This session.
    Continued(&'e Session),
}

/// Whoever asks for tokens, and whom.
pub(super) struct Client {
    pub(super) oidc: Arc<Oidc>,
    pub(super) secrets: Arc<OidcSecrets>,
    pub(super) provider: Arc<Provider>,
    pub(super) document: Arc<Document>,
}

impl Client {
    /// The session of a login that has come back with a code. `now`: in seconds since 1970.
    pub(super) async fn begin(
        &self,
        login: Login,
        code: &str,
        callback: &str,
        now: u64,
    ) -> Result<Session, TokenError> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback),
            ("code_verifier", &login.verifier),
        ];
        let tokens = self.ask(&form).await?;
        let no_token = || TokenError::Unavailable("it gives no ID token".to_owned());
        let id_token = tokens.id_token.as_deref().ok_or_else(no_token)?;
        let expected = Expected::Login(&login.nonce);
        let identity = self.identify(id_token, expected).await?;
        Ok(Session::begin(
            &self.oidc,
            identity,
            tokens,
            login.nonce,
            now,
        ))
    }

    /// A session that goes on.
    pub(super) async fn continued(
        &self,
        session: &Session,
        refresh_token: &str,
        now: u64,
    ) -> Result<Session, TokenError> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ];
        let tokens = self.ask(&form).await?;
        let identity = match tokens.id_token.as_deref() {
            Some(id_token) => {
                let expected = Expected::Continued(session);
                Some(self.identify(id_token, expected).await?)
            }
            None => None,
        };
        Ok(session.continued(&self.oidc, identity, tokens, now))
    }

    /// Whom an ID token is about. Keys that nobody has seen are asked for once.
    async fn identify(
        &self,
        id_token: &str,
        expected: Expected<'_>,
    ) -> Result<Identity, TokenError> {
        let mut claims = jwt::signed(&self.document.keys, id_token.as_bytes());
        if claims.is_none() {
            let newer = self.provider.document_after(&self.document).await;
            let newer = newer.map_err(|error| TokenError::Unavailable(error.to_string()))?;
            claims = jwt::signed(&newer.keys, id_token.as_bytes());
        }
        let refused = |why: &str| TokenError::Refused(format!("its ID token {why}"));
        let claims = claims.ok_or_else(|| refused("is signed by no key of the provider"))?;
        // It was made after the request has come.
        let now = jwt::now() as u64;
        judge(&self.oidc, claims, expected, now).map_err(refused)
    }

    async fn ask(&self, form: &[(&str, &str)]) -> Result<Tokens, TokenError> {
        let unavailable = |why: String| TokenError::Unavailable(why);
        let request = self.request(form).map_err(unavailable)?;
        let fetched = self.provider.fetcher.fetch(&request).await;
        let reply = fetched.map_err(|error| unavailable(error.to_string()))?;
        let mut tokens = read(reply.head.status, &reply.body)?;
        tokens.is_hint = self.document.end_session_endpoint.is_some();
        Ok(tokens)
    }

    fn request(&self, form: &[(&str, &str)]) -> Result<FetchRequest, String> {
        let client = &*self.oidc.client_id;
        let mut form = form.to_vec();
        let mut authorization = None;
        match &self.secrets.client_secret {
            None => form.push(("client_id", client)),
            Some(secret) => match self.authentication()? {
                ClientAuthentication::Basic => {
                    // RFC 6749, section 2.3.1.
                    let [client, secret] = [client, secret].map(form::encoded_value);
                    let encoded = STANDARD.encode(format!("{client}:{secret}"));
                    authorization = Some(("Authorization", format!("Basic {encoded}")));
                }
                ClientAuthentication::Post => {
                    form.extend([("client_id", client), ("client_secret", &**secret)]);
                }
            },
        }
        let kind = "application/x-www-form-urlencoded".to_owned();
        let fields = [
            ("Content-Type", kind),
            ("Accept", "application/json".to_owned()),
        ];
        Ok(FetchRequest {
            method: Method::POST,
            url: self.document.token_endpoint.clone(),
            fields: fields.into_iter().chain(authorization).collect(),
            body: form::encoded(&form).into(),
        })
    }

    fn authentication(&self) -> Result<ClientAuthentication, String> {
        let Document {
            takes_basic,
            takes_post,
            ..
        } = *self.document;
        match (self.oidc.authentication, takes_basic, takes_post) {
            (Some(said), ..) => Ok(said),
            (None, true, _) => Ok(ClientAuthentication::Basic),
            (None, false, true) => Ok(ClientAuthentication::Post),
            (None, false, false) => {
                Err("it takes no secret of a client, neither in a header nor in a body".to_owned())
            }
        }
    }
}

/// Reads what a token endpoint answers (RFC 6749, sections 5.1 and 5.2).
fn read(status: StatusCode, body: &[u8]) -> Result<Tokens, TokenError> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    match status.as_u16() {
        200 if value.is_object() => Ok(Tokens {
            id_token: text("id_token"),
            is_hint: false,
            refresh_token: text("refresh_token"),
            lifetime: value["expires_in"].as_u64().unwrap_or(LIFETIME),
        }),
        400..=403 => match text("error").as_deref() {
            Some("invalid_grant") => Err(TokenError::Refused(
                "the provider says `invalid_grant`".to_owned(),
            )),
            Some(error) => Err(TokenError::Unavailable(format!(
                "it says `{}` of this client",
                error.escape_debug()
            ))),
            None => Err(TokenError::Unavailable(format!("it answers {status}"))),
        },
        _ => Err(TokenError::Unavailable(format!("it answers {status}"))),
    }
}

/// Judges what an ID token claims (OpenID Connect Core 1.0, sections 3.1.3.7 and 12.2). `now`: in seconds since
/// 1970.
fn judge(
    oidc: &Oidc,
    claims: Claims,
    expected: Expected<'_>,
    now: u64,
) -> Result<Identity, &'static str> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    if text("iss") != Some(&*oidc.issuer) {
        return Err("is of another issuer");
    }
    let is_us = |it: &Value| it.as_str() == Some(&*oidc.client_id);
    let (is_for_us, is_for_others) = match claims.get("aud") {
        Some(Value::Array(all)) => (all.iter().any(is_us), all.len() > 1),
        Some(one) => (is_us(one), false),
        None => (false, false),
    };
    if !is_for_us {
        return Err("is for another client");
    }
    match claims.get("azp") {
        None if is_for_others => return Err("is for several, and does not say who asked for it"),
        Some(azp) if !is_us(azp) => return Err("was asked for by another client"),
        _ => {}
    }
    let (now_f64, leeway) = (now as f64, oidc.leeway.as_secs_f64());
    let until = time("exp").ok_or("has no end")?;
    if now_f64 >= until + leeway {
        return Err("has ended");
    }
    let issued = time("iat").ok_or("does not say when it was made")?;
    if issued > now_f64 + leeway || time("nbf").is_some_and(|it| it > now_f64 + leeway) {
        return Err("is of a time to come");
    }
    let subject = text("sub").filter(|it| !it.is_empty());
    let subject = subject.ok_or("is about nobody")?.to_owned();
    match expected {
        Expected::Login(nonce) if text("nonce") != Some(nonce) => {
            return Err("is of another login");
        }
        Expected::Continued(session) if subject != session.subject => {
            return Err("is about somebody else");
        }
        Expected::Continued(session) if text("nonce").is_some_and(|it| it != session.nonce) => {
            return Err("is of another login");
        }
        _ => {}
    }
    Ok(Identity {
        subject,
        until: until as u64,
        claims,
    })
}

#[cfg(test)]
mod tests;
