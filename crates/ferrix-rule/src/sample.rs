//! Requests that a rule takes, made from what it asks for.
//!
//! The search changes a request until it meets one condition after another, those under a `!` last.
//! A later change may undo an earlier one, so whatever is found is matched in the end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderValue, Method};
use ipnet::IpNet;

use crate::{
    expression::{Expression, Leaf},
    matcher::{FieldName, HostPattern, Matcher},
    request::Request,
};

/// How many steps one search takes. An expression may have more ways to be met than there is time.
const MOST_STEPS: usize = 10_000;

/// How many requests one search finds.
const MOST_FOUND: usize = 16;

/// Paths that are likely to be none that a `!` excludes.
const OTHER_PATHS: [&str; 3] = ["/", "/other", "/other/one"];

/// Addresses that are likely to be none that a `!` excludes: those for documentation (RFC 5737, RFC
/// 3849), and a private one.
const OTHER_CLIENTS: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// A request that nobody has sent, with what rules look at. The parts are those of [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its method.
    pub method: Method,
    /// The canonical host.
    pub host: String,
    /// The routing path.
    pub path: String,
    /// The raw query.
    pub query: String,
    /// The header fields.
    pub headers: HeaderMap,
    /// Who sends it.
    pub client: IpAddr,
}

impl Sample {
    /// A GET of `/` from this machine.
    pub fn of(host: &str) -> Sample {
        Sample {
            method: Method::GET,
            host: host.to_owned(),
            path: "/".to_owned(),
            query: String::new(),
            headers: HeaderMap::new(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// What rules see of it.
    pub fn request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            client: self.client,
        }
    }

    fn with_path(&self, path: String) -> Sample {
        Sample {
            path,
            ..self.clone()
        }
    }

    fn with_host(&self, host: String) -> Sample {
        Sample {
            host,
            ..self.clone()
        }
    }

    fn with_client(&self, client: IpAddr) -> Sample {
        Sample {
            client,
            ..self.clone()
        }
    }

    fn with_method(&self, method: &str) -> Option<Sample> {
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        Some(Sample {
            method,
            ..self.clone()
        })
    }

    fn with_field(&self, name: &FieldName, value: &[u8]) -> Option<Sample> {
        let FieldName::Field(name) = name else {
            return None;
        };
        let mut sample = self.clone();
        let value = HeaderValue::from_bytes(value).ok()?;
        sample.headers.append(name, value);
        Some(sample)
    }

    fn with_parameter(&self, key: &[u8], value: &[u8]) -> Sample {
        let join = if self.query.is_empty() { "" } else { "&" };
        let (key, value) = (encoded(key), encoded(value));
        Sample {
            query: format!("{}{join}{key}={value}", self.query),
            ..self.clone()
        }
    }
}

/// Requests that meet an expression, as near to `start` as the search finds them, and no two alike.
pub(crate) fn samples(expression: &Expression, start: &Sample) -> Vec<Sample> {
    let mut found = Vec::new();
    let mut open = vec![Try {
        conditions: vec![expression],
        put_off: Vec::new(),
        sample: start.clone(),
    }];
    for _ in 0..MOST_STEPS {
        let Some(next) = open.pop() else {
            break;
        };
        match next.step() {
            // The first of them is looked at first.
            Step::Tries(tries) => open.extend(tries.into_iter().rev()),
            Step::Done(sample) => {
                if expression.matches(&sample.request()) && !found.contains(&sample) {
                    found.push(sample);
                }
            }
        }
        if found.len() == MOST_FOUND {
            break;
        }
    }
    found
}

/// A sample on its way, with the conditions that it is still to meet.
#[derive(Clone)]
struct Try<'e> {
    /// The next one is the last.
    conditions: Vec<&'e Expression>,
    /// Those under a `!`.
    put_off: Vec<&'e Leaf>,
    sample: Sample,
}

enum Step<'e> {
    Tries(Vec<Try<'e>>),
    Done(Sample),
}

