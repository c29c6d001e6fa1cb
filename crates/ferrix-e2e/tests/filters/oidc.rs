//! Logins, judged by what a strict provider and a strict backend received.

use std::{sync::Arc, time::Duration};

use ferrix_e2e::{
    Backend, Browser, Gateway, Routes, backend::Dead, certificates::Authority, client::Response,
    within,
};
use ferrix_table::{
    filters::{
        Filter,
        from_object::FromObject,
        jwt::{ClaimHeader, RequiredClaim},
        oidc::{ClientAuthentication, Oidc, OidcSecrets},
    },
    object::{Kind, ObjectName},
    policy::Policy,
};
use serde_json::json;
use tempfile::NamedTempFile;

use self::provider::{CLIENT, Lie, Provider, SECRET};
use crate::{Answer, Ask, Either, GET, PAIRS, ask_once, filters};

mod provider;

const HOST: &str = "example.com";

/// Fields of a browser that goes somewhere.
const NAVIGATES: [(&str, &str); 2] = [("accept", "text/html"), ("sec-fetch-mode", "navigate")];

/// A filter for Alice, who is of the staff.
fn oidc(issuer: &str, key: u8) -> Oidc {
    Oidc {
        issuer: issuer.into(),
        client_id: CLIENT.into(),
        secrets: secrets(key, Some(SECRET)),
        authentication: None,
        scopes: ["email".into(), "groups".into()].into(),
        callback_path: "/oauth2/callback".into(),
        logout_path: "/oauth2/logout".into(),
        after_logout: None,
        lifetime: Duration::from_secs(3600),
        leeway: Duration::ZERO,
        required: [RequiredClaim {
            name: "groups".into(),
            values: ["staff".into()].into(),
        }]
        .into(),
        headers: [
            ClaimHeader {
                claim: "email".into(),
                header: "X-Email".into(),
            },
            ClaimHeader {
                claim: "groups".into(),
                header: "X-Groups".into(),
            },
        ]
        .into(),
        prepared: Default::default(),
    }
}

fn secrets(key: u8, client_secret: Option<&str>) -> FromObject<OidcSecrets> {
    FromObject {
        named: ObjectName::new("default", "login").key(Kind::Secret),
        field: Box::default(),
        held: Ok(Arc::new(OidcSecrets {
            session_key: [key; 32].into(),
            client_secret: client_secret.map(Into::into),
            prepared: Default::default(),
        })),
    }
}

fn policy(oidc: Oidc) -> Policy {
    filters([Filter::Oidc(Arc::new(oidc))])
}

/// Settings that trust the authority of a provider.
fn trusting(authority: &Authority) -> (NamedTempFile, String) {
    let file = authority.file();
    let path = file.path().display();
    let settings = format!(
        "{{upstream: {{tls: {{authorities: '{path}', verify: false}}}}, \
         paths: {{merge_slashes: false}}}}"
    );
    (file, settings)
}

/// A provider, a backend behind it, and a browser of Alice.
struct Place {
    provider: Provider,
    backend: Backend,
    gateway: Gateway,
    browser: Browser,
    _file: NamedTempFile,
    settings: String,
}

impl Place {
    async fn new() -> Self {
        Self::with(|it| it).await
    }

    async fn with(change: impl FnOnce(Oidc) -> Oidc) -> Self {
        let authority = Authority::new();
        let provider = Provider::start(&authority).await;
        let backend = Backend::hello("hi").await;
        let (file, settings) = trusting(&authority);
        let filter = change(oidc(&provider.issuer, 1));
        let routes = Routes::all_to(&[backend.address()]).policy(policy(filter));
        let gateway = Gateway::start_with(&settings, routes);
        Self {
            provider,
            backend,
            gateway,
            browser: Browser::default(),
            _file: file,
            settings,
        }
    }

    fn publish(&self, filter: Oidc) {
        let routes = Routes::all_to(&[self.backend.address()]).policy(policy(filter));
        self.gateway.publish(routes);
    }

    async fn navigate(&mut self, target: &str) -> Response {
        let web = self.gateway.web;
        self.browser.navigate(web, HOST, target).await
    }

    /// Where the browser is sent to from a page.
    async fn sent(&mut self, target: &str) -> String {
        let response = self.navigate(target).await;
        assert_eq!(response.status, 302, "{response:?}");
        response.head.one("location").unwrap().to_owned()
    }

    /// Where the provider sends Alice back to who is on the way to a page.
    async fn back(&mut self, target: &str) -> String {
        let location = self.sent(target).await;
        self.provider.log_in(&location)
    }

    /// Logs in on the way to a page, and comes back there.
    async fn log_in(&mut self, target: &str) {
        let back = self.back(target).await;
        assert_eq!(self.sent(&back).await, target);
    }

