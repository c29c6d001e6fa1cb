//! Rules: for which hosts, what they ask for, what they do.

use std::{fmt, iter::successors, net::Ipv4Addr, sync::Arc};

use crate::{
    Request,
    dry_runs::DryRun,
    filters::{Filter, Reference},
    host::{self, HostError},
    ids::{EntryPointIndex, ServiceIndex},
    object::Key,
    policy::Policy,
    state::{RouteState, Sequence},
    weight::Weight,
};

/// The object that a rule comes from.
#[derive(Clone, Debug)]
pub struct Route {
    /// What identifies it: equal keys are one route.
    pub key: Key,
    /// `metadata.generation` of the version that serves; 0 where the source has none.
    pub generation: i64,
    /// `metadata.creationTimestamp` in seconds since 1970. Routes without one come last.
    pub created: Option<i64>,
    /// What requests count, kept across tables.
    pub state: Arc<RouteState>,
}

/// Which hosts a rule is for: the first key of the order. Cheap to clone: a rule is filed under its
/// host in many places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This host, in canonical form.
    Exact(Arc<str>),
    /// Exactly one label before this suffix; `example.com` for `*.example.com`.
    Wildcard(Arc<str>),
    /// One label or more before this suffix: the `*.example.com` of the Gateway API, shown as
    /// `**.example.com`.
    Below(Arc<str>),
    /// Every host, and requests without one.
    Any,
}

/// One rule, ready to serve.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The object that it belongs to.
    pub route: Arc<Route>,
    /// Its place in the object's list, from 0.
    pub position: u32,
    /// The hosts it is for.
    pub host: HostPattern,
    /// What else must hold; `None`: every request of the host.
    pub matches: Option<ferrix_rule::Rule>,
    /// What speaks for it among the rules for its host.
    pub weight: Weight,
    /// Where it is served.
    pub entry_points: Box<[EntryPointIndex]>,
    /// What happens to the request.
    pub action: Action,
    /// What it asks for beyond that.
    pub policy: Option<Arc<Policy>>,
    /// Where it serves nothing: what it would have served.
    pub dry_run: Option<Box<DryRun>>,
}

/// What a rule does with a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// Forward it to one of the destinations.
    Forward(Split),
    /// None: a filter of the rule answers every request.
    Answered,
    /// Answer 503: every service of the rule has weight 0, so that [`Split::new`] gave `None`.
    Unavailable,
    /// Answer 500: a reference of the rule cannot be resolved. The message is for logs and
    /// `explain`, never for the client.
    Unresolved(String),
}

/// Destinations with weights.
///
/// Choices follow a low-discrepancy sequence, so that after any number of requests each destination
/// has had its share to within a few requests, on however many threads they came.
#[derive(Clone, Debug)]
pub struct Split {
    /// Each destination with the sum of the weights up to and including its own. Never empty;
    /// destinations of weight 0 are left out.
    pub cumulative: Box<[(u64, Destination)]>,
    /// Where the sequence stands.
    pub sequence: Sequence,
}

/// Where a share of a rule's requests goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The service; where the reference leads nowhere, this share of the requests gets 500.
    pub service: Reference,
    /// What happens to the requests that go there, after the filters of the rule. Few have any: a thin
    /// pointer, as every share has room for it.
    pub filters: Option<Arc<Box<[Filter]>>>,
}

/// Its key.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl HostPattern {
    /// Reads the host of a route: a name, or `*.` and a name.
    pub fn parse(pattern: &str) -> Result<HostPattern, HostError> {
        let (name, wildcard) = match pattern.strip_prefix("*.") {
            Some(suffix) => (suffix, true),
            None => (pattern, false),
        };
        let canonical = host::canonical(name)?;
        if canonical.port.is_some() {
            return Err(HostError::UnexpectedPort);
        }
        // An IPv6 address has no labels: `*.[::1]` is no pattern.
        if wildcard && canonical.host.contains(':') {
            return Err(HostError::Brackets);
        }
        let name = canonical.host.into();
        Ok(match wildcard {
            true => HostPattern::Wildcard(name),
            false => HostPattern::Exact(name),
        })
    }

    /// Reads a hostname of the Gateway API, whose wildcard takes one label or more, and which is no address.
    pub fn parse_gateway(hostname: &str) -> Result<HostPattern, HostError> {
        match HostPattern::parse(hostname)? {
            HostPattern::Wildcard(suffix) => Ok(HostPattern::Below(suffix)),
            HostPattern::Exact(name) if name.contains(':') || name.parse::<Ipv4Addr>().is_ok() => {
                Err(HostError::Address)
            }
            other => Ok(other),
        }
    }

    /// Whether it takes this canonical host; the empty one is that of a request without.
    pub fn takes(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => **name == *host,
            HostPattern::Wildcard(suffix) => parent_domain(host) == Some(suffix),
            HostPattern::Below(suffix) => domains(host).any(|it| *it == **suffix),
            HostPattern::Any => true,
        }
    }

    /// Whether it takes every host that `other` does. Where neither of two covers the other, they
    /// have no host in common.
    pub fn covers(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (_, HostPattern::Exact(name)) => self.takes(name),
            (HostPattern::Below(suffix), _) => other.domains().any(|it| *it == **suffix),
            _ => *self == HostPattern::Any || self == other,
        }
    }

    /// The domain that it lies in: `example.com` for `www.example.com`, and for the wildcards of
    /// `example.com` themselves. `None`: it is in none.
    pub fn domain(&self) -> Option<&str> {
        match self {
            HostPattern::Exact(name) => parent_domain(name),
            HostPattern::Wildcard(suffix) | HostPattern::Below(suffix) => Some(suffix),
            HostPattern::Any => None,
        }
    }

    /// That domain and those above it.
    fn domains(&self) -> impl Iterator<Item = &str> {
        let own = self.domain();
        own.into_iter().chain(own.into_iter().flat_map(domains))
    }

    /// The patterns that cover it and are others, the more exact first.
    pub fn wider(&self) -> impl Iterator<Item = HostPattern> {
        let wildcard = match self {
            HostPattern::Exact(name) => parent_domain(name),
            HostPattern::Wildcard(_) | HostPattern::Below(_) | HostPattern::Any => None,
        };
        let wildcard = wildcard.map(|domain| HostPattern::Wildcard(domain.into()));
        let below = self
            .domains()
            .map(|domain| HostPattern::Below(domain.into()));
        let patterns = wildcard.into_iter().chain(below).chain([HostPattern::Any]);
        patterns.filter(move |it| it != self)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Wildcard(suffix) => write!(f, "*.{suffix}"),
            HostPattern::Below(suffix) => write!(f, "**.{suffix}"),
            HostPattern::Any => f.write_str("any host"),
        }
    }
}

