//! The way of one request to a connection: its service's endpoints, one after another, until one has
//! it.
//!
//! An endpoint that takes long is not waited for alone: the next is tried beside it, as clients do with
//! the addresses of a host (RFC 8305). The connection that is there first carries the request, and what
//! still comes goes to its pool.

use std::{
    borrow::Cow, future::poll_fn, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::Duration,
};

use ferrix_table::{
    balancing::Asked,
    ids::ServiceIndex,
    services::{Endpoint, Service},
};
use smallvec::SmallVec;
use tokio::time::{Instant, sleep};

use crate::{
    Engine,
    connecting::{self, Connecting},
    connector::ConnectError,
    failure::Failure,
    pool::Connection,
    proxy_protocol::Introduction,
    upstream::Wanted,
};

/// How long an endpoint is waited for alone: the "Connection Attempt Delay" that RFC 8305, section 8,
/// recommends.
const ALONE: Duration = Duration::from_millis(250);

/// What a request has tried, and what it can still try.
pub(crate) struct Race<'e> {
    engine: &'e Engine,
    service: Cow<'e, Arc<Service>>,
    /// Where tables have the service.
    index: ServiceIndex,
    wanted: Wanted,
    /// What the policy of the service chooses by, where it has one.
    asked: Option<Asked>,
    /// There may be so many attempts.
    most: usize,
    /// Who is to have the request if it can.
    preferred: Option<&'e Endpoint>,
    /// Whose turn it is, where no attempt has been made yet.
    picked: Option<&'e Endpoint>,
    tried: SmallVec<[SocketAddr; 4]>,
    /// Attempts that count for `upstream.attempts`.
    attempts: u8,
    /// Of the last attempt, or of the one that has succeeded.
    endpoint: Option<SocketAddr>,
}

impl<'e> Race<'e> {
    /// For a service, which tables have at `index`. An upgrade needs HTTP/1. There are `most` attempts.
    pub(crate) fn new(
        engine: &'e Engine,
        service: &'e Arc<Service>,
        index: ServiceIndex,
        upgrade: bool,
        most: usize,
    ) -> Self {
        Self {
            engine,
            service: Cow::Borrowed(service),
            index,
            wanted: Wanted {
                upgrade,
                introduction: None,
            },
            asked: None,
            most,
            preferred: None,
            picked: None,
            tried: SmallVec::new(),
            attempts: 0,
            endpoint: None,
        }
    }

    /// Lets the policy of the service choose.
    pub(crate) fn ask(&mut self, asked: Asked) {
        self.asked = Some(asked);
    }

    /// Has endpoints told the client. Each request has a connection of its own then.
    pub(crate) fn introduce(&mut self, introduction: Option<Arc<Introduction>>) {
        self.wanted.introduction = introduction;
    }

    /// Lets this endpoint of the service have the request, whose turn ever it is, as long as it can be
    /// connected to and is not left out.
    pub(crate) fn prefer(&mut self, endpoint: SocketAddr) {
        if let Cow::Borrowed(service) = self.service {
            let mut endpoints = service.endpoints.iter();
            let found = endpoints.find(|it| it.address == endpoint);
            self.preferred = found.filter(|it| !service.leaves_out(it));
        }
    }

    /// Attempts so far.
    pub(crate) fn attempts(&self) -> u8 {
        self.attempts
    }

