//! Which endpoint has a request, where a BackendPolicy says so.
//!
//! Endpoints that connections fail to come after all others, whatever the algorithm. Chance is made of the
//! turn that a request has, so that the same turns give the same endpoints.

use std::{
    cell::OnceCell,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    backend_policy::InForce,
    services::{Endpoint, Service},
};

/// Which endpoint has a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balancing {
    /// How it is chosen.
    pub algorithm: Algorithm,
    /// The time in which an endpoint that is new, or back, comes to its whole share. Not with
    /// [`Algorithm::ConsistentHash`].
    pub slow_start: Option<Duration>,
    /// Whether endpoints of the replica's own zone come first.
    pub zones: Option<Zones>,
}

/// Endpoints of the replica's own zone come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zones {
    /// Where fewer than so many percent of them can be used, zones do not matter. From 1 to 100.
    pub min_percent: u8,
}

/// The endpoints of a service in the replica's own zone, which are its first ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near {
    /// How many. There are others.
    pub endpoints: u32,
    /// So many requests of a thousand stay there: as many as the zone has of the endpoints, for what the replicas
    /// there have of the requests. So no endpoint has more to do than the others, however few there are in a
    /// zone.
    pub per_mille: u16,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Of two, the one that works on fewer requests: "the power of two choices" (Mitzenmacher, 2001).
    LeastRequests,
    /// Of two, the one that is likely to answer sooner: see [`Latency`](crate::latency::Latency).
    Latency,
    /// The same for all requests with the same key: the endpoint with the highest score for it ("highest
    /// random weight", Thaler and Ravishankar, 1998). So of one that goes, and of one that comes, no other
    /// keys move than its own, and nothing has to be made anew for either.
    ConsistentHash {
        /// What requests of one endpoint have in common. One without it has an endpoint each in turn.
        by: HashKey,
        /// An endpoint that works on so many percent of the mean gets no more ("consistent hashing with
        /// bounded loads", Mirrokni, Thorup and Zadimoghaddam, 2018). More than 100.
        max_load: Option<u16>,
    },
}

/// What requests of one endpoint have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The real client.
    Client {
        /// Addresses of IPv6 that have so many bits in common are one client.
        ipv6_prefix: u8,
    },
    /// The value of a header field.
    Header(Box<str>),
    /// The value of a cookie.
    Cookie(Box<str>),
    /// The value of a query parameter.
    Query(Box<str>),
}

/// What a choice depends on, beside the endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// What the key of the request comes to: see [`key`].
    pub key: Option<u64>,
    /// In milliseconds, of the clock of [`Backoff`](crate::backoff::Backoff).
    pub now: u64,
}

