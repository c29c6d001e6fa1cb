//! What is asked of the requests to a Service: the BackendPolicy that it has.
//!
//! Most Services have none, and then a request asks once and no more.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use crate::{
    balancing::{Balancing, Near},
    connection::ConnectionOptions,
    health::Health,
    object::ObjectName,
    policy::Session,
    state::PolicyState,
};

/// The policy of a service: what it asks for, and what has come of it so far.
#[derive(Clone, Debug)]
pub struct InForce {
    asks: Arc<BackendPolicy>,
    /// The endpoints of the replica's own zone, where that matters and is known.
    pub near: Option<Near>,
    /// What is counted, kept across tables as the state of the service is.
    pub state: Arc<PolicyState>,
}

impl InForce {
    /// Nothing has come of it yet.
    pub(crate) fn new(asks: Arc<BackendPolicy>) -> Self {
        Self {
            asks,
            near: None,
            state: Arc::default(),
        }
    }
}

impl Deref for InForce {
    type Target = BackendPolicy;

    fn deref(&self) -> &BackendPolicy {
        &self.asks
    }
}

impl PartialEq for InForce {
    /// Whether both ask for the same, of the same endpoints.
    fn eq(&self, other: &Self) -> bool {
        self.asks == other.asks && self.near == other.near
    }
}

/// What a Service asks for beyond its endpoints. Whatever it leaves open is as without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendPolicy {
    /// Whose it is.
    pub name: ObjectName,
    /// Which endpoint has a request.
    pub balancing: Balancing,
    /// Which endpoints are left out.
    pub health: Health,
    /// How requests of one session stay with one endpoint.
    pub session: Option<Session>,
    /// How many requests are under way at once.
    pub requests: Option<RequestLimit>,
    /// How many may be sent once more.
    pub retries: Option<RetryBudget>,
    /// How many connections to each endpoint there may be. At least 1.
    pub connections: Option<u32>,
    /// How long things may take.
    pub timeouts: BackendTimeouts,
    /// How long an endpoint may take to begin its answer before a second one is asked. Never zero.
    pub hedging: Option<Duration>,
    /// How connections are made and kept.
    pub connection: ConnectionOptions,
}

/// How many requests of a Service are under way at once, on each replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimit {
    /// So many. At least 1.
    pub requests: u32,
    /// So many more wait for their turn.
    pub pending: u32,
    /// For so long.
    pub wait: Duration,
}

/// How many requests may be sent once more at once, on each replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// So many percent of those that are under way.
    pub percent: u8,
    /// So many in any case.
    pub least: u32,
}

/// How long things may take. Zero is no limit; `None` leaves it to the settings. What a rule says comes
/// first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendTimeouts {
    /// To have a connection. Never zero.
    pub connect: Option<Duration>,
    /// An endpoint may be silent for so long.
    pub response: Option<Duration>,
    /// The same once its answer has begun, and of connections that carry bytes.
    pub idle: Option<Duration>,
    /// From the header section of a request to the end of its response.
    pub request: Option<Duration>,
    /// One attempt.
    pub backend_request: Option<Duration>,
}

impl RetryBudget {
    /// Whether one more may be, of so many that are under way, while so many are sent once more already.
    pub fn allows(self, under_way: u64, retried: u64) -> bool {
        let share = under_way.saturating_mul(self.percent.into()) / 100;
        retried < share.max(self.least.into())
    }
}

impl BackendPolicy {
    /// Asks for nothing.
    pub fn new(name: ObjectName) -> Self {
        Self {
            name,
            balancing: Balancing::default(),
            health: Health::default(),
            session: None,
            requests: None,
            retries: None,
            connections: None,
            timeouts: BackendTimeouts::default(),
            hedging: None,
            connection: ConnectionOptions::default(),
        }
    }

    /// What it asks for, a line each, for a person.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.balancing.to_string()];
        lines.extend(self.health.lines());
        lines.extend(self.session.as_ref().map(Session::to_string));
        lines.extend(self.requests.map(|it| it.to_string()));
        lines.extend(self.retries.map(|it| it.to_string()));
        let connections = self.connections;
        lines.extend(connections.map(|most| format!("connections: {most} to each endpoint")));
        lines.extend(self.timeouts.lines());
        lines.extend((self.hedging).map(|delay| format!("hedging: a second one after {delay:?}")));
        lines.extend(self.connection.lines());
        lines
    }
}

impl BackendTimeouts {
    fn lines(self) -> impl Iterator<Item = String> {
        let limits = [
            ("connect", self.connect),
            ("silence", self.response),
            ("silence within", self.idle),
            ("request", self.request),
            ("attempt", self.backend_request),
        ];
        let limits = limits.into_iter();
        limits.filter_map(|(name, limit)| {
            let limit = limit?;
            Some(match limit.is_zero() {
                true => format!("{name}: no limit"),
                false => format!("{name}: {limit:?} at most"),
            })
        })
    }
}

impl fmt::Display for RequestLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requests,
            pending,
            wait,
        } = self;
        write!(f, "requests: {requests} at once")?;
        match pending {
            0 => Ok(()),
            pending => write!(f, ", {pending} more wait for {wait:?}"),
        }
    }
}

impl fmt::Display for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { percent, least } = self;
        write!(
            f,
            "retries: {percent} % of the requests, or {least}, at once"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_the_requests() {
        let budget = RetryBudget {
            percent: 20,
            least: 2,
        };
        let cases = [
            (0, 0, true),
            (1, 1, true),
            (1, 2, false),
            (10, 2, false),
            (15, 2, true),
            (100, 19, true),
            (100, 20, false),
            (u64::MAX, 20, true),
        ];
        for (under_way, retried, expected) in cases {
            assert_eq!(
                budget.allows(under_way, retried),
                expected,
                "{under_way} {retried}"
            );
        }
    }

    #[test]
    fn as_people_read_it() {
        let policy = BackendPolicy {
            requests: Some(RequestLimit {
                requests: 100,
                pending: 20,
                wait: Duration::from_millis(500),
            }),
            retries: Some(RetryBudget {
                percent: 20,
                least: 3,
            }),
            timeouts: BackendTimeouts {
                connect: Some(Duration::from_millis(300)),
                request: Some(Duration::ZERO),
                ..BackendTimeouts::default()
            },
            ..BackendPolicy::new(ObjectName::new("default", "p"))
        };
        assert_eq!(
            policy.lines(),
            [
                "balancing: each in turn",
                "requests: 100 at once, 20 more wait for 500ms",
                "retries: 20 % of the requests, or 3, at once",
                "connect: 300ms at most",
                "request: no limit",
            ]
        );
    }
}
