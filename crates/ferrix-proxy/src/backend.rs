//! The backend's side of an exchange, over HTTP/1 or an HTTP/2 stream.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use bytes::Bytes;
use h2::{RecvStream, client::ResponseFuture};
use http::{HeaderMap, Request, Uri, Version, header};
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::{
    client::last_chunk,
    failure::Failure,
    headers::{self, RequestBody},
    io::Io,
    outlet::{Outlet, StreamWriter},
    upstream::{Connection, Lease},
};

/// What a backend sends next.
pub(crate) enum FromBackend<'b> {
    /// A response before the final one.
    Interim(Box<ResponseHeader>),
    /// The header of the final response, and whether it is all of it.
    Header(Box<ResponseHeader>, bool),
    /// A piece of the body in the codec's buffer; may be empty.
    Data(&'b [u8]),
    /// A piece of the body.
    Bytes(Bytes),
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
    fn new(error: impl std::fmt::Display) -> Self {
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
pub(crate) struct Backend {
    pub(crate) reader: ResponseReader,
    pub(crate) out: Outlet,
}

/// Where the response comes from, and for HTTP/1 also the codec that writes the request.
pub(crate) enum ResponseReader {
    Http1 {
        session: Box<HttpSession>,
        header_read: bool,
    },
    Http2 {
        response: Box<ResponseFuture>,
        body: Option<RecvStream>,
        ended: bool,
        _lease: Lease,
    },
}

impl Backend {
    /// Sends the header section. It is on its way, not yet with the backend, when this returns.
    pub(crate) async fn send(
        connection: Connection,
        header: Box<RequestHeader>,
        body: RequestBody,
        secure: bool,
    ) -> Result<Self, Broken> {
        match connection {
            Connection::Http1 { io, .. } => Self::send_http1(io, header).await,
            Connection::Http2 { send, lease, .. } => {
                let header = http2_request(*header, secure)?;
                let mut send = send.ready().await?;
                let end = body == RequestBody::None;
                let (response, stream) = send.send_request(header, end)?;
                let out = match end {
                    true => Outlet::Closed,
                    false => Outlet::Stream(StreamWriter::new(stream)),
                };
                let reader = ResponseReader::Http2 {
                    response: Box::new(response),
                    body: None,
                    ended: false,
                    _lease: lease,
                };
                Ok(Self { reader, out })
            }
        }
    }

    async fn send_http1(io: Io, header: Box<RequestHeader>) -> Result<Self, Broken> {
        let mut header = header;
        header.set_version(Version::HTTP_11);
        let mut session = Box::new(HttpSession::new(Box::new(io.clone())));
        session
            .write_request_header(header)
            .await
            .map_err(Broken::new)?;
        let reader = ResponseReader::Http1 {
            session,
            header_read: false,
        };
        Ok(Self {
            reader,
            out: Outlet::Io(io),
        })
    }

    /// A piece of the request body.
    pub(crate) async fn data(&mut self, data: Bytes) -> Result<(), Broken> {
        match (&mut self.reader, &mut self.out) {
            (_, Outlet::Stream(writer)) => {
                writer.push(data);
                Ok(())
            }
            (ResponseReader::Http1 { session, .. }, _) if !data.is_empty() => {
                session.maybe_upgrade_body_writer();
                session
                    .write_body(&data)
                    .await
                    .map(drop)
                    .map_err(Broken::new)
            }
            _ => Ok(()),
        }
    }

    /// The end of the request body.
    pub(crate) async fn finish(
        &mut self,
        body: RequestBody,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Broken> {
        let trailers = trailers.map(headers::prepare_trailers);
        match (&mut self.reader, &mut self.out) {
            (_, Outlet::Stream(writer)) => {
                writer.finish(trailers);
                Ok(())
            }
            (ResponseReader::Http1 { .. }, Outlet::Io(io))
                if body == RequestBody::Stream && trailers.is_some() =>
            {
                io.push(&last_chunk(&trailers.unwrap_or_default()));
                Ok(())
            }
            (ResponseReader::Http1 { session, .. }, _) => {
                session.finish_body().await.map(drop).map_err(Broken::new)
            }
            _ => Ok(()),
        }
    }

    /// The client left or the exchange failed: the backend need not go on.
    pub(crate) fn abort(&mut self) {
        if let Outlet::Stream(writer) = &mut self.out {
            writer.reset(h2::Reason::CANCEL);
        }
    }

    /// The HTTP/1 connection, if it can carry another request.
    pub(crate) async fn into_reusable(self) -> Option<Io> {
        match (self.reader, self.out) {
            (ResponseReader::Http1 { mut session, .. }, Outlet::Io(io)) if io.is_drained() => {
                session.respect_keepalive();
                session.reuse().await.map(|_| io)
            }
            _ => None,
        }
    }
}

impl ResponseReader {
    /// The next part of the response. It may be dropped half way and called again.
    pub(crate) async fn read(&mut self) -> Result<FromBackend<'_>, Broken> {
        match self {
            Self::Http1 {
                session,
                header_read: header_read @ false,
            } => {
                session.read_response().await.map_err(Broken::new)?;
                let header = session
                    .resp_header()
                    .map(|header| Box::new(header.clone()))
                    .expect("a response that was read has a header");
                match header.status.as_u16() {
                    100 | 102..=199 => Ok(FromBackend::Interim(header)),
                    _ => {
                        *header_read = true;
                        Ok(FromBackend::Header(header, session.is_body_done()))
                    }
                }
            }
            Self::Http1 { session, .. } => {
                if session.is_body_done() {
                    return Ok(FromBackend::End(None));
                }
                match session.read_body_ref().await.map_err(Broken::new)? {
                    Some(data) => Ok(FromBackend::Data(data)),
                    None => Ok(FromBackend::End(None)),
                }
            }
            Self::Http2 {
                response,
                body,
                ended,
                ..
            } => match body {
                None => read_http2_header(response, body).await,
                Some(stream) => {
                    if let Some(data) = stream.data().await {
                        let data = data?;
                        let _ = stream.flow_control().release_capacity(data.len());
                        return Ok(FromBackend::Bytes(data));
                    }
                    let trailers = stream.trailers().await?;
                    *ended = true;
                    Ok(FromBackend::End(trailers))
                }
            },
        }
    }

    /// Whether the response is known to be complete, so that it need not be read once more.
    pub(crate) fn is_done(&mut self) -> bool {
        match self {
            Self::Http1 {
                session,
                header_read,
            } => *header_read && session.is_body_done(),
            Self::Http2 { body, ended, .. } => {
                *ended || body.as_ref().is_some_and(RecvStream::is_end_stream)
            }
        }
    }
}

async fn read_http2_header<'b>(
    response: &mut ResponseFuture,
    body: &mut Option<RecvStream>,
) -> Result<FromBackend<'b>, Broken> {
    let header = poll_fn(|cx| {
        if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
            return Poll::Ready(interim.map(|interim| (interim, None)));
        }
        Pin::new(&mut *response).poll(cx).map_ok(|response| {
            let (parts, body) = response.into_parts();
            (http::Response::from_parts(parts, ()), Some(body))
        })
    })
    .await?;
    let (header, stream) = header;
    let header = Box::new(ResponseHeader::from(header.into_parts().0));
    let Some(stream) = stream else {
        return Ok(FromBackend::Interim(header));
    };
    let end = stream.is_end_stream();
    *body = Some(stream);
    Ok(FromBackend::Header(header, end))
}

/// HTTP/2 has the authority in the URI, and no connection fields.
fn http2_request(header: RequestHeader, secure: bool) -> Result<Request<()>, Broken> {
    let mut header = header;
    let authority = header
        .remove_header(&header::HOST)
        .unwrap_or(http::HeaderValue::from_static(""));
    header.remove_header(&header::TRANSFER_ENCODING);
    let target = std::str::from_utf8(header.raw_path()).map_err(Broken::new)?;
    let mut uri = Uri::builder().scheme(if secure { "https" } else { "http" });
    uri = uri.authority(authority.as_bytes()).path_and_query(target);
    header.set_uri(uri.build().map_err(Broken::new)?);
    header.set_version(Version::HTTP_2);
    Ok(Request::from_parts(header.into(), ()))
}
