//! A small backend to try Ferrix with: it answers with what it was asked.
//!
//! HTTP/1.1 and HTTP/2 in plain text on one port, WebSocket, server-sent events, and trailers are
//! taken. For examples and demonstrations, not for traffic.

use std::{
    collections::BTreeMap, convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{self, HeaderName},
};
use http_body_util::{BodyExt as _, Full, channel::Channel, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn, upgrade::Upgraded};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use serde::Serialize;
use sha1::{Digest as _, Sha1};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

type Body = BoxBody<Bytes, Infallible>;

/// How long requests in flight may take at the end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A backend that listens.
#[derive(Debug)]
pub struct Echo {
    listener: TcpListener,
    address: SocketAddr,
    name: Arc<str>,
}

impl Echo {
    /// Listens on `address`; answers will bear `name`.
    pub async fn bind(address: SocketAddr, name: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let name = name.into();
        Ok(Self {
            listener,
            address,
            name,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `end`, and what has been asked by then within [`PATIENCE`].
    pub async fn serve(self, end: impl Future<Output = ()>) {
        let connections = GracefulShutdown::new();
        let mut end = pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut end => break,
            };
            match accepted {
                Ok((stream, client)) => {
                    let name = Arc::clone(&self.name);
                    tokio::spawn(converse(stream, client, name, connections.watcher()));
                }
                // Out of file descriptors, or a client that is gone already: both pass.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        drop(self.listener);
        let _ = tokio::time::timeout(PATIENCE, connections.shutdown()).await;
    }
}

async fn converse(stream: TcpStream, client: SocketAddr, name: Arc<str>, watcher: Watcher) {
    // Small answers should not wait for each other.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let name = Arc::clone(&name);
        async move { Ok::<_, Infallible>(answer(request, client, &name).await) }
    });
    // A client that breaks off is no news.
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let _ = watcher.watch(connection.into_owned()).await;
}

async fn answer(request: Request<Incoming>, client: SocketAddr, name: &str) -> Response<Body> {
    match websocket_accept(&request) {
        Some(accept) => upgrade(request, accept),
        None if request.uri().path().ends_with("/sse") => {
            events(request.uri().query().unwrap_or_default(), name)
        }
        None => mirror(request, client, name).await,
    }
}

/// What a backend saw of a request.
#[derive(Serialize)]
struct Mirror<'a> {
    name: &'a str,
    method: &'a str,
    path: &'a str,
    host: &'a str,
    protocol: &'static str,
    client: SocketAddr,
    headers: BTreeMap<&'a str, Vec<String>>,
    body_bytes: u64,
    trailers: BTreeMap<&'a str, Vec<String>>,
}

async fn mirror(request: Request<Incoming>, client: SocketAddr, name: &str) -> Response<Body> {
    let (parts, mut body) = request.into_parts();
    let mut body_bytes = 0;
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => body_bytes += data.len() as u64,
            Ok(Err(frame)) => trailers.extend(frame.into_trailers().unwrap_or_default()),
            Err(_) => break,
        }
    }
    let host = match (parts.uri.authority(), parts.headers.get(header::HOST)) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().unwrap_or_default(),
        (None, None) => "",
    };
    let mirror = Mirror {
        name,
        method: parts.method.as_str(),
        path: parts.uri.path_and_query().map_or("", |path| path.as_str()),
        host,
        protocol: match parts.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        },
        client,
        headers: fields(&parts.headers),
        body_bytes,
        trailers: fields(&trailers),
    };
    let text = serde_json::to_string_pretty(&mirror).unwrap_or_default() + "\n";
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

fn fields(headers: &HeaderMap) -> BTreeMap<&str, Vec<String>> {
    let mut fields: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        fields.entry(name.as_str()).or_default().push(value);
    }
    fields
}

/// Server-sent events: `?count=N` of them, `?interval=MILLISECONDS` apart; else one each second
/// until the client leaves.
fn events(query: &str, name: &str) -> Response<Body> {
    let number = |key: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(name, _)| *name == key)
            .find_map(|(_, value)| value.parse::<u64>().ok())
    };
    let count = number("count").unwrap_or(u64::MAX);
    let interval = Duration::from_millis(number("interval").unwrap_or(1_000));
    let name = name.to_string();
    let (mut sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        for id in 0..count {
            if id > 0 {
                tokio::time::sleep(interval).await;
            }
            let event = format!("id: {id}\ndata: {name}\n\n");
            if sender.send_data(event.into()).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(body.boxed());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The value that proves to a client that this is a WebSocket server (RFC 6455, section 4.2.2),
/// if the client asks for one.
fn websocket_accept(request: &Request<Incoming>) -> Option<HeaderValue> {
    const KEY: HeaderName = header::SEC_WEBSOCKET_KEY;
    let asks = request.headers().get(header::UPGRADE)?;
    if request.method() != Method::GET || !asks.as_bytes().eq_ignore_ascii_case(b"websocket") {
        return None;
    }
    let mut hash = Sha1::new();
    hash.update(request.headers().get(KEY)?);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    HeaderValue::from_str(&BASE64_STANDARD.encode(hash.finalize())).ok()
}

fn upgrade(request: Request<Incoming>, accept: HeaderValue) -> Response<Body> {
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            // A client that breaks off is no news.
            let _ = websocket(TokioIo::new(upgraded)).await;
        }
    });
    let mut response = Response::new(Full::default().boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// Sends every frame back, unmasked, until the client closes (RFC 6455, section 5).
async fn websocket(mut stream: TokioIo<Upgraded>) -> io::Result<()> {
    const CLOSE: u8 = 8;
    const PING: u8 = 9;
    const PONG: u8 = 10;
    loop {
        let Some((first, payload)) = read_frame(&mut stream).await? else {
            return write_frame(&mut stream, 0x80 | CLOSE, &1009_u16.to_be_bytes()).await;
        };
        match first & 0x0F {
            PONG => {}
            PING => write_frame(&mut stream, 0x80 | PONG, &payload).await?,
            CLOSE => return write_frame(&mut stream, first, &payload).await,
            _ => write_frame(&mut stream, first, &payload).await?,
        }
    }
}

/// The first byte of a frame and its payload; nothing if it is too long for an echo.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(u8, Vec<u8>)>> {
    const LONGEST: u64 = 16 << 20;
    let first = stream.read_u8().await?;
    let second = stream.read_u8().await?;
    let length = match second & 0x7F {
        126 => stream.read_u16().await?.into(),
        127 => stream.read_u64().await?,
        length => length.into(),
    };
    if length > LONGEST {
        return Ok(None);
    }
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        stream.read_exact(&mut mask).await?;
    }
    let mut payload = Vec::new();
    if stream.take(length).read_to_end(&mut payload).await? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Some((first, payload)))
}

async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    first: u8,
    payload: &[u8],
) -> io::Result<()> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length @ 126..65_536 => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests;
