//! One request from its header section to the last byte of its response, for every pair of
//! protocols.
//!
//! ```text
//!  check ─► prepare headers ─► route ─► connect ─► send ─► relay both ways ─► finish
//!                                          ▲          │
//!                                          └──────────┘  only what may be sent again
//! ```

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ferrix_http1::{Fields, Framing, RequestHead};
use ferrix_table::{
    Headers, Table,
    ids::ServiceIndex,
    rules::Route,
    services::{Endpoint, Protocol, Service},
    state,
};
use http::{HeaderName, Method, Version, uri::Authority};
use tokio::time::Instant;

use crate::{
    Engine,
    access_log::Record,
    address::Address,
    answer::{Answer, Form},
    backend::Backend,
    client::{Client, ClientConnection},
    clients::Open,
    clock,
    deadline::Deadline,
    failure::Failure,
    headers::{self, RequestId},
    pool::Connection,
    race::Race,
    real_client::real_client,
    relay::{self, Relay},
    request,
    retry::{self, Attempt, Broken, Kept},
    route,
};

/// A request as it was read from its connection, HTTP/1 or HTTP/2.
pub(crate) struct Incoming {
    pub(crate) head: RequestHead,
    /// The pseudo-header `:authority` of HTTP/2, which is not among the fields.
    pub(crate) authority: Option<Authority>,
    pub(crate) body: Framing,
}

/// One request and all that works on it.
struct Exchange<'e, 'c> {
    engine: &'e Engine,
    connection: &'e ClientConnection,
    client: &'e mut Client<'c>,
    deadline: &'e mut Deadline,
    served: Served,
}

/// What is known of a request when it is over.
struct Served {
    started: Instant,
    /// The real client, once that is known; the connection's before.
    client: Address,
    route: Option<(Arc<Route>, u32)>,
    service: Option<Arc<Service>>,
    endpoint: Option<SocketAddr>,
    attempts: u8,
    request_id: RequestId,
    received: u64,
    /// Whether the response broke off after it had begun.
    cut: bool,
    /// The request, among those of its client.
    open: Option<Open>,
    log: Option<LoggedTarget>,
}

/// Kept only where there is an access log: these are copies.
struct LoggedTarget {
    time: SystemTime,
    protocol: &'static str,
    method: Method,
    host: String,
    path: String,
    referer: Option<String>,
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
    let mut head = RequestHead::new(Method::GET, b"/", Version::HTTP_11);
    let served = Served::new(engine, connection.client, &head);
    let mut exchange = Exchange {
        engine,
        connection,
        client,
        deadline,
        served,
    };
    exchange.answer(&failure, &mut head).await;
    exchange.account(Some(failure));
}

/// How the exchange ended, for the connection that carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The response is complete.
    Complete,
    /// The connection must be closed after what is buffered.
    Close,
    /// The response is cut short, and its framing says so: the connection must be closed.
    Cut,
    /// The response is cut short: the connection must be closed so that the client sees it.
    Abort,
}

/// Serves one request and counts it.
pub(crate) async fn serve(
    engine: &Engine,
    connection: &ClientConnection,
    client: &mut Client<'_>,
    incoming: &mut Incoming,
    deadline: &mut Deadline,
) -> Ending {
    let served = Served::new(engine, connection.client, &incoming.head);
    let mut exchange = Exchange {
        engine,
        connection,
        client,
        deadline,
        served,
    };
    let result = exchange.run(incoming).await;
    let ending = match &result {
        Ok(()) => Ending::Complete,
        Err(failure) => exchange.answer(failure, &mut incoming.head).await,
    };
    exchange.account(result.err());
    ending
}

impl Served {
    fn new(engine: &Engine, client: Address, head: &RequestHead) -> Self {
        Self {
            started: clock::read(),
            client,
            route: None,
            service: None,
            endpoint: None,
            attempts: 0,
            request_id: RequestId::new(),
            received: 0,
            cut: false,
            open: None,
            log: engine.access_log.is_some().then(|| LoggedTarget::new(head)),
        }
    }
}

impl LoggedTarget {
    fn new(head: &RequestHead) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self {
            time: SystemTime::now(),
            protocol: match head.version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            method: head.method.clone(),
            host: String::new(),
            path: text(head.target()),
            referer: head.fields.get("referer").map(text),
            user_agent: head.fields.get("user-agent").map(text),
        }
    }
}

impl Exchange<'_, '_> {
    async fn run(&mut self, incoming: &mut Incoming) -> Result<(), Failure> {
        if self.engine.is_overloaded() {
            return Err(Failure::Overloaded);
        }
        let table = self.engine.table.load();
        let of_connection = self.prepare(incoming)?;
        let Incoming { head, body, .. } = incoming;
        let (index, service) = self.find_service(&table, head)?;
        let service = Arc::clone(service);
        // A request may last for days; only its service has to.
        drop(table);
        self.served.service = Some(Arc::clone(&service));

        let limit = self.engine.settings.limits.body_bytes.as_u64();
        if limit > 0 && matches!(body, Framing::Length(length) if *length > limit) {
            return Err(Failure::BodyTooLarge);
        }
        let upgrade =
            of_connection && service.protocol != Protocol::Http2 && headers::wants_upgrade(head);
        if of_connection {
            headers::settle_connection(&mut head.fields, upgrade);
        }
        let relay = Relay {
            engine: self.engine,
            service: &service,
            method: head.method.clone(),
            body: *body,
            upgrade,
        };
        self.attempt(&service, index, head, &relay).await
    }

