//! Limits and timeouts, as they are written.

use std::time::Duration;

use ferrix_api::backendpolicy;
use ferrix_table::backend_policy::{BackendTimeouts, RequestLimit, RetryBudget};

use crate::{
    filters::{Faults, policy},
    report::Reason,
};

/// How long a request waits for its turn, where nothing else is said.
const WAIT: Duration = Duration::from_secs(1);

/// So many requests may be tried again at once, however few there are, where nothing else is said.
const LEAST_RETRIES: u32 = 3;

/// What a limit comes to.
#[derive(Default)]
pub(super) struct Limits {
    pub(super) requests: Option<RequestLimit>,
    pub(super) retries: Option<RetryBudget>,
    pub(super) connections: Option<u32>,
}

pub(super) fn compile(written: &backendpolicy::Limits, faults: &mut Faults) -> Limits {
    // A field that is new belongs in here.
    let backendpolicy::Limits {
        requests,
        pending,
        wait,
        retries,
        connections,
    } = written;
    const FIELD: &str = "spec.limits";
    let counts = [("requests", *requests), ("connections", *connections)];
    for (name, _) in counts.into_iter().filter(|(_, count)| *count == Some(0)) {
        let message = "expected at least 1";
        faults.add(Reason::InvalidSpec, format!("{FIELD}.{name}"), message);
    }
    let alone = [("pending", pending.is_some()), ("wait", wait.is_some())];
    for (name, _) in (alone.into_iter()).filter(|(_, given)| *given && requests.is_none()) {
        let message = "needs `requests`: nobody waits where there is no limit";
        faults.add(Reason::InvalidSpec, format!("{FIELD}.{name}"), message);
    }
    let wait = wait.as_deref();
    let wait = wait.and_then(|text| policy::duration(text, &format!("{FIELD}.wait"), faults));
    if let Some(retries) = retries
        && retries.percent > 100
    {
        let message = format!("{} is no share; expected 100 at most", retries.percent);
        let field = format!("{FIELD}.retries.percent");
        faults.add(Reason::InvalidSpec, field, message);
    }
    Limits {
        requests: requests.map(|requests| RequestLimit {
            requests,
            pending: pending.unwrap_or_default(),
            wait: wait.unwrap_or(WAIT),
        }),
        retries: retries.as_ref().map(|it| RetryBudget {
            percent: it.percent,
            least: it.least.unwrap_or(LEAST_RETRIES),
        }),
        connections: *connections,
    }
}

pub(super) fn hedging(written: &backendpolicy::Hedging, faults: &mut Faults) -> Option<Duration> {
    const FIELD: &str = "spec.hedging.delay";
    let delay = policy::duration(&written.delay, FIELD, faults)?;
    if delay.is_zero() {
        let message = "expected more than nothing: each request would be sent twice";
        faults.add(Reason::InvalidSpec, FIELD, message);
    }
    Some(delay)
}

pub(super) fn timeouts(written: &backendpolicy::Timeouts, faults: &mut Faults) -> BackendTimeouts {
    // A field that is new belongs in here.
    let backendpolicy::Timeouts {
        connect,
        response,
        idle,
        request,
        backend_request,
    } = written;
    const FIELD: &str = "spec.timeouts";
    let mut read = |text: &Option<String>, name: &str| {
        policy::duration(text.as_deref()?, &format!("{FIELD}.{name}"), faults)
    };
    let timeouts = BackendTimeouts {
        connect: read(connect, "connect"),
        response: read(response, "response"),
        idle: read(idle, "idle"),
        request: read(request, "request"),
        backend_request: read(backend_request, "backendRequest"),
    };
    if timeouts.connect.is_some_and(|limit| limit.is_zero()) {
        let message = "expected more than nothing";
        faults.add(Reason::InvalidSpec, format!("{FIELD}.connect"), message);
    }
    timeouts
}
