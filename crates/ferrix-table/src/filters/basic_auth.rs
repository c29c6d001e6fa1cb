//! Basic authentication (RFC 7617): users that may pass, by their passwords.

use std::fmt;

use super::from_object::FromObject;
use crate::verification::Prepared;

/// Who may pass: users that know their password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The users.
    pub users: FromObject<Users>,
    /// What the client is told that the password is for: printable ASCII without `"` and `\`.
    pub realm: Box<str>,
    /// The field that tells the service the name of the user. What clients send of it is taken out.
    pub user_header: Option<Box<str>>,
    /// Whether the service gets no `Authorization`.
    pub hide_credentials: bool,
}

/// Users, each with the hash of the password. At least one.
#[derive(Clone, PartialEq, Eq)]
pub struct Users {
    /// By name, each once.
    sorted: Box<[(Box<str>, PasswordHash)]>,
    /// For whoever verifies passwords: what was verified is forgotten with these users.
    pub verified: Prepared,
}

/// What is known of a password.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash {
    /// `$2a$`, `$2b$` or `$2y$`.
    Bcrypt(Box<str>),
    /// SHA-crypt: `$5$` or `$6$`.
    ShaCrypt(Box<str>),
    /// MD5 as Apache has it: salt and digest of `$apr1$SALT$DIGEST`.
    Apr1 {
        /// Up to eight characters.
        salt: Box<str>,
        /// 22 characters.
        digest: Box<str>,
    },
    /// The password itself.
    Plain(Box<str>),
}

impl Users {
    /// `None`: there are none. Of several of one name the first counts.
    pub fn new(users: impl IntoIterator<Item = (Box<str>, PasswordHash)>) -> Option<Self> {
        let mut sorted: Vec<_> = users.into_iter().collect();
        sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
        sorted.dedup_by(|(one, _), (other, _)| one == other);
        (!sorted.is_empty()).then(|| Self {
            sorted: sorted.into(),
            verified: Prepared::default(),
        })
    }

    /// A user of this name.
    pub fn find(&self, name: &[u8]) -> Option<(&str, &PasswordHash)> {
        let place = (self.sorted).binary_search_by(|(it, _)| it.as_bytes().cmp(name));
        let (name, hash) = &self.sorted[place.ok()?];
        Some((name, hash))
    }

    /// The hash of some user: the same for the same number. What is verified by it costs what it would of
    /// that user, so that nobody learns who there is by the time that a refusal takes.
    pub fn any(&self, number: u64) -> &PasswordHash {
        let place = number % self.sorted.len() as u64;
        &self.sorted[usize::try_from(place).unwrap_or_default()].1
    }
}

/// How many there are, and nothing of them.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.sorted.len())
    }
}

/// The form alone.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bcrypt(_) => "Bcrypt",
            Self::ShaCrypt(_) => "ShaCrypt",
            Self::Apr1 { .. } => "Apr1",
            Self::Plain(_) => "Plain",
        })
    }
}

/// `users of Secret shop/users, as X-User`.
impl fmt::Display for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "users of {}", self.users.named)?;
        match &self.user_header {
            Some(header) => write!(f, ", as {header}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_and_none_is_shown() {
        let user = |name: &str, password: &str| {
            let hash = PasswordHash::Plain(password.into());
            (Box::from(name), hash)
        };
        assert!(Users::new([]).is_none());
        let all = [user("b", "secret-1"), user("a", "secret-2"), user("b", "x")];
        let users = Users::new(all).unwrap();
        let found = users.find(b"b").map(|(name, hash)| (name, hash.clone()));
        assert_eq!(found, Some(("b", PasswordHash::Plain("secret-1".into()))));
        assert!(users.find(b"c").is_none());
        let some: Vec<_> = (0..4).map(|number| users.any(number).clone()).collect();
        assert_eq!(some[..2], some[2..]);
        assert_ne!(some[0], some[1]);
        assert_eq!(format!("{users:?}{:?}", some[0]), "Users(2)Plain");
    }
}
