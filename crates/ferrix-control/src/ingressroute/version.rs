//! A version by itself: what its fields mean before anything that they name is looked for.

use std::{fmt, sync::Arc};

use ferrix_api::{
    IngressRoute,
    ingressroute::{IngressRouteSpec, RouteRule},
};
use ferrix_table::rules::{HostPattern, Route};

use crate::{
    names::shared,
    objects::{self, Key, Kind, ObjectName, Origin},
    report::{Finding, Reason},
    service::{self, Reference},
    settings::Settings,
};

/// One version of an IngressRoute, compiled by itself. Of the object nothing else is kept.
#[derive(Debug)]
pub(crate) struct Version {
    /// What the table knows of it. Made once, so that unchanged routes share it.
    pub(super) route: Arc<Route>,
    pub(crate) origin: Origin,
    /// `metadata.generation`.
    pub(crate) generation: Option<i64>,
    class: Option<Arc<str>>,
    pub(super) entry_points: Named,
    /// The Secret that it names.
    pub(super) tls: Option<Arc<str>>,
    /// `None` where it is wrong: nothing of this version can be served.
    pub(super) host: Option<HostPattern>,
    pub(super) rules: Box<[GoodRule]>,
    /// What is wrong with it by itself. None: it is good.
    pub(crate) faults: Box<[Finding]>,
}

/// The entry points that a route names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// None: those that fit.
    Fitting,
    /// In `entrypoint`.
    One(Arc<str>),
    /// In `entrypoints`; not empty.
    Several(Box<[Arc<str>]>),
    /// In both: the version is not good, and which is meant is not for us to guess.
    Unclear,
}

#[derive(Debug)]
pub(super) struct GoodRule {
    pub(super) position: usize,
    pub(super) matches: Option<ferrix_rule::Rule>,
    pub(super) priority: i64,
    /// The Services that it names, in its order.
    services: Box<[Reference]>,
    /// Whether it names them in `services`.
    listed: bool,
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
        let namespace = route.metadata.namespace.as_deref().unwrap_or("default");
        let mut rules = Vec::with_capacity(spec.route.rules.len());
        for (position, rule) in spec.route.rules.iter().enumerate() {
            match GoodRule::compile(namespace, position, rule) {
                Ok(rule) => rules.push(rule),
                Err(fault) => faults.push(fault),
            }
        }
        let faults = faults
            .into_iter()
            .map(|fault| fault.located(&origin))
            .collect();
        let name = route.metadata.name.as_deref().unwrap_or_default();
        let created = route.metadata.creation_timestamp.as_ref();
        let generation = route.metadata.generation;
        Self {
            route: Arc::new(Route {
                key: objects::key(Kind::IngressRoute, namespace, name),
                generation: generation.unwrap_or_default(),
                created: created.map(|time| time.0.as_second()),
                state: Arc::default(),
            }),
            generation,
            class: spec.ingress_class_name.as_deref().map(shared),
            entry_points: Named::of(spec),
            tls: spec.tls.as_deref().map(shared),
            host,
            rules: rules.into(),
            faults,
            origin,
        }
    }

    /// A version of an object that was never decoded.
    pub(super) fn undecodable(key: &Key, origin: Origin) -> Self {
        Self {
            route: Arc::new(Route {
                key: key.clone(),
                generation: 0,
                created: None,
                state: Arc::default(),
            }),
            origin,
            generation: None,
            class: None,
            entry_points: Named::Fitting,
            tls: None,
            host: None,
            rules: Box::default(),
            faults: Box::default(),
        }
    }

    /// Whether it is good by itself.
    pub(crate) fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether another version of the same object says the same.
    fn same(&self, other: &Version) -> bool {
        self.origin == other.origin
            && self.generation == other.generation
            && self.route.created == other.route.created
            && self.class == other.class
            && self.entry_points == other.entry_points
            && self.tls == other.tls
            && self.host == other.host
            && self.faults == other.faults
            && self.rules.len() == other.rules.len()
            && (self.rules.iter().zip(&other.rules)).all(|(one, other)| one.same(other))
    }

    /// Every Service that it names, in its order.
    pub(super) fn services(&self) -> impl Iterator<Item = &ObjectName> {
        let references = self.rules.iter().flat_map(|rule| &rule.services);
        references.map(|reference| &reference.service)
    }

    /// Whether the route is for this installation.
    pub(super) fn finding_if_not_ours(&self, settings: &Settings) -> Option<Finding> {
        let namespace = &self.route.key.namespace;
        if !settings.watches(namespace) {
            let message = format!("ignored: namespace {namespace} is not watched");
            return Some(Finding::info(
                Reason::NotOurs,
                "metadata.namespace",
                message,
            ));
        }
        let class = self.class.as_deref();
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
    fn compile(namespace: &str, position: usize, rule: &RouteRule) -> Result<Self, Finding> {
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
        let listed = rule.services.is_some();
        let references = || rule.service.iter().chain(rule.services.iter().flatten());
        for (place, reference) in references().enumerate() {
            if let Some((name, message)) = service::check_reference(reference) {
                let field = ServiceField::new(position, listed, place);
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
            services: references()
                .map(|reference| Reference::new(reference, namespace))
                .collect(),
            listed,
        })
    }

    fn same(&self, other: &GoodRule) -> bool {
        // Rules can be equal that are not written in the same way.
        let text = |rule: &Self| rule.matches.as_ref().map(|it| it.text().to_owned());
        self.position == other.position
            && self.priority == other.priority
            && text(self) == text(other)
            && self.services == other.services
            && self.listed == other.listed
    }

    /// The services of the rule with their fields.
    pub(super) fn services(&self) -> impl Iterator<Item = (ServiceField, &Reference)> {
        let field = |place| ServiceField::new(self.position, self.listed, place);
        let services = self.services.iter().enumerate();
        services.map(move |(place, reference)| (field(place), reference))
    }

    /// The service of a rule that names one alone.
    pub(super) fn only_service(&self) -> Option<&Reference> {
        self.services.first().filter(|_| !self.listed)
    }
}

