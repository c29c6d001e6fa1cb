//! Logins at a real provider, through the whole program.

use std::net::{Ipv4Addr, SocketAddr};

use ferrix_e2e::{
    Backend, Browser, Gateway,
    certificates::Authority,
    chromium::Chromium,
    manifests::{secret, service},
    oidc_server::OidcServer,
};

const HOST: &str = "office.example";

const ORIGIN: &str = "http://office.example";

const PAGE: &str = "/reports?day=1";

async fn provider() -> OidcServer {
    let callbacks = ["http", "https"].map(|it| format!("{it}://{HOST}/oauth2/callback"));
    OidcServer::start(Ipv4Addr::LOCALHOST, &callbacks.each_ref().map(|it| &**it)).await
}

/// A route by HTTP, and the same by HTTPS.
fn manifests(provider: &OidcServer, client_secret: &str, backend: SocketAddr) -> String {
    let [client, _] = OidcServer::CLIENT;
    let issuer = provider.issuer();
    let route = |name: &str, more: &str| {
        format!(
            "---\n\
             apiVersion: ferrix.com/v1\n\
             kind: IngressRoute\n\
             metadata: {{name: {name}, namespace: default}}\n\
             spec:\n  \
               {more}\n  \
               route: {{host: {HOST}, rules: [{{service: {{name: api, port: 80}}, filters: [{{filter: login}}]}}]}}\n"
        )
    };
    let authority = Authority::new().certify("office", &[HOST]);
    let filter = format!(
        "---\n\
         apiVersion: ferrix.com/v1\n\
         kind: Filter\n\
         metadata: {{name: login, namespace: default}}\n\
         spec:\n  \
           filters:\n  \
           - oidc:\n      \
               issuer: {issuer}\n      \
               clientId: {client}\n      \
               secret: login\n      \
               scopes: [profile, email, offline_access]\n      \
               requiredClaims: [{{name: azp, values: [{client}]}}]\n      \
               claimsToHeaders: [{{claim: sub, header: X-User}}]\n\
         ---\n\
         apiVersion: v1\n\
         kind: Secret\n\
         metadata: {{name: login, namespace: default}}\n\
         stringData: {{session-key: 0123456789abcdef0123456789abcdef, client-secret: {client_secret}}}\n"
    );
    [
        service("api", &[backend]),
        route("plain", "entrypoint: web"),
        route("secure", "entrypoint: websecure\n  tls: office"),
        secret("office", &authority.certificate_pem, &authority.key_pem),
        filter,
    ]
    .concat()
}

#[tokio::test]
#[ignore = "needs the provider, which conformance/oidc compiles"]
async fn users_log_in_at_a_real_provider() {
    let provider = provider().await;
    let backend = Backend::hello("hi").await;
    let manifests = |secret| manifests(&provider, secret, backend.address());
    let [_, right] = OidcServer::CLIENT;
    let mut gateway = Gateway::from_manifests(&manifests(right), "").await;
    let web = gateway.web;
    let mut browser = Browser::default();
    let sent = browser.navigate(web, HOST, PAGE).await;
    let back = provider.log_in(&mut browser, &sent, ORIGIN).await;
    let before = browser.clone();
    let response = browser.navigate(web, HOST, &back).await;
    assert_eq!(response.head.one("location"), Some(PAGE), "{response:?}");
    assert_eq!(browser.navigate(web, HOST, PAGE).await.status, 200);
    let arrived = backend.last();
    assert_eq!(arrived.head.one("x-user"), Some(OidcServer::SUBJECT));
    assert!(!arrived.head.has("cookie"));
    // The provider takes a code once, whoever still has the cookie of the login.
    let mut replaying = before;
    assert_eq!(replaying.navigate(web, HOST, &back).await.status, 403);
    // Another tab has a login of its own.
    let mut other = Browser::default();
    let tabs = [
        other.navigate(web, HOST, "/a").await,
        other.navigate(web, HOST, "/b").await,
    ];
    for (sent, page) in tabs.iter().zip(["/a", "/b"]).rev() {
        let back = provider.log_in(&mut other, sent, ORIGIN).await;
        let response = other.navigate(web, HOST, &back).await;
        assert_eq!(response.head.one("location"), Some(page));
    }
    // A logout ends the session there as well.
    let ended = other.navigate(web, HOST, "/oauth2/logout").await;
    let there = provider.follow(&mut other, &ended).await;
    let there = provider.follow(&mut other, &there).await;
    assert!(there.text().contains("signed out"), "{there:?}");
    assert_eq!(other.navigate(web, HOST, "/a").await.status, 302);
    // With another secret it gives nothing.
    gateway.apply("all.yaml", &manifests("wrong")).await;
    let sent = other.navigate(web, HOST, "/a").await;
    let back = provider.log_in(&mut other, &sent, ORIGIN).await;
    assert_eq!(other.navigate(web, HOST, &back).await.status, 503);
    // Who is in stays in, also without it.
    drop(provider);
    assert_eq!(browser.navigate(web, HOST, PAGE).await.status, 200);
    assert_eq!(backend.requests().len(), 2);
}

/// By HTTP and by HTTPS a real browser keeps the cookies, comes back to its page, and is out after a logout.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: conformance/oidc --browser"]
async fn chromium_logs_in_and_out() {
    let provider = provider().await;
    let backend = Backend::hello("what the service says").await;
    let [_, right] = OidcServer::CLIENT;
    let manifests = manifests(&provider, right, backend.address());
    let gateway = Gateway::from_manifests(&manifests, "").await;
    let rules = format!(
        "MAP {HOST}:80 {},MAP {HOST}:443 {}",
        gateway.web, gateway.websecure
    );
    let browsing = tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start(&rules);
        for (scheme, prefix) in [("http", "ferrix-"), ("https", "__Host-ferrix-")] {
            log_in_and_out(&mut browser, &format!("{scheme}://{HOST}"), prefix);
        }
    });
    browsing.await.unwrap();
    // Its icon it has asked for as well.
    let arrived = backend.requests();
    let pages = arrived.iter().filter(|it| it.target() == PAGE);
    assert_eq!(pages.count(), 2);
    for arrived in &arrived {
        assert_eq!(arrived.head.one("x-user"), Some(OidcServer::SUBJECT));
        assert!(!arrived.head.has("cookie"));
    }
}

fn log_in_and_out(browser: &mut Chromium, origin: &str, prefix: &str) {
    let page = format!("{origin}{PAGE}");
    let asked = "document.querySelector('input[name=username]')";
    browser.go(&page, asked);
    let [user, password] = OidcServer::USER;
    browser.evaluate(&format!(
        "document.querySelector('input[name=username]').value = '{user}';\
         document.querySelector('input[name=password]').value = '{password}';\
         document.querySelector('form').submit()"
    ));
    browser.until(&format!(
        "location.href == '{page}' && document.body.innerText.includes('what the service says')"
    ));
    // A session has one cookie, which no script sees.
    let sessions = |browser: &mut Chromium| {
        let mut kept = browser.cookies(&page);
        kept.retain(|it| it.starts_with(prefix) && !it.contains("-login-"));
        kept.len()
    };
    assert_eq!(sessions(browser), 1);
    assert_eq!(browser.evaluate("document.cookie"), "");
    let out = "document.body.innerText.includes('signed out')";
    browser.go(&format!("{origin}/oauth2/logout"), out);
    assert_eq!(sessions(browser), 0);
    browser.go(&page, asked);
}
