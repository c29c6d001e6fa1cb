//! Which endpoints of a Service are left out for a while, where its policy asks for that: those that answer
//! badly, and those that do not pass checks.
//!
//! An endpoint is judged by all that it answers, whatever route a request came by:
//!
//! ```text
//!            so many bad answers one after another      the time is over, and one asks
//!  in use ───────────────────────────────────► ejected ─────────────────────► on trial
//!    ▲                                           ▲                              │  │
//!    │                                           └── bad again: twice as long ──┘  │
//!    └──────────────────────────────────── it answers well ────────────────────────┘
//! ```
//!
//! One route alone ejects nobody whom others need: where an endpoint has lately answered another route well,
//! that has to fail as well. What is remembered of routes is a bit for each of 64 kinds of them.

use std::{
    fmt,
    ops::RangeInclusive,
    sync::atomic::Ordering::{AcqRel, Relaxed, Release},
    time::Duration,
};

use crate::{
    backend_policy::InForce,
    balancing::mix,
    services::{Endpoint, Service},
    state::PolicyState,
    sync::AtomicU64,
};

/// What was answered well this long ago, or twice as long, counts still: milliseconds.
const LATELY: u64 = 10_000;

/// The longest time, as a multiple of the first: a bad endpoint costs a request that often.
const LONGEST: u32 = 10;

/// Which endpoints are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Those that answer badly.
    pub ejection: Option<Ejection>,
    /// Those that do not pass checks.
    pub check: Option<Check>,
    /// Where fewer than so many percent of the endpoints are left, nobody is left out: "panic mode".
    pub panic_threshold: u8,
}

/// Who answers badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Bad statuses. 502 and 504 stand for no answer, and for none in time.
    pub statuses: Box<[RangeInclusive<u16>]>,
    /// So many one after another. At least 1.
    pub failures: u16,
    /// How long it is left out at first.
    pub time: Duration,
    /// The share of the endpoints that may be left out at once.
    pub max_percent: u8,
}

/// A check of each endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is.
    pub kind: CheckKind,
    /// The port that is checked. `None`: the one that requests go to.
    pub port: Option<u16>,
    /// Between one check and the next.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// So many have to fail one after another.
    pub failures: u16,
    /// So many have to pass one after another.
    pub successes: u16,
}

/// What a check is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// A request, which is to be answered with a status from 200 to 399.
    Http {
        /// Its target.
        path: Box<str>,
        /// Its host. `None`: the address of the endpoint.
        host: Option<Box<str>>,
    },
    /// A call of the gRPC Health Checking Protocol.
    Grpc {
        /// What is asked about; empty: the server.
        service: Box<str>,
    },
    /// A connection.
    Tcp,
}

/// How an endpoint is, the worse the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointHealth {
    /// It has its share of the requests.
    Healthy,
    /// It comes to its share by and by.
    Starting,
    /// It cannot be connected to.
    Failing,
    /// It is left out for how it has answered.
    Ejected,
    /// It does not pass its checks.
    Unhealthy,
}

/// What came of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Nothing.
    AsBefore,
    /// The endpoint is left out from now on.
    Ejected,
    /// It is in use again.
    Back,
}

/// How an endpoint has answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Bad answers one after another.
    failures: AtomicU64,
    /// The routes that these were for.
    failing: AtomicU64,
    /// The routes that were answered well since `window`, and in the time before.
    working: [AtomicU64; 2],
    /// When that began, in milliseconds.
    window: AtomicU64,
    phase: AtomicU64,
}

/// Whether an endpoint is ejected: what the atomic holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Phase {
    /// How many times one after another. 0: it is in use.
    times: u16,
    /// Whether a request tries it.
    on_trial: bool,
    /// Until when it is left out, in milliseconds.
    until: u64,
}

impl Ejection {
    /// Whether a status is bad.
    pub fn is_bad(&self, status: u16) -> bool {
        self.statuses.iter().any(|range| range.contains(&status))
    }

