//! Both directions of an exchange at once, in one task.
//!
//! Neither side waits for the other: an early response is passed on while the request still
//! comes, a slow reader stops only the reading of what is for it, and a client that leaves is
//! noticed while the backend thinks.

use std::time::Duration;

use ferrix_table::services::Endpoint;
use http::Method;
use pingora_http::ResponseHeader;

use crate::{
    Engine,
    backend::{Backend, Broken, FromBackend},
    client::{Client, FromClient, Gone},
    deadline::Deadline,
    failure::Failure,
    headers::{self, RequestBody},
    io::HIGH_WATER,
    settings::Timeouts,
};

/// A client that takes less than this many bytes in `timeouts.write` has stalled.
const LEAST_TAKEN: u64 = 4096;

/// What a relay has to know of its request.
pub(crate) struct Relay<'r> {
    pub(crate) engine: &'r Engine,
    pub(crate) method: &'r Method,
    pub(crate) body: RequestBody,
    pub(crate) upgrade: bool,
}

/// A request that an endpoint works on, counted as long as this lives.
pub(crate) struct InFlight<'e>(&'e Endpoint);

impl<'e> InFlight<'e> {
    pub(crate) fn new(endpoint: &'e Endpoint) -> Self {
        endpoint.state.in_flight.add(1);
        Self(endpoint)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.state.in_flight.add(-1);
    }
}

impl From<Gone> for Broken {
    fn from(_: Gone) -> Self {
        Broken::from(Failure::ClientGone)
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            refused: false,
        }
    }
}

/// How far the two directions have come.
struct Progress {
    request_done: bool,
    response_done: bool,
    /// The backend takes no more of the request; its response may still come.
    deaf: bool,
    /// While the client is waited for: how much it had taken when the deadline was set.
    taken: Option<u64>,
}

/// Relays until the response is with the client. Returns whether the backend's connection is
/// clean: the whole request went out and the whole response came in.
pub(crate) async fn relay(
    relay: &Relay<'_>,
    client: &mut Client<'_>,
    backend: &mut Backend,
    deadline: &mut Deadline,
    received: &mut u64,
) -> Result<bool, Broken> {
    let timeouts = &relay.engine.settings.timeouts;
    let mut progress = Progress {
        request_done: relay.body == RequestBody::None,
        response_done: false,
        deaf: false,
        taken: None,
    };
    if progress.request_done {
        backend.out.drain_now();
    }
    loop {
        if progress.response_done {
            client.out.drain_now();
            if client.out.is_drained() {
                break;
            }
        }
        let read_backend = !progress.response_done && client.out.pending() < HIGH_WATER;
        let read_client = !progress.response_done
            && !progress.deaf
            && (progress.request_done || backend.out.pending() < HIGH_WATER);
        progress.set_deadline(deadline, client, backend, timeouts);
        let Backend {
            reader,
            out: to_backend,
        } = &mut *backend;
        tokio::select! {
            biased;
            part = reader.read(), if read_backend => {
                let part = part?;
                let ended = on_response(relay, client, part).await?;
                progress.response_done = ended || reader.is_done();
                if progress.response_done && !ended {
                    client.finish(None).await?;
                }
                if client.is_upgraded() && progress.request_done && !ended {
                    progress.request_done = false;
                }
            }
            part = client.reader.read(progress.request_done), if read_client => {
                on_request(relay, backend, part?, &mut progress, received).await?;
                if client.is_upgraded() && progress.request_done {
                    // A WebSocket ends with either of its directions.
                    break;
                }
            }
            drained = client.out.drain(), if client.out.wants_drain() => {
                drained.map_err(|_| Gone)?;
            }
            drained = to_backend.drain(), if to_backend.wants_drain() && !progress.deaf => {
                // The response to what it got may already be on its way.
                progress.deaf = drained.is_err();
            }
            () = deadline.passed() => return Err(progress.blame(client, backend).into()),
        }
    }
    if client.is_upgraded() {
        backend.out.drain_now();
        return Ok(false);
    }
    Ok(progress.request_done && !progress.deaf && backend.out.is_drained())
}

