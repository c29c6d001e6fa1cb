//! A strict HTTP/1.1 backend that follows a script and keeps what it got.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Notify, Semaphore},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    wire::{Body, Head, ReadError, Reader},
    within,
};

/// How long a connection is waited for before a queue is taken to be full.
const FULL: Duration = Duration::from_millis(300);

/// A server on a port of its own. It fails the test when it got anything ambiguous.
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    log: Mutex<Log>,
    changed: Notify,
}

/// What has happened at a backend.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Connections accepted so far.
    pub connections: usize,
    /// Connections open now.
    pub open: usize,
    /// Requests in the order of their heads.
    pub requests: Vec<Received>,
    /// What a strict server refuses.
    pub violations: Vec<String>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// Its header section.
    pub head: Head,
    /// As much of its body as was read.
    pub body: Vec<u8>,
    /// Fields after a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Whether all of its body was read.
    pub complete: bool,
}

impl Received {
    /// The request target.
    pub fn target(&self) -> &str {
        self.head.word(1)
    }
}

/// A connection from the gateway, in the hands of a script.
pub struct Connection {
    /// Its number, from 0.
    pub index: usize,
    /// What comes.
    pub reader: Reader,
    /// What goes.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    body: Option<Body>,
    request: usize,
    shared: Arc<Shared>,
}

impl Backend {
    /// Serves each connection by this script.
    pub async fn start<F, R>(script: F) -> Self
    where
        F: Fn(Connection) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(None, script).await
    }

    /// The same behind TLS.
    pub async fn start_tls<F, R>(config: Arc<ServerConfig>, script: F) -> Self
    where
        F: Fn(Connection) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(Some(config), script).await
    }

    async fn start_with<F, R>(tls: Option<Arc<ServerConfig>>, script: F) -> Self
    where
        F: Fn(Connection) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, tls, script)
    }

    /// The same on a listener that was there before, perhaps behind TLS.
    pub fn start_on<F, R>(listener: TcpListener, tls: Option<Arc<ServerConfig>>, script: F) -> Self
    where
        F: Fn(Connection) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let tls = tls.map(TlsAcceptor::from);
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            let script = Arc::new(script);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (shared, script) = (Arc::clone(&shared), Arc::clone(&script));
                    let tls = tls.clone();
                    let index = shared.change(|log| {
                        log.connections += 1;
                        log.open += 1;
                        log.connections - 1
                    });
                    tokio::spawn(async move {
                        let _open = Open(Arc::clone(&shared));
                        if let Some(connection) = connection(stream, tls, index, shared).await {
                            script(connection).await;
                        }
                    });
                }
            }
        });
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// Answers each request, once it is whole, with these bytes.
    pub async fn answering(response: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::answering_on(listener, response)
    }

    fn answering_on(listener: TcpListener, response: impl Into<Vec<u8>>) -> Self {
        let response = Arc::new(response.into());
        Self::start_on(listener, None, move |mut connection| {
            let response = Arc::clone(&response);
            async move {
                while connection.request().await.is_some() {
                    connection.send(&*response).await;
                }
            }
        })
    }

    /// Answers each request with 200 and this body.
    pub async fn hello(body: &str) -> Self {
        Self::answering(ok(body)).await
    }

    /// The same on a listener that was there before.
    pub fn hello_on(listener: TcpListener, body: &str) -> Self {
        Self::answering_on(listener, ok(body))
    }

    /// Answers a request with 200 and this body for each permit that the test adds.
    pub async fn gated(body: &str) -> (Self, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let (permits, answer) = (Arc::clone(&gate), ok(body));
        let backend = Self::start(move |mut connection: Connection| {
            let (permits, answer) = (Arc::clone(&permits), answer.clone());
            async move {
                while connection.request().await.is_some() {
                    permits.acquire().await.unwrap().forget();
                    connection.send(&answer).await;
                }
            }
        })
        .await;
        (backend, gate)
    }

    /// Answers each request with its own header section, as it arrived.
    pub async fn mirror() -> Self {
        Self::start(async |mut connection: Connection| {
            while let Some(request) = connection.request().await {
                let head = String::from_utf8_lossy(&request.head.raw).into_owned();
                connection.send(ok(&head)).await;
            }
        })
        .await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has happened so far.
    pub fn log(&self) -> Log {
        self.shared.log().clone()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.log().requests
    }

    /// The request that came last.
    ///
    /// # Panics
    /// Where there is none.
    pub fn last(&self) -> Received {
        self.requests().pop().expect("a request at the backend")
    }

    /// Waits until something has happened.
    pub async fn wait(&self, what: &str, happened: impl Fn(&Log) -> bool) {
        let waiting = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if happened(&self.shared.log()) {
                    return;
                }
                changed.await;
            }
        };
        within(what, waiting).await;
    }

    /// Waits until the gateway has closed all its connections.
    pub async fn abandoned(&self) {
        self.wait("the backend's connections to be freed", |log| log.open == 0)
            .await;
    }

    /// Listens no more. What is connected goes on.
    pub fn stop_accepting(&self) {
        self.accepting.abort();
    }

    /// For tests that send what no strict server takes on purpose.
    pub fn forgive(&self) {
        self.shared.log().violations.clear();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
        let violations = std::mem::take(&mut self.shared.log().violations);
        if !std::thread::panicking() {
            assert!(violations.is_empty(), "the backend refuses: {violations:?}");
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    index: usize,
    shared: Arc<Shared>,
) -> Option<Connection> {
    stream.set_nodelay(true).ok()?;
    let (reader, writer): (_, Box<dyn AsyncWrite + Send + Unpin>) = match tls {
        Some(tls) => {
            let (reader, writer) = tokio::io::split(tls.accept(stream).await.ok()?);
            (Reader::new(reader), Box::new(writer))
        }
        None => {
            let (reader, writer) = stream.into_split();
            (Reader::new(reader), Box::new(writer))
        }
    };
    Some(Connection {
        index,
        reader,
        writer,
        body: None,
        request: 0,
        shared,
    })
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        let result = change(&mut self.log());
        self.changed.notify_waiters();
        result
    }

    fn violation(&self, error: ReadError) {
        if let ReadError::Invalid(reason) = error {
            self.change(|log| log.violations.push(reason));
        }
    }
}

