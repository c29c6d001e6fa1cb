//! What Secrets hold that filters name: users with the hashes of their passwords, clients with keys, and what
//! seals sessions.
//!
//! The entries are kept as they are, and read when the first filter asks for them. An entry or a line with a
//! mistake costs itself alone. Nothing here repeats what a Secret holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, OnceLock},
};

use ferrix_table::{
    filters::{
        api_key::ApiClients,
        basic_auth::{PasswordHash, Users},
        client_certificate::ClientAuthorities,
        jwt::KeySet,
        oidc::OidcSecrets,
    },
    jwks,
    verification::Prepared,
};
use k8s_openapi::{ByteString, api::core::v1::Secret};

use crate::{
    authorities::{self, Authorities},
    client_authorities::{self, REVOCATIONS},
    read::Read,
};

/// The type of Secrets with one user and the password.
const BASIC_AUTH_TYPE: &str = "kubernetes.io/basic-auth";

/// Entries with users in the format of `htpasswd`: that of ingress-nginx, and that of Traefik.
const HTPASSWD: [&str; 2] = ["auth", "users"];

/// A hash that takes longer than this costs more than it protects: about two seconds.
const MOST_BCRYPT: u32 = 15;

/// The same for SHA-crypt.
const MOST_ROUNDS: u32 = 1_000_000;

/// The least of SHA-crypt, by its specification.
const LEAST_ROUNDS: u32 = 1000;

/// The entry that seals the cookies of sessions, and the least that it is to have…
const SESSION_KEY: &str = "session-key";

/// …in bytes.
const LEAST_SESSION_KEY: usize = 32;

/// The entry that a provider knows a client by.
const CLIENT_SECRET: &str = "client-secret";

/// The entries of a Secret that is no certificate.
#[derive(Clone)]
pub(crate) struct Entries {
    kind: Box<str>,
    entries: BTreeMap<String, Vec<u8>>,
    users: OnceLock<Read<Users>>,
    clients: OnceLock<Read<ApiClients>>,
    authorities: OnceLock<Read<ClientAuthorities>>,
    oidc: OnceLock<Read<OidcSecrets>>,
}

impl Entries {
    /// Those of a Secret of a type.
    pub(crate) fn new(kind: &str, secret: &Secret) -> Self {
        let data = secret.data.iter().flatten();
        let data = data.map(|(name, ByteString(bytes))| (name.clone(), bytes.clone()));
        // What the API server does on write: `stringData` goes over `data`.
        let texts = secret.string_data.iter().flatten();
        let texts = texts.map(|(name, text)| (name.clone(), text.clone().into_bytes()));
        Self {
            kind: kind.into(),
            entries: data.chain(texts).collect(),
            users: OnceLock::new(),
            clients: OnceLock::new(),
            authorities: OnceLock::new(),
            oidc: OnceLock::new(),
        }
    }

    /// The users that it holds.
    pub(crate) fn users(&self) -> &Read<Users> {
        self.users.get_or_init(|| match &*self.kind {
            BASIC_AUTH_TYPE => self.one_user(),
            _ => self.htpasswd(),
        })
    }

    /// The clients that it holds, each under its name.
    pub(crate) fn clients(&self) -> &Read<ApiClients> {
        self.clients.get_or_init(|| clients(&self.entries))
    }

    /// The authorities of clients.
    pub(crate) fn client_authorities(&self) -> &Read<ClientAuthorities> {
        self.authorities.get_or_init(|| {
            let entry = |name| self.entries.get(name).map(Vec::as_slice);
            client_authorities::parse(entry(authorities::ENTRY), entry(REVOCATIONS))
        })
    }

    /// The authorities of backends.
    pub(crate) fn authorities(&self) -> Authorities {
        let entry = self.entries.get(authorities::ENTRY);
        authorities::parse(entry.map(Vec::as_slice))
    }

    /// The keys of an issuer that one of them holds.
    pub(crate) fn keys(&self, entry: &str) -> Read<KeySet> {
        let text = self.entries.get(entry);
        let text = text.ok_or_else(|| format!("it has no entry `{entry}`"))?;
        let text = std::str::from_utf8(text).map_err(|_| "its keys are no text")?;
        let (keys, faults) = jwks::parse(text)?;
        Ok((Arc::new(keys), faults))
    }