/// Passes a part of the response on. Returns whether it was the end, and so finished the response
/// towards the client.
async fn on_response(
    relay: &Relay<'_>,
    client: &mut Client<'_>,
    part: FromBackend<'_>,
) -> Result<bool, Broken> {
    match part {
        FromBackend::Interim(mut header) => {
            headers::prepare_response(&mut header, false);
            client.interim(header).await?;
        }
        FromBackend::Header(header, end) => {
            on_response_header(relay, client, header, end).await?;
        }
        FromBackend::Data(data) => client.data(data).await?,
        FromBackend::Bytes(data) => client.bytes(data).await?,
        FromBackend::End(trailers) => {
            client.finish(trailers).await?;
            return Ok(true);
        }
    }
    Ok(false)
}

async fn on_response_header(
    relay: &Relay<'_>,
    client: &mut Client<'_>,
    header: Box<ResponseHeader>,
    end: bool,
) -> Result<(), Broken> {
    let mut header = header;
    let upgraded = header.status == http::StatusCode::SWITCHING_PROTOCOLS;
    if upgraded && !relay.upgrade {
        return Err(Failure::Upstream("it switched protocols unasked".into()).into());
    }
    headers::prepare_response(&mut header, upgraded);
    // A gRPC client takes an error without a message only from a header that ends the stream.
    client.header(header, relay.method, end).await?;
    Ok(())
}

async fn on_request(
    relay: &Relay<'_>,
    backend: &mut Backend,
    part: FromClient,
    progress: &mut Progress,
    received: &mut u64,
) -> Result<(), Broken> {
    let limit = relay.engine.settings.limits.body_bytes.as_u64();
    let sent = match part {
        FromClient::Data(data) => {
            *received += data.len() as u64;
            if limit > 0 && *received > limit && !relay.upgrade {
                return Err(Failure::BodyTooLarge.into());
            }
            backend.data(data).await
        }
        FromClient::End(trailers) => {
            progress.request_done = true;
            backend.finish(relay.body, trailers).await
        }
    };
    progress.deaf |= sent.is_err();
    Ok(())
}

impl Progress {
    /// The exchange may stand still this long. A client that takes a byte now and then does not
    /// count as moving.
    fn set_deadline(
        &mut self,
        deadline: &mut Deadline,
        client: &Client<'_>,
        backend: &Backend,
        timeouts: &Timeouts,
    ) {
        if client.is_upgraded() {
            deadline.set(timeouts.upgraded);
        } else if !client.out.is_drained() {
            let taken = client.sent.saturating_sub(client.out.pending() as u64);
            if self
                .taken
                .is_none_or(|before| taken >= before + LEAST_TAKEN)
            {
                self.taken = Some(taken);
                deadline.set(timeouts.write);
            }
            return;
        } else if self.waits_for_client(backend) {
            deadline.set(timeouts.body);
        } else {
            deadline.set(timeouts.response);
        }
        self.taken = None;
    }

    fn waits_for_client(&self, backend: &Backend) -> bool {
        !self.request_done && !self.deaf && backend.out.pending() < HIGH_WATER
    }

    /// Who kept the other waiting.
    fn blame(&self, client: &Client<'_>, backend: &Backend) -> Failure {
        if client.is_upgraded() || !client.out.is_drained() {
            Failure::ClientGone
        } else if self.waits_for_client(backend) {
            Failure::BodyTimeout
        } else {
            Failure::UpstreamTimeout
        }
    }
}

/// Tells an expecting client to send its body.
pub(crate) async fn send_continue(client: &mut Client<'_>) -> Result<(), Gone> {
    let header = ResponseHeader::build(100, Some(0)).expect("100 is a valid status");
    client.interim(Box::new(header)).await
}

/// Waits until the client has taken everything.
pub(crate) async fn flush(
    client: &mut Client<'_>,
    deadline: &mut Deadline,
    limit: Duration,
) -> Result<(), Gone> {
    deadline.set(limit);
    while !client.out.is_drained() {
        tokio::select! {
            biased;
            drained = client.out.drain() => drained.map_err(|_| Gone)?,
            () = deadline.passed() => return Err(Gone),
        }
    }
    Ok(())
}
