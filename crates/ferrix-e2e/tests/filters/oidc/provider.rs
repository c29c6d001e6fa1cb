//! A provider of OpenID Connect that takes nothing which is not right, and lies where the test wants it to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    digest, hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ferrix_e2e::{
    Backend,
    backend::{Connection, Received},
    certificates::Authority,
};
use serde_json::{Value, json};

pub(super) const CLIENT: &str = "shop";

/// With characters that have to be escaped in `Authorization`.
pub(super) const SECRET: &str = "s:e c/r%t";

/// Alice's provider.
pub(super) struct Provider {
    pub(super) issuer: String,
    pub(super) backend: Backend,
    state: Arc<Mutex<State>>,
}

/// What it does, as a test wants it.
#[derive(Clone, Debug)]
pub(super) struct Says {
    /// Whether it answers 503.
    pub(super) down: bool,
    /// The client's secret; `None`: it is public.
    pub(super) secret: Option<&'static str>,
    /// How the secret is taken.
    pub(super) method: &'static str,
    /// What it says of itself besides.
    pub(super) document: Value,
    /// What ID tokens claim besides.
    pub(super) claims: Value,
    /// Seconds until an ID token ends.
    pub(super) lifetime: i64,
    /// Whether it gives refresh tokens.
    pub(super) refreshes: bool,
    /// Whether it may be asked by one twice, which it refuses.
    pub(super) takes_used: bool,
    /// What it lies about in ID tokens.
    pub(super) lie: Option<Lie>,
}

/// How an ID token is none.
#[derive(Clone, Debug)]
pub(super) enum Lie {
    /// By this header, without a signature.
    Unsigned(Value),
    /// By HMAC, with the public key as its secret.
    Hmac,
    /// By another key, under the name of the right one.
    OtherKey,
    /// Signed, with these claims besides.
    Claims(Value),
    /// Signed, with this header.
    Header(Value),
    /// Signed, with another payload in its place.
    Payload,
    /// It is no token at all.
    Text(&'static str),
}

struct State {
    says: Says,
    key: Key,
    codes: BTreeMap<String, Code>,
    /// Those that are good, and those that were used.
    refresh_tokens: BTreeSet<String>,
    used: BTreeSet<String>,
    /// Of codes and refresh tokens.
    next: usize,
    /// The last ID token.
    id_token: String,
}

struct Key {
    id: String,
    pair: Ed25519KeyPair,
}

struct Code {
    challenge: String,
    nonce: String,
    redirect: String,
}

impl Default for Says {
    fn default() -> Self {
        Self {
            down: false,
            secret: Some(SECRET),
            method: "client_secret_basic",
            document: json!({}),
            claims: json!({"email": "alice@example.com", "groups": ["staff"]}),
            lifetime: 300,
            refreshes: true,
            takes_used: false,
            lie: None,
        }
    }
}

impl Key {
    fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            pair: Ed25519KeyPair::generate().unwrap(),
        }
    }

    fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.pair.sign(message.as_bytes());
        format!("{message}.{}", encoded(signature.as_ref()))
    }
}

impl Provider {
    /// Behind TLS, with a certificate of this authority.
    pub(super) async fn start(authority: &Authority) -> Self {
        let config = authority.certify("provider", &["localhost"]).server(&[]);
        let state = Arc::new(Mutex::new(State {
            says: Says::default(),
            key: Key::new("k1"),
            codes: BTreeMap::new(),
            refresh_tokens: BTreeSet::new(),
            used: BTreeSet::new(),
            next: 0,
            id_token: String::new(),
        }));
        let shared = Arc::clone(&state);
        let backend = Backend::start_tls(config, move |mut connection: Connection| {
            let state = Arc::clone(&shared);
            async move {
                while let Some(request) = connection.request().await {
                    let answer = lock(&state).answer(&request);
                    connection.send(answer).await;
                }
            }
        })
        .await;
        let issuer = format!("https://localhost:{}", backend.address().port());
        Self {
            issuer,
            backend,
            state,
        }
    }

    /// Changes what it does from now on.
    pub(super) fn says(&self, change: impl FnOnce(&mut Says)) {
        change(&mut lock(&self.state).says);
    }

