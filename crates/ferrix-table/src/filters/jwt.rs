//! JSON Web Tokens (RFC 7519): who may pass, by what an issuer has signed.

use std::{fmt, sync::Arc, time::Duration};

use super::{api_key::CredentialPlace, from_object::FromObject};
use crate::{object::Key, verification::Prepared};

/// Who may pass: whoever has a token that one of these keys has signed, and that says what it has to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// The keys.
    pub keys: KeySource,
    /// Where requests have the token. `None`: in `Authorization`, as `Bearer`.
    pub place: Option<CredentialPlace>,
    /// Who has to have issued it. `None`: anybody who has a key.
    pub issuer: Option<Box<str>>,
    /// It has to be for one of these. None: it is for nobody in particular.
    pub audiences: Box<[Box<str>]>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// What it has to say besides, or the request is refused as one without the right to pass.
    pub required: Box<[RequiredClaim]>,
    /// What the service is told of it. What clients send of these fields is taken out.
    pub headers: Box<[ClaimHeader]>,
    /// Whether requests without a token pass as well, and nothing is told of them.
    pub optional: bool,
    /// Whether the service does not get the token.
    pub hide_credentials: bool,
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// They are written in the object.
    Inline(Arc<KeySet>),
    /// They are in an entry of a Secret or a ConfigMap.
    Object {
        /// What it holds.
        keys: FromObject<KeySet>,
        /// The entry.
        entry: Box<str>,
    },
    /// They are fetched from a URL, now and then.
    Url {
        /// The URL.
        url: Arc<str>,
        /// The field that names it.
        field: Box<str>,
        /// What was fetched last.
        held: HeldKeys,
        /// For whoever misses a key.
        renewal: Renewal,
    },
}

/// Keys, or why there are none, for logs and `explain`: then no request passes.
pub type HeldKeys = Result<Arc<KeySet>, Arc<str>>;

/// Asks for keys to be fetched before it is time, as a token names one that is not known.
#[derive(Clone, Default)]
pub struct Renewal(Option<Arc<dyn Fn() + Send + Sync>>);

impl Renewal {
    /// Done by this, which has to be quick however often it is asked for.
    pub fn new(ask: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    /// Asks for it.
    pub fn ask(&self) {
        if let Some(ask) = &self.0 {
            ask();
        }
    }
}

impl PartialEq for Renewal {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

impl Eq for Renewal {}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewal")
    }
}

/// Keys of an issuer (RFC 7517). At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// As they were written.
    pub text: Box<str>,
    /// Those that tokens are verified with.
    pub keys: Box<[TokenKey]>,
    /// For whoever verifies tokens: what was verified is forgotten with these keys.
    pub verified: Prepared,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKey {
    /// What tokens call it (`kid`).
    pub id: Option<Box<str>>,
    /// The one algorithm that it is for (`alg`). `None`: all of its kind.
    pub algorithm: Option<Box<str>>,
    /// The key itself.
    pub material: KeyMaterial,
}

/// A public key by its kind, in bytes without a sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMaterial {
    /// Modulus and exponent.
    Rsa {
        /// The modulus.
        n: Box<[u8]>,
        /// The exponent.
        e: Box<[u8]>,
    },
    /// A point of P-256, not compressed.
    P256(Box<[u8]>),
    /// A point of P-384, not compressed.
    P384(Box<[u8]>),
    /// Ed25519.
    Ed25519(Box<[u8]>),
}

/// Something that tokens have to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredClaim {
    /// The claim: its name, or the names that lead to it with dots between.
    pub name: Box<str>,
    /// It has to have one of these values. None: any.
    pub values: Box<[Box<str>]>,
}

/// A field that tells a service what a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimHeader {
    /// The claim: see [`RequiredClaim::name`].
    pub claim: Box<str>,
    /// The field.
    pub header: Box<str>,
}

impl Jwt {
    /// The keys, or why there are none.
    pub fn keys(&self) -> Result<&Arc<KeySet>, &Arc<str>> {
        match &self.keys {
            KeySource::Inline(keys) => Ok(keys),
            KeySource::Object { keys, .. } => keys.held.as_ref(),
            KeySource::Url { held, .. } => held.as_ref(),
        }
    }

    /// The object with the keys.
    pub(super) fn named(&self) -> Option<&Key> {
        match &self.keys {
            KeySource::Object { keys, .. } => Some(&keys.named),
            KeySource::Inline(_) | KeySource::Url { .. } => None,
        }
    }
}

/// `tokens of https://id.example.com for shop, by keys of Secret shop/keys, sub as X-User`.
impl fmt::Display for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.optional {
            "perhaps tokens"
        } else {
            "tokens"
        })?;
        if let Some(issuer) = &self.issuer {
            write!(f, " of {issuer}")?;
        }
        if !self.audiences.is_empty() {
            write!(f, " for {}", self.audiences.join(", "))?;
        }
        match &self.keys {
            KeySource::Inline(_) => f.write_str(", by keys of its own")?,
            KeySource::Object { keys, .. } => write!(f, ", by keys of {}", keys.named)?,
            KeySource::Url { url, .. } => write!(f, ", by keys of {url}")?,
        }
        write_claims(f, &self.required, &self.headers)
    }
}

/// `, with groups staff, email as X-Email`.
pub(super) fn write_claims(
    f: &mut fmt::Formatter<'_>,
    required: &[RequiredClaim],
    headers: &[ClaimHeader],
) -> fmt::Result {
    for RequiredClaim { name, values } in required {
        match values.is_empty() {
            true => write!(f, ", with {name}")?,
            false => write!(f, ", with {name} {}", values.join(" or "))?,
        }
    }
    for ClaimHeader { claim, header } in headers {
        write!(f, ", {claim} as {header}")?;
    }
    Ok(())
}