impl Named {
    fn of(spec: &IngressRouteSpec) -> Self {
        match (&spec.entrypoint, &spec.entrypoints) {
            (Some(_), Some(_)) => Self::Unclear,
            (Some(name), None) => Self::One(shared(name)),
            (None, Some(names)) if !names.is_empty() => {
                Self::Several(names.iter().map(|name| shared(name)).collect())
            }
            (None, _) => Self::Fitting,
        }
    }

    /// Each name with its field, or `None` where those are meant that fit.
    pub(super) fn each(&self) -> Option<Vec<(String, &str)>> {
        match self {
            Self::Fitting => None,
            Self::One(name) => Some(vec![("spec.entrypoint".to_owned(), name)]),
            Self::Several(names) => Some(
                (names.iter().enumerate())
                    .map(|(place, name)| (format!("spec.entrypoints[{place}]"), &**name))
                    .collect(),
            ),
            Self::Unclear => Some(Vec::new()),
        }
    }
}

/// The field of a service. Most are never written out.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceField {
    rule: usize,
    /// In the list; `None` for the only one.
    place: Option<usize>,
}

impl ServiceField {
    fn new(rule: usize, listed: bool, place: usize) -> Self {
        let place = listed.then_some(place);
        Self { rule, place }
    }
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
        versions.into_iter().any(|it| it.tls.is_some())
    }

    /// Moves on to a newer version. Tells whether it says anything else.
    pub(crate) fn update(&mut self, newest: Version) -> bool {
        if self.newest.same(&newest) {
            return false;
        }
        let before = std::mem::replace(&mut self.newest, Arc::new(newest));
        if self.newest.is_good() {
            self.last_good = None;
        } else if before.is_good() {
            self.last_good = Some(before);
        }
        true
    }
}
