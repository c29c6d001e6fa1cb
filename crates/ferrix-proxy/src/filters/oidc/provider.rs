//! Providers, by what they say of themselves (OpenID Connect Discovery 1.0) and the keys that they sign with.
//!
//! Nothing is asked before a login asks for it. What a provider has said is believed for a while, asked for anew
//! beside those who use it, and outlives failures.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use ferrix_table::{filters::jwt::KeySet, jwks};
use http::Uri;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::session::Session;
use crate::{
    fetch::{FetchError, Fetcher},
    secret_digest::SecretDigest,
};

/// What a provider has said is asked for anew once it is older.
const FRESH: Duration = Duration::from_secs(600);

/// Between two attempts, whatever asks for them.
const PAUSE: Duration = Duration::from_secs(1);

/// Providers that nobody has asked for so long are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Sessions that were continued and are remembered, as requests with what they were before are still to come.
const MOST_CONTINUED: usize = 1024;

/// So much is asked of one provider at once; what comes then is refused. One that takes its time, or whose clients are
/// many, keeps nobody from another.
const AT_ONCE: usize = 128;

/// All providers that users log in at.
pub(crate) struct Providers {
    fetcher: Arc<Fetcher>,
    /// By issuer.
    known: Mutex<HashMap<Box<str>, Arc<Provider>>>,
}

/// One provider.
pub(crate) struct Provider {
    issuer: Box<str>,
    pub(super) fetcher: Arc<Fetcher>,
    known: Mutex<Known>,
    /// Held by whoever asks it for its document.
    asking: tokio::sync::Mutex<()>,
    at_once: Arc<Semaphore>,
    /// What became of sessions, by digests of the tokens that continued them: why they have ended, or what they
    /// are now.
    pub(super) continued: Cache<SecretDigest, Result<Arc<Session>, String>>,
}

#[derive(Default)]
struct Known {
    /// The last good one.
    document: Option<Arc<Document>>,
    /// When it was asked last, and why that came to nothing.
    asked: Option<(Instant, Option<ProviderError>)>,
}

/// What a provider says of itself, as far as it matters.
#[derive(Debug)]
pub(crate) struct Document {
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: Uri,
    pub(super) end_session_endpoint: Option<String>,
    /// How clients may tell it their secrets.
    pub(super) takes_basic: bool,
    pub(super) takes_post: bool,
    /// Whether it names itself where it sends browsers back (RFC 9207).
    pub(super) names_itself: bool,
    pub(super) keys: KeySet,
    since: Instant,
}

/// Why nothing is known of a provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {why}")]
pub(crate) struct ProviderError {
    url: String,
    why: String,
}

impl Providers {
    pub(crate) fn new(fetcher: Arc<Fetcher>) -> Self {
        Self {
            fetcher,
            known: Mutex::default(),
        }
    }

    /// The provider of an issuer.
    pub(super) fn of(&self, issuer: &str) -> Arc<Provider> {
        let mut known = self.known.lock();
        if let Some(provider) = known.get(issuer) {
            return Arc::clone(provider);
        }
        known.retain(|_, provider| !provider.is_forgotten());
        let provider = Arc::new(Provider {
            issuer: issuer.into(),
            fetcher: Arc::clone(&self.fetcher),
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            continued: Cache::new(MOST_CONTINUED),
        });
        known.insert(issuer.into(), Arc::clone(&provider));
        provider
    }
}

