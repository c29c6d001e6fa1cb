//! Sets of JWKs (RFC 7517): the public keys of whoever issues tokens.
//!
//! A key that cannot be used costs itself alone, as issuers have keys for other things as well.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{
    filters::jwt::{KeyMaterial, KeySet, TokenKey},
    verification::Prepared,
};

/// Bytes of the shortest modulus that is safe, and of the longest that is of use.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

/// Keys of one set; more are a mistake.
const MOST: usize = 64;

/// Reads a set, with what is wrong with some of its keys.
///
/// # Errors
/// Why it has no key that can be used.
pub fn parse(text: &str) -> Result<(KeySet, Vec<String>), String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let written = value["keys"].as_array().ok_or("it has no list `keys`")?;
    if written.len() > MOST {
        return Err(format!("it has more than {MOST} keys"));
    }
    let (mut keys, mut faults) = (Vec::new(), Vec::new());
    for (place, key) in written.iter().enumerate() {
        match self::key(key) {
            Ok(Some(key)) => keys.push(key),
            Ok(None) => {}
            Err(fault) => faults.push(format!("keys[{place}]: {fault}")),
        }
    }
    if keys.is_empty() {
        let fault = faults.first().map(|fault| format!(": {fault}"));
        let fault = fault.unwrap_or_default();
        return Err(format!(
            "it has no key that tokens can be verified with{fault}"
        ));
    }
    let set = KeySet {
        text: text.into(),
        keys: keys.into(),
        verified: Prepared::default(),
    };
    Ok((set, faults))
}

/// `None`: it is for something else (RFC 7517, sections 4.2 and 4.3).
fn key(key: &Value) -> Result<Option<TokenKey>, String> {
    let text = |name: &str| key[name].as_str();
    let verifies = |operations: &Vec<Value>| operations.iter().any(|it| it == "verify");
    if text("use").is_some_and(|it| it != "sig")
        || key["key_ops"].as_array().is_some_and(|it| !verifies(it))
    {
        return Ok(None);
    }
    if !key["d"].is_null() {
        return Err("it is a private key, which belongs to nobody but the issuer".to_owned());
    }
    let bytes = |name: &str| {
        let text = text(name).ok_or_else(|| format!("`{name}` is missing"))?;
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        bytes.map_err(|_| format!("`{name}` is no base64url"))
    };
    let point = |length: usize| -> Result<Box<[u8]>, String> {
        let (x, y) = (bytes("x")?, bytes("y")?);
        match x.len() == length && y.len() == length {
            true => Ok([&[4][..], &x, &y].concat().into()),
            false => Err(format!("`x` and `y` are not of {length} bytes")),
        }
    };
    let curve = text("crv").unwrap_or_default();
    let (material, algorithms): (_, &[&str]) = match (text("kty").unwrap_or_default(), curve) {
        ("RSA", _) => {
            let (n, e) = (without_zeros(bytes("n")?), without_zeros(bytes("e")?));
            if !MODULUS.contains(&n.len()) || !(1..=8).contains(&e.len()) {
                return Err("the modulus is not from 2048 to 8192 bits".to_owned());
            }
            let algorithms = &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
            (KeyMaterial::Rsa { n, e }, algorithms)
        }
        ("EC", "P-256") => (KeyMaterial::P256(point(32)?), &["ES256"]),
        ("EC", "P-384") => (KeyMaterial::P384(point(48)?), &["ES384"]),
        ("OKP", "Ed25519") => {
            let x = bytes("x")?;
            if x.len() != 32 {
                return Err("`x` is not of 32 bytes".to_owned());
            }
            (KeyMaterial::Ed25519(x.into()), &["EdDSA"])
        }
        ("oct", _) => {
            return Err(
                "it is a secret that issuer and verifier share; expected a public key".to_owned(),
            );
        }
        (kind, curve) => {
            return Err(format!(
                "`{kind} {curve}` is not supported; expected RSA, EC with P-256 or P-384, or OKP with Ed25519"
            ));
        }
    };
    let algorithm = text("alg");
    if let Some(other) = algorithm.filter(|it| !algorithms.contains(it)) {
        return Err(format!(
            "`{other}` is no algorithm for it; expected {}",
            algorithms.join(", ")
        ));
    }
    Ok(Some(TokenKey {
        id: text("kid").map(Into::into),
        algorithm: algorithm.map(Into::into),
        material,
    }))
}

/// A number without the zeros that it may begin with.
fn without_zeros(bytes: Vec<u8>) -> Box<[u8]> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn encoded(length: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![0x81; length])
    }

    #[test]
    fn keys_of_a_set() {
        let (word, long) = (encoded(32), encoded(256));
        let rsa = |more: Value| {
            let mut key = json!({"kty": "RSA", "n": long, "e": "AQAB"});
            key.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            key
        };
        let good = [
            rsa(json!({"kid": "a", "alg": "RS256", "use": "sig"})),
            rsa(json!({"n": format!("AA{long}"), "key_ops": ["verify"]})),
            json!({"kty": "EC", "crv": "P-256", "x": word, "y": word}),
            json!({"kty": "EC", "crv": "P-384", "x": encoded(48), "y": encoded(48)}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": word}),
        ];
        let bad = [
            rsa(json!({"n": encoded(255)})),
            rsa(json!({"n": encoded(2000)})),
            rsa(json!({"e": "!"})),
            rsa(json!({"d": "AQAB"})),
            rsa(json!({"alg": "HS256"})),
            rsa(json!({"alg": "none"})),
            rsa(json!({"alg": "ES256"})),
            json!({"kty": "EC", "crv": "P-256", "x": word}),
            json!({"kty": "EC", "crv": "P-256", "x": word, "y": encoded(31)}),
            json!({"kty": "EC", "crv": "secp256k1", "x": word, "y": word}),
            json!({"kty": "OKP", "crv": "X25519", "x": word}),
            json!({"kty": "oct", "k": "AQAB"}),
            json!("key"),
        ];
        let others = [
            rsa(json!({"use": "enc"})),
            rsa(json!({"key_ops": ["sign"]})),
        ];
        for key in &good {
            let set = json!({"keys": [key, bad[0]]}).to_string();
            let (set, faults) = parse(&set).unwrap();
            assert_eq!((set.keys.len(), faults.len()), (1, 1), "{key}");
        }
        for key in &bad {
            let set = json!({"keys": [good[0], key]}).to_string();
            let (set, faults) = parse(&set).unwrap();
            assert_eq!((set.keys.len(), faults.len()), (1, 1), "{key}");
            assert!(faults[0].starts_with("keys[1]: "), "{}", faults[0]);
        }
        for key in &others {
            let set = json!({"keys": [key]}).to_string();
            assert!(parse(&set).is_err());
        }
        let all = good.iter().chain(&bad).chain(&others).collect::<Vec<_>>();
        let (set, faults) = parse(&json!({"keys": all}).to_string()).unwrap();
        assert_eq!((set.keys.len(), faults.len()), (5, 13));
        assert_eq!(set.keys[0].id.as_deref(), Some("a"));
        for text in ["", "{}", "[]", "{\"keys\": []}", "{\"keys\": 1}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
