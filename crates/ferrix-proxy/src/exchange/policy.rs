//! The policy of a rule at work: what becomes of a request before it goes to a backend, and what limits it
//! from then on.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use ferrix_http1::{Framing, Piece, RequestHead};
use ferrix_table::{
    Table,
    backend_policy::{BackendTimeouts, InForce, RequestLimit},
    filters::{
        Filter,
        access_log::AccessLog,
        api_key::CredentialPlace,
        bandwidth::{Bandwidth, Direction, Line},
        external_auth::ExternalAuth,
        limit_key::{Counted, IPV6_PREFIX, LimitKey},
        request_buffering::RequestBuffering,
    },
    ids::EntryPointIndex,
    policy::{Policy, Retry},
    rules::{Destination, Rule, Split},
    services::Service,
    state::PolicyState,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Exchange, cached};
use crate::{
    answer::{Answer, Form},
    buffered::{Buffered, Filling},
    failure::Failure,
    filters::{
        self, Applied, Arrival,
        access_log::Logged,
        api_key, basic_auth, body_size, client_certificate, concurrency, credentials,
        error_pages::Passed,
        external_auth::{self, Asker, Verdict},
        faults, ip_filter, jwt, limit_key,
        mirror::{Copies, Copy},
        oidc, rate_limit, respond,
    },
    governed::Governed,
    hash_key,
    io::HIGH_WATER,
    pace::Pace,
    proxy_protocol::Introduction,
    queue::{self, Turn},
    relay,
    retry::Kept,
    session,
};

/// Pauses between attempts double this many times, and grow no more.
const DOUBLINGS: u32 = 5;

/// Where a request passes filters.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    /// The rule, where these are its filters, and not those of a share of its requests.
    pub(super) rule: Option<&'p Rule>,
    pub(super) table: &'p Table,
    pub(super) arrival: Arrival,
}

impl Exchange<'_, '_> {
    /// Where the request came in.
    pub(super) fn arrival(&self, table: &Table, entry_point: EntryPointIndex) -> Arrival {
        let entry_point = table.entry_points.get(entry_point);
        let exposed = entry_point.and_then(|it| it.exposed_port);
        let port = exposed.unwrap_or_else(|| self.connection.forwarding.port());
        Arrival::new(self.connection.secure, port, &self.engine.settings)
    }

