//! What an endpoint has answered, for those who choose among endpoints by that.

use std::{sync::Arc, time::Duration};

use ferrix_table::{
    backend_policy::InForce,
    balancing::{self, Algorithm},
    health::Judged,
    rules::Route,
    services::{Endpoint, Service},
};
use tokio::time::Instant;

use crate::{clock, failure::Failure, retry::Broken};

/// One attempt at a request, until its answer begins.
pub(crate) struct Judge<'r> {
    service: &'r Service,
    policy: &'r InForce,
    endpoint: Endpoint,
    route: u64,
    begun: Instant,
}

impl<'r> Judge<'r> {
    /// `None`: nobody chooses by what comes of it.
    pub(crate) fn new(
        service: &'r Service,
        policy: &'r InForce,
        endpoint: &Endpoint,
        route: Option<&Arc<Route>>,
    ) -> Option<Self> {
        let by_latency = policy.balancing.algorithm == Algorithm::Latency;
        if !by_latency && policy.health.ejection.is_none() {
            return None;
        }
        let route = route.map_or(0, |route| {
            let name = |name: &str| balancing::key(name.as_bytes());
            name(&route.key.namespace).rotate_left(1) ^ name(&route.key.name)
        });
        Some(Self {
            service,
            policy,
            endpoint: endpoint.clone(),
            route,
            begun: clock::read(),
        })
    }

    /// The header section of an answer is there.
    pub(crate) fn answered(self, status: u16) {
        let took = clock::read().saturating_duration_since(self.begun);
        self.measure(took);
        self.judge(status);
    }

    /// There is no answer. `reused`: an endpoint may close at any time a connection that had idled.
    pub(crate) fn broke(self, broken: &Broken, reused: bool) {
        let status = match broken {
            Broken::Unanswered(_) if reused => return,
            Broken::Unanswered(_) | Broken::Answer(_) | Broken::Exchange(Failure::Upstream(_)) => {
                502
            }
            Broken::Late | Broken::Exchange(Failure::UpstreamTimeout) => 504,
            Broken::Untouched(_) | Broken::Refused(_) | Broken::Exchange(_) => return,
        };
        if status == 504 {
            self.measure(self.begun.elapsed());
        }
        self.judge(status);
    }

    fn measure(&self, took: Duration) {
        if let Some(standing) = &self.endpoint.standing
            && self.policy.balancing.algorithm == Algorithm::Latency
        {
            standing.latency.measured(took, clock::milliseconds());
        }
    }

    fn judge(&self, status: u16) {
        let (service, endpoint) = (&self.service.id, self.endpoint.address);
        let now = clock::milliseconds();
        match self.service.judge(&self.endpoint, status, self.route, now) {
            Judged::AsBefore => {}
            Judged::Ejected => {
                self.policy.state.ejections.add(1);
                tracing::warn!(%service, %endpoint, status, "the endpoint answers badly and is left out");
            }
            Judged::Back => {
                tracing::info!(%service, %endpoint, "the endpoint answers well again");
            }
        }
    }
}
