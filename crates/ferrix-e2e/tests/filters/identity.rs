//! Who may pass, judged by what a strict backend received of requests that did.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use ferrix_e2e::{
    Backend, Client, Gateway, Http2Client, Routes,
    backend::{Connection, Dead, ok},
    certificates::{Authority, Certified},
    manifests::{secret, service},
    within,
};
use ferrix_table::{
    filters::{
        Filter,
        api_key::{ApiClients, ApiKey, CredentialPlace},
        basic_auth::{BasicAuth, PasswordHash, Users},
        from_object::FromObject,
        header_changes::HeaderChanges,
        jwt::{ClaimHeader, Jwt, KeyMaterial, KeySet, KeySource, RequiredClaim, TokenKey},
        lasting::{FilterId, Lasting},
        limit_key::LimitKey,
        rate_limit::{RateLimit, Scope, gcra::Rate},
    },
    object::{Key, Kind, ObjectName},
    verification::Prepared,
};

use crate::{Ask, Either, GET, PAIRS, ask, ask_once, field, filters};

/// `alice:secret`, and others that are not right.
const RIGHT: &str = "Basic YWxpY2U6c2VjcmV0";
const WRONG: [&str; 5] = [
    // alice:wrong
    "Basic YWxpY2U6d3Jvbmc=",
    // mallory:secret
    "Basic bWFsbG9yeTpzZWNyZXQ=",
    // alice
    "Basic YWxpY2U=",
    "Bearer YWxpY2U6c2VjcmV0",
    "Basic",
];

/// Of `secret`, with the least cost.
const BCRYPT: &str = "$2b$04$CCCCCCCCCCCCCCCCCCCCC.4K7lyz.nKATbsiu/RcZjqWyDNnj87qG";

fn holding<T>(value: T) -> FromObject<T> {
    FromObject {
        named: ObjectName::new("default", "s").key(Kind::Secret),
        field: Box::default(),
        held: Ok(Arc::new(value)),
    }
}

fn nothing<T>() -> FromObject<T> {
    FromObject::unknown(ObjectName::new("default", "s").key(Kind::Secret), "")
}

/// Alice, whose password is this hash.
fn users(hash: PasswordHash) -> FromObject<Users> {
    holding(Users::new([("alice".into(), hash)]).unwrap())
}

fn hashed() -> FromObject<Users> {
    users(PasswordHash::Bcrypt(BCRYPT.into()))
}

fn basic_auth(users: FromObject<Users>, hide_credentials: bool) -> Filter {
    Filter::BasicAuth(Arc::new(BasicAuth {
        users,
        realm: "shop".into(),
        user_header: Some("X-User".into()),
        hide_credentials,
    }))
}

fn api_key(place: CredentialPlace, hide_credentials: bool) -> Filter {
    let clients = [("partner", "key-1"), ("other", "key-2")];
    let clients = clients.map(|(name, key)| (name.into(), key.into()));
    Filter::ApiKey(Arc::new(ApiKey {
        clients: holding(ApiClients::new(clients).unwrap()),
        place,
        client_header: Some("X-Client".into()),
        hide_credentials,
    }))
}

#[tokio::test]
async fn users_pass_by_their_passwords_and_nobody_by_a_header() {
    let mut ran = 0;
    for (to_client, to_backend) in PAIRS {
        for hidden in [false, true] {
            let backend = Either::start(to_backend).await;
            let policy = filters([basic_auth(hashed(), hidden)]);
            let gateway = Gateway::start(backend.routes().policy(policy));
            let forged = [
                ("X-User", "admin"),
                ("x_user", "admin"),
                ("x-user", "root"),
                ("x.user", "admin"),
                ("x-user-", "admin"),
                ("x-other", "1"),
            ];
            for wrong in WRONG.into_iter().map(Some).chain([None]) {
                let credentials = wrong.map(|it| ("authorization", it));
                let fields: Vec<_> = forged.into_iter().chain(credentials).collect();
                let request = Ask {
                    fields: &fields,
                    ..GET
                };
                for answer in ask(&gateway, to_client, request).await {
                    assert_eq!(answer.status, 401, "{wrong:?}");
                    let challenge = "Basic realm=\"shop\", charset=\"UTF-8\"";
                    assert_eq!(answer.all("www-authenticate"), [challenge]);
                    ran += 1;
                }
            }
            assert_eq!(backend.count(), 0);
            let fields: Vec<_> = forged
                .into_iter()
                .chain([("authorization", RIGHT)])
                .collect();
            let request = Ask {
                fields: &fields,
                ..GET
            };
            for answer in ask(&gateway, to_client, request).await {
                assert_eq!(answer.status, 200);
                ran += 1;
            }
            let arrived = backend.last();
            assert_eq!(arrived.all("x-user"), ["alice"]);
            for spelling in ["x_user", "x.user", "x-user-"] {
                assert!(arrived.all(spelling).is_empty(), "{spelling}");
            }
            assert_eq!(arrived.all("x-other"), ["1"]);
            let kept: &[&str] = if hidden { &[] } else { &[RIGHT] };
            assert_eq!(arrived.all("authorization"), kept);
            gateway.failed("unauthenticated", 12).await;
        }
    }
    assert_eq!(ran, 4 * 2 * 14);
}

