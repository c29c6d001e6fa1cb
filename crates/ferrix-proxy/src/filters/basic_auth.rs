//! Basic authentication at work (RFC 7617).
//!
//! A password that was verified is remembered by a digest, for as long as the Secret stays as it is. One that
//! was not costs its hash each time, and so does that of a user who is not there.

use base64::{Engine as _, engine::general_purpose::STANDARD_PAD_INDIFFERENT};
use ferrix_http1::{Fields, RequestHead};
use ferrix_table::filters::basic_auth::{BasicAuth, PasswordHash, Users};
use quick_cache::sync::Cache;

use crate::{
    Engine,
    failure::Failure,
    passwords::{self, Passwords},
    secret_digest::{self, SecretDigest},
};

/// Verified passwords that are remembered of one Secret.
const MOST_VERIFIED: usize = 10_000;

/// Longer ones are no credentials: what a hash takes grows with what is hashed.
const LONGEST: usize = 512;

/// Passwords that were verified, with the names of their users.
struct Verified(Cache<SecretDigest, ()>);

/// What a client knows: its name and its password.
struct Credentials {
    text: Vec<u8>,
    colon: usize,
}

/// Lets a user pass.
///
/// # Errors
/// [`Failure::Unauthenticated`]: it is none. [`Failure::Unresolved`]: nobody knows who there is.
/// [`Failure::PasswordsBusy`]: too many passwords wait to be verified.
pub(crate) async fn check(
    auth: &BasicAuth,
    engine: &Engine,
    head: &mut RequestHead,
) -> Result<(), Failure> {
    let users = auth.users.held.as_ref();
    let users = users.map_err(|_| Failure::Unresolved)?;
    let unknown = || {
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", auth.realm);
        Failure::Unauthenticated(challenge.into())
    };
    let credentials = Credentials::of(&head.fields).ok_or_else(unknown)?;
    if !is_known(users, &credentials, &engine.passwords, passwords::verify).await? {
        return Err(unknown());
    }
    let (name, _) = users.find(credentials.name()).ok_or_else(unknown)?;
    if auth.hide_credentials {
        head.fields.remove("authorization");
    }
    if let Some(header) = &auth.user_header {
        head.fields.set(header, name.as_bytes());
    }
    Ok(())
}

/// `verify`: computes a hash, and compares it.
async fn is_known(
    users: &Users,
    credentials: &Credentials,
    passwords: &Passwords,
    verify: impl FnOnce(&[u8], &PasswordHash) -> bool + Send + 'static,
) -> Result<bool, Failure> {
    let (name, password) = (credentials.name(), credentials.password());
    let verified = users
        .verified
        .get_or_make(|| Verified(Cache::new(MOST_VERIFIED)));
    let digest = secret_digest::of(&[name, password]);
    let is_verified = || {
        verified
            .as_ref()
            .is_some_and(|it| it.0.get(&digest).is_some())
    };
    if is_verified() {
        return Ok(true);
    }
    let permit = passwords.admit().await?;
    // Browsers ask for all of a page at once.
    if is_verified() {
        return Ok(true);
    }
    let user = users.find(name);
    let hash = match user {
        Some((_, hash)) => hash.clone(),
        None => users.any(number(name)).clone(),
    };
    let password = password.to_vec();
    let hashing = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        verify(&password, &hash)
    });
    let is_right = hashing.await.unwrap_or(false) && user.is_some();
    if let Some(verified) = verified.filter(|_| is_right) {
        verified.0.insert(digest, ());
    }
    Ok(is_right)
}

