//! An HTTP/2 connection: many requests at once, on the `h2` crate.
//!
//! What has to be checked beyond the crate is in [`crate::request::check_http2`].

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use ferrix_http1::{Framing, RequestHead, content_length};
use h2::{
    RecvStream,
    server::{Connection, SendResponse},
};
use http::{Version, request::Parts};
use pingora_core::protocols::http::v2::server::{self, H2Options};
use tokio::time::Instant;

use crate::{
    Engine,
    client::{Client, ClientConnection},
    deadline::Deadline,
    drain,
    exchange::{self, Ending, Incoming},
    frames::{Conduct, Followed},
    settings,
    stream::{Backlog, HeldBack, SEND_BUFFER, StreamReader},
    stream_tasks::{StreamTasks, Waiting},
    transport::Stream,
};

/// How long a connection without streams may take to say goodbye.
const CLOSE: Duration = Duration::from_secs(5);

/// Within how long `http2.reset_streams` must have been started for their resets to end the
/// connection at once.
const ABUSE_WINDOW: Duration = Duration::from_secs(1);

/// Serves the connection to its end.
pub(crate) async fn serve(engine: &Arc<Engine>, connection: ClientConnection, stream: Stream) {
    let timeouts = &engine.settings.timeouts;
    let (stream, conduct) = Followed::new(stream, engine.settings.http2.control_frames);
    let handshake = server::handshake(Box::new(stream), Some(options(engine)));
    // Boxed, because it is large and soon over.
    let handshake = Box::pin(tokio::time::timeout(timeouts.header, handshake));
    let Ok(Ok(http2)) = handshake.await else {
        return;
    };
    let mut draining = pin!(drain::begins(connection.shutdown.clone()));
    let mut serving = Serving {
        engine,
        connection: Arc::new(connection),
        http2,
        conduct,
        streams: Streams::default(),
        tasks: StreamTasks::new(),
        backlog: Backlog::default(),
        due: Due::default(),
        idle: Deadline::never(),
        life: Life::Open,
    };
    serving.idle.set(timeouts.keep_alive);
    loop {
        match serving.next_event(draining.as_mut()).await {
            Event::Stream(request, respond) => serving.on_stream(request, respond),
            Event::Draining => serving.say_goodbye(),
            Event::Misbehaves(how) => serving.cut_off(how),
            Event::Idle if !serving.outlasts_idleness() => return,
            Event::Idle => {}
            Event::Failed(error) => return serving.on_failure(&error),
            Event::Ended => return,
        }
    }
}

/// A connection after its handshake.
struct Serving<'e> {
    engine: &'e Arc<Engine>,
    connection: Arc<ClientConnection>,
    http2: Connection<Stream, Bytes>,
    conduct: Arc<Conduct>,
    streams: Streams,
    tasks: StreamTasks<Request>,
    backlog: Backlog,
    due: Due,
    idle: Deadline,
    life: Life,
}

/// How long a connection is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    /// The client knows that there may be no more streams. It may have begun some before it knew.
    Closing {
        begun_since: u32,
    },
    /// Nothing matters but that the client hears why.
    CutOff,
}

/// What happens next on a connection.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made, and is a stream nearly always"
)]
enum Event {
    Stream(http::Request<RecvStream>, SendResponse<Bytes>),
    Draining,
    Misbehaves(&'static str),
    Idle,
    Failed(h2::Error),
    Ended,
}

impl Serving<'_> {
    async fn next_event(&mut self, draining: Pin<&mut impl Future<Output = ()>>) -> Event {
        let Self {
            engine,
            http2,
            conduct,
            due,
            idle,
            life,
            ..
        } = self;
        let limit = engine.settings.timeouts.header;
        tokio::select! {
            biased;
            () = draining, if *life == Life::Open => Event::Draining,
            accepted = http2.accept() => match accepted {
                Some(Ok((request, respond))) => Event::Stream(request, respond),
                Some(Err(error)) => Event::Failed(error),
                None => Event::Ended,
            },
            // Asked when no stream is left that was read.
            how = poll_fn(|cx| due.poll_misconduct(conduct, limit, cx)), if *life != Life::CutOff => {
                Event::Misbehaves(how)
            }
            () = idle.passed() => Event::Idle,
        }
    }

    fn on_stream(&mut self, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
        let (limits, http2) = (&self.engine.settings.limits, &self.engine.settings.http2);
        match &mut self.life {
            Life::Open => self.idle.set(self.engine.settings.timeouts.keep_alive),
            // As many may be underway to here as may be open.
            Life::Closing { begun_since } if *begun_since < http2.streams => *begun_since += 1,
            Life::Closing { .. } => return self.cut_off("it goes on after it was told to end"),
            Life::CutOff => return,
        }
        if self.streams.are_abused(http2.reset_streams) {
            return self.cut_off("it resets too many streams");
        }
        let mut respond = respond;
        let fragment = self.conduct.has_fragment(respond.stream_id());
        let (parts, body) = request.into_parts();
        let incoming = incoming(parts, &body, fragment);
        let most = http2.request_headers.as_u64();
        let Some(running) = self.streams.start(incoming.head.size() as u64, most) else {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            return;
        };
        if self.streams.started == limits.requests_per_connection
            || self.streams.are_abandoned(http2.reset_streams)
            || fragment
        {
            self.say_goodbye();
        }
        let body = StreamReader::new(body, held_back(http2, self.streams.running()));
        let request = Request {
            incoming,
            client: Client::http2(body, respond, self.backlog.clone()),
            running,
        };
        if let Err((request, waiting)) = self.tasks.hand(request) {
            let (engine, connection) = (Arc::clone(self.engine), Arc::clone(&self.connection));
            // Boxed within the task: a large future is dear to move into it.
            tokio::spawn(async move {
                Box::pin(serve_requests(engine, connection, request, waiting)).await;
            });
        }
    }