    /// Checks the request and makes its header section what will be sent, so that rules match
    /// exactly that. Returns whether `Connection` or `Upgrade` have to be settled.
    fn prepare(&mut self, incoming: &mut Incoming) -> Result<bool, Failure> {
        let settings = &self.engine.settings;
        let Incoming {
            head,
            authority,
            body,
        } = incoming;
        match head.version {
            Version::HTTP_2 => {
                // It may lie in a buffer with all that came with it.
                let authority = authority.take();
                let authority = authority.as_ref().map(Authority::as_str);
                request::check_http2(head, authority, self.connection.secure, settings)?;
            }
            _ => request::check_http1(head, settings)?,
        }
        let (forwarding, underscores) = (&self.connection.forwarding, settings.headers.underscores);
        let trusted = &settings.forwarded.trusted;
        let client = match forwarding.is_trusted() {
            true => real_client(&head.fields, self.connection.client, trusted),
            false => self.connection.client,
        };
        self.served.client = client;
        self.admit()?;
        let real = Some(client.ip()).filter(|real| *real != self.connection.client.ip());
        let prepared = headers::prepare_request(head, forwarding, real, *body, underscores)?;
        self.served.request_id = prepared.request_id;
        Ok(prepared.of_connection)
    }

    /// Counts the request among those of its client.
    fn admit(&mut self) -> Result<(), Failure> {
        let Some(account) = &self.connection.account else {
            return Ok(());
        };
        let limit = self.engine.settings.limits.requests_per_client();
        let client = self.served.client;
        let open = match client.ip() == self.connection.client.ip() {
            true => account.request(limit),
            // A trusted proxy asks for another.
            false => self.engine.clients.get(client.ip()).request(limit),
        };
        self.served.open = Some(open.ok_or(Failure::TooManyRequests)?);
        Ok(())
    }