    /// The status of a page.
    async fn status(&mut self, target: &str) -> u16 {
        self.navigate(target).await.status
    }

    /// Waits until a page has this status.
    async fn becomes(&mut self, target: &str, status: u16) {
        let waiting = async {
            while self.status(target).await != status {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(format!("{target} to be {status}"), waiting).await;
    }

    /// Whether the backend got as many requests.
    fn served(&self, times: usize) {
        assert_eq!(self.backend.requests().len(), times);
    }

    async fn failed(&self, name: &str, times: u64) {
        self.gateway.failed(name, times).await;
    }
}

fn with<'a>(fields: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [fields, more].concat()
}

#[tokio::test]
async fn users_log_in_and_come_back_to_where_they_were() {
    let mut ran = 0;
    for (to_client, to_backend) in PAIRS {
        let authority = Authority::new();
        let provider = Provider::start(&authority).await;
        let backend = Either::start(to_backend).await;
        let (_file, settings) = trusting(&authority);
        let routes = backend.routes().policy(policy(oidc(&provider.issuer, 1)));
        let gateway = Gateway::start_with(&settings, routes);
        let forged = [
            ("x-email", "admin"),
            ("X_Groups", "admin"),
            ("x-other", "1"),
        ];
        let get = async |path: &str, fields: &[(&str, &str)]| -> Answer {
            ask_once(
                &gateway,
                to_client,
                Ask {
                    path,
                    fields,
                    ..GET
                },
            )
            .await
        };
        // Whoever shows nothing to anybody is not sent anywhere.
        for (method, fields) in [
            ("POST", &NAVIGATES[..]),
            (
                "GET",
                &[("sec-fetch-mode", "cors"), ("accept", "text/html")],
            ),
            ("GET", &[("accept", "application/json")]),
        ] {
            let request = Ask {
                method,
                fields,
                ..GET
            };
            let answer = ask_once(&gateway, to_client, request).await;
            assert_eq!(answer.status, 401);
            assert_eq!(answer.all("www-authenticate"), ["Cookie"]);
            assert!(answer.all("set-cookie").is_empty());
            ran += 1;
        }
        let mut browser = Browser::default();
        browser.put(HOST, "mine", "1");
        let page = "/a/b?c=d&e=%2F%C3%A4";
        let answer = get(page, &NAVIGATES).await;
        assert_eq!(
            (answer.status, answer.all("cache-control")),
            (302, vec!["no-store"])
        );
        browser.take(HOST, answer.all("set-cookie"));
        let back = provider.log_in(answer.all("location")[0]);
        let cookie = browser.cookies(HOST);
        let answer = get(&back, &with(&NAVIGATES, &[("cookie", &*cookie)])).await;
        assert_eq!((answer.status, answer.all("location")), (302, vec![page]));
        browser.take(HOST, answer.all("set-cookie"));
        // The session alone is left, sealed.
        assert_eq!(browser.of(HOST).count(), 2, "{browser:?}");
        assert!(!format!("{browser:?}").contains("alice"));
        assert_eq!(backend.count(), 0);
        let cookie = browser.cookies(HOST);
        for fields in [&NAVIGATES[..], &[("accept", "*/*")]] {
            let fields = with(fields, &with(&forged, &[("cookie", &*cookie)]));
            let answer = get(page, &fields).await;
            assert_eq!(answer.status, 200);
            assert!(answer.all("set-cookie").is_empty());
            let arrived = backend.last();
            assert_eq!(arrived.target, page);
            assert_eq!(arrived.all("x-email"), ["alice@example.com"]);
            assert_eq!(arrived.all("x-groups"), ["staff"]);
            assert_eq!(arrived.all("x-other"), ["1"]);
            assert_eq!(arrived.all("cookie"), ["mine=1"]);
            assert!(!format!("{arrived:?}").contains("admin"), "{arrived:?}");
            ran += 1;
        }
        // A request with a session asks nobody.
        assert_eq!((provider.asked("/keys"), provider.asked("/token")), (1, 1));
        assert_eq!(provider.asked("/.well-known/openid-configuration"), 1);
    }
    assert_eq!(ran, 4 * 5);
}

/// Over TLS, here or before a proxy that is trusted, browsers are told to keep cookies to this host.
#[tokio::test]
async fn cookies_are_of_one_host_and_one_scheme() {
    let mut place = Place::new().await;
    place.log_in("/a").await;
    assert_eq!(place.status("/a").await, 200);
    let plain: Vec<_> = place
        .browser
        .of(HOST)
        .map(|(_, value)| value.to_owned())
        .collect();
    let certified = Authority::new();
    let filter = oidc(&place.provider.issuer, 1);
    let routes = Routes::all_to(&[place.backend.address()])
        .policy(policy(filter))
        .certificate(&["*"], &certified.certify("all", &[HOST, "other.example"]));
    place.gateway.publish(routes);
    let mut client = place.gateway.tls_client(&certified.client(&[]), HOST).await;
    let get = |target: &str, host: &str, cookie: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nCookie: {cookie}\r\n\r\n"
        )
    };
    let begun = client.exchange(get("/b", HOST, "a=b")).await;
    let location = begun.head.one("location").unwrap();
    let (code, parameters) = place.provider.authorize(location);
    assert_eq!(
        parameters["redirect_uri"],
        "https://example.com/oauth2/callback"
    );
    let mut browser = Browser::default();
    browser.take(HOST, begun.head.all("set-cookie"));
    let back = format!("/oauth2/callback?code={code}&state={}", parameters["state"]);
    let finished = client
        .exchange(get(&back, HOST, &browser.cookies(HOST)))
        .await;
    assert_eq!(finished.head.one("location"), Some("/b"));
    for cookie in begun
        .head
        .all("set-cookie")
        .iter()
        .chain(&finished.head.all("set-cookie"))
    {
        assert!(cookie.starts_with("__Host-ferrix-"), "{cookie}");
        assert!(
            cookie.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure")
                || cookie.contains("=; Path=/; Max-Age=0;"),
            "{cookie}"
        );
    }
    browser.take(HOST, finished.head.all("set-cookie"));
    let cookie = browser.cookies(HOST);
    assert_eq!(client.exchange(get("/b", HOST, &cookie)).await.status, 200);
    // At another host it is none, and neither is that of the other scheme.
    assert_eq!(
        client
            .exchange(get("/b", "other.example", &cookie))
            .await
            .status,
        302
    );
    let (name, _) = cookie.split_once('=').unwrap();
    let moved = format!("{name}={}", plain[0]);
    assert_eq!(client.exchange(get("/b", HOST, &moved)).await.status, 302);
    // A sibling of the host may set cookies for both, but none of that prefix: what it sets is none.
    let tossed = cookie.replace("__Host-", "");
    assert_eq!(client.exchange(get("/b", HOST, &tossed)).await.status, 302);
    let both = format!("{tossed}; {cookie}; {}", moved.replace("__Host-", ""));
    assert_eq!(client.exchange(get("/b", HOST, &both)).await.status, 200);
    assert!(!place.backend.last().head.has("cookie"));
    place.served(3);
}

