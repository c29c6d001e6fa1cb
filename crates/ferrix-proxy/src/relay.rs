//! Both directions of an exchange at once, in one task.
//!
//! Neither side waits for the other: an early response is passed on while the request still
//! comes, a slow reader stops only the reading of what is for it, and a client that leaves is
//! noticed while the backend thinks.

use std::{
    future::poll_fn,
    hint::cold_path,
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use ferrix_http1::{Framing, Piece, RequestHead, ResponseHead, content_length};
use ferrix_table::{
    filters::compression::ContentEncoding,
    services::{Endpoint, Service},
};
use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::{
    Engine,
    answer::Answer,
    backend::{Backend, FromBackend},
    budget::Waiting,
    client::{Client, Gone},
    clock,
    deadline::Deadline,
    encoder::Encoder,
    failure::Failure,
    filters::{
        Applied,
        bandwidth::Shaper,
        cache::{Fetch, Invalidation, Verdict},
        mirror::Copies,
    },
    governed::Governed,
    headers,
    inlet::Inlet,
    io::HIGH_WATER,
    outlet::Outlet,
    pace::Pace,
    retry::Broken,
    settings::OddResponses,
    tunnel::{self, End},
};

mod passage;

pub(crate) use passage::Passage;

/// A client that takes less than this many bytes in `timeouts.write` has stalled.
const LEAST_TAKEN: u64 = 4096;

/// The log names no more impossible fields of a response than this.
const LOGGED_ODDITIES: usize = 8;

/// A deadline that has passed already: none would be set by zero.
const SOON: Duration = Duration::from_millis(1);

/// As much of a body that nobody gets is read, so that its connection can be used again…
const DISCARDED: usize = 64 * 1024;

/// …and it is waited for so long.
const DISCARD: Duration = Duration::from_millis(100);

/// So often an HTTP/2 connection may run before one of its streams is reset.
const TURNS: usize = 4;

/// What a relay has to know of its request.
pub(crate) struct Relay<'r> {
    pub(crate) engine: &'r Engine,
    pub(crate) service: &'r Service,
    pub(crate) method: Method,
    pub(crate) body: Framing,
    pub(crate) upgrade: bool,
    /// The backend may be silent for so long; zero: for ever.
    pub(crate) response_timeout: Duration,
    /// The longest body of a request; 0: any.
    pub(crate) body_bytes: u64,
    /// What a policy has still to do.
    pub(crate) applied: Option<&'r Applied>,
    /// Where a cache wants the response.
    pub(crate) fetch: Option<Box<Fetch>>,
    /// What the response may make out of date.
    pub(crate) invalidation: Option<Box<Invalidation>>,
    /// Whether the rule asks for further attempts at a request that may have them.
    pub(crate) asked: bool,
    /// Statuses that are followed by another attempt, if this one is not the last.
    pub(crate) repeated: &'r [u16],
    /// Who gets the request in this attempt.
    pub(crate) endpoint: Option<SocketAddr>,
    /// What the policy of the service asks for, where it has one.
    pub(crate) governed: Option<Box<Governed<'r>>>,
    /// Whether TLS ends at the entry point.
    pub(crate) secure: bool,
}

impl Relay<'_> {
    /// Whether the service has room for one more request that is sent once more.
    pub(crate) fn may_repeat(&mut self) -> bool {
        self.governed
            .as_mut()
            .is_none_or(|governed| governed.may_repeat())
    }

    /// How long nothing may come of an answer that has begun, where the policy of the service says so.
    fn idle_timeout(&self) -> Option<Duration> {
        self.governed.as_ref()?.policy.timeouts.idle
    }

    /// The answer of a cache as the client gets it.
    pub(crate) async fn answer(
        &self,
        request: &RequestHead,
        head: ResponseHead,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        match self.applied {
            Some(applied) => applied.answer(self.engine, request, head, body).await,
            None => Ok(Answer::kept(head, body)),
        }
    }
}

/// What has come of a request's body.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) bytes: u64,
    /// For mirrors, until the end of the body.
    pub(crate) copies: Option<Box<Copies>>,
}