    fn pause(&self, times: u16) -> u64 {
        let doubled = 1_u32.checked_shl(u32::from(times).saturating_sub(1));
        let factor = doubled.unwrap_or(LONGEST).min(LONGEST);
        u64::try_from((self.time * factor).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Service {
    /// Takes note of an answer of an endpoint to a request of a route, of which the number is the same for
    /// all its requests. `now` is in milliseconds: see [`Backoff`](crate::backoff::Backoff).
    pub fn judge(&self, endpoint: &Endpoint, status: u16, route: u64, now: u64) -> Judged {
        let (Some(policy), Some(standing)) = (&self.policy, &endpoint.standing) else {
            return Judged::AsBefore;
        };
        let Some(ejection) = &policy.health.ejection else {
            return Judged::AsBefore;
        };
        let answers = &standing.answers;
        let route = 1 << (mix(route) % 64);
        if !ejection.is_bad(status) {
            if answers.good(route, now) {
                standing.begin_anew();
                return Judged::Back;
            }
        } else if answers.bad(route, ejection.failures, now) {
            let others = self.endpoints.iter();
            let others = others.filter(|it| it.address != endpoint.address && it.is_ejected());
            let most = self.endpoints.len() * usize::from(ejection.max_percent) / 100;
            let fits = || others.count() < most;
            if policy.state.eject(answers, fits, ejection, now) {
                return Judged::Ejected;
            }
        }
        Judged::AsBefore
    }

    /// The endpoints that are left out for how they have answered.
    pub fn ejected(&self) -> impl Iterator<Item = &Endpoint> {
        let policy = self.policy.as_ref();
        let is_asked = policy.is_some_and(|policy| policy.health.ejection.is_some());
        let endpoints = self.endpoints.iter();
        endpoints.filter(move |it| is_asked && it.is_ejected())
    }

    /// The endpoints that do not pass their checks.
    pub fn unhealthy(&self) -> impl Iterator<Item = &Endpoint> {
        let policy = self.policy.as_ref();
        let is_asked = policy.is_some_and(|policy| policy.health.check.is_some());
        let endpoints = self.endpoints.iter();
        endpoints.filter(move |it| is_asked && it.is_unhealthy())
    }

    /// The endpoints that come to their share by and by.
    pub fn starting(&self) -> impl Iterator<Item = &Endpoint> {
        let starting = self
            .health()
            .filter(|(_, it)| *it == EndpointHealth::Starting);
        starting.map(|(endpoint, _)| endpoint)
    }

    /// How each endpoint is: the worst that is true of it.
    pub fn health(&self) -> impl Iterator<Item = (&Endpoint, EndpointHealth)> {
        let policy = self.policy.as_deref();
        let asks = |what: fn(&InForce) -> bool| policy.is_some_and(what);
        let checks = asks(|it| it.health.check.is_some());
        let ejects = asks(|it| it.health.ejection.is_some());
        let starts_slowly = asks(|it| it.balancing.slow_start.is_some());
        self.endpoints.iter().map(move |it| {
            let health = match it {
                it if checks && it.is_unhealthy() => EndpointHealth::Unhealthy,
                it if ejects && it.is_ejected() => EndpointHealth::Ejected,
                it if it.is_failing() => EndpointHealth::Failing,
                it if starts_slowly && it.is_starting() => EndpointHealth::Starting,
                _ => EndpointHealth::Healthy,
            };
            (it, health)
        })
    }

    /// Whether an endpoint is left out, unless too few are left.
    pub fn leaves_out(&self, endpoint: &Endpoint) -> bool {
        let policy = self.policy.as_ref();
        policy.is_some_and(|policy| policy.health.leaves_out(endpoint))
    }
}

impl PolicyState {
    /// Leaves an endpoint out if one more `fits`. Whoever comes while another is at it fails, and the next bad
    /// answer comes.
    fn eject(
        &self,
        answers: &Answers,
        fits: impl FnOnce() -> bool,
        ejection: &Ejection,
        now: u64,
    ) -> bool {
        if self.ejecting.swap(true, AcqRel) {
            return false;
        }
        let ejected = answers.eject(fits(), ejection, now);
        self.ejecting.store(false, Release);
        ejected
    }
}

impl Health {
    /// Whether an endpoint is left out, unless too few are left.
    pub(crate) fn leaves_out(&self, endpoint: &Endpoint) -> bool {
        let Some(standing) = &endpoint.standing else {
            return false;
        };
        self.ejection.is_some() && standing.answers.is_ejected()
            || self.check.is_some() && standing.is_unhealthy()
    }

    /// Whether the request that asks is to try an endpoint that was ejected, and nobody else.
    pub(crate) fn tries(&self, endpoint: &Endpoint, now: u64) -> bool {
        let (Some(ejection), Some(standing)) = (&self.ejection, &endpoint.standing) else {
            return false;
        };
        let is_unhealthy = self.check.is_some() && standing.is_unhealthy();
        !is_unhealthy && standing.answers.claim(ejection, now)
    }

    /// Whether so few endpoints are left that all are used.
    pub(crate) fn panics(&self, endpoints: &[Endpoint]) -> bool {
        let left = endpoints.iter();
        let left = left.filter(|it| !it.is_failing() && !self.leaves_out(it));
        left.count() * 100 < endpoints.len() * usize::from(self.panic_threshold)
    }
}

/// What it asks for, a line each, for a person.
impl Health {
    pub(crate) fn lines(&self) -> Vec<String> {
        let ejection = self.ejection.as_ref().map(Ejection::to_string);
        let check = self.check.as_ref().map(Check::to_string);
        let lines = ejection.into_iter().chain(check);
        let threshold = self.panic_threshold;
        lines
            .map(|line| format!("{line}, as long as {threshold} % are left"))
            .collect()
    }
}

impl fmt::Display for Ejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            statuses,
            failures,
            time,
            max_percent,
        } = self;
        let statuses: Vec<_> = statuses.iter().map(range).collect();
        write!(
            f,
            "ejection: after {failures} times {}, for {time:?}, of {max_percent} % at most",
            statuses.join(", ")
        )
    }
}