/// A password that was verified is not hashed again, until the Secret is another.
#[tokio::test]
async fn what_was_verified_goes_with_its_secret() {
    let backend = Backend::hello("hi").await;
    let routes =
        |users| Routes::all_to(&[backend.address()]).policy(filters([basic_auth(users, false)]));
    let same = hashed();
    let gateway = Gateway::start(routes(same.clone()));
    let right = Ask {
        fields: &[("authorization", RIGHT)],
        ..GET
    };
    for http2 in [false, true] {
        assert_eq!(ask_once(&gateway, http2, right).await.status, 200);
    }
    gateway.publish(routes(same));
    assert_eq!(ask_once(&gateway, false, right).await.status, 200);
    gateway.publish(routes(users(PasswordHash::Plain("another".into()))));
    for http2 in [false, true] {
        assert_eq!(ask_once(&gateway, http2, right).await.status, 401);
    }
    gateway.publish(routes(nothing()));
    assert_eq!(ask_once(&gateway, false, right).await.status, 500);
    gateway.failed("unresolved", 1).await;
    assert_eq!(backend.requests().len(), 3);
}

/// Requests that bring no password are served while many bring wrong ones.
#[tokio::test]
async fn a_flood_of_wrong_passwords_is_refused() {
    let backend = Backend::hello("hi").await;
    // Half a second each.
    let slow = BCRYPT.replace("$04$", "$13$");
    let guarded = filters([basic_auth(users(PasswordHash::Bcrypt(slow.into())), false)]);
    let routes = Routes::all_to(&[backend.address()]).policy(guarded);
    let gateway = Arc::new(Gateway::start_with("server: {threads: 2}", routes));
    let flood: Vec<_> = (0..80)
        .map(|_| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                let mut client = gateway.client().await;
                let head = format!(
                    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n",
                    WRONG[0]
                );
                client.exchange(head).await.status
            })
        })
        .collect();
    let busy = ferrix_proxy::failure::Failure::NAMES;
    let busy = busy.iter().position(|it| *it == "passwords_busy").unwrap();
    let counted =
        |counters: &ferrix_proxy::counters::EntryPointCounters| counters.failures[busy].get() >= 10;
    gateway.counted("refused passwords", counted).await;
    let unasked = ask_once(&gateway, false, GET);
    assert_eq!(within("an answer", unasked).await.status, 401);
    flood.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(backend.requests().len(), 0);
}

