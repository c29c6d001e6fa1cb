//! An HTTP/2 backend, with or without TLS, that follows a script and keeps what it got.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Request, Response, StatusCode};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Notify,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::within;

/// A server on a port of its own.
pub struct Http2Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    log: Mutex<Log>,
    changed: Notify,
    connections: Mutex<Vec<JoinHandle<()>>>,
    goodbye: Notify,
}

/// What has happened at a backend.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Connections accepted so far.
    pub connections: usize,
    /// Requests in their order.
    pub requests: Vec<Received>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// Pseudo-headers, in `method` and `uri`, and fields.
    pub head: Request<()>,
    /// As much of the body as was read.
    pub body: Vec<u8>,
    /// The fields after the body.
    pub trailers: Option<HeaderMap>,
    /// Whether the body was read to its end.
    pub complete: bool,
    /// Why the gateway reset the stream.
    pub reset: Option<Reason>,
}

impl Received {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name)?.to_str().ok()
    }
}

/// A stream from the gateway, in the hands of a script.
pub struct Exchange {
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// Its number, from 0.
    pub index: usize,
    /// Pseudo-headers and fields.
    pub head: Request<()>,
    /// Answers.
    pub respond: SendResponse<Bytes>,
    body: RecvStream,
    shared: Arc<Shared>,
}

impl Http2Backend {
    /// Serves each stream by this script.
    pub async fn start<F, R>(script: F) -> Self
    where
        F: Fn(Exchange) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(None, script).await
    }

    /// The same behind TLS.
    pub async fn start_tls<F, R>(config: Arc<ServerConfig>, script: F) -> Self
    where
        F: Fn(Exchange) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(Some(TlsAcceptor::from(config)), script).await
    }

    async fn start_with<F, R>(tls: Option<TlsAcceptor>, script: F) -> Self
    where
        F: Fn(Exchange) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::listen(listener, tls, script)
    }

    fn listen<F, R>(listener: TcpListener, tls: Option<TlsAcceptor>, script: F) -> Self
    where
        F: Fn(Exchange) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            let script = Arc::new(script);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    let (shared, script) = (Arc::clone(&shared), Arc::clone(&script));
                    let tls = tls.clone();
                    let connections = Arc::clone(&shared);
                    let task = tokio::spawn(async move {
                        match tls {
                            None => serve(stream, shared, script).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    serve(stream, shared, script).await;
                                }
                            }
                        }
                    });
                    connections.connections.lock().unwrap().push(task);
                }
            }
        });
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// Reads each request to its end, then answers with 200 and this body.
    pub async fn hello(body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::hello_on(listener, body)
    }

    /// The same on a listener that was there before.
    pub fn hello_on(listener: TcpListener, body: &'static str) -> Self {
        Self::listen(listener, None, move |mut exchange| async move {
            exchange.body().await;
            let mut stream = exchange.respond(200, &[], false);
            let _ = stream.send_data(Bytes::from_static(body.as_bytes()), true);
        })
    }

    /// Sends each body back as it comes, and then its trailers.
    pub async fn echo() -> Self {
        Self::start(|mut exchange| async move {
            let mut stream = exchange.respond(200, &[("content-type", "application/grpc")], false);
            while let Some(piece) = exchange.piece().await {
                if crate::http2_client::send_all(&mut stream, piece, false)
                    .await
                    .is_err()
                {
                    return;
                }
            }
            let trailers = exchange.trailers().await.unwrap_or_default();
            let _ = stream.send_trailers(trailers);
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

    /// The request that came last.
    ///
    /// # Panics
    /// Where there is none.
    pub fn last(&self) -> Received {
        self.log().requests.pop().expect("a request at the backend")
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

    /// Waits until the gateway has closed all connections that were accepted so far.
    pub async fn ended(&self) {
        let connections = std::mem::take(&mut *self.shared.connections.lock().unwrap());
        for connection in connections {
            let _ = connection.await;
        }
    }

    /// Cuts all connections, without a word.
    pub fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }

    /// Sends GOAWAY on all connections and lets their streams finish.
    pub fn goodbye(&self) {
        self.shared.goodbye.notify_waiters();
    }
}

impl Drop for Http2Backend {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn serve<S, F, R>(stream: S, shared: Arc<Shared>, script: Arc<F>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Fn(Exchange) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let index = shared.change(|log| {
        log.connections += 1;
        log.connections - 1
    });
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(100);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let goodbye = shared.goodbye.notified();
    tokio::pin!(goodbye);
    let mut said = false;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = &mut goodbye, if !said => {
                said = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        let (head, body) = request.into_parts();
        let head = Request::from_parts(head, ());
        let received = Received {
            connection: index,
            head: head.clone(),
            body: Vec::new(),
            trailers: None,
            complete: body.is_end_stream(),
            reset: None,
        };
        let number = shared.change(|log| {
            log.requests.push(received);
            log.requests.len() - 1
        });
        tokio::spawn(script(Exchange {
            connection: index,
            index: number,
            head,
            respond,
            body,
            shared: Arc::clone(&shared),
        }));
    }
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
}

impl Exchange {
    /// The next piece of the body. `None`: it has ended, or the stream was reset.
    pub async fn piece(&mut self) -> Option<Bytes> {
        let piece = self.body.data().await;
        match &piece {
            Some(Ok(piece)) => {
                let _ = self.body.flow_control().release_capacity(piece.len());
                self.change(|received| received.body.extend_from_slice(piece));
            }
            Some(Err(error)) => {
                let reason = error.reason();
                self.change(|received| received.reset = reason);
            }
            None => {}
        }
        piece?.ok()
    }

    /// What comes after the body.
    pub async fn trailers(&mut self) -> Option<HeaderMap> {
        match self.body.trailers().await {
            Ok(trailers) => {
                self.change(|received| {
                    received.complete = true;
                    received.trailers.clone_from(&trailers);
                });
                trailers
            }
            Err(error) => {
                self.change(|received| received.reset = error.reason());
                None
            }
        }
    }

    /// Reads the body to its end.
    pub async fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await {
            body.extend_from_slice(&piece);
        }
        self.trailers().await;
        body
    }

    /// Sends a header section.
    ///
    /// # Panics
    /// Where the stream is gone already.
    pub fn respond(
        &mut self,
        status: u16,
        fields: &[(&'static str, &str)],
        end: bool,
    ) -> SendStream<Bytes> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        self.respond
            .send_response(response, end)
            .expect("an open stream")
    }

    /// Waits until the gateway resets the stream.
    pub async fn cancelled(&mut self) -> Option<Reason> {
        let reason = poll_fn(|cx| self.respond.poll_reset(cx)).await.ok();
        self.change(|received| received.reset = reason);
        reason
    }

    fn change(&self, change: impl FnOnce(&mut Received)) {
        self.shared
            .change(|log| change(&mut log.requests[self.index]));
    }
}