/// The same for the same name, and otherwise chance.
fn number(name: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = secret_digest::of(&[name]);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

impl Credentials {
    /// Those of a request; `None`: it has none, or several.
    fn of(fields: &Fields) -> Option<Self> {
        let mut values = fields.get_all("authorization");
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        let (scheme, encoded) = value.split_at_checked("Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") || encoded.len() > LONGEST.div_ceil(3) * 4 {
            return None;
        }
        let text = STANDARD_PAD_INDIFFERENT.decode(encoded.trim_ascii()).ok()?;
        let colon = text.iter().position(|byte| *byte == b':')?;
        Some(Self { text, colon })
    }

    fn name(&self) -> &[u8] {
        &self.text[..self.colon]
    }

    fn password(&self) -> &[u8] {
        &self.text[self.colon + 1..]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn credentials(values: &[&str]) -> Option<(String, String)> {
        let mut fields = Fields::default();
        for value in values {
            fields.append("Authorization", value.as_bytes());
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let credentials = Credentials::of(&fields)?;
        Some((text(credentials.name()), text(credentials.password())))
    }

    #[test]
    fn credentials_of_requests() {
        let long = format!(
            "Basic {}",
            STANDARD.encode(format!("a:{}", "b".repeat(LONGEST)))
        );
        type Case<'c> = (&'c [&'c str], Option<(&'c str, &'c str)>);
        let cases: [Case<'_>; 12] = [
            (&["Basic YTpi"], Some(("a", "b"))),
            (&["bAsIc YTpi"], Some(("a", "b"))),
            (&["Basic   YTpi "], Some(("a", "b"))),
            (&["Basic YTpiOmM="], Some(("a", "b:c"))),
            (&["Basic YTpiOmM"], Some(("a", "b:c"))),
            (&["Basic Og=="], Some(("", ""))),
            (&[], None),
            (&["Basic YTpi", "Basic YTpi"], None),
            (&["Basic YWI="], None),
            (&["Basic !!!!"], None),
            (&["Bearer YTpi"], None),
            (&[&long], None),
        ];
        for (values, expected) in cases {
            let expected = expected.map(|(name, password)| (name.to_owned(), password.to_owned()));
            assert_eq!(credentials(values), expected, "{values:?}");
        }
    }
    /// A refusal costs one hash, whoever is or is not there: of the form and with the cost of some user's, the
    /// same one each time.
    #[tokio::test]
    async fn a_refusal_costs_the_same_whoever_is_there() {
        const COST: &str = "$2b$04$CCCCCCCCCCCCCCCCCCCCC.4K7lyz.nKATbsiu/RcZjqWyDNnj87qG";
        let user = |name: &str| (name.into(), PasswordHash::Bcrypt(COST.into()));
        let users = Users::new(["alice", "bob"].map(user)).unwrap();
        let passwords = Passwords::new(2);
        let mut ran = 0;
        for name in ["alice", "bob", "mallory", "alic", "alicee", "", "ALICE"] {
            let mut hashed = Vec::new();
            for password in ["wrong", "wrong", "", "another"] {
                let computed: Arc<Mutex<Vec<PasswordHash>>> = Arc::default();
                let noted = Arc::clone(&computed);
                let verify = move |password: &[u8], hash: &PasswordHash| {
                    noted.lock().unwrap().push(hash.clone());
                    passwords::verify(password, hash)
                };
                let credentials = Credentials {
                    text: format!("{name}:{password}").into(),
                    colon: name.len(),
                };
                let known = is_known(&users, &credentials, &passwords, verify).await;
                assert_eq!(known, Ok(false), "{name}");
                let computed = computed.lock().unwrap().clone();
                assert_eq!(computed.len(), 1, "{name}:{password}");
                hashed.extend(computed);
                ran += 1;
            }
            assert!(hashed.iter().all(|hash| *hash == hashed[0]), "{name}");
            assert_eq!(hashed[0], PasswordHash::Bcrypt(COST.into()));
        }
        assert_eq!(ran, 28);
        // Right, even, for a name that is not there: the hash is of somebody, and lets nobody pass.
        let credentials = |name: &str| Credentials {
            text: format!("{name}:secret").into(),
            colon: name.len(),
        };
        for (name, expected) in [("mallory", false), ("alice", true)] {
            let known = is_known(&users, &credentials(name), &passwords, passwords::verify).await;
            assert_eq!(known, Ok(expected), "{name}");
        }
        // What was verified takes no hash.
        let never = |_: &[u8], _: &PasswordHash| panic!();
        let known = is_known(&users, &credentials("alice"), &passwords, never).await;
        assert_eq!(known, Ok(true));
    }
}