#[tokio::test]
async fn clients_pass_by_their_keys_wherever_those_are() {
    let header = || CredentialPlace::Header("X-Api-Key".into());
    let query = || CredentialPlace::Query("key".into());
    let cookie = || CredentialPlace::Cookie("key".into());
    // Place, path and field that pass; those that do not.
    type Sent<'s> = (&'s str, (&'s str, &'s str));
    let nothing = ("x-none", "1");
    let cases: [(CredentialPlace, Sent<'_>, [Sent<'_>; 3]); 3] = [
        (
            header(),
            ("/a?b", ("x-api-key", "key-1")),
            [
                ("/", ("x-api-key", "key-3")),
                ("/?X-Api-Key=key-1", nothing),
                ("/", ("cookie", "X-Api-Key=key-1")),
            ],
        ),
        (
            query(),
            ("/a?b&key=key-1", nothing),
            [
                ("/?key=key-1&key=key-1", nothing),
                ("/?key=", nothing),
                ("/", ("key", "key-1")),
            ],
        ),
        (
            cookie(),
            ("/a?b", ("cookie", "c=d; key=key-1")),
            [
                ("/", ("cookie", "key=key-1; key=key-1")),
                ("/?key=key-1", nothing),
                ("/", ("cookie", "keys=key-1")),
            ],
        ),
    ];
    let mut ran = 0;
    for (place, right, wrong) in cases {
        for (to_client, to_backend) in PAIRS {
            for hidden in [false, true] {
                let backend = Either::start(to_backend).await;
                let policy = filters([api_key(place.clone(), hidden)]);
                let gateway = Gateway::start(backend.routes().policy(policy));
                for (sent, status) in wrong.map(|it| (it, 401)).into_iter().chain([(right, 200)]) {
                    let request = Ask {
                        path: sent.0,
                        fields: &[sent.1, ("x-client", "admin")],
                        ..GET
                    };
                    for answer in ask(&gateway, to_client, request).await {
                        assert_eq!(answer.status, status, "{place} {sent:?}");
                        ran += 1;
                    }
                }
                assert_eq!(backend.count(), 2);
                let arrived = backend.last();
                assert_eq!(arrived.all("x-client"), ["partner"]);
                let has_key = format!("{arrived:?}").contains("key-1");
                assert_eq!(has_key, !hidden, "{arrived:?}");
                let (path, _) = right;
                let expected = if hidden { "/a?b" } else { path };
                assert_eq!(arrived.target, expected);
            }
        }
    }
    assert_eq!(ran, 3 * 4 * 2 * 4 * 2);
}

/// Who is refused is told the same, byte for byte: nothing of who there is, and of how much was right.
#[tokio::test]
async fn refusals_tell_nothing_apart() {
    let backend = Backend::hello("hi").await;
    let header = || CredentialPlace::Header("X-Api-Key".into());
    let nothing = ("x-none", "1");
    let cases: [(Filter, &[(&str, &str)]); 2] = [
        (
            api_key(header(), false),
            &[
                nothing,
                ("x-api-key", ""),
                ("x-api-key", "key-"),
                ("x-api-key", "key-12"),
                ("x-api-key", "partner"),
                ("x-api-key", "nobody"),
            ],
        ),
        (
            basic_auth(hashed(), false),
            &[
                nothing,
                ("authorization", WRONG[0]),
                ("authorization", WRONG[1]),
                ("authorization", WRONG[2]),
                ("authorization", WRONG[3]),
            ],
        ),
    ];
    let mut ran = 0;
    for (filter, sent) in cases {
        let routes = Routes::all_to(&[backend.address()]).policy(filters([filter]));
        let gateway = Gateway::start(routes);
        let mut answers = Vec::new();
        for (name, value) in sent {
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\n\r\n");
            let answer = gateway.client().await.exchange(request).await;
            let head = String::from_utf8(answer.head.raw.clone()).unwrap();
            let lines: Vec<_> = head.lines().filter(|it| !it.starts_with("Date:")).collect();
            answers.push((answer.status, lines.join("\n"), answer.body));
            ran += 1;
        }
        assert_eq!(answers[0].0, 401);
        assert!(answers.iter().all(|it| *it == answers[0]), "{answers:?}");
    }
    assert_eq!(ran, 11);
    assert!(backend.requests().is_empty());
}

#[tokio::test]
async fn no_key_is_logged() {
    let backend = Backend::hello("hi").await;
    let policy = filters([api_key(CredentialPlace::Query("key".into()), false)]);
    let routes = Routes::all_to(&[backend.address()]).policy(policy);
    let (gateway, mut records) = Gateway::start_logged(routes);
    for path in ["/a?key=key-1&b=c", "/a?b=c&key=wrong"] {
        ask_once(&gateway, false, Ask { path, ..GET }).await;
        let record = within("a record", records.recv()).await.unwrap();
        assert_eq!(record.path, "/a?b=c");
    }
    assert_eq!(backend.last().target(), "/a?key=key-1&b=c");
}

fn two_an_hour(by: LimitKey) -> Filter {
    let hour = Duration::from_secs(3600);
    Filter::RateLimit(Box::new(RateLimit {
        requests: 2,
        per: hour,
        burst: 2,
        rate: Rate::new(2, hour, 2),
        by,
        scope: Scope::Replica,
        dry_run: false,
        state: Lasting::new(FilterId {
            object: Key::new(Kind::IngressRoute, "default", "r"),
            place: "rateLimit".into(),
        }),
    }))
}

