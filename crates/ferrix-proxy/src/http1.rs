//! An HTTP/1 connection: one request after another.

use std::{
    future::{self, Future},
    hint::cold_path,
    pin::pin,
    time::Duration,
};

use bytes::{Buf, BytesMut};
use ferrix_http1::{HeadError, Piece, RequestHead, keeps_alive, request_framing};

use crate::{
    Engine,
    client::{Client, ClientConnection, skip_empty_lines},
    deadline::Deadline,
    drain::{self, LINGER},
    exchange::{self, Ending, Incoming},
    failure::Failure,
    io::Io,
    wire::Wire,
};

/// How long a client may go on sending a body that was answered early.
const DRAIN_BODY: Duration = Duration::from_secs(5);

/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(2);

/// How long the room for a request is kept when one is over, for the next one to be served in. Room that is
/// made for each request costs three hundredths of what an exchange does.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// Serves the connection to its end.
pub(crate) async fn serve(engine: &Engine, connection: &ClientConnection, wire: &mut Wire) {
    let mut deadline = Deadline::never();
    let mut draining = pin!(drain::begins(connection.shutdown.clone()));
    let mut patience = engine.settings.timeouts.keep_alive;
    let mut count = 0;
    loop {
        if !begins_request(&mut wire.io.read) {
            wire.io.shrink();
            let drained = drain::has_begun(&connection.shutdown);
            let draining = draining.as_mut();
            match next_request(&mut wire.io, patience, &mut deadline, drained, draining).await {
                Waited::Request => {}
                Waited::End => return,
                Waited::Broken | Waited::Passed | Waited::Draining => {
                    return wire.io.close(CLOSE).await;
                }
            }
        }
        let draining = draining.as_mut();
        let serving = serve_requests(
            engine,
            connection,
            wire,
            &mut count,
            &mut deadline,
            draining,
        );
        // Boxed, because a connection idles most of the time, and should be small then.
        match Box::pin(serving).await {
            Next::Request => patience = rest(engine.settings.timeouts.keep_alive),
            Next::Close => return wire.io.close(CLOSE).await,
            Next::End | Next::Abort => return,
        }
    }
}

/// What comes after a request.
enum Next {
    /// Another one.
    Request,
    /// Nothing; what is buffered still goes out, and what still comes is read for a moment.
    Close,
    /// Nothing, from either side: the client has said that this was its last request.
    End,
    /// Nothing, at once.
    Abort,
}

/// What waiting for a request came to.
enum Waited {
    /// Its first bytes are there.
    Request,
    /// The client ended instead.
    End,
    /// The connection broke.
    Broken,
    /// The deadline passed.
    Passed,
    /// The listener began to drain.
    Draining,
}

/// How long a connection is still waited for after a [`PAUSE`]; zero: for ever.
fn rest(keep_alive: Duration) -> Duration {
    keep_alive.saturating_sub(pause(keep_alive))
}

/// A [`PAUSE`], or half of what a connection is waited for.
fn pause(keep_alive: Duration) -> Duration {
    match keep_alive.is_zero() {
        true => PAUSE,
        false => PAUSE.min(keep_alive / 2),
    }
}

/// Waits for a request no longer than `patience`, or for a moment where the listener drains.
async fn next_request(
    io: &mut Io,
    patience: Duration,
    deadline: &mut Deadline,
    drained: bool,
    draining: impl Future<Output = ()>,
) -> Waited {
    let mut draining = pin!(draining);
    if !drained {
        deadline.set(patience);
        match wait(io, deadline, draining.as_mut()).await {
            Waited::Draining => {}
            waited => return waited,
        }
    }
    deadline.set(LINGER);
    wait(io, deadline, future::pending()).await
}

/// Waits for the first bytes of a request.
async fn wait(io: &mut Io, deadline: &mut Deadline, draining: impl Future<Output = ()>) -> Waited {
    let mut draining = pin!(draining);
    loop {
        tokio::select! {
            biased;
            read = io.read_head() => match read {
                Ok(0) => return Waited::End,
                Ok(_) if begins_request(&mut io.read) => return Waited::Request,
                Ok(_) => {}
                Err(_) => return Waited::Broken,
            },
            () = deadline.passed() => return Waited::Passed,
            () = &mut draining => return Waited::Draining,
        }
    }
}

/// Whether there is more than empty lines, which are taken out.
fn begins_request(read: &mut BytesMut) -> bool {
    skip_empty_lines(read);
    !read.is_empty() && read[..] != *b"\r"
}