/// What a key comes to: the same on every replica and in every release, as keys would move otherwise
/// (FNV-1a).
pub fn key(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Service {
    /// The endpoint that the next attempt goes to, as the policy of the service says: for it something is
    /// `asked`. Without one as [`Service::pick`] has it, which says what the other arguments are.
    pub fn choose(
        &self,
        asked: Option<Asked>,
        tried: &[SocketAddr],
        passed_over: impl FnOnce(&Endpoint),
    ) -> Option<&Endpoint> {
        let policy = asked.and_then(|asked| Some((asked, self.policy.as_deref()?)));
        match policy {
            Some((asked, policy)) if self.endpoints.len() > 1 => {
                let choice = Choice::new(&self.endpoints, policy, asked, tried);
                let turn = self.state.rotation.next();
                let by_zone = choice.by_zone(turn);
                let (chosen, first) = by_zone.unwrap_or_else(|| choice.run(turn));
                if let (Some(chosen), Some(first)) = (chosen, first)
                    && first.is_failing()
                    && first.address != chosen.address
                    && !chosen.is_failing()
                {
                    passed_over(first);
                }
                chosen
            }
            _ => self.pick(tried, passed_over),
        }
    }
}

/// One choice among two endpoints or more.
struct Choice<'s, 't> {
    endpoints: &'s [Endpoint],
    policy: &'s InForce,
    asked: Asked,
    tried: &'t [SocketAddr],
    /// Whether so few endpoints are left that all are used, once that matters.
    panics: OnceCell<bool>,
}

/// The endpoint, and the one whose turn it was, unless that was tried.
type Chosen<'s> = (Option<&'s Endpoint>, Option<&'s Endpoint>);

impl<'s, 't> Choice<'s, 't> {
    fn new(
        endpoints: &'s [Endpoint],
        policy: &'s InForce,
        asked: Asked,
        tried: &'t [SocketAddr],
    ) -> Self {
        Self {
            endpoints,
            policy,
            asked,
            tried,
            panics: OnceCell::new(),
        }
    }

    /// A choice in the replica's own zone, or outside of it where the zone has fewer endpoints than it would
    /// need. `None`: zones do not matter, or nobody there may have the request.
    fn by_zone(&self, turn: u64) -> Option<Chosen<'s>> {
        let (zones, near) = (self.policy.balancing.zones?, self.policy.near?);
        let (own, others) = self.endpoints.split_at_checked(near.endpoints as usize)?;
        let health = &self.policy.health;
        let usable = own.iter();
        let usable = usable.filter(|it| !it.is_failing() && !health.leaves_out(it));
        if usable.count() * 100 < own.len() * usize::from(zones.min_percent) {
            return None;
        }
        // By another chance than those that lead to an endpoint.
        let stays = mix(turn.rotate_left(32)) % 1000 < u64::from(near.per_mille);
        let part = if stays { own } else { others };
        let part = Choice::new(part, self.policy, self.asked, self.tried);
        let takes = |endpoint: &&Endpoint| part.takes(endpoint);
        match part.endpoints {
            [only] => Some((Some(only), Some(only))).filter(|_| takes(&only)),
            all => all.iter().any(|it| takes(&it)).then(|| part.run(turn)),
        }
    }

    fn run(&self, turn: u64) -> Chosen<'s> {
        let (first, chosen) = match (&self.policy.balancing.algorithm, self.asked.key) {
            (Algorithm::ConsistentHash { max_load, .. }, Some(key)) => self.by_key(key, *max_load),
            (Algorithm::LeastRequests, _) => self.of_two(turn, |endpoint, _| endpoint.load()),
            (Algorithm::Latency, _) => self.of_two(turn, |endpoint, other| {
                endpoint.load() * endpoint.latency_beside(other, self.asked.now)
            }),
            _ => self.in_turn(turn),
        };
        let untried = || self.endpoints.iter().filter(|it| self.is_untried(it));
        let any = || {
            let connects = untried().find(|it| !it.is_failing());
            connects.or_else(|| untried().next())
        };
        (chosen.or_else(any), first.filter(|it| self.is_untried(it)))
    }

    fn in_turn(&self, turn: u64) -> Chosen<'s> {
        let count = self.endpoints.len() as u64;
        let first = self.at(turn);
        if self.tries(first) || self.takes(first) && self.is_warm(first, turn) {
            return (Some(first), Some(first));
        }
        // From round to round another takes its place: see `Service::pick`.
        let step = 1 + turn / count % (count - 1);
        let usable = || {
            let others = (0..count).map(|further| self.at(turn % count + step + further));
            others.filter(|it| self.takes(it))
        };
        let chosen = usable().find(|it| self.is_warm(it, turn));
        (Some(first), chosen.or_else(|| usable().next()))
    }

    fn of_two(&self, turn: u64, cost: impl Fn(&Endpoint, &Endpoint) -> f64) -> Chosen<'s> {
        let count = self.endpoints.len() as u64;
        let chance = mix(turn);
        let place = (chance >> 32) % count;
        let further = 1 + (chance & u64::from(u32::MAX)) % (count - 1);
        let (one, other) = (self.at(place), self.at(place + further));
        if let Some(tried) = [one, other].into_iter().find(|it| self.tries(it)) {
            return (Some(tried), Some(tried));
        }
        let chosen = match (self.takes(one), self.takes(other)) {
            (true, true) => match (self.is_warm(one, turn), self.is_warm(other, turn)) {
                (true, false) => Some(one),
                (false, true) => Some(other),
                _ if cost(other, one) < cost(one, other) => Some(other),
                _ => Some(one),
            },
            (true, false) => Some(one),
            (false, true) => Some(other),
            (false, false) => {
                let mut all = (0..count).map(|further| self.at(place + further));
                all.find(|it| self.takes(it))
            }
        };
        let passed_over = [one, other].into_iter().find(|it| it.is_failing());
        (passed_over, chosen)
    }

    fn by_key(&self, key: u64, max_load: Option<u16>) -> Chosen<'s> {
        let score = |endpoint: &&Endpoint| score(key, endpoint.address);
        let untried = self.endpoints.iter().filter(|it| self.is_untried(it));
        let first = untried.max_by_key(score);
        if first.is_some_and(|it| self.tries(it)) {
            return (first, first);
        }
        let usable = || self.endpoints.iter().filter(|it| self.takes(it));
        let most = max_load.map_or(u64::MAX, |percent| {
            let count = usable().count().max(1) as u64;
            let all: u64 = usable().map(|it| it.in_flight()).sum();
            ((all + 1) * u64::from(percent)).div_ceil(100 * count)
        });
        let under = usable().filter(|it| it.in_flight() < most);
        // They may have got more meanwhile.
        let chosen = under
            .max_by_key(score)
            .or_else(|| usable().max_by_key(score));
        (first, chosen)
    }

    /// The endpoint of a turn.
    fn at(&self, turn: u64) -> &'s Endpoint {
        // The remainder of a division by the count fits `usize`.
        &self.endpoints[(turn % self.endpoints.len() as u64) as usize]
    }

    fn is_untried(&self, endpoint: &Endpoint) -> bool {
        !self.tried.contains(&endpoint.address)
    }

    /// Whether an endpoint may have the request while there are others.
    fn takes(&self, endpoint: &Endpoint) -> bool {
        self.is_untried(endpoint)
            && !endpoint.is_failing()
            && (!self.policy.health.leaves_out(endpoint) || self.panics())
    }

    /// Whether this request is to try an endpoint that was left out.
    fn tries(&self, endpoint: &Endpoint) -> bool {
        let is_possible = self.is_untried(endpoint) && !endpoint.is_failing();
        is_possible && self.policy.health.tries(endpoint, self.asked.now)
    }

    fn panics(&self) -> bool {
        let health = &self.policy.health;
        *self.panics.get_or_init(|| health.panics(self.endpoints))
    }

    /// The part of its share that an endpoint is to have by now: above 0, and 1 in the end.
    fn warmth(&self, endpoint: &Endpoint) -> f64 {
        let Some(slow_start) = self.policy.balancing.slow_start else {
            return 1.0;
        };
        let standing = endpoint.standing.as_ref();
        standing.map_or(1.0, |it| it.warmth(self.asked.now, slow_start))
    }

    /// Whether this turn is among those that an endpoint is to have by now.
    fn is_warm(&self, endpoint: &Endpoint, turn: u64) -> bool {
        let warmth = self.warmth(endpoint);
        // By another chance than the one that has led to the endpoint.
        warmth >= 1.0 || fraction(mix(!turn)) < warmth
    }
}