fn range(range: &RangeInclusive<u16>) -> String {
    let (first, last) = (range.start(), range.end());
    match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            CheckKind::Http { path, .. } => write!(f, "check: GET {path}")?,
            CheckKind::Grpc { .. } => f.write_str("check: gRPC")?,
            CheckKind::Tcp => f.write_str("check: TCP")?,
        }
        if let Some(port) = self.port {
            write!(f, " at port {port}")?;
        }
        let Self {
            interval,
            failures,
            successes,
            ..
        } = self;
        write!(
            f,
            " every {interval:?}, out after {failures}, back after {successes}"
        )
    }
}

impl Endpoint {
    /// Whether it is left out for how it has answered, as far as the policy of its service asks for that.
    pub fn is_ejected(&self) -> bool {
        let standing = self.standing.as_ref();
        standing.is_some_and(|standing| standing.answers.is_ejected())
    }

    /// Whether it does not pass checks, as far as the policy of its service asks for that.
    pub fn is_unhealthy(&self) -> bool {
        let standing = self.standing.as_ref();
        standing.is_some_and(|standing| standing.is_unhealthy())
    }

    /// Whether it comes to its share by and by, as far as the policy of its service asks for that.
    fn is_starting(&self) -> bool {
        let standing = self.standing.as_ref();
        standing.is_some_and(|standing| standing.is_starting())
    }
}

impl Answers {
    /// Whether the endpoint is left out. One relaxed load.
    fn is_ejected(&self) -> bool {
        self.phase.load(Relaxed) != 0
    }

