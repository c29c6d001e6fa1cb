//! The client's side of an exchange, over HTTP/1 or an HTTP/2 stream.

use std::{future::poll_fn, net::SocketAddr};

use bytes::Bytes;
use ferrix_table::table::EntryPointIndex;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, Method, Response, StatusCode, Version};
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::{
    drain::Drain,
    headers::{self, Forwarding},
    io::Io,
    outlet::{Outlet, StreamWriter},
};

/// What all requests of a connection share.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    pub(crate) entry_point: EntryPointIndex,
    pub(crate) secure: bool,
    /// The client, after PROXY protocol.
    pub(crate) client: SocketAddr,
    /// The name the client gave in the TLS handshake, in canonical form.
    pub(crate) server_name: Option<String>,
    pub(crate) forwarding: Forwarding,
}

/// What a client does next.
pub(crate) enum FromClient {
    /// A piece of the body; may be empty.
    Data(Bytes),
    /// The body has ended.
    End(Option<HeaderMap>),
}

/// The client is gone, or does not keep to the protocol.
#[derive(Debug)]
pub(crate) struct Gone;

/// One request's client.
pub(crate) struct Client<'c> {
    pub(crate) reader: RequestReader<'c>,
    pub(crate) out: Outlet,
    /// Status of the final response, once its header is on its way.
    pub(crate) status: Option<u16>,
    /// Body bytes handed to the connection.
    pub(crate) sent: u64,
    version: Version,
    wants_trailers: bool,
    chunked: bool,
    drain: Option<&'c Drain>,
}

/// Where the request comes from, and for HTTP/1 also the codec that writes the response.
pub(crate) enum RequestReader<'c> {
    Http1(&'c mut HttpSession),
    Http2 {
        body: RecvStream,
        respond: SendResponse<Bytes>,
        body_done: bool,
    },
}

impl<'c> Client<'c> {
    /// `header` is the request's, if it could be read.
    pub(crate) fn http1(
        session: &'c mut HttpSession,
        io: Io,
        header: Option<&RequestHeader>,
        drain: &'c Drain,
    ) -> Self {
        Self {
            reader: RequestReader::Http1(session),
            out: Outlet::Io(io),
            status: None,
            sent: 0,
            version: header.map_or(Version::HTTP_11, |header| header.version),
            wants_trailers: header.is_some_and(|header| headers::wants_trailers(&header.headers)),
            chunked: false,
            drain: Some(drain),
        }
    }

    pub(crate) fn http2(body: RecvStream, respond: SendResponse<Bytes>) -> Self {
        Self {
            reader: RequestReader::Http2 {
                body,
                respond,
                body_done: false,
            },
            out: Outlet::Closed,
            status: None,
            sent: 0,
            version: Version::HTTP_2,
            wants_trailers: true,
            chunked: false,
            drain: None,
        }
    }

    /// A response before the final one (RFC 9110, section 15.2).
    pub(crate) async fn interim(&mut self, header: Box<ResponseHeader>) -> Result<(), Gone> {
        let mut header = header;
        match &mut self.reader {
            RequestReader::Http1(session) => {
                header.set_version(Version::HTTP_11);
                session
                    .write_response_header(header)
                    .await
                    .map_err(|_| Gone)
            }
            RequestReader::Http2 { respond, .. } => respond
                .send_informational(response(*header))
                .map_err(|_| Gone),
        }
    }

    /// The header of the final response; `end` where no body follows.
    pub(crate) async fn header(
        &mut self,
        header: Box<ResponseHeader>,
        request_method: &Method,
        end: bool,
    ) -> Result<(), Gone> {
        let mut header = header;
        self.status = Some(header.status.as_u16());
        match &mut self.reader {
            RequestReader::Http1(session) => {
                header.set_version(Version::HTTP_11);
                if self.drain.is_some_and(Drain::has_begun) {
                    session.set_server_keepalive(None);
                }
                self.chunked = needs_chunks(&header, self.version, request_method);
                if self.chunked {
                    header
                        .insert_header("Transfer-Encoding", "chunked")
                        .expect("field name and value are valid");
                }
                session
                    .write_response_header(header)
                    .await
                    .map_err(|_| Gone)
            }
            RequestReader::Http2 { respond, .. } => {
                if !header.headers.contains_key(http::header::DATE) {
                    // HTTP/1 codecs of backends always send one; HTTP/2 ones may not.
                    set_date(&mut header);
                }
                let stream = respond
                    .send_response(response(*header), end)
                    .map_err(|_| Gone)?;
                if !end {
                    self.out = Outlet::Stream(StreamWriter::new(stream));
                }
                Ok(())
            }
        }
    }

    /// A piece of the response body that stays with the backend's codec.
    pub(crate) async fn data(&mut self, data: &[u8]) -> Result<(), Gone> {
        if let Outlet::Stream(writer) = &mut self.out {
            self.sent += data.len() as u64;
            writer.push(Bytes::copy_from_slice(data));
            return Ok(());
        }
        self.write_http1(data).await
    }