/// Behind a filter that tells who it is, a limit by that header counts for each client, whatever it says itself.
#[tokio::test]
async fn limits_count_for_whom_filters_have_found() {
    let limit = two_an_hour(LimitKey::Header("X-Client".into()));
    let backend = Backend::hello("hi").await;
    let policy = filters([
        api_key(CredentialPlace::Header("X-Api-Key".into()), true),
        limit,
    ]);
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]).policy(policy));
    for (number, (key, status)) in [
        ("key-1", 200),
        ("key-1", 200),
        ("key-1", 429),
        ("key-2", 200),
        ("key-2", 200),
        ("key-2", 429),
        ("key-3", 401),
    ]
    .into_iter()
    .enumerate()
    {
        let forged = format!("client-{number}");
        let request = Ask {
            fields: &[("x-api-key", key), ("x-client", &forged)],
            ..GET
        };
        let answer = ask_once(&gateway, number % 2 == 0, request).await;
        assert_eq!(answer.status, status, "{number}");
    }
    assert_eq!(backend.requests().len(), 4);
}

/// A key of Ed25519, and that of somebody else.
const KEY: [u8; 32] = [
    234, 154, 242, 196, 135, 166, 16, 169, 119, 83, 205, 224, 161, 148, 36, 242, 197, 38, 94, 174,
    67, 50, 130, 161, 45, 216, 216, 55, 95, 213, 32, 123,
];
const THIEF: [u8; 32] = [
    27, 155, 168, 215, 22, 45, 253, 53, 160, 169, 68, 192, 216, 78, 231, 157, 194, 21, 73, 190, 26,
    254, 196, 116, 15, 130, 144, 142, 113, 174, 12, 178,
];

/// By the key until 2100: `{"sub":"alice","scope":"orders read"}`, and `{"sub":"bob","scope":"read"}`.
const ALICE: &str = "Bearer eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.eyJzdWIiOiJhbGljZSIsInNjb3BlIjoib3JkZXJzIHJlYWQiLCJleHAiOjQxMDI0NDQ4MDB9.riyXjeIBZwhPyqp08wzw4elcAzXMySCyECz0yPC4VfNnmLLk9zM6hrZ8rhkbNiNyU5IgIB7TqS_9x9JL-KEUCQ";
const BOB: &str = "Bearer eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.eyJzdWIiOiJib2IiLCJzY29wZSI6InJlYWQiLCJleHAiOjQxMDI0NDQ4MDB9.-rXermx3D049-muh-Ws7umODVoKC6IsbL3HrFFET1mr6ZVQGSeqHE0TkuL2SfiD3pTg20UiCGw5YR6ND-YnnBQ";

/// Alice's of 2001, by somebody else, and by nobody.
const INVALID: [&str; 3] = [
    "Bearer eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.eyJzdWIiOiJhbGljZSIsInNjb3BlIjoib3JkZXJzIiwiZXhwIjoxMDAwMDAwMDAwfQ.OOqgS2OJWMcwiiaIsAwACnmovlYnncx9u70sPPK7KWK7As4CoRP10Rk037jE3-goRbZm8IaNOeU02-aju8i6Cw",
    "Bearer eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.eyJzdWIiOiJhbGljZSIsInNjb3BlIjoib3JkZXJzIiwiZXhwIjo0MTAyNDQ0ODAwfQ.teyt7nN8_9z-holxFiHgAZX4wBX-KaRUSYXf1HgL4cgj94XSP3ZeH4cKNuQi3f0JcstVyqVYEzFGhEEapP51AA",
    "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsInNjb3BlIjoib3JkZXJzIiwiZXhwIjo0MTAyNDQ0ODAwfQ.",
];

fn jwt(key: [u8; 32], optional: bool) -> Filter {
    let key = TokenKey {
        id: Some("k".into()),
        algorithm: None,
        material: KeyMaterial::Ed25519(key.into()),
    };
    let keys = holding(KeySet {
        text: Box::default(),
        keys: [key].into(),
        verified: Prepared::default(),
    });
    Filter::Jwt(Arc::new(Jwt {
        keys: KeySource::Object {
            keys,
            entry: "jwks.json".into(),
        },
        place: None,
        issuer: None,
        audiences: Box::default(),
        leeway: Duration::ZERO,
        required: [RequiredClaim {
            name: "scope".into(),
            values: ["orders".into()].into(),
        }]
        .into(),
        headers: [ClaimHeader {
            claim: "sub".into(),
            header: "X-User".into(),
        }]
        .into(),
        optional,
        hide_credentials: true,
    }))
}