    /// Signs by another key from now on.
    pub(super) fn rotate(&self, id: &str) {
        lock(&self.state).key = Key::new(id);
    }

    /// The last ID token that it has given.
    pub(super) fn id_token(&self) -> String {
        lock(&self.state).id_token.clone()
    }

    /// Takes all refresh tokens back.
    pub(super) fn revoke(&self) {
        lock(&self.state).refresh_tokens.clear();
    }

    /// How often it was asked for a path.
    pub(super) fn asked(&self, path: &str) -> usize {
        let requests = self.backend.requests();
        requests.iter().filter(|it| it.target() == path).count()
    }

    /// Lets Alice log in where a browser was sent to, and sends it back: the target at the client.
    pub(super) fn log_in(&self, location: &str) -> String {
        let (code, parameters) = self.authorize(location);
        let state = &parameters["state"];
        format!("/oauth2/callback?code={code}&state={state}")
    }

    /// A code, for what a browser was sent to with these parameters.
    pub(super) fn authorize(&self, location: &str) -> (String, BTreeMap<String, String>) {
        let query = location.strip_prefix(&format!("{}/auth?tenant=a&", self.issuer));
        let query = query.unwrap_or_else(|| panic!("sent to {location}"));
        let parameters = pairs(query);
        let fixed = [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("scope", "openid email groups"),
            ("code_challenge_method", "S256"),
        ];
        for (name, value) in fixed {
            assert_eq!(parameters[name], value, "{location}");
        }
        let redirect = &parameters["redirect_uri"];
        assert!(redirect.ends_with("/oauth2/callback"), "{redirect}");
        assert_eq!(parameters["code_challenge"].len(), 43);
        assert!(parameters["state"].len() >= 22 && parameters["nonce"].len() >= 22);
        assert_eq!(parameters.len(), 8, "{location}");
        let mut state = lock(&self.state);
        let code = state.name("code");
        let granted = Code {
            challenge: parameters["code_challenge"].clone(),
            nonce: parameters["nonce"].clone(),
            redirect: redirect.clone(),
        };
        state.codes.insert(code.clone(), granted);
        (code, parameters)
    }
}

impl State {
    fn answer(&mut self, request: &Received) -> String {
        let host = request.head.one("host").unwrap();
        let issuer = format!("https://{host}");
        if self.says.down {
            return response(503, "down");
        }
        let answer = match (request.head.word(0), request.target()) {
            ("GET", "/.well-known/openid-configuration") => Ok(self.document(&issuer)),
            ("GET", "/keys") => Ok(json!({"keys": [
                {"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"},
                {"kty": "OKP", "crv": "Ed25519", "kid": self.key.id, "use": "sig",
                 "x": encoded(self.key.public())},
            ]})),
            ("POST", "/token") => self.token(&issuer, request),
            other => panic!("asked for {other:?}"),
        };
        match answer {
            Ok(answer) => response(200, &answer.to_string()),
            Err((status, error)) => response(status, &json!({"error": error}).to_string()),
        }
    }

