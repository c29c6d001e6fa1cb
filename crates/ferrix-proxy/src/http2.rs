//! An HTTP/2 connection: many requests at once, on the `h2` crate.
//!
//! What has to be checked beyond the crate is in [`crate::request::check_http2`].

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use ferrix_http1::{Framing, RequestHead, content_length};
use h2::{RecvStream, server::SendResponse};
use http::{Request, Version};
use pingora_core::protocols::http::v2::server::{self, H2Options};
use tokio::time::Instant;

use crate::{
    Engine,
    client::{Client, ClientConnection},
    deadline::Deadline,
    drain,
    exchange::{self, Ending, Incoming},
    transport::Stream,
};

/// How long a connection without streams may take to say goodbye.
const CLOSE: Duration = Duration::from_secs(5);

/// Within how long `http2.reset_streams` must have been started for their resets to count.
const ABUSE_WINDOW: Duration = Duration::from_secs(1);

/// Serves the connection to its end.
pub(crate) async fn serve(engine: &Arc<Engine>, connection: ClientConnection, stream: Stream) {
    let limit = engine.settings.timeouts.header;
    let handshake = server::handshake(stream, Some(options(engine)));
    // Boxed, because it is large and soon over.
    let handshake = Box::pin(tokio::time::timeout(limit, handshake));
    let Ok(Ok(mut http2)) = handshake.await else {
        return;
    };
    let connection = Arc::new(connection);
    let mut streams = Streams::default();
    let mut deadline = Deadline::never();
    let mut draining = pin!(drain::begins(connection.shutdown.clone()));
    let mut closing = false;
    deadline.set(engine.settings.timeouts.keep_alive);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut draining, if !closing => {
                closing = true;
                http2.graceful_shutdown();
                continue;
            }
            accepted = http2.accept() => accepted,
            () = deadline.passed() => {
                if streams.running() > 0 {
                    deadline.set(engine.settings.timeouts.keep_alive);
                } else if closing {
                    return;
                } else {
                    closing = true;
                    http2.graceful_shutdown();
                    deadline.set(CLOSE);
                }
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        if !closing {
            deadline.set(engine.settings.timeouts.keep_alive);
        }
        if streams.are_abused(engine.settings.http2.reset_streams) {
            tracing::debug!(client = %connection.client, "connection closed: too many streams reset");
            http2.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
            continue;
        }
        let last = streams.started() == engine.settings.limits.requests_per_connection;
        if last && !closing {
            closing = true;
            http2.graceful_shutdown();
        }
        let running = streams.start();
        let (engine, connection) = (Arc::clone(engine), Arc::clone(&connection));
        // Boxed within the task: a large future is dear to move into it.
        tokio::spawn(async move {
            Box::pin(serve_stream(engine, connection, request, respond, running)).await;
        });
    }
}

fn options(engine: &Engine) -> H2Options {
    let settings = &engine.settings.http2;
    let size = |bytes: bytesize::ByteSize| u32::try_from(bytes.as_u64()).unwrap_or(u32::MAX >> 1);
    let mut options = H2Options::new();
    options
        .max_concurrent_streams(settings.streams)
        .initial_window_size(size(settings.stream_window))
        .initial_connection_window_size(size(settings.connection_window))
        .max_header_list_size(size(settings.header_list))
        .max_send_buffer_size(64 * 1024);
    options
}

async fn serve_stream(
    engine: Arc<Engine>,
    connection: Arc<ClientConnection>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    running: Running,
) {
    let _panics = engine.panic_guard();
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("", |it| it.as_str());
    let mut head = RequestHead::new(parts.method, target.as_bytes(), Version::HTTP_2);
    head.fields.extend(&parts.headers);
    let framing = match content_length(&head.fields) {
        _ if body.is_end_stream() => Framing::Empty,
        Ok(Some(length)) => Framing::Length(length),
        // What is invalid is refused before it matters.
        Ok(None) | Err(_) => Framing::Chunked,
    };
    let mut incoming = Incoming {
        head,
        authority: parts.uri.into_parts().authority,
        body: framing,
    };
    let mut client = Client::http2(body, respond);
    let mut deadline = Deadline::never();
    let ending = exchange::serve(
        &engine,
        &connection,
        &mut client,
        &mut incoming,
        &mut deadline,
    )
    .await;
    if !matches!(ending, Ending::Abort | Ending::Cut) {
        running.completed();
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
    completed: AtomicU64,
}

impl Streams {
    fn running(&self) -> usize {
        self.shared.running.load(Relaxed)
    }

    fn started(&self) -> u64 {
        self.started + 1
    }

    fn start(&mut self) -> Running {
        self.started += 1;
        self.shared.running.fetch_add(1, Relaxed);
        Running(Arc::clone(&self.shared))
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
}

/// One stream, counted as running until it is dropped.
#[derive(Debug)]
struct Running(Arc<Counts>);

impl Running {
    fn completed(&self) {
        self.0.completed.fetch_add(1, Relaxed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}
