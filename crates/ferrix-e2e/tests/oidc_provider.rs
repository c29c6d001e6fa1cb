//! Logins at a real provider, through the whole program.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use ferrix_e2e::{Backend, Browser, Gateway, client::Response, manifests::service, within};
use tokio::net::TcpStream;

const HOST: &str = "office.example";

/// The server of zitadel/oidc, with a user and a client of its own.
struct Provider {
    process: Child,
    address: SocketAddr,
    /// As it names itself, without `http://`.
    host: String,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Provider {
    async fn start() -> Self {
        let program = env::var("OIDC_PROVIDER").expect("OIDC_PROVIDER, the path of the provider");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = Command::new(program)
            .env("PORT", address.port().to_string())
            .env("REDIRECT_URI", format!("http://{HOST}/oauth2/callback"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let provider = Self {
            process,
            address,
            host: format!("localhost:{}", address.port()),
        };
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("the provider to listen", listening).await;
        provider
    }

    /// Goes where a browser is sent to, which has to be here.
    async fn follow(&self, browser: &mut Browser, response: &Response) -> Response {
        assert!((300..400).contains(&response.status), "{response:?}");
        let location = response.head.one("location").unwrap();
        let target = match location.strip_prefix("http://") {
            Some(rest) => rest.strip_prefix(&*self.host).expect(location),
            None => location,
        };
        browser.navigate(self.address, &self.host, target).await
    }

    /// Logs in by a password where a browser was sent to. Returns where it is sent back to, at the client.
    async fn log_in(&self, browser: &mut Browser, sent: &Response) -> String {
        let asked = self.follow(browser, sent).await;
        let page = self.follow(browser, &asked).await.text();
        let (_, rest) = page.split_once("name=\"id\" value=\"").expect(&page);
        let (id, _) = rest.split_once('"').unwrap();
        let form = format!("id={id}&username=test-user%40localhost&password=verysecure");
        let target = "/login/username";
        let passed = browser
            .submit(self.address, &self.host, target, &form)
            .await;
        let back = self.follow(browser, &passed).await;
        let location = back
            .head
            .one("location")
            .unwrap_or_else(|| panic!("{back:?}"));
        let target = location.strip_prefix(&format!("http://{HOST}"));
        target.expect(location).to_owned()
    }
}

fn manifests(provider: &Provider, client_secret: &str, backend: SocketAddr) -> String {
    let route = format!(
        "---\n\
         apiVersion: ferrix.com/v1\n\
         kind: IngressRoute\n\
         metadata: {{name: office, namespace: default}}\n\
         spec:\n  \
           entrypoint: web\n  \
           route:\n    \
             host: {HOST}\n    \
             rules:\n    \
             - service: {{name: api, port: 80}}\n      \
               filters:\n      \
               - oidc:\n          \
                   issuer: http://{}/\n          \
                   clientId: web\n          \
                   secret: login\n          \
                   scopes: [profile, email, offline_access]\n          \
                   requiredClaims: [{{name: azp, values: [web]}}]\n          \
                   claimsToHeaders: [{{claim: sub, header: X-User}}]\n\
         ---\n\
         apiVersion: v1\n\
         kind: Secret\n\
         metadata: {{name: login, namespace: default}}\n\
         stringData: {{session-key: 0123456789abcdef0123456789abcdef, client-secret: {client_secret}}}\n",
        provider.host
    );
    service("api", &[backend]) + &route
}

#[tokio::test]
#[ignore = "needs the provider, which conformance/oidc installs"]
async fn users_log_in_at_a_real_provider() {
    let provider = Provider::start().await;
    let backend = Backend::hello("hi").await;
    let manifests = |secret| manifests(&provider, secret, backend.address());
    let mut gateway = Gateway::from_manifests(&manifests("secret"), "").await;
    let web = gateway.web;
    let mut browser = Browser::default();
    let page = "/reports?day=1";
    let sent = browser.navigate(web, HOST, page).await;
    let back = provider.log_in(&mut browser, &sent).await;
    let before = browser.clone();
    let response = browser.navigate(web, HOST, &back).await;
    assert_eq!(response.head.one("location"), Some(page), "{response:?}");
    assert_eq!(browser.navigate(web, HOST, page).await.status, 200);
    let arrived = backend.last();
    assert_eq!(arrived.head.one("x-user"), Some("id1"));
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
        let back = provider.log_in(&mut other, sent).await;
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
    let back = provider.log_in(&mut other, &sent).await;
    assert_eq!(other.navigate(web, HOST, &back).await.status, 503);
    // Who is in stays in, also without it.
    drop(provider);
    assert_eq!(browser.navigate(web, HOST, page).await.status, 200);
    assert_eq!(backend.requests().len(), 2);
}
