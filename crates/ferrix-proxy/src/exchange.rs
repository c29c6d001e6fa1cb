//! One request from its header section to the last byte of its response, for every pair of
//! protocols.
//!
//! ```text
//!  check ─► prepare headers ─► route ─► policy ─► connect ─► send ─► relay both ways ─► finish
//!                                                    ▲          │
//!                                                    └──────────┘  only what may be sent again
//! ```
//!
//! What few requests pass is marked as a cold path: the compiler lays its code out of the way, so that
//! what every request passes fits the processor's caches.

use std::{
    borrow::Cow,
    hint::cold_path,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use ferrix_http1::{Fields, Framing, RequestHead};
use ferrix_table::{
    Headers, Table,
    backend_policy::BackendTimeouts,
    ids::{EntryPointIndex, ServiceIndex},
    rules::{Route, Rule},
    services::{Endpoint, Protocol, Service},
    state,
};
use http::{HeaderName, Method, Version, uri::Authority};
use tokio::time::{Instant, timeout_at};

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
    filters::{Applied, access_log::Logged},
    headers::{self, RequestId},
    pool::Connection,
    race::Race,
    real_client::real_client,
    relay::{self, Passage, Received, Relay},
    request,
    retry::{self, Attempt, Broken, Kept},
    route,
};

mod cached;
mod hedged;
mod policy;