    /// A good answer. Tells whether the endpoint is back.
    fn good(&self, route: u64, now: u64) -> bool {
        self.turn_window(now);
        if self.working[0].load(Relaxed) & route == 0 {
            self.working[0].fetch_or(route, Relaxed);
        }
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
            self.failing.store(0, Relaxed);
        }
        let back = |phase: Phase| phase.on_trial.then(Phase::default);
        self.is_ejected() && self.change(back)
    }

    /// A bad answer. Tells whether the endpoint is to be ejected.
    fn bad(&self, route: u64, most: u16, now: u64) -> bool {
        self.turn_window(now);
        let failing = self.failing.fetch_or(route, Relaxed) | route;
        let failures = self.failures.fetch_add(1, Relaxed) + 1;
        let phase = Phase::from(self.phase.load(Relaxed));
        if phase.times > 0 {
            return phase.on_trial;
        }
        let working = self.working[0].load(Relaxed) | self.working[1].load(Relaxed);
        failures >= u64::from(most) && working & !failing == 0
    }

    /// What was answered well is forgotten by and by.
    fn turn_window(&self, now: u64) {
        let begun = self.window.load(Relaxed);
        let since = now.saturating_sub(begun);
        if since < LATELY
            || self
                .window
                .compare_exchange(begun, now, Relaxed, Relaxed)
                .is_err()
        {
            return;
        }
        let before = self.working[0].swap(0, Relaxed);
        let lately = if since < 2 * LATELY { before } else { 0 };
        self.working[1].store(lately, Relaxed);
    }

    /// Ejects, or ejects again what is on trial. Where that does not fit, what is on trial is back.
    fn eject(&self, fits: bool, ejection: &Ejection, now: u64) -> bool {
        let ejected = self.change(|phase| match phase.times {
            0 => fits.then(|| phase.ejected(ejection, now)),
            _ if !phase.on_trial => None,
            _ if fits => Some(phase.ejected(ejection, now)),
            _ => Some(Phase::default()),
        });
        self.failures.store(0, Relaxed);
        self.failing.store(0, Relaxed);
        ejected && fits
    }

    /// Whether the time is over; then whoever asked tries the endpoint. Where nothing comes of that, another
    /// does after the same time.
    fn claim(&self, ejection: &Ejection, now: u64) -> bool {
        self.is_ejected()
            && self.change(|phase| {
                let due = phase.times > 0 && phase.until <= now;
                due.then(|| Phase {
                    on_trial: true,
                    until: now.saturating_add(ejection.pause(phase.times)).min(LATEST),
                    ..phase
                })
            })
    }

    fn change(&self, change: impl Fn(Phase) -> Option<Phase>) -> bool {
        let change = |word: u64| change(Phase::from(word)).map(u64::from);
        self.phase.fetch_update(Relaxed, Relaxed, change).is_ok()
    }
}

impl Phase {
    fn ejected(self, ejection: &Ejection, now: u64) -> Self {
        let times = self.times.saturating_add(1).min(MOST_TIMES);
        Self {
            times,
            on_trial: false,
            until: now.saturating_add(ejection.pause(times)).min(LATEST),
        }
    }
}

const UNTIL_BITS: u32 = 48;
const LATEST: u64 = (1 << UNTIL_BITS) - 1;
const ON_TRIAL: u64 = 1 << 63;
const MOST_TIMES: u16 = (1 << 15) - 1;

impl From<Phase> for u64 {
    fn from(phase: Phase) -> Self {
        let on_trial = if phase.on_trial { ON_TRIAL } else { 0 };
        on_trial | u64::from(phase.times) << UNTIL_BITS | phase.until
    }
}

impl From<u64> for Phase {
    fn from(word: u64) -> Self {
        Self {
            // 15 bits are left.
            times: ((word & !ON_TRIAL) >> UNTIL_BITS) as u16,
            on_trial: word & ON_TRIAL != 0,
            until: word & LATEST,
        }
    }
}

#[cfg(test)]
mod tests;
