//! Digests of what is secret, by which it is looked for and compared.
//!
//! They are keyed by bytes that nobody knows, new in each process: what a comparison of two takes tells
//! nothing of what they are of, and none can be made outside.

use std::sync::LazyLock;

use aws_lc_rs::{hmac, rand::SystemRandom};

/// HMAC with SHA-256.
pub(crate) type SecretDigest = [u8; 32];

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
    let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
    key.expect("the library makes random bytes, or ends the process")
});

#[cfg(test)]
thread_local! {
    /// How many were made on this thread.
    pub(crate) static MADE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// That of some parts, which others cannot be run into.
pub(crate) fn of(parts: &[&[u8]]) -> SecretDigest {
    #[cfg(test)]
    MADE.set(MADE.get() + 1);
    let mut context = hmac::Context::with_key(&KEY);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.sign().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_apart() {
        assert_eq!(of(&[b"ab", b"c"]), of(&[b"ab", b"c"]));
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"abc"]), of(&[b"abc", b""]));
    }
}
