//! An HTTP/1 connection: one request after another, on Pingora's codec.

use std::{future::Future, mem, pin::pin, time::Duration};

use bytes::BytesMut;
use http::{Version, header};
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_http::RequestHeader;

use crate::{
    Engine,
    client::{Client, ClientConnection},
    deadline::Deadline,
    drain::LINGER,
    exchange::{self, Ending, Incoming},
    failure::Failure,
    headers::RequestBody,
    io::{Io, Overrun},
};

/// How long a client may go on sending a body that was answered early.
const DRAIN_BODY: Duration = Duration::from_secs(5);

/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(2);

/// Serves the connection to its end. `first` is what was read of it already.
pub(crate) async fn serve(
    engine: &Engine,
    connection: &ClientConnection,
    io: Io,
    first: Option<BytesMut>,
) {
    let mut deadline = Deadline::never();
    let mut draining = pin!(engine.drain.watch());
    let mut read = first;
    let mut requests = 0;
    loop {
        let bytes = match read.take() {
            Some(bytes) => bytes,
            None => match next_request(engine, &io, &mut deadline, draining.as_mut()).await {
                Some(bytes) => bytes,
                None => return io.close(CLOSE).await,
            },
        };
        if bytes.is_empty() {
            return;
        }
        requests += 1;
        let last = requests == engine.settings.limits.requests_per_connection;
        match serve_request(engine, connection, &io, bytes, last, &mut deadline).await {
            Next::Request(bytes) => read = bytes,
            Next::Close => return io.close(CLOSE).await,
            Next::Abort => return,
        }
    }
}

/// What comes after a request.
enum Next {
    /// Another one, of which this has been read.
    Request(Option<BytesMut>),
    /// Nothing; what is buffered still goes out.
    Close,
    /// Nothing, at once.
    Abort,
}

/// Waits for the first bytes of a request, without a codec and its buffers. `None`: close.
async fn next_request(
    engine: &Engine,
    io: &Io,
    deadline: &mut Deadline,
    draining: impl Future<Output = ()>,
) -> Option<BytesMut> {
    let mut draining = pin!(draining);
    let mut drained = engine.drain.has_begun();
    deadline.set(if drained {
        LINGER
    } else {
        engine.settings.timeouts.keep_alive
    });
    loop {
        tokio::select! {
            biased;
            read = io.read_some() => return read.ok(),
            () = deadline.passed() => return None,
            () = &mut draining, if !drained => {
                drained = true;
                deadline.set(LINGER);
            }
        }
    }
}

async fn serve_request(
    engine: &Engine,
    connection: &ClientConnection,
    io: &Io,
    bytes: BytesMut,
    last: bool,
    deadline: &mut Deadline,
) -> Next {
    let mut session = HttpSession::new(Box::new(io.clone()));
    // All waiting is bounded by our own deadlines; the codec's need timers of their own.
    session.set_read_timeout(None);
    session.set_total_drain_timeout(Some(DRAIN_BODY));
    session.set_close_on_response_before_downstream_finish(false);
    session.set_pipelining_enabled(true);
    match read_header(engine, &mut session, io, bytes, deadline).await {
        Ok(true) => {}
        Ok(false) => return Next::Abort,
        Err(failure) => {
            let mut client = Client::http1(&mut session, io.clone(), None, &engine.drain);
            exchange::refuse(engine, connection, &mut client, failure, deadline).await;
            return Next::Close;
        }
    }
    if last {
        session.set_server_keepalive(None);
    }
    let (incoming, expects) = take_request(&mut session);
    let ending = {
        let mut client = Client::http1(
            &mut session,
            io.clone(),
            Some(&incoming.header),
            &engine.drain,
        );
        exchange::serve(engine, connection, &mut client, incoming, deadline).await
    };
    match ending {
        // Whether the body that was announced will come is not known.
        Ending::Complete if expects && !session.is_body_done() => Next::Close,
        Ending::Complete => reuse(session).await,
        Ending::Close => Next::Close,
        Ending::Abort => Next::Abort,
    }
}

async fn reuse(session: HttpSession) -> Next {
    match session.reuse().await {
        Ok(Some(stream)) => Next::Request(stream.into_parts().1),
        Ok(None) | Err(_) => Next::Close,
    }
}

/// Reads and parses the header section. `false`: the client left without one.
async fn read_header(
    engine: &Engine,
    session: &mut HttpSession,
    io: &Io,
    bytes: BytesMut,
    deadline: &mut Deadline,
) -> Result<bool, Failure> {
    let limit = usize::try_from(engine.settings.limits.header_bytes.as_u64()).unwrap_or(usize::MAX);
    io.set_header_budget(limit.saturating_sub(bytes.len()), bytes.contains(&b'\n'));
    session.set_pipelined_prefix(bytes);
    deadline.set(engine.settings.timeouts.header);
    let read = tokio::select! {
        biased;
        read = session.read_request() => read,
        () = deadline.passed() => return Err(Failure::HeaderTimeout),
    };
    let overrun = io.lift_header_budget();
    match read {
        Ok(Some(length)) if length > limit => Err(Failure::HeaderTooLarge),
        Ok(Some(_)) => Ok(true),
        Ok(None) => Ok(false),
        Err(error) => match overrun {
            Some(Overrun::RequestLine) => Err(Failure::UriTooLong),
            Some(Overrun::Fields) => Err(Failure::HeaderTooLarge),
            None => read_failure(&error),
        },
    }
}

fn read_failure(error: &pingora_error::Error) -> Result<bool, Failure> {
    use pingora_error::ErrorType::{ConnectionClosed, ReadError};
    let cause = error
        .cause
        .as_ref()
        .and_then(|cause| cause.downcast_ref::<httparse::Error>());
    match (&error.etype, cause) {
        (ConnectionClosed | ReadError, _) => Ok(false),
        (_, Some(httparse::Error::TooManyHeaders)) => Err(Failure::HeaderTooLarge),
        _ => Err(Failure::BadRequest("malformed header section".into())),
    }
}

/// The request out of its codec. The header is moved, not copied, unless the codec will look at
/// it again: for upgrades, interim responses and HTTP/1.0.
fn take_request(session: &mut HttpSession) -> (Incoming, bool) {
    let raw = Some(session.get_headers_raw_bytes());
    let empty = session.is_body_empty();
    let header = session.req_header();
    let expects = header.headers.contains_key(header::EXPECT);
    let body = if header.headers.contains_key(header::TRANSFER_ENCODING) {
        RequestBody::Stream
    } else if empty {
        RequestBody::None
    } else {
        RequestBody::Length
    };
    let needed = expects
        || header.version != Version::HTTP_11
        || header.headers.contains_key(header::UPGRADE);
    let header = if needed {
        Box::new(header.clone())
    } else {
        let mut rest = RequestHeader::build_no_case(header.method.clone(), b"/", None)
            .expect("the method was parsed and the path is valid");
        rest.set_version(header.version);
        Box::new(mem::replace(session.req_header_mut(), rest))
    };
    (Incoming { header, raw, body }, expects)
}