impl Provider {
    /// Does something on the thread that asks providers.
    ///
    /// # Errors
    /// [`FetchError::Busy`], [`FetchError::Thread`]: it is not done.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, FetchError> {
        let permit = Arc::clone(&self.at_once).try_acquire_owned();
        let permit = permit.map_err(|_| FetchError::Busy)?;
        let working = async move {
            let _permit = permit;
            work.await
        };
        self.fetcher.run(working).await
    }

    fn is_forgotten(&self) -> bool {
        let asked = &self.known.lock().asked;
        asked
            .as_ref()
            .is_some_and(|(asked, _)| asked.elapsed() > FORGOTTEN)
    }

    fn document_so_far(&self) -> Option<Arc<Document>> {
        self.known.lock().document.clone()
    }

    /// What the provider has said of itself not long ago.
    pub(super) fn fresh(&self) -> Option<Arc<Document>> {
        let document = self.document_so_far();
        document.filter(|it| it.since.elapsed() < FRESH)
    }

    /// What the provider says of itself, from the thread that asks it.
    ///
    /// # Errors
    /// It has never said anything of use.
    pub(super) async fn document(self: &Arc<Self>) -> Result<Arc<Document>, ProviderError> {
        let Some(document) = self.document_so_far() else {
            return self.ask().await;
        };
        if self.fresh().is_none() && self.asking.try_lock().is_ok() {
            let provider = Arc::clone(self);
            tokio::spawn(async move { provider.ask().await });
        }
        Ok(document)
    }

    /// What it says now, where that is not what it has said before.
    ///
    /// # Errors
    /// See [`Provider::document`].
    pub(super) async fn document_after(
        &self,
        before: &Arc<Document>,
    ) -> Result<Arc<Document>, ProviderError> {
        let known = self.document_so_far();
        match known.filter(|known| !Arc::ptr_eq(known, before)) {
            Some(newer) => Ok(newer),
            None => self.ask().await,
        }
    }

    /// Asks it, unless somebody has just done so. What it has said last is good enough where it fails.
    async fn ask(&self) -> Result<Arc<Document>, ProviderError> {
        let _turn = self.asking.lock().await;
        if !self.was_just_asked() {
            let said = discover(&self.fetcher, &self.issuer).await;
            let mut known = self.known.lock();
            let failure = match said {
                Ok(document) => {
                    known.document = Some(Arc::new(document));
                    None
                }
                Err(failure) => {
                    let issuer = &self.issuer;
                    tracing::warn!(%issuer, %failure, "the identity provider says nothing of use");
                    Some(failure)
                }
            };
            known.asked = Some((Instant::now(), failure));
        }
        let known = self.known.lock();
        let failure = || {
            known
                .asked
                .as_ref()
                .and_then(|(_, failure)| failure.clone())
        };
        match (&known.document, failure()) {
            (Some(document), _) => Ok(Arc::clone(document)),
            (None, failure) => Err(failure.unwrap_or_else(|| self.error("nothing is known of it"))),
        }
    }

    fn was_just_asked(&self) -> bool {
        let asked = &self.known.lock().asked;
        asked
            .as_ref()
            .is_some_and(|(asked, _)| asked.elapsed() < PAUSE)
    }

    fn error(&self, why: &str) -> ProviderError {
        ProviderError {
            url: self.issuer.to_string(),
            why: why.to_owned(),
        }
    }
}

/// Asks a provider for what it says of itself, and for its keys.
async fn discover(fetcher: &Fetcher, issuer: &str) -> Result<Document, ProviderError> {
    let url = format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    );
    let in_document = |why: String| ProviderError {
        url: url.clone(),
        why,
    };
    let text = get(fetcher, &url).await?;
    let (mut document, keys) = read(issuer, &text).map_err(in_document)?;
    let text = get(fetcher, &keys).await?;
    let keys = jwks::parse(&text).map_err(|why| ProviderError { url: keys, why })?;
    (document.keys, _) = keys;
    Ok(document)
}

async fn get(fetcher: &Fetcher, url: &str) -> Result<String, ProviderError> {
    let fetched = fetcher.text(url).await;
    fetched.map_err(|error| ProviderError {
        url: url.to_owned(),
        why: error.to_string(),
    })
}