    /// Finds the rule of a prepared request and that rule's service, with its index, and leaves the
    /// canonical target in the header section.
    fn find_service<'t>(
        &mut self,
        table: &'t Arc<Table>,
        head: &mut RequestHead,
    ) -> Result<(ServiceIndex, &'t Arc<Service>), Failure> {
        let Self {
            engine, connection, ..
        } = *self;
        let checked = request::target(head, connection.secure, &engine.settings)?;
        if let Some(log) = &mut self.served.log {
            log.host = checked.host.clone().into_owned();
            log.path = checked.target.path_and_query.clone().into_owned();
        }
        let server_name = connection.server_name.as_deref();
        route::check_authority(table, connection.entry_point, server_name, &checked.host)?;
        let request = ferrix_table::Request {
            method: &head.method,
            host: &checked.host,
            path: &checked.target.routing_path,
            query: checked.target.query(),
            headers: &Seen(&head.fields),
            client: self.served.client.ip(),
        };
        let rule = route::find(table, connection.entry_point, &request)?;
        self.served.route = Some((Arc::clone(&rule.route), rule.position));
        let service = route::choose(table, rule)?;

        if head.target() != checked.target.path_and_query.as_bytes() {
            let target = checked.target.path_and_query.into_owned();
            head.set_target(target.as_bytes());
        }
        Ok(service)
    }

    /// Sends the request to one endpoint after another until one has it.
    async fn attempt(
        &mut self,
        service: &Arc<Service>,
        index: ServiceIndex,
        head: &mut RequestHead,
        relay: &Relay<'_>,
    ) -> Result<(), Failure> {
        let mut race = Race::new(self.engine, service, index, relay.upgrade);
        let mut broke = None;
        let idempotent = retry::is_idempotent(&relay.method);
        let (mut begun, mut kept) = (false, None);
        loop {
            let pooled = match broke {
                Some(_) => None,
                None => race.pooled(),
            };
            let connected = match pooled {
                Some(pooled) => Ok(pooled),
                // Boxed, because it is large and rare.
                None => Box::pin(race.run(broke)).await,
            };
            self.served.attempts = race.attempts();
            self.served.endpoint = race.endpoint();
            let (endpoint, connection) = connected?;
            if !head.fields.contains("host") {
                // Only HTTP/1.0 gets here without one; the backend is spoken to in HTTP/1.1.
                let host = endpoint.address.to_string();
                head.fields.append("Host", host.as_bytes());
            }
            let reused = connection.is_reused();
            if !begun {
                begun = true;
                // Only HTTP/2 can say that a request was not touched.
                let refusable = matches!(connection, Connection::Http2 { .. });
                kept = Kept::of(relay.body, idempotent && reused, refusable);
            }
            // Awaited at once: a future that is named first takes its room twice.
            let sent = self
                .send(service, &endpoint, connection, head, relay, &mut kept)
                .await;
            let Err(broken) = sent else {
                return Ok(());
            };
            let attempt = Attempt {
                more: race.may_go_on(),
                reused,
                idempotent,
                kept: kept.is_some(),
            };
            if !broken.is_repeated(attempt) {
                return Err(broken.into());
            }
            broke = Some(Instant::now());
        }
    }

    /// Sends the request on a connection and relays the response.
    async fn send(
        &mut self,
        service: &Service,
        endpoint: &Endpoint,
        connection: Connection,
        head: &RequestHead,
        relay: &Relay<'_>,
        kept: &mut Option<Kept>,
    ) -> Result<(), Broken> {
        let _in_flight = relay::InFlight::new(endpoint);
        let secure = matches!(service.protocol, Protocol::Tls { .. });
        if matches!(connection, Connection::Http2 { .. }) && head.fields.contains("expect") {
            // HTTP/2 backends rarely send an interim response: without one the client would wait.
            relay::send_continue(self.client)?;
        }
        let mut backend = Backend::send(connection, head, relay.body, secure, kept).await?;
        let received = &mut self.served.received;
        match relay::relay(relay, self.client, &mut backend, self.deadline, received).await {
            Ok(complete) => {
                if complete && let Some(wire) = backend.into_reusable() {
                    let upstream = &relay.engine.upstream;
                    upstream.release(endpoint, &service.protocol, wire);
                }
                Ok(())
            }
            Err(broken) => {
                backend.abort();
                *kept = backend.into_kept();
                Err(broken)
            }
        }
    }

    /// Tells the client what failed, where it can still be told.
    async fn answer(&mut self, failure: &Failure, head: &mut RequestHead) -> Ending {
        let client = &mut *self.client;
        let settings = &self.engine.settings;
        if *failure == Failure::ClientGone {
            self.served.cut = client.status.is_some();
            client.abort();
            return Ending::Abort;
        }
        if client.status.is_some() {
            self.served.cut = true;
            relay::cut(client, self.deadline, settings.timeouts.write).await;
            return match client.ends_with_connection() {
                true => Ending::Abort,
                false => Ending::Cut,
            };
        }
        let answer = Answer::new(failure, Form::of(&head.fields), &settings.server.name);
        // Nobody reads the request any more, and the client may let its answer wait.
        *head = RequestHead::new(head.method.clone(), b"", head.version);
        let bodiless = answer.body.is_empty() || head.method == Method::HEAD;
        if failure.closes_connection() {
            client.close_after();
        }
        let sent = client
            .header(answer.head, &head.method, bodiless)
            .map_err(Failure::from)
            .and_then(|()| match bodiless {
                true => Ok(()),
                false => client.data(answer.body),
            })
            .and_then(|()| client.finish(None));
        let flushed = relay::flush(client, self.deadline, settings.timeouts.write);
        if sent.is_err() || flushed.await.is_err() {
            return Ending::Abort;
        }
        if failure.closes_connection() {
            Ending::Close
        } else {
            Ending::Complete
        }
    }

    fn account(self, failure: Option<Failure>) {
        let Self {
            engine,
            connection,
            client,
            served,
            ..
        } = self;
        let duration = served.started.elapsed();
        let status = client.status.unwrap_or(0);
        // What never left is not sent.
        let sent = client.sent.saturating_sub(client.out().pending() as u64);
        let counted = state::Served {
            status,
            duration,
            received_bytes: served.received,
            sent_bytes: sent,
        };
        let entry_point = &connection.counters;
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
            counts.count(&counted);
        }
        if let Some(failure) = &failure {
            entry_point.failures[failure.index()].add(1);
            let client = served.client;
            tracing::debug!(%client, status, fault = ?failure.fault(), %failure, "request failed");
        }
        if let Some(sender) = &engine.access_log
            && let Some(record) = served.into_record(connection, status, sent, duration, failure)
        {
            sender.send(record);
        }
    }
}

impl Served {
    fn into_record(
        self,
        connection: &ClientConnection,
        status: u16,
        sent_bytes: u64,
        duration: Duration,
        failure: Option<Failure>,
    ) -> Option<Record> {
        let log = self.log?;
        let (route, rule) = self.route.unzip();
        Some(Record {
            time: log.time,
            duration,
            client: self.client.into(),
            entry_point: Arc::clone(&connection.counters.name),
            protocol: log.protocol,
            method: log.method,
            host: log.host,
            path: log.path,
            status,
            received_bytes: self.received,
            sent_bytes,
            route,
            rule: rule.unwrap_or_default(),
            service: self.service.as_ref().map(|service| service.id.clone()),
            endpoint: self.endpoint,
            attempts: self.attempts,
            request_id: String::from_utf8_lossy(&self.request_id).into_owned(),
            referer: log.referer,
            user_agent: log.user_agent,
            cut: self.cut,
            error: failure.map(|failure| failure.to_string()),
        })
    }
}

/// The fields of a request as rules see them.
#[derive(Debug)]
struct Seen<'f>(&'f Fields);

impl Headers for Seen<'_> {
    fn any(&self, name: &HeaderName, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.get_all(name.as_str()).any(test)
    }
}
