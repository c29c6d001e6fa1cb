//! What routes of the Gateway API have in common, whatever their kind: parents, hostnames and backends.

use std::sync::Arc;

use ferrix_api::gateway::{self as api, ParentReference};
use ferrix_rule::{Match, Rule};
use ferrix_table::{
    filters::Filter,
    rules::{HostPattern, Route},
    services::Scheme,
    weight::{Specificity, Weight},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    draft::{
        self, BackendReference, ClassReference, Draft, DraftFilters, DraftPolicy, DraftRule,
        DraftService, EntryPointNames, Hosts, LostShare, Named, Parents,
    },
    field::Field,
    filters::{
        self, List, Place,
        policy::{self, WrittenPolicy},
    },
    gateway::ALL_SCOPES,
    objects::{Kind, Origin},
    rare::Rare,
    report::{Finding, Reason},
};

pub(crate) mod grpcroute;
pub(crate) mod httproute;
pub(crate) mod status;
pub(crate) mod stream;

/// What has been made of a version so far.
struct Drafting {
    route: Arc<Route>,
    /// How backends are spoken to whose Service does not say.
    scheme: Scheme,
    hosts: Hosts,
    rules: Vec<DraftRule>,
    /// What rules name that are bad.
    unserved: Vec<BackendReference>,
    faults: Vec<Finding>,
    notes: Vec<Finding>,
}

impl Drafting {
    fn new(kind: Kind, metadata: &ObjectMeta, scheme: Scheme, hostnames: &[String]) -> Self {
        let mut faults = Vec::new();
        let hosts = hosts(hostnames, &mut faults);
        Self {
            route: draft::route(kind, metadata),
            scheme,
            hosts,
            rules: Vec::new(),
            unserved: Vec::new(),
            faults,
            notes: Vec::new(),
        }
    }

    /// `defaults`: which default Gateways it asks for.
    fn finish(
        self,
        parents: &[ParentReference],
        defaults: Option<&String>,
        origin: Origin,
    ) -> Draft {
        let faults = self.faults.into_iter();
        Draft {
            route: self.route,
            class: ClassReference::Parents,
            entry_points: EntryPointNames::Parents(Parents {
                named: parents.into(),
                defaults: defaults.is_some_and(|scope| scope == ALL_SCOPES),
            }),
            hosts: self.hosts,
            host_field: "spec.hostnames",
            rules: self.rules.into(),
            unserved: self.unserved.into(),
            certificates: Rare::default(),
            faults: faults.map(|fault| fault.located(&origin)).collect(),
            notes: self.notes.into(),
            origin,
        }
    }

