//! A real provider of OpenID Connect: the server of zitadel/oidc, with a user and a client of its own, which
//! `conformance/oidc` compiles.

use std::{
    env,
    net::{IpAddr, SocketAddr, TcpListener},
    process::{Command, Stdio},
    time::Duration,
};

use tokio::net::TcpStream;

use crate::{Browser, client::Response, kill_on_drop::KillOnDrop, within};

/// A provider that ends with this.
pub struct OidcServer {
    _process: KillOnDrop,
    address: SocketAddr,
}

impl OidcServer {
    /// The client, and its secret.
    pub const CLIENT: [&str; 2] = ["web", "secret"];

    /// The user, and its password.
    pub const USER: [&str; 2] = ["test-user2", "verysecure"];

    /// What ID tokens call the user.
    pub const SUBJECT: &str = "id2";

    /// Starts it at an address of the machine. Browsers are sent back to these URLs.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn start(address: impl Into<IpAddr>, callbacks: &[&str]) -> Self {
        let program = env::var("OIDC_PROVIDER").expect("OIDC_PROVIDER, the path of the provider");
        let free = TcpListener::bind((address.into(), 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = Command::new(program)
            .env("LISTEN", address.to_string())
            .env("ISSUER", format!("http://{address}/"))
            .env("REDIRECT_URI", callbacks.join(","))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            _process: KillOnDrop(process),
            address,
        };
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("the provider to listen", listening).await;
        server
    }

    /// As it names itself.
    pub fn issuer(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Goes where a browser is sent to, which has to be here.
    ///
    /// # Panics
    /// Where it is sent elsewhere, or not at all.
    pub async fn follow(&self, browser: &mut Browser, response: &Response) -> Response {
        assert!((300..400).contains(&response.status), "{response:?}");
        let location = response.head.one("location").unwrap();
        let host = self.address.to_string();
        let target = match location.strip_prefix("http://") {
            Some(rest) => rest.strip_prefix(&*host).expect(location),
            None => location,
        };
        browser.navigate(self.address, &host, target).await
    }

    /// Logs the user in where a browser was sent to. Returns where it is sent back to, at a client of this origin.
    ///
    /// # Panics
    /// Where the provider does not let it in.
    pub async fn log_in(&self, browser: &mut Browser, sent: &Response, origin: &str) -> String {
        let asked = self.follow(browser, sent).await;
        let page = self.follow(browser, &asked).await.text();
        let (_, rest) = page.split_once("name=\"id\" value=\"").expect(&page);
        let (id, _) = rest.split_once('"').unwrap();
        let [user, password] = Self::USER;
        let form = format!("id={id}&username={user}&password={password}");
        let host = self.address.to_string();
        let target = "/login/username";
        let passed = browser.submit(self.address, &host, target, &form).await;
        let back = self.follow(browser, &passed).await;
        let location = back.head.one("location");
        let location = location.unwrap_or_else(|| panic!("{back:?}"));
        location.strip_prefix(origin).expect(location).to_owned()
    }
}
