//! Rules, services and requests in few words, for the tests of this crate.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
};

use ferrix_rule::{Match, PathMatch};
use http::{HeaderMap, Method};
use rustls::{
    SignatureAlgorithm, SignatureScheme,
    sign::{CertifiedKey, Signer, SigningKey},
};

use crate::{
    Request, Table,
    certificates::Certificate,
    object::{Key, Kind, ObjectName},
    rule_set::RuleSet,
    rules::{Action, HostPattern, Route, Rule, Split},
    services::{Endpoint, Protocol, Scheme, Service, ServiceId},
    table::EntryPoint,
    weight::Weight,
};

/// A rule of the route `default/NAME`, at position 0, on the first entry point, for service 0. The
/// host `*` is any host, `**.DOMAIN` all below a domain; the priority is the length of the text. A
/// path in place of a text is a prefix of whole segments.
pub(crate) fn rule(name: &str, host: &str, matches: &str) -> Rule {
    let matches = match matches {
        "" => None,
        path if path.starts_with('/') => {
            let path = Some(PathMatch::Prefix(path.to_owned()));
            let fields = Match {
                path,
                ..Match::default()
            };
            ferrix_rule::Rule::of(&fields).unwrap()
        }
        text => Some(ferrix_rule::Rule::parse(text).unwrap()),
    };
    Rule {
        route: route(name),
        position: 0,
        host: match host {
            "*" => HostPattern::Any,
            host => match host.strip_prefix("**.") {
                Some(domain) => HostPattern::Below(domain.into()),
                None => HostPattern::parse(host).unwrap(),
            },
        },
        weight: Weight::Priority(matches.as_ref().map_or(0, |it| it.shown().len() as i64)),
        matches,
        entry_points: [0].into(),
        action: Action::Forward(Split::new(&[(0, 1)]).unwrap()),
        policy: None,
        dry_run: None,
    }
}

/// The same of the route `NAMESPACE/r`.
pub(crate) fn rule_of(namespace: &str, host: &str, matches: &str) -> Rule {
    let rule = rule("r", host, matches);
    let mut route = Route::clone(&rule.route);
    route.key = Key::new(route.key.kind, namespace, &*route.key.name);
    Rule {
        route: Arc::new(route),
        ..rule
    }
}

/// Host and expression of a rule.
pub(crate) type Asked<'a> = (&'a str, &'a str);

/// A rule of the namespace `w`, and one of `v`; the first has the higher priority.
pub(crate) fn rivals(winner: Asked<'_>, victim: Asked<'_>) -> [Rule; 2] {
    let first = Rule {
        weight: Weight::Priority(1000),
        ..rule_of("w", winner.0, winner.1)
    };
    [first, rule_of("v", victim.0, victim.1)]
}

pub(crate) fn route(name: &str) -> Arc<Route> {
    Arc::new(Route {
        key: Key::new(Kind::IngressRoute, "default", name),
        generation: 1,
        created: Some(0),
        state: Arc::default(),
    })
}

/// A service `default/NAME:80` with endpoints at these ports of 10.0.0.1.
pub(crate) fn service(name: &str, ports: &[u16]) -> Service {
    let endpoint = |port: &u16| Endpoint::new(address(*port));
    Service {
        id: ServiceId {
            service: ObjectName::new("default", name),
            port: 80,
            scheme: Scheme::Http,
        },
        protocol: Protocol::Http1,
        endpoints: ports.iter().map(endpoint).collect(),
        policy: None,
        state: Arc::default(),
    }
}

pub(crate) fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, 1), port).into()
}

/// A table with the entry points `web` and `websecure`.
pub(crate) fn table(rules: Vec<Rule>, services: Vec<Service>) -> Table {
    Table {
        entry_points: Arc::new(
            [EntryPoint::http("web"), EntryPoint::https("websecure")]
                .as_slice()
                .into(),
        ),
        rules: Arc::new(RuleSet::new(rules)),
        services: Arc::new(services.into_iter().map(Arc::new).collect()),
        ..Table::default()
    }
}

/// A GET.
pub(crate) fn get<'a>(host: &'a str, path: &'a str) -> Request<'a> {
    static HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
    Request {
        method: &Method::GET,
        host,
        path,
        query: "",
        headers: &*HEADERS,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// A certificate that only its id tells from others.
pub(crate) fn certificate(id: &str) -> Arc<Certificate> {
    Arc::new(Certificate {
        id: id.into(),
        key: Arc::new(CertifiedKey::new(Vec::new(), Arc::new(NoKey))),
        not_after: 4_102_444_800,
    })
}

#[derive(Debug)]
struct NoKey;

impl SigningKey for NoKey {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        None
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}
