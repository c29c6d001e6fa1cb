//! One request from its header section to the last byte of its response, for every pair of
//! protocols.
//!
//! ```text
//!  check ─► route ─► prepare headers ─► connect ─► send ─► relay both ways ─► finish
//!                                          ▲          │
//!                                          └──────────┘  only what may be sent again
//! ```

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use ferrix_table::{
    Table,
    rules::Route,
    services::{Endpoint, Protocol, Service},
};
use http::{HeaderValue, Method, Version, header};
use pingora_http::RequestHeader;
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::{
    Engine,
    access_log::Record,
    answer::{Answer, Form},
    backend::{Backend, Broken},
    client::{Client, ClientConnection},
    deadline::Deadline,
    failure::Failure,
    headers::{self, RequestBody},
    relay::{self, Relay},
    request, route,
    upstream::Connection,
};

/// A request as the codec of its connection gave it.
pub(crate) struct Incoming {
    pub(crate) header: Box<RequestHeader>,
    /// The header section as received, for HTTP/1.
    pub(crate) raw: Option<Bytes>,
    pub(crate) body: RequestBody,
}

/// What is known of a request when it is over.
struct Served {
    route: Option<(Arc<Route>, u32)>,
    service: Option<Arc<Service>>,
    endpoint: Option<SocketAddr>,
    attempts: u8,
    request_id: Option<HeaderValue>,
    form: Form,
    received: u64,
    log: Option<LoggedTarget>,
}

/// Kept only where there is an access log: these are copies.
struct LoggedTarget {
    time: SystemTime,
    protocol: &'static str,
    method: Method,
    host: String,
    path: String,
    user_agent: Option<String>,
}

/// Answers and counts a request whose header section could not even be read.
pub(crate) async fn refuse(
    engine: &Engine,
    connection: &ClientConnection,
    client: &mut Client<'_>,
    failure: Failure,
    deadline: &mut Deadline,
) {
    let started = Instant::now();
    let empty = RequestHeader::build_no_case(Method::GET, b"/", None);
    let header = Box::new(empty.expect("method and path are valid"));
    let served = Served::new(
        engine,
        &Incoming {
            header,
            raw: None,
            body: RequestBody::None,
        },
    );
    answer(engine, client, &failure, Form::Html, &Method::GET, deadline).await;
    account(
        engine,
        connection,
        client,
        served,
        Some(failure),
        started.elapsed(),
    );
}

/// How the exchange ended, for the connection that carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The response is complete.
    Complete,
    /// The connection must be closed after what is buffered.
    Close,
    /// The response is cut short: the connection must be closed so that the client sees it.
    Abort,
}

/// Serves one request and counts it.
pub(crate) async fn serve(
    engine: &Engine,
    connection: &ClientConnection,
    client: &mut Client<'_>,
    incoming: Incoming,
    deadline: &mut Deadline,
) -> Ending {
    let started = Instant::now();
    let mut served = Served::new(engine, &incoming);
    let method = incoming.header.method.clone();
    let result = run(engine, connection, client, incoming, deadline, &mut served).await;
    let ending = match &result {
        Ok(()) => Ending::Complete,
        Err(failure) => answer(engine, client, failure, served.form, &method, deadline).await,
    };
    account(
        engine,
        connection,
        client,
        served,
        result.err(),
        started.elapsed(),
    );
    ending
}

impl Served {
    fn new(engine: &Engine, incoming: &Incoming) -> Self {
        Self {
            route: None,
            service: None,
            endpoint: None,
            attempts: 0,
            request_id: None,
            form: Form::of(&incoming.header.headers),
            received: 0,
            log: engine
                .access_log
                .is_some()
                .then(|| LoggedTarget::new(&incoming.header)),
        }
    }
}

impl LoggedTarget {
    fn new(header: &RequestHeader) -> Self {
        Self {
            time: SystemTime::now(),
            protocol: match header.version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            method: header.method.clone(),
            host: String::new(),
            path: String::from_utf8_lossy(header.raw_path()).into_owned(),
            user_agent: header
                .headers
                .get(header::USER_AGENT)
                .map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned()),
        }
    }
}

async fn run(
    engine: &Engine,
    connection: &ClientConnection,
    client: &mut Client<'_>,
    incoming: Incoming,
    deadline: &mut Deadline,
    served: &mut Served,
) -> Result<(), Failure> {
    let Incoming {
        mut header,
        raw,
        body,
    } = incoming;
    let table = engine.table.load();
    let service = find_service(engine, connection, &table, &mut header, raw, served)?;
    served.service = Some(Arc::clone(service));

    check_length(engine, &header)?;
    let upgrade = body == RequestBody::None
        && service.protocol != Protocol::Http2
        && headers::wants_websocket(&header);
    let authority = header.headers.get(header::HOST).cloned();
    let authority = authority.unwrap_or(HeaderValue::from_static(""));
    let id = headers::prepare_request(
        &mut header,
        &connection.forwarding,
        &authority,
        body,
        upgrade,
    )?;
    served.request_id = Some(id);

    attempt(
        engine, service, client, header, body, upgrade, deadline, served,
    )
    .await
}