impl Received {
    pub(crate) fn data(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        if let Some(copies) = &mut self.copies {
            copies.data(data);
        }
    }

    fn ended(&mut self, engine: &Engine) {
        if let Some(copies) = self.copies.take() {
            copies.send(engine);
        }
    }
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
    #[cold]
    fn from(_: Gone) -> Self {
        Broken::from(Failure::ClientGone)
    }
}

/// How far the two directions have come.
struct Progress<'r> {
    request_done: bool,
    response_done: bool,
    /// The backend takes no more of the request; its response may still come.
    deaf: bool,
    /// While the client is waited for: how much it had taken when the deadline was set.
    taken: Option<u64>,
    /// Where the request's body may not be as slow as the client likes.
    pace: Option<Pace>,
    /// What of both directions waits.
    waiting: Waiting<'r>,
    /// What happens to the body of the response.
    passage: Passage,
}

/// What happens next in an exchange.
enum Event {
    Response(Result<FromBackend, Broken>),
    /// Nothing more of the response has come yet, and the client should have what has.
    BackendPauses,
    /// Something of a body has come, and may have to wait for its turn.
    Held,
    Request(Result<Piece, Failure>),
    ClientDrained(io::Result<()>),
    BackendDrained(io::Result<()>),
    DeadlinePassed,
}

/// Relays until the response is with the client. Returns whether the backend's connection is
/// clean: the whole request went out and the whole response came in.
pub(crate) async fn relay(
    relay: &mut Relay<'_>,
    request: &RequestHead,
    client: &mut Client<'_>,
    backend: &mut Backend,
    deadline: &mut Deadline,
    received: &mut Received,
) -> Result<bool, Broken> {
    let timeouts = &relay.engine.settings.timeouts;
    let mut progress = Progress {
        request_done: backend.is_sent(),
        response_done: false,
        deaf: false,
        taken: None,
        pace: None,
        waiting: Waiting::new(&relay.engine.counters.buffered_bytes),
        passage: Passage::default(),
    };
    if progress.request_done {
        backend.out().drain_now();
    } else if matches!(relay.body, Framing::Length(_)) {
        progress.pace = Pace::new(&relay.engine.settings.limits, timeouts);
    }
    loop {
        if progress.response_done {
            client.out().drain_now();
            if client.out().is_drained() {
                break;
            }
        }
        if deadline.is_over() {
            cold_path();
            return Err(progress.late(client, backend, deadline));
        }
        if let Some(shaper) = &mut client.download {
            cold_path();
            shaper.settle(client.sent);
        }
        progress.set_deadline(deadline, client, backend, relay, received.bytes);
        let waited_since = progress.begin_wait(client, backend);
        let event = poll_fn(|cx| progress.poll_event(client, backend, deadline, cx)).await;
        progress.end_wait(waited_since);
        match event {
            Event::Response(part) => {
                let passage = &mut progress.passage;
                if part.is_err() {
                    cold_path();
                    // What came is delivered all the same.
                    passage.flush(client)?;
                }
                let passed = on_response(relay, request, client, backend, passage, part?).await?;
                if let Passed::Whole(body) = passed {
                    cold_path();
                    // That is nothing to keep.
                    let copy = passage.copy.take();
                    pour(client, passage, body, deadline, timeouts.write).await?;
                    passage.copy = copy;
                    let whole = discard(backend, passage, deadline).await;
                    let clean = whole && backend.out().is_drained();
                    return Ok(clean && progress.request_done && !progress.deaf);
                }
                let ended = matches!(passed, Passed::End);
                let (_, held) = client.held();
                progress.response_done = ended || backend.is_done() && held == 0;
                if progress.response_done && !ended {
                    passage.finish(client, None)?;
                }
                passage.take_turns().await;
            }
            Event::Held => {}
            Event::BackendPauses => progress.passage.flush(client)?,
            Event::Request(part) => {
                let own = client.inlet().gives_own_memory();
                on_request(relay, backend, part?, own, &mut progress, received)?;
                if progress.is_too_slow(received.bytes) {
                    return Err(Failure::BodyTimeout.into());
                }
            }
            Event::ClientDrained(drained) => drained.map_err(|_| Gone)?,
            // The response to what it got may already be on its way.
            Event::BackendDrained(drained) => progress.deaf = drained.is_err(),
            Event::DeadlinePassed => return Err(progress.late(client, backend, deadline)),
        }
        if client.is_upgraded() && progress.request_done {
            cold_path();
            // What follows the whole request is in the other protocol (RFC 9110, section 7.8).
            let waiting = &mut progress.waiting;
            // The response has ended, by which the rule measures.
            deadline.set_ceiling(None);
            let idle = relay.idle_timeout().unwrap_or(timeouts.upgraded);
            return tunnel(client, backend, deadline, idle, received, waiting).await;
        }
    }
    Ok(progress.request_done && !progress.deaf && backend.out().is_drained())
}

