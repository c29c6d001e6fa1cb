//! The policy of a rule: what it asks for beyond forwarding.
//!
//! Most rules have none, and then a request asks once and no more.

use std::{fmt, sync::Arc, time::Duration};

use crate::{filter_list::FilterList, filters::Filter};

/// What a rule asks for beyond forwarding. Whatever it leaves open is as the settings say.
///
/// `L`: a list of filters; before the objects are looked for that a rule names, what is to become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy<L = FilterList> {
    /// What happens to requests and responses, in this order.
    pub lists: Box<[L]>,
    /// How long a request may take.
    pub timeouts: Timeouts,
    /// Which attempts are followed by another. `None`: those that cannot have reached a backend.
    pub retry: Option<Retry>,
    /// How requests of one session stay with one endpoint.
    pub session: Option<Session>,
    /// The largest body of a request, in bytes; 0: any. `None`: as the settings say.
    pub body_bytes: Option<u64>,
}

/// Nothing.
impl<L> Default for Policy<L> {
    fn default() -> Self {
        Policy {
            lists: Box::default(),
            timeouts: Timeouts::default(),
            retry: None,
            session: None,
            body_bytes: None,
        }
    }
}

impl<L> Policy<L> {
    /// The same with these lists of filters.
    pub fn with_lists<M>(&self, lists: impl IntoIterator<Item = M>) -> Policy<M> {
        Policy {
            lists: lists.into_iter().collect(),
            timeouts: self.timeouts,
            retry: self.retry.clone(),
            session: self.session.clone(),
            body_bytes: self.body_bytes,
        }
    }

    /// Whether it asks for nothing, so that a rule need not have it.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
            && self.timeouts == Timeouts::default()
            && self.retry.is_none()
            && self.session.is_none()
            && self.body_bytes.is_none()
    }
}

impl<S> Policy<FilterList<S>> {
    /// Filters of the rule itself, and nothing else.
    pub fn of(filters: impl Into<Arc<[Filter<S>]>>) -> Self {
        Self {
            lists: [FilterList::of_rule(filters)].into(),
            ..Self::default()
        }
    }

    /// All filters, in their order.
    pub fn filters(&self) -> impl Iterator<Item = &Filter<S>> {
        self.lists.iter().flat_map(|list| list.filters.iter())
    }

    /// The same with other services in the place of those that filters refer to.
    pub fn with_services<T>(&self, mut service: impl FnMut(&S) -> T) -> Policy<FilterList<T>> {
        let lists = self.lists.iter();
        self.with_lists(lists.map(|list| list.with_services(&mut service)))
    }

    /// Whether a filter answers every request, so that none goes on.
    pub fn answers(&self) -> bool {
        self.filters().any(Filter::answers)
    }
}

/// How long a request may take. Zero is no limit (Gateway API, `HTTPRouteTimeouts`); `None` leaves
/// it to the settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the end of the request's header section to the end of the response.
    pub request: Option<Duration>,
    /// One attempt: from the first byte to the backend to the last of its response.
    pub backend_request: Option<Duration>,
}

/// Which attempts at a request are followed by another (Gateway API, `HTTPRouteRetry`): those whose
/// answer has one of these statuses, and those that break before their answer, of idempotent requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Statuses of responses that are not passed on while there may be another attempt.
    pub codes: Box<[u16]>,
    /// How many attempts there may be after the first. `None`: as many as the settings say.
    pub attempts: Option<u8>,
    /// The least time between the end of an attempt and the beginning of the next.
    pub backoff: Duration,
}

/// How requests of one session stay with one endpoint (Gateway API, `SessionPersistence`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What carries the token of the session.
    pub carrier: SessionCarrier,
    /// How long a session lasts from its first request on. `None`: as long as its endpoint.
    pub absolute_timeout: Option<Duration>,
}

/// What carries the token of a session, from the response to the first request to those that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionCarrier {
    /// A cookie.
    Cookie {
        /// Its name: a token of RFC 9110.
        name: Arc<str>,
        /// `Path` of the cookie: the requests for which clients send it.
        path: Arc<str>,
        /// Whether clients keep it until the session ends by its timeout, and not until they close.
        permanent: bool,
    },
    /// A header field of this name.
    Header(Arc<str>),
}

/// What it asks for, a line each; `S` names services.
impl<S: fmt::Display> Policy<FilterList<S>> {
    /// For a person, in the order in which it happens.
    pub fn lines(&self) -> Vec<String> {
        let filters = self.lists.iter().flat_map(|list| {
            let note = list.source.note();
            let filters = list.filters.iter();
            filters.map(move |filter| format!("{filter}{note}"))
        });
        let limit = |name: &str, limit: Option<Duration>| {
            let limit = limit?;
            Some(match limit.is_zero() {
                true => format!("{name}: no limit"),
                false => format!("{name}: {limit:?} at most"),
            })
        };
        let retry = self.retry.as_ref().map(Retry::to_string);
        let session = self.session.as_ref().map(Session::to_string);
        let body = self
            .body_bytes
            .map(|bytes| format!("body: {bytes} bytes at most"));
        filters
            .chain(limit("request", self.timeouts.request))
            .chain(limit("attempt", self.timeouts.backend_request))
            .chain(retry)
            .chain(session)
            .chain(body)
            .collect()
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("retry: ")?;
        match self.attempts {
            Some(attempts) => write!(f, "{attempts} further attempts")?,
            None => f.write_str("further attempts")?,
        }
        let codes: Vec<_> = self.codes.iter().map(u16::to_string).collect();
        match codes.is_empty() {
            true => f.write_str(" where one breaks"),
            false => write!(f, " where one breaks or is answered {}", codes.join(", ")),
        }
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.carrier {
            SessionCarrier::Cookie { name, .. } => write!(f, "session: by the cookie {name}"),
            SessionCarrier::Header(name) => write!(f, "session: by the header {name}"),
        }
    }
}
