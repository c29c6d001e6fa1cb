//! One version of an IngressRoute by itself: what its fields mean before anything that they name is
//! looked for.

use std::{cell::RefCell, sync::Arc};

use ferrix_api::{
    IngressRoute,
    ingressroute::{self, IngressRouteSpec, RouteFilter, RouteRule, ServiceRef},
};
use ferrix_table::{rules::HostPattern, services::Scheme, weight::Weight};
use rustls_pki_types::ServerName;

use super::policy;
use crate::{
    draft::{
        self, BackendReference, CertificateReference, ClassReference, Draft, DraftRule,
        EntryPointNames, Hosts, NamedEntryPoints,
    },
    field::Field,
    filters::Owner,
    names::{Known, shared, shared_list, shared_name, shared_rule},
    never,
    objects::{Kind, Origin},
    rare::Rare,
    report::{Finding, Reason},
};

thread_local! {
    static ENTRY_POINTS: RefCell<Known<NamedEntryPoints>> = RefCell::default();
}

/// The field with one name of an entry point.
pub(super) const ENTRY_POINT: &str = "spec.entrypoint";

/// The field of a rule with one service.
pub(super) const SERVICE: &str = "spec.route.rules[].service";

/// Compiles an IngressRoute by itself.
pub(crate) fn draft(written: &IngressRoute, origin: Origin) -> Draft {
    let (spec, metadata) = (&written.spec, &written.metadata);
    let route = draft::route(Kind::IngressRoute, metadata);
    let namespace = &route.key.namespace;
    let mut found = Found::default();
    let entry_points = entry_points(spec, &mut found);
    let hosts = hosts(spec, &mut found);
    let rules = rules(spec, Owner::of(&route.key, metadata), &hosts, &mut found);
    let tls = spec.tls.iter().map(|secret| CertificateReference {
        field: Field::new("spec.tls", []),
        secret: shared_name(namespace, secret),
        hosts: Arc::clone(&hosts),
    });
    let certificates = tls.collect();
    let faults = found.faults.into_iter();
    Draft {
        route,
        class: ClassReference::Name(spec.ingress_class_name.as_deref().map(shared)),
        entry_points,
        certificates,
        hosts,
        host_field: "spec.route.host",
        rules,
        unserved: found.unserved.into(),
        faults: faults.map(|fault| fault.located(&origin)).collect(),
        notes: found.notes.into(),
        origin,
    }
}

/// What there is to say about a version by itself.
#[derive(Default)]
struct Found {
    /// What makes it bad.
    faults: Vec<Finding>,
    notes: Vec<Finding>,
    /// What rules name that are bad.
    unserved: Vec<BackendReference>,
}

impl Found {
    fn fault(&mut self, reason: Reason, field: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Finding::problem(reason, field, message));
    }

    /// Takes faults of a rule in; what is wrong with the filters of all rules is that of each.
    fn take(&mut self, faults: Vec<Finding>) {
        for fault in faults {
            if !self.faults.contains(&fault) {
                self.faults.push(fault);
            }
        }
    }
}

fn entry_points(spec: &IngressRouteSpec, found: &mut Found) -> EntryPointNames {
    match (&spec.entrypoint, &spec.entrypoints) {
        (Some(_), Some(_)) => {
            let message = "give `entrypoint` (one name) or `entrypoints` (a list), not both";
            found.fault(Reason::InvalidSpec, "spec.entrypoints", message);
            // Which is meant is not for us to guess.
            EntryPointNames::Named(Arc::default())
        }
        (Some(name), None) => {
            let field = Field::new(ENTRY_POINT, []);
            EntryPointNames::Named(shared_list(&ENTRY_POINTS, [(field, shared(name))]))
        }
        (None, Some(names)) if !names.is_empty() => {
            let field = |place| Field::new("spec.entrypoints[]", [place]);
            let names = names.iter().enumerate();
            let names = names.map(|(at, name)| (field(at), shared(name)));
            EntryPointNames::Named(shared_list(&ENTRY_POINTS, names))
        }
        (None, _) => EntryPointNames::Fitting,
    }
}

fn hosts(spec: &IngressRouteSpec, found: &mut Found) -> Hosts {
    let Some(host) = spec.route.host.as_deref() else {
        return [HostPattern::Any].into();
    };
    match draft::host(host) {
        Ok(host) => [host].into(),
        Err(message) => {
            found.fault(Reason::InvalidHost, "spec.route.host", message);
            Hosts::default()
        }
    }
}

fn rules(
    spec: &IngressRouteSpec,
    owner: Owner<'_>,
    hosts: &Hosts,
    found: &mut Found,
) -> Box<[DraftRule]> {
    if spec.route.rules.is_empty() {
        let message = "expected at least one rule";
        found.fault(Reason::InvalidSpec, "spec.route.rules", message);
    }
    let mut rules = Vec::with_capacity(spec.route.rules.len());
    let filters = spec.route.filters.as_deref().unwrap_or_default();
    for (position, written) in spec.route.rules.iter().enumerate() {
        if let Some(rule) = rule(filters, written, position, owner, hosts, found) {
            found.notes.extend(never_matches(&rule));
            found.notes.extend(note(written, &rule));
            rules.push(rule);
        }
    }
    rules.into()
}

