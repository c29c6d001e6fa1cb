//! What clients keep and can neither read nor change: sealed by a key that all replicas have.

use std::sync::Arc;

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ferrix_table::filters::oidc::OidcSecrets;

/// Seals by AES-256-GCM-SIV (RFC 8452), which takes no harm where a nonce comes up twice.
pub(super) struct Seal(RandomizedNonceKey);

impl Seal {
    /// That of a Secret. `None`: it was made something else of.
    pub(super) fn of(secrets: &OidcSecrets) -> Option<Arc<Self>> {
        secrets
            .prepared
            .get_or_make(|| Self::new(&secrets.session_key))
    }

    fn new(session_key: &[u8]) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"ferrix oidc");
        let mut key = [0; 32];
        let expanded = salt.extract(session_key);
        let expanded = expanded.expand(&[b"cookies"], hkdf::HKDF_SHA256);
        let made = expanded.and_then(|it| it.fill(&mut key));
        let made = made.and_then(|()| RandomizedNonceKey::new(&AES_256_GCM_SIV, &key));
        Self(made.expect("a key of 32 bytes is one of this algorithm"))
    }

    /// Seals bytes for one purpose, in the characters of base64url.
    pub(super) fn close(&self, purpose: &[u8], bytes: Vec<u8>) -> String {
        let mut sealed = bytes;
        let nonce = (self.0).seal_in_place_append_tag(Aad::from(purpose), &mut sealed);
        let nonce = nonce.expect("the library makes random bytes, and cookies are short");
        URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &sealed].concat())
    }

    /// `None`: nobody with this key has sealed it, or for something else.
    pub(super) fn open(&self, purpose: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut opened = sealed.to_vec();
        let opened = (self.0).open_in_place(nonce, Aad::from(purpose), &mut opened);
        Some(opened.ok()?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_by_its_key_for_its_purpose_alone() {
        let key = Seal::new(&[1; 32]);
        let sealed = key.close(b"session", b"alice".to_vec());
        assert_eq!(key.open(b"session", sealed.as_bytes()).unwrap(), b"alice");
        assert_eq!(
            Seal::new(&[1; 32])
                .open(b"session", sealed.as_bytes())
                .unwrap(),
            b"alice"
        );
        assert_ne!(sealed, key.close(b"session", b"alice".to_vec()));
        assert!(key.open(b"login", sealed.as_bytes()).is_none());
        assert!(
            Seal::new(&[2; 32])
                .open(b"session", sealed.as_bytes())
                .is_none()
        );
        let mut ran = 0;
        for place in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert!(key.open(b"session", &changed).is_none(), "{place}");
            assert!(
                key.open(b"session", &sealed.as_bytes()[..place]).is_none(),
                "{place}"
            );
            ran += 1;
        }
        assert_eq!(ran, 44);
        for odd in [&b""[..], b"!", b"AAAA", "ä".as_bytes()] {
            assert!(key.open(b"session", odd).is_none());
        }
    }
}