    /// Begins what the policy of a rule asks for, and takes the request through its filters. Returns the
    /// answer, if one of them gives it.
    pub(super) async fn begin(
        &mut self,
        rule: &Rule,
        table: &Table,
        arrival: Arrival,
        head: &mut RequestHead,
        body: &mut Framing,
        applied: &mut Applied,
    ) -> Result<Option<Answer>, Failure> {
        let Some(policy) = &rule.policy else {
            return Ok(None);
        };
        if let Some(limit) = policy.timeouts.request.filter(|limit| !limit.is_zero()) {
            let until = self.served.started + limit;
            self.deadline.set_ceiling(Some(until));
        }
        let session = policy.session.as_ref();
        applied.policy = Some(Arc::clone(policy));
        applied.body_bytes = policy.body_bytes;
        applied.token = session.and_then(|session| session::token(session, head));
        for filter in policy.filters() {
            for name in filter.identity_headers() {
                credentials::take_out_identity(name, &mut head.fields);
            }
            if let Some(CredentialPlace::Query(name)) = filter.credential_place() {
                self.hide_from_log(name);
            }
        }
        let place = Place {
            rule: Some(rule),
            table,
            arrival,
        };
        for list in &policy.lists {
            let answer = self.filter(&list.filters, place, head, body, applied);
            if let Some(answer) = answer.await? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Takes a request through the filters of the share that it is one of.
    pub(super) async fn share(
        &mut self,
        filters: &Arc<Box<[Filter]>>,
        table: &Table,
        arrival: Arrival,
        head: &mut RequestHead,
        body: &mut Framing,
        applied: &mut Applied,
    ) -> Result<Option<Answer>, Failure> {
        applied.of_share = Some(Arc::clone(filters));
        let place = Place {
            rule: None,
            table,
            arrival,
        };
        self.filter(filters, place, head, body, applied).await
    }

    async fn filter(
        &mut self,
        filters: &[Filter],
        place: Place<'_>,
        head: &mut RequestHead,
        body: &mut Framing,
        applied: &mut Applied,
    ) -> Result<Option<Answer>, Failure> {
        for filter in filters {
            applied.note(filter, head);
            let answer = self.pass(filter, place, head, body, applied).await?;
            if answer.is_some() {
                return Ok(answer);
            }
            applied.passed += 1;
        }
        Ok(None)
    }

    /// Takes a request through a filter. What that answers in place of a service passes all filters of
    /// responses; what it refuses, those before it.
    async fn pass(
        &mut self,
        filter: &Filter,
        place: Place<'_>,
        head: &mut RequestHead,
        body: &mut Framing,
        applied: &mut Applied,
    ) -> Result<Option<Answer>, Failure> {
        let engine = self.engine;
        let server = &engine.settings.server.name;
        let (answer, body) = match filter {
            Filter::Mirror(mirror) => {
                applied.copies.extend(Copy::of(mirror, place.table, head));
                return Ok(None);
            }
            Filter::IpFilter(filter) => {
                ip_filter::check(filter, self.served.client.ip())?;
                return Ok(None);
            }
            Filter::RateLimit(limit) => {
                let counted = self.counted(&limit.by, head, applied);
                rate_limit::check(limit, counted, engine)?;
                return Ok(None);
            }
            Filter::Concurrency(limit) => {
                let counted = self.counted(&limit.by, head, applied);
                let under_way = concurrency::begin(limit, counted, engine)?;
                applied.under_way.push(under_way);
                return Ok(None);
            }
            Filter::BasicAuth(auth) => {
                self.in_time(basic_auth::check(auth, engine, head)).await?;
                applied.authenticated = true;
                return Ok(None);
            }
            Filter::ApiKey(auth) => {
                api_key::check(auth, head)?;
                applied.authenticated = true;
                return Ok(None);
            }
            Filter::Jwt(jwt) => {
                if let Some(claims) = jwt::check(jwt, head)? {
                    applied.authenticated = true;
                    applied.claims = Some(claims);
                }
                return Ok(None);
            }
            Filter::ClientCertificate(filter) => {
                let has_one = client_certificate::check(filter, self.connection, head)?;
                applied.authenticated |= has_one;
                return Ok(None);
            }
            Filter::Oidc(oidc) => {
                if oidc::is_callback(oidc, head) {
                    self.hide_from_log("code");
                }
                let checking = oidc::check(oidc, engine, head, place.arrival.secure);
                match self.in_time(Box::pin(checking)).await? {
                    oidc::Verdict::Passed(cookies) => {
                        applied.authenticated = true;
                        applied.cookies.extend(cookies);
                        return Ok(None);
                    }
                    oidc::Verdict::Answered(answer, body) => (answer, body),
                }
            }
            Filter::BodySize(limit) => {
                body_size::check(limit, *body, applied)?;
                return Ok(None);
            }
            Filter::Bandwidth(limit) => {
                self.shape(limit, Direction::Request, head, applied);
                self.shape(limit, Direction::Response, head, applied);
                return Ok(None);
            }
            Filter::Cache(cache) => {
                // Among those of a share of the requests, it would give the answers of that to all.
                let Some(rule) = place.rule else {
                    return Ok(None);
                };
                let place = cached::Place {
                    rule,
                    filter,
                    table: place.table,
                    arrival: &place.arrival,
                };
                let Some((answer, body)) = self.consult(cache, place, head, *body, applied).await
                else {
                    return Ok(None);
                };
                applied.passed = usize::MAX;
                return applied.answer(engine, head, answer, body).await.map(Some);
            }
            Filter::ErrorPages(pages) => {
                applied.error_pages.push(Passed::new(pages, place.table));
                return Ok(None);
            }
            Filter::RequestBuffering(buffering) => {
                let limit = self.body_bytes(Some(applied));
                self.buffer(*buffering, limit, head, body, applied).await?;
                return Ok(None);
            }
            Filter::AccessLog(log) => {
                self.log(log, head, applied);
                return Ok(None);
            }
            Filter::ExternalAuth(auth) => {
                match self
                    .authorise(auth, place.table, head, *body, applied)
                    .await?
                {
                    Verdict::Passed => {
                        applied.authenticated = true;
                        return Ok(None);
                    }
                    Verdict::Refused(refusal, body) => {
                        let page = applied.error_page(engine, head, &refusal).await;
                        page.unwrap_or((refusal, body))
                    }
                }
            }
            Filter::Faults(faults) => {
                if let Some(delay) = faults::delay(faults) {
                    self.pause(delay).await?;
                }
                let Some(status) = faults::abort(faults) else {
                    return Ok(None);
                };
                let Answer { head: answer, body } =
                    Answer::of(status, Form::of(&head.fields), server);
                let page = applied.error_page(engine, head, &answer).await;
                page.unwrap_or((answer, body))
            }
            Filter::Respond(respond) => {
                applied.passed = usize::MAX;
                respond::answer(respond)
            }
            // A preflight request is answered by its filter alone.
            Filter::Cors(_) => {
                let answer = filters::on_request(filter, head, &place.arrival)?;
                return Ok(answer.map(|head| Answer::filtered(head, Bytes::new(), server)));
            }
            filter => match filters::on_request(filter, head, &place.arrival)? {
                Some(head) => {
                    applied.passed = usize::MAX;
                    (head, Bytes::new())
                }
                None => return Ok(None),
            },
        };
        let (answer, body) = applied.finish(answer, body).await?;
        Ok(Some(Answer::filtered(answer, body, server)))
    }

    /// Who or what a limit counts the request for.
    fn counted<'r>(
        &'r self,
        by: &LimitKey,
        head: &'r RequestHead,
        applied: &'r Applied,
    ) -> Counted<'r> {
        let client = self.served.client.ip();
        match &self.served.route {
            Some((route, _)) => {
                limit_key::counted(by, head, applied.claims.as_deref(), client, &route.key)
            }
            // Filters are those of a rule, which has a route.
            None => Counted::client(client, IPV6_PREFIX),
        }
    }

