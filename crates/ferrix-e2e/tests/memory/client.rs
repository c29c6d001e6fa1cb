//! Clients that read nothing but header sections, and send for ever.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use ferrix_e2e::{http2_client::Http2Client, within};
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{self, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

use crate::{
    Direction,
    process::{Process, trusting},
};

/// How clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    Http1,
    Http1Tls,
    /// Many streams on a connection, each of which opens no window.
    Http2Streams,
    /// A connection for each stream, with large windows, of which nothing is read.
    Http2Tls,
}

/// The clients of a case.
pub struct Clients {
    asks: Asks,
    direction: Direction,
    segment: Option<u32>,
    plain: SocketAddr,
    secure: SocketAddr,
    tls: Arc<ClientConfig>,
    shared: Vec<Http2Client>,
    kept: Vec<JoinHandle<()>>,
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.kept.iter().for_each(JoinHandle::abort);
    }
}

impl Clients {
    pub fn new(process: &Process, asks: Asks, direction: Direction, segment: Option<u32>) -> Self {
        Self {
            asks,
            direction,
            segment,
            plain: process.web,
            secure: process.websecure,
            tls: trusting(match asks {
                Asks::Http2Tls => "h2",
                _ => "http/1.1",
            }),
            shared: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Begins so many messages.
    pub async fn open(&mut self, messages: usize) {
        for message in 0..messages {
            match self.asks {
                Asks::Http1 => {
                    let stream = self.connect(self.plain).await;
                    self.http1(stream).await;
                }
                Asks::Http1Tls => {
                    let stream = self.secure().await;
                    self.http1(stream).await;
                }
                Asks::Http2Streams => self.stream(message).await,
                Asks::Http2Tls => self.http2().await,
            }
        }
    }

    /// Makes so many connections over TLS that ask for nothing.
    pub async fn idle(&mut self, connections: usize) {
        for _ in 0..connections {
            match self.asks {
                Asks::Http2Tls => {
                    let (client, _) = self.http2_client().await;
                    self.shared.push(client);
                }
                _ => {
                    let stream = self.secure().await;
                    self.kept.push(tokio::spawn(async move {
                        let _kept = stream;
                        std::future::pending().await
                    }));
                }
            }
        }
    }

    async fn connect(&self, address: SocketAddr) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if let Some(segment) = self.segment {
            socket.set_tcp_mss(segment).unwrap();
        }
        socket.connect(&address.into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        TcpStream::from_std(socket.into()).unwrap()
    }

    async fn secure(&self) -> impl AsyncRead + AsyncWrite + Send + Unpin + use<> {
        let stream = self.connect(self.secure).await;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let name = "example.com".try_into().unwrap();
        let connected = within("a TLS handshake", connector.connect(name, stream)).await;
        connected.unwrap()
    }

    async fn http1(&mut self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let mut stream = stream;
        let (method, framing) = match self.direction {
            Direction::Download => ("GET", ""),
            Direction::Upload => ("POST", "Content-Length: 1000000000000\r\n"),
        };
        let upload = self.direction == Direction::Upload;
        let head = format!("{method} / HTTP/1.1\r\nHost: example.com\r\n{framing}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        self.kept.push(tokio::spawn(async move {
            while upload && stream.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
            std::future::pending().await
        }));
    }

    /// A stream of a shared connection; a connection has 50.
    async fn stream(&mut self, message: usize) {
        if message.is_multiple_of(50) {
            let stream = self.connect(self.plain).await;
            let mut builder = h2::client::Builder::new();
            // That of the connection is no limit, that of a stream the default.
            builder.initial_connection_window_size(1 << 30);
            let client = Http2Client::with(builder, stream, "http").await;
            self.shared.push(client);
        }
        let mut client = self.shared.pop().unwrap();
        self.message(&mut client).await;
        self.shared.push(client);
    }

    /// A message with a connection of its own.
    async fn http2(&mut self) {
        let (mut client, deaf) = self.http2_client().await;
        // The server's settings are there before its response, and the rest is not read.
        self.message(&mut client).await;
        deaf.store(self.direction == Direction::Download, SeqCst);
        self.shared.push(client);
    }

    /// A connection, and what says that nothing is read of it any more.
    async fn http2_client(&self) -> (Http2Client, Arc<AtomicBool>) {
        let deaf = Arc::new(AtomicBool::new(false));
        let stream = Deafened(self.secure().await, Arc::clone(&deaf));
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(1 << 30)
            .initial_connection_window_size(1 << 30);
        (Http2Client::with(builder, stream, "https").await, deaf)
    }

    async fn message(&mut self, client: &mut Http2Client) {
        match self.direction {
            Direction::Download => {
                let request = client.request("GET", "/");
                let (response, _) = client.open(request, true).await.unwrap();
                let response = within("a response", response).await.unwrap();
                self.kept.push(tokio::spawn(async move {
                    let _kept = response;
                    std::future::pending().await
                }));
            }
            Direction::Upload => {
                let request = client.request("POST", "/");
                let (response, mut stream) = client.open(request, false).await.unwrap();
                self.kept.push(tokio::spawn(async move {
                    let _kept = response;
                    loop {
                        stream.reserve_capacity(16 * 1024);
                        let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                        let Some(Ok(capacity)) = capacity else {
                            return;
                        };
                        let piece = Bytes::from(vec![b'x'; capacity]);
                        stream.send_data(piece, false).unwrap();
                    }
                }));
            }
        }
    }
}

/// A connection of which nothing is read any more, once that is said.
struct Deafened<S>(S, Arc<AtomicBool>);

impl<S: AsyncRead + Unpin> AsyncRead for Deafened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.1.load(SeqCst) {
            true => Poll::Pending,
            false => Pin::new(&mut self.0).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deafened<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