impl Endpoint {
    /// How many requests it works on.
    fn in_flight(&self) -> u64 {
        u64::try_from(self.state.in_flight.get()).unwrap_or_default()
    }

    /// The same with one more.
    fn load(&self) -> f64 {
        (self.in_flight() + 1) as f64
    }

    /// How long it takes to answer, for a comparison with another; the same for both where nothing is
    /// known of either.
    fn latency_beside(&self, other: &Endpoint, now: u64) -> f64 {
        let latency = |it: &Endpoint| it.standing.as_ref()?.latency.get(now);
        match (latency(self), latency(other)) {
            (Some(own), Some(_)) => own,
            _ => 1.0,
        }
    }
}

/// The score of an endpoint for a key.
fn score(key: u64, address: SocketAddr) -> u64 {
    let host = match address.ip() {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => {
            let [high, low] = halves(u128::from(address));
            mix(high) ^ low
        }
    };
    mix(mix(host ^ u64::from(address.port()) << 48) ^ key)
}

fn halves(number: u128) -> [u64; 2] {
    [(number >> 64) as u64, number as u64]
}

/// A number of which every bit depends on every bit of another (the last steps of SplitMix64, by Steele, Lea
/// and Flood, 2014).
pub(crate) fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// From 0 to 1, by a number that is as likely as any other.
fn fraction(number: u64) -> f64 {
    number as f64 / u64::MAX as f64
}

/// `balancing: least requests`, for a person.
impl fmt::Display for Balancing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "balancing: {}", self.algorithm)?;
        if let Some(time) = self.slow_start {
            write!(f, ", slow start: {time:?}")?;
        }
        match self.zones {
            Some(Zones { min_percent }) => {
                write!(
                    f,
                    ", in the own zone as long as {min_percent} % are left there"
                )
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoundRobin => f.write_str("each in turn"),
            Self::LeastRequests => f.write_str("of two, the one with fewer requests"),
            Self::Latency => f.write_str("of two, the one that is likely to answer sooner"),
            Self::ConsistentHash { by, max_load } => {
                write!(f, "the same for the same {by}")?;
                match max_load {
                    Some(percent) => write!(f, ", with {percent} % of the mean load at most"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client { .. } => f.write_str("client"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Query(name) => write!(f, "query parameter {name}"),
        }
    }
}

#[cfg(test)]
mod tests;