    /// Does what a rule says of the access log.
    pub(super) fn log(&mut self, log: &Arc<AccessLog>, head: &RequestHead, applied: &mut Applied) {
        if **log == AccessLog::Off {
            self.served.log = None;
        } else if self.served.log.is_some() {
            applied.logged = Logged::of(log, head).map(Box::new);
        }
    }

    /// Holds bodies of the request to a limit of bandwidth.
    pub(super) fn shape(
        &mut self,
        limit: &Bandwidth,
        direction: Direction,
        head: &RequestHead,
        applied: &Applied,
    ) {
        let Some(rate) = limit.rate(direction) else {
            return;
        };
        let line = match &limit.by {
            None => Line::Own(0),
            Some(by) => {
                let key = self.engine.digests.of(self.counted(by, head, applied));
                Line::Shared(Arc::clone(limit.state.get()), direction, key)
            }
        };
        let shaper = match direction {
            Direction::Request => &mut self.client.upload,
            Direction::Response => &mut self.client.download,
        };
        shaper.get_or_insert_default().add(rate, line);
    }

    async fn authorise(
        &mut self,
        auth: &ExternalAuth,
        table: &Table,
        head: &mut RequestHead,
        framing: Framing,
        applied: &mut Applied,
    ) -> Result<Verdict, Failure> {
        let body = match auth.body_bytes {
            0 => Bytes::new(),
            most => {
                let body = self.read_body(framing, most, applied).await?;
                head.fields.remove("expect");
                body
            }
        };
        let asker = Asker {
            client: self.served.client,
            secure: self.connection.secure,
        };
        let asking = external_auth::ask(auth, self.engine, table, asker, head, body);
        self.in_time(asking).await
    }