    /// Where the last attempt went.
    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoint
    }

    /// Whether there may be another attempt.
    pub(crate) fn may_go_on(&self) -> bool {
        usize::from(self.attempts) < self.most
    }

    /// A connection that is there already, to the endpoint whose turn it is. `None`: [`Race::run`].
    pub(crate) fn pooled(&mut self) -> Option<(Cow<'e, Endpoint>, Connection)> {
        let Cow::Borrowed(service) = self.service else {
            return None;
        };
        let preferred = self.preferred.take();
        let endpoint = preferred.or_else(|| self.pick(service, &self.tried))?;
        self.begin(endpoint.address);
        let upstream = &self.engine.upstream;
        match upstream.pooled(endpoint, &service.protocol, &self.wanted) {
            Some(connection) => Some((Cow::Borrowed(endpoint), connection)),
            None => {
                self.picked = Some(endpoint);
                None
            }
        }
    }

    /// A connection to any of the endpoints, most likely a new one. Where an attempt `broke`, one that
    /// was made since then.
    ///
    /// # Errors
    /// [`Failure::NoEndpoint`], [`Failure::NoConnection`], [`Failure::Connect`].
    pub(crate) async fn run(
        &mut self,
        broke: Option<Instant>,
    ) -> Result<(Cow<'e, Endpoint>, Connection), Failure> {
        let mut field = Field::default();
        let mut failure = None;
        let mut next = None;
        match self.picked.take() {
            Some(picked) => field.start(self, picked, broke),
            None => next = self.next(broke.is_some()),
        }
        let mut alone = pin!(sleep(ALONE));
        loop {
            if let Some(endpoint) = next.take() {
                // What idled beside a connection that broke may have ended with it.
                if broke.is_none()
                    && let Some(connection) = self.pooled_at(&endpoint)
                {
                    return Ok((Cow::Owned(endpoint), connection));
                }
                field.start(self, &endpoint, broke);
                alone.as_mut().reset(Instant::now() + ALONE);
            }
            if field.0.is_empty() {
                return Err(self.failure(failure));
            }
            tokio::select! {
                biased;
                (endpoint, ended) = field.ended() => match ended {
                    Ok(connection) => {
                        self.endpoint = Some(endpoint.address);
                        return Ok((Cow::Owned(endpoint), connection));
                    }
                    Err(ConnectError::Gone) => {
                        self.renew(endpoint.address);
                        next = self.next(false);
                    }
                    Err(ConnectError::Busy) => failure = Some(Failure::NoConnection),
                    Err(error) => {
                        let reason = format!("{}: {error}", endpoint.address);
                        failure = Some(Failure::Connect(reason));
                        next = self.next(false);
                    }
                },
                () = &mut alone, if self.has_next() => {
                    field.suspect();
                    next = self.next(false);
                }
            }
        }
    }

    /// The endpoint of the next attempt. `again`: one that was tried, if there is no other.
    fn next(&mut self, again: bool) -> Option<Endpoint> {
        if !self.may_go_on() {
            return None;
        }
        let untried = self.pick(&self.service, &self.tried);
        let endpoint = match untried {
            None if again => self.pick(&self.service, &[]),
            untried => untried,
        };
        let endpoint = endpoint?.clone();
        self.begin(endpoint.address);
        Some(endpoint)
    }

    /// Whether there may be another attempt, at an endpoint that was not tried.
    pub(crate) fn has_next(&self) -> bool {
        self.may_go_on() && self.service.has_other(&self.tried)
    }

    fn pick<'s>(&self, service: &'s Arc<Service>, tried: &[SocketAddr]) -> Option<&'s Endpoint> {
        let upstream = &self.engine.upstream;
        service.choose(self.asked, tried, |failing| {
            connecting::probe(upstream, service, failing)
        })
    }

    fn pooled_at(&self, endpoint: &Endpoint) -> Option<Connection> {
        let upstream = &self.engine.upstream;
        upstream.pooled(endpoint, &self.service.protocol, &self.wanted)
    }

    fn begin(&mut self, endpoint: SocketAddr) {
        self.attempts += 1;
        if self.attempts > 1 {
            self.service.state.retries.add(1);
        }
        self.tried.push(endpoint);
        self.endpoint = Some(endpoint);
    }

    /// An endpoint is `gone`, and the attempt at it counts for nothing: takes the endpoints of the
    /// current table, where the service may have others. One of that address there, now or later, is
    /// another endpoint.
    fn renew(&mut self, gone: SocketAddr) {
        self.attempts -= 1;
        let table = self.engine.table.load();
        let (id, protocol) = (&self.service.id, &self.service.protocol);
        let current = table.service(self.index);
        let current = current.filter(|it| it.id == *id && it.protocol == *protocol);
        let renewed = match current {
            Some(current) => Arc::clone(current),
            None => Arc::new(Service {
                endpoints: Box::default(),
                ..Service::clone(&self.service)
            }),
        };
        let mut endpoints = renewed.endpoints.iter();
        if !endpoints.any(|it| it.address == gone && it.state.is_retired()) {
            self.tried.retain(|tried| *tried != gone);
        }
        self.service = Cow::Owned(renewed);
    }

    /// Why there is no connection, when all attempts have ended.
    fn failure(&self, last: Option<Failure>) -> Failure {
        match self.service.endpoints.is_empty() {
            true => Failure::NoEndpoint,
            false => last.unwrap_or(Failure::NoEndpoint),
        }
    }
}

/// The attempts that run. When the race is over, those that have come far enough go on alone.
#[derive(Default)]
struct Field(SmallVec<[Connecting; 2]>);

impl Field {
    fn start(&mut self, race: &Race<'_>, endpoint: &Endpoint, broke: Option<Instant>) {
        let upstream = &race.engine.upstream;
        let connecting = Connecting::start(upstream, &race.service, endpoint, broke, &race.wanted);
        self.0.push(connecting);
    }

    /// The first attempt that ends, and what came of it.
    async fn ended(&mut self) -> (Endpoint, Result<Connection, ConnectError>) {
        poll_fn(|cx| {
            for place in 0..self.0.len() {
                if let Poll::Ready(ended) = self.0[place].poll(cx) {
                    return Poll::Ready((self.0.remove(place).endpoint, ended));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The attempt that began last takes long.
    fn suspect(&mut self) {
        if let Some(connecting) = self.0.last_mut() {
            connecting.suspect();
        }
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Connecting::go_on);
    }
}
