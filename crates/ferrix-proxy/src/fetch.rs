//! Requests of the proxy's own to servers that are no backends, by their URLs: on a thread beside the workers,
//! with a connection for each.

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
use http::{Method, Uri, Version};
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{error::Elapsed, timeout},
};

use crate::{
    background::BackgroundThread,
    connector::{ConnectError, Connector},
    failure::Failure,
    pool::{Connection, Registry},
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

/// As much of an answer is read.
const ANSWER: usize = 1 << 20;

/// So much goes on at once; what comes then is refused.
const AT_ONCE: usize = 256;

/// Asks servers.
pub(crate) struct Fetcher {
    settings: Arc<Settings>,
    /// Once there is anything to do.
    thread: Mutex<Option<BackgroundThread>>,
    upstream: OnceLock<Result<Arc<Upstream>, String>>,
    at_once: Arc<Semaphore>,
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
    Url(Uri),
    #[error("its name cannot be looked up: {0}")]
    Lookup(io::Error),
    #[error("{0}")]
    Refused(&'static str),
    #[error("no connection: {0}")]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Exchange(#[from] Failure),
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
            fields: vec![("Accept", "application/json".to_owned())],
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
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Does something on the thread, to its end also where nobody waits for it any more.
    ///
    /// # Errors
    /// [`FetchError::Busy`], [`FetchError::Thread`]: it is not done.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, FetchError> {
        let permit = Arc::clone(&self.at_once).try_acquire_owned();
        let permit = permit.map_err(|_| FetchError::Busy)?;
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
            thread.handle().spawn(async move {
                let _permit = permit;
                work.await
            })
        };
        working.await.map_err(|error| failed(&error))
    }

    /// Asks a server, from the thread. Redirects are not followed.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn fetch(&self, request: &FetchRequest) -> Result<Reply, FetchError> {
        timeout(LIMIT, self.exchange(request)).await?
    }

    async fn exchange(&self, request: &FetchRequest) -> Result<Reply, FetchError> {
        let url = &request.url;
        let no_url = || FetchError::Url(url.clone());
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
            wanted: ANSWER,
        };
        let attempt = subrequest::attempt(&subrequest, connection).await;
        let (reply, _) = attempt.map_err(Failure::from)?;
        Ok(reply)
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
mod tests {
    use super::*;

    /// Whoever writes a route says which URL is asked.
    #[tokio::test]
    async fn what_listens_on_the_machine_itself_is_not_asked() {
        let fetcher = Fetcher::new(&Arc::new(Settings::default()));
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
            let url = format!("http://{host}/").parse().unwrap();
            let fetched = fetcher.fetch(&FetchRequest::get(url)).await;
            let error = fetched.err().expect("a refusal");
            assert!(matches!(error, FetchError::Refused(_)), "{host}: {error}");
        }
    }
}