/// A rule, if it is good. All that is wrong with it is found, so that none of it hides the rest.
fn rule(
    of_route: &[RouteFilter],
    rule: &RouteRule,
    position: usize,
    owner: Owner<'_>,
    hosts: &Hosts,
    found: &mut Found,
) -> Option<DraftRule> {
    let field = Field::new("spec.route.rules[]", [position]);
    let faults_before = found.faults.len();
    let matches = matches(rule, field, found);
    let policy = policy::compile(of_route, rule, position, owner, matches.as_ref());
    let policy = policy.map_err(|faults| found.take(faults));
    let may_answer =
        (policy.as_ref()).is_ok_and(|it| it.as_deref().is_some_and(policy::may_answer));
    let backends = backends(rule, position, &owner.key.namespace, may_answer, found);
    let policy = match policy {
        Ok(policy) if found.faults.len() == faults_before => policy,
        Ok(_) | Err(()) => {
            found.unserved.extend(backends);
            return None;
        }
    };
    let priority = (rule.priority).unwrap_or_else(|| default_priority(matches.as_ref()));
    Some(DraftRule {
        field,
        position: u32::try_from(position).unwrap_or(u32::MAX),
        hosts: Arc::clone(hosts),
        weight: Weight::Priority(priority),
        backends,
        lost: Rare::default(),
        policy,
        matches,
        dry_run: rule.dry_run,
    })
}

/// The priority of a rule that names none: the length of its text in bytes, as Traefik has it.
pub(super) fn default_priority(matches: Option<&ferrix_rule::Rule>) -> i64 {
    let text = matches
        .and_then(ferrix_rule::Rule::text)
        .unwrap_or_default();
    // The text is at most MAX_TEXT long.
    text.len() as i64
}

fn matches(rule: &RouteRule, field: Field, found: &mut Found) -> Option<ferrix_rule::Rule> {
    let matches = shared_rule(rule.matches.as_deref()?);
    let refuse = |error: ferrix_rule::ParseError| {
        let field = format!("{field}.matches");
        found.fault(Reason::InvalidRule, field, error.to_string());
    };
    matches.map_err(refuse).ok()
}

/// Those of its backends that are good.
fn backends(
    rule: &RouteRule,
    position: usize,
    namespace: &str,
    answers: bool,
    found: &mut Found,
) -> Box<[BackendReference]> {
    let field = Field::new("spec.route.rules[]", [position]);
    let mut refuse = |name: &str, message| {
        found.fault(Reason::InvalidSpec, format!("{field}{name}"), message);
    };
    match (&rule.service, rule.services.as_deref()) {
        (Some(_), Some(_)) => refuse("", "give `service` (one) or `services` (several), not both"),
        (None, None) if answers => {}
        (None, None) => refuse("", "expected `service` (one) or `services` (several)"),
        (None, Some([])) => refuse(".services", "expected at least one service"),
        (Some(_), None) | (None, Some(_)) => {}
    }
    let only = rule.service.iter();
    let only = only.map(|reference| (reference, Field::new(SERVICE, [position])));
    let several = rule.services.iter().flatten().enumerate();
    let several = several.map(|(place, reference)| {
        let field = Field::new("spec.route.rules[].services[]", [position, place]);
        (reference, field)
    });
    let mut backends = Vec::new();
    for (reference, field) in only.chain(several) {
        match backend(reference, field, namespace) {
            Ok(backend) => backends.push(backend),
            Err(fault) => found.faults.push(fault),
        }
    }
    backends.into()
}

fn backend(
    reference: &ServiceRef,
    field: Field,
    namespace: &str,
) -> Result<BackendReference, Finding> {
    let server_name = reference.server_name.as_deref();
    if let Some(name) = server_name
        && ServerName::try_from(name).is_err()
    {
        let message = format!("`{name}` is no host name");
        let field = format!("{field}.serverName");
        return Err(Finding::problem(Reason::InvalidSpec, field, message));
    }
    let namespace = reference.namespace.as_deref().unwrap_or(namespace);
    Ok(BackendReference {
        field,
        service: shared_name(namespace, &reference.name),
        weight: reference.weight,
        port: reference.port.clone(),
        scheme: reference.scheme.map(scheme),
        default_scheme: None,
        server_name: server_name.map(Into::into),
        filters: None,
    })
}

fn scheme(written: ingressroute::Scheme) -> Scheme {
    match written {
        ingressroute::Scheme::Http => Scheme::Http,
        ingressroute::Scheme::Https => Scheme::Https,
        ingressroute::Scheme::H2c => Scheme::H2c,
    }
}

/// What of a rule no request can match.
fn never_matches(rule: &DraftRule) -> Vec<Finding> {
    let Some(matches) = &rule.matches else {
        return Vec::new();
    };
    never::findings(matches, &rule.hosts, &format!("{}.matches", rule.field))
}

/// What a rule says that has no effect.
fn note(written: &RouteRule, rule: &DraftRule) -> Option<Finding> {
    let only = written.service.as_ref()?;
    let message = "has no effect: there is no other service to share with";
    let field = format!("{}.service.weight", rule.field);
    let note = Finding::warning(Reason::NoEffect, field, message);
    only.weight.is_some_and(|it| it != 0).then_some(note)
}
