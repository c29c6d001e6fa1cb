//! A connection that is being made, for a request or to find out whether an endpoint can be connected
//! to again. What comes of it is the endpoint's to know, whoever still waits for it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ferrix_table::{
    services::{Endpoint, Service},
    state::Probe,
};
use tokio::time::Instant;

use crate::{
    clock,
    connector::ConnectError,
    pool::Connection,
    proxy_protocol::Introduction,
    upstream::{Start, Upstream, Wanted},
};

/// An attempt at a connection to an endpoint.
pub(crate) struct Connecting {
    pub(crate) endpoint: Endpoint,
    service: Arc<Service>,
    upstream: Arc<Upstream>,
    step: Step,
    /// Whether what comes of it is true of all requests. An upgrade offers HTTP/1 alone, which an
    /// endpoint may refuse in its TLS handshake: no client shall make it fail for others by that.
    of_all: bool,
    /// Where this decides whether the endpoint fails.
    probe: Option<Probe>,
}

type Pending<T> = Pin<Box<dyn Future<Output = Result<T, ConnectError>> + Send>>;

enum Step {
    /// It waits for its place.
    Starting(Pending<Start>),
    /// The endpoint is being spoken to.
    Opening(Pending<Connection>),
}

/// Makes a connection to a failing endpoint if that is due, beside a request that goes to another, and
/// if there is a place for it: it may be as long in coming as connecting may take.
pub(crate) fn probe(upstream: &Arc<Upstream>, service: &Arc<Service>, endpoint: &Endpoint) {
    let Some(probe) = endpoint.state.probe(clock::milliseconds()) else {
        return;
    };
    let within = upstream.connect_timeout(service);
    let policy = service.policy.as_ref();
    let wanted = Wanted {
        introduction: policy.and_then(|policy| Introduction::of_nobody(policy)),
        ..Wanted::default()
    };
    if let Some(opening) = upstream.try_start(service, endpoint, within, wanted) {
        let step = Step::Opening(Box::pin(opening.open()));
        let connecting = Connecting {
            probe: Some(probe),
            ..Connecting::new(upstream, service, endpoint, step)
        };
        connecting.go_on();
    }
}

impl Connecting {
    /// Begins to make a connection for a request: see [`Upstream::start`].
    pub(crate) fn start(
        upstream: &Arc<Upstream>,
        service: &Arc<Service>,
        endpoint: &Endpoint,
        broke: Option<Instant>,
        wanted: &Wanted,
    ) -> Self {
        let of_all = !(wanted.upgrade && service.protocol.is_tls());
        let starting = {
            let (upstream, service) = (Arc::clone(upstream), Arc::clone(service));
            let (endpoint, wanted) = (endpoint.clone(), wanted.clone());
            async move {
                let within = upstream.connect_timeout(&service);
                let starting = upstream.start(&service, &endpoint, within, broke, &wanted);
                starting.await
            }
        };
        let step = Step::Starting(Box::pin(starting));
        Self {
            of_all,
            ..Self::new(upstream, service, endpoint, step)
        }
    }

    fn new(
        upstream: &Arc<Upstream>,
        service: &Arc<Service>,
        endpoint: &Endpoint,
        step: Step,
    ) -> Self {
        Self {
            endpoint: endpoint.clone(),
            service: Arc::clone(service),
            upstream: Arc::clone(upstream),
            step,
            of_all: true,
            probe: None,
        }
    }

    /// It takes long: other requests do not follow until it is known what comes of it. To wait for a
    /// place is not the endpoint's fault.
    pub(crate) fn suspect(&mut self) {
        if matches!(self.step, Step::Opening(_)) && self.of_all && self.probe.is_none() {
            self.probe = self.endpoint.state.suspect();
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, ConnectError>> {
        loop {
            match &mut self.step {
                Step::Starting(starting) => match ready!(starting.as_mut().poll(cx)) {
                    Ok(Start::Opening(opening)) => {
                        self.step = Step::Opening(Box::pin(opening.open()));
                    }
                    Ok(Start::Connection(connection)) => return Poll::Ready(Ok(connection)),
                    Err(error) => {
                        self.count(&error);
                        return Poll::Ready(Err(error));
                    }
                },
                Step::Opening(opening) => {
                    let opened = ready!(opening.as_mut().poll(cx));
                    self.judge(&opened);
                    return Poll::Ready(opened);
                }
            }
        }
    }

    /// Lets it go on without the request, if the endpoint is being spoken to: the connection goes to
    /// the pool.
    pub(crate) fn go_on(self) {
        if matches!(self.step, Step::Opening(_)) {
            let pool = Arc::clone(self.upstream.pool(&self.endpoint));
            pool.run_late(self.finish());
        }
    }

    async fn finish(mut self) {
        let opened = std::future::poll_fn(|cx| self.poll(cx)).await;
        // One over HTTP/2 is in the pool already.
        if let Ok(Connection::Http1 { wire, .. }) = opened {
            let protocol = &self.service.protocol;
            self.upstream.release(&self.endpoint, protocol, wire);
        }
    }

    /// The endpoint knows what came of it, and the log has when it begins to fail and when it ends.
    fn judge(&mut self, opened: &Result<Connection, ConnectError>) {
        let probe = self.probe.take();
        let backoff = &self.endpoint.state.backoff;
        let (service, endpoint) = (&self.service.id, self.endpoint.address);
        match opened {
            Ok(_) => {
                let failures = match probe {
                    Some(probe) => probe.succeed(),
                    None => backoff.succeed(),
                };
                if failures > 0 {
                    if let Some(standing) = &self.endpoint.standing {
                        standing.begin_anew();
                    }
                    tracing::info!(%service, %endpoint, "the endpoint can be connected to again");
                }
            }
            Err(error) => {
                self.count(error);
                if !self.of_all || !error.is_of_endpoint() {
                    return;
                }
                let now = clock::milliseconds();
                let paused = match probe {
                    Some(probe) => probe.fail(now),
                    None => backoff.fail(now),
                };
                if paused && backoff.failures() == 1 {
                    tracing::warn!(%service, %endpoint, %error, "the endpoint cannot be connected to");
                }
            }
        }
    }

    fn count(&self, error: &ConnectError) {
        if !matches!(error, ConnectError::Gone | ConnectError::Busy) {
            self.service.state.connect_failures.add(1);
        }
    }
}