    fn document(&self, issuer: &str) -> Value {
        let mut document = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/auth?tenant=a"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
            "end_session_endpoint": format!("{issuer}/end"),
            "token_endpoint_auth_methods_supported": [self.says.method],
        });
        merge(&mut document, &self.says.document);
        document
    }

    fn token(&mut self, issuer: &str, request: &Received) -> Result<Value, (u16, &'static str)> {
        let kind = request.head.one("content-type");
        assert_eq!(kind, Some("application/x-www-form-urlencoded"));
        let form = pairs(std::str::from_utf8(&request.body).unwrap());
        let of_header = request.head.one("authorization").map(|it| {
            let encoded = it.strip_prefix("Basic ").unwrap();
            String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
        });
        let of_form = |name: &str| form.get(name).map(String::as_str);
        let known = match (self.says.secret, self.says.method) {
            (None, _) => of_header.is_none() && of_form("client_id") == Some(CLIENT),
            (Some(_), "client_secret_basic") => {
                // Both parts are escaped (RFC 6749, section 2.3.1).
                of_header.as_deref() == Some("shop:s%3Ae%20c%2Fr%25t")
            }
            (Some(secret), _) => {
                of_header.is_none()
                    && of_form("client_id") == Some(CLIENT)
                    && of_form("client_secret") == Some(secret)
            }
        };
        if !known {
            return Err((401, "invalid_client"));
        }
        let nonce = match of_form("grant_type") {
            Some("authorization_code") => {
                let code = self.codes.remove(of_form("code").unwrap());
                let code = code.ok_or((400, "invalid_grant"))?;
                let verifier = of_form("code_verifier").unwrap();
                assert_eq!(verifier.len(), 43);
                let digest = digest::digest(&digest::SHA256, verifier.as_bytes());
                let is_right = encoded(digest.as_ref()) == code.challenge
                    && of_form("redirect_uri") == Some(&code.redirect);
                if !is_right {
                    return Err((400, "invalid_grant"));
                }
                Some(code.nonce)
            }
            Some("refresh_token") => {
                let token = of_form("refresh_token").unwrap();
                let is_first = self.used.insert(token.to_owned());
                assert!(is_first || self.says.takes_used, "{token} was used before");
                if !self.refresh_tokens.remove(token) {
                    return Err((400, "invalid_grant"));
                }
                None
            }
            other => panic!("granted by {other:?}"),
        };
        self.id_token = self.issue(issuer, nonce.as_deref());
        let mut answer = json!({
            "access_token": "a", "token_type": "Bearer", "expires_in": 300,
            "id_token": self.id_token,
        });
        if self.says.refreshes {
            let token = self.name("refresh");
            self.refresh_tokens.insert(token.clone());
            merge(&mut answer, &json!({"refresh_token": token}));
        }
        Ok(answer)
    }

    fn issue(&self, issuer: &str, nonce: Option<&str>) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_secs()).unwrap();
        let mut claims = json!({
            "iss": issuer, "aud": CLIENT, "sub": "alice", "iat": now, "exp": now + self.says.lifetime,
        });
        if let Some(nonce) = nonce {
            merge(&mut claims, &json!({"nonce": nonce}));
        }
        merge(&mut claims, &self.says.claims);
        let header = json!({"alg": "EdDSA", "kid": self.key.id, "typ": "JWT"});
        match &self.says.lie {
            None => self.key.sign(&header, &claims),
            Some(Lie::Unsigned(header)) => format!("{}.", message(header, &claims)),
            Some(Lie::Hmac) => {
                let header = json!({"alg": "HS256", "kid": self.key.id});
                let message = message(&header, &claims);
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.public());
                let signature = hmac::sign(&key, message.as_bytes());
                format!("{message}.{}", encoded(signature.as_ref()))
            }
            Some(Lie::OtherKey) => Key::new("other").sign(&header, &claims),
            Some(Lie::Claims(change)) => {
                merge(&mut claims, change);
                self.key.sign(&header, &claims)
            }
            Some(Lie::Header(change)) => {
                let mut header = header;
                merge(&mut header, change);
                self.key.sign(&header, &claims)
            }
            Some(Lie::Payload) => {
                let signed = self.key.sign(&header, &claims);
                let signature = signed.rsplit('.').next().unwrap();
                merge(&mut claims, &json!({"sub": "admin"}));
                format!("{}.{signature}", message(&header, &claims))
            }
            Some(Lie::Text(text)) => (*text).to_owned(),
        }
    }

    fn name(&mut self, of: &str) -> String {
        self.next += 1;
        format!("{of}-{}", self.next)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap()
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| encoded(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `null` takes out.
fn merge(value: &mut Value, change: &Value) {
    let value = value.as_object_mut().unwrap();
    for (name, change) in change.as_object().unwrap() {
        match change {
            Value::Null => drop(value.remove(name)),
            change => drop(value.insert(name.clone(), change.clone())),
        }
    }
}

fn response(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The pairs of a form, each name once.
pub(super) fn pairs(form: &str) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    for pair in form.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let before = pairs.insert(decoded(name), decoded(value));
        assert_eq!(before, None, "{name} twice in {form}");
    }
    pairs
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        bytes.push(match byte {
            b'%' => {
                let hex = std::str::from_utf8(&rest[..2]).unwrap();
                rest = &rest[2..];
                u8::from_str_radix(hex, 16).unwrap()
            }
            b'+' => b' ',
            byte => *byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