#[tokio::test]
async fn tokens_let_pass_whom_they_say_until_their_key_goes() {
    let mut ran = 0;
    for (to_client, to_backend) in PAIRS {
        for optional in [false, true] {
            let backend = Either::start(to_backend).await;
            let routes = |key| backend.routes().policy(filters([jwt(key, optional)]));
            let gateway = Gateway::start(routes(KEY));
            let invalid = Some("Bearer error=\"invalid_token\"");
            let refused = INVALID.map(|it| (Some(it), 401, invalid)).into_iter();
            let others = [
                (Some(BOB), 403, Some("Bearer error=\"insufficient_scope\"")),
                match optional {
                    false => (None, 401, Some("Bearer")),
                    true => (None, 200, None),
                },
                (Some(ALICE), 200, None),
            ];
            for (token, status, challenge) in refused.chain(others) {
                let forged = [("x-user", "admin"), ("X_User", "admin")];
                let token = token.map(|it| ("authorization", it));
                let fields: Vec<_> = forged.into_iter().chain(token).collect();
                let request = Ask {
                    fields: &fields,
                    ..GET
                };
                for answer in ask(&gateway, to_client, request).await {
                    assert_eq!(answer.status, status, "{token:?}");
                    assert_eq!(answer.all("www-authenticate"), Vec::from_iter(challenge));
                    ran += 1;
                }
                if status == 200 {
                    let arrived = backend.last();
                    assert!(!format!("{arrived:?}").contains("admin"), "{arrived:?}");
                    assert_eq!(
                        arrived.all("x-user"),
                        Vec::from_iter(token.map(|_| "alice"))
                    );
                    assert!(arrived.all("authorization").is_empty());
                }
            }
            let passed = if optional { 4 } else { 2 };
            assert_eq!(backend.count(), passed);
            // What was verified is not believed any more.
            gateway.publish(routes(THIEF));
            let request = Ask {
                fields: &[("authorization", ALICE)],
                ..GET
            };
            assert_eq!(ask_once(&gateway, to_client, request).await.status, 401);
            assert_eq!(backend.count(), passed);
        }
    }
    assert_eq!(ran, 4 * 2 * 6 * 2);
}

#[tokio::test]
async fn limits_count_by_what_tokens_claim() {
    let backend = Backend::hello("hi").await;
    let anybody = match jwt(KEY, true) {
        Filter::Jwt(mut jwt) => {
            Arc::make_mut(&mut jwt).required = Box::default();
            Filter::Jwt(jwt)
        }
        other => panic!("{other:?}"),
    };
    let policy = filters([anybody, two_an_hour(LimitKey::Claim("sub".into()))]);
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]).policy(policy));
    let mut ran = 0;
    // Those without a token are one client.
    for token in [Some(ALICE), Some(BOB), None] {
        for status in [200, 200, 429] {
            let fields = Vec::from_iter(token.map(|it| ("authorization", it)));
            let request = Ask {
                fields: &fields,
                ..GET
            };
            let answer = ask_once(&gateway, ran % 2 == 0, request).await;
            assert_eq!(answer.status, status, "{token:?}");
            ran += 1;
        }
    }
    assert_eq!((ran, backend.requests().len()), (9, 6));
}

/// What is told of clients cannot be said by them in trailers either, nor before another filter reads it.
#[tokio::test]
async fn identities_are_told_by_filters_alone() {
    let backend = Backend::hello("hi").await;
    let policy = filters([
        Filter::RequestHeaders(HeaderChanges {
            set: [field("X-Set", "1")].into(),
            ..HeaderChanges::default()
        }),
        api_key(CredentialPlace::Header("X-Api-Key".into()), false),
    ]);
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]).policy(policy));
    let mut client = gateway.client().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nX-Api-Key: key-1\r\nConnection: x-set\r\n\
                Transfer-Encoding: chunked\r\nTrailer: x-client, x-sum\r\n\r\n";
    let trailers = "X-Client: admin\r\nX_Client: admin\r\nX-Sum: 1\r\n\r\n";
    client
        .send(format!("{head}1\r\na\r\n0\r\n{trailers}"))
        .await;
    assert_eq!(client.response().await.status, 200);
    let arrived = backend.last();
    let text = format!("{arrived:?}");
    assert_eq!(arrived.head.one("x-client"), Some("partner"));
    assert_eq!(arrived.head.one("x-set"), Some("1"));
    assert!(!text.contains("admin"), "{text}");
    assert!(text.to_lowercase().contains("x-sum"), "{text}");
}

