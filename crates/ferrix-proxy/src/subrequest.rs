//! Requests of the proxy's own, beside one of a client: to whom it mirrors, and whom it asks.

use std::{future::poll_fn, sync::Arc, task::Poll};

use bytes::{Bytes, BytesMut};
use ferrix_http1::{Framing, RequestHead, ResponseHead};
use ferrix_table::{ids::ServiceIndex, services::Service};
use http::HeaderMap;
use tokio::time::Instant;

use crate::{
    Engine,
    backend::{Backend, FromBackend},
    failure::Failure,
    hash_key, headers,
    io::HIGH_WATER,
    pool::Connection,
    proxy_protocol::Introduction,
    race::Race,
    relay::InFlight,
    retry::Broken,
};

/// A request with its whole body.
pub(crate) struct Subrequest<'s> {
    pub(crate) service: &'s Arc<Service>,
    /// Where tables have the service.
    pub(crate) index: ServiceIndex,
    pub(crate) head: &'s RequestHead,
    pub(crate) body: Bytes,
    /// How much of the answer's body matters; more is read and dropped…
    pub(crate) wanted: usize,
    /// …or a failure, which is left unread.
    pub(crate) whole: bool,
}

/// What came of a request.
pub(crate) struct Reply {
    pub(crate) head: ResponseHead,
    /// As much of it as was wanted.
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Sends it to one endpoint of the service and reads the answer. Sent again is only what idled away.
pub(crate) async fn exchange(engine: &Engine, request: &Subrequest<'_>) -> Result<Reply, Failure> {
    let attempts = engine.settings.upstream.attempts;
    let mut race = Race::new(engine, request.service, request.index, false, attempts);
    if let Some(policy) = &request.service.policy {
        race.ask(hash_key::asked(policy, Some(request.head), None));
        race.introduce(Introduction::of_nobody(policy));
    }
    let mut broke = None;
    loop {
        let pooled = match broke {
            Some(_) => None,
            None => race.pooled(),
        };
        let (endpoint, connection) = match pooled {
            Some(pooled) => pooled,
            None => Box::pin(race.run(broke)).await?,
        };
        let reused = connection.is_reused();
        let _in_flight = InFlight::new(&endpoint);
        match attempt(request, connection).await {
            Ok((mut reply, backend)) => {
                if let Some(wire) = backend.into_reusable() {
                    let protocol = &request.service.protocol;
                    engine.upstream.release(&endpoint, protocol, wire);
                }
                headers::prepare_response(&mut reply.head, false);
                return Ok(reply);
            }
            Err(Broken::Unanswered(_) | Broken::Untouched(_)) if reused && race.may_go_on() => {
                broke = Some(Instant::now());
            }
            Err(broken) => return Err(broken.into()),
        }
    }
}

/// Sends it on a connection and reads the answer.
pub(crate) async fn attempt(
    request: &Subrequest<'_>,
    connection: Connection,
) -> Result<(Reply, Backend), Broken> {
    let mut connection = connection;
    let framing = match request.body.len() {
        0 => Framing::Empty,
        length => Framing::Length(length as u64),
    };
    let secure = request.service.protocol.is_tls();
    connection.ready().await?;
    let mut backend = Backend::send(connection, request.head, framing, secure, &mut None, false)?;
    if framing != Framing::Empty {
        backend.data(request.body.clone(), true)?;
        backend.finish(None)?;
    }
    let mut head = None;
    let mut body = BytesMut::new();
    let mut trailers = None;
    loop {
        match next(&mut backend).await? {
            FromBackend::Interim(_) => {}
            FromBackend::Header(answer, end) => {
                head = Some(answer);
                if end {
                    break;
                }
            }
            FromBackend::Data(data) => {
                let wanted = request.wanted.saturating_sub(body.len());
                if request.whole && data.len() > wanted {
                    let why = format!("its answer is longer than {} bytes", request.wanted);
                    return Err(Broken::Answer(why));
                }
                body.extend_from_slice(&data[..data.len().min(wanted)]);
            }
            FromBackend::End(fields) => {
                trailers = fields;
                break;
            }
        }
        if head.is_some() && backend.is_done() {
            break;
        }
    }
    let head = head.ok_or_else(|| Broken::Answer("it sent no header section".into()))?;
    let body = body.freeze();
    let reply = Reply {
        head,
        body,
        trailers,
    };
    Ok((reply, backend))
}

/// Writes what waits, and reads what comes.
pub(crate) async fn next(backend: &mut Backend) -> Result<FromBackend, Broken> {
    poll_fn(|cx| {
        backend.inlet().release(0, None);
        if let Poll::Ready(part) = backend.poll_read(cx, HIGH_WATER) {
            return Poll::Ready(part);
        }
        // Where it takes no more, its answer may still come; and where that does not, it is cut.
        let _ = backend.out().poll_drain(cx);
        Poll::Pending
    })
    .await
}
