//! Passwords and their hashes, which take long on purpose: so they are computed beside the workers, and no
//! more of them at once than leaves processors to requests.

use std::sync::Arc;

use ferrix_table::filters::basic_auth::PasswordHash;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{failure::Failure, secret_digest};

mod apr1;

/// So many wait for others; who comes then is refused at once.
const MOST_WAITING: usize = 64;

/// Bounds what hashes may take of the machine.
#[derive(Debug)]
pub(crate) struct Passwords {
    at_once: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Passwords {
    /// Beside so many workers: no more than half of them at once.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            at_once: Arc::new(Semaphore::new((workers / 2).max(1))),
            waiting: Semaphore::new(MOST_WAITING),
        }
    }

    /// Permission to compute a hash, once there is one.
    ///
    /// # Errors
    /// [`Failure::PasswordsBusy`]: too many others wait.
    pub(crate) async fn admit(&self) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(permit) = Arc::clone(&self.at_once).try_acquire_owned() {
            return Ok(permit);
        }
        let _place = (self.waiting.try_acquire()).map_err(|_| Failure::PasswordsBusy)?;
        let permit = Arc::clone(&self.at_once).acquire_owned().await;
        permit.map_err(|_| Failure::PasswordsBusy)
    }
}

/// Whether a password is the one that was hashed.
pub(crate) fn verify(password: &[u8], hash: &PasswordHash) -> bool {
    match hash {
        PasswordHash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
        PasswordHash::ShaCrypt(hash) => ShaCrypt::default()
            .verify_password(password, &**hash)
            .is_ok(),
        PasswordHash::Apr1 { salt, digest } => {
            let computed = apr1::digest(password, salt.as_bytes());
            same(computed.as_bytes(), digest.as_bytes())
        }
        PasswordHash::Plain(it) => same(password, it.as_bytes()),
    }
}

/// Compares in a time that tells nothing of either.
fn same(one: &[u8], other: &[u8]) -> bool {
    secret_digest::of(&[one]) == secret_digest::of(&[other])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_those_that_were_hashed() {
        let apr1 = |salt: &str, digest: &str| PasswordHash::Apr1 {
            salt: salt.into(),
            digest: digest.into(),
        };
        // By `htpasswd` and `openssl passwd`, and from the specification of SHA-crypt.
        let cases = [
            (
                "U*U",
                PasswordHash::Bcrypt(
                    "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".into(),
                ),
            ),
            (
                "Hello world!",
                PasswordHash::ShaCrypt(
                    "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5".into(),
                ),
            ),
            (
                "Hello world!",
                PasswordHash::ShaCrypt(
                    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1".into(),
                ),
            ),
            ("myPassword", apr1("r31.....", "HqJZimcKQFAMYayBlzkrA/")),
            ("secret", PasswordHash::Plain("secret".into())),
        ];
        let mut ran = 0;
        for (password, hash) in &cases {
            assert!(verify(password.as_bytes(), hash), "{hash:?}");
            let others = ["", "x", "U*U*", "hello world!", "mypassword", "secret2"];
            for other in others {
                assert!(!verify(other.as_bytes(), hash), "{other} {hash:?}");
                ran += 1;
            }
        }
        assert_eq!(ran, 30);
    }

    /// Of bcrypt the first 72 bytes count, and nothing ends a password before.
    #[test]
    fn bytes_of_passwords() {
        let x = |count: usize| vec![b'x'; count];
        let cases = [
            (x(72), x(72), true),
            (x(72), x(73), true),
            (x(73), x(72), true),
            (x(72), x(71), false),
            (b"a\0b".to_vec(), b"a\0b".to_vec(), true),
            (b"a\0b".to_vec(), b"a\0c".to_vec(), false),
            (b"a\0b".to_vec(), b"a".to_vec(), false),
            (b"a".to_vec(), b"a\0b".to_vec(), false),
            (b"\xff\xfe".to_vec(), b"\xff\xfe".to_vec(), true),
            (b"\xff\xfe".to_vec(), b"\xff\xff".to_vec(), false),
        ];
        for (hashed, password, expected) in &cases {
            let hash = bcrypt::hash_with_salt(hashed, 4, [7; 16]).unwrap();
            let hash = PasswordHash::Bcrypt(hash.to_string().into());
            assert_eq!(
                verify(password, &hash),
                *expected,
                "{hashed:?} {password:?}"
            );
        }
        assert_eq!(cases.len(), 10);
    }

    #[tokio::test]
    async fn hashes_wait_for_each_other_and_not_for_ever() {
        let passwords = Arc::new(Passwords::new(4));
        let first = passwords.admit().await.unwrap();
        let second = passwords.admit().await.unwrap();
        let waiting: Vec<_> = (0..MOST_WAITING)
            .map(|_| {
                let passwords = Arc::clone(&passwords);
                tokio::spawn(async move { passwords.admit().await.map(drop) })
            })
            .collect();
        while passwords.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = passwords.admit().await.map(drop);
        assert_eq!(refused, Err(Failure::PasswordsBusy));
        drop((first, second));
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Ok(()));
        }
        assert!(passwords.admit().await.is_ok());
    }
}
