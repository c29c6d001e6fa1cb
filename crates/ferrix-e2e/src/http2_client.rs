//! An HTTP/2 client on the `h2` crate.

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};

use crate::within;

/// A connection to the gateway.
pub struct Http2Client {
    /// Makes streams.
    pub send: SendRequest<Bytes>,
    /// Ends when the connection does.
    pub connection: JoinHandle<Result<(), h2::Error>>,
    scheme: &'static str,
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Http2Response {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// The fields after the body.
    pub trailers: Option<HeaderMap>,
    /// Responses before it.
    pub interim: Vec<Response<()>>,
}

impl Http2Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a field, or of a trailer.
    pub fn field(&self, name: &str) -> Option<&str> {
        let trailer = || self.trailers.as_ref()?.get(name);
        self.headers.get(name).or_else(trailer)?.to_str().ok()
    }
}

impl Http2Client {
    /// On a connected stream.
    ///
    /// # Panics
    /// Where the handshake fails.
    pub async fn new(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        scheme: &'static str,
    ) -> Self {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(1 << 20)
            .initial_connection_window_size(4 << 20);
        Self::with(builder, stream, scheme).await
    }

    /// The same with other settings.
    ///
    /// # Panics
    /// Where the handshake fails.
    pub async fn with(
        builder: h2::client::Builder,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        scheme: &'static str,
    ) -> Self {
        let handshake = within("an HTTP/2 handshake", builder.handshake(stream)).await;
        let (send, connection) = handshake.unwrap();
        Self {
            send,
            connection: tokio::spawn(connection),
            scheme,
        }
    }

    /// A request for a path of `example.com`.
    pub fn request(&self, method: &str, path: &str) -> Request<()> {
        self.request_for("example.com", method, path)
    }

    /// A request for a path of a host.
    pub fn request_for(&self, host: &str, method: &str, path: &str) -> Request<()> {
        Request::builder()
            .version(Version::HTTP_2)
            .method(method)
            .uri(format!("{}://{host}{path}", self.scheme))
            .body(())
            .unwrap()
    }

    /// Opens a stream.
    pub async fn open(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut send = within("a stream", self.send.clone().ready()).await?;
        send.send_request(request, end)
    }

    /// A request without a body.
    pub async fn fetch(&mut self, request: Request<()>) -> Result<Http2Response, h2::Error> {
        let (response, _stream) = self.open(request, true).await?;
        read(response).await
    }

    /// Asks for a path of `example.com`.
    ///
    /// # Panics
    /// Where there is no whole response.
    pub async fn get(&mut self, path: &str) -> Http2Response {
        let request = self.request("GET", path);
        self.fetch(request).await.expect("a whole response")
    }

    /// A request with a body, and trailers after it.
    pub async fn post(
        &mut self,
        request: Request<()>,
        body: impl Into<Bytes>,
        trailers: Option<HeaderMap>,
    ) -> Result<Http2Response, h2::Error> {
        let (response, mut stream) = self.open(request, false).await?;
        let body = body.into();
        let sending = async {
            let sent = send_all(&mut stream, body, trailers.is_none()).await;
            match trailers {
                Some(trailers) if sent.is_ok() => stream.send_trailers(trailers),
                _ => sent,
            }
        };
        let (_, response) = tokio::join!(sending, read(response));
        response
    }
}

/// Sends bytes as the windows allow.
pub async fn send_all(
    stream: &mut SendStream<Bytes>,
    bytes: Bytes,
    end: bool,
) -> Result<(), h2::Error> {
    let mut bytes = bytes;
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx));
        let Some(capacity) = within("a flow control window", capacity).await else {
            return Err(h2::Reason::CANCEL.into());
        };
        let piece = bytes.split_to(capacity?.min(bytes.len()));
        stream.send_data(piece, end && bytes.is_empty())?;
    }
    Ok(())
}

/// The whole of a response, interim ones included.
pub async fn read(response: ResponseFuture) -> Result<Http2Response, h2::Error> {
    let mut response = response;
    let mut interim = Vec::new();
    let response = std::future::poll_fn(|cx| {
        while let std::task::Poll::Ready(Some(early)) = response.poll_informational(cx) {
            interim.push(early?);
        }
        std::pin::Pin::new(&mut response).poll(cx)
    });
    let (head, mut stream) = within("a response", response).await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = data(&mut stream).await? {
        body.extend_from_slice(&piece);
    }
    let trailers = within("trailers", stream.trailers()).await?;
    Ok(Http2Response {
        status: head.status,
        headers: head.headers,
        body,
        trailers,
        interim,
    })
}

/// The next piece of a body, its window given back.
pub async fn data(stream: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let Some(piece) = within("a piece of a body", stream.data()).await else {
        return Ok(None);
    };
    let piece = piece?;
    let _ = stream.flow_control().release_capacity(piece.len());
    Ok(Some(piece))
}