use hedged::Sending;
use policy::attempt_limit;

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
    received: Received,
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
    exchange.answer(&failure, &mut head, None).await;
    exchange.account(Some(failure), None);
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
    let mut applied: Option<Box<Applied>> = None;
    let result = exchange.run(incoming, &mut applied).await;
    exchange.deadline.set_ceiling(None);
    let (ending, failure) = match result {
        Ok(None) => (Ending::Complete, None),
        Ok(Some(answer)) => {
            cold_path();
            if let Some(applied) = &applied {
                applied.log(&answer.head);
            }
            let ending = exchange.reply(answer, &mut incoming.head, false).await;
            (ending, None)
        }
        Err(failure) => {
            cold_path();
            let head = &mut incoming.head;
            let ending = exchange.answer(&failure, head, applied.as_deref()).await;
            (ending, Some(failure))
        }
    };
    exchange.account(failure, applied.and_then(|it| it.logged));
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
            received: Received::default(),
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
    /// Serves the request, or gives the answer that a filter has for it.
    /// `applied`: what the policy of its rule has begun, also where the request fails.
    async fn run(
        &mut self,
        incoming: &mut Incoming,
        applied: &mut Option<Box<Applied>>,
    ) -> Result<Option<Answer>, Failure> {
        if self.engine.is_overloaded() {
            return Err(Failure::Overloaded);
        }
        let table = self.engine.table.load();
        let of_connection = self.prepare(incoming)?;
        let Incoming { head, body, .. } = incoming;
        let (entry_point, rule) = self.find_rule(&table, head)?;
        if rule.policy.is_some() {
            cold_path();
            // Boxed, because it is large and rare.
            let applied = applied.get_or_insert_default();
            let arrival = self.arrival(&table, entry_point);
            let beginning = self.begin(rule, &table, arrival, head, body, applied);
            if let Some(answer) = Box::pin(beginning).await? {
                return Ok(Some(answer));
            }
        }
        let split = route::split(rule)?;
        let kept = applied
            .as_ref()
            .and_then(|it| it.find_session(split, &table));
        let (destination, preferred) = match kept {
            Some((destination, endpoint)) => (destination, Some(endpoint)),
            None => (split.choose(), None),
        };
        let (index, service) = route::service(&table, destination)?;
        if let Some(filters) = &destination.filters {
            cold_path();
            let applied = applied.get_or_insert_default();
            let arrival = self.arrival(&table, entry_point);
            let sharing = self.share(filters, &table, arrival, head, body, applied);
            if let Some(answer) = Box::pin(sharing).await? {
                return Ok(Some(answer));
            }
        }
        let service = Arc::clone(service);
        // A request may last for days; only its service has to.
        drop(table);
        self.served.service = Some(Arc::clone(&service));

        let policy = applied.as_ref().and_then(|it| it.policy.as_deref());
        let body_bytes = self.body_bytes(applied.as_deref());
        let known = match body {
            Framing::Length(length) => *length,
            // A filter may have read it.
            _ => self.served.received.bytes,
        };
        if body_bytes > 0 && known > body_bytes {
            return Err(Failure::BodyTooLarge);
        }
        let upgrade =
            of_connection && service.protocol != Protocol::Http2 && headers::wants_upgrade(head);
        if of_connection {
            headers::settle_connection(&mut head.fields, upgrade);
        }
        let governed = match &service.policy {
            None => None,
            // Boxed, because it is large and rare.
            Some(of_service) => {
                cold_path();
                let governing = self.govern(&service, of_service, applied.as_deref(), head);
                Some(Box::pin(governing).await?)
            }
        };
        let of_service = governed.as_ref().map(|it| it.policy.timeouts);
        let response_timeout = self.response_timeout(policy, of_service.unwrap_or_default());
        let way = Way {
            service: &service,
            index,
            preferred: preferred.or_else(|| governed.as_ref()?.preferred()),
        };
        let kept = match applied {
            Some(applied) => self.begin_copies(applied, *body, upgrade),
            None => None,
        };
        let (fetch, invalidation) = match applied {
            Some(applied) => (applied.fetch.take(), applied.invalidation.take()),
            None => (None, None),
        };
        let mut relay = Relay {
            engine: self.engine,
            service: &service,
            method: head.method.clone(),
            body: *body,
            upgrade,
            response_timeout,
            body_bytes,
            applied: applied.as_deref(),
            fetch,
            invalidation,
            asked: false,
            repeated: &[],
            endpoint: None,
            governed,
            secure: self.connection.secure,
        };
        let Err(failure) = self.attempt(way, head, &mut relay, kept).await else {
            return Ok(None);
        };
        cold_path();
        match self.stands_in(&mut relay, &failure) {
            // Boxed, because it is large and rare.
            Some((kept, body)) => Box::pin(relay.answer(head, kept, body)).await.map(Some),
            None => Err(failure),
        }
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

    /// Finds the entry point and the rule of a prepared request, and leaves the canonical target in the
    /// header section.
    fn find_rule<'t>(
        &mut self,
        table: &'t Arc<Table>,
        head: &mut RequestHead,
    ) -> Result<(EntryPointIndex, &'t Rule), Failure> {
        let Self {
            engine, connection, ..
        } = *self;
        let checked = request::target(head, connection.secure, &engine.settings)?;
        if let Some(log) = &mut self.served.log {
            log.host = checked.host.clone().into_owned();
            log.path = checked.target.path_and_query.clone().into_owned();
        }
        let entry_point = route::entry_point(table, connection, &checked.host)?;
        let request = ferrix_table::Request {
            method: &head.method,
            host: &checked.host,
            path: &checked.target.routing_path,
            query: checked.target.query(),
            headers: &Seen(&head.fields),
            client: self.served.client.ip(),
        };
        let rule = route::find(table, entry_point, &request)?;
        self.served.route = Some((Arc::clone(&rule.route), rule.position));
        if head.target() != checked.target.path_and_query.as_bytes() {
            let target = checked.target.path_and_query.into_owned();
            head.set_target(target.as_bytes());
        }
        Ok((entry_point, rule))
    }

    /// Sends the request to one endpoint after another until one has it. `kept`: what has been read of
    /// its body.
    async fn attempt<'r>(
        &mut self,
        way: Way<'r>,
        head: &mut RequestHead,
        relay: &mut Relay<'r>,
        kept: Option<Kept>,
    ) -> Result<(), Failure> {
        let policy = relay.applied.and_then(|it| it.policy.as_deref());
        let retry = policy.and_then(|it| it.retry.as_ref());
        let most = self.attempts(retry);
        let mut race = Race::new(self.engine, way.service, way.index, relay.upgrade, most);
        let mut of_service = BackendTimeouts::default();
        if let Some(governed) = &relay.governed {
            cold_path();
            race.ask(governed.asked);
            race.introduce(governed.introduction.clone());
            of_service = governed.policy.timeouts;
        }
        if let Some(endpoint) = way.preferred {
            cold_path();
            race.prefer(endpoint);
        }
        let limit = attempt_limit(policy, of_service);
        let until = self.deadline.ceiling();
        let mut broke = None;
        let idempotent = retry::is_idempotent(&relay.method);
        relay.asked = idempotent && retry.is_some();
        let (mut begun, mut kept) = (kept.is_some(), kept);
        loop {
            let pooled = match broke {
                Some(_) => None,
                None => race.pooled(),
            };
            let connected = match pooled {
                Some(pooled) => Ok(pooled),
                // Boxed, because it is large and rare.
                None => {
                    cold_path();
                    Box::pin(run_until(&mut race, broke, until)).await
                }
            };
            self.served.attempts = race.attempts();
            self.served.endpoint = race.endpoint();
            let (endpoint, connection) = connected?;
            if !head.fields.contains("host") {
                cold_path();
                // Only HTTP/1.0 gets here without one; the backend is spoken to in HTTP/1.1.
                let host = endpoint.address.to_string();
                head.fields.append("Host", host.as_bytes());
            }
            let reused = connection.is_reused();
            if !begun {
                begun = true;
                // Only HTTP/2 can say that a request was not touched.
                let refusable = matches!(connection, Connection::Http2 { .. });
                let repeatable = idempotent && (reused || relay.asked);
                kept = Kept::of(relay.body, repeatable, refusable);
            }
            relay.endpoint = Some(endpoint.address);
            if let Some(governed) = &mut relay.governed {
                cold_path();
                let route = self.served.route.as_ref().map(|(route, _)| route);
                governed.begin(&endpoint, route);
            }
            relay.repeated = match retry {
                Some(retry) if relay.asked && race.may_go_on() => &retry.codes,
                _ => &[],
            };
            if let Some(limit) = limit {
                cold_path();
                self.limit_attempt(limit, until);
            }
            // Awaited at once: a future that is named first takes its room twice.
            let sent = match hedged::delay(relay) {
                None => {
                    self.send(&endpoint, connection, head, relay, &mut kept)
                        .await
                }
                // Boxed, because it is large and rare.
                Some(delay) => {
                    cold_path();
                    let sending = Sending {
                        race: &mut race,
                        endpoint: &endpoint,
                        delay,
                    };
                    Box::pin(self.hedge(sending, connection, head, relay, &mut kept)).await
                }
            };
            let Err(broken) = sent else {
                return Ok(());
            };
            cold_path();
            if let Some(governed) = &mut relay.governed {
                governed.broke(&broken, reused);
            }
            self.deadline.set_ceiling(until);
            let attempt = Attempt {
                more: race.may_go_on() && !self.deadline.is_over(),
                reused,
                idempotent,
                kept: kept.is_some(),
                asked: relay.asked,
            };
            if !broken.is_repeated(attempt) || !relay.may_repeat() {
                return Err(broken.into());
            }
            if let Some(retry) = retry {
                Box::pin(self.back_off(retry, race.attempts())).await?;
            }
            broke = Some(Instant::now());
        }
    }

    /// Sends the request on a connection and relays the response.
    async fn send(
        &mut self,
        endpoint: &Endpoint,
        connection: Connection,
        head: &RequestHead,
        relay: &mut Relay<'_>,
        kept: &mut Option<Kept>,
    ) -> Result<(), Broken> {
        let mut connection = connection;
        let _in_flight = relay::InFlight::new(endpoint);
        if matches!(connection, Connection::Http2 { .. }) {
            if head.fields.contains("expect") {
                // HTTP/2 backends rarely send an interim response: without one the client would wait.
                relay::send_continue(self.client)?;
            }
            connection.ready().await?;
        }
        let (secure, holds) = (relay.service.protocol.is_tls(), relay.asked);
        let mut backend = Backend::send(connection, head, relay.body, secure, kept, holds)?;
        let relayed = self.relay(head, relay, &mut backend).await;
        settle(relayed, endpoint, backend, relay, kept)
    }

    /// Relays the response to a request that was sent. Returns whether the backend's connection is clean.
    #[inline]
    fn relay<'f>(
        &'f mut self,
        head: &'f RequestHead,
        relay: &'f mut Relay<'_>,
        backend: &'f mut Backend,
    ) -> impl Future<Output = Result<bool, Broken>> {
        let received = &mut self.served.received;
        relay::relay(relay, head, self.client, backend, self.deadline, received)
    }

    /// Tells the client what failed, where it can still be told.
    async fn answer(
        &mut self,
        failure: &Failure,
        head: &mut RequestHead,
        applied: Option<&Applied>,
    ) -> Ending {
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
        let server = &settings.server.name;
        let mut answer = Answer::new(failure, Form::of(&head.fields), server);
        if let Some(applied) = applied {
            // Boxed, because it is large and rare.
            answer = Box::pin(applied.fail(self.engine, head, answer)).await;
            applied.log(&answer.head);
        }
        self.reply(answer, head, failure.closes_connection()).await
    }

    /// Sends an answer of ours. `close`: the connection is of no further use.
    async fn reply(&mut self, answer: Answer, head: &mut RequestHead, close: bool) -> Ending {
        let client = &mut *self.client;
        // Nobody reads the request any more, and the client may let its answer wait.
        *head = RequestHead::new(head.method.clone(), b"", head.version);
        let bodiless = answer.body.is_empty() || head.method == Method::HEAD;
        if close {
            client.close_after();
        }
        let body = match bodiless {
            true => Bytes::new(),
            false => answer.body,
        };
        let limit = self.engine.settings.timeouts.write;
        let sent = match client.header(answer.head, &head.method, bodiless) {
            Ok(()) => {
                relay::pour(client, &mut Passage::default(), body, self.deadline, limit).await
            }
            Err(gone) => Err(gone.into()),
        };
        if sent.is_err() {
            return Ending::Abort;
        }
        if close {
            Ending::Close
        } else {
            Ending::Complete
        }
    }

    fn account(self, failure: Option<Failure>, logged: Option<Box<Logged>>) {
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
            received_bytes: served.received.bytes,
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
            cold_path();
            entry_point.failures[failure.index()].add(1);
            let client = served.client;
            tracing::debug!(%client, status, fault = ?failure.fault(), %failure, "request failed");
        }
        if let Some(sender) = &engine.access_log
            && let Some(record) = served.into_record(connection, status, sent, duration, failure)
        {
            let more = logged.map(|it| Box::new(it.into_fields()));
            sender.send(Record { more, ..record });
        }
    }
}

