//! A version by itself: what its fields mean before anything that they name is looked for.

use std::{fmt, sync::Arc};

use ferrix_api::{
    IngressRoute,
    ingressroute::{IngressRouteSpec, RouteRule, ServiceRef},
};
use ferrix_table::rules::{HostPattern, Route};

use crate::{
    objects::{Kind, ObjectName, Origin},
    report::{Finding, Reason},
    service,
    settings::Settings,
};

/// One version of an IngressRoute, compiled by itself.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// What the table knows of it. Made once, so that unchanged routes share it.
    pub(super) route: Arc<Route>,
    pub(crate) origin: Origin,
    /// `metadata.generation`.
    pub(crate) generation: Option<i64>,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub(crate) created: Option<i64>,
    pub(super) spec: IngressRouteSpec,
    /// `None` where it is wrong: nothing of this version can be served.
    pub(super) host: Option<HostPattern>,
    pub(super) rules: Vec<GoodRule>,
    /// What is wrong with it by itself. None: it is good.
    pub(crate) faults: Vec<Finding>,
}

#[derive(Clone, Debug)]
pub(super) struct GoodRule {
    pub(super) position: usize,
    pub(super) matches: Option<ferrix_rule::Rule>,
    pub(super) priority: i64,
    /// The Services that it names, in its order.
    pub(super) names: Box<[ObjectName]>,
}

impl Version {
    /// Compiles an IngressRoute by itself.
    pub(crate) fn compile(route: &IngressRoute, origin: Origin) -> Self {
        let spec = &route.spec;
        let mut faults = Vec::new();
        if spec.entrypoint.is_some() && spec.entrypoints.is_some() {
            faults.push(Finding::problem(
                Reason::InvalidSpec,
                "spec.entrypoints",
                "give `entrypoint` (one name) or `entrypoints` (a list), not both",
            ));
        }
        let host = match spec.route.host.as_deref().map(HostPattern::parse) {
            None => Some(HostPattern::Any),
            Some(Ok(host)) => Some(host),
            Some(Err(error)) => {
                let host = spec.route.host.as_deref().unwrap_or_default();
                faults.push(Finding::problem(
                    Reason::InvalidHost,
                    "spec.route.host",
                    format!(
                        "`{host}` is no host: {error}; expected such as `example.com` or \
                         `*.example.com`"
                    ),
                ));
                None
            }
        };
        if spec.route.rules.is_empty() {
            let message = "expected at least one rule";
            faults.push(Finding::problem(
                Reason::InvalidSpec,
                "spec.route.rules",
                message,
            ));
        }
        let namespace: Arc<str> = match &route.metadata.namespace {
            Some(namespace) => namespace.as_str().into(),
            None => "default".into(),
        };
        let mut rules = Vec::with_capacity(spec.route.rules.len());
        for (position, rule) in spec.route.rules.iter().enumerate() {
            match GoodRule::compile(&namespace, position, rule) {
                Ok(rule) => rules.push(rule),
                Err(fault) => faults.push(fault),
            }
        }
        let faults = faults
            .into_iter()
            .map(|fault| fault.located(&origin))
            .collect();
        let created = route.metadata.creation_timestamp.as_ref();
        let created = created.map(|time| time.0.as_second());
        let generation = route.metadata.generation;
        Self {
            route: Arc::new(Route {
                kind: Kind::IngressRoute.as_str(),
                namespace: (*namespace).into(),
                name: route.metadata.name.as_deref().unwrap_or_default().into(),
                generation: generation.unwrap_or_default(),
                created,
                state: Arc::default(),
            }),
            generation,
            created,
            spec: spec.clone(),
            host,
            rules,
            faults,
            origin,
        }
    }

    /// Whether it is good by itself.
    pub(crate) fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether compiling the object would give this version again.
    pub(crate) fn is_of(&self, route: &IngressRoute, origin: &Origin) -> bool {
        let created = route.metadata.creation_timestamp.as_ref();
        self.spec == route.spec
            && self.generation == route.metadata.generation
            && self.created == created.map(|time| time.0.as_second())
            && self.origin == *origin
    }