/// A connection counted as open, until it is dropped.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.change(|log| log.open -= 1);
    }
}

impl Connection {
    /// The next request, once its header section is there. `None`: the gateway has closed the
    /// connection, or sent what cannot be taken.
    pub async fn head(&mut self) -> Option<Head> {
        let read = self.reader.head().await.and_then(|head| match head {
            Some(head) => {
                let body = head.request_body()?;
                Ok(Some((head, body)))
            }
            None => Ok(None),
        });
        let (head, body) = match read {
            Ok(read) => read?,
            Err(error) => {
                self.shared.violation(error);
                return None;
            }
        };
        let received = Received {
            connection: self.index,
            head: head.clone(),
            body: Vec::new(),
            trailers: Vec::new(),
            complete: body.is_done(),
        };
        self.body = Some(body);
        self.request = self.shared.change(|log| {
            log.requests.push(received);
            log.requests.len() - 1
        });
        Some(head)
    }

    /// The next piece of the body. `None`: it has ended, or the connection has.
    pub async fn piece(&mut self) -> Option<Bytes> {
        let body = self.body.as_mut()?;
        let piece = match self.reader.piece(body).await {
            Ok(piece) => piece,
            Err(error) => {
                self.shared.violation(error);
                return None;
            }
        };
        self.shared.change(|log| {
            let request = &mut log.requests[self.request];
            request
                .body
                .extend_from_slice(piece.as_deref().unwrap_or_default());
            request.complete = body.is_done();
            request.trailers.clone_from(&body.trailers);
        });
        piece
    }

    /// Reads the body to its end. Returns whether it came.
    pub async fn body(&mut self) -> bool {
        while self.piece().await.is_some() {}
        self.body.as_ref().is_some_and(Body::is_done)
    }

    /// The next request with its body. `None`: the gateway has closed the connection.
    pub async fn request(&mut self) -> Option<Received> {
        self.head().await?;
        self.body()
            .await
            .then(|| self.shared.log().requests[self.request].clone())
    }

    /// Sends bytes. Returns whether the gateway takes them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sent = async {
            self.writer.write_all(bytes.as_ref()).await?;
            self.writer.flush().await
        };
        sent.await.is_ok()
    }

    /// Waits until the gateway closes the connection.
    pub async fn left(&mut self) {
        while self.reader.bytes().await.is_some() {}
    }
}

/// 200 with this body.
pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// An address at which connections are refused, for as long as it is kept.
pub struct Dead(TcpSocket);

impl Dead {
    /// Takes a port without listening on it.
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Takes connections from now on.
    pub fn listen(self) -> TcpListener {
        self.0.listen(1024).unwrap()
    }
}

impl Default for Dead {
    fn default() -> Self {
        Self::new()
    }
}

/// An address at which connections are neither taken nor refused: the queue of its listener is full.
pub struct Blackhole {
    listener: TcpListener,
    queued: Vec<TcpStream>,
}

impl Blackhole {
    /// Fills a queue.
    pub async fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        // On one machine a connection that is taken is there at once.
        while let Ok(stream) = timeout(FULL, TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
            assert!(queued.len() < 10, "the queue of {address} has no end");
        }
        Self { listener, queued }
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// How many connections to it are being attempted.
    pub fn attempts(&self) -> usize {
        const SYN_SENT: &str = "02";
        let remote = format!("0100007F:{:04X}", self.address().port());
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let attempt = |socket: &&str| {
            let mut words = socket.split_ascii_whitespace().skip(2);
            words.next() == Some(&remote) && words.next() == Some(SYN_SENT)
        };
        sockets.lines().filter(attempt).count()
    }

    /// Waits until so many connections to it are being attempted.
    pub async fn attempted(&self, attempts: usize) {
        let waiting = async {
            while self.attempts() != attempts {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(format!("{attempts} attempts at a connection"), waiting).await;
    }

    /// Takes connections from now on. Returns also how many come that are not the gateway's.
    pub fn listen(self) -> (TcpListener, usize) {
        (self.listener, self.queued.len())
    }
}
