//! The client's side of an exchange, over HTTP/1 or an HTTP/2 stream.

use std::{
    hint::cold_path,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use ferrix_http1::{BodyError, Framing, Piece, RequestHead, ResponseHead, keeps_alive};
use ferrix_table::table::SocketIndex;
use h2::server::SendResponse;
use http::{HeaderMap, Method, Response, StatusCode, Version};
use pingora_core::server::ShutdownWatch;

use crate::{
    address::Address,
    buffered::Buffered,
    client_certificates::Shown,
    clients::Account,
    counters::EntryPointCounters,
    drain,
    failure::Failure,
    filters::bandwidth::Shaper,
    headers::{self, Forwarding},
    inlet::Inlet,
    io::Io,
    outlet::Outlet,
    stream::{Backlog, StreamReader, StreamWriter},
    wire::{Wire, WireError},
};

/// Bytes of empty lines that may stand where a client is watched for its end.
const EMPTY_LINES: usize = 16;

/// What all requests of a connection share.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    pub(crate) socket: SocketIndex,
    pub(crate) counters: Arc<EntryPointCounters>,
    pub(crate) secure: bool,
    /// The client, after PROXY protocol.
    pub(crate) client: Address,
    /// The name the client gave in the TLS handshake, in canonical form.
    pub(crate) server_name: Option<String>,
    /// What it has shown in that handshake, where it was asked for a certificate.
    pub(crate) shown: Option<Box<Shown>>,
    pub(crate) forwarding: Forwarding,
    /// What that client has open. `None`: its requests are not limited.
    pub(crate) account: Option<Arc<Account>>,
    /// Tells when the connection is to end. Nobody waits on this one: see [`drain::has_begun`].
    pub(crate) shutdown: ShutdownWatch,
}

/// The client is gone, or does not keep to the protocol.
#[derive(Debug)]
pub(crate) struct Gone;

/// One request's client.
pub(crate) struct Client<'c> {
    side: Side<'c>,
    /// The whole body, where it has been read: it is given out from here.
    buffered: Option<Box<Buffered>>,
    /// Status of the final response, once its header is on its way.
    pub(crate) status: Option<u16>,
    /// Body bytes handed to the connection.
    pub(crate) sent: u64,
    /// Where limits say how fast the request's body may come…
    pub(crate) upload: Option<Box<Shaper>>,
    /// …and the response's go.
    pub(crate) download: Option<Box<Shaper>>,
}

enum Side<'c> {
    Http1(Http1<'c>),
    Http2(Box<Http2>),
}

/// A request over HTTP/1.
struct Http1<'c> {
    wire: &'c mut Wire,
    shutdown: &'c ShutdownWatch,
    version: Version,
    wants_trailers: bool,
    /// Whether the connection goes on after this request.
    keep_alive: bool,
    /// Whether the client waits for permission to send its body.
    expects_continue: bool,
    upgraded: bool,
}

/// A request over HTTP/2.
struct Http2 {
    body: StreamReader,
    respond: SendResponse<Bytes>,
    /// Of the connection.
    backlog: Backlog,
    /// Once there is a body to send.
    writer: Option<StreamWriter>,
}

impl<'c> Client<'c> {
    /// `head` is the request's, if it could be read.
    pub(crate) fn http1(
        wire: &'c mut Wire,
        head: Option<&RequestHead>,
        shutdown: &'c ShutdownWatch,
    ) -> Self {
        let expects = |head: &RequestHead| head.fields.contains("expect");
        Self::new(Side::Http1(Http1 {
            wire,
            shutdown,
            version: head.map_or(Version::HTTP_11, |head| head.version),
            wants_trailers: head.is_some_and(|head| headers::wants_trailers(&head.fields)),
            keep_alive: head.is_some_and(|head| keeps_alive(head.version, &head.fields)),
            expects_continue: head.is_some_and(expects),
            upgraded: false,
        }))
    }

    pub(crate) fn http2(
        body: StreamReader,
        respond: SendResponse<Bytes>,
        backlog: Backlog,
    ) -> Self {
        Self::new(Side::Http2(Box::new(Http2 {
            body,
            respond,
            backlog,
            writer: None,
        })))
    }

    fn new(side: Side<'c>) -> Self {
        Self {
            side,
            buffered: None,
            status: None,
            sent: 0,
            upload: None,
            download: None,
        }
    }

    /// A response before the final one (RFC 9110, section 15.2).
    pub(crate) fn interim(&mut self, head: ResponseHead) -> Result<(), Gone> {
        match &mut self.side {
            Side::Http1(http1) => {
                http1.interim(&head);
                Ok(())
            }
            Side::Http2(http2) => {
                let sent = http2.respond.send_informational(response(head));
                sent.map_err(|_| Gone)
            }
        }
    }