/// Passes another protocol on, after the backend has agreed to it. Its connection is not clean then.
async fn tunnel(
    client: &mut Client<'_>,
    backend: &mut Backend,
    deadline: &mut Deadline,
    idle: Duration,
    received: &mut Received,
    waiting: &mut Waiting<'_>,
) -> Result<bool, Broken> {
    let (Some(to_client), Some(to_backend)) = (client.io(), backend.io()) else {
        let reason = "it switched protocols over HTTP/2".to_owned();
        return Err(Broken::Answer(reason));
    };
    let (passed, end) = tunnel::run(to_client, to_backend, deadline, idle, waiting).await;
    received.bytes += passed.from_client;
    client.sent += passed.from_backend;
    match end {
        End::Closed => Ok(false),
        End::Idle => Err(Gone.into()),
    }
}

/// What has become of a part of a response.
enum Passed {
    /// It was passed on.
    On,
    /// And was the end, so that the response to the client is finished.
    End,
    /// The client gets this instead, and it is all: nobody gets what follows.
    Whole(Bytes),
}

impl Passed {
    fn part(end: bool) -> Self {
        match end {
            true => Self::End,
            false => Self::On,
        }
    }
}

/// Passes a part of the response on.
async fn on_response(
    relay: &mut Relay<'_>,
    request: &RequestHead,
    client: &mut Client<'_>,
    backend: &mut Backend,
    passage: &mut Passage,
    part: FromBackend,
) -> Result<Passed, Broken> {
    match part {
        FromBackend::Interim(mut head) => {
            cold_path();
            check_oddities(relay, &head)?;
            headers::prepare_response(&mut head, false);
            client.interim(head)?;
        }
        FromBackend::Header(mut head, end) => {
            if let Some(governed) = &mut relay.governed {
                cold_path();
                governed.answered(head.status.as_u16());
            }
            let upgraded = head.status == StatusCode::SWITCHING_PROTOCOLS;
            if upgraded && !relay.upgrade {
                return Err(Failure::Upstream("it switched protocols unasked".into()).into());
            }
            let status = head.status.as_u16();
            if relay.repeated.contains(&status) && backend.has_kept() && relay.may_repeat() {
                return Err(Broken::Refused(status));
            }
            check_oddities(relay, &head)?;
            let delimited = end || relay.fetch.is_none() || is_delimited(&head, backend);
            headers::prepare_response(&mut head, upgraded);
            // Where the body is broken from its first byte on, this is still a 502.
            let first = match end || upgraded {
                true => None,
                false => there_already(backend).await.transpose()?,
            };
            backend.forget();
            if let Some(invalidation) = &relay.invalidation {
                cold_path();
                invalidation.on_response(head.status);
            }
            if let Some(fetch) = relay.fetch.take() {
                cold_path();
                match fetch.on_response(&mut head, delimited) {
                    Verdict::Pass => {}
                    Verdict::Keep(copy) => passage.copy = Some(copy),
                    Verdict::Instead(head, body) => {
                        // Boxed, because it is large and rare.
                        let answer = Box::pin(relay.answer(request, head, body)).await?;
                        return instead(relay, client, answer.head, answer.body);
                    }
                }
            }
            if let Some(applied) = relay.applied {
                cold_path();
                let page = applied.error_page(relay.engine, request, &head).await;
                if let Some((mut head, body)) = page {
                    let end = body.is_empty() || relay.method == Method::HEAD;
                    if let Some(FromBackend::Data(data)) = &first {
                        passage.keep(data);
                    }
                    passage.encoder = apply(relay, applied, &mut head, end);
                    return instead(relay, client, head, body);
                }
                passage.encoder = apply(relay, applied, &mut head, end);
            }
            if let (Some(governed), Some(endpoint)) = (&relay.governed, relay.endpoint) {
                cold_path();
                governed.keep_session(endpoint, relay.secure, &mut head.fields);
            }
            // A gRPC client takes an error without a message only from a header section that ends
            // the stream.
            client.header(head, &relay.method, end)?;
            if upgraded {
                cold_path();
                client.upgrade();
            }
            return match (first, &mut client.download) {
                (None, _) => Ok(Passed::On),
                (Some(FromBackend::Data(data)), Some(shaper)) => {
                    shaper.hold(data);
                    Ok(Passed::On)
                }
                (Some(first), _) => on_body(client, passage, first).map(Passed::part),
            };
        }
        part @ (FromBackend::Data(_) | FromBackend::End(_)) => {
            return on_body(client, passage, part).map(Passed::part);
        }
    }
    Ok(Passed::On)
}

