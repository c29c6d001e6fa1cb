//! Requests of Ferrix's own to servers that are no backends, by their URLs: on a thread beside the workers, with a
//! connection for each. Redirects are not followed, as they lead elsewhere.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use ferrix_http1::RequestHead;
use ferrix_table::{
    object::ObjectName,
    refused_address::refusal,
    services::{Endpoint, Protocol, Scheme, Service, ServiceId},
};
use http::{Method, StatusCode, Uri, Version};
use parking_lot::Mutex;
use tokio::time::{error::Elapsed, timeout};

use crate::{
    background::BackgroundThread,
    connector::{ConnectError, Connector},
    failure::Failure,
    pool::{Connection, Registry},
    retry::Broken,
    settings::{self, Settings},
    subrequest::{self, Reply, Subrequest},
    trust,
    upstream::{Start, Upstream, Wanted},
};

/// A request may take this long…
const LIMIT: Duration = Duration::from_secs(10);

/// …and a connection to one address this long.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// So many addresses of a name are tried.
const ADDRESSES: usize = 4;

/// A longer answer is none.
const LONGEST: usize = 256 * 1024;

/// Asks servers: providers of logins, and for the keys of issuers.
pub struct Fetcher {
    settings: Arc<Settings>,
    /// Once there is anything to do.
    thread: Mutex<Option<BackgroundThread>>,
    upstream: OnceLock<Result<Arc<Upstream>, String>>,
}