    /// Lets the streams that there are come to their end, and no others.
    fn say_goodbye(&mut self) {
        if self.life == Life::Open {
            self.life = Life::Closing { begun_since: 0 };
            self.http2.graceful_shutdown();
        }
    }

    /// Ends the connection with all that is on it.
    fn cut_off(&mut self, reason: &'static str) {
        self.count_abuse(reason);
        self.life = Life::CutOff;
        self.idle.set(CLOSE);
        self.http2.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
    }

    /// The `h2` crate may have seen it first, or as well: a connection that was cut off is counted.
    fn on_failure(&self, error: &h2::Error) {
        let calm = error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
        if calm && self.life != Life::CutOff {
            self.count_abuse("it sends what the codec has had enough of");
        }
    }

    fn count_abuse(&self, reason: &str) {
        let connection = &self.connection;
        tracing::debug!(client = %connection.client, reason, "connection closed");
        connection.counters.abusive_connections.add(1);
    }

    /// Whether the connection goes on after it had no new stream for its time.
    fn outlasts_idleness(&mut self) -> bool {
        if self.life != Life::CutOff && self.streams.running() > 0 {
            self.idle.set(self.engine.settings.timeouts.keep_alive);
            return true;
        }
        let open = self.life == Life::Open;
        if open {
            self.say_goodbye();
            self.idle.set(CLOSE);
        }
        open
    }
}

/// Until when what a client has begun to send must have come.
#[derive(Debug, Default)]
struct Due {
    item: Option<u64>,
    deadline: Deadline,
}

impl Due {
    /// Ready with what the client does wrong.
    fn poll_misconduct(
        &mut self,
        conduct: &Conduct,
        limit: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<&'static str> {
        if conduct.is_flooding() {
            return Poll::Ready("it sends too many frames without use");
        }
        if conduct.ends_burst() {
            // Behind the streams that have just been started.
            cx.waker().wake_by_ref();
        }
        let item = conduct.due();
        if item.is_none() {
            return Poll::Pending;
        }
        if item != self.item {
            self.item = item;
            self.deadline.set(limit);
        }
        self.deadline
            .poll_passed(cx)
            .map(|()| "it does not finish what it began to send")
    }
}

/// How much of a stream is held back, one of so many that are `running`. It is missing in the
/// window of the connection too, of which all of them together get no more than a quarter.
fn held_back(settings: &settings::Http2, running: usize) -> HeldBack {
    let half = settings.stream_window.as_u64() / 2;
    let all = half.saturating_mul(running as u64);
    let from_http1 = match all <= settings.connection_window.as_u64() / 4 {
        true => usize::try_from(half).unwrap_or(usize::MAX),
        false => 0,
    };
    HeldBack {
        from_http1,
        // Clients are far, and need their window.
        from_http2: 0,
    }
}

fn options(engine: &Engine) -> H2Options {
    let settings = &engine.settings.http2;
    let size = |bytes: bytesize::ByteSize| u32::try_from(bytes.as_u64()).unwrap_or(u32::MAX >> 1);
    let resets = usize::try_from(settings.reset_streams)
        .ok()
        .filter(|most| *most > 0);
    let mut options = H2Options::new();
    options
        .max_concurrent_streams(settings.streams)
        .initial_window_size(size(settings.stream_window))
        .initial_connection_window_size(size(settings.connection_window))
        .max_header_list_size(size(settings.header_list))
        .max_send_buffer_size(SEND_BUFFER)
        // Streams that the client makes us reset (CVE-2025-8671), and those above `streams`.
        .max_local_error_reset_streams(resets);
    options
}

/// What was decoded may take a hundred times the bytes that came; only this copy of it is kept while
/// the stream lives. A `fragment` has been taken out of the target.
fn incoming(parts: Parts, body: &RecvStream, fragment: bool) -> Incoming {
    let target = parts.uri.path_and_query().map_or("", |it| it.as_str());
    let mut head = RequestHead::new(parts.method, target.as_bytes(), Version::HTTP_2);
    if fragment {
        // It is refused as over HTTP/1, whatever it was.
        head.set_target(format!("{target}#").as_bytes());
    }
    let text = (parts.headers.iter()).map(|(name, value)| name.as_str().len() + value.len());
    head.fields.reserve(text.sum(), parts.headers.len());
    head.fields.extend(&parts.headers);
    let framing = match content_length(&head.fields) {
        _ if body.is_end_stream() => Framing::Empty,
        Ok(Some(length)) => Framing::Length(length),
        // What is invalid is refused before it matters.
        Ok(None) | Err(_) => Framing::Chunked,
    };
    Incoming {
        head,
        authority: parts.uri.into_parts().authority,
        body: framing,
    }
}