/// Begins another response than that of the backend.
fn instead(
    relay: &Relay<'_>,
    client: &mut Client<'_>,
    head: ResponseHead,
    body: Bytes,
) -> Result<Passed, Broken> {
    let end = body.is_empty() || relay.method == Method::HEAD;
    client.header(head, &relay.method, end)?;
    Ok(Passed::Whole(if end { Bytes::new() } else { body }))
}

/// Reads what is left of a response that the client does not get, as far as that is little and soon there. Returns
/// whether it was all: then it is kept where that is wanted.
async fn discard(backend: &mut Backend, passage: &mut Passage, deadline: &mut Deadline) -> bool {
    deadline.set(DISCARD);
    let mut left = DISCARDED;
    while !backend.is_done() {
        let part = poll_fn(|cx| {
            backend.inlet().release(0, None);
            backend.poll_read(cx, HIGH_WATER)
        });
        let part = tokio::select! {
            biased;
            part = part => part,
            () = deadline.passed() => return false,
        };
        match part {
            Ok(FromBackend::Data(data)) if data.len() <= left => {
                left -= data.len();
                passage.keep(&data);
            }
            Ok(FromBackend::End(_)) => break,
            _ => return false,
        }
    }
    if let Some(copy) = passage.copy.take() {
        copy.finish();
    }
    true
}

/// Does to a response what the policy of its rule asks for. Returns what compresses its body. `end`: it
/// has none.
fn apply(
    relay: &Relay<'_>,
    applied: &Applied,
    head: &mut ResponseHead,
    end: bool,
) -> Option<Box<Encoder>> {
    let length = match end && relay.method != Method::HEAD {
        true => Some(0),
        false => content_length(&head.fields).ok().flatten(),
    };
    let encoding = applied.on_response(head, length);
    if let Some(endpoint) = relay.endpoint {
        applied.keep_session(&relay.service.id, endpoint, relay.secure, head);
    }
    applied.log(head);
    let encoder = |encoding: ContentEncoding| Box::new(Encoder::new(encoding, length));
    encoding.filter(|_| !end).map(encoder)
}

/// Passes a part of a response's body on. Returns whether it was the end.
fn on_body(
    client: &mut Client<'_>,
    passage: &mut Passage,
    part: FromBackend,
) -> Result<bool, Broken> {
    match part {
        FromBackend::Data(data) => passage.data(client, data)?,
        FromBackend::End(trailers) => {
            passage.finish(client, trailers)?;
            return Ok(true);
        }
        FromBackend::Interim(_) | FromBackend::Header(..) => {
            let reason = "it sent a second header section".to_owned();
            return Err(Broken::Answer(reason));
        }
    }
    Ok(false)
}

