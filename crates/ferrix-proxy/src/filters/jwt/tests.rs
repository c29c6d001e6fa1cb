use std::time::Duration;

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    },
};
use ferrix_table::{
    filters::jwt::{KeySource, Renewal},
    verification::Prepared,
};
use http::{Method, Version};
use serde_json::json;

use super::*;

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// Who signs tokens by a key.
struct Issuer {
    algorithm: &'static str,
    key: TokenKey,
    sign: Sign,
}

impl Issuer {
    fn new(
        algorithm: &'static str,
        material: KeyMaterial,
        sign: impl Fn(&[u8]) -> Vec<u8> + 'static,
    ) -> Self {
        Self {
            algorithm,
            key: TokenKey {
                id: Some(algorithm.into()),
                algorithm: None,
                material,
            },
            sign: Box::new(sign),
        }
    }

    fn ecdsa(
        algorithm: &'static str,
        by: &'static aws_lc_rs::signature::EcdsaSigningAlgorithm,
        material: fn(Box<[u8]>) -> KeyMaterial,
    ) -> Self {
        let pair = EcdsaKeyPair::generate(by).unwrap();
        let point = pair.public_key().as_ref().into();
        let sign = move |message: &[u8]| {
            let signature = pair.sign(&SystemRandom::new(), message).unwrap();
            signature.as_ref().to_vec()
        };
        Self::new(algorithm, material(point), sign)
    }

    fn p256() -> Self {
        Self::ecdsa("ES256", &ECDSA_P256_SHA256_FIXED_SIGNING, KeyMaterial::P256)
    }

    fn p384() -> Self {
        Self::ecdsa("ES384", &ECDSA_P384_SHA384_FIXED_SIGNING, KeyMaterial::P384)
    }

    fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let material = KeyMaterial::Ed25519(pair.public_key().as_ref().into());
        Self::new("EdDSA", material, move |message| {
            pair.sign(message).as_ref().to_vec()
        })
    }

    /// The same key with two paddings.
    fn rsa() -> [Self; 2] {
        let pair = Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
        // A sequence of two numbers, the first of 257 bytes (RFC 8017, appendix A.1.1).
        let der = pair.public_key().as_ref();
        let (n, e) = (der[9..265].into(), der[267..].into());
        let material = KeyMaterial::Rsa { n, e };
        let by = |encoding: &'static dyn RsaEncoding| {
            let pair = Arc::clone(&pair);
            move |message: &[u8]| {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
                    .unwrap();
                signature
            }
        };
        [
            Self::new("RS256", material.clone(), by(&RSA_PKCS1_SHA256)),
            Self::new("PS256", material, by(&RSA_PSS_SHA256)),
        ]
    }

    fn header(&self) -> Value {
        json!({"alg": self.algorithm, "kid": self.algorithm, "typ": "JWT"})
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        signed_by(header, claims, &self.sign)
    }

    fn keys(&self) -> KeySet {
        keys([self.key.clone()])
    }
}