    /// What it holds for logins.
    pub(crate) fn oidc(&self) -> &Read<OidcSecrets> {
        self.oidc.get_or_init(|| oidc_secrets(&self.entries))
    }

    fn one_user(&self) -> Read<Users> {
        let entry = |name: &'static str| {
            let bytes = self.entries.get(name);
            let bytes = bytes.ok_or_else(|| format!("it has no entry `{name}`"))?;
            std::str::from_utf8(bytes).map_err(|_| format!("the entry `{name}` is no text"))
        };
        let (name, password) = (entry("username")?, entry("password")?);
        if !is_name(name) {
            return Err("the entry `username` is no name of a user".to_owned());
        }
        let hash = PasswordHash::Plain(password.into());
        let users = Users::new([(name.into(), hash)]);
        let users = users.ok_or("it holds no user")?;
        Ok((Arc::new(users), Vec::new()))
    }

    fn htpasswd(&self) -> Read<Users> {
        let mut entries = HTPASSWD.iter().filter_map(|name| self.entries.get(*name));
        let missing = "it has no entry `auth` with users in the format of `htpasswd`";
        let text = entries.next().ok_or(missing)?;
        let text = std::str::from_utf8(text).map_err(|_| "its users are no text")?;
        let (mut users, mut faults, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match user(line) {
                Ok((name, hash)) if names.insert(name) => users.push((name.into(), hash)),
                Ok(_) => faults.push(format!("line {}: the user has one before", number + 1)),
                Err(fault) => faults.push(format!("line {}: {fault}", number + 1)),
            }
        }
        match Users::new(users) {
            Some(users) => Ok((Arc::new(users), faults)),
            None => Err(none("user", faults)),
        }
    }
}

/// Each entry is a client: its name, and its key.
fn clients(entries: &BTreeMap<String, Vec<u8>>) -> Read<ApiClients> {
    let (mut clients, mut faults, mut keys) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (name, key) in entries {
        // Files often end with a line break.
        let key = key.trim_ascii();
        let fits = !key.is_empty() && key.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(key).ok().filter(|_| fits) {
            None => faults.push(format!(
                "the entry `{name}` is no key: expected printable ASCII without blanks"
            )),
            Some(key) if keys.insert(key) => clients.push((name.as_str().into(), key.into())),
            Some(_) => faults.push(format!(
                "the entry `{name}` has the key of an entry before it, which alone counts"
            )),
        }
    }
    match ApiClients::new(clients) {
        Some(clients) => Ok((Arc::new(clients), faults)),
        None => Err(none("key", faults)),
    }
}

fn oidc_secrets(entries: &BTreeMap<String, Vec<u8>>) -> Read<OidcSecrets> {
    let key = entries.get(SESSION_KEY);
    let key = key.ok_or_else(|| format!("it has no entry `{SESSION_KEY}`"))?;
    if key.len() < LEAST_SESSION_KEY {
        return Err(format!(
            "the entry `{SESSION_KEY}` has fewer than {LEAST_SESSION_KEY} bytes"
        ));
    }
    let secret = entries.get(CLIENT_SECRET).map(|secret| {
        // Files often end with a line break.
        let secret = std::str::from_utf8(secret.trim_ascii());
        let secret = secret.ok().filter(|it| !it.is_empty());
        secret.ok_or_else(|| format!("the entry `{CLIENT_SECRET}` is no text"))
    });
    let secrets = OidcSecrets {
        session_key: key.as_slice().into(),
        client_secret: secret.transpose()?.map(Into::into),
        prepared: Prepared::default(),
    };
    Ok((Arc::new(secrets), Vec::new()))
}

/// Why there is none of what a Secret is to hold.
fn none(what: &str, faults: Vec<String>) -> String {
    match faults.first() {
        Some(fault) => format!("it holds no {what} that can be used: {fault}"),
        None => format!("it holds no {what}"),
    }
}

/// A line of `htpasswd`: `NAME:HASH`, and perhaps `:` and what is for people.
fn user(line: &str) -> Result<(&str, PasswordHash), &'static str> {
    let (name, rest) = line.split_once(':').ok_or("expected `NAME:HASH`")?;
    if !is_name(name) {
        return Err("the name has blanks around it, or characters that no header can carry");
    }
    let hash = rest.split(':').next().unwrap_or_default();
    Ok((name, password_hash(hash)?))
}