/// Whether the end of a response can be told from a connection that broke.
fn is_delimited(head: &ResponseHead, backend: &mut Backend) -> bool {
    let framed = ["content-length", "transfer-encoding"];
    backend.io().is_none() || framed.iter().any(|name| head.fields.contains(name))
}

/// What the backend sends next, if it is there already.
async fn there_already(backend: &mut Backend) -> Option<Result<FromBackend, Broken>> {
    poll_fn(|cx| {
        Poll::Ready(match backend.poll_read(cx, HIGH_WATER) {
            Poll::Ready(part) => Some(part),
            Poll::Pending => None,
        })
    })
    .await
}

/// Counts and names what no response may have, or refuses it.
fn check_oddities(relay: &Relay<'_>, head: &ResponseHead) -> Result<(), Failure> {
    if head.oddities.is_empty() {
        return Ok(());
    }
    let Relay {
        engine, service, ..
    } = relay;
    let refused = engine.settings.headers.odd_responses == OddResponses::Refuse;
    let odd = &service.state.odd_responses;
    odd.add(1);
    // A backend that does so once does so always: the log has the first, and ever fewer.
    if odd.get().is_power_of_two() {
        let few = head.oddities.len().min(LOGGED_ODDITIES);
        let (service, fields) = (&service.id, &head.oddities[..few]);
        tracing::warn!(
            ?service,
            ?fields,
            refused,
            "a response has impossible fields"
        );
    }
    match refused {
        true => Err(Failure::Upstream(
            "its response has impossible fields".into(),
        )),
        false => Ok(()),
    }
}

fn on_request(
    relay: &Relay<'_>,
    backend: &mut Backend,
    part: Piece,
    own: bool,
    progress: &mut Progress<'_>,
    received: &mut Received,
) -> Result<(), Broken> {
    let limit = relay.body_bytes;
    match part {
        Piece::Data(data) => {
            received.data(&data);
            if limit > 0 && received.bytes > limit {
                return Err(Failure::BodyTooLarge.into());
            }
            backend.data(data, own)?;
        }
        Piece::End(trailers) => {
            progress.request_done = true;
            progress.pace = None;
            received.ended(relay.engine);
            let trailers = match relay.applied {
                Some(applied) => trailers.map(|it| applied.trailers(it)),
                None => trailers,
            };
            backend.finish(trailers)?;
        }
    }
    Ok(())
}