    /// A piece of the response body that can be handed on.
    pub(crate) async fn bytes(&mut self, data: Bytes) -> Result<(), Gone> {
        if let Outlet::Stream(writer) = &mut self.out {
            self.sent += data.len() as u64;
            writer.push(data);
            return Ok(());
        }
        self.write_http1(&data).await
    }

    async fn write_http1(&mut self, data: &[u8]) -> Result<(), Gone> {
        // An empty chunk would end the body.
        if data.is_empty() {
            return Ok(());
        }
        if let RequestReader::Http1(session) = &mut self.reader {
            self.sent += data.len() as u64;
            session.write_body(data).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// The end of the response.
    pub(crate) async fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Gone> {
        let trailers = trailers.map(headers::prepare_trailers);
        match (&mut self.reader, &mut self.out) {
            (_, Outlet::Stream(writer)) => {
                writer.finish(trailers);
                Ok(())
            }
            (RequestReader::Http1(_), Outlet::Io(io))
                if self.chunked && self.wants_trailers && trailers.is_some() =>
            {
                io.push(&last_chunk(&trailers.unwrap_or_default()));
                Ok(())
            }
            (RequestReader::Http1(session), _) => {
                session.finish_body().await.map(drop).map_err(|_| Gone)
            }
            _ => Ok(()),
        }
    }

    /// The connection will not carry another request, and the response says so.
    pub(crate) fn close_after(&mut self) {
        if let RequestReader::Http1(session) = &mut self.reader {
            session.set_server_keepalive(None);
        }
    }

    /// Ends the exchange so that the client cannot take it for complete.
    pub(crate) fn abort(&mut self) {
        match (&mut self.reader, &mut self.out) {
            (RequestReader::Http2 { .. }, Outlet::Stream(writer)) => {
                writer.reset(h2::Reason::INTERNAL_ERROR);
            }
            (RequestReader::Http2 { respond, .. }, _) => {
                respond.send_reset(h2::Reason::INTERNAL_ERROR);
            }
            (RequestReader::Http1(_), _) => {}
        }
    }

    /// Whether the connection was handed to another protocol.
    pub(crate) fn is_upgraded(&self) -> bool {
        matches!(&self.reader, RequestReader::Http1(session) if session.was_upgraded())
    }
}

impl RequestReader<'_> {
    /// The next piece of the body. Once the body is done it only resolves when the client leaves.
    pub(crate) async fn read(&mut self, body_done: bool) -> Result<FromClient, Gone> {
        match self {
            Self::Http1(session) => read_http1(session, body_done).await,
            Self::Http2 {
                body,
                respond,
                body_done: done,
            } => {
                if *done {
                    // Once the response has begun this is an error, and its writer watches.
                    if poll_fn(|cx| respond.poll_reset(cx)).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    return Err(Gone);
                }
                if let Some(data) = body.data().await {
                    let data = data.map_err(|_| Gone)?;
                    let _ = body.flow_control().release_capacity(data.len());
                    return Ok(FromClient::Data(data));
                }
                *done = true;
                Ok(FromClient::End(body.trailers().await.map_err(|_| Gone)?))
            }
        }
    }
}

async fn read_http1(session: &mut HttpSession, body_done: bool) -> Result<FromClient, Gone> {
    // Pingora would watch for the client's leave instead of telling the end.
    if !body_done && session.is_body_done() {
        return Ok(FromClient::End(None));
    }
    match session.read_body_or_idle(body_done).await {
        Ok(Some(data)) => Ok(FromClient::Data(data)),
        Ok(None) => Ok(FromClient::End(None)),
        Err(_) => Err(Gone),
    }
}

/// A response with a body of unknown length goes to HTTP/1.1 clients in chunks and ends with the
/// connection for older ones (RFC 9112, section 6.3).
fn needs_chunks(header: &ResponseHeader, client: Version, method: &Method) -> bool {
    let bodiless = *method == Method::HEAD
        || matches!(
            header.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
        || header.status.is_informational();
    client == Version::HTTP_11
        && !bodiless
        && !header.headers.contains_key(http::header::CONTENT_LENGTH)
}

fn response(header: ResponseHeader) -> Response<()> {
    let mut header = header;
    header.set_version(Version::HTTP_2);
    Response::from_parts(header.into(), ())
}

fn set_date(header: &mut ResponseHeader) {
    let date = pingora_core::protocols::http::date::get_cached_date();
    header
        .insert_header(http::header::DATE, date)
        .expect("a date is a valid field value");
}

/// The end of a chunked body with trailers (RFC 9112, section 7.1.2). Pingora's writer has none.
pub(crate) fn last_chunk(trailers: &HeaderMap) -> Vec<u8> {
    let mut end = b"0\r\n".to_vec();
    for (name, value) in trailers {
        end.extend_from_slice(name.as_str().as_bytes());
        end.extend_from_slice(b": ");
        end.extend_from_slice(value.as_bytes());
        end.extend_from_slice(b"\r\n");
    }
    end.extend_from_slice(b"\r\n");
    end
}