/// Whether a header can carry a name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.chars().any(char::is_control)
}

fn password_hash(hash: &str) -> Result<PasswordHash, &'static str> {
    let parts: Vec<_> = hash.split('$').collect();
    match parts[..] {
        ["", "2a" | "2b" | "2y", cost, rest] => {
            let cost = cost.parse().ok().filter(|_| cost.len() == 2);
            let cost = cost.ok_or("it is no hash of bcrypt")?;
            if !(4..=MOST_BCRYPT).contains(&cost) {
                return Err("the cost of bcrypt is not from 4 to 15");
            }
            // Of the last characters of salt and digest not all bits count.
            let ends = |place: usize, bits: u32| {
                let value = rest.as_bytes().get(place).map(|byte| bcrypt_value(*byte));
                value.is_some_and(|value| value.trailing_zeros() >= bits)
            };
            if rest.len() != 53 || !is_crypt(rest) || !ends(21, 4) || !ends(52, 2) {
                return Err("it is no hash of bcrypt");
            }
            Ok(PasswordHash::Bcrypt(hash.into()))
        }
        ["", "5" | "6", salt, digest] => sha_crypt(hash, parts[1], salt, digest),
        ["", "5" | "6", rounds, salt, digest] => {
            let rounds = rounds
                .strip_prefix("rounds=")
                .and_then(|it| it.parse().ok());
            if !rounds.is_some_and(|it| (LEAST_ROUNDS..=MOST_ROUNDS).contains(&it)) {
                return Err("the rounds of SHA-crypt are not from 1000 to 1000000");
            }
            sha_crypt(hash, parts[1], salt, digest)
        }
        ["", "apr1", salt, digest] => {
            if salt.len() > 8 || digest.len() != 22 || !is_crypt(salt) || !is_crypt(digest) {
                return Err("it is no hash of apr1");
            }
            Ok(PasswordHash::Apr1 {
                salt: salt.into(),
                digest: digest.into(),
            })
        }
        _ => Err("expected a hash of bcrypt (`$2y$`), SHA-crypt (`$5$`, `$6$`) or apr1 (`$apr1$`)"),
    }
}

fn sha_crypt(
    hash: &str,
    kind: &str,
    salt: &str,
    digest: &str,
) -> Result<PasswordHash, &'static str> {
    let length = if kind == "5" { 43 } else { 86 };
    match salt.len() <= 16 && is_crypt(salt) && digest.len() == length && is_crypt(digest) {
        true => Ok(PasswordHash::ShaCrypt(hash.into())),
        false => Err("it is no hash of SHA-crypt"),
    }
}

/// What a character stands for in hashes of bcrypt.
fn bcrypt_value(byte: u8) -> u8 {
    match byte {
        b'.' => 0,
        b'/' => 1,
        b'A'..=b'Z' => byte - b'A' + 2,
        b'a'..=b'z' => byte - b'a' + 28,
        _ => byte.wrapping_sub(b'0').wrapping_add(54),
    }
}

/// Whether a text is of the characters that hashes are written in.
fn is_crypt(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    text.bytes().all(fits)
}

/// What was read from the same is the same.
impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.entries == other.entries
    }
}