    /// Waits for what a filter does, but no longer than the request may take.
    async fn in_time<T>(
        &self,
        done: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match self.deadline.ceiling() {
            None => done.await,
            Some(until) => {
                (timeout_at(until, done).await).unwrap_or_else(|_| Err(Failure::UpstreamTimeout))
            }
        }
    }

    /// Leaves credentials in a parameter of the query out of the access log.
    fn hide_from_log(&mut self, name: &str) {
        if let Some(log) = &mut self.served.log
            && let Some(path) = credentials::without_parameter(log.path.as_bytes(), name)
        {
            log.path = String::from_utf8_lossy(&path).into_owned();
        }
    }

    /// Reads the whole body of a request before it goes on, so that its length is known. Trailers are not
    /// kept. `limit`: the longest that it may be for other reasons; 0: any.
    async fn buffer(
        &mut self,
        buffering: RequestBuffering,
        limit: u64,
        head: &mut RequestHead,
        framing: &mut Framing,
        applied: &Applied,
    ) -> Result<(), Failure> {
        let length = match &applied.kept {
            _ if *framing == Framing::Empty => return Ok(()),
            // Another filter has read it.
            Some(kept) if kept.is_whole() => kept.len() as u64,
            _ => {
                let most = match limit {
                    0 => buffering.max_bytes,
                    limit => limit.min(buffering.max_bytes),
                };
                let body = Box::pin(self.fill(buffering.memory_bytes, most, *framing)).await?;
                let length = body.len();
                self.client.give_back(body);
                length
            }
        };
        *framing = match length {
            0 => Framing::Empty,
            length => Framing::Length(length),
        };
        for name in ["expect", "transfer-encoding"] {
            head.fields.remove(name);
        }
        let length = length.to_string();
        head.fields.set("Content-Length", length.as_bytes());
        Ok(())
    }

    async fn fill(
        &mut self,
        memory_bytes: u64,
        most: u64,
        framing: Framing,
    ) -> Result<Buffered, Failure> {
        let settings = &self.engine.settings;
        let folder = settings.server.temporary_folder.clone();
        let folder = folder.unwrap_or_else(std::env::temp_dir);
        let mut pace = match framing {
            Framing::Length(length) if length > most => return Err(Failure::BodyTooLarge),
            Framing::Length(_) => Pace::new(&settings.limits, &settings.timeouts),
            _ => None,
        };
        let mut body = Filling::new(memory_bytes, &self.engine.counters);
        relay::send_continue(self.client)?;
        loop {
            let since = Instant::now();
            let piece = self.read_piece().await?;
            if let Some(pace) = &mut pace {
                pace.wait(since.elapsed());
                if pace.left(body.len()).is_zero() {
                    return Err(Failure::BodyTimeout);
                }
            }
            self.hold_back(&piece).await?;
            match piece {
                Piece::Data(data) if body.len() + data.len() as u64 > most => {
                    return Err(Failure::BodyTooLarge);
                }
                Piece::Data(data) => body.add(&data, &folder).await,
                Piece::End(_) => {
                    let whole = body.end(&folder).await;
                    return whole.map_err(|error| Failure::Storage(error.to_string()));
                }
            }
            .map_err(|error| Failure::Storage(error.to_string()))?;
        }
    }

