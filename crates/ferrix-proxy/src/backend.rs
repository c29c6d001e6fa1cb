//! The backend's side of an exchange, over HTTP/1 or an HTTP/2 stream.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use ferrix_http1::{
    Framing, Oddity, Piece, RequestHead, ResponseHead, content_length, keeps_alive,
    response_framing,
};
use h2::{RecvStream, client::ResponseFuture};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};

use crate::{
    failure::Failure,
    headers,
    io::Io,
    outlet::Outlet,
    pool::{Connection, Lease},
    stream::StreamWriter,
    wire::{Wire, WireError},
};

/// The longest header section of a response.
const MAX_HEAD: usize = 1 << 20;

/// What a backend sends next.
pub(crate) enum FromBackend {
    /// A response before the final one.
    Interim(ResponseHead),
    /// The header section of the final response, and whether it is all of it.
    Header(ResponseHead, bool),
    /// A piece of the body; may be empty.
    Data(Bytes),
    /// The response has ended.
    End(Option<HeaderMap>),
}

/// The backend broke the connection or the protocol.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) failure: Failure,
    /// The backend says that it has done nothing with the request (RFC 9113, section 8.7).
    pub(crate) refused: bool,
}

impl Broken {
    pub(crate) fn new(error: impl std::fmt::Display) -> Self {
        Self {
            failure: Failure::Upstream(error.to_string()),
            refused: false,
        }
    }
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Self {
        let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM)
            || (error.is_go_away()
                && error.is_remote()
                && error.reason() == Some(h2::Reason::NO_ERROR));
        Self {
            failure: Failure::Upstream(error.to_string()),
            refused,
        }
    }
}

/// One request's backend.
pub(crate) enum Backend {
    Http1(Box<Http1>),
    Http2(Box<Http2>),
}

/// A request over HTTP/1.
pub(crate) struct Http1 {
    wire: Wire,
    method: Method,
    header_read: bool,
    keep_alive: bool,
}

/// A request over HTTP/2.
pub(crate) struct Http2 {
    response: ResponseFuture,
    body: Option<RecvStream>,
    ended: bool,
    /// Where the request has a body.
    writer: Option<StreamWriter>,
    _lease: Lease,
}

impl Backend {
    /// Sends the header section. It is on its way, not yet with the backend, when this returns.
    pub(crate) async fn send(
        connection: Connection,
        head: &RequestHead,
        body: Framing,
        secure: bool,
    ) -> Result<Self, Broken> {
        match connection {
            Connection::Http1 { io, .. } => {
                let mut wire = Wire::new(io);
                wire.io.write(|out| head.write(out));
                wire.begin(body);
                Ok(Self::Http1(Box::new(Http1 {
                    wire,
                    method: head.method.clone(),
                    header_read: false,
                    keep_alive: false,
                })))
            }
            Connection::Http2 { send, lease, .. } => {
                let request = http2_request(head, secure)?;
                let mut send = send.ready().await?;
                let end = body == Framing::Empty;
                let (response, stream) = send.send_request(request, end)?;
                Ok(Self::Http2(Box::new(Http2 {
                    response,
                    body: None,
                    ended: false,
                    writer: (!end).then(|| StreamWriter::new(stream)),
                    _lease: lease,
                })))
            }
        }
    }

    /// Where the request's body goes.
    pub(crate) fn out(&mut self) -> Outlet<'_> {
        match self {
            Self::Http1(http1) => Outlet::Wire(&mut http1.wire),
            Self::Http2(http2) => Outlet::of(&mut http2.writer),
        }
    }

    /// A piece of the request body.
    ///
    /// # Errors
    /// The client lied about its length.
    pub(crate) fn data(&mut self, data: Bytes) -> Result<(), Failure> {
        self.out().data(data).map_err(clients_fault)
    }

    /// The end of the request body.
    ///
    /// # Errors
    /// See [`Backend::data`].
    pub(crate) fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        let trailers = trailers.map(headers::prepare_trailers);
        self.out().finish(trailers).map_err(clients_fault)
    }

    /// The client left or the exchange failed: the backend need not go on.
    pub(crate) fn abort(&mut self) {
        if let Self::Http2(http2) = self
            && let Some(writer) = &mut http2.writer
        {
            writer.reset(h2::Reason::CANCEL);
        }
    }

    /// The connection is handed to another protocol.
    pub(crate) fn upgrade(&mut self) {
        if let Self::Http1(http1) = self {
            http1.wire.begin(Framing::UntilClose);
        }
    }

    /// The HTTP/1 connection, if it can carry another request.
    pub(crate) fn into_reusable(self) -> Option<Io> {
        match self {
            Self::Http1(http1) if http1.is_reusable() => {
                let mut io = http1.wire.io;
                io.shrink();
                Some(io)
            }
            _ => None,
        }
    }

    /// The next part of the response.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<FromBackend, Broken>> {
        match self {
            Self::Http1(http1) => http1.poll_read(cx),
            Self::Http2(http2) => http2.poll_read(cx),
        }
    }

    /// Whether the response is known to be complete, so that it need not be read once more.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.header_read && http1.wire.is_done(),
            Self::Http2(http2) => {
                http2.ended || http2.body.as_ref().is_some_and(RecvStream::is_end_stream)
            }
        }
    }
}

