//! Checks of endpoints, where the policy of a Service asks for them: one prober for each endpoint, on a thread
//! of its own, which there is once anything is to be checked.
//!
//! Connections of checks are their own: they count for no limit, and no request gets one. They are made and
//! judged as those of requests are, so that what passes can be spoken to.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use ferrix_http1::RequestHead;
use ferrix_table::{
    Table,
    health::{Check, CheckKind},
    services::{Endpoint, Protocol, Service},
    standing::Standing,
};
use http::{Method, Version};
use parking_lot::Mutex;
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{
    background::BackgroundThread,
    connector::Connector,
    failure::Failure,
    pool::Registry,
    proxy_protocol::Introduction,
    settings::{self, Settings},
    subrequest::{self, Subrequest},
    upstream::{Start, Upstream, Wanted},
};

mod grpc;

/// Makes the checks that tables ask for.
pub(crate) struct Checks {
    upstream: Arc<Upstream>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    /// The table that was looked at last.
    generation: u64,
    thread: Option<BackgroundThread>,
    /// By what is known of each endpoint.
    probers: HashMap<usize, Prober>,
}

/// Whoever checks an endpoint, until this is dropped.
struct Prober {
    check: Check,
    protocol: Protocol,
    standing: Arc<Standing>,
    task: AbortHandle,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
        self.standing.set_healthy(true);
    }
}

