//! Digests of what is secret, by which it is looked for and compared.
//!
//! They are keyed by bytes that nobody knows, new in each process: what a comparison of two takes tells
//! nothing of what they are of, and none can be made outside.

use std::sync::LazyLock;

use aws_lc_rs::rand;
use sha2::{Digest, Sha256};

/// SHA-256 of the key and of what is digested.
///
/// It is no HMAC, which hashes three blocks more: that keeps others from lengthening what they know the digest
/// of, and no digest leaves the process.
pub(crate) type SecretDigest = [u8; 32];

/// What has taken in the key, of the length of a block.
static KEYED: LazyLock<Sha256> = LazyLock::new(|| {
    let mut key = [0; 64];
    rand::fill(&mut key).expect("the library makes random bytes, or ends the process");
    Sha256::new_with_prefix(key)
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
    let mut context = KEYED.clone();
    for part in parts {
        context.update((part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finalize().into()
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