    fn fault(&mut self, reason: Reason, field: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Finding::problem(reason, field, message));
    }

    /// The backends of a rule: those that may be Services, and the shares of the others. `prefix`: of
    /// the paths that the rule takes.
    fn backends(
        &mut self,
        references: &[api::BackendReference],
        rule: usize,
        prefix: Option<&str>,
    ) -> (Vec<BackendReference>, Vec<LostShare>) {
        let (mut backends, mut lost) = (Vec::new(), Vec::new());
        for (place, reference) in references.iter().enumerate() {
            let field = Field::new("spec.rules[].backendRefs[]", [rule, place]);
            let named = Named {
                group: &reference.group,
                kind: &reference.kind,
                namespace: reference.namespace.as_deref(),
                name: &reference.name,
                port: reference.port,
            };
            let weight = reference.weight;
            let filters = self.backend_filters(&reference.filters, rule, place, prefix);
            match self.service(&named, field) {
                Ok(backend) => backends.push(BackendReference {
                    weight: Some(weight),
                    filters,
                    ..backend
                }),
                Err(finding) => lost.push(LostShare { finding, weight }),
            }
        }
        (backends, lost)
    }

    /// The filters of one backend; they make the route bad where they are.
    fn backend_filters(
        &mut self,
        filters: &[api::HttpRouteFilter],
        rule: usize,
        backend: usize,
        prefix: Option<&str>,
    ) -> Option<Arc<Box<[Filter<DraftService>]>>> {
        if filters.is_empty() {
            return None;
        }
        let list = match self.route.key.kind {
            Kind::GrpcRoute => List::GrpcBackend(rule, backend),
            _ => List::HttpBackend(rule, backend),
        };
        match filters::compile(filters, self.place(list, prefix)) {
            // None of them is named.
            Ok(lists) => {
                let own = lists.iter().filter_map(DraftFilters::own);
                let own = own.flat_map(|filters| filters.iter().cloned());
                Some(Arc::new(own.collect()))
            }
            Err(faults) => {
                self.faults(faults);
                None
            }
        }
    }

    /// What a rule asks for beyond forwarding.
    fn policy(
        &mut self,
        written: WrittenPolicy<'_>,
        rule: usize,
        prefix: Option<&str>,
    ) -> Option<Arc<DraftPolicy>> {
        let list = match self.route.key.kind {
            Kind::GrpcRoute => List::GrpcRule(rule),
            _ => List::HttpRule(rule),
        };
        let made = policy::of_rule(written, self.place(list, prefix));
        made.unwrap_or_else(|faults| {
            self.faults(faults);
            None
        })
    }

    fn place<'p>(&'p self, list: List, prefix: Option<&'p str>) -> Place<'p> {
        Place {
            list,
            object: &self.route.key,
            prefix,
            // Only an object of our own has caches.
            purge: None,
        }
    }

    /// Several matches of a rule may have the same.
    fn faults(&mut self, faults: Vec<Finding>) {
        for fault in faults {
            if !self.faults.contains(&fault) {
                self.faults.push(fault);
            }
        }
    }

    /// What a reference means.
    fn service(&self, named: &Named<'_>, field: Field) -> DraftService {
        let service = named.service(field, &self.route.key.namespace, |it| {
            format!(
                "a {} of group `{}` cannot serve requests here; name a Service",
                it.kind, it.group
            )
        });
        let is_raw = matches!(self.scheme, Scheme::Tcp | Scheme::Udp);
        service.map(|service| BackendReference {
            scheme: is_raw.then_some(self.scheme),
            default_scheme: Some(self.scheme),
            ..service
        })
    }

    /// Takes the matches of a rule, unless anything of it is bad.
    fn add_rules(&mut self, rules: Vec<DraftRule>, faults_before: usize) {
        match self.faults.len() > faults_before {
            true => {
                let backends = rules.into_iter().flat_map(|rule| rule.backends);
                self.unserved.extend(backends);
            }
            false => self.rules.extend(rules),
        }
    }

    /// A rule of a connection or of datagrams: all that come to its hosts.
    fn stream_rule(&mut self, rule: &api::StreamRouteRule, position: usize) {
        let (backends, lost) = self.backends(&rule.backend_refs, position, None);
        self.rules.push(DraftRule {
            backends: backends.into(),
            lost: lost.into(),
            ..self.rule_of(&Match::default(), None, position)
        });
    }

    /// A rule without backends, for requests that these fields ask for.
    fn rule_of(&self, fields: &Match, matches: Option<Rule>, position: usize) -> DraftRule {
        DraftRule {
            field: Field::new("spec.rules[]", [position]),
            position: u32::try_from(position).unwrap_or(u32::MAX),
            hosts: Arc::clone(&self.hosts),
            matches,
            weight: Weight::Specificity(Specificity::from(fields)),
            backends: Box::default(),
            lost: Rare::default(),
            policy: None,
            dry_run: false,
        }
    }
}

/// The hosts of a route; any where it names none. None where one of them is wrong.
fn hosts(hostnames: &[String], faults: &mut Vec<Finding>) -> Hosts {
    if hostnames.is_empty() {
        return [HostPattern::Any].into();
    }
    let mut hosts = Vec::new();
    for (place, name) in hostnames.iter().enumerate() {
        match HostPattern::parse_gateway(name) {
            Ok(host) if hosts.contains(&host) => {}
            Ok(host) => hosts.push(host),
            Err(error) => {
                let field = Field::new("spec.hostnames[]", [place]).to_string();
                let message = format!(
                    "`{name}` is no hostname: {error}; expected such as `example.com` or \
                     `*.example.com`"
                );
                faults.push(Finding::problem(Reason::InvalidHost, field, message));
            }
        }
    }
    hosts.into()
}
