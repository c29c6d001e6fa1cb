//! The backend's side of an exchange, over HTTP/1 or an HTTP/2 stream.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use ferrix_http1::{
    Framing, Oddity, Piece, RequestHead, ResponseHead, content_length, keeps_alive,
    response_framing,
};
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};

use crate::{
    failure::Failure,
    headers,
    inlet::Inlet,
    io::Io,
    outlet::Outlet,
    pool::{Connection, Lease},
    retry::{Broken, Kept},
    stream::{HeldBack, StreamReader, StreamWriter},
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

impl From<Piece> for FromBackend {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Data(data) => Self::Data(data),
            Piece::End(trailers) => Self::End(trailers),
        }
    }
}

/// What `h2` reports before an answer has begun.
#[cold]
fn unanswered(error: h2::Error) -> Broken {
    let reason = error.to_string();
    // A stream above the last one that GOAWAY names was not begun (RFC 9113, section 6.8), and the
    // crate gives that error to no other.
    let untouched = error.is_go_away()
        || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    match () {
        () if untouched && error.is_remote() => Broken::Untouched(reason),
        () if error.is_io() => Broken::Unanswered(reason),
        () => Broken::Answer(reason),
    }
}

impl Connection {
    /// Waits until the connection takes another request, which over HTTP/1 it does at once.
    ///
    /// # Errors
    /// The connection over HTTP/2 has ended.
    #[inline]
    pub(crate) async fn ready(&mut self) -> Result<(), Broken> {
        if let Self::Http2 { send, .. } = self {
            poll_fn(|cx| send.poll_ready(cx))
                .await
                .map_err(never_begun)?;
        }
        Ok(())
    }
}

/// What `h2` reports where a stream could not even be begun.
#[cold]
fn never_begun(error: h2::Error) -> Broken {
    let reason = error.to_string();
    match error.is_io() || error.is_go_away() || error.is_reset() {
        true => Broken::Untouched(reason),
        false => Broken::Exchange(Failure::Upstream(reason)),
    }
}

/// An answer that cannot go on.
#[cold]
fn broken_answer(error: impl std::fmt::Display) -> Broken {
    Broken::Answer(error.to_string())
}

/// One request's backend.
pub(crate) struct Backend {
    side: Side,
    /// What was sent of the body, until the first byte of an answer. `None`: it cannot be sent
    /// again.
    kept: Option<Kept>,
    /// It is kept for longer: until [`Backend::forget`].
    holds: bool,
    /// Whether the whole request was handed over.
    whole: bool,
    /// What was read of the response, and has still to be looked at.
    ahead: Option<Box<FromBackend>>,
}

enum Side {
    Http1(Http1),
    Http2(Box<Http2>),
}

/// A request over HTTP/1.
struct Http1 {
    wire: Box<Wire>,
    method: Method,
    /// Whether anything of an answer has come.
    answered: bool,
    header_read: bool,
    keep_alive: bool,
}

/// A request over HTTP/2.
struct Http2 {
    response: ResponseFuture,
    /// Whether anything of an answer has come.
    answered: bool,
    body: Option<StreamReader>,
    ended: bool,
    /// Where the request has a body.
    writer: Option<StreamWriter>,
    _lease: Lease,
}

impl Backend {
    /// Sends the header section, and what was sent of the body before, if this is not the first
    /// attempt, once the connection is [ready](Connection::ready). It is on its way, not yet with the
    /// backend, when this returns.
    ///
    /// What is `kept` is taken only when that has succeeded; see [`Backend::into_kept`]. It `holds` for
    /// longer than until the first byte of an answer where some answers are followed by another attempt.
    #[inline]
    pub(crate) fn send(
        connection: Connection,
        head: &RequestHead,
        body: Framing,
        secure: bool,
        kept: &mut Option<Kept>,
        holds: bool,
    ) -> Result<Self, Broken> {
        let side = match connection {
            Connection::Http1 { wire, .. } => Side::Http1(Http1::send(wire, head, body)),
            Connection::Http2 { send, lease, .. } => {
                Side::Http2(Http2::send(send, lease, head, body, secure)?)
            }
        };
        let mut backend = Self {
            side,
            kept: None,
            holds,
            whole: body == Framing::Empty,
            ahead: None,
        };
        if body != Framing::Empty
            && let Some(kept) = kept
        {
            backend.send_again(kept)?;
        }
        backend.kept = kept.take();
        Ok(backend)
    }