/// The keys of somebody else and those of [`KEY`], as an issuer has them at a URL.
const KEY_SETS: [&str; 2] = [
    r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "old", "x": "G5uo1xYt_TWgqUTA2E7nncIVSb4a_sR0D4KQjnGuDLI"}]}"#,
    r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "6pryxIemEKl3U83goZQk8sUmXq5DMoKhLdjYN1_VIHs"}]}"#,
];

/// The whole program: a rotation at the issuer is followed at once, and its end costs nothing.
#[tokio::test]
async fn keys_at_a_url_are_followed_and_outlive_their_server() {
    let newest = Arc::new(AtomicUsize::new(0));
    let served = Arc::clone(&newest);
    let issuer = Backend::start(move |mut connection: Connection| {
        let served = Arc::clone(&served);
        async move {
            if connection.request().await.is_some() {
                let keys = KEY_SETS[served.load(SeqCst)];
                connection.send(ok(keys)).await;
            }
        }
    })
    .await;
    let backend = Backend::hello("hi").await;
    let gone = Dead::new();
    let route = |name: &str, issuer: SocketAddr| {
        format!(
            "---\napiVersion: ferrix.com/v1\nkind: IngressRoute\n\
             metadata: {{name: {name}, namespace: default}}\n\
             spec:\n  entrypoint: web\n  route:\n    host: example.com\n    rules:\n    \
             - matches: Path(`/{name}`)\n      service: {{name: api, port: 80}}\n      \
               filters: [{{jwt: {{jwks: {{url: 'http://{issuer}/keys'}}}}}}]\n"
        )
    };
    let manifests = service("api", &[backend.address()])
        + &route("a", issuer.address())
        + &route("b", gone.address());
    let ferrix = Gateway::from_manifests(&manifests, "").await;
    let mut client = ferrix.client().await;
    let mut ask = async |path: &str| {
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: example.com\r\nAuthorization: {ALICE}\r\n\r\n");
        client.exchange(head).await.status
    };
    // Without keys nobody passes, and the route says why.
    assert_eq!(ask("/b").await, 503);
    ferrix.reported("requests get 503").await;
    assert_eq!(issuer.last().target(), "/keys");
    assert_eq!(issuer.requests().len(), 1);
    newest.store(1, SeqCst);
    assert_eq!(ask("/a").await, 401, "the key is not known yet");
    issuer
        .wait("another fetch", |log| log.requests.len() == 2)
        .await;
    let passes = async {
        while ask("/a").await != 200 {
            tokio::task::yield_now().await;
        }
    };
    within("the new key", passes).await;
    drop(issuer);
    assert_eq!(ask("/a").await, 200);
    assert_eq!(ask("/b").await, 503);
}