    /// The header section of the final response; `end` where no body follows.
    pub(crate) fn header(
        &mut self,
        head: ResponseHead,
        request_method: &Method,
        end: bool,
    ) -> Result<(), Gone> {
        let mut head = head;
        self.status = Some(head.status.as_u16());
        if !head.fields.contains("date") {
            cold_path();
            // RFC 9110, section 6.6.1.
            let date = httpdate::HttpDate::from(std::time::SystemTime::now());
            head.fields.append("Date", date.to_string().as_bytes());
        }
        match &mut self.side {
            Side::Http1(http1) => http1.header(head, request_method),
            Side::Http2(http2) => http2.header(head, end).map_err(|_| Gone)?,
        }
        Ok(())
    }

    /// A piece of the response body.
    ///
    /// # Errors
    /// The backend lied about its length.
    pub(crate) fn data(&mut self, data: Bytes) -> Result<(), Failure> {
        let length = data.len() as u64;
        self.out().data(data).map_err(backends_fault)?;
        self.sent += length;
        Ok(())
    }

    /// The end of the response.
    ///
    /// # Errors
    /// See [`Client::data`].
    pub(crate) fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        let trailers = trailers
            .filter(|_| self.wants_trailers())
            .map(headers::prepare_trailers);
        self.out().finish(trailers).map_err(backends_fault)
    }

    fn wants_trailers(&self) -> bool {
        match &self.side {
            Side::Http1(http1) => http1.wants_trailers,
            Side::Http2(_) => true,
        }
    }

    /// The connection will not carry another request, and the response says so.
    pub(crate) fn close_after(&mut self) {
        if let Side::Http1(http1) = &mut self.side {
            http1.keep_alive = false;
        }
    }

    /// Whether the connection may carry another request after this one.
    pub(crate) fn keeps_alive(&self) -> bool {
        match &self.side {
            Side::Http1(http1) => http1.keep_alive && http1.knows_next_request(),
            Side::Http2(_) => false,
        }
    }

    /// Whether the end of the connection is what ends the response: then an orderly one would make
    /// it look complete (RFC 9112, section 8).
    pub(crate) fn ends_with_connection(&self) -> bool {
        matches!(&self.side, Side::Http1(http1) if http1.wire.ends_with_connection())
    }

    /// Ends the exchange so that the client cannot take it for complete.
    pub(crate) fn abort(&mut self) {
        if let Side::Http2(http2) = &mut self.side {
            match &mut http2.writer {
                Some(writer) => writer.reset(h2::Reason::INTERNAL_ERROR),
                None => http2.respond.send_reset(h2::Reason::INTERNAL_ERROR),
            }
        }
    }

    /// What is sent belongs to another protocol, after the response that says so.
    pub(crate) fn upgrade(&mut self) {
        if let Side::Http1(http1) = &mut self.side {
            http1.upgraded = true;
            http1.wire.begin(Framing::UntilClose);
        }
        // It is no body.
        self.download = None;
    }

    /// The connection, over HTTP/1.
    pub(crate) fn io(&mut self) -> Option<&mut Io> {
        match &mut self.side {
            Side::Http1(http1) => Some(&mut http1.wire.io),
            Side::Http2(_) => None,
        }
    }

    /// Whether the connection was handed to another protocol.
    pub(crate) fn is_upgraded(&self) -> bool {
        matches!(&self.side, Side::Http1(http1) if http1.upgraded)
    }

    /// Where the request's body comes from.
    pub(crate) fn inlet(&mut self) -> Inlet<'_> {
        match &mut self.side {
            Side::Http1(http1) => Inlet::Wire(http1.wire),
            Side::Http2(http2) => Inlet::Stream(&mut http2.body),
        }
    }

    /// The next piece of the request body, of which no more is read than there is `room` for.
    ///
    /// # Errors
    /// The client left, or its body is malformed.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<Result<Piece, Failure>> {
        if let Some(buffered) = &mut self.buffered {
            let piece = buffered.poll_piece(cx);
            return piece.map_err(|error| Failure::Storage(error.to_string()));
        }
        match &mut self.side {
            Side::Http1(http1) => {
                let piece = ready!(http1.wire.poll_piece(cx, room)).map_err(unreadable_body)?;
                // Before it could be refused: the client sends it without permission.
                http1.expects_continue &= self.status.is_some();
                Poll::Ready(Ok(piece))
            }
            Side::Http2(http2) => {
                let piece = http2.body.poll_piece(cx);
                piece.map_err(|_| Failure::ClientGone)
            }
        }
    }

    /// Takes back the body that was read of it, and is now whole. Limits of how fast it may come have been
    /// kept.
    pub(crate) fn give_back(&mut self, body: Buffered) {
        self.buffered = Some(Box::new(body));
        self.upload = None;
    }

    /// Bytes of both bodies that wait for their turn: of the request's, and of the response's.
    pub(crate) fn held(&self) -> (usize, usize) {
        let held = |shaper: &Option<Box<Shaper>>| shaper.as_ref().map_or(0, |it| it.held());
        (held(&self.upload), held(&self.download))
    }

    /// Whether the client waits to be told to send its body.
    pub(crate) fn awaits_permission(&self) -> bool {
        matches!(&self.side, Side::Http1(http1) if http1.expects_continue)
    }

    /// Resolves when the client leaves, after its whole request.
    pub(crate) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        match &mut self.side {
            Side::Http1(Http1 { wire, .. }) => poll_leave(wire, cx),
            // Once the response has begun this is an error, and its writer watches.
            Side::Http2(http2) => match ready!(http2.respond.poll_reset(cx)) {
                Ok(_) => Poll::Ready(Gone),
                Err(_) => Poll::Pending,
            },
        }
    }

    /// Where the response's body goes.
    pub(crate) fn out(&mut self) -> Outlet<'_> {
        match &mut self.side {
            Side::Http1(http1) => Outlet::Wire(http1.wire),
            Side::Http2(http2) => Outlet::of(&mut http2.writer),
        }
    }
}