#[tokio::test]
async fn tabs_log_in_beside_each_other() {
    let mut place = Place::new().await;
    let mut backs = Vec::new();
    for tab in ["/a", "/b", "/c"] {
        let location = place.sent(tab).await;
        backs.push((tab, place.provider.log_in(&location)));
    }
    // The last one first, and each comes back to its own page.
    for (tab, back) in backs.iter().rev() {
        assert_eq!(place.sent(back).await, *tab);
        assert_eq!(place.status(tab).await, 200);
    }
    assert_eq!(place.browser.of(HOST).count(), 1);
    // Of many that are never finished, the oldest give way.
    place.browser = Browser::default();
    let mut backs = Vec::new();
    for tab in 0..12 {
        let location = place.sent(&format!("/{tab}")).await;
        backs.push(place.provider.log_in(&location));
        assert!(place.browser.of(HOST).count() <= 8);
    }
    assert_eq!(place.status(&backs[11]).await, 302);
}

#[tokio::test]
async fn only_the_browser_that_has_begun_a_login_ends_it() {
    let mut place = Place::new().await;
    let back = place.back("/a").await;
    let (_, query) = back.split_once('?').unwrap();
    let (code, state) = query.split_once('&').unwrap();
    let other_state = "s".repeat(22);
    // Somebody else's browser, one without a login, and one that has begun another.
    let web = place.gateway.web;
    let mut other = Browser::default();
    assert_eq!(other.navigate(web, HOST, "/b").await.status, 302);
    let mut refused = 0;
    for mut browser in [Browser::default(), other] {
        let response = browser.navigate(web, HOST, &back).await;
        assert_eq!(response.status, 403);
        refused += 1;
    }
    let targets = [
        "/oauth2/callback".to_owned(),
        format!("/oauth2/callback?{code}"),
        format!("/oauth2/callback?{state}"),
        format!("/oauth2/callback?{code}&state={other_state}"),
        format!("/oauth2/callback?{code}&state=%00"),
        format!("/oauth2/callback?{code}&{state}&{state}"),
        format!("/oauth2/callback?{code}&code=b&{state}"),
        format!("/oauth2/callback?{code}&{state}&error=access_denied"),
        format!("/oauth2/callback?{code}&{state}&iss=https%3A%2F%2Fevil.example"),
        format!("/oauth2/callback?{code}&{state}&iss="),
        // Of somebody else, or made up.
        format!("/oauth2/callback?code=code-999&{state}"),
    ];
    for target in &targets {
        let response = place.navigate(target).await;
        assert_eq!(response.status, 403, "{target}");
        assert!(response.head.all("set-cookie").is_empty());
        refused += 1;
    }
    let posted = place.browser.submit(web, HOST, &back, "a=b").await;
    assert_eq!(posted.status, 403);
    refused += 1;
    // All that was no obstacle to the right one.
    let before = place.browser.clone();
    assert_eq!(place.sent(&back).await, "/a");
    assert_eq!(place.status("/a").await, 200);
    // Replayed: with the session, and by whoever has kept the cookie of the login.
    assert_eq!(place.status(&back).await, 403);
    let after = std::mem::replace(&mut place.browser, before);
    assert_eq!(place.status(&back).await, 403);
    assert_eq!(place.status("/a").await, 302);
    place.browser = after;
    assert_eq!(place.status("/a").await, 200);
    assert_eq!(refused, 14);
    place.failed("login_refused", 16).await;
    place.served(2);
}

