//! Tokens at work (RFC 7519, 8725; RFC 6750 for what clients are told).
//!
//! Claims are remembered once their signature was verified, for as long as the keys stay; what they say is
//! judged with each request. A token names a key and an algorithm, and neither is believed: a key is used with
//! the algorithms of its kind alone.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ferrix_http1::RequestHead;
use ferrix_table::filters::jwt::{
    ClaimHeader, Jwt, KeyMaterial, KeySet, KeySource, RequiredClaim, TokenKey,
};
use jsonwebtoken::{Algorithm, DecodingKey, Header, crypto, decode_header};
use quick_cache::sync::Cache;
use serde_json::{Map, Value};

use super::credentials::{self, Found};
use crate::{
    failure::Failure,
    secret_digest::{self, SecretDigest},
};

/// Tokens that are remembered with their keys…
const MOST_VERIFIED: usize = 4096;

/// …and the longest of them.
const LONGEST_VERIFIED: usize = 4096;

/// What a token claims.
pub(crate) type Claims = Map<String, Value>;

/// Claims by the digests of their tokens.
struct Verified(Cache<SecretDigest, Arc<Claims>>);

/// Why a token lets nobody pass (RFC 6750, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// There is none.
    Missing,
    /// There are several.
    Ambiguous,
    /// It is not valid: forged, of another issuer, for somebody else, or of another time.
    Invalid,
    /// It is valid, and does not say what it has to.
    Insufficient,
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Missing => Self::Unauthenticated("Bearer".into()),
            Denial::Ambiguous => Self::Unauthenticated("Bearer error=\"invalid_request\"".into()),
            Denial::Invalid => Self::Unauthenticated("Bearer error=\"invalid_token\"".into()),
            Denial::Insufficient => Self::Forbidden("Bearer error=\"insufficient_scope\"".into()),
        }
    }
}

/// Lets whoever has a token pass. Returns what it claims, where there is one: it may be optional.
///
/// # Errors
/// [`Failure::Unauthenticated`], [`Failure::Forbidden`]: the token lets nobody pass.
/// [`Failure::Unresolved`], [`Failure::KeysMissing`]: nobody knows the keys.
pub(crate) fn check(jwt: &Jwt, head: &mut RequestHead) -> Result<Option<Arc<Claims>>, Failure> {
    let keys = jwt.keys().map_err(|_| match jwt.keys {
        KeySource::Url { .. } => Failure::KeysMissing,
        _ => Failure::Unresolved,
    })?;
    let token = match token(jwt, head) {
        Found::Nothing if jwt.optional => return Ok(None),
        Found::Nothing => return Err(Denial::Missing.into()),
        Found::Several => return Err(Denial::Ambiguous.into()),
        Found::One(token) => token,
    };
    let claims = verify(keys, &token).ok_or_else(|| {
        if let KeySource::Url { renewal, .. } = &jwt.keys
            && names_unknown_key(keys, &token)
        {
            renewal.ask();
        }
        Denial::Invalid
    })?;
    judge(jwt, &claims, now())?;
    let values = values(&jwt.headers, &claims)?;
    if jwt.hide_credentials {
        match &jwt.place {
            Some(place) => credentials::take_out(place, head),
            None => head.fields.remove("authorization"),
        }
    }
    for (header, value) in values {
        head.fields.set(header, value.as_bytes());
    }
    Ok(Some(claims))
}

/// The token of a request.
fn token<'h>(jwt: &'h Jwt, head: &'h RequestHead) -> Found<'h> {
    if let Some(place) = &jwt.place {
        return credentials::find(place, head);
    }
    let mut values = head.fields.get_all("authorization");
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Found::Several,
        (Some(value), None) => match value.split_at_checked("Bearer ".len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => {
                Found::One(Cow::Borrowed(token.trim_ascii()))
            }
            _ => Found::Nothing,
        },
        (None, _) => Found::Nothing,
    }
}

/// The claims of a token that one of the keys has signed.
fn verify(keys: &KeySet, token: &[u8]) -> Option<Arc<Claims>> {
    let verified = keys
        .verified
        .get_or_make(|| Verified(Cache::new(MOST_VERIFIED)));
    let verified = verified.filter(|_| token.len() <= LONGEST_VERIFIED);
    let digest = secret_digest::of(&[token]);
    if let Some(claims) = verified.as_ref().and_then(|it| it.0.get(&digest)) {
        return Some(claims);
    }
    let claims = Arc::new(signed(keys, token)?);
    if let Some(verified) = verified {
        verified.0.insert(digest, Arc::clone(&claims));
    }
    Some(claims)
}