impl From<Gone> for Failure {
    #[cold]
    fn from(_: Gone) -> Self {
        Self::ClientGone
    }
}

#[cold]
fn backends_fault(error: WireError) -> Failure {
    Failure::Upstream(error.to_string())
}

fn unreadable_body(error: WireError) -> Failure {
    match error {
        WireError::Io(_) | WireError::Body(BodyError::Truncated) => Failure::ClientGone,
        error => Failure::BadRequest(error.to_string().into()),
    }
}

/// Resolves when the client closes its side. What it sends meanwhile is its next request, or the
/// beginning of another protocol, and is kept; then nothing more is read.
fn poll_leave(wire: &mut Wire, cx: &mut Context<'_>) -> Poll<Gone> {
    loop {
        // An empty line behind a body is no request.
        let read = &wire.io.read;
        if read.len() > EMPTY_LINES || read.chunks(2).any(|line| line != b"\r\n") {
            return Poll::Pending;
        }
        match ready!(wire.io.poll_read_head(cx)) {
            Ok(0) | Err(_) => return Poll::Ready(Gone),
            Ok(_) => {}
        }
    }
}

/// Takes out empty lines before a request: old clients send one behind a body (RFC 9112, section
/// 2.2).
pub(crate) fn skip_empty_lines(read: &mut BytesMut) {
    while read.starts_with(b"\r\n") {
        read.advance(2);
    }
}

impl Http1<'_> {
    /// Whether it is known where the next request begins: a client that waits for permission may
    /// send its body or not.
    fn knows_next_request(&self) -> bool {
        !self.expects_continue || self.wire.is_done()
    }

    fn interim(&mut self, head: &ResponseHead) {
        let unexpected = head.status == StatusCode::CONTINUE && !self.expects_continue;
        if self.version == Version::HTTP_11 && !unexpected {
            self.wire.io.write(|out| head.write(out));
            // A client that may send its body does.
            self.expects_continue &= head.status != StatusCode::CONTINUE;
        }
    }

    fn header(&mut self, head: ResponseHead, request_method: &Method) {
        let mut head = head;
        let framing = response_body(&head, request_method, self.version);
        if framing == Framing::Chunked {
            head.fields.append("Transfer-Encoding", b"chunked");
        }
        self.keep_alive &= framing != Framing::UntilClose
            && !drain::has_begun(self.shutdown)
            && self.knows_next_request();
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            match self.keep_alive {
                false => head.fields.append("Connection", b"close"),
                true if self.version == Version::HTTP_10 => {
                    head.fields.append("Connection", b"keep-alive");
                }
                true => {}
            }
        }
        self.wire.begin(framing);
        self.wire.io.write(|out| head.write(out));
    }
}

/// How the body of a response goes to a client: where its length is not known in chunks, and to
/// older clients until the end of the connection (RFC 9112, section 6.3).
fn response_body(head: &ResponseHead, request_method: &Method, client: Version) -> Framing {
    match ferrix_http1::response_framing(head, request_method) {
        Ok(Framing::UntilClose) if client == Version::HTTP_11 && head.status != 101 => {
            Framing::Chunked
        }
        Ok(framing) => framing,
        // Its sender was asked about it before.
        Err(_) => Framing::UntilClose,
    }
}

impl Http2 {
    fn header(&mut self, head: ResponseHead, end: bool) -> Result<(), h2::Error> {
        let stream = self.respond.send_response(response(head), end)?;
        if !end {
            let backlog = self.backlog.clone();
            self.writer = Some(StreamWriter::with_backlog(stream, backlog));
        }
        Ok(())
    }
}

fn response(head: ResponseHead) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = head.fields.into_map();
    response
}