/// A request.
#[derive(Debug)]
pub(crate) struct FetchRequest {
    pub(crate) method: Method,
    pub(crate) url: Uri,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("`{0}` is no URL of a server")]
    Url(String),
    #[error("its name cannot be looked up: {0}")]
    Lookup(io::Error),
    #[error("{0}")]
    Refused(&'static str),
    #[error("no connection: {0}")]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Exchange(String),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("its answer is no text")]
    NoText,
    #[error("it takes longer than {LIMIT:?}")]
    Late(#[from] Elapsed),
    #[error("too much goes on at once")]
    Busy,
    #[error("the thread that asks failed: {0}")]
    Thread(String),
    #[error("{0}")]
    Trust(String),
}

impl FetchRequest {
    pub(crate) fn get(url: Uri) -> Self {
        Self {
            method: Method::GET,
            url,
            fields: vec![(
                "Accept",
                "application/json, application/jwk-set+json".to_owned(),
            )],
            body: Bytes::new(),
        }
    }

    fn head(&self, host: &str) -> RequestHead {
        let target = self.url.path_and_query().map_or("/", |it| it.as_str());
        let mut head = RequestHead::new(self.method.clone(), target.as_bytes(), Version::HTTP_11);
        head.fields.append("Host", host.as_bytes());
        head.fields.append("User-Agent", b"ferrix");
        for (name, value) in &self.fields {
            head.fields.append(name, value.as_bytes());
        }
        if self.method != Method::GET {
            let length = self.body.len().to_string();
            head.fields.append("Content-Length", length.as_bytes());
        }
        head
    }
}

impl Fetcher {
    pub(crate) fn new(settings: &Arc<Settings>) -> Self {
        Self {
            settings: Arc::clone(settings),
            thread: Mutex::default(),
            upstream: OnceLock::new(),
        }
    }

    /// Does something on the thread, to its end also where nobody waits for it any more.
    ///
    /// # Errors
    /// [`FetchError::Thread`]: it is not done.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, FetchError> {
        let failed = |error: &dyn std::error::Error| FetchError::Thread(error.to_string());
        let working = {
            let mut thread = self.thread.lock();
            let thread = match &mut *thread {
                Some(thread) => thread,
                none => {
                    let started = BackgroundThread::start("ferrix-fetch");
                    none.insert(started.map_err(|error| failed(&error))?)
                }
            };
            thread.handle().spawn(work)
        };
        working.await.map_err(|error| failed(&error))
    }

    /// What is at a URL, as a text.
    ///
    /// # Errors
    /// Why there is none, in a sentence.
    pub async fn get(self: &Arc<Self>, url: &str) -> Result<String, String> {
        let (fetcher, url) = (Arc::clone(self), url.to_owned());
        let fetched = self.run(async move { fetcher.text(&url).await }).await;
        fetched.flatten().map_err(|error| error.to_string())
    }

    /// The same, from the thread.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn text(&self, url: &str) -> Result<String, FetchError> {
        let parsed = url.parse();
        let parsed = parsed.map_err(|_| FetchError::Url(url.to_owned()))?;
        let reply = self.fetch(&FetchRequest::get(parsed)).await?;
        match reply.head.status {
            StatusCode::OK => String::from_utf8(reply.body.into()).map_err(|_| FetchError::NoText),
            status => Err(FetchError::Status(status)),
        }
    }

    /// Asks a server, from the thread.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn fetch(&self, request: &FetchRequest) -> Result<Reply, FetchError> {
        timeout(LIMIT, self.exchange(request)).await?
    }

    async fn exchange(&self, request: &FetchRequest) -> Result<Reply, FetchError> {
        let url = &request.url;
        let no_url = || FetchError::Url(url.to_string());
        let authority = url.authority().ok_or_else(no_url)?;
        // An address of IPv6 stands in brackets.
        let host = authority.host().trim_matches(['[', ']']);
        let (protocol, scheme, default) = match url.scheme_str() {
            Some("https") => {
                let server_name = host.into();
                (Protocol::Tls { server_name }, Scheme::Https, 443)
            }
            Some("http") => (Protocol::Http1, Scheme::Http, 80),
            _ => return Err(no_url()),
        };
        let port = authority.port_u16().unwrap_or(default);
        let service = Arc::new(Service {
            id: ServiceId {
                service: ObjectName::new("", host),
                port,
                scheme,
            },
            protocol,
            endpoints: Box::default(),
            policy: None,
            state: Arc::default(),
        });
        let found = tokio::net::lookup_host((host, port)).await;
        let addresses = found.map_err(FetchError::Lookup)?;
        let connection = self.connect(&service, addresses).await?;
        let subrequest = Subrequest {
            service: &service,
            index: 0,
            head: &request.head(authority.as_str()),
            body: request.body.clone(),
            wanted: LONGEST,
            whole: true,
        };
        match subrequest::attempt(&subrequest, connection).await {
            Ok((reply, _)) => Ok(reply),
            Err(Broken::Unanswered(why) | Broken::Untouched(why) | Broken::Answer(why)) => {
                Err(FetchError::Exchange(why))
            }
            Err(broken) => Err(FetchError::Exchange(Failure::from(broken).to_string())),
        }
    }

    /// A connection to the first address that has one, over HTTP/1: a single request needs no more.
    async fn connect(
        &self,
        service: &Arc<Service>,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> Result<Connection, FetchError> {
        let upstream = self.upstream()?;
        upstream.sweep();
        let wanted = Wanted {
            upgrade: true,
            ..Wanted::default()
        };
        let mut failed = None;
        for address in addresses.take(ADDRESSES) {
            if let Some(refusal) = refusal(address.ip(), self.settings.loopback_servers) {
                failed = Some(FetchError::Refused(refusal));
                continue;
            }
            let endpoint = Endpoint {
                address,
                state: Arc::default(),
                standing: None,
            };
            let opening = async {
                let starting = upstream.start(service, &endpoint, CONNECT_LIMIT, None, &wanted);
                match starting.await? {
                    Start::Connection(connection) => Ok(connection),
                    Start::Opening(opening) => opening.open().await,
                }
            };
            match opening.await {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = Some(error.into()),
            }
        }
        let no_address = || io::Error::other("it has no address");
        Err(failed.unwrap_or_else(|| FetchError::Lookup(no_address())))
    }

    fn upstream(&self) -> Result<&Arc<Upstream>, FetchError> {
        let made = self.upstream.get_or_init(|| {
            let settings = &self.settings;
            let tls = trust::of_outside(&settings.upstream.tls);
            let connector = Connector::new(
                &settings.upstream.tcp,
                &tls.map_err(|error| error.to_string())?,
            );
            let pools = Arc::new(Registry::new(&settings::Upstream::default()));
            Ok(Arc::new(Upstream::new(settings, connector, &pools, 0, 1)))
        });
        let made = made.as_ref();
        made.map_err(|error| FetchError::Trust(error.clone()))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "the other side of what is fetched")]
mod tests {
    use std::thread;