impl Progress<'_> {
    /// The first thing that can be done; all others that are waited for will wake the task.
    fn poll_event(
        &mut self,
        client: &mut Client<'_>,
        backend: &mut Backend,
        deadline: &mut Deadline,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        if !self.response_done {
            if let Poll::Ready(event) = self.poll_response(client, backend, cx) {
                return Poll::Ready(event);
            }
            if !self.deaf
                && let Poll::Ready(event) = self.poll_request(client, backend, cx)
            {
                return Poll::Ready(event);
            }
        }
        if let Poll::Ready(drained) = client.out().poll_drain(cx) {
            return Poll::Ready(Event::ClientDrained(drained));
        }
        if !self.deaf
            && let Poll::Ready(drained) = backend.out().poll_drain(cx)
        {
            return Poll::Ready(Event::BackendDrained(drained));
        }
        // Who is not read for a while needs no buffer.
        let (from_client, from_backend) = client.held();
        if client.out().pending() + from_backend > 0 {
            backend.inlet().rest();
        }
        if backend.out().pending() + from_client > 0 {
            client.inlet().rest();
        }
        let held = from_client + from_backend;
        self.waiting
            .set(client.out().waits() + backend.out().waits() + held);
        deadline.poll_passed(cx).map(|()| Event::DeadlinePassed)
    }

    /// Reads the response as far as the client has room for it.
    fn poll_response(
        &self,
        client: &mut Client<'_>,
        backend: &mut Backend,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        if let Some(shaper) = &mut client.download
            && shaper.held() > 0
        {
            cold_path();
            let portion = shaper.poll_portion(cx);
            return portion.map(|data| Event::Response(Ok(FromBackend::Data(data))));
        }
        let room = room(backend.inlet(), client.out()).min(self.passage.most());
        if room == 0 {
            return Poll::Pending;
        }
        let part = match backend.poll_read(cx, room.min(most(&client.download))) {
            Poll::Ready(part) => part,
            Poll::Pending if self.passage.holds() => return Poll::Ready(Event::BackendPauses),
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(match (part, &mut client.download) {
            (Ok(FromBackend::Data(data)), Some(shaper)) => {
                cold_path();
                shaper.hold(data);
                Event::Held
            }
            (part, _) => Event::Response(part),
        })
    }

    /// Reads the request as far as the backend has room for it, then notices when the client leaves.
    fn poll_request(
        &self,
        client: &mut Client<'_>,
        backend: &mut Backend,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        if self.request_done {
            let gone = client.poll_leave(cx);
            return gone.map(|gone| Event::Request(Err(gone.into())));
        }
        if let Some(shaper) = &mut client.upload
            && shaper.held() > 0
        {
            cold_path();
            let portion = shaper.poll_portion(cx);
            return portion.map(|data| Event::Request(Ok(Piece::Data(data))));
        }
        let room = room(client.inlet(), backend.out());
        if room == 0 {
            return Poll::Pending;
        }
        let piece = ready!(client.poll_read(cx, room.min(most(&client.upload))));
        Poll::Ready(match (piece, &mut client.upload) {
            (Ok(Piece::Data(data)), Some(shaper)) => {
                shaper.hold(data);
                Event::Held
            }
            (piece, _) => Event::Request(piece),
        })
    }

    /// The exchange may stand still this long. A client that takes a byte now and then does not
    /// count as moving.
    fn set_deadline(
        &mut self,
        deadline: &mut Deadline,
        client: &mut Client<'_>,
        backend: &mut Backend,
        relay: &Relay<'_>,
        received: u64,
    ) {
        let timeouts = &relay.engine.settings.timeouts;
        if client.out().waits() > 0 {
            let taken = client.sent.saturating_sub(client.out().waits() as u64);
            if self
                .taken
                .is_none_or(|before| taken >= before + LEAST_TAKEN)
            {
                self.taken = Some(taken);
                deadline.set(timeouts.write);
            }
            return;
        } else if self.waits_for_client(client, backend) {
            let left = self.pace.map(|pace| pace.left(received).max(SOON));
            deadline.set(left.map_or(timeouts.body, |left| left.min(timeouts.body)));
        } else if self.is_held(client) {
            // Nobody keeps anybody waiting: its turn comes.
            deadline.set(Duration::ZERO);
        } else {
            let idle = relay.idle_timeout().filter(|_| client.status.is_some());
            deadline.set(idle.unwrap_or(relay.response_timeout));
        }
        self.taken = None;
    }

    /// Whether something of a body waits for its turn. A backend that takes no more never gets it.
    fn is_held(&self, client: &Client<'_>) -> bool {
        let (upload, download) = client.held();
        download > 0 || upload > 0 && !self.deaf
    }

    /// Whether more of the request is awaited, and the client is free to send it.
    fn waits_for_client(&self, client: &Client<'_>, backend: &mut Backend) -> bool {
        !self.request_done
            && !self.deaf
            && !client.awaits_permission()
            && client.held().0 == 0
            && !backend.out().is_behind()
    }

    /// Where the client's pace matters, and it is waited for: since when.
    fn begin_wait(&self, client: &Client<'_>, backend: &mut Backend) -> Option<Instant> {
        let waits = self.pace.is_some() && self.waits_for_client(client, backend);
        waits.then(clock::recent)
    }

    fn end_wait(&mut self, since: Option<Instant>) {
        if let (Some(pace), Some(since)) = (&mut self.pace, since) {
            pace.wait(clock::recent().saturating_duration_since(since));
        }
    }

    fn is_too_slow(&self, received: u64) -> bool {
        self.pace.is_some_and(|pace| pace.left(received).is_zero())
    }

    /// What has come to its end when the deadline has passed.
    fn late(&self, client: &mut Client<'_>, backend: &mut Backend, deadline: &Deadline) -> Broken {
        match self.blame(client, backend) {
            Failure::UpstreamTimeout if deadline.is_over() => Broken::Late,
            failure => failure.into(),
        }
    }

    /// Who kept the other waiting.
    fn blame(&self, client: &mut Client<'_>, backend: &mut Backend) -> Failure {
        if client.out().waits() > 0 {
            Failure::ClientGone
        } else if self.waits_for_client(client, backend) {
            Failure::BodyTimeout
        } else {
            Failure::UpstreamTimeout
        }
    }
}

