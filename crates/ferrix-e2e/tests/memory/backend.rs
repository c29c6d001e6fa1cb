//! A backend that sends for ever, and reads nothing but header sections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use ferrix_e2e::certificates::Authority;
use http::{Method, Response};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// What the backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Http1,
    Http1Chunked,
    Http1Tls,
    Http2,
    Http2Tls,
}

/// A backend on a port of its own.
pub struct Backend {
    pub address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicUsize,
    sent: AtomicUsize,
}

impl Backend {
    /// Starts it, with segments of this size.
    pub async fn start(speaks: Speaks, segment: Option<u32>) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if let Some(segment) = segment {
            socket.set_tcp_mss(segment).unwrap();
        }
        socket.set_nonblocking(true).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(1024).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        tokio::spawn(accept(listener, speaks, Arc::clone(&counts)));
        Self { address, counts }
    }

    /// Requests that have arrived.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(SeqCst)
    }

    /// Bytes of bodies that have left.
    pub fn sent(&self) -> usize {
        self.counts.sent.load(SeqCst)
    }
}

async fn accept(listener: TcpListener, speaks: Speaks, counts: Arc<Counts>) {
    let alpn = match speaks {
        Speaks::Http2Tls => "h2",
        _ => "http/1.1",
    };
    let tls = Authority::new().certify("backend", &["example.com"]);
    let tls = TlsAcceptor::from(tls.server(&[alpn]));
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, counts) = (tls.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            match speaks {
                Speaks::Http1 | Speaks::Http1Chunked => http1(stream, speaks, counts).await,
                Speaks::Http2 => http2(stream, counts).await,
                Speaks::Http1Tls => http1(tls.accept(stream).await.unwrap(), speaks, counts).await,
                Speaks::Http2Tls => http2(tls.accept(stream).await.unwrap(), counts).await,
            }
        });
    }
}

async fn http1<S>(stream: S, speaks: Speaks, counts: Arc<Counts>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = stream;
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    counts.requests.fetch_add(1, SeqCst);
    if head.starts_with(b"POST") {
        return std::future::pending().await;
    }
    let chunked = speaks == Speaks::Http1Chunked;
    let framing = match chunked {
        true => "Transfer-Encoding: chunked",
        false => "Content-Length: 1000000000000",
    };
    let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
    let piece = match chunked {
        true => [b"1388\r\n", &[b'x'; 0x1388][..], b"\r\n"].concat(),
        false => PIECE.to_vec(),
    };
    stream.write_all(head.as_bytes()).await.unwrap();
    while let Ok(sent @ 1..) = stream.write(&piece).await {
        counts.sent.fetch_add(sent, SeqCst);
        if stream.write_all(&piece[sent..]).await.is_err() {
            return;
        }
    }
}

async fn http2<S>(stream: S, counts: Arc<Counts>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1000);
    // So many streams would share one connection's window otherwise, and all stop at nothing.
    builder.initial_connection_window_size(1 << 30);
    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            counts.requests.fetch_add(1, SeqCst);
            if request.method() == Method::POST {
                // With the body, which is not read.
                return std::future::pending().await;
            }
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            loop {
                stream.reserve_capacity(PIECE.len());
                let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                let Some(Ok(capacity)) = capacity else {
                    return;
                };
                let piece = Bytes::from_static(&PIECE[..]).split_to(capacity.min(PIECE.len()));
                counts.sent.fetch_add(piece.len(), SeqCst);
                stream.send_data(piece, false).unwrap();
            }
        });
    }
}