/// A request on its stream.
struct Request {
    incoming: Incoming,
    client: Client<'static>,
    running: Running,
}

/// Serves requests one after another, until there is none for a moment.
async fn serve_requests(
    engine: Arc<Engine>,
    connection: Arc<ClientConnection>,
    request: Request,
    waiting: Waiting<Request>,
) {
    let _panics = engine.panic_guard();
    let mut deadline = Deadline::never();
    let mut next = Some(request);
    while let Some(request) = next {
        serve_request(&engine, &connection, request, &mut deadline).await;
        next = waiting.next(&mut deadline).await;
    }
}

async fn serve_request(
    engine: &Engine,
    connection: &ClientConnection,
    request: Request,
    deadline: &mut Deadline,
) {
    let Request {
        mut incoming,
        mut client,
        running,
    } = request;
    let ending = exchange::serve(engine, connection, &mut client, &mut incoming, deadline).await;
    match ending {
        Ending::Complete | Ending::Close => running.completed(),
        Ending::Abort if client.status.is_none() => running.abandoned(),
        Ending::Abort | Ending::Cut => {}
    }
}

/// Counts the streams of one connection.
#[derive(Debug, Default)]
struct Streams {
    shared: Arc<Counts>,
    window: Option<Instant>,
    started_before: u64,
    completed_before: u64,
    started: u64,
}

#[derive(Debug, Default)]
struct Counts {
    running: AtomicUsize,
    /// Bytes of the header sections of those that run.
    header_bytes: AtomicU64,
    completed: AtomicU64,
    /// The client left before there was an answer.
    abandoned: AtomicU64,
}

impl Streams {
    fn running(&self) -> usize {
        self.shared.running.load(Relaxed)
    }

    /// Another one, unless all header sections together would have more bytes than `most`. 0: any
    /// number.
    fn start(&mut self, header_bytes: u64, most: u64) -> Option<Running> {
        let others = self.shared.header_bytes.load(Relaxed);
        if most > 0 && others > 0 && others + header_bytes > most {
            return None;
        }
        self.started += 1;
        self.shared.running.fetch_add(1, Relaxed);
        self.shared.header_bytes.fetch_add(header_bytes, Relaxed);
        Some(Running {
            counts: Arc::clone(&self.shared),
            header_bytes,
        })
    }

    /// Whether most of the last `many` streams, started in a short time, did not run to their end
    /// (CVE-2023-44487; the rule is Envoy's). 0: never.
    fn are_abused(&mut self, many: u64) -> bool {
        let completed = self.shared.completed.load(Relaxed);
        let window = *self.window.get_or_insert_with(Instant::now);
        let started = self.started - self.started_before;
        if many == 0 || started < many {
            return false;
        }
        let ended = started.saturating_sub(self.running() as u64);
        let reset = ended.saturating_sub(completed - self.completed_before);
        let abused = window.elapsed() < ABUSE_WINDOW && reset * 2 > started;
        self.window = Some(Instant::now());
        self.started_before = self.started;
        self.completed_before = completed;
        abused
    }

    /// Whether the client left `many` streams before their answer, and most of those that it began,
    /// however slowly. 0: never.
    fn are_abandoned(&self, many: u64) -> bool {
        let abandoned = self.shared.abandoned.load(Relaxed);
        many > 0 && abandoned >= many && abandoned * 2 > self.started
    }
}

/// One stream, counted as running until it is dropped.
#[derive(Debug)]
struct Running {
    counts: Arc<Counts>,
    header_bytes: u64,
}

impl Running {
    fn completed(&self) {
        self.counts.completed.fetch_add(1, Relaxed);
    }

    fn abandoned(&self) {
        self.counts.abandoned.fetch_add(1, Relaxed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Self {
            counts,
            header_bytes,
        } = self;
        counts.running.fetch_sub(1, Relaxed);
        counts.header_bytes.fetch_sub(*header_bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;

    #[test]
    fn what_is_held_back_leaves_the_connection_its_window() {
        let cases = [
            (64, 1024, 1, 32),
            (64, 1024, 8, 32),
            (64, 1024, 9, 0),
            (64, 64, 1, 0),
            (1024, 4096, 2, 512),
            (1024, 4096, 3, 0),
        ];
        for (stream, connection, running, held) in cases {
            let settings = settings::Http2 {
                stream_window: ByteSize::kib(stream),
                connection_window: ByteSize::kib(connection),
                ..settings::Http2::default()
            };
            let from_http1 = held * 1024;
            let expected = HeldBack {
                from_http1,
                from_http2: 0,
            };
            let case = format!("{stream} {connection} {running}");
            assert_eq!(held_back(&settings, running), expected, "{case}");
        }
        assert_eq!(cases.len(), 6);
    }
}