#[tokio::test]
async fn clients_pass_by_the_certificates_that_they_show() {
    let [server, partners] = [Authority::new(), Authority::new()];
    let presented = server.certify("server", &["secure.test", "open.test"]);
    let good = partners.certify("good", &["client.test"]);
    let revoked = partners.certify("revoked", &["client.test"]);
    let foreign = server.certify("foreign", &["client.test"]);
    let backend = Backend::hello("hi").await;
    let indented = |text: &str| text.trim_end().replace('\n', "\n    ");
    let route = |host: &str, rules: &str| {
        let name = host.replace('.', "-");
        format!(
            "---\napiVersion: ferrix.com/v1\nkind: IngressRoute\n\
             metadata: {{name: {name}, namespace: default}}\n\
             spec:\n  entrypoints: [web, websecure]\n  tls: server\n  \
             route:\n    host: {host}\n    rules:\n{rules}"
        )
    };
    let rule = |path: &str, filters: &str| {
        format!(
            "    - matches: PathPrefix(`{path}`)\n      service: {{name: api, port: 80}}\n      \
             filters: {filters}\n"
        )
    };
    let filter = |optional: bool| {
        format!(
            "[{{clientCertificate: {{authorities: {{configMap: partners}}, optional: {optional}, \
             detailsToHeaders: [{{detail: Subject, header: X-Client}}, \
             {{detail: Certificate, header: X-Client-Cert}}]}}}}]"
        )
    };
    let manifests = service("api", &[backend.address()])
        + &secret("server", &presented.certificate_pem, &presented.key_pem)
        + &route(
            "secure.test",
            &(rule("/perhaps", &filter(true)) + &rule("/must", &filter(false))),
        )
        + &route(
            "open.test",
            &rule("/", "[{requestHeaderModifier: {remove: [X-None]}}]"),
        )
        + &format!(
            "---\napiVersion: v1\nkind: ConfigMap\n\
             metadata: {{name: partners, namespace: default}}\ndata:\n  ca.crt: |\n    {}\n  \
             ca.crl: |\n    {}\n",
            indented(&partners.certificate_pem()),
            indented(&partners.revoke(&revoked)),
        );
    let ferrix = Gateway::from_manifests(&manifests, "").await;
    assert_eq!(ferrix.program.report().to_string(), "");
    let forged = "X-Client: admin\r\nx_client_cert: admin\r\n";
    // Twice on one connection, over HTTP/1 or HTTP/2.
    let ask = async |http2: bool, name: &str, host: &str, shown: Option<&Certified>, path: &str| {
        let mut config = match shown {
            Some(certified) => server.client_with(certified),
            None => server.client(&[]),
        };
        config.alpn_protocols = [http2.then(|| b"h2".to_vec())]
            .into_iter()
            .flatten()
            .collect();
        let stream = ferrix.tls(&config, name).await.expect("a handshake");
        let statuses = match http2 {
            false => {
                let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{forged}\r\n");
                let mut client = Client::new(stream);
                [client.exchange(&head).await, client.exchange(&head).await].map(|it| it.status)
            }
            true => {
                let mut client = Http2Client::new(stream, "https").await;
                let mut statuses = [0; 2];
                for status in &mut statuses {
                    let mut request = client.request_for(host, "GET", path);
                    for name in ["x-client", "x_client_cert"] {
                        request.headers_mut().insert(name, "admin".parse().unwrap());
                    }
                    let answer = client.fetch(request).await.expect("a whole response");
                    *status = answer.status.as_u16();
                }
                statuses
            }
        };
        assert_eq!(statuses[0], statuses[1]);
        statuses[0]
    };
    let (secure, open) = ("secure.test", "open.test");
    let cases = [
        (secure, secure, Some(&good), "/must", 200),
        (secure, secure, Some(&good), "/perhaps", 200),
        (secure, secure, Some(&revoked), "/must", 403),
        (secure, secure, Some(&revoked), "/perhaps", 403),
        (secure, secure, Some(&foreign), "/must", 403),
        (secure, secure, Some(&foreign), "/perhaps", 403),
        (secure, secure, None, "/must", 403),
        (secure, secure, None, "/perhaps", 200),
        // A connection for a name that nobody is asked by is for the other host as well, and not for this.
        (open, secure, Some(&good), "/must", 421),
        (open, secure, Some(&good), "/perhaps", 421),
        (open, open, Some(&good), "/", 200),
        (secure, open, Some(&foreign), "/", 200),
    ];
    let mut ran = 0;
    let both = cases
        .into_iter()
        .flat_map(|case| [(false, case), (true, case)]);
    for (http2, (name, host, shown, path, status)) in both {
        let before = backend.requests().len();
        assert_eq!(
            ask(http2, name, host, shown, path).await,
            status,
            "{name} {host}{path} {ran}"
        );
        let passed = if status == 200 { 2 } else { 0 };
        assert_eq!(backend.requests().len() - before, passed);
        if status == 200 && host == secure {
            let head = backend.last().head;
            let told = head.one("x-client").map(str::to_owned);
            let is_known = shown.is_some();
            assert_eq!(told.is_some_and(|it| it.contains("CN=good")), is_known);
            assert_eq!(head.one("x-client-cert").is_some(), is_known);
            assert!(!format!("{head:?}").contains("admin"), "{head:?}");
        }
        ran += 1;
    }
    assert_eq!(ran, 24);
    // In plain text nobody shows anything.
    let mut plain = ferrix.client().await;
    for (path, status) in [("/must", 403), ("/perhaps", 200)] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: secure.test\r\n{forged}\r\n");
        assert_eq!(plain.exchange(head).await.status, status, "{path}");
    }
}
