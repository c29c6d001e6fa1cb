//! A server on loopback that says what it is told to on one side, and the table and the report on the other.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use ferrix_table::{
    Reader,
    filters::{Filter, jwt::Jwt},
    publish,
    table::EntryPoint,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

use super::*;
use crate::{
    compiler::Compiler,
    decode::{Decoded, Strictness, decode},
    objects::{Kind, Origin, key},
    settings::Settings,
};

/// Fast enough for tests, and each step still apart from the next.
const FAST: Pace = Pace {
    longest_fetch: Duration::from_millis(300),
    refresh: Duration::from_millis(40),
    first_pause: Duration::from_millis(10),
    longest_pause: Duration::from_millis(40),
    cooldown: Duration::from_millis(200),
};

/// The same where keys hold for as long as the test takes.
const LASTING: Pace = Pace {
    refresh: Duration::from_secs(3600),
    ..FAST
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that answers every request with what it is told last; with nothing, where that is empty.
struct Server {
    address: SocketAddr,
    says: Arc<Mutex<Vec<u8>>>,
    requests: Arc<AtomicUsize>,
    last: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let says: Arc<Mutex<Vec<u8>>> = Arc::default();
        let requests: Arc<AtomicUsize> = Arc::default();
        let last: Arc<Mutex<String>> = Arc::default();
        let (heard, told, counted) = (Arc::clone(&last), Arc::clone(&says), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (heard, told) = (Arc::clone(&heard), Arc::clone(&told));
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else {
                            return;
                        };
                        head.push(byte);
                    }
                    *heard.lock().unwrap() = String::from_utf8(head).unwrap();
                    counted.fetch_add(1, SeqCst);
                    let says = told.lock().unwrap().clone();
                    let _ = stream.write_all(&says).await;
                    if says.is_empty() {
                        // Until the other side has had enough.
                        let _ = stream.read_u8().await;
                    }
                });
            }
        });
        Self {
            address,
            says,
            requests,
            last,
            task,
        }
    }

    fn says(&self, answer: impl Into<Vec<u8>>) {
        *self.says.lock().unwrap() = answer.into();
    }

    fn has(&self, kid: &str) {
        self.says(ok(&set(kid)));
    }

    fn url(&self) -> String {
        format!("http://{}/keys?of=issuer", self.address)
    }

    fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// A set with one key.
fn set(kid: &str) -> String {
    let x = "A".repeat(43);
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x}]}).to_string()
}

/// A route with tokens by keys of a URL, and what becomes of it.
struct Rig {
    compiler: Compiler,
    reader: Reader,
    fetched: mpsc::UnboundedReceiver<Change>,
    fetches: Arc<KeyFetches>,
    follower: JoinHandle<()>,
}

impl Rig {
    fn start(pace: Pace, url: &str) -> Self {
        let (publisher, reader) = publish::channel();
        let settings = Settings {
            allow_loopback_endpoints: true,
            ..Settings::new(vec![EntryPoint::http("web")])
        };
        let mut compiler = Compiler::new(settings.clone(), publisher);
        let fetches = Arc::new(KeyFetches::default());
        let (tell, fetched) = mpsc::unbounded_channel();
        let tell = move |change| _ = tell.send(change);
        let follower = Follower::new(Http::new(settings), pace, Arc::clone(&fetches), tell);
        let follower = tokio::spawn(follower.run(compiler.key_urls()));
        compiler.apply([route(url)]);
        compiler.loaded();
        Self {
            compiler,
            reader,
            fetched,
            fetches,
            follower,
        }
    }