/// Serves requests until there is none for a moment. `count`: those that there have been.
async fn serve_requests(
    engine: &Engine,
    connection: &ClientConnection,
    wire: &mut Wire,
    count: &mut u64,
    deadline: &mut Deadline,
    draining: impl Future<Output = ()>,
) -> Next {
    let mut draining = pin!(draining);
    let settings = &engine.settings;
    loop {
        *count += 1;
        let last = *count == settings.limits.requests_per_connection;
        match serve_request(engine, connection, wire, last, deadline).await {
            Next::Request if begins_request(&mut wire.io.read) => continue,
            Next::Request if !drain::has_begun(&connection.shutdown) => {}
            next => return next,
        }
        deadline.set(pause(settings.timeouts.keep_alive));
        match wait(&mut wire.io, deadline, draining.as_mut()).await {
            Waited::Request => {}
            // Whoever waits longer finds out, too.
            Waited::End | Waited::Broken | Waited::Passed | Waited::Draining => {
                return Next::Request;
            }
        }
    }
}

async fn serve_request(
    engine: &Engine,
    connection: &ClientConnection,
    wire: &mut Wire,
    last: bool,
    deadline: &mut Deadline,
) -> Next {
    let read = match read_head(engine, &mut wire.io, deadline).await {
        Ok(Some(head)) => request_framing(&head)
            .map(|body| (head, body))
            .map_err(|error| Failure::BadRequest(error.to_string().into())),
        Ok(None) => return Next::Abort,
        Err(failure) => Err(failure),
    };
    let (head, body) = match read {
        Ok(read) => read,
        Err(failure) => {
            cold_path();
            let mut client = Client::http1(wire, None, &connection.shutdown);
            exchange::refuse(engine, connection, &mut client, failure, deadline).await;
            return Next::Close;
        }
    };
    wire.expect_request(body);
    let last_of_client = !keeps_alive(head.version, &head.fields);
    let mut client = Client::http1(wire, Some(&head), &connection.shutdown);
    if last {
        cold_path();
        client.close_after();
    }
    let mut incoming = Incoming {
        head,
        authority: None,
        body,
    };
    let ending = exchange::serve(engine, connection, &mut client, &mut incoming, deadline).await;
    let keep_alive = client.keeps_alive();
    match ending {
        Ending::Complete if keep_alive => drain_body(wire, deadline).await,
        Ending::Complete if last_of_client && wire.is_done() && wire.io.may_close() => Next::End,
        Ending::Complete | Ending::Close | Ending::Cut => Next::Close,
        Ending::Abort => Next::Abort,
    }
}

/// The rest of a body that was answered early stands before the next request.
async fn drain_body(wire: &mut Wire, deadline: &mut Deadline) -> Next {
    if wire.is_done() {
        return Next::Request;
    }
    cold_path();
    deadline.set(DRAIN_BODY);
    loop {
        let piece = tokio::select! {
            biased;
            piece = std::future::poll_fn(|cx| wire.poll_piece(cx, usize::MAX)) => piece,
            () = deadline.passed() => return Next::Close,
        };
        match piece {
            Ok(Piece::Data(_)) => {}
            Ok(Piece::End(_)) => return Next::Request,
            Err(_) => return Next::Close,
        }
    }
}

/// Reads and parses the header section. `None`: the client left without one.
async fn read_head(
    engine: &Engine,
    io: &mut Io,
    deadline: &mut Deadline,
) -> Result<Option<RequestHead>, Failure> {
    let limit = usize::try_from(engine.settings.limits.header_bytes.as_u64()).unwrap_or(usize::MAX);
    deadline.set(engine.settings.timeouts.header);
    let mut seen = 0;
    loop {
        // A line has to end for anything to be new to the parser.
        if io.read[seen..].contains(&b'\n')
            && let Some((head, length)) = RequestHead::parse(&io.read).map_err(head_failure)?
        {
            io.read.advance(length);
            return match length > limit {
                true => Err(Failure::HeaderTooLarge),
                false => Ok(Some(head)),
            };
        }
        // Nearly always one read has brought all of it.
        cold_path();
        if io.read.len() >= limit {
            return Err(match io.read.contains(&b'\n') {
                true => Failure::HeaderTooLarge,
                false => Failure::UriTooLong,
            });
        }
        seen = io.read.len();
        let read = tokio::select! {
            biased;
            read = io.read_head() => read,
            () = deadline.passed() => return Err(Failure::HeaderTimeout),
        };
        if !matches!(read, Ok(1..)) {
            return Ok(None);
        }
    }
}

#[cold]
fn head_failure(error: HeadError) -> Failure {
    match error {
        HeadError::TooManyFields => Failure::HeaderTooLarge,
        error => Failure::BadRequest(error.to_string().into()),
    }
}