/// A provider that says that it names itself has to (RFC 9207).
#[tokio::test]
async fn answers_of_other_providers_are_refused() {
    let mut place = Place::new().await;
    let names = "authorization_response_iss_parameter_supported";
    place.provider.says(|it| it.document = json!({names: true}));
    let back = place.back("/a").await;
    assert_eq!(place.status(&back).await, 403);
    let issuer = place
        .provider
        .issuer
        .replace(':', "%3A")
        .replace('/', "%2F");
    assert_eq!(place.status(&format!("{back}&iss={issuer}x")).await, 403);
    assert_eq!(place.provider.asked("/token"), 0);
    assert_eq!(place.sent(&format!("{back}&iss={issuer}")).await, "/a");
}

#[tokio::test]
async fn tokens_that_are_none_let_nobody_in() {
    let mut place = Place::new().await;
    let claims = |claims| Lie::Claims(claims);
    let lies = [
        Lie::Unsigned(json!({"alg": "none"})),
        Lie::Unsigned(json!({"alg": "None", "typ": "JWT"})),
        Lie::Unsigned(json!({"alg": "EdDSA", "kid": "k1"})),
        Lie::Hmac,
        Lie::OtherKey,
        Lie::Payload,
        Lie::Header(json!({"kid": "k2"})),
        Lie::Header(json!({"alg": "HS256"})),
        Lie::Header(json!({"alg": "RS256"})),
        Lie::Header(json!({"typ": "logout+jwt"})),
        Lie::Header(json!({"crit": ["exp"]})),
        Lie::Text(""),
        Lie::Text("a.b.c"),
        claims(json!({"iss": "https://evil.example"})),
        claims(json!({"aud": "other"})),
        claims(json!({"aud": ["shop", "other"]})),
        claims(json!({"azp": "other"})),
        claims(json!({"nonce": "other"})),
        claims(json!({"nonce": null})),
        claims(json!({"exp": 1_000_000_000})),
        claims(json!({"exp": null})),
        claims(json!({"iat": 4_000_000_000_u64, "exp": 4_000_000_300_u64})),
        claims(json!({"nbf": 4_000_000_000_u64})),
        claims(json!({"sub": null})),
    ];
    let mut ran = 0;
    for lie in &lies {
        place.provider.says(|it| it.lie = Some(lie.clone()));
        let back = place.back("/a").await;
        assert_eq!(place.status(&back).await, 403, "{lie:?}");
        assert_eq!(place.status("/a").await, 302, "{lie:?}");
        place.browser = Browser::default();
        ran += 1;
    }
    assert_eq!(ran, 24);
    place.served(0);
    place.failed("login_refused", 24).await;
    place.provider.says(|it| it.lie = None);
    place.log_in("/a").await;
    assert_eq!(place.status("/a").await, 200);
}