    /// Takes in what comes until it is so.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                let change = self.fetched.recv().await.expect("the fetches go on");
                self.compiler.apply([change]);
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("not {what}: {:?}, {}", self.kid(), self.said());
        }
    }

    fn jwt(&self) -> Option<Arc<Jwt>> {
        let table = self.reader.load();
        let policies = table.rules.iter().filter_map(|rule| rule.policy.clone());
        let filters: Vec<_> = policies
            .flat_map(|policy| policy.filters().cloned().collect::<Vec<_>>())
            .collect();
        filters.into_iter().find_map(|filter| match filter {
            Filter::Jwt(jwt) => Some(jwt),
            _ => None,
        })
    }

    /// The name of the key that tokens are verified with.
    fn kid(&self) -> Option<String> {
        let jwt = self.jwt()?;
        let keys = jwt.keys().ok()?;
        keys.keys[0].id.as_deref().map(str::to_owned)
    }

    fn has(&self, kid: &str) -> bool {
        self.kid().as_deref() == Some(kid)
    }

    /// A token names a key that is not known.
    fn miss(&self) {
        let jwt = self.jwt().unwrap();
        let ferrix_table::filters::jwt::KeySource::Url { renewal, .. } = &jwt.keys else {
            panic!("{jwt}");
        };
        renewal.ask();
    }

    fn said(&self) -> String {
        self.compiler.reports().borrow().to_string()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

fn route(url: &str) -> Change {
    let value = json!({
        "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
        "metadata": {"name": "r", "namespace": "default"},
        "spec": {"route": {"host": "a.example", "rules": [{
            "filters": [{"jwt": {"jwks": {"url": url}}}, {"respond": {"status": 200}}],
        }]}},
    });
    match decode(&value, Strictness::Api) {
        Ok(Decoded::Object { object, .. }) => Change::Apply {
            object,
            origin: Origin::Api,
            notes: Vec::new(),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keys_follow_their_url_and_the_last_good_ones_stay() {
    let server = Server::start().await;
    server.has("a");
    let mut rig = Rig::start(FAST, &server.url());
    assert_eq!(rig.reader.generation(), 0, "the first table waits for them");
    rig.until("fetched", |rig| rig.has("a")).await;
    assert_eq!(rig.said(), "");
    let head = server.last.lock().unwrap().clone();
    assert!(
        head.starts_with("GET /keys?of=issuer HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains(&format!("host: {}\r\n", server.address)),
        "{head}"
    );

    let huge = ok(&set(&"k".repeat(300_000)));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(300_000));
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{";
    let redirect = "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n";
    let failed = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n";
    let troubles = [
        (String::new(), "no whole answer in time"),
        (huge, "longer than 262144 bytes"),
        (endless, "longer than 262144 bytes"),
        (cut.to_owned(), "the answer has broken off"),
        (redirect.to_owned(), "the answer is 302"),
        (failed.to_owned(), "the answer is 500"),
        ("SSH-2.0-x\r\n".to_owned(), "no answer of HTTP/1.1"),
        (ok("<html>"), "it is no JSON"),
        (ok("{}"), "it has no list `keys`"),
        (ok("{\"keys\": []}"), "it has no key"),
    ];
    let mut cases = 0;
    for (trouble, words) in troubles {
        server.says(trouble);
        rig.until(words, |rig| rig.said().contains(words)).await;
        assert!(
            rig.said().contains("those fetched last serve on"),
            "{}",
            rig.said()
        );
        assert!(rig.has("a"), "{words}");
        server.has("a");
        rig.until("well again", |rig| rig.said().is_empty()).await;
        cases += 1;
    }
    assert_eq!(cases, 10);
    assert!(rig.fetches.failed() >= 10 && rig.fetches.fetched() >= 11);

    // The old key goes when the new one comes.
    server.has("b");
    rig.until("rotated", |rig| rig.has("b")).await;
    // Nobody is there any more.
    server.task.abort();
    rig.until("gone", |rig| rig.said().contains("no connection"))
        .await;
    assert!(rig.has("b"));
}

#[tokio::test]
async fn without_keys_nothing_passes_until_they_come() {
    let server = Server::start().await;
    server.says(ok("{}"));
    let mut rig = Rig::start(FAST, &server.url());
    rig.until("published", |rig| rig.reader.generation() > 0)
        .await;
    assert!(rig.jwt().unwrap().keys().is_err());
    let said = rig.said();
    assert!(said.contains("requests get 503"), "{said}");
    server.has("a");
    rig.until("fetched", |rig| rig.has("a")).await;
    assert_eq!(rig.said(), "");
    // Nobody names them any more.
    rig.compiler
        .apply([Change::Remove(key(Kind::IngressRoute, "default", "r"))]);
    let world = |rig: &Rig| rig.compiler.world().all_keys().count();
    rig.until("forgotten", |rig| world(rig) == 0).await;
}

#[tokio::test]
async fn a_key_that_is_missed_is_fetched_at_once_and_seldom() {
    let server = Server::start().await;
    server.has("a");
    let mut rig = Rig::start(LASTING, &server.url());
    rig.until("fetched", |rig| rig.has("a")).await;
    assert_eq!(server.requests(), 1);
    let begun = Instant::now();
    server.has("b");
    for _ in 0..1000 {
        rig.miss();
    }
    rig.until("rotated", |rig| rig.has("b")).await;
    assert_eq!(server.requests(), 2);
    // Another one is not fetched before it has cooled down, whoever asks how often.
    server.has("c");
    for _ in 0..1000 {
        rig.miss();
    }
    rig.until("rotated again", |rig| rig.has("c")).await;
    assert_eq!(server.requests(), 3);
    assert!(begun.elapsed() >= LASTING.cooldown);
}

/// What a cloud or the machine itself offers is asked for by nobody.
#[tokio::test]
async fn addresses_that_no_backend_may_have_are_refused() {
    let server = Server::start().await;
    server.has("a");
    let settings = Settings::new(vec![EntryPoint::http("web")]);
    let http = Http::new(settings);
    let port = server.address.port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ];
    let more = [
        "169.254.169.254",
        "[fe80::1]",
        "224.0.0.1",
        "255.255.255.255",
    ];
    let mut ran = 0;
    for host in hosts.into_iter().chain(more) {
        let why = http.fetch(&format!("http://{host}:{port}/")).await;
        let why = why.unwrap_err();
        assert!(why.ends_with("refused"), "{host}: {why}");
        ran += 1;
    }
    assert_eq!(ran, 9);
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn certificates_are_verified() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                stream.write_all(ok(&set("a")).as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            }
        }
    });
    let trusting = |roots: &[_]| {
        let settings = Settings::for_files(vec![EntryPoint::http("web")]);
        Http::trusting(settings, roots.iter().cloned())
    };
    let right = trusting(&[cert.der().clone()]);
    let url = format!("https://localhost:{port}/");
    assert_eq!(right.fetch(&url).await, Ok(set("a")));
    let others = [
        (right, format!("https://127.0.0.1:{port}/")),
        (trusting(&[]), url),
    ];
    for (http, url) in others {
        let why = http.fetch(&url).await.unwrap_err();
        assert!(why.starts_with("no TLS: "), "{url}: {why}");
    }
    serving.abort();
}