/// Why a check has failed.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("{0}")]
    Connect(#[from] crate::connector::ConnectError),
    #[error("{0}")]
    Exchange(#[from] Failure),
    #[error("it answers {0}")]
    Status(u16),
    #[error("{0}")]
    Call(String),
    #[error("it says that it does not serve")]
    NotServing,
    #[error("it takes longer than {0:?}")]
    Late(Duration),
}

impl Checks {
    pub(crate) fn new(settings: &Settings, connector: Connector) -> Self {
        let unlimited = settings::Upstream::default();
        let pools = Arc::new(Registry::new(&unlimited));
        Self {
            upstream: Arc::new(Upstream::new(settings, connector, &pools, 0, 1)),
            running: Mutex::default(),
        }
    }

    /// Checks from now on what a table asks for.
    ///
    /// # Errors
    /// What the system says to a further thread.
    pub(crate) fn follow(&self, table: &Table) -> io::Result<()> {
        let mut running = self.running.lock();
        self.upstream.sweep();
        if running.generation == table.generation {
            return Ok(());
        }
        let mut asked: HashMap<usize, (&Arc<Service>, &Check, &Endpoint)> = HashMap::new();
        for service in &*table.services {
            let policy = service.policy.as_ref();
            let Some(check) = policy.and_then(|policy| policy.health.check.as_ref()) else {
                continue;
            };
            let endpoints = service.endpoints.iter();
            let endpoints = endpoints.filter_map(|it| Some((place(it)?, (service, check, it))));
            asked.extend(endpoints);
        }
        running.probers.retain(|place, prober| {
            let asked = asked.get(place);
            asked.is_some_and(|(service, check, _)| {
                prober.check == **check && prober.protocol == service.protocol
            })
        });
        asked.retain(|place, _| !running.probers.contains_key(place));
        if !asked.is_empty() {
            let thread = match running.thread.take() {
                Some(thread) => thread,
                None => BackgroundThread::start("ferrix-checks")?,
            };
            for (place, (service, check, endpoint)) in asked {
                let Some(standing) = &endpoint.standing else {
                    continue;
                };
                let probing = probe(
                    Arc::clone(&self.upstream),
                    Arc::clone(service),
                    endpoint.clone(),
                    check.clone(),
                );
                let prober = Prober {
                    check: check.clone(),
                    protocol: service.protocol.clone(),
                    standing: Arc::clone(standing),
                    task: thread.handle().spawn(probing).abort_handle(),
                };
                running.probers.insert(place, prober);
            }
            running.thread = Some(thread);
        }
        running.generation = table.generation;
        Ok(())
    }
}

/// What tells endpoints apart: a prober holds what is known of its own, so that no other is there. Those of a
/// Service with a policy have it.
fn place(endpoint: &Endpoint) -> Option<usize> {
    Some(Arc::as_ptr(endpoint.standing.as_ref()?).addr())
}

/// Checks an endpoint for ever.
async fn probe(upstream: Arc<Upstream>, service: Arc<Service>, endpoint: Endpoint, check: Check) {
    let service = as_checked(service, &check.kind);
    let mut checked = endpoint.clone();
    // Its connections are those of the checks alone.
    checked.state = Arc::default();
    if let Some(port) = check.port {
        checked.address.set_port(port);
    }
    let Some(standing) = &endpoint.standing else {
        return;
    };
    let mut run = Run::default();
    // Those of one table do not come all at once.
    sleep(part(check.interval, &endpoint)).await;
    loop {
        let once = timeout(check.timeout, pass(&upstream, &service, &checked, &check));
        let outcome = once.await.unwrap_or(Err(CheckError::Late(check.timeout)));
        if let Some(healthy) = run.turn(outcome.is_ok(), &check) {
            standing.set_healthy(healthy);
            let (service, endpoint) = (&service.id, endpoint.address);
            match outcome {
                Ok(()) => {
                    tracing::info!(%service, %endpoint, "the endpoint passes its checks again")
                }
                Err(error) => {
                    tracing::warn!(%service, %endpoint, %error, "the endpoint does not pass its checks");
                }
            }
        }
        sleep(check.interval).await;
    }
}

/// The service as a check of this kind speaks to it.
fn as_checked(service: Arc<Service>, kind: &CheckKind) -> Arc<Service> {
    let protocol = match (kind, &service.protocol) {
        (CheckKind::Tcp, _) => Protocol::Tcp,
        (CheckKind::Http { .. }, Protocol::Tcp | Protocol::Udp) => Protocol::Http1,
        // A call needs HTTP/2.
        (CheckKind::Grpc { .. }, Protocol::Http1 | Protocol::Tcp | Protocol::Udp) => {
            Protocol::Http2
        }
        _ => return service,
    };
    Arc::new(Service {
        protocol,
        ..Service::clone(&service)
    })
}

/// A part of an interval, by chance, but the same for the same endpoint: replicas check at the same time
/// only by chance, as they have not begun together.
fn part(interval: Duration, endpoint: &Endpoint) -> Duration {
    let number = ferrix_table::balancing::key(endpoint.address.to_string().as_bytes());
    interval.mul_f64((number % 1024) as f64 / 1024.0)
}

/// Checks one after another.
#[derive(Default)]
struct Run {
    unhealthy: bool,
    /// Those that say otherwise.
    other: u16,
}

impl Run {
    /// Takes note of one more. `Some`: the endpoint is healthy from now on, or is not.
    fn turn(&mut self, passed: bool, check: &Check) -> Option<bool> {
        if passed != self.unhealthy {
            self.other = 0;
            return None;
        }
        self.other += 1;
        let enough = match passed {
            true => check.successes,
            false => check.failures,
        };
        if self.other < enough {
            return None;
        }
        (self.other, self.unhealthy) = (0, !passed);
        Some(passed)
    }
}

/// One check.
async fn pass(
    upstream: &Arc<Upstream>,
    service: &Arc<Service>,
    endpoint: &Endpoint,
    check: &Check,
) -> Result<(), CheckError> {
    let kind = &check.kind;
    let policy = service.policy.as_ref();
    let wanted = Wanted {
        introduction: policy.and_then(|policy| Introduction::of_nobody(policy)),
        ..Wanted::default()
    };
    let starting = upstream.start(service, endpoint, check.timeout, None, &wanted);
    let connection = match starting.await? {
        Start::Connection(connection) => connection,
        Start::Opening(opening) => opening.open().await?,
    };
    let host = |given: &Option<Box<str>>| match given {
        Some(host) => host.to_string(),
        None => endpoint.address.to_string(),
    };
    let (head, body) = match kind {
        CheckKind::Tcp => return Ok(()),
        CheckKind::Http { path, host: given } => {
            let mut head = RequestHead::new(Method::GET, path.as_bytes(), Version::HTTP_11);
            head.fields.append("Host", host(given).as_bytes());
            (head, Bytes::new())
        }
        CheckKind::Grpc { service } => grpc::call(service, &host(&None), check.timeout.as_millis()),
    };
    let mut head = head;
    head.fields.append("User-Agent", b"ferrix-check");
    let request = Subrequest {
        service,
        index: 0,
        head: &head,
        body,
        wanted: grpc::LONGEST,
        whole: false,
    };
    let attempt = subrequest::attempt(&request, connection).await;
    let (reply, _) = attempt.map_err(Failure::from)?;
    match kind {
        CheckKind::Grpc { .. } => grpc::judge(&reply),
        _ => match reply.head.status.as_u16() {
            200..=399 => Ok(()),
            status => Err(CheckError::Status(status)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_several_checks_to_be_out_and_several_to_be_back() {
        let check = Check {
            kind: CheckKind::Tcp,
            port: None,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failures: 3,
            successes: 2,
        };
        let mut run = Run::default();
        let checks = [
            (true, None),
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(false)),
            (false, None),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(true)),
            (true, None),
        ];
        for (place, (passed, expected)) in checks.into_iter().enumerate() {
            assert_eq!(run.turn(passed, &check), expected, "{place}");
        }
    }

    #[test]
    fn checks_of_one_table_are_spread() {
        let part = |port: u16| {
            let endpoint = Endpoint::new(([10, 0, 0, 1], port).into());
            super::part(Duration::from_secs(10), &endpoint).as_secs()
        };
        let parts: std::collections::BTreeSet<_> = (1..100).map(part).collect();
        assert!(
            parts.len() > 8 && parts.iter().all(|it| *it < 10),
            "{parts:?}"
        );
    }
}