/// Checks the request, finds its rule and that rule's service, and leaves the canonical target in
/// the header.
fn find_service<'t>(
    engine: &Engine,
    connection: &ClientConnection,
    table: &'t Arc<Table>,
    header: &mut RequestHeader,
    raw: Option<Bytes>,
    served: &mut Served,
) -> Result<&'t Arc<Service>, Failure> {
    let settings = &engine.settings;
    let raw_target = raw.as_deref().map(request::raw_target);
    let checked = match raw_target {
        Some(target) => request::check_http1(header, target, connection.secure, settings)?,
        None => request::check_http2(header, settings)?,
    };
    if let Some(log) = &mut served.log {
        log.host = checked.host.clone().into_owned();
        log.path = checked.target.path_and_query.clone().into_owned();
    }
    let server_name = connection.server_name.as_deref();
    route::check_authority(table, connection.entry_point, server_name, &checked.host)?;
    let request = ferrix_table::Request {
        method: &header.method,
        host: &checked.host,
        path: &checked.target.routing_path,
        query: checked.target.query(),
        headers: &header.headers,
        client: connection.client.ip(),
    };
    let rule = route::find(table, connection.entry_point, &request)?;
    served.route = Some((Arc::clone(&rule.route), rule.position));
    let service = route::choose(table, rule)?;

    let sent_as = raw_target.unwrap_or_else(|| header.raw_path());
    if sent_as != checked.target.path_and_query.as_bytes() {
        let target = checked.target.path_and_query.into_owned();
        header
            .set_raw_path(target.as_bytes())
            .map_err(|_| Failure::BadRequest("invalid request target".into()))?;
    }
    set_host(header);
    Ok(service)
}

/// HTTP/2 names the host in `:authority`; from here on it is `Host` for both protocols.
fn set_host(header: &mut RequestHeader) {
    if header.version != Version::HTTP_2 {
        return;
    }
    let Some(authority) = header.uri.authority() else {
        return;
    };
    let host = HeaderValue::from_str(authority.as_str());
    if let Ok(host) = host {
        header
            .insert_header(header::HOST, host)
            .expect("a header value is valid");
    }
    join_cookies(header);
}

/// HTTP/2 may split `Cookie` for compression; to HTTP/1 it is one field (RFC 9113, section 8.2.3).
fn join_cookies(header: &mut RequestHeader) {
    let cookies: Vec<&[u8]> = header
        .headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        header
            .insert_header(header::COOKIE, joined)
            .expect("a header value is valid");
    }
}

fn check_length(engine: &Engine, header: &RequestHeader) -> Result<(), Failure> {
    let limit = engine.settings.limits.body_bytes.as_u64();
    let length = header
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    match length.and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if limit > 0 && length > limit => Err(Failure::BodyTooLarge),
        _ => Ok(()),
    }
}

/// Sends the request to one endpoint after another until one has it.
#[expect(
    clippy::too_many_arguments,
    reason = "the whole of one request's state"
)]
async fn attempt(
    engine: &Engine,
    service: &Arc<Service>,
    client: &mut Client<'_>,
    header: Box<RequestHeader>,
    body: RequestBody,
    upgrade: bool,
    deadline: &mut Deadline,
    served: &mut Served,
) -> Result<(), Failure> {
    let mut header = header;
    let mut tried = SmallVec::<[SocketAddr; 4]>::new();
    let mut fresh = false;
    let method = header.method.clone();
    loop {
        // After a connection that broke, the same endpoint may be the only one there is.
        let endpoint = match service.pick(&tried) {
            Some(endpoint) => endpoint,
            None if fresh => service.pick(&[]).ok_or(Failure::NoEndpoint)?,
            None => return Err(Failure::NoEndpoint),
        };
        served.endpoint = Some(endpoint.address);
        served.attempts += 1;
        if served.attempts > 1 {
            service.state.retries.add(1);
        }
        let more = usize::from(served.attempts) < engine.settings.upstream.attempts;
        tried.push(endpoint.address);
        let connecting = engine
            .connector
            .connect(endpoint, &service.protocol, fresh, upgrade);
        let connection = match connecting.await {
            Ok(connection) => connection,
            Err(error) => {
                service.state.connect_failures.add(1);
                if more && service.pick(&tried).is_some() {
                    continue;
                }
                return Err(Failure::Connect(format!("{}: {error}", endpoint.address)));
            }
        };
        if header.headers.get(header::HOST).is_none() {
            // Only HTTP/1.0 gets here without one; the backend is spoken to in HTTP/1.1.
            header
                .insert_header(header::HOST, endpoint.address.to_string())
                .expect("an address is a valid field value");
        }
        let repeatable = more && may_repeat(&method, body, &connection);
        let copy = (repeatable || (more && body == RequestBody::None && is_http2(&connection)))
            .then(|| header.clone());
        let relay = Relay {
            engine,
            method: &method,
            body,
            upgrade,
        };
        let outcome = exchange(
            relay, service, endpoint, connection, header, client, deadline, served,
        )
        .await;
        match (outcome, copy) {
            (Ok(()), _) => return Ok(()),
            (Err(broken), Some(copy))
                if client.status.is_none() && (repeatable || broken.refused) =>
            {
                header = copy;
                fresh = true;
            }
            (Err(broken), _) => return Err(broken.failure),
        }
    }
}