fn signed_by(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn keys(keys: impl IntoIterator<Item = TokenKey>) -> KeySet {
    KeySet {
        text: Box::default(),
        keys: keys.into_iter().collect(),
        verified: Prepared::default(),
    }
}

fn jwt(keys: KeySet) -> Jwt {
    Jwt {
        keys: KeySource::Inline(Arc::new(keys)),
        place: None,
        issuer: None,
        audiences: Box::default(),
        leeway: Duration::from_secs(10),
        required: Box::default(),
        headers: Box::default(),
        optional: false,
        hide_credentials: false,
    }
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": now() + 100.0})
}

#[test]
fn tokens_of_each_algorithm_pass() {
    let [rs, ps] = Issuer::rsa();
    let issuers = [rs, ps, Issuer::p256(), Issuer::p384(), Issuer::ed25519()];
    for issuer in &issuers {
        let keys = issuer.keys();
        let token = issuer.token(&issuer.header(), &claims());
        // The second is remembered.
        for _ in 0..2 {
            let claims = verify(&keys, token.as_bytes()).unwrap();
            assert_eq!(claims["sub"], "alice", "{}", issuer.algorithm);
        }
        // Another key of the same name: after a rotation nothing is remembered.
        let others: Vec<_> = [Issuer::p256(), Issuer::ed25519()].into();
        for other in others {
            let mut key = other.key;
            key.id = issuer.key.id.clone();
            assert!(verify(&self::keys([key]), token.as_bytes()).is_none());
        }
        // Names do not have to be there.
        let mut nameless = issuer.key.clone();
        nameless.id = None;
        assert!(verify(&self::keys([nameless]), token.as_bytes()).is_some());
        let header = json!({"alg": issuer.algorithm});
        let token = issuer.token(&header, &claims());
        assert!(verify(&keys, token.as_bytes()).is_some());
    }
    assert_eq!(issuers.len(), 5);
}

#[test]
fn what_no_key_has_signed_as_it_says_is_refused() {
    let [rs, ps] = Issuer::rsa();
    let (es, thief) = (Issuer::p256(), Issuer::p256());
    let mut only_rs = rs.key.clone();
    only_rs.algorithm = Some("RS256".into());
    let all = keys([only_rs, es.key.clone()]);
    let good = es.token(&es.header(), &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let admin = URL_SAFE_NO_PAD.encode(json!({"sub": "admin", "exp": now() + 100.0}).to_string());
    let with = |more: Value| {
        let mut header = es.header();
        let fields = more.as_object().unwrap().clone();
        header.as_object_mut().unwrap().extend(fields);
        header
    };
    let KeyMaterial::Rsa { n, .. } = &rs.key.material else {
        panic!()
    };
    let by_public_key = |message: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, n);
        hmac::sign(&key, message).as_ref().to_vec()
    };
    let unsigned = |alg: &str| {
        let header = json!({"alg": alg, "typ": "JWT"});
        signed_by(&header, &claims(), |_| Vec::new())
    };
    let own = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
    let forged = [
        format!("{header}.{admin}.{signature}"),
        format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{good}.{payload}"),
        format!("{good}="),
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        unsigned("none"),
        unsigned("nOnE"),
        unsigned("ES256"),
        // The public key is no secret.
        signed_by(
            &json!({"alg": "HS256", "kid": "RS256"}),
            &claims(),
            by_public_key,
        ),
        // Neither is another key of the right kind the one.
        thief.token(&es.header(), &claims()),
        thief.token(&with(json!({"jwk": own})), &claims()),
        thief.token(
            &with(json!({"jku": "https://thief.example/keys"})),
            &claims(),
        ),
        es.token(&with(json!({"kid": "../../dev/null"})), &claims()),
        es.token(&with(json!({"kid": "RS256"})), &claims()),
        es.token(&with(json!({"kid": ""})), &claims()),
        // Nor an algorithm that the key is not for.
        ps.token(&json!({"alg": "PS256", "kid": "RS256"}), &claims()),
        ps.token(&json!({"alg": "RS256", "kid": "RS256"}), &claims()),
        rs.token(&json!({"alg": "RS512", "kid": "RS256"}), &claims()),
        es.token(&with(json!({"alg": "ES384"})), &claims()),
        // What it says is critical is not understood, and other kinds of tokens are for other things.
        es.token(&with(json!({"crit": ["exp"]})), &claims()),
        es.token(&with(json!({"typ": "logout+jwt"})), &claims()),
        es.token(&es.header(), &json!("claims")),
        // Neither is a token within a token, or an encrypted one.
        es.token(&with(json!({"cty": "JWT"})), &json!(good)),
        "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.AAAA.AAAA.AAAA".to_owned(),
    ];
    for token in &forged {
        assert!(verify(&all, token.as_bytes()).is_none(), "{token}");
    }
    assert_eq!(forged.len(), 28);
    assert!(verify(&all, b"\xff.\xff.\xff").is_none());
    // Signed, and yet no token: a header that says something twice, or claims without a bottom.
    let raw = |header: &str, claims: &str| {
        let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let message = message.join(".");
        let signature = URL_SAFE_NO_PAD.encode((es.sign)(message.as_bytes()));
        format!("{message}.{signature}")
    };
    let plain = r#"{"alg": "ES256"}"#;
    let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    for (header, claims) in [
        (r#"{"alg": "none", "alg": "ES256"}"#, "{}"),
        (r#"{"alg": "ES256", "kid": "x", "kid": "ES256"}"#, "{}"),
        (r#"{"alg": "ES256", "crit": []}"#, "{}"),
        (plain, &*deep),
    ] {
        assert!(verify(&all, raw(header, claims).as_bytes()).is_none());
    }
    // Of a claim that is said twice the last counts, for whoever judges and for the service.
    let twice = raw(plain, r#"{"sub": "alice", "sub": "bob"}"#);
    assert_eq!(verify(&all, twice.as_bytes()).unwrap()["sub"], "bob");
    let good = [
        good,
        rs.token(&json!({"alg": "RS256", "kid": "RS256"}), &claims()),
        es.token(&with(json!({"typ": "application/AT+jwt"})), &claims()),
    ];
    for token in good {
        assert!(verify(&all, token.as_bytes()).is_some(), "{token}");
    }
}

#[test]
fn what_a_token_says_is_judged() {
    let required = |name: &str, values: &[&str]| RequiredClaim {
        name: name.into(),
        values: values.iter().map(|it| (*it).into()).collect(),
    };
    let any = jwt(keys([]));
    let of_issuer = Jwt {
        issuer: Some("i".into()),
        ..any.clone()
    };
    let for_us = Jwt {
        audiences: ["a".into(), "b".into()].into(),
        ..any.clone()
    };
    let orders = Jwt {
        required: [
            required("scope", &["orders", "all"]),
            required("org.team", &[]),
        ]
        .into(),
        ..any.clone()
    };
    use Denial::{Insufficient, Invalid};
    let cases = [
        // The time is 1000.
        (&any, json!({"exp": 1001}), Ok(())),
        (&any, json!({"exp": 991}), Ok(())),
        (&any, json!({"exp": 990.5}), Ok(())),
        (&any, json!({"exp": 990}), Err(Invalid)),
        (&any, json!({}), Err(Invalid)),
        (&any, json!({"exp": "1001"}), Err(Invalid)),
        (&any, json!({"exp": null}), Err(Invalid)),
        (&any, json!({"exp": 2000, "nbf": 1010}), Ok(())),
        (&any, json!({"exp": 2000, "nbf": 1011}), Err(Invalid)),
        (&any, json!({"exp": 2000, "nbf": "900"}), Err(Invalid)),
        (&of_issuer, json!({"exp": 2000, "iss": "i"}), Ok(())),
        (&of_issuer, json!({"exp": 2000, "iss": "j"}), Err(Invalid)),
        (&of_issuer, json!({"exp": 2000, "iss": ["i"]}), Err(Invalid)),
        (&of_issuer, json!({"exp": 2000}), Err(Invalid)),
        // What is for others is for nobody else.
        (&any, json!({"exp": 2000, "aud": "a"}), Err(Invalid)),
        (&for_us, json!({"exp": 2000, "aud": "a"}), Ok(())),
        (&for_us, json!({"exp": 2000, "aud": ["c", "b"]}), Ok(())),
        (&for_us, json!({"exp": 2000, "aud": ["c"]}), Err(Invalid)),
        (&for_us, json!({"exp": 2000, "aud": []}), Err(Invalid)),
        (&for_us, json!({"exp": 2000, "aud": {"a": 1}}), Err(Invalid)),
        (&for_us, json!({"exp": 2000}), Err(Invalid)),
        (
            &orders,
            json!({"exp": 2000, "scope": "read orders", "org": {"team": 7}}),
            Ok(()),
        ),
        (
            &orders,
            json!({"exp": 2000, "scope": ["all"], "org.team": "x"}),
            Ok(()),
        ),
        (
            &orders,
            json!({"exp": 2000, "scope": "order", "org": {"team": 7}}),
            Err(Insufficient),
        ),
        (
            &orders,
            json!({"exp": 2000, "scope": "orders", "org": {}}),
            Err(Insufficient),
        ),
        (
            &orders,
            json!({"exp": 2000, "scope": "all", "org": {"team": null}}),
            Err(Insufficient),
        ),
        (
            &orders,
            json!({"exp": 2000, "scope": {"all": 1}, "org.team": 1}),
            Err(Insufficient),
        ),
        // Whoever comes too late is told no more.
        (&orders, json!({"exp": 900}), Err(Invalid)),
    ];
    for (jwt, claims, expected) in &cases {
        let Value::Object(claims) = claims else {
            panic!()
        };
        assert_eq!(judge(jwt, claims, 1000.0), *expected, "{claims:?}");
    }
    assert_eq!(cases.len(), 28);
}

#[test]
fn headers_tell_what_tokens_say() {
    let header = ClaimHeader {
        claim: "c.d".into(),
        header: "X".into(),
    };
    let told = |claim: Value| {
        let Value::Object(claims) = json!({"c": {"d": claim}}) else {
            panic!()
        };
        let values = values(std::slice::from_ref(&header), &claims)?;
        Ok(values.into_iter().next().map(|(_, value)| value))
    };
    let cases = [
        (json!("alice"), Ok(Some("alice"))),
        (json!("jörg"), Ok(Some("jörg"))),
        (json!(7), Ok(Some("7"))),
        (json!(true), Ok(Some("true"))),
        (json!(["a", "b", 1]), Ok(Some("a,b,1"))),
        (json!([]), Ok(Some(""))),
        (json!(null), Ok(None)),
        (json!(["a,b"]), Err(Denial::Insufficient)),
        (json!({"a": 1}), Err(Denial::Insufficient)),
        (json!([["a"]]), Err(Denial::Insufficient)),
        (json!("a\r\nX-Admin: 1"), Err(Denial::Insufficient)),
        (json!(" a"), Err(Denial::Insufficient)),
    ];
    for (claim, expected) in cases {
        let expected = expected.map(|it: Option<&str>| it.map(str::to_owned));
        assert_eq!(told(claim.clone()), expected, "{claim}");
    }
}

#[test]
fn requests_bring_tokens() {
    let issuer = Issuer::p256();
    let terms = Jwt {
        headers: [ClaimHeader {
            claim: "sub".into(),
            header: "X-User".into(),
        }]
        .into(),
        hide_credentials: true,
        ..jwt(issuer.keys())
    };
    let optional = Jwt {
        optional: true,
        ..terms.clone()
    };
    let good = format!("Bearer {}", issuer.token(&issuer.header(), &claims()));
    let old = format!(
        "Bearer {}",
        issuer.token(&issuer.header(), &json!({"exp": 1}))
    );
    let challenge = |text: &str| Err(Failure::Unauthenticated(text.into()));
    let invalid = "Bearer error=\"invalid_token\"";
    let several = "Bearer error=\"invalid_request\"";
    let cases: [(&Jwt, &[&str], Result<bool, Failure>); 10] = [
        (&terms, &[&good], Ok(true)),
        (&terms, &[], challenge("Bearer")),
        (&terms, &["Basic YTpi"], challenge("Bearer")),
        (&terms, &["Bearer x"], challenge(invalid)),
        (&terms, &[&old], challenge(invalid)),
        (&terms, &[&good, &good], challenge(several)),
        (&optional, &[], Ok(false)),
        (&optional, &["Basic YTpi"], Ok(false)),
        (&optional, &[&old], challenge(invalid)),
        (&optional, &[&good], Ok(true)),
    ];
    for (jwt, values, expected) in cases {
        let mut head = RequestHead::new(Method::GET, b"/", Version::HTTP_11);
        for value in values {
            head.fields.append("Authorization", value.as_bytes());
        }
        let found = check(jwt, &mut head).map(|claims| claims.is_some());
        assert_eq!(found, expected, "{values:?}");
        let passed = expected == Ok(true);
        let user = head.fields.get("x-user");
        assert_eq!(user, passed.then_some(&b"alice"[..]));
        assert_eq!(
            head.fields.contains("authorization"),
            !passed && !values.is_empty()
        );
    }
}

/// What no key of the issuer can have signed may be by a new one; what one has not signed, or what is none of a
/// token, is asked for by nobody.
#[test]
fn a_key_that_is_not_known_is_asked_for() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    let (issuer, thief) = (Issuer::p256(), Issuer::p256());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let jwt = Jwt {
        keys: KeySource::Url {
            url: "https://id.example.com/keys".into(),
            field: Box::default(),
            held: Ok(Arc::new(issuer.keys())),
            renewal: Renewal::new(move || _ = counted.fetch_add(1, SeqCst)),
        },
        ..jwt(keys([]))
    };
    let header = |kid: Value| json!({"alg": "ES256", "kid": kid});
    let cases = [
        (issuer.token(&issuer.header(), &claims()), 0),
        (thief.token(&issuer.header(), &claims()), 0),
        (issuer.token(&issuer.header(), &json!({"exp": 1})), 0),
        (thief.token(&json!({"alg": "ES256"}), &claims()), 0),
        (thief.token(&header(json!("new")), &claims()), 1),
        (
            thief.token(&json!({"alg": "ES384", "kid": "ES256"}), &claims()),
            1,
        ),
        ("no token".to_owned(), 0),
    ];
    for (token, expected) in &cases {
        let mut head = RequestHead::new(Method::GET, b"/", Version::HTTP_11);
        head.fields
            .append("Authorization", format!("Bearer {token}").as_bytes());
        let _ = check(&jwt, &mut head);
        assert_eq!(asked.swap(0, SeqCst), *expected, "{token}");
    }
    assert_eq!(cases.len(), 7);
}