#[tokio::test]
async fn a_provider_may_exchange_its_keys() {
    let mut place = Place::new().await;
    place.log_in("/a").await;
    place.provider.rotate("k2");
    // Keys are not asked for more often than once a second.
    let waiting = async {
        loop {
            place.browser = Browser::default();
            let back = place.back("/a").await;
            if place.status(&back).await == 302 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the new key", waiting).await;
    assert_eq!(place.provider.asked("/keys"), 2);
    assert_eq!(place.status("/a").await, 200);
}

#[tokio::test]
async fn nobody_is_led_elsewhere() {
    let mut place = Place::new().await;
    let mut ran = 0;
    for target in [
        "//evil.example/a",
        "///evil.example",
        "//evil.example/%2e%2e",
        "/%09/evil.example",
        "/%5Cevil.example",
        "/a?next=https://evil.example",
        "/a//evil.example",
        "/@evil.example",
    ] {
        place.browser = Browser::default();
        let response = place.navigate(target).await;
        // Some are no paths of requests at all.
        if response.status != 400 {
            let location = response.head.one("location").unwrap();
            assert!(location.starts_with(&place.provider.issuer), "{location}");
            let back = place.provider.log_in(location);
            let back = place.sent(&back).await;
            assert!(back.starts_with('/'), "{back}");
            assert!(!back.starts_with("//") && !back.contains('\\'), "{back}");
            assert!(back == target || back == "/", "{target} became {back}");
        }
        ran += 1;
    }
    assert_eq!(ran, 8);
}

/// Many requests at once ask the provider once: it takes a refresh token once.
#[tokio::test]
async fn sessions_are_continued_once_for_all_requests() {
    let mut place = Place::new().await;
    place.provider.says(|it| it.lifetime = 1);
    place.log_in("/a").await;
    place.provider.says(|it| {
        it.lifetime = 300;
        it.claims = json!({"email": "alice@new.example", "groups": ["staff", "dev"]});
    });
    let web = place.gateway.web;
    let before = place.browser.clone();
    let refreshed = async {
        loop {
            let all: Vec<_> = (0..8)
                .map(|_| {
                    let mut browser = before.clone();
                    tokio::spawn(async move {
                        let status = browser.navigate(web, HOST, "/a").await.status;
                        (status, browser)
                    })
                })
                .collect();
            for one in all {
                let (status, browser) = one.await.unwrap();
                assert_eq!(status, 200);
                if browser.cookies(HOST) != before.cookies(HOST) {
                    place.browser = browser;
                }
            }
            if place.provider.asked("/token") == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the session to be continued", refreshed).await;
    assert_eq!(place.status("/a").await, 200);
    let arrived = place.backend.last();
    assert_eq!(arrived.head.one("x-email"), Some("alice@new.example"));
    assert_eq!(arrived.head.one("x-groups"), Some("staff,dev"));
    // A request that comes late, with what the session was before, is served as well.
    place.browser = before;
    assert_eq!(place.status("/a").await, 200);
    assert_eq!(place.provider.asked("/token"), 2);
}

/// With a session that is over until it has been continued.
async fn over() -> Place {
    let mut place = Place::new().await;
    place.provider.says(|it| it.lifetime = 1);
    place.log_in("/a").await;
    place
}

#[tokio::test]
async fn who_is_out_of_the_group_is_out() {
    let mut place = over().await;
    place.provider.says(|it| {
        it.lifetime = 300;
        it.claims = json!({"email": "alice@example.com", "groups": ["guests"]});
    });
    place.becomes("/a", 403).await;
    let served = place.backend.requests().len();
    assert_eq!(place.status("/a").await, 403);
    place.served(served);
    // And may log in anew as somebody else.
    assert_eq!(place.status("/oauth2/logout").await, 302);
}

#[tokio::test]
async fn a_session_ends_where_the_provider_ends_it() {
    let mut place = over().await;
    place.provider.revoke();
    let script = |cookie: String| {
        format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\nAccept: */*\r\nCookie: {cookie}\r\n\r\n")
    };
    place.becomes("/a", 302).await;
    let cookie = place.browser.cookies(HOST);
    let response = place.gateway.client().await.exchange(script(cookie)).await;
    assert_eq!(response.status, 401);
    // It was asked once, and not again.
    assert_eq!(place.provider.asked("/token"), 2);
}

#[tokio::test]
async fn tokens_that_continue_a_session_are_held_to_it() {
    let lies = [
        Lie::Claims(json!({"sub": "mallory"})),
        Lie::Claims(json!({"nonce": "other"})),
        Lie::Claims(json!({"aud": "other"})),
        Lie::Unsigned(json!({"alg": "none"})),
        Lie::OtherKey,
    ];
    let mut ran = 0;
    for lie in lies {
        let mut place = over().await;
        place.provider.says(|it| it.lie = Some(lie));
        place.becomes("/a", 302).await;
        ran += 1;
    }
    assert_eq!(ran, 5);
}

/// Without a refresh token a session ends with its ID token, and without a provider nobody comes in.
#[tokio::test]
async fn whoever_is_in_stays_in_while_the_provider_is_away() {
    let mut place = over().await;
    place.provider.says(|it| it.down = true);
    // It would have to go on, and nobody knows whether it may.
    place.becomes("/a", 503).await;
    place.provider.says(|it| {
        it.down = false;
        it.lifetime = 300;
    });
    place.becomes("/a", 200).await;
    place.provider.says(|it| it.down = true);
    assert_eq!(place.status("/a").await, 200);
    // What it has said of itself is known still, what codes are worth is not.
    let inside = std::mem::take(&mut place.browser);
    let back = place.back("/b").await;
    assert_eq!(place.status(&back).await, 503);
    place.provider.backend.stop_accepting();
    let back = place.back("/b").await;
    assert_eq!(place.status(&back).await, 503);
    place.browser = inside;
    assert_eq!(place.status("/a").await, 200);
    // A logout ends the session here, at least.
    assert_eq!(place.status("/oauth2/logout").await, 302);
    assert_eq!(place.status("/a").await, 302);
}

#[tokio::test]
async fn a_provider_that_says_nothing_of_use_lets_nobody_in() {
    let mut ran = 0;
    for (name, value) in [
        ("issuer", json!("https://evil.example")),
        ("token_endpoint", json!("http://localhost/token")),
        ("authorization_endpoint", json!("javascript:alert(1)")),
        ("jwks_uri", json!(null)),
    ] {
        let mut place = Place::new().await;
        place.provider.says(|it| it.document = json!({name: value}));
        assert_eq!(place.status("/a").await, 503);
        // Once it does, users log in.
        place.provider.says(|it| it.document = json!({}));
        place.becomes("/a", 302).await;
        place.served(0);
        ran += 1;
    }
    assert_eq!(ran, 4);
    let mut place = Place::new().await;
    // One that is not there, and one whose certificate nobody knows.
    let dead = Dead::new();
    let unknown = Provider::start(&Authority::new()).await;
    for issuer in [
        format!("https://{}", dead.address()),
        format!("http://{}", dead.address()),
        unknown.issuer.clone(),
    ] {
        place.publish(oidc(&issuer, 1));
        assert_eq!(place.status("/a").await, 503, "{issuer}");
    }
    place.served(0);
    assert_eq!(unknown.backend.requests().len(), 0);
}

#[tokio::test]
async fn logouts_end_sessions_here_and_there() {
    let mut place = Place::with(|it| Oidc {
        after_logout: Some("/bye".into()),
        ..it
    })
    .await;
    place.log_in("/a").await;
    let location = place.sent("/oauth2/logout").await;
    let end = format!("{}/end?", place.provider.issuer);
    let parameters = provider::pairs(location.strip_prefix(&end).unwrap());
    let expected = [
        ("client_id", CLIENT.to_owned()),
        ("id_token_hint", place.provider.id_token()),
        ("post_logout_redirect_uri", format!("http://{HOST}/bye")),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(parameters.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(place.browser.of(HOST).count(), 0);
    assert_eq!(place.status("/a").await, 302);
    // A provider that ends no sessions: here alone.
    let mut ran = 0;
    for after in [Some("/bye"), None] {
        let mut place = Place::with(|it| Oidc {
            after_logout: after.map(Into::into),
            ..it
        })
        .await;
        let no_end = json!({"end_session_endpoint": null});
        place.provider.says(|it| it.document = no_end);
        place.log_in("/a").await;
        let response = place.navigate("/oauth2/logout").await;
        match after {
            Some(path) => assert_eq!(response.head.one("location"), Some(path)),
            None => {
                assert_eq!(response.status, 200);
                assert!(response.text().contains("Logged out"));
            }
        }
        assert_eq!(place.browser.of(HOST).count(), 0);
        place.served(0);
        ran += 1;
    }
    assert_eq!(ran, 2);
}

/// What a service lets caches keep is kept by none where it brings the cookies of a user.
#[tokio::test]
async fn cookies_of_a_session_are_for_no_cache() {
    let mut place = over().await;
    let public =
        "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 2\r\n\r\nhi";
    place.backend = Backend::answering(public).await;
    place.publish(oidc(&place.provider.issuer, 1));
    place.provider.says(|it| it.lifetime = 300);
    let (mut kept, mut given) = (0, 0);
    let continued = async {
        while given == 0 {
            let answer = place.navigate("/a").await;
            assert_eq!(answer.status, 200);
            let control = answer.head.all("cache-control");
            match answer.head.has("set-cookie") {
                true => {
                    assert_eq!(control, ["no-store"]);
                    given += 1;
                }
                false => {
                    assert_eq!(control, ["public, max-age=60"]);
                    kept += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        let answer = place.navigate("/a").await;
        assert_eq!(answer.head.all("cache-control"), ["public, max-age=60"]);
    };
    within("the session to be continued", continued).await;
    assert_eq!(given, 1, "after {kept} that brought none");
}

/// A link or a frame of another site brings the cookies, and ends nothing all the same.
#[tokio::test]
async fn another_site_ends_no_session() {
    let mut place = Place::new().await;
    place.log_in("/a").await;
    let cookie = place.browser.cookies(HOST);
    let mut client = place.gateway.client().await;
    let mut ran = 0;
    for (site, status) in [
        ("cross-site", 403),
        ("same-site", 302),
        ("same-origin", 302),
        ("none", 302),
    ] {
        let request = format!(
            "GET /oauth2/logout HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/html\r\n\
             Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: navigate\r\nCookie: {cookie}\r\n\r\n"
        );
        let answer = client.exchange(request).await;
        assert_eq!(answer.status, status, "{site}");
        let ends = !answer.head.all("set-cookie").is_empty();
        assert_eq!(ends, status == 302, "{site}");
        ran += 1;
    }
    assert_eq!(ran, 4);
    assert_eq!(place.status("/a").await, 200);
}

/// A provider takes a refresh token once. Of two replicas that a browser asks at the same time the second has its user
/// log in, and the session that the first has given goes on at both.
#[tokio::test]
async fn a_session_that_two_replicas_continue_goes_on() {
    let mut place = over().await;
    let filter = oidc(&place.provider.issuer, 1);
    let routes = Routes::all_to(&[place.backend.address()]).policy(policy(filter));
    let replica = Gateway::start_with(&place.settings, routes);
    let before = place.browser.clone();
    place.provider.says(|it| {
        it.lifetime = 300;
        it.takes_used = true;
    });
    let continued = async {
        while place.provider.asked("/token") < 2 {
            assert_eq!(place.status("/a").await, 200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the session to be continued", continued).await;
    let mut late = before;
    let sent = late.navigate(replica.web, HOST, "/a").await;
    assert_eq!(sent.status, 302);
    assert_eq!(place.provider.asked("/token"), 3);
    let location = sent.head.one("location").unwrap();
    assert!(location.starts_with(&place.provider.issuer), "{location}");
    for web in [place.gateway.web, replica.web] {
        assert_eq!(place.browser.navigate(web, HOST, "/a").await.status, 200);
    }
    assert_eq!(place.provider.asked("/token"), 3);
}

#[tokio::test]
async fn a_session_is_in_as_many_cookies_as_it_takes() {
    let mut place = Place::new().await;
    let groups = |count: usize| -> Vec<_> {
        let others = (1..count).map(|it| format!("group-{it:04}"));
        ["staff".to_owned()].into_iter().chain(others).collect()
    };
    let mut ran = 0;
    // Each in place of the one before: one, all that there may be, as many as it takes without the ID token.
    for (count, cookies) in [(1, 1), (300, 4), (400, 2), (100, 2), (1, 1)] {
        let all = groups(count);
        place.provider.says(|it| it.claims = json!({"groups": all}));
        place.publish(Oidc {
            lifetime: Duration::ZERO,
            ..oidc(&place.provider.issuer, 1)
        });
        let location = place.sent("/a").await;
        place.publish(oidc(&place.provider.issuer, 1));
        let back = place.provider.log_in(&location);
        assert_eq!(place.sent(&back).await, "/a");
        assert_eq!(place.browser.of(HOST).count(), cookies, "{count}");
        assert_eq!(place.status("/a").await, 200);
        let arrived = place.backend.last();
        assert_eq!(arrived.head.one("x-groups"), Some(&*all.join(",")));
        assert!(!arrived.head.has("cookie"));
        // Without one of several there is none.
        if let Some((name, _)) = place.browser.of(HOST).nth(1) {
            let mut fewer = place.browser.clone();
            fewer.take(HOST, [&*format!("{name}=; Max-Age=0")]);
            let web = place.gateway.web;
            assert_eq!(fewer.navigate(web, HOST, "/a").await.status, 302);
        }
        ran += 1;
    }
    assert_eq!(ran, 5);
    place
        .provider
        .says(|it| it.claims = json!({"groups": groups(3000)}));
    place.browser = Browser::default();
    let back = place.back("/a").await;
    assert_eq!(place.status(&back).await, 503);
}

#[tokio::test]
async fn replicas_share_sessions_by_their_key_alone() {
    let mut place = Place::new().await;
    let routes = |key| {
        let filter = oidc(&place.provider.issuer, key);
        Routes::all_to(&[place.backend.address()]).policy(policy(filter))
    };
    let replica = Gateway::start_with(&place.settings, routes(1));
    let stranger = Gateway::start_with(&place.settings, routes(2));
    let back = place.back("/a").await;
    let mut elsewhere = place.browser.clone();
    assert_eq!(
        elsewhere.navigate(stranger.web, HOST, &back).await.status,
        403
    );
    let response = place.browser.navigate(replica.web, HOST, &back).await;
    assert_eq!(response.head.one("location"), Some("/a"));
    for (gateway, status) in [(&place.gateway, 200), (&replica, 200), (&stranger, 302)] {
        let mut browser = place.browser.clone();
        assert_eq!(
            browser.navigate(gateway.web, HOST, "/a").await.status,
            status
        );
    }
    // A new key ends all sessions.
    place.publish(oidc(&place.provider.issuer, 2));
    assert_eq!(place.status("/a").await, 302);
    // And without its Secret a filter lets nobody pass.
    place.publish(Oidc {
        secrets: FromObject::unknown(ObjectName::new("default", "login").key(Kind::Secret), ""),
        ..oidc(&place.provider.issuer, 1)
    });
    assert_eq!(place.status("/a").await, 500);
}

/// A cookie of one filter is none for another: one that asks another client, or for other claims.
#[tokio::test]
async fn filters_have_sessions_of_their_own() {
    let mut place = Place::new().await;
    // One login is under way, another has ended.
    let back = place.back("/a").await;
    place.log_in("/a").await;
    let mine = oidc(&place.provider.issuer, 1);
    let others = [
        Oidc {
            client_id: "other".into(),
            ..mine.clone()
        },
        Oidc {
            required: [].into(),
            headers: [].into(),
            ..mine.clone()
        },
        Oidc {
            scopes: [].into(),
            ..mine.clone()
        },
    ];
    let mut ran = 0;
    for other in others {
        place.publish(Oidc {
            prepared: Default::default(),
            ..other
        });
        let before = place.browser.clone();
        assert_eq!(place.status("/a").await, 302);
        // Nor is a login that was begun at one ended at the other.
        place.browser = before.clone();
        assert_eq!(place.status(&back).await, 403);
        // Under the names of the other as well.
        let name = |browser: &Browser| {
            let mut names = browser.of(HOST).map(|(name, _)| name.to_owned());
            names
                .find(|name| !before.of(HOST).any(|(it, _)| it == name))
                .unwrap()
        };
        place.sent("/a").await;
        let fresh = name(&place.browser);
        let prefix = fresh.split("-login-").next().unwrap();
        let stolen = before
            .of(HOST)
            .find(|(name, _)| !name.contains("-login-"))
            .unwrap();
        place.browser.put(HOST, prefix, stolen.1);
        assert_eq!(place.status("/a").await, 302);
        place.browser = before;
        ran += 1;
    }
    assert_eq!(ran, 3);
    place.publish(mine);
    assert_eq!(place.status("/a").await, 200);
    place.served(1);
}

#[tokio::test]
async fn providers_are_told_the_secret_as_they_want_it() {
    let cases = [
        (Some(SECRET), "client_secret_basic", None, 302),
        (Some(SECRET), "client_secret_post", None, 302),
        (None, "none", None, 302),
        (
            Some(SECRET),
            "client_secret_post",
            Some(ClientAuthentication::Post),
            302,
        ),
        (
            Some(SECRET),
            "client_secret_post",
            Some(ClientAuthentication::Basic),
            503,
        ),
        (Some(SECRET), "private_key_jwt", None, 503),
    ];
    let mut ran = 0;
    for (secret, method, authentication, status) in cases {
        let mut place = Place::with(|it| Oidc {
            secrets: secrets(1, secret),
            authentication,
            ..it
        })
        .await;
        place
            .provider
            .says(|it| (it.secret, it.method) = (secret, method));
        let back = place.back("/a").await;
        assert_eq!(
            place.status(&back).await,
            status,
            "{method} {authentication:?}"
        );
        ran += 1;
    }
    assert_eq!(ran, 6);
}

/// What a browser comes back with is nobody's business.
#[tokio::test]
async fn codes_are_not_in_the_access_log() {
    let authority = Authority::new();
    let provider = Provider::start(&authority).await;
    let backend = Backend::hello("hi").await;
    let (_file, settings) = trusting(&authority);
    let routes = Routes::all_to(&[backend.address()]).policy(policy(oidc(&provider.issuer, 1)));
    let (gateway, mut records) = Gateway::start_logged_with(&settings, routes);
    let mut browser = Browser::default();
    let response = browser.navigate(gateway.web, HOST, "/a?code=mine").await;
    let back = provider.log_in(response.head.one("location").unwrap());
    let response = browser.navigate(gateway.web, HOST, &back).await;
    assert_eq!(response.head.one("location"), Some("/a?code=mine"));
    let first = within("a record", records.recv()).await.unwrap();
    assert_eq!(first.path, "/a?code=mine");
    let second = within("a record", records.recv()).await.unwrap();
    assert!(
        second.path.starts_with("/oauth2/callback?state="),
        "{}",
        second.path
    );
    assert!(!second.path.contains("code"), "{}", second.path);
}