impl<'e> Try<'e> {
    fn step(mut self) -> Step<'e> {
        let leaf = match self.conditions.pop() {
            Some(Expression::All(parts)) => {
                self.conditions.extend(parts.iter().rev());
                return Step::Tries(vec![self]);
            }
            Some(Expression::Any(parts)) => {
                return Step::Tries(parts.iter().map(|part| self.with_condition(part)).collect());
            }
            Some(Expression::Leaf(leaf)) if leaf.negated => {
                self.put_off.push(leaf);
                return Step::Tries(vec![self]);
            }
            Some(Expression::Leaf(leaf)) => leaf,
            None => match self.put_off.pop() {
                Some(leaf) => leaf,
                None => return Step::Done(self.sample),
            },
        };
        let changed = changed(leaf, &self.sample).into_iter();
        Step::Tries(changed.map(|sample| self.with_sample(sample)).collect())
    }

    fn with_condition(&self, condition: &'e Expression) -> Self {
        let mut tried = self.clone();
        tried.conditions.push(condition);
        tried
    }

    fn with_sample(&self, sample: Sample) -> Self {
        Try {
            sample,
            ..self.clone()
        }
    }
}

/// The samples that meet a condition: this one if it does, and others.
fn changed(leaf: &Leaf, sample: &Sample) -> Vec<Sample> {
    let changes = match leaf.negated {
        false => changes_to(&leaf.matcher, sample),
        true => changes_from(&leaf.matcher, sample),
    };
    let mut all = vec![sample.clone()];
    all.extend(changes);
    all.retain(|it| leaf.matches(&it.request()));
    all
}

/// Samples that may meet a condition which this one may not.
fn changes_to(matcher: &Matcher, sample: &Sample) -> Vec<Sample> {
    match matcher {
        Matcher::Host(HostPattern::Any) => Vec::new(),
        Matcher::Host(HostPattern::Exact(host)) => vec![sample.with_host(host.to_string())],
        Matcher::Host(HostPattern::Wildcard(parent)) => {
            vec![sample.with_host(format!("www.{parent}"))]
        }
        Matcher::HostRegexp(regexp) => {
            let hosts = regexp.examples().into_iter();
            hosts.map(|host| sample.with_host(host)).collect()
        }
        Matcher::Path(path) => vec![sample.with_path(path.to_string())],
        Matcher::PathPrefix(prefix) | Matcher::SegmentPrefix(prefix) => {
            let slash = if prefix.ends_with('/') { "" } else { "/" };
            let below = [prefix.to_string(), format!("{prefix}{slash}other")];
            below.map(|path| sample.with_path(path)).into()
        }
        Matcher::PathRegexp(regexp) => (regexp.examples().into_iter())
            .flat_map(|part| match part.starts_with('/') {
                true => [part.clone(), format!("{}{part}", sample.path)],
                false => [format!("/{part}"), format!("{}{part}", sample.path)],
            })
            .map(|path| sample.with_path(path))
            .collect(),
        Matcher::Method(method) => sample.with_method(method).into_iter().collect(),
        Matcher::Header(name, value) => sample.with_field(name, value).into_iter().collect(),
        Matcher::HeaderRegexp(name, regexp) => (regexp.examples().iter())
            .filter_map(|value| sample.with_field(name, value.as_bytes()))
            .collect(),
        Matcher::Query(key, value) => vec![sample.with_parameter(key, value)],
        Matcher::QueryRegexp(key, regexp) => (regexp.examples().iter())
            .map(|value| sample.with_parameter(key, value.as_bytes()))
            .collect(),
        Matcher::ClientIp(net) => vec![sample.with_client(first_host(net))],
    }
}

/// Samples that may not meet a condition which this one may.
fn changes_from(matcher: &Matcher, sample: &Sample) -> Vec<Sample> {
    match matcher {
        Matcher::Host(_) | Matcher::HostRegexp(_) => (sample.host.split_once('.').into_iter())
            .map(|(_, parent)| sample.with_host(format!("other.{parent}")))
            .chain([sample.with_host("other.invalid".to_owned())])
            .collect(),
        Matcher::Path(_)
        | Matcher::PathPrefix(_)
        | Matcher::SegmentPrefix(_)
        | Matcher::PathRegexp(_) => {
            let slash = if sample.path.ends_with('/') { "" } else { "/" };
            let below = format!("{}{slash}other", sample.path);
            let others = OTHER_PATHS.map(str::to_owned).into_iter().chain([below]);
            others.map(|path| sample.with_path(path)).collect()
        }
        Matcher::Method(_) => ["POST", "PUT", "DELETE"]
            .into_iter()
            .filter_map(|method| sample.with_method(method))
            .collect(),
        Matcher::Header(FieldName::Field(name), _)
        | Matcher::HeaderRegexp(FieldName::Field(name), _) => {
            let mut without = sample.clone();
            without.headers.remove(name);
            vec![without]
        }
        Matcher::Header(FieldName::Never(_), _) | Matcher::HeaderRegexp(FieldName::Never(_), _) => {
            Vec::new()
        }
        Matcher::Query(..) | Matcher::QueryRegexp(..) => vec![Sample {
            query: String::new(),
            ..sample.clone()
        }],
        Matcher::ClientIp(_) => OTHER_CLIENTS
            .map(|client| sample.with_client(client))
            .into(),
    }
}