/// Gives the backend's connection back where it is clean, and what was kept where the exchange broke.
fn settle(
    relayed: Result<bool, Broken>,
    endpoint: &Endpoint,
    backend: Backend,
    relay: &Relay<'_>,
    kept: &mut Option<Kept>,
) -> Result<(), Broken> {
    let mut backend = backend;
    match relayed {
        Ok(clean) => {
            if clean && let Some(wire) = backend.into_reusable() {
                let upstream = &relay.engine.upstream;
                upstream.release(endpoint, &relay.service.protocol, wire);
            }
            Ok(())
        }
        Err(broken) => {
            cold_path();
            backend.abort();
            *kept = backend.into_kept();
            Err(broken)
        }
    }
}

/// Where a request goes.
#[derive(Clone, Copy)]
struct Way<'r> {
    service: &'r Arc<Service>,
    index: ServiceIndex,
    /// Who is to have it if it can.
    preferred: Option<SocketAddr>,
}

/// Runs a race, no longer than `until`.
async fn run_until<'e>(
    race: &mut Race<'e>,
    broke: Option<Instant>,
    until: Option<Instant>,
) -> Result<(Cow<'e, Endpoint>, Connection), Failure> {
    let running = race.run(broke);
    match until {
        None => running.await,
        Some(until) => {
            (timeout_at(until, running).await).unwrap_or_else(|_| Err(Failure::UpstreamTimeout))
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
            received_bytes: self.received.bytes,
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
            more: None,
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