/// Reads what a provider says of itself, without its keys, and where these are.
fn read(issuer: &str, text: &str) -> Result<(Document, String), String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    // Whoever can answer for one issuer cannot answer for another (section 4.3).
    match value["issuer"].as_str() {
        Some(it) if it == issuer => {}
        Some(other) => return Err(format!("it is of `{other}`, and not of `{issuer}`")),
        None => return Err("it has no `issuer`".to_owned()),
    }
    let secure = issuer.starts_with("https:");
    let endpoint = |name: &str| -> Result<Option<String>, String> {
        let Some(text) = value[name].as_str() else {
            return Ok(None);
        };
        let url: Option<Uri> = text.parse().ok();
        let fits = url.is_some_and(|url| match url.scheme_str() {
            Some("https") => true,
            Some("http") => !secure,
            _ => false,
        });
        match fits && !text.contains('#') {
            true => Ok(Some(text.to_owned())),
            false => Err(format!(
                "`{name}` is no URL that a provider may have: {text}"
            )),
        }
    };
    let needed = |name: &str| endpoint(name)?.ok_or_else(|| format!("it has no `{name}`"));
    let methods = value["token_endpoint_auth_methods_supported"].as_array();
    let takes = |method: &str, by_default: bool| match methods {
        None => by_default,
        Some(methods) => methods.iter().any(|it| it == method),
    };
    let token_endpoint = needed("token_endpoint")?.parse();
    let document = Document {
        authorization_endpoint: needed("authorization_endpoint")?,
        token_endpoint: token_endpoint.map_err(|_| "`token_endpoint` is no URL".to_owned())?,
        end_session_endpoint: endpoint("end_session_endpoint")?,
        takes_basic: takes("client_secret_basic", true),
        takes_post: takes("client_secret_post", false),
        names_itself: value["authorization_response_iss_parameter_supported"] == true,
        keys: KeySet {
            text: Box::default(),
            keys: Box::default(),
            verified: Default::default(),
        },
        since: Instant::now(),
    };
    Ok((document, needed("jwks_uri")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(issuer: &str, change: Value) -> Value {
        let mut said = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/auth?a=b"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
        });
        let change = change.as_object().unwrap().clone();
        said.as_object_mut().unwrap().extend(change);
        said
    }

    #[tokio::test]
    async fn a_provider_that_takes_its_time_keeps_nobody_from_another() {
        let settings = crate::settings::Settings::default();
        let fetcher = Fetcher::new(&Arc::new(settings));
        let providers = Providers::new(Arc::new(fetcher));
        let (slow, other) = (providers.of("https://slow"), providers.of("https://other"));
        let asked: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let slow = Arc::clone(&slow);
                tokio::spawn(async move { slow.run(std::future::pending::<()>()).await })
            })
            .collect();
        while slow.at_once.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(slow.run(async {}).await, Err(FetchError::Busy)));
        assert!(other.run(async {}).await.is_ok());
        asked.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[test]
    fn what_providers_say_of_themselves() {
        let issuer = "https://id.example.com/realms/a";
        let (document, keys) = read(issuer, &said(issuer, json!({})).to_string()).unwrap();
        assert_eq!(keys, format!("{issuer}/keys"));
        assert!(document.takes_basic && !document.takes_post && !document.names_itself);
        assert_eq!(document.end_session_endpoint, None);
        let methods = json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]});
        let (document, _) = read(issuer, &said(issuer, methods).to_string()).unwrap();
        assert!(!document.takes_basic && document.takes_post);
        let plain = "http://id.example.com";
        assert!(read(plain, &said(plain, json!({})).to_string()).is_ok());
        let cases = [
            (
                json!({"issuer": "https://id.example.com"}),
                "is of `https://id.example.com`",
            ),
            (json!({"issuer": format!("{issuer}/")}), "and not of"),
            (json!({"issuer": null}), "has no `issuer`"),
            (
                json!({"token_endpoint": "http://id.example.com/token"}),
                "`token_endpoint` is no URL",
            ),
            (
                json!({"jwks_uri": "http://id.example.com/keys"}),
                "`jwks_uri` is no URL",
            ),
            (
                json!({"end_session_endpoint": "javascript:alert(1)"}),
                "is no URL that a provider may have",
            ),
            (
                json!({"authorization_endpoint": "/auth"}),
                "is no URL that a provider may have",
            ),
            (
                json!({"authorization_endpoint": "https://a/auth#b"}),
                "is no URL that a provider may have",
            ),
            (json!({"token_endpoint": null}), "has no `token_endpoint`"),
            (json!({"jwks_uri": 1}), "has no `jwks_uri`"),
        ];
        for (change, expected) in &cases {
            let why = read(issuer, &said(issuer, change.clone()).to_string()).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        assert_eq!(cases.len(), 10);
        assert!(read(issuer, "<html>").is_err());
    }
}