/// How much may be read of one side for the other, after the one's sender has been told what has
/// left.
fn room(from: Inlet<'_>, to: Outlet<'_>) -> usize {
    let mut to = to;
    let room = to.room(from.read_size());
    from.release(to.waits(), to.takes());
    room
}

/// The most that is read at once of a body that limits may hold.
fn most(shaper: &Option<Box<Shaper>>) -> usize {
    shaper.as_ref().map_or(usize::MAX, |it| it.most())
}

/// Tells an expecting client to send its body.
pub(crate) fn send_continue(client: &mut Client<'_>) -> Result<(), Gone> {
    client.interim(ResponseHead::new(StatusCode::CONTINUE))
}

/// Sends a whole body, as fast as limits let it, and the end of the response, until the client has taken all of
/// it. It may stall for as long as `limit`.
pub(crate) async fn pour(
    client: &mut Client<'_>,
    passage: &mut Passage,
    body: Bytes,
    deadline: &mut Deadline,
    limit: Duration,
) -> Result<(), Failure> {
    if client.download.is_some() {
        // Boxed, because it is large and rare.
        Box::pin(pour_slowly(client, passage, body, deadline, limit)).await?;
    } else {
        passage.data(client, body)?;
    }
    passage.finish(client, None)?;
    flush(client, deadline, limit).await?;
    Ok(())
}

async fn pour_slowly(
    client: &mut Client<'_>,
    passage: &mut Passage,
    body: Bytes,
    deadline: &mut Deadline,
    limit: Duration,
) -> Result<(), Failure> {
    let mut body = Some(body);
    while let Some(shaper) = &mut client.download {
        shaper.settle(client.sent);
        if let Some(body) = body.take() {
            shaper.hold(body);
        }
        if shaper.held() == 0 {
            break;
        }
        let portion = poll_fn(|cx| shaper.poll_portion(cx)).await;
        passage.data(client, portion)?;
        flush(client, deadline, limit).await?;
    }
    Ok(())
}

/// Ends a response that broke off: the client gets what there is of it, and cannot take it for the
/// whole.
pub(crate) async fn cut(client: &mut Client<'_>, deadline: &mut Deadline, limit: Duration) {
    // A reset overtakes what the connection's own task has not sent. A client that takes no more is cut as
    // well.
    let _ = drain(client, deadline, limit, |out| out.waits()).await;
    for _ in 0..TURNS {
        // So much is not known of header sections and small pieces.
        tokio::task::yield_now().await;
    }
    client.abort();
}

/// Waits until the client, or the connection's own task, has taken everything. It may stall for as long as
/// `limit`.
pub(crate) async fn flush(
    client: &mut Client<'_>,
    deadline: &mut Deadline,
    limit: Duration,
) -> Result<(), Gone> {
    drain(client, deadline, limit, |out| out.pending()).await
}

/// Waits until nothing is `left` for the client, which may stall for as long as `limit`.
async fn drain(
    client: &mut Client<'_>,
    deadline: &mut Deadline,
    limit: Duration,
    left: fn(&Outlet<'_>) -> usize,
) -> Result<(), Gone> {
    deadline.set(limit);
    let mut before = left(&client.out());
    while left(&client.out()) > 0 {
        tokio::select! {
            biased;
            drained = poll_fn(|cx| client.out().poll_drain(cx)) => drained.map_err(|_| Gone)?,
            () = deadline.passed() => return Err(Gone),
        }
        let now = left(&client.out());
        if now as u64 + LEAST_TAKEN <= before as u64 {
            before = now;
            deadline.set(limit);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
