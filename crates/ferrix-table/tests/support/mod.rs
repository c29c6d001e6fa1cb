//! Random tables and requests, and an obvious reading of them to compare with.

use std::{cmp::Reverse, net::Ipv4Addr, sync::Arc};

use ferrix_rule::{Match, PathMatch, ValueMatch};

use ferrix_table::{
    Request,
    object::{Key, Kind},
    rules::{Action, HostPattern, Route, Rule, Split},
    weight::{Specificity, Weight},
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

/// An expression, and the paths that match it as a whole.
type Expression = (&'static str, fn(&str) -> bool);

const EXPRESSIONS: &[Expression] = &[
    ("/a/.*", |path| path.starts_with("/a/")),
    ("/a|/b", |path| matches!(path, "/a" | "/b")),
    ("/[a-z]+", |path| {
        let word = path.strip_prefix('/').unwrap_or_default();
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())
    }),
];

#[derive(Clone, Copy)]
enum PathField {
    Exact(&'static str),
    Prefix(&'static str),
    Beginning(&'static str),
    Regexp(Expression),
}

/// The fields of a match, and a second opinion on what they mean and how much they weigh.
pub struct Fields {
    path: Option<PathField>,
    method: Option<&'static str>,
    headers: Vec<&'static str>,
    query: Option<&'static str>,
}

impl Fields {
    fn random(random: &mut Random) -> Fields {
        let path = random.pick(PATHS);
        Fields {
            path: match random.below(8) {
                0 => None,
                1 => Some(PathField::Exact(path)),
                2..=5 => Some(PathField::Prefix(path)),
                6 => Some(PathField::Beginning(path)),
                _ => Some(PathField::Regexp(random.pick(EXPRESSIONS))),
            },
            method: (random.below(8) == 0).then(|| random.pick(METHODS)),
            headers: match random.below(12) {
                0 => vec![random.pick(VALUES)],
                1 => vec![random.pick(VALUES), random.pick(VALUES)],
                _ => Vec::new(),
            },
            query: (random.below(12) == 0).then(|| random.pick(VALUES)),
        }
    }

    fn as_match(&self) -> Match {
        let value =
            |name: &str, value: &str| (name.to_owned(), ValueMatch::Exact(value.to_owned()));
        Match {
            path: self.path.map(|path| match path {
                PathField::Exact(path) => PathMatch::Exact(path.to_owned()),
                PathField::Prefix(path) => PathMatch::Prefix(path.to_owned()),
                PathField::Beginning(path) => PathMatch::Beginning(path.to_owned()),
                PathField::Regexp((source, _)) => PathMatch::Regexp(source.to_owned()),
            }),
            method: self.method.map(|it| it.parse().expect("methods are valid")),
            headers: self.headers.iter().map(|it| value("X-Test", it)).collect(),
            query: self.query.iter().map(|it| value("q", it)).collect(),
        }
    }

    fn holds(&self, request: &Request<'_>) -> bool {
        let path = match self.path {
            None => true,
            Some(PathField::Exact(path)) => request.path == path,
            Some(PathField::Prefix(prefix)) => {
                let segments = |path: &'static str| path.split('/').filter(|it| !it.is_empty());
                let mut own = request.path.split('/').skip(1);
                segments(prefix).all(|segment| own.next() == Some(segment))
            }
            Some(PathField::Beginning(beginning)) => request.path.starts_with(beginning),
            Some(PathField::Regexp((_, matches))) => matches(request.path),
        };
        path && self.method.is_none_or(|it| request.method.as_str() == it)
            && (self.headers.iter()).all(|it| Condition::Header(it).holds(request))
            && self
                .query
                .is_none_or(|it| Condition::Query(it).holds(request))
    }

    /// The order of the Gateway API, word for word.
    fn key(&self) -> impl Ord + Default + use<> {
        let (kind, length) = match self.path {
            Some(PathField::Exact(_)) => (0, 0),
            Some(PathField::Regexp(_)) => (1, 0),
            Some(PathField::Prefix(path)) => (2, path.trim_end_matches('/').len()),
            Some(PathField::Beginning(path)) => (2, path.len()),
            None => (2, 0),
        };
        let method = self.method.is_none();
        let (headers, query) = (self.headers.len(), usize::from(self.query.is_some()));
        (
            kind,
            Reverse(length),
            method,
            Reverse(headers),
            Reverse(query),
        )
    }
}

/// What a rule asks for beside its host.
enum Asks {
    Nothing,
    Text(Condition),
    Fields(Fields),
}

/// What a rule weighs.
enum Weighs {
    Priority(i64),
    Fields(Fields),
}

fn host_fits(pattern: &str, host: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    if let Some(domain) = pattern.strip_prefix("**") {
        return host.ends_with(domain);
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
    asks: Asks,
    weighs: Weighs,
    entry_points: Vec<u16>,
}

impl Model {
    pub fn random(random: &mut Random) -> Model {
        let host = match random.below(12) {
            0..=4 => random.pick(HOSTS).to_owned(),
            5..=6 => format!("*.{}", random.pick(SUFFIXES)),
            7..=8 => format!("**.{}", random.pick(SUFFIXES)),
            _ => "*".to_owned(),
        };
        Model {
            name: format!("r{}", random.below(8)),
            created: random.pick(&[None, Some(-1), Some(0), Some(0), Some(7)]),
            position: random.below(3) as u32,
            host,
            asks: match random.below(10) {
                0..=1 => Asks::Nothing,
                2..=6 => Asks::Text(Condition::random(random, 2)),
                _ => Asks::Fields(Fields::random(random)),
            },
            // Whatever they ask for: the order knows nothing of that.
            weighs: match random.below(5) {
                0..=2 => Weighs::Priority(random.below(4) as i64 - 1),
                _ => Weighs::Fields(Fields::random(random)),
            },
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
            && match &self.asks {
                Asks::Nothing => true,
                Asks::Text(condition) => condition.holds(request),
                Asks::Fields(fields) => fields.holds(request),
            }
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

    /// Whether it goes by a priority.
    pub fn has_priority(&self) -> bool {
        matches!(self.weighs, Weighs::Priority(_))
    }

    /// The contract's order, word for word.
    pub fn key(&self) -> impl Ord + use<> {
        let (class, suffix) = match &*self.host {
            "*" => (2, ""),
            host if host.starts_with('*') => (1, host.trim_start_matches('*')),
            _ => (0, ""),
        };
        let host = (class, Reverse(suffix.len()), self.host.starts_with("**"));
        let weight = match &self.weighs {
            Weighs::Priority(priority) => (0, -priority, Default::default()),
            Weighs::Fields(fields) => (1, 0, fields.key()),
        };
        let created = self.created.unwrap_or(i64::MAX);
        (host, weight, created, self.name.clone(), self.position)
    }

    /// The rule, with its number in `generation` to know it by.
    pub fn rule(&self, number: usize) -> Rule {
        Rule {
            route: Arc::new(Route {
                key: Key::new(Kind::IngressRoute, self.namespace(), self.name.as_str()),
                generation: number as i64,
                created: self.created,
                state: Arc::default(),
            }),
            position: self.position,
            host: match self.host.split_once('.') {
                Some(("*", suffix)) => HostPattern::Wildcard(suffix.into()),
                Some(("**", suffix)) => HostPattern::Below(suffix.into()),
                None if self.host == "*" => HostPattern::Any,
                _ => HostPattern::Exact(self.host.as_str().into()),
            },
            matches: match &self.asks {
                Asks::Nothing => None,
                Asks::Text(condition) => {
                    Some(ferrix_rule::Rule::parse(&condition.text()).expect("rules are valid"))
                }
                Asks::Fields(fields) => {
                    ferrix_rule::Rule::of(&fields.as_match()).expect("fields are valid")
                }
            },
            weight: match &self.weighs {
                Weighs::Priority(priority) => Weight::Priority(*priority),
                Weighs::Fields(fields) => {
                    Weight::Specificity(Specificity::from(&fields.as_match()))
                }
            },
            entry_points: self.entry_points.clone().into(),
            action: Action::Forward(Split::new(&[(0, 1)]).expect("the service has a weight")),
            policy: None,
            dry_run: None,
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