/// The same, of a token that nothing is remembered of.
pub(crate) fn signed(keys: &KeySet, token: &[u8]) -> Option<Claims> {
    let token = std::str::from_utf8(token).ok()?;
    let header = decode_header(token).ok()?;
    // What it says is critical is not understood (RFC 7515, section 4.1.11).
    if header.crit.is_some() || !is_token(&header) {
        return None;
    }
    let (message, signature) = token.rsplit_once('.')?;
    let mut fitting = keys.keys.iter().filter(|key| fits(key, &header));
    let has_signed = |key: &TokenKey| {
        let key = decoding_key(&key.material);
        crypto::verify(signature, message.as_bytes(), &key, header.alg).unwrap_or(false)
    };
    let (_, claims) = message.split_once('.')?;
    if !fitting.any(has_signed) {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// Whether a token is of a key that is not known, as it may be a new one.
fn names_unknown_key(keys: &KeySet, token: &[u8]) -> bool {
    let header = std::str::from_utf8(token).ok().map(decode_header);
    let Some(Ok(header)) = header else {
        return false;
    };
    header.kid.is_some() && !keys.keys.iter().any(|key| fits(key, &header))
}

/// Whether a token says that it is one for resources (RFC 8725, section 3.11; RFC 9068, section 2.1).
fn is_token(header: &Header) -> bool {
    let Some(kind) = &header.typ else {
        return true;
    };
    let kind = kind.to_ascii_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    matches!(kind, "jwt" | "at+jwt")
}

/// Whether a key may have signed a token. One without a name may have signed any.
fn fits(key: &TokenKey, header: &Header) -> bool {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};

    let name = match header.alg {
        RS256 => "RS256",
        RS384 => "RS384",
        RS512 => "RS512",
        PS256 => "PS256",
        PS384 => "PS384",
        PS512 => "PS512",
        ES256 => "ES256",
        ES384 => "ES384",
        EdDSA => "EdDSA",
        _ => return false,
    };
    let is_of_kind = match key.material {
        KeyMaterial::Rsa { .. } => {
            matches!(header.alg, RS256 | RS384 | RS512 | PS256 | PS384 | PS512)
        }
        KeyMaterial::P256(_) => header.alg == ES256,
        KeyMaterial::P384(_) => header.alg == ES384,
        KeyMaterial::Ed25519(_) => header.alg == EdDSA,
    };
    let is_named = match (&header.kid, &key.id) {
        (Some(named), Some(id)) => **named == **id,
        _ => true,
    };
    is_of_kind && is_named && key.algorithm.as_deref().is_none_or(|it| it == name)
}

fn decoding_key(material: &KeyMaterial) -> DecodingKey {
    match material {
        KeyMaterial::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
        KeyMaterial::P256(point) | KeyMaterial::P384(point) => DecodingKey::from_ec_der(point),
        KeyMaterial::Ed25519(bytes) => DecodingKey::from_ed_der(bytes),
    }
}

/// Judges what a token says. `now`: in seconds since 1970.
fn judge(jwt: &Jwt, claims: &Claims, now: f64) -> Result<(), Denial> {
    let leeway = jwt.leeway.as_secs_f64();
    let time = |name: &str| claims.get(name).map(Value::as_f64);
    // One without an end would be good for ever.
    let ends = time("exp").flatten().ok_or(Denial::Invalid)?;
    let begins = match time("nbf") {
        None => f64::MIN,
        Some(begins) => begins.ok_or(Denial::Invalid)?,
    };
    let is_in_time = now < ends + leeway && now >= begins - leeway;
    let issuer = claims.get("iss").and_then(Value::as_str);
    let is_of_issuer = jwt.issuer.is_none() || jwt.issuer.as_deref() == issuer;
    if !is_in_time || !is_of_issuer || !is_for_us(jwt, claims.get("aud")) {
        return Err(Denial::Invalid);
    }
    match jwt.required.iter().all(|it| has(claims, it)) {
        true => Ok(()),
        false => Err(Denial::Insufficient),
    }
}

/// Whether claims say what they have to.
pub(super) fn has(claims: &Claims, required: &RequiredClaim) -> bool {
    match claim(claims, &required.name) {
        None | Some(Value::Null) => false,
        Some(value) => {
            let mut values = required.values.iter();
            required.values.is_empty() || values.any(|it| says(value, it))
        }
    }
}

/// A token for others is for nobody else (RFC 7519, section 4.1.3).
fn is_for_us(jwt: &Jwt, audience: Option<&Value>) -> bool {
    let is_ours = |it: &Value| {
        jwt.audiences
            .iter()
            .any(|ours| it.as_str() == Some(&**ours))
    };
    match audience {
        None => jwt.audiences.is_empty(),
        Some(Value::Array(all)) => all.iter().any(is_ours),
        Some(one) => is_ours(one),
    }
}

/// A claim of this name, or where the names lead that have dots between them.
pub(crate) fn claim<'c>(claims: &'c Claims, name: &str) -> Option<&'c Value> {
    if let Some(claim) = claims.get(name) {
        return Some(claim);
    }
    let mut names = name.split('.');
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |claim, name| claim.get(name))
}

/// Whether a claim is this, or has it among its items or words.
fn says(claim: &Value, wanted: &str) -> bool {
    match claim {
        Value::String(text) => text == wanted || text.split(' ').any(|word| word == wanted),
        Value::Array(items) => items
            .iter()
            .any(|item| plain(item).is_some_and(|it| it == wanted)),
        other => plain(other).is_some_and(|it| it == wanted),
    }
}

/// A text, a number, or true or false, as a header has it.
fn plain(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The values of headers. What a token does not say, no header tells.
///
/// # Errors
/// It says something that no header can carry, or that would be read as several.
pub(super) fn values<'j>(
    headers: &'j [ClaimHeader],
    claims: &Claims,
) -> Result<Vec<(&'j str, String)>, Denial> {
    let mut values = Vec::with_capacity(headers.len());
    for ClaimHeader { claim, header } in headers {
        let value = match self::claim(claims, claim) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(items)) => {
                let items: Option<Vec<_>> = items.iter().map(plain).collect();
                let items = items.filter(|items| !items.iter().any(|it| it.contains(',')));
                items.map(|items| items.join(","))
            }
            Some(value) => plain(value).map(Cow::into_owned),
        };
        let fits =
            |value: &String| value.trim() == value.as_str() && !value.chars().any(char::is_control);
        let value = value.filter(fits).ok_or(Denial::Insufficient)?;
        values.push((&**header, value));
    }
    Ok(values)
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests;