    /// What was sent of the body before.
    fn send_again(&mut self, kept: &Kept) -> Result<(), Failure> {
        for piece in kept.pieces() {
            self.data(piece, false)?;
        }
        match kept.is_whole() {
            true => self.finish(None),
            false => Ok(()),
        }
    }

    /// Whether the whole request was handed over.
    pub(crate) fn is_sent(&self) -> bool {
        self.whole
    }

    /// Whether all that was sent of the body can be sent again.
    pub(crate) fn has_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// There will be no other attempt.
    pub(crate) fn forget(&mut self) {
        self.kept = None;
    }

    /// What another attempt needs of the body. `None`: it cannot be sent again, for it was too long
    /// to keep, or an answer has begun.
    pub(crate) fn into_kept(self) -> Option<Kept> {
        self.kept
    }

    /// Where the request's body goes.
    pub(crate) fn out(&mut self) -> Outlet<'_> {
        match &mut self.side {
            Side::Http1(http1) => Outlet::Wire(&mut http1.wire),
            Side::Http2(http2) => Outlet::of(&mut http2.writer),
        }
    }

    /// A piece of the request body; see [`Kept::with`].
    ///
    /// # Errors
    /// The client lied about its length.
    pub(crate) fn data(&mut self, data: Bytes, own: bool) -> Result<(), Failure> {
        self.kept = self.kept.take().and_then(|kept| kept.with(&data, own));
        self.out().data(data).map_err(clients_fault)
    }

    /// The end of the request body. Trailers are not kept: with them a request is not sent again.
    ///
    /// # Errors
    /// See [`Backend::data`].
    pub(crate) fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        self.whole = true;
        let kept = self.kept.take().filter(|_| trailers.is_none());
        self.kept = kept.map(Kept::ended);
        let trailers = trailers.map(headers::prepare_trailers);
        self.out().finish(trailers).map_err(clients_fault)
    }

    /// The client left or the exchange failed: the backend need not go on.
    pub(crate) fn abort(&mut self) {
        if let Side::Http2(http2) = &mut self.side
            && let Some(writer) = &mut http2.writer
        {
            writer.reset(h2::Reason::CANCEL);
        }
    }

    /// The connection, over HTTP/1.
    pub(crate) fn io(&mut self) -> Option<&mut Io> {
        match &mut self.side {
            Side::Http1(http1) => Some(&mut http1.wire.io),
            Side::Http2(_) => None,
        }
    }

    /// The HTTP/1 connection, if it can carry another request.
    pub(crate) fn into_reusable(self) -> Option<Box<Wire>> {
        match self.side {
            Side::Http1(http1) if http1.is_reusable() => {
                let mut wire = http1.wire;
                wire.shrink();
                Some(wire)
            }
            _ => None,
        }
    }

    /// Where the response's body comes from.
    pub(crate) fn inlet(&mut self) -> Inlet<'_> {
        match &mut self.side {
            Side::Http1(http1) => Inlet::Wire(&mut http1.wire),
            Side::Http2(http2) => http2.body.as_mut().map_or(Inlet::Closed, Inlet::Stream),
        }
    }

    /// The next part of the response, of which no more is read than there is `room` for.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<Result<FromBackend, Broken>> {
        if let Some(part) = self.ahead.take() {
            return Poll::Ready(Ok(*part));
        }
        let (part, answered) = match &mut self.side {
            Side::Http1(http1) => (http1.poll_read(cx, room), http1.answered),
            Side::Http2(http2) => (http2.poll_read(cx), http2.answered),
        };
        if answered && !self.holds {
            self.kept = None;
        }
        part
    }

    /// Gives back what was read, to be read again.
    pub(crate) fn put_back(&mut self, part: FromBackend) {
        self.ahead = Some(Box::new(part));
    }

    /// Whether the response is known to be complete, so that it need not be read once more.
    pub(crate) fn is_done(&self) -> bool {
        match &self.side {
            Side::Http1(http1) => http1.header_read && http1.wire.is_done(),
            Side::Http2(http2) => {
                http2.ended || http2.body.as_ref().is_some_and(StreamReader::is_done)
            }
        }
    }
}

#[cold]
fn clients_fault(error: WireError) -> Failure {
    Failure::BadRequest(error.to_string().into())
}