fn is_http2(connection: &Connection) -> bool {
    matches!(connection, Connection::Http2 { .. })
}

/// Whether the request may be sent again should this connection turn out to be dead: it was idle,
/// so the backend may have closed it just now, and doing it twice is the same as doing it once
/// (RFC 9110, section 9.2.2).
fn may_repeat(method: &Method, body: RequestBody, connection: &Connection) -> bool {
    connection.is_reused() && body == RequestBody::None && method.is_idempotent()
}

#[expect(
    clippy::too_many_arguments,
    reason = "the whole of one request's state"
)]
async fn exchange(
    relay: Relay<'_>,
    service: &Service,
    endpoint: &Endpoint,
    connection: Connection,
    header: Box<RequestHeader>,
    client: &mut Client<'_>,
    deadline: &mut Deadline,
    served: &mut Served,
) -> Result<(), Broken> {
    let _in_flight = relay::InFlight::new(endpoint);
    let secure = matches!(service.protocol, Protocol::Tls { .. });
    let mut header = header;
    if is_http2(&connection) && header.remove_header(&header::EXPECT).is_some() {
        // HTTP/2 backends rarely send an interim response: without one the client would wait.
        relay::send_continue(client).await?;
    }
    let mut backend = Backend::send(connection, header, relay.body, secure).await?;
    let result = relay::relay(&relay, client, &mut backend, deadline, &mut served.received).await;
    match result {
        Ok(complete) => {
            if complete && let Some(io) = backend.into_reusable().await {
                relay
                    .engine
                    .connector
                    .release(endpoint, &service.protocol, io);
            }
            Ok(())
        }
        Err(broken) => {
            backend.abort();
            Err(broken)
        }
    }
}

/// Tells the client what failed, where it can still be told.
async fn answer(
    engine: &Engine,
    client: &mut Client<'_>,
    failure: &Failure,
    form: Form,
    method: &Method,
    deadline: &mut Deadline,
) -> Ending {
    if client.status.is_some() || *failure == Failure::ClientGone {
        client.abort();
        return Ending::Abort;
    }
    let answer = Answer::new(failure, form, &engine.settings.server.name);
    let bodiless = answer.body.is_empty() || *method == Method::HEAD;
    if failure.closes_connection() {
        client.close_after();
    }
    let sent = async {
        client
            .header(Box::new(answer.header), method, bodiless)
            .await?;
        if !bodiless {
            client.bytes(answer.body).await?;
        }
        client.finish(None).await
    };
    let sent = sent.await;
    if sent.is_err()
        || relay::flush(client, deadline, engine.settings.timeouts.write)
            .await
            .is_err()
    {
        return Ending::Abort;
    }
    if failure.closes_connection() {
        Ending::Close
    } else {
        Ending::Complete
    }
}

fn account(
    engine: &Engine,
    connection: &ClientConnection,
    client: &Client<'_>,
    served: Served,
    failure: Option<Failure>,
    duration: Duration,
) {
    let status = client.status.unwrap_or(0);
    let entry_point = &engine.counters.entry_points[usize::from(connection.entry_point)];
    let route = served
        .route
        .as_ref()
        .map(|(route, _)| &route.state.requests);
    let service = served
        .service
        .as_ref()
        .map(|service| &service.state.requests);
    for counts in [Some(&entry_point.requests), route, service]
        .into_iter()
        .flatten()
    {
        counts.count(status, duration);
        counts.received_bytes.add(served.received);
        counts.sent_bytes.add(client.sent);
    }
    if let Some(failure) = &failure {
        entry_point.failures[failure.index()].add(1);
        let client = connection.client;
        tracing::debug!(%client, status, fault = ?failure.fault(), %failure, "request failed");
    }
    let (Some(log), Some(sender)) = (served.log, &engine.access_log) else {
        return;
    };
    let (route, rule) = served.route.unzip();
    sender.send(Record {
        time: log.time,
        duration,
        client: connection.client,
        entry_point: connection.entry_point,
        protocol: log.protocol,
        method: log.method,
        host: log.host,
        path: log.path,
        status,
        received_bytes: served.received,
        sent_bytes: client.sent,
        route,
        rule: rule.unwrap_or_default(),
        service: served.service.as_ref().map(|service| service.id.clone()),
        endpoint: served.endpoint,
        attempts: served.attempts,
        request_id: served
            .request_id
            .as_ref()
            .map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned())
            .unwrap_or_default(),
        user_agent: log.user_agent,
        error: failure.map(|failure| failure.to_string()),
    });
}