/// What follows the first label: `example.com` of `www.example.com`.
pub(crate) fn parent_domain(host: &str) -> Option<&str> {
    match host.split_once('.') {
        Some((label, parent)) if !label.is_empty() => Some(parent),
        _ => None,
    }
}

/// All domains that a host lies in, the longest first: `a.test` and `test` for `www.a.test`.
pub(crate) fn domains(host: &str) -> impl Iterator<Item = &str> {
    successors(parent_domain(host), |domain| parent_domain(domain))
}

impl Rule {
    /// Whether this rule alone would take the request there.
    pub fn takes(&self, entry_point: EntryPointIndex, request: &Request<'_>) -> bool {
        self.entry_points.contains(&entry_point)
            && self.host.takes(request.host)
            && self.accepts(request)
    }

    /// The same for a request whose entry point and host are known to fit.
    pub(crate) fn accepts(&self, request: &Request<'_>) -> bool {
        match &self.matches {
            Some(rule) => rule.matches(request),
            None => true,
        }
    }

    /// Whether it serves nothing, and what it would serve is only counted.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run.is_some()
    }

    /// Every filter that requests pass here: those of the rule, then those of its destinations.
    pub fn filters(&self) -> impl Iterator<Item = &Filter> {
        let of_rule = self.policy.iter().flat_map(|policy| policy.filters());
        let split = match &self.action {
            Action::Forward(split) => Some(split),
            Action::Answered | Action::Unavailable | Action::Unresolved(_) => None,
        };
        let destinations = split.into_iter().flat_map(|split| &split.cumulative);
        let of_shares = destinations.flat_map(|(_, destination)| destination.filters.iter());
        of_rule.chain(of_shares.flat_map(|filters| filters.iter()))
    }

    /// Whether another rule comes of the same place in the same object, for the same host.
    pub(crate) fn is_written_with(&self, other: &Rule) -> bool {
        self.route.key == other.route.key
            && self.position == other.position
            && self.host == other.host
            && self.weight == other.weight
    }

    /// What `matches` asks for, as a person is shown it.
    pub fn text(&self) -> Option<&str> {
        self.matches.as_ref().map(ferrix_rule::Rule::shown)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} of {}", self.position, self.route)
    }
}

/// A service, without filters of its own.
impl From<ServiceIndex> for Destination {
    fn from(service: ServiceIndex) -> Self {
        Destination {
            service: Ok(service),
            filters: None,
        }
    }
}

impl Split {
    /// Shares requests out by weight. `None` where no destination has any: the rule's action is then
    /// [`Action::Unavailable`].
    pub fn new<D: Clone + Into<Destination>>(destinations: &[(D, u32)]) -> Option<Split> {
        let mut sum = 0;
        let cumulative: Box<[_]> = destinations
            .iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(destination, weight)| {
                sum += u64::from(*weight);
                (sum, destination.clone().into())
            })
            .collect();
        (!cumulative.is_empty()).then(|| Split {
            cumulative,
            sequence: Sequence::default(),
        })
    }

    /// Where the next request goes.
    pub fn choose(&self) -> &Destination {
        /// 2^64 over the golden ratio: multiples of it, modulo 2^64, fill the circle most evenly.
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

        if let [(_, only)] = &*self.cumulative {
            return only;
        }
        let last = self.cumulative.len() - 1;
        let total = self.cumulative[last].0;
        let turn = self.sequence.next().wrapping_mul(GOLDEN);
        let point = (u128::from(turn) * u128::from(total)) >> 64;
        let chosen = (self.cumulative).partition_point(|(sum, _)| u128::from(*sum) <= point);
        &self.cumulative[chosen].1
    }

    /// Destinations with their own weights, in the order given.
    pub fn weights(&self) -> impl Iterator<Item = (&Destination, u64)> {
        self.cumulative
            .iter()
            .scan(0, |before, (sum, destination)| {
                let weight = sum - *before;
                *before = *sum;
                Some((destination, weight))
            })
    }
}

#[cfg(test)]
mod tests;