fn clients_fault(error: WireError) -> Failure {
    Failure::BadRequest(error.to_string().into())
}

impl Http1 {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<FromBackend, Broken>> {
        if self.header_read {
            let piece = ready!(self.wire.poll_piece(cx)).map_err(Broken::new)?;
            return Poll::Ready(Ok(match piece {
                Piece::Data(data) => FromBackend::Data(data),
                Piece::End(trailers) => FromBackend::End(trailers),
            }));
        }
        let head = ready!(self.poll_head(cx))?;
        if head.status.is_informational() && head.status != 101 {
            return Poll::Ready(Ok(FromBackend::Interim(head)));
        }
        self.header_read = true;
        let framing = response_framing(&head, &self.method).map_err(Broken::new)?;
        self.wire.expect_response(framing);
        self.keep_alive = framing != Framing::UntilClose
            && keeps_alive(head.version, &head.fields)
            && !announces_impossible_body(&head);
        Poll::Ready(Ok(FromBackend::Header(head, framing == Framing::Empty)))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Broken>> {
        loop {
            let read = &mut self.wire.io.read;
            if !read.is_empty()
                && let Some((head, length)) = ResponseHead::parse(read).map_err(Broken::new)?
            {
                bytes::Buf::advance(read, length);
                return Poll::Ready(Ok(head));
            }
            if read.len() > MAX_HEAD {
                return Poll::Ready(Err(Broken::new("its header section is too large")));
            }
            if ready!(self.wire.poll_read(cx)).map_err(Broken::new)? == 0 {
                return Poll::Ready(Err(Broken::new("it closed the connection")));
            }
        }
    }

    /// Bytes beyond the response would be taken for the next one.
    fn is_reusable(&self) -> bool {
        let io = &self.wire.io;
        self.keep_alive && self.wire.is_done() && io.is_drained() && io.read.is_empty()
    }
}

impl Http2 {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<FromBackend, Broken>> {
        let Some(stream) = &mut self.body else {
            return self.poll_head(cx);
        };
        if let Some(data) = ready!(stream.poll_data(cx)) {
            let data = data?;
            let _ = stream.flow_control().release_capacity(data.len());
            return Poll::Ready(Ok(FromBackend::Data(data)));
        }
        let trailers = ready!(stream.poll_trailers(cx))?;
        self.ended = true;
        Poll::Ready(Ok(FromBackend::End(trailers)))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<FromBackend, Broken>> {
        if let Poll::Ready(Some(interim)) = self.response.poll_informational(cx) {
            let (parts, ()) = interim?.into_parts();
            return Poll::Ready(Ok(FromBackend::Interim(response_head(&parts))));
        }
        let response = ready!(Pin::new(&mut self.response).poll(cx))?;
        let (parts, body) = response.into_parts();
        let end = body.is_end_stream();
        self.body = Some(body);
        Poll::Ready(Ok(FromBackend::Header(response_head(&parts), end)))
    }
}

/// Whether a response that has no body names the length of one: it may come all the same, before
/// the next response.
fn announces_impossible_body(head: &ResponseHead) -> bool {
    head.status == StatusCode::NO_CONTENT
        && !matches!(content_length(&head.fields), Ok(None | Some(0)))
}

/// HTTP/2 has names and values that HTTP/1 has not (RFC 9113, section 8.2.1; the `h2` crate takes
/// quotation marks in names, and blanks around values).
fn response_head(parts: &http::response::Parts) -> ResponseHead {
    let mut head = ResponseHead::new(parts.status);
    for (name, value) in &parts.headers {
        match name.as_str().contains('"') {
            true => head.oddities.push(Oddity::Name(name.as_str().into())),
            false => {
                let value = value.as_bytes().trim_ascii();
                head.fields.append(name.as_str(), value);
            }
        }
    }
    head
}

/// HTTP/2 has the authority in the URI, and no connection fields.
fn http2_request(head: &RequestHead, secure: bool) -> Result<Request<()>, Broken> {
    let authority = head.fields.get("host").unwrap_or_default();
    let uri = Uri::builder()
        .scheme(if secure { "https" } else { "http" })
        .authority(authority)
        .path_and_query(head.target());
    let mut fields = head.fields.clone();
    // HTTP/2 backends rarely send an interim response: the client got one from us.
    for name in ["host", "transfer-encoding", "expect"] {
        fields.remove(name);
    }
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri.build().map_err(Broken::new)?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = fields.into_map();
    Ok(request)
}