/// How many there are, and nothing of them.
impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entries({})", self.entries.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const BCRYPT: &str = "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe";
    const APR1: &str = "$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00";
    const SHA256: &str = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8";
    const SHA512: &str = "$6$rounds=10000$saltstringsaltstri$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.";

    fn entries(kind: &str, texts: Value) -> Entries {
        let secret = json!({"stringData": texts});
        Entries::new(kind, &serde_json::from_value(secret).unwrap())
    }

    #[test]
    fn hashes_have_a_form() {
        let sha512 = SHA512.replace("saltstringsaltstri", "saltstringsalt");
        for good in [BCRYPT, APR1, SHA256, &sha512] {
            assert!(password_hash(good).is_ok(), "{good}");
        }
        let bad = [
            "",
            "secret",
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            "$2x$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe",
            "$2y$16$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe",
            "$2y$5$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe",
            "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFp",
            "$2y$05$bvIG6Nmid91Mu9RcmmWZfa5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe",
            "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpä",
            "$apr1$lZL6V/cixx$eIMz/iKDkbtys/uU7LEK00",
            "$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK0",
            "$1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00",
            "$5$rounds=10$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8",
            "$5$rounds=999999999$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8",
            "$6$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8",
            SHA512,
        ];
        for bad in bad {
            assert!(password_hash(bad).is_err(), "{bad}");
        }
        assert_eq!(bad.len(), 16);
    }

    #[test]
    fn a_line_with_a_mistake_costs_one_user() {
        let text = format!(
            "# people\n\nalice:{BCRYPT}\nbob:{APR1}:a comment\nalice:{APR1}\ncarol:secret\n:{APR1}\nno"
        );
        for name in HTPASSWD {
            let entries = entries("Opaque", json!({name: text}));
            let (users, faults) = entries.users().clone().unwrap();
            let found = ["alice", "bob", "carol", ""].map(|it| users.find(it.as_bytes()).is_some());
            assert_eq!(found, [true, true, false, false]);
            let places: Vec<_> = faults.iter().map(|it| &it[..7]).collect();
            assert_eq!(places, ["line 5:", "line 6:", "line 7:", "line 8:"]);
            let all = format!("{faults:?}{entries:?}{users:?}");
            for part in [BCRYPT, APR1, "secret", "alice", "carol"] {
                assert!(!all.contains(part), "{all}");
            }
        }
    }

    #[test]
    fn secrets_that_hold_no_users_say_why() {
        let cases = [
            ("Opaque", json!({}), "no entry `auth`"),
            ("Opaque", json!({"auth": "# nobody"}), "it holds no user"),
            ("Opaque", json!({"auth": "a:b"}), "line 1: expected a hash"),
            (
                BASIC_AUTH_TYPE,
                json!({"username": "a"}),
                "no entry `password`",
            ),
            (
                BASIC_AUTH_TYPE,
                json!({"username": "a\n", "password": "b"}),
                "no name of a user",
            ),
        ];
        for (kind, texts, expected) in cases {
            let entries = entries(kind, texts);
            let why = entries.users().clone().unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        let one = entries(BASIC_AUTH_TYPE, json!({"username": "a", "password": "b"}));
        let (users, _) = one.users().clone().unwrap();
        assert_eq!(
            users.find(b"a").unwrap().1,
            &PasswordHash::Plain("b".into())
        );
    }

    #[test]
    fn sessions_have_a_key_and_perhaps_a_secret() {
        let key = "k".repeat(32);
        let cases = [
            (json!({"session-key": key}), Ok(None)),
            (
                json!({"session-key": key, "client-secret": "s\n"}),
                Ok(Some("s")),
            ),
            (json!({"client-secret": "s"}), Err("it has no entry")),
            (json!({"session-key": "short"}), Err("has fewer than 32")),
            (
                json!({"session-key": key, "client-secret": "\n"}),
                Err("`client-secret` is no text"),
            ),
        ];
        let ran = cases.len();
        for (texts, expected) in cases {
            let entries = entries("Opaque", texts);
            match (entries.oidc(), expected) {
                (Ok((secrets, _)), Ok(secret)) => {
                    assert_eq!(&*secrets.session_key, key.as_bytes());
                    assert_eq!(secrets.client_secret.as_deref(), secret);
                    assert_eq!(format!("{secrets:?}"), "OidcSecrets");
                }
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
                (found, expected) => panic!("{found:?} {expected:?}"),
            }
        }
        assert_eq!(ran, 5);
    }

    #[test]
    fn each_entry_is_a_client_with_a_key_of_its_own() {
        let texts = json!({"a": "key-1\n", "b": "key-2", "c": "key-1", "d": "two words", "e": ""});
        let entries = entries("Opaque", texts);
        let (clients, faults) = entries.clients().clone().unwrap();
        let all: Vec<_> = clients
            .all
            .iter()
            .map(|(name, key)| (&**name, &**key))
            .collect();
        assert_eq!(all, [("a", "key-1"), ("b", "key-2")]);
        assert_eq!(faults.len(), 3);
        assert!(!format!("{faults:?}{clients:?}").contains("key-"));
        let nothing = self::entries("Opaque", json!({}));
        assert_eq!(nothing.clients().clone().unwrap_err(), "it holds no key");
    }
}