/// The address of a network that is most likely a client's.
fn first_host(net: &IpNet) -> IpAddr {
    net.hosts().next().unwrap_or_else(|| net.addr())
}

/// As it stands in a query.
fn encoded(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let one = |byte: &u8| match plain(byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::Sample;
    use crate::{Match, PathMatch, Rule};

    #[test]
    fn every_sample_is_taken() {
        let cases = [
            "Path(`/a`)",
            "PathPrefix(`/a/`) && Method(`POST`)",
            "Host(`b.test`) && Path(`/a`)",
            "Host(`*.test`)",
            "HostRegexp(`^[a-z]{3}[0-9]+\\.test$`)",
            "PathRegexp(`^/v[0-9]+/(users|groups)/[^/]+$`)",
            "PathPrefix(`/files`) && PathRegexp(`\\.(png|jpg)$`)",
            "PathRegexp(`end$`)",
            "Header(`X-Version`, `2`) && HeaderRegexp(`X-Tag`, `^(a|b)+$`)",
            "Query(`a b`, `c&d`) && QueryRegexp(`n`, `^[1-9]$`) && Query(`empty`)",
            "ClientIP(`10.1.2.0/24`)",
            "ClientIP(`fd00::/8`)",
            "!Path(`/`)",
            "!PathPrefix(`/other`) && !Method(`GET`)",
            "PathPrefix(`/a`) && !Path(`/a`)",
            "!ClientIP(`127.0.0.0/8`) && !Header(`x`, `y`)",
            "Path(`/a`) && Method(`GET`) || Path(`/b`) && Method(`PUT`)",
            "(Path(`/a`) || Path(`/b`)) && !Path(`/a`)",
            "!Query(`a`, `b`) && !HostRegexp(`^a`)",
        ];
        for text in cases {
            let rule = Rule::parse(text).unwrap();
            let samples = rule.samples(&Sample::of("a.test"));
            assert!(!samples.is_empty(), "{text}");
            for sample in samples {
                assert!(rule.matches(&sample.request()), "{text}: {sample:?}");
            }
        }
        assert_eq!(cases.len(), 19);
    }

    #[test]
    fn what_no_request_meets_has_none() {
        for text in [
            "Path(`/a`) && Path(`/b`)",
            "!Host(`*`)",
            "Header(`a b`, `c`)",
        ] {
            let samples = Rule::parse(text).unwrap().samples(&Sample::of("a.test"));
            assert_eq!(samples, [], "{text}");
        }
    }

    #[test]
    fn alternatives_have_one_each() {
        let rule = Rule::parse("Path(`/a`) || Path(`/b`) || Method(`PUT`)").unwrap();
        let samples = rule.samples(&Sample::of("a.test"));
        let shown: Vec<_> = (samples.iter())
            .map(|it| format!("{} {}", it.method, it.path))
            .collect();
        assert_eq!(shown, ["GET /a", "GET /b", "PUT /"]);
    }

    #[test]
    fn a_prefix_is_met_below_it_too() {
        let fields = Match {
            path: Some(PathMatch::Prefix("/api".to_owned())),
            ..Match::default()
        };
        let rule = Rule::of(&fields).unwrap().unwrap();
        let samples = rule.samples(&Sample::of("a.test"));
        let paths: Vec<_> = samples.iter().map(|it| &*it.path).collect();
        assert_eq!(paths, ["/api", "/api/other"]);
    }

    #[test]
    fn an_expression_of_a_thousand_alternatives_ends() {
        let part = "(Path(`/a`) || Path(`/b`) || Path(`/c`))";
        let text = [part; 60].join(" && ");
        let rule = Rule::parse(&text).unwrap();
        assert!(!rule.samples(&Sample::of("a.test")).is_empty());
    }
}