    /// Reads the whole body of a request, which is sent to the backend later.
    async fn read_body(
        &mut self,
        framing: Framing,
        most: u16,
        applied: &mut Applied,
    ) -> Result<Bytes, Failure> {
        let most = u64::from(most);
        match framing {
            Framing::Empty => return Ok(Bytes::new()),
            Framing::Length(length) if length > most => return Err(Failure::BodyTooLarge),
            _ => {}
        }
        let mut kept = match applied.kept.take() {
            Some(kept) => kept,
            None => {
                relay::send_continue(self.client)?;
                Kept::default()
            }
        };
        while !kept.is_whole() {
            let piece = self.read_piece().await?;
            self.hold_back(&piece).await?;
            match piece {
                Piece::Data(data) => {
                    self.served.received.data(&data);
                    kept = kept.with(&data, false).ok_or(Failure::BodyTooLarge)?;
                }
                // Trailers are not kept.
                Piece::End(_) => kept = kept.ended(),
            }
            if kept.len() as u64 > most {
                return Err(Failure::BodyTooLarge);
            }
        }
        let pieces: Vec<_> = kept.pieces().collect();
        applied.kept = Some(kept);
        Ok(pieces.concat().into())
    }

    async fn read_piece(&mut self) -> Result<Piece, Failure> {
        let Self {
            client, deadline, ..
        } = self;
        deadline.set(self.engine.settings.timeouts.body);
        let piece = poll_fn(|cx| {
            client.inlet().release(0, None);
            if let Poll::Ready(piece) = client.poll_read(cx, HIGH_WATER) {
                return Poll::Ready(piece);
            }
            // It may wait for permission to send.
            while let Poll::Ready(Ok(())) = client.out().poll_drain(cx) {}
            Poll::Pending
        });
        tokio::select! {
            biased;
            piece = piece => piece,
            () = deadline.passed() => Err(Failure::BodyTimeout),
        }
    }

    /// Waits until a piece of the request's body that was read may pass.
    async fn hold_back(&mut self, piece: &Piece) -> Result<(), Failure> {
        let (Some(shaper), Piece::Data(data)) = (&mut self.client.upload, piece) else {
            return Ok(());
        };
        let wait = shaper.wait_for(data.len());
        match wait.is_zero() {
            true => Ok(()),
            false => self.pause(wait).await,
        }
    }

    /// Lets copies of the request wait for its body, or leave where that is known. Gives back what has
    /// been read of it. What becomes of an upgrade cannot be copied.
    pub(super) fn begin_copies(
        &mut self,
        applied: &mut Applied,
        body: Framing,
        upgrade: bool,
    ) -> Option<Kept> {
        let kept = applied.kept.take();
        let copies = std::mem::take(&mut applied.copies);
        if copies.is_empty() || upgrade {
            return kept;
        }
        let mut copies = Copies::new(copies, &self.engine.counters);
        for piece in kept.iter().flat_map(Kept::pieces) {
            copies.data(&piece);
        }
        match body == Framing::Empty || kept.as_ref().is_some_and(Kept::is_whole) {
            true => copies.send(self.engine),
            false => self.served.received.copies = Some(Box::new(copies)),
        }
        kept
    }

    /// The longest body that the request may have; 0: any.
    pub(super) fn body_bytes(&self, applied: Option<&Applied>) -> u64 {
        let limit = applied.and_then(|applied| applied.body_bytes);
        limit.unwrap_or_else(|| self.engine.settings.limits.body_bytes.as_u64())
    }

    /// How long a backend may be silent. Where the rule says how long it may take, that alone counts.
    pub(super) fn response_timeout(
        &self,
        policy: Option<&Policy>,
        of_service: BackendTimeouts,
    ) -> Duration {
        let settings = self.engine.settings.timeouts.response;
        match request_limit(policy, of_service).or(attempt_limit_of(policy, of_service)) {
            Some(_) => of_service.response.unwrap_or_default(),
            None => of_service.response.unwrap_or(settings),
        }
    }

    /// How many attempts there may be.
    pub(super) fn attempts(&self, retry: Option<&Retry>) -> usize {
        match retry.and_then(|retry| retry.attempts) {
            Some(further) => usize::from(further) + 1,
            None => self.engine.settings.upstream.attempts,
        }
    }

