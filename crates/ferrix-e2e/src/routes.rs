//! Routing tables made by hand, in few words.

use std::{net::SocketAddr, sync::Arc};

use ferrix_table::{
    Table,
    backend_policy::BackendPolicy,
    certificates::{Certificates, ServerNames},
    filters::external_auth::{AuthProtocol, ExternalAuth},
    ids::ServiceIndex,
    object::{Key, Kind, ObjectName},
    policy::Policy,
    rule_set::RuleSet,
    rules::{Action, Destination, HostPattern, Route, Rule, Split},
    services::{Endpoint, Protocol, Scheme, Service, ServiceId},
    table::EntryPoint,
    weight::Weight,
};

use crate::certificates::Certified;

/// Where the plain entry point stands in every table.
pub const WEB: u16 = 0;

/// Where the secure one does.
pub const WEBSECURE: u16 = 1;

/// Rules are served on both, and on two more that a test may add.
const EVERYWHERE: [u16; 4] = [WEB, WEBSECURE, 2, 3];

/// What a table is made of.
#[derive(Debug)]
pub struct Routes {
    rules: Vec<Rule>,
    services: Vec<Service>,
    /// By entry point.
    names: Vec<ServerNames>,
    /// Where rules and certificates go that are added.
    entry_points: Vec<u16>,
    default: Option<Arc<ferrix_table::certificates::Certificate>>,
}

