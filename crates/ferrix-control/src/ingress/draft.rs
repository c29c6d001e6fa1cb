//! From one version of an Ingress to its draft.

use std::sync::Arc;

use ferrix_api::ingressroute::Port;
use ferrix_rule::{Match, PathMatch, Rule};
use ferrix_table::{
    rules::HostPattern,
    weight::{Specificity, Weight},
};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
};

use crate::{
    draft::{
        self, BackendReference, CertificateReference, ClassReference, Draft, DraftFilters,
        DraftPolicy, DraftRule, EntryPointNames, FilterReference, Hosts,
    },
    field::Field,
    filters::named,
    names::shared,
    never,
    objects::{Kind, ObjectName, Origin, group},
    rare::Rare,
    report::{Finding, Reason},
    url_path,
};

/// Names the class, as it did before there was a field for that. It comes first where both do.
const CLASS: &str = "kubernetes.io/ingress.class";

/// Those of controllers that Ingresses come from, which ask for much by annotations.
const OTHERS: [&str; 4] = [
    "nginx.ingress.kubernetes.io",
    "traefik.ingress.kubernetes.io",
    "haproxy.org",
    "konghq.com",
];

/// Names the entry points, with commas between them.
const ENTRY_POINTS: &str = "ferrix.com/entrypoints";

/// Names the Filters that all requests pass through, in this order, with commas between them.
const FILTERS: &str = "ferrix.com/filters";

/// Compiles one version by itself.
pub(crate) fn draft(ingress: &Ingress, origin: Origin) -> Draft {
    let metadata = &ingress.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    let annotation = |name: &str| metadata.annotations.as_ref()?.get(name).map(String::as_str);
    let empty = IngressSpec::default();
    let spec = ingress.spec.as_ref().unwrap_or(&empty);
    let mut drafting = Drafting {
        namespace,
        policy: annotation(FILTERS).and_then(|names| policy(names, namespace)),
        position: 0,
        hosts: Vec::new(),
        rules: Vec::new(),
        unserved: Vec::new(),
        faults: Vec::new(),
        notes: Vec::new(),
    };
    drafting.annotations(metadata.annotations.iter().flatten(), &origin);
    drafting.rules(spec);
    let certificates = drafting.certificates(spec);
    let class = annotation(CLASS).or(spec.ingress_class_name.as_deref());
    let faults = drafting.faults.into_iter();
    Draft {
        route: draft::route(Kind::Ingress, metadata),
        class: ClassReference::IngressClass(class.map(shared)),
        entry_points: annotation(ENTRY_POINTS).map_or(EntryPointNames::All, entry_points),
        hosts: drafting.hosts.into(),
        host_field: "spec.rules",
        rules: drafting.rules.into(),
        unserved: drafting.unserved.into(),
        certificates,
        faults: faults.map(|fault| fault.located(&origin)).collect(),
        notes: drafting.notes.into(),
        origin,
    }
}

fn entry_points(names: &str) -> EntryPointNames {
    let field = Field::new("metadata.annotations", []);
    EntryPointNames::Named(listed(names).map(|name| (field, shared(name))).collect())
}

/// What all rules ask for beyond forwarding.
fn policy(names: &str, namespace: &str) -> Option<Arc<DraftPolicy>> {
    let field = Field::new("metadata.annotations", []);
    let named = listed(names).map(|name| {
        let filter = named(name, namespace);
        DraftFilters::Named(FilterReference { field, filter })
    });
    let policy = DraftPolicy {
        lists: named.collect(),
        ..DraftPolicy::default()
    };
    (!policy.is_empty()).then(|| Arc::new(policy))
}

/// Names with commas between them.
fn listed(names: &str) -> impl Iterator<Item = &str> {
    names.split(',').map(str::trim).filter(|it| !it.is_empty())
}

/// What has been made of a version so far.
struct Drafting<'i> {
    namespace: &'i str,
    /// Of every rule.
    policy: Option<Arc<DraftPolicy>>,
    /// Of the next rule, good or not.
    position: u32,
    /// Those of rules and of certificates.
    hosts: Vec<HostPattern>,
    rules: Vec<DraftRule>,
    /// What rules name that are bad.
    unserved: Vec<BackendReference>,
    faults: Vec<Finding>,
    notes: Vec<Finding>,
}

