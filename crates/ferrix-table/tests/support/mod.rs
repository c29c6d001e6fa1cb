//! Random tables and requests, and an obvious reading of them to compare with.

use std::{net::Ipv4Addr, sync::Arc};

use ferrix_table::{
    Request,
    object::{Key, Kind},
    precedence::Weight,
    rules::{Action, HostPattern, Route, Rule, Split},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// SplitMix64: small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

const HOSTS: &[&str] = &[
    "a.test",
    "b.test",
    "www.a.test",
    "api.a.test",
    "x.www.a.test",
    "test",
    "10.0.0.1",
    "::1",
];
const SUFFIXES: &[&str] = &["a.test", "test", "www.a.test"];
const PATHS: &[&str] = &[
    "/", "/a", "/a/", "/a/b", "/a/b/", "/a/bc", "/ab", "/abc", "/a/b/c/d", "/b", "/ä", "/a%2Fb",
];
const METHODS: &[&str] = &["GET", "POST", "PUT"];
const VALUES: &[&str] = &["1", "2"];

/// A condition in the rule language, and a second opinion on what it means.
pub enum Condition {
    Host(String),
    Path(&'static str),
    PathPrefix(&'static str),
    Method(&'static str),
    Header(&'static str),
    Query(&'static str),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Condition {
    pub fn random(random: &mut Random, depth: u32) -> Condition {
        let parts = |random: &mut Random| {
            let count = 2 + random.below(2);
            (0..count)
                .map(|_| Condition::random(random, depth - 1))
                .collect()
        };
        match random.below(if depth == 0 { 12 } else { 18 }) {
            0 => Condition::Host(random.pick(HOSTS).to_owned()),
            1 => Condition::Host(format!("*.{}", random.pick(SUFFIXES))),
            2..=4 => Condition::Path(random.pick(PATHS)),
            5..=8 => Condition::PathPrefix(random.pick(PATHS)),
            9 => Condition::Method(random.pick(METHODS)),
            10 => Condition::Header(random.pick(VALUES)),
            11 => Condition::Query(random.pick(VALUES)),
            12 => Condition::Not(Box::new(Condition::random(random, depth - 1))),
            13..=15 => Condition::All(parts(random)),
            _ => Condition::Any(parts(random)),
        }
    }

    pub fn text(&self) -> String {
        let join = |parts: &[Condition], operator: &str| {
            let parts: Vec<_> = parts
                .iter()
                .map(|part| format!("({})", part.text()))
                .collect();
            parts.join(operator)
        };
        match self {
            Condition::Host(host) => format!("Host(`{host}`)"),
            Condition::Path(path) => format!("Path(`{path}`)"),
            Condition::PathPrefix(path) => format!("PathPrefix(`{path}`)"),
            Condition::Method(method) => format!("Method(`{method}`)"),
            Condition::Header(value) => format!("Header(`X-Test`, `{value}`)"),
            Condition::Query(value) => format!("Query(`q`, `{value}`)"),
            Condition::Not(part) => format!("!({})", part.text()),
            Condition::All(parts) => join(parts, " && "),
            Condition::Any(parts) => join(parts, " || "),
        }
    }

    fn holds(&self, request: &Request<'_>) -> bool {
        match self {
            Condition::Host(host) => host_fits(host, request.host),
            Condition::Path(path) => request.path == *path,
            Condition::PathPrefix(path) => request.path.starts_with(path),
            Condition::Method(method) => request.method.as_str() == *method,
            Condition::Header(value) => {
                let name = HeaderName::from_static("x-test");
                let same = &mut |it: &[u8]| it == value.as_bytes();
                request.headers.any(&name, same)
            }
            Condition::Query(value) => request.query == format!("q={value}"),
            Condition::Not(part) => !part.holds(request),
            Condition::All(parts) => parts.iter().all(|part| part.holds(request)),
            Condition::Any(parts) => parts.iter().any(|part| part.holds(request)),
        }
    }
}

fn host_fits(pattern: &str, host: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let mut labels: Vec<&str> = host.split('.').collect();
    if pattern.starts_with("*.") {
        labels[0] = "*";
    }
    labels.join(".") == pattern
}

/// A rule as the linear reading sees it.
pub struct Model {
    pub name: String,
    created: Option<i64>,
    position: u32,
    host: String,
    condition: Option<Condition>,
    priority: i64,
    entry_points: Vec<u16>,
}

impl Model {
    pub fn random(random: &mut Random) -> Model {
        let host = match random.below(10) {
            0..=4 => random.pick(HOSTS).to_owned(),
            5..=6 => format!("*.{}", random.pick(SUFFIXES)),
            _ => "*".to_owned(),
        };
        Model {
            name: format!("r{}", random.below(8)),
            created: random.pick(&[None, Some(-1), Some(0), Some(0), Some(7)]),
            position: random.below(3) as u32,
            host,
            condition: (random.below(6) > 0).then(|| Condition::random(random, 2)),
            priority: random.below(4) as i64 - 1,
            entry_points: random
                .pick(&[
                    &[0][..],
                    &[0, 1],
                    &[1],
                    &[0, 2],
                    &[2, 1, 0],
                    &[2, 1, 0],
                    &[],
                ])
                .to_vec(),
        }
    }

    pub fn takes(&self, entry_point: u16, request: &Request<'_>) -> bool {
        self.entry_points.contains(&entry_point)
            && host_fits(&self.host, request.host)
            && self.condition.as_ref().is_none_or(|it| it.holds(request))
    }

    /// The first names are of one namespace, the others of another that comes after it.
    pub fn namespace(&self) -> &'static str {
        match &*self.name < "r4" {
            true => "default",
            false => "other",
        }
    }

    /// Whether it is for any host.
    pub fn is_for_any_host(&self) -> bool {
        self.host == "*"
    }

    /// The contract's order, word for word.
    pub fn key(&self) -> impl Ord + use<> {
        let class = match &*self.host {
            "*" => 2,
            host if host.starts_with("*.") => 1,
            _ => 0,
        };
        let created = self.created.unwrap_or(i64::MAX);
        (
            class,
            -self.priority,
            created,
            self.name.clone(),
            self.position,
        )
    }

    /// The rule, with its number in `generation` to know it by.
    pub fn rule(&self, number: usize) -> Rule {
        let parse = |condition: &Condition| {
            ferrix_rule::Rule::parse(&condition.text()).expect("rules are valid")
        };
        let exact = |host: &str| HostPattern::Exact(host.into());
        Rule {
            route: Arc::new(Route {
                key: Key::new(Kind::IngressRoute, self.namespace(), self.name.as_str()),
                generation: number as i64,
                created: self.created,
                state: Arc::default(),
            }),
            position: self.position,
            host: match self.host.strip_prefix("*.") {
                Some(suffix) => HostPattern::Wildcard(suffix.into()),
                None if self.host == "*" => HostPattern::Any,
                None => exact(&self.host),
            },
            matches: self.condition.as_ref().map(parse),
            weight: Weight::Priority(self.priority),
            entry_points: self.entry_points.clone().into(),
            action: Action::Forward(Split::new(&[(0, 1)]).expect("the service has a weight")),
        }
    }
}

/// A request that owns its parts.
#[derive(Debug)]
pub struct OwnedRequest {
    pub entry_point: u16,
    method: Method,
    host: &'static str,
    path: String,
    query: String,
    headers: HeaderMap,
}

impl OwnedRequest {
    pub fn random(random: &mut Random) -> OwnedRequest {
        let mut headers = HeaderMap::new();
        for _ in 0..random.below(3) {
            headers.append("x-test", HeaderValue::from_static(random.pick(VALUES)));
        }
        let path = match random.below(4) {
            0 => [random.pick(PATHS), random.pick(PATHS)].concat(),
            _ => random.pick(PATHS).to_owned(),
        };
        OwnedRequest {
            entry_point: random.pick(&[0, 0, 0, 1, 1, 2, 2, 3]),
            method: random.pick(METHODS).parse().expect("methods are valid"),
            host: match random.below(10) {
                0 => "",
                1 => "unknown.example",
                _ => random.pick(HOSTS),
            },
            path,
            query: random.pick(&["", "q=1", "q=2"]).to_owned(),
            headers,
        }
    }

    pub fn as_request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            host: self.host,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            client: Ipv4Addr::LOCALHOST.into(),
        }
    }
}