impl Http1 {
    fn send(wire: Box<Wire>, head: &RequestHead, body: Framing) -> Self {
        let mut wire = wire;
        wire.io.write(|out| head.write(out));
        wire.begin(body);
        Self {
            wire,
            method: head.method.clone(),
            answered: false,
            header_read: false,
            keep_alive: false,
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<Result<FromBackend, Broken>> {
        if self.header_read {
            let piece = ready!(self.wire.poll_piece(cx, room)).map_err(broken_answer)?;
            return Poll::Ready(Ok(piece.into()));
        }
        let head = ready!(self.poll_head(cx, room))?;
        if head.status.is_informational() && head.status != 101 {
            return Poll::Ready(Ok(FromBackend::Interim(head)));
        }
        self.header_read = true;
        let framing = response_framing(&head, &self.method).map_err(broken_answer)?;
        self.wire.expect_response(framing);
        self.keep_alive = framing != Framing::UntilClose
            && keeps_alive(head.version, &head.fields)
            && !announces_impossible_body(&head);
        Poll::Ready(Ok(FromBackend::Header(head, framing == Framing::Empty)))
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<Result<ResponseHead, Broken>> {
        loop {
            let read = &mut self.wire.io.read;
            if !read.is_empty()
                && let Some((head, length)) = ResponseHead::parse(read).map_err(broken_answer)?
            {
                read.advance(length);
                return Poll::Ready(Ok(head));
            }
            if read.len() > MAX_HEAD {
                return Poll::Ready(Err(broken_answer("its header section is too large")));
            }
            match ready!(self.wire.poll_read(cx, room)) {
                Ok(0) => return Poll::Ready(Err(self.cut("it closed the connection"))),
                Ok(_) => self.answered = true,
                Err(error) => return Poll::Ready(Err(self.cut(error))),
            }
        }
    }

    /// The connection ended before the header section did.
    #[cold]
    fn cut(&self, reason: impl std::fmt::Display) -> Broken {
        match self.answered {
            false => Broken::Unanswered(reason.to_string()),
            true => broken_answer(reason),
        }
    }

    /// Bytes beyond the response would be taken for the next one.
    fn is_reusable(&self) -> bool {
        let io = &self.wire.io;
        self.keep_alive && self.wire.is_done() && io.is_drained() && io.read.is_empty()
    }
}

impl Http2 {
    fn send(
        connection: SendRequest<Bytes>,
        lease: Lease,
        head: &RequestHead,
        body: Framing,
        secure: bool,
    ) -> Result<Box<Self>, Broken> {
        let mut connection = connection;
        let request = http2_request(head, secure)?;
        let end = body == Framing::Empty;
        let sent = connection.send_request(request, end);
        let (response, stream) = sent.map_err(never_begun)?;
        Ok(Box::new(Self {
            response,
            answered: false,
            body: None,
            ended: false,
            writer: (!end).then(|| StreamWriter::new(stream)),
            _lease: lease,
        }))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<FromBackend, Broken>> {
        let Some(stream) = &mut self.body else {
            return self.poll_head(cx);
        };
        let piece = ready!(stream.poll_piece(cx)).map_err(broken_answer)?;
        self.ended = matches!(piece, Piece::End(_));
        Poll::Ready(Ok(piece.into()))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<FromBackend, Broken>> {
        if let Poll::Ready(Some(interim)) = self.response.poll_informational(cx) {
            let (parts, ()) = interim.map_err(|error| self.cut(error))?.into_parts();
            self.answered = true;
            check_switch(&parts)?;
            return Poll::Ready(Ok(FromBackend::Interim(response_head(&parts))));
        }
        let response = ready!(Pin::new(&mut self.response).poll(cx));
        let response = response.map_err(|error| self.cut(error))?;
        self.answered = true;
        let (parts, body) = response.into_parts();
        check_switch(&parts)?;
        let end = body.is_end_stream();
        self.body = Some(StreamReader::new(body, HeldBack::FROM_BACKEND));
        Poll::Ready(Ok(FromBackend::Header(response_head(&parts), end)))
    }
}

impl Http2 {
    /// The stream ended before the header section came.
    #[cold]
    fn cut(&self, error: h2::Error) -> Broken {
        match self.answered {
            false => unanswered(error),
            true => broken_answer(error),
        }
    }
}

/// HTTP/2 has no 101 (RFC 9113, section 8.6); a client over HTTP/1 would take what follows for
/// another protocol.
fn check_switch(parts: &http::response::Parts) -> Result<(), Broken> {
    match parts.status {
        StatusCode::SWITCHING_PROTOCOLS => Err(broken_answer("it switched protocols over HTTP/2")),
        _ => Ok(()),
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
    let unsuitable = |error: http::Error| Failure::Upstream(error.to_string());
    *request.uri_mut() = uri.build().map_err(unsuitable)?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = fields.into_map();
    Ok(request)
}