impl Drafting<'_> {
    fn fault(&mut self, reason: Reason, field: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Finding::problem(reason, field, message));
    }

    /// Those that have no effect though somebody relies on them.
    fn annotations<'a>(
        &mut self,
        annotations: impl Iterator<Item = (&'a String, &'a String)>,
        origin: &Origin,
    ) {
        let mut of_others = Vec::new();
        for (name, _) in annotations {
            match name.split_once('/') {
                Some((domain, _))
                    if domain == group(Kind::IngressRoute)
                        && ![ENTRY_POINTS, FILTERS].contains(&&**name) =>
                {
                    let message =
                        format!("`{name}` is unknown; expected `{ENTRY_POINTS}` or `{FILTERS}`");
                    self.annotation(Reason::UnknownField, message);
                }
                // A cluster may have many, and none of them is for Ferrix to judge.
                Some((domain, _)) if OTHERS.contains(&domain) && *origin != Origin::Api => {
                    of_others.push(format!("`{name}`"));
                }
                _ => {}
            }
        }
        if !of_others.is_empty() {
            let message = format!(
                "no effect: {}; what such annotations ask for is a Filter here, which `{FILTERS}` \
                 names, or a BackendPolicy of the Service",
                of_others.join(", ")
            );
            self.annotation(Reason::NoEffect, message);
        }
    }

    fn annotation(&mut self, reason: Reason, message: String) {
        self.notes
            .push(Finding::warning(reason, "metadata.annotations", message));
    }

    fn rules(&mut self, spec: &IngressSpec) {
        let rules = spec.rules.as_deref().unwrap_or_default();
        if rules.is_empty() && spec.default_backend.is_none() {
            let message = "expected `rules` or a `defaultBackend`";
            self.fault(Reason::InvalidSpec, "spec", message);
        }
        for (place, rule) in rules.iter().enumerate() {
            let field = Field::new("spec.rules[].host", [place]);
            let host = self.host(rule.host.as_deref().unwrap_or_default(), field);
            // None where it is bad: what else is wrong with the rule is found all the same.
            let hosts: Hosts = host.into_iter().collect();
            match rule.http.as_ref().map(|http| &*http.paths) {
                Some(paths) if !paths.is_empty() => {
                    for (path_place, path) in paths.iter().enumerate() {
                        self.path(path, [place, path_place], &hosts);
                    }
                }
                _ => self.host_alone(rule, place, spec.default_backend.as_ref(), &hosts),
            }
        }
        if let Some(backend) = &spec.default_backend {
            // What no rule takes: requests for hosts without rules, and those for other paths.
            let any: Hosts = self.host("", Field::new("spec", [])).into_iter().collect();
            self.default_backend(backend, &any);
        }
    }

    /// A canonical host; the empty text means any.
    fn host(&mut self, host: &str, field: Field) -> Option<HostPattern> {
        let pattern = match host {
            "" => Ok(HostPattern::Any),
            host => draft::host(host),
        };
        match pattern {
            Ok(pattern) => {
                if !self.hosts.contains(&pattern) {
                    self.hosts.push(pattern.clone());
                }
                Some(pattern)
            }
            Err(message) => {
                self.fault(Reason::InvalidHost, field.to_string(), message);
                None
            }
        }
    }

    /// A host without paths: all of its requests are for the default backend.
    fn host_alone(
        &mut self,
        rule: &IngressRule,
        place: usize,
        backend: Option<&IngressBackend>,
        hosts: &Hosts,
    ) {
        match backend {
            Some(backend) => self.default_backend(backend, hosts),
            None => {
                let message = format!(
                    "there are no paths for {}, and no `spec.defaultBackend`: nothing serves it",
                    rule.host.as_deref().unwrap_or("any host")
                );
                let field = Field::new("spec.rules[]", [place]).to_string();
                let note = Finding::warning(Reason::NoEffect, field, message);
                self.notes.push(note);
            }
        }
    }

    fn default_backend(&mut self, backend: &IngressBackend, hosts: &Hosts) {
        let field = Field::new("spec.defaultBackend", []);
        let service = Field::new("spec.defaultBackend.service", []);
        self.rule(field, hosts, Match::default(), backend, service);
    }

    fn path(&mut self, path: &HTTPIngressPath, places: [usize; 2], hosts: &Hosts) {
        let field = Field::new("spec.rules[].http.paths[]", places);
        let text = path.path.clone().unwrap_or_default();
        let text = match (&*path.path_type, &*text) {
            // Every path, unless it is to be exact.
            ("Prefix" | "ImplementationSpecific", "") => "/".to_owned(),
            _ => text,
        };
        let path_match = match &*path.path_type {
            "Exact" => PathMatch::Exact(url_path::routing_form(&text)),
            "Prefix" => PathMatch::Prefix(url_path::routing_form(&text)),
            // Which this is left to. The controller that most come from takes any path that begins so.
            "ImplementationSpecific" => {
                PathMatch::Beginning(url_path::routing_form_of_beginning(&text))
            }
            other => {
                let message = format!(
                    "`{other}` is no type of path; expected `Exact`, `Prefix` or \
                     `ImplementationSpecific`"
                );
                let field = format!("{field}.pathType");
                return self.fault(Reason::InvalidSpec, field, message);
            }
        };
        let fields = Match {
            path: Some(path_match),
            ..Match::default()
        };
        let service = Field::new("spec.rules[].http.paths[].backend.service", places);
        self.rule(field, hosts, fields, &path.backend, service);
    }

    fn rule(
        &mut self,
        field: Field,
        hosts: &Hosts,
        fields: Match,
        backend: &IngressBackend,
        service: Field,
    ) {
        let position = self.position;
        self.position += 1;
        let matches = Rule::of(&fields);
        let path = format!("{field}.path");
        match &matches {
            Ok(Some(matches)) => self.notes.extend(never::findings(matches, hosts, &path)),
            Ok(None) => {}
            Err(error) => self.fault(Reason::InvalidSpec, path, error.to_string()),
        }
        let Some(backend) = self.backend(backend, service) else {
            return;
        };
        let (Ok(matches), false) = (matches, hosts.is_empty()) else {
            return self.unserved.push(backend);
        };
        self.rules.push(DraftRule {
            field,
            position,
            hosts: Arc::clone(hosts),
            matches,
            weight: Weight::Specificity(Specificity::from(&fields)),
            backends: [backend].into(),
            lost: Rare::default(),
            policy: self.policy.clone(),
            dry_run: false,
        });
    }

    fn backend(&mut self, backend: &IngressBackend, field: Field) -> Option<BackendReference> {
        let Some(service) = &backend.service else {
            let message = match &backend.resource {
                Some(resource) => format!(
                    "a {} cannot serve requests here; name a Service as `service`",
                    resource.kind
                ),
                None => "expected `service`".to_owned(),
            };
            self.fault(Reason::InvalidSpec, field.to_string(), message);
            return None;
        };
        let Some(port) = port(service) else {
            let message = "expected a `number` from 1 to 65535 or a `name`";
            self.fault(Reason::InvalidSpec, format!("{field}.port"), message);
            return None;
        };
        Some(BackendReference {
            field,
            service: ObjectName::new(self.namespace, service.name.as_str()),
            weight: None,
            port,
            scheme: None,
            default_scheme: None,
            server_name: None,
            filters: None,
        })
    }

    fn certificates(&mut self, spec: &IngressSpec) -> Rare<CertificateReference> {
        let mut references = Vec::new();
        for (place, tls) in spec.tls.iter().flatten().enumerate() {
            let field = Field::new("spec.tls[].hosts", [place]);
            let hosts = tls.hosts.as_deref().unwrap_or_default();
            let mut hosts: Vec<_> = (hosts.iter())
                .filter_map(|host| self.host(host, field))
                .collect();
            if hosts.is_empty() {
                hosts.extend(self.host("", field));
            }
            // Without a Secret it is the default certificate that is presented.
            if let Some(secret) = tls.secret_name.as_deref().filter(|it| !it.is_empty()) {
                references.push(CertificateReference {
                    field: Field::new("spec.tls[].secretName", [place]),
                    secret: ObjectName::new(self.namespace, secret),
                    hosts: hosts.into(),
                });
            }
        }
        references.into()
    }
}

fn port(service: &IngressServiceBackend) -> Option<Port> {
    let port = service.port.as_ref()?;
    match (port.number, port.name.as_deref()) {
        (Some(number), None | Some("")) => {
            let number = u16::try_from(number).ok().filter(|number| *number != 0);
            number.map(Port::Number)
        }
        (None | Some(0), Some(name)) if !name.is_empty() => Some(Port::Name(name.to_owned())),
        _ => None,
    }
}