    /// Whether the route is for this installation.
    pub(super) fn finding_if_not_ours(
        &self,
        settings: &Settings,
        name: &ObjectName,
    ) -> Option<Finding> {
        if !settings.watches(&name.namespace) {
            let message = format!("ignored: namespace {} is not watched", name.namespace);
            return Some(Finding::info(
                Reason::NotOurs,
                "metadata.namespace",
                message,
            ));
        }
        let class = self.spec.ingress_class_name.as_deref();
        if !settings.serves_class(class) {
            let message = match class {
                Some(class) => format!("ignored: class `{class}` is another installation's"),
                None => "ignored: a route without a class is another installation's".to_owned(),
            };
            return Some(Finding::info(
                Reason::NotOurs,
                "spec.ingressClassName",
                message,
            ));
        }
        None
    }
}

impl GoodRule {
    fn compile(namespace: &Arc<str>, position: usize, rule: &RouteRule) -> Result<Self, Finding> {
        let field = |name: &str| format!("spec.route.rules[{position}]{name}");
        let matches = match rule.matches.as_deref().map(ferrix_rule::Rule::parse) {
            None => None,
            Some(Ok(matches)) => Some(matches),
            Some(Err(error)) => {
                let message = error.to_string();
                return Err(Finding::problem(
                    Reason::InvalidRule,
                    field(".matches"),
                    message,
                ));
            }
        };
        let refuse = |name: &str, message: &str| {
            Err(Finding::problem(Reason::InvalidSpec, field(name), message))
        };
        match (&rule.service, rule.services.as_deref()) {
            (Some(_), Some(_)) => {
                return refuse("", "give `service` (one) or `services` (several), not both");
            }
            (None, None) => return refuse("", "expected `service` (one) or `services` (several)"),
            (None, Some([])) => return refuse(".services", "expected at least one service"),
            _ => {}
        }
        for (field, service) in services(position, rule) {
            if let Some((name, message)) = service::check_reference(service) {
                let field = format!("{field}{name}");
                return Err(Finding::problem(Reason::InvalidSpec, field, message));
            }
        }
        let default_priority = || {
            matches
                .as_ref()
                .map_or(0, ferrix_rule::Rule::default_priority)
        };
        Ok(Self {
            position,
            priority: rule.priority.unwrap_or_else(default_priority),
            matches,
            names: services(position, rule)
                .map(|(_, reference)| service::name(reference, namespace))
                .collect(),
        })
    }
}

/// The services of a rule with their fields.
pub(super) fn services(
    rule: usize,
    spec: &RouteRule,
) -> impl Iterator<Item = (ServiceField, &ServiceRef)> {
    let one = spec.service.iter();
    let one = one.map(move |it| (ServiceField { rule, place: None }, it));
    let several = spec.services.iter().flatten().enumerate();
    let several = several.map(move |(place, it)| {
        let place = Some(place);
        (ServiceField { rule, place }, it)
    });
    one.chain(several)
}

/// The field of a service. Most are never written out.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceField {
    rule: usize,
    /// In the list; `None` for the only one.
    place: Option<usize>,
}

impl fmt::Display for ServiceField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.rule;
        match self.place {
            None => write!(f, "spec.route.rules[{rule}].service"),
            Some(place) => write!(f, "spec.route.rules[{rule}].services[{place}]"),
        }
    }
}

/// What is known of an IngressRoute.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    /// The newest that could be decoded.
    pub(crate) newest: Arc<Version>,
    /// The version that was good before it, where the newest is not.
    pub(crate) last_good: Option<Arc<Version>>,
}

impl Versions {
    /// The first version that is seen.
    pub(crate) fn first(newest: Version) -> Self {
        Self {
            newest: Arc::new(newest),
            last_good: None,
        }
    }

    /// The version that serves: the newest, unless it is not good and one before it was.
    pub(super) fn serving(&self) -> &Arc<Version> {
        match (self.newest.is_good(), &self.last_good) {
            (false, Some(last_good)) => last_good,
            _ => &self.newest,
        }
    }

    /// Whether any version that may serve names a Secret.
    pub(crate) fn use_tls(&self) -> bool {
        let versions = std::iter::once(&self.newest).chain(&self.last_good);
        versions.into_iter().any(|it| it.spec.tls.is_some())
    }

    /// Moves on to a newer version.
    pub(crate) fn update(&mut self, newest: Version) {
        let before = std::mem::replace(&mut self.newest, Arc::new(newest));
        if self.newest.is_good() {
            self.last_good = None;
        } else if before.is_good() {
            self.last_good = Some(before);
        }
    }
}