    /// An attempt begins; the request has time `until` then.
    pub(super) fn limit_attempt(&mut self, limit: Duration, until: Option<Instant>) {
        let attempt = Instant::now() + limit;
        let ceiling = until.map_or(attempt, |until| until.min(attempt));
        self.deadline.set_ceiling(Some(ceiling));
    }

    /// Begins what the policy of a service asks for, where its rule does not say otherwise, and waits until
    /// the service may have one more request.
    pub(super) async fn govern<'r>(
        &mut self,
        service: &'r Service,
        policy: &'r InForce,
        applied: Option<&Applied>,
        head: &RequestHead,
    ) -> Result<Box<Governed<'r>>, Failure> {
        let of_rule = applied.and_then(|it| it.policy.as_deref()?.timeouts.request);
        let limit = policy.timeouts.request.filter(|limit| !limit.is_zero());
        if let (Some(limit), None) = (limit, of_rule) {
            let until = self.served.started + limit;
            self.deadline.set_ceiling(Some(until));
        }
        let session = policy.session.as_ref();
        let session = session.filter(|_| applied.and_then(Applied::session).is_none());
        let client = self.served.client;
        let introduction = policy.connection.proxy_protocol.and_then(|_| {
            let table = self.engine.table.load();
            let (socket, port) = (self.connection.socket, self.connection.forwarding.port());
            Introduction::of(policy, client, &table, socket, port)
        });
        Ok(Box::new(Governed {
            service,
            policy,
            asked: hash_key::asked(policy, Some(head), Some(client.ip())),
            introduction,
            session: session.map(|session| (session, session::token(session, head))),
            _turn: match &policy.requests {
                Some(limit) => Some(self.turn(&policy.state, limit).await?),
                None => None,
            },
            judge: None,
            retrying: None,
        }))
    }

    async fn turn(&self, state: &PolicyState, limit: &RequestLimit) -> Result<Turn, Failure> {
        let until = self.deadline.ceiling();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        queue::turn(state, limit, left).await
    }

    /// Waits before another attempt, longer from one to the next.
    pub(super) async fn back_off(&self, retry: &Retry, attempts: u8) -> Result<(), Failure> {
        let doublings = u32::from(attempts).saturating_sub(1).min(DOUBLINGS);
        self.pause(retry.backoff.saturating_mul(1 << doublings))
            .await
    }

    /// Waits, but no longer than the request may take.
    async fn pause(&self, pause: Duration) -> Result<(), Failure> {
        let over = Instant::now() + pause;
        match self.deadline.ceiling() {
            Some(until) if over >= until => {
                tokio::time::sleep_until(until).await;
                Err(Failure::UpstreamTimeout)
            }
            _ => {
                sleep(pause).await;
                Ok(())
            }
        }
    }
}

/// How long a request may take. The rule comes first. Zero is no limit.
fn request_limit(policy: Option<&Policy>, of_service: BackendTimeouts) -> Option<Duration> {
    let of_rule = policy.and_then(|policy| policy.timeouts.request);
    of_rule.or(of_service.request)
}

/// The same for one attempt.
fn attempt_limit_of(policy: Option<&Policy>, of_service: BackendTimeouts) -> Option<Duration> {
    let of_rule = policy.and_then(|policy| policy.timeouts.backend_request);
    of_rule.or(of_service.backend_request)
}

/// How long an attempt may take, if there is a limit.
pub(super) fn attempt_limit(
    policy: Option<&Policy>,
    of_service: BackendTimeouts,
) -> Option<Duration> {
    attempt_limit_of(policy, of_service).filter(|limit| !limit.is_zero())
}

impl Applied {
    /// Where the session of the request is, if it has one and its endpoint is there.
    pub(super) fn find_session<'s>(
        &self,
        split: &'s Split,
        table: &Table,
    ) -> Option<(&'s Destination, SocketAddr)> {
        session::find(self.token?, split, table)
    }
}
