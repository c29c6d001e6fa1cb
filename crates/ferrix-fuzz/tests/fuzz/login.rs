//! Logins, as far as nobody is asked: the target of a request on the first line, its cookies on the second.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use ferrix_fuzz::Corpus;
use ferrix_proxy::fuzz::{Reading, read};
use ferrix_table::{
    filters::{
        from_object::FromObject,
        oidc::{Oidc, OidcSecrets},
    },
    object::{Kind, ObjectName},
};
use http::HeaderValue;

const WORDS: &[&str] = &[
    "\n",
    "; ",
    ";",
    "=",
    "\"",
    "&",
    "?",
    "/",
    "//",
    "/\\",
    "%",
    "%00",
    "%2F",
    "+",
    "code=",
    "state=",
    "error=access_denied",
    "iss=",
    "ferrix-c9e83416=",
    "ferrix-c9e83416-1=",
    "ferrix-c9e83416-login-",
    "__Host-ferrix-c9e83416=",
    "1.",
    "2.",
    "4.",
    "99999999999999999999.",
    "-1.",
    "AAAA",
    "\u{e9}",
];

/// The sealed cookies of the corpus are by this key.
static OIDC: LazyLock<Oidc> = LazyLock::new(|| Oidc {
    issuer: "https://id.example".into(),
    client_id: "shop".into(),
    secrets: FromObject {
        named: ObjectName::new("default", "login").key(Kind::Secret),
        field: Box::default(),
        held: Ok(Arc::new(OidcSecrets {
            session_key: [1; 32].into(),
            client_secret: None,
            prepared: Default::default(),
        })),
    },
    authentication: None,
    scopes: Box::default(),
    callback_path: "/oauth2/callback".into(),
    logout_path: "/oauth2/logout".into(),
    after_logout: None,
    lifetime: Duration::from_secs(3600),
    leeway: Duration::ZERO,
    required: Box::default(),
    headers: Box::default(),
    prepared: Default::default(),
});

/// What cookies of the filter begin with.
const NAME: &[u8] = b"ferrix-c9e83416";

#[test]
fn login() {
    fuzz!(Corpus::read("login", WORDS), property);
}

/// What is sealed is read: sessions in one cookie and in several, and logins that are under way.
#[test]
fn sealed_cookies_of_the_corpus_are_read() {
    let corpus = Corpus::read("login", WORDS);
    let inputs: Vec<_> = corpus.inputs().collect();
    let readings = || inputs.iter().map(|it| reading(parts(&it.0)));
    assert_eq!(readings().filter(|it| it.subject.is_some()).count(), 2);
    assert_eq!(readings().filter(|it| it.returns).count(), 2);
}

/// The target, and the cookies.
fn parts(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (target, cookie) = bytes.split_at(end.unwrap_or(bytes.len()));
    (target, cookie.strip_prefix(b"\n").unwrap_or_default())
}

fn reading((target, cookie): (&[u8], &[u8])) -> Reading {
    read(&OIDC, target, cookie, 4000).expect("a filter with its Secret")
}

fn property(bytes: &[u8]) {
    let (target, cookie) = parts(bytes);
    // Another one is no field of a request.
    if HeaderValue::from_bytes(cookie).is_err() {
        return;
    }
    let reading = reading((target, cookie));
    // Nobody else has the key.
    assert!(reading.subject.is_none_or(|subject| subject == "alice"));
    let back = reading.way_back.as_bytes();
    assert!(back.starts_with(b"/") && back.iter().all(u8::is_ascii_graphic));
    assert!(!matches!(back.get(1), Some(b'/' | b'\\')));
    assert!(back == b"/" || back == target);
    // Services get what is not the filter's, and all of that.
    let pairs = cookie.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let others = pairs.filter(|pair| !pair.is_empty() && !is_of_filter(pair));
    let left = reading.cookies.iter().filter(|it| !it.is_empty());
    assert!(left.eq(others), "{:?}", reading.cookies);
}

fn is_of_filter(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap();
    let name = name.strip_prefix(b"__Host-").unwrap_or(name);
    let rest = name.strip_prefix(NAME);
    rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'-')
}
