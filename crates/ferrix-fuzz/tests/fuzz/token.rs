//! Tokens, and the keys that they are verified with: a token on the first line, a set of keys on the others.

use ferrix_fuzz::Corpus;
use ferrix_proxy::fuzz::is_signed;
use ferrix_table::{
    filters::jwt::{KeyMaterial, KeySet},
    jwks,
};

const WORDS: &[&str] = &[
    "\n",
    ".",
    "..",
    "=",
    "-",
    "_",
    "e30",
    "eyJhbGciOiJub25lIn0",
    "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsifQ",
    "eyJhbGciOiJFZERTQSIsImNyaXQiOlsiZXhwIl19",
    "{\"keys\": [",
    "]}",
    "{",
    "}",
    ", ",
    "\"kty\": \"RSA\"",
    "\"kty\": \"EC\"",
    "\"kty\": \"OKP\"",
    "\"kty\": \"oct\"",
    "\"crv\": \"P-256\"",
    "\"crv\": \"P-384\"",
    "\"alg\": \"ES256\"",
    "\"alg\": \"none\"",
    "\"use\": \"enc\"",
    "\"key_ops\": [\"verify\"]",
    "\"kid\": null",
    "\"d\": \"AQAB\"",
    "AAAA",
    "null",
    "1e400",
    "\\u0000",
    "\u{e9}",
];

/// The one key, and what it has signed.
const KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "6pryxIemEKl3U83goZQk8sUmXq5DMoKhLdjYN1_VIHs"}]}"#;
const SIGNED: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.eyJzdWIiOiJhbGljZSIsInNjb3BlIjoib3JkZXJzIHJlYWQiLCJleHAiOjQxMDI0NDQ4MDB9";

#[test]
fn token() {
    fuzz!(Corpus::read("token", WORDS), property);
}

fn property(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (token, set) = bytes.split_at(end.unwrap_or(bytes.len()));
    let (known, _) = jwks::parse(KEYS).unwrap();
    if is_signed(&known, token) {
        let token = std::str::from_utf8(token).unwrap();
        let (message, _) = token.rsplit_once('.').unwrap();
        assert_eq!(message, SIGNED, "forged");
    }
    let Ok(set) = std::str::from_utf8(set) else {
        return;
    };
    match jwks::parse(set) {
        Ok((keys, faults)) => usable(&keys, &faults, token),
        Err(why) => assert!(!why.is_empty()),
    }
}

/// Keys that were read are of a length that is safe, and are read again as they were.
fn usable(keys: &KeySet, faults: &[String], token: &[u8]) {
    assert!((1..=64).contains(&keys.keys.len()));
    assert!(faults.iter().all(|fault| fault.starts_with("keys[")));
    for key in &keys.keys {
        match &key.material {
            KeyMaterial::Rsa { n, e } => {
                assert!((256..=1024).contains(&n.len()) && (1..=8).contains(&e.len()));
                assert!(n[0] != 0 && e[0] != 0);
            }
            KeyMaterial::P256(point) => assert!(point.len() == 65 && point[0] == 4),
            KeyMaterial::P384(point) => assert!(point.len() == 97 && point[0] == 4),
            KeyMaterial::Ed25519(key) => assert_eq!(key.len(), 32),
        }
    }
    assert_eq!(jwks::parse(&keys.text).unwrap().0, *keys);
    is_signed(keys, token);
}