impl Routes {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            rules: Vec::new(),
            services: Vec::new(),
            names: vec![ServerNames::default(); 2],
            entry_points: EVERYWHERE.into(),
            default: None,
        }
    }

    /// What is added from now on is for these entry points alone.
    pub fn on(mut self, entry_points: &[u16]) -> Self {
        self.entry_points = entry_points.into();
        self
    }

    /// All requests go to these addresses, in HTTP/1.1.
    pub fn all_to(addresses: &[SocketAddr]) -> Self {
        Self::all_by(Protocol::Http1, addresses)
    }

    /// All requests go to these addresses.
    pub fn all_by(protocol: Protocol, addresses: &[SocketAddr]) -> Self {
        Self::new()
            .service("all", protocol, addresses)
            .rule("*", "", &[("all", 1)])
    }

    /// Adds a service.
    pub fn service(mut self, name: &str, protocol: Protocol, addresses: &[SocketAddr]) -> Self {
        let endpoint = |address: &SocketAddr| Endpoint::new(*address);
        self.services.push(Service {
            id: ServiceId {
                service: ObjectName::new("default", name),
                port: 80,
                scheme: match protocol {
                    Protocol::Http1 => Scheme::Http,
                    Protocol::Http2 => Scheme::H2c,
                    Protocol::Tls { .. } | Protocol::Verified(_) => Scheme::Https,
                    Protocol::Tcp => Scheme::Tcp,
                    Protocol::Udp => Scheme::Udp,
                },
            },
            protocol,
            endpoints: addresses.iter().map(endpoint).collect(),
            policy: None,
            state: Arc::default(),
        });
        self
    }

    /// Adds a rule for a host (`*`: any) to services with weights, on both entry points.
    ///
    /// # Panics
    /// Where host, rule or service are not valid.
    pub fn rule(self, host: &str, matches: &str, services: &[(&str, u32)]) -> Self {
        let weights: Vec<_> = services
            .iter()
            .map(|(name, weight)| (self.index(name), *weight))
            .collect();
        let action = Split::new(&weights).map_or(Action::Unavailable, Action::Forward);
        self.action(host, matches, action)
    }

    /// Gives the service that was added last a policy.
    ///
    /// # Panics
    /// Where there is none.
    pub fn backend_policy(mut self, policy: &BackendPolicy) -> Self {
        let service = self.services.pop().expect("a service");
        let service = service.with_policy(Arc::new(policy.clone()));
        self.services.push(service);
        self
    }

    /// Where a service is that was added.
    ///
    /// # Panics
    /// Where it was not.
    pub fn index(&self, name: &str) -> ServiceIndex {
        let mut services = self.services.iter();
        let position = services.position(|service| &*service.id.service.name == name);
        ServiceIndex::try_from(position.expect("a known service")).unwrap()
    }

    /// Asks a service that was added of each request, by HTTP, which gets and says no field by its name, and
    /// remembers nothing.
    ///
    /// # Panics
    /// Where it was not added.
    pub fn external_auth(&self, service: &str) -> ExternalAuth {
        ExternalAuth {
            service: Ok(self.index(service)),
            protocol: AuthProtocol::Http {
                path_prefix: Box::default(),
                request_headers: Box::default(),
                response_headers: Box::default(),
            },
            body_bytes: 0,
            verdicts: None,
            sign_in: None,
        }
    }

    /// Gives the rule that was added last a policy.
    ///
    /// # Panics
    /// Where there is none.
    pub fn policy(mut self, policy: Policy) -> Self {
        let rule = self.rules.last_mut().expect("a rule");
        rule.policy = Some(Arc::new(policy));
        self
    }

    /// Adds a rule for every request, to destinations with weights.
    ///
    /// # Panics
    /// Where none has a weight.
    pub fn destinations(self, destinations: &[(Destination, u32)]) -> Self {
        let split = Split::new(destinations).expect("a destination");
        self.action("*", "", Action::Forward(split))
    }

    /// Adds a rule for every request, which its filters answer.
    pub fn answered(self, policy: Policy) -> Self {
        self.action("*", "", Action::Answered).policy(policy)
    }

    /// Adds a rule whose reference cannot be resolved.
    pub fn unresolved(self, host: &str, matches: &str) -> Self {
        self.action(
            host,
            matches,
            Action::Unresolved("there is no such service".into()),
        )
    }

    fn action(mut self, host: &str, matches: &str, action: Action) -> Self {
        let matches = (!matches.is_empty()).then(|| ferrix_rule::Rule::parse(matches).unwrap());
        let position = u32::try_from(self.rules.len()).unwrap();
        self.rules.push(Rule {
            route: Arc::new(Route {
                key: Key::new(Kind::IngressRoute, "default", format!("route-{position}")),
                generation: 1,
                created: Some(0),
                state: Arc::default(),
            }),
            position,
            host: self::host(host),
            weight: Weight::Priority(matches.as_ref().map_or(0, |it| it.shown().len() as i64)),
            matches,
            entry_points: self.entry_points.as_slice().into(),
            action,
            policy: None,
            dry_run: None,
        });
        self
    }

    /// Presents a certificate for these names (`*.example.com` for a wildcard, `*` for
    /// any host).
    pub fn certificate(mut self, names: &[&str], certified: &Certified) -> Self {
        let certificate = certified.for_table();
        for entry_point in self.entry_points.iter().map(|it| usize::from(*it)) {
            let places = self.names.len().max(entry_point + 1);
            self.names.resize(places, ServerNames::default());
            for name in names {
                let certificate = Arc::clone(&certificate);
                self.names[entry_point].insert(&host(name), certificate);
            }
        }
        self
    }

    /// Presents a certificate where none other fits.
    pub fn default_certificate(mut self, certified: &Certified) -> Self {
        self.default = Some(certified.for_table());
        self
    }

    /// The table.
    pub fn into_table(self) -> Table {
        Table {
            generation: 0,
            entry_points: Arc::new(
                [EntryPoint::http("web"), EntryPoint::https("websecure")]
                    .as_slice()
                    .into(),
            ),
            rules: Arc::new(RuleSet::new(self.rules)),
            services: Arc::new(self.services.into_iter().map(Arc::new).collect()),
            certificates: Arc::new(Certificates {
                entry_points: self.names,
                default: self.default,
            }),
        }
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

fn host(pattern: &str) -> HostPattern {
    match pattern {
        "*" => HostPattern::Any,
        pattern => HostPattern::parse(pattern).unwrap(),
    }
}