    use rcgen::CertifiedKey;
    use rustls::{ServerConfig, pki_types::PrivateKeyDer};
    use tokio::{
        io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinHandle,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    fn fetcher(change: impl FnOnce(&mut Settings)) -> Arc<Fetcher> {
        let mut settings = Settings {
            loopback_servers: true,
            ..Settings::default()
        };
        change(&mut settings);
        Arc::new(Fetcher::new(&Arc::new(settings)))
    }

    /// Reads a request, and answers it so.
    async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, says: &[u8]) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else {
                break;
            };
            head.push(byte);
        }
        let _ = stream.write_all(says).await;
        let _ = stream.shutdown().await;
        String::from_utf8(head).unwrap()
    }

    fn ok(body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
    }

    /// Answers one request. Gives its header section.
    async fn serve(says: Vec<u8>) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            answer(stream, &says).await
        });
        (address, served)
    }

    #[tokio::test]
    async fn what_is_at_a_url_is_a_text_of_some_length() {
        let fetcher = fetcher(|_| {});
        let long = "k".repeat(LONGEST);
        let more = format!("{long}k");
        let cases = [
            (ok("{}"), Ok("{}")),
            (ok(&long), Ok(&*long)),
            (ok(&more), Err("longer than 262144 bytes")),
            (
                format!("HTTP/1.1 200 OK\r\n\r\n{more}"),
                Err("longer than 262144 bytes"),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned(),
                Err(""),
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n".to_owned(),
                Err("it answers 302"),
            ),
            (
                "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned(),
                Err("it answers 500"),
            ),
            ("SSH-2.0-x\r\n".to_owned(), Err("")),
            (String::new(), Err("")),
        ];
        let mut ran = 0;
        for (says, expected) in cases {
            let (address, served) = serve(says.into_bytes()).await;
            let got = fetcher
                .get(&format!("http://{address}/keys?of=issuer"))
                .await;
            match (&got, expected) {
                (Ok(text), Ok(expected)) => assert_eq!(text, expected),
                (Err(why), Err(words)) => assert!(why.contains(words), "{why}"),
                _ => panic!("{got:?} and {expected:?}"),
            }
            let head = served.await.unwrap();
            assert!(
                head.starts_with("GET /keys?of=issuer HTTP/1.1\r\n"),
                "{head}"
            );
            assert!(head.contains(&format!("Host: {address}\r\n")), "{head}");
            ran += 1;
        }
        assert_eq!(ran, 9);
        let (address, served) = serve(b"HTTP/1.1 200 OK\r\n\r\n\xff".to_vec()).await;
        let got = fetcher.get(&format!("http://{address}/")).await;
        assert_eq!(got, Err("its answer is no text".to_owned()));
        served.await.unwrap();
        let gone = fetcher
            .get(&format!("http://{address}/"))
            .await
            .unwrap_err();
        assert!(gone.starts_with("no connection"), "{gone}");
        let odd = fetcher.get("keys").await.unwrap_err();
        assert!(odd.ends_with("is no URL of a server"), "{odd}");
    }

    /// Whoever writes a route says which URL is asked: never what listens on the machine itself, nor what a cloud
    /// offers to it.
    #[tokio::test]
    async fn addresses_that_no_backend_may_have_are_not_asked() {
        let fetcher = fetcher(|settings| settings.loopback_servers = false);
        let hosts = [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "169.254.169.254",
            "[fe80::1]",
            "224.0.0.1",
            "255.255.255.255",
        ];
        let mut ran = 0;
        for host in hosts {
            let why = fetcher.get(&format!("http://{host}:9/")).await.unwrap_err();
            assert!(why.ends_with("refused"), "{host}: {why}");
            ran += 1;
        }
        assert_eq!(ran, 9);
    }

    #[tokio::test]
    async fn certificates_are_verified() {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth();
        let config = config.with_single_cert(vec![cert.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, ok("{}").as_bytes()).await;
                }
            }
        });
        let mut authority = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut authority, cert.pem().as_bytes()).unwrap();
        let trusting = fetcher(|settings| {
            settings.upstream.tls.authorities = Some(authority.path().to_owned());
            // What holds for backends is nothing to these.
            settings.upstream.tls.verify = false;
        });
        let url = format!("https://localhost:{port}/");
        assert_eq!(trusting.get(&url).await.as_deref(), Ok("{}"));
        let by_address = format!("https://127.0.0.1:{port}/");
        for (fetcher, url) in [(trusting, &by_address), (fetcher(|_| {}), &url)] {
            let why = fetcher.get(url).await.unwrap_err();
            assert!(why.starts_with("no connection"), "{url}: {why}");
        }
        serving.abort();
    }

    /// The thread starts with the first request, and no answer is waited for on it but its own.
    #[tokio::test]
    async fn nothing_runs_before_something_is_asked_for() {
        let fetcher = fetcher(|_| {});
        assert!(fetcher.thread.lock().is_none());
        let name = fetcher.run(async { thread::current().name().map(str::to_owned) });
        assert_eq!(name.await.unwrap().as_deref(), Some("ferrix-fetch"));
    }
}
