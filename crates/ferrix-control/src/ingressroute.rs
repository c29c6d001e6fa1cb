//! `IngressRoute`: to rules of the table.
//!
//! In two steps. [`Version::compile`] looks at the object alone, once per version: whether its
//! rules parse and its fields make sense decides whether the version is good. [`Draft::new`]
//! looks at what the good parts name in the world, at every translation.

use std::{collections::HashSet, fmt::Write, sync::Arc};

use ferrix_api::{
    IngressRoute,
    ingressroute::{IngressRouteSpec, RouteRule, ServiceRef},
};
use ferrix_table::{
    rules::{HostPattern, Route},
    table::EntryPointIndex,
};

use crate::{
    decode::DecodeError,
    objects::{Kind, ObjectName, Origin},
    referencegrant::{self, Referrer, Refused},
    report::{Condition, ConditionType, Entry, Finding, Reason, Serving, Severity},
    secret::Parsed,
    service::{self, Backend},
    settings::Settings,
    world::World,
};

/// The longest message of a condition, which the API server bounds at 32 KiB.
const MAX_MESSAGE: usize = 8 * 1024;

/// One version of an IngressRoute, compiled by itself.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) origin: Origin,
    /// `metadata.generation`.
    pub(crate) generation: Option<i64>,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub(crate) created: Option<i64>,
    spec: IngressRouteSpec,
    /// `None` where it is wrong: nothing of this version can be served.
    host: Option<HostPattern>,
    rules: Vec<GoodRule>,
    /// What is wrong with it by itself. None: it is good.
    pub(crate) faults: Vec<Finding>,
}

#[derive(Clone, Debug)]
struct GoodRule {
    position: usize,
    matches: Option<ferrix_rule::Rule>,
    priority: i64,
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
        let mut rules = Vec::new();
        for (position, rule) in spec.route.rules.iter().enumerate() {
            match GoodRule::compile(position, rule) {
                Ok(rule) => rules.push(rule),
                Err(fault) => faults.push(fault),
            }
        }
        let faults = faults
            .into_iter()
            .map(|fault| fault.located(&origin))
            .collect();
        let created = route.metadata.creation_timestamp.as_ref();
        Self {
            generation: route.metadata.generation,
            created: created.map(|time| time.0.as_second()),
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
    fn finding_if_not_ours(&self, settings: &Settings, name: &ObjectName) -> Option<Finding> {
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

    /// The entry points that the route names, or `None`. Both fields together name none: the
    /// version is not good, and which is meant is not for us to guess.
    fn named_entry_points(&self) -> Option<Vec<(String, &str)>> {
        let spec = &self.spec;
        match (&spec.entrypoint, &spec.entrypoints) {
            (Some(_), Some(_)) => Some(Vec::new()),
            (Some(name), None) => Some(vec![("spec.entrypoint".to_owned(), name)]),
            (None, Some(names)) if !names.is_empty() => Some(
                names
                    .iter()
                    .enumerate()
                    .map(|(place, name)| (format!("spec.entrypoints[{place}]"), name.as_str()))
                    .collect(),
            ),
            (None, _) => None,
        }
    }
}

impl GoodRule {
    fn compile(position: usize, rule: &RouteRule) -> Result<Self, Finding> {
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
        })
    }
}

/// The services of a rule with their fields.
fn services(position: usize, rule: &RouteRule) -> impl Iterator<Item = (String, &ServiceRef)> {
    let one = rule.service.iter();
    let one = one.map(move |it| (format!("spec.route.rules[{position}].service"), it));
    let several = rule.services.iter().flatten().enumerate();
    let several = several.map(move |(place, it)| {
        (
            format!("spec.route.rules[{position}].services[{place}]"),
            it,
        )
    });
    one.chain(several)
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

/// Rules of one route that share entry points, before the table's indices are known.
#[derive(Debug)]
pub(crate) struct DraftRule {
    pub(crate) position: usize,
    pub(crate) matches: Option<ferrix_rule::Rule>,
    pub(crate) priority: i64,
    pub(crate) entry_points: Box<[EntryPointIndex]>,
    pub(crate) action: DraftAction,
}

/// What a rule will do.
#[derive(Clone, Debug)]
pub(crate) enum DraftAction {
    Forward(Vec<(Backend, u32)>),
    Unresolved(String),
}

/// An IngressRoute on its way into the table and the report.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) name: ObjectName,
    pub(crate) route: Arc<Route>,
    pub(crate) host: HostPattern,
    pub(crate) rules: Vec<DraftRule>,
    /// The certificate that it presents, and where.
    pub(crate) certificate: Option<(Arc<Parsed>, Vec<EntryPointIndex>)>,
    /// Every entry point that some rule is served on.
    entry_points: Vec<EntryPointIndex>,
    /// Whether something was asked for that is not done.
    left_out: bool,
    /// How many of the rules never serve.
    shadowed: usize,
    origin: Origin,
    observed_generation: Option<i64>,
    serving: Serving,
    /// Problems of a newest version that does not serve, or serves only in part.
    faults: Vec<Finding>,
    findings: Vec<Finding>,
    not_ours: bool,
}

impl Draft {
    /// Compiles a route against the world. `rejected` is why its newest version could not even be
    /// decoded.
    pub(crate) fn new(
        world: &World,
        settings: &Settings,
        has_default: bool,
        name: &ObjectName,
        versions: &Versions,
        rejected: Option<(&Origin, &DecodeError)>,
        named: &mut HashSet<ObjectName>,
    ) -> Self {
        let newest = &versions.newest;
        let version = match (newest.is_good(), &versions.last_good) {
            (false, Some(last_good)) => last_good,
            _ => newest,
        };
        let (origin, observed_generation, faults) = match rejected {
            Some((origin, error)) => (
                origin,
                error.generation.or(newest.generation),
                rejections(origin, error),
            ),
            None => (&newest.origin, newest.generation, newest.faults.clone()),
        };
        let serving = match Arc::ptr_eq(version, newest) && rejected.is_none() {
            true => Serving::Newest,
            false => Serving::LastGood {
                generation: version.generation,
            },
        };
        let mut draft = Self {
            name: name.clone(),
            route: Arc::new(Route {
                kind: Kind::IngressRoute.as_str(),
                namespace: name.namespace.clone(),
                name: name.name.clone(),
                generation: version.generation.unwrap_or_default(),
                created: version.created,
                state: Arc::default(),
            }),
            host: version.host.clone().unwrap_or(HostPattern::Any),
            rules: Vec::new(),
            certificate: None,
            entry_points: Vec::new(),
            left_out: false,
            shadowed: 0,
            origin: origin.clone(),
            observed_generation,
            serving,
            faults,
            findings: Vec::new(),
            not_ours: false,
        };
        if let Some(finding) = version.finding_if_not_ours(settings, name) {
            draft.not_ours = true;
            draft.remark(finding);
        } else if version.host.is_some() {
            draft.compile(world, settings, has_default, version, named);
        }
        draft
    }

    /// A route that was never decoded: nothing of it is served.
    pub(crate) fn undecodable(name: &ObjectName, origin: &Origin, error: &DecodeError) -> Entry {
        let draft = Self {
            name: name.clone(),
            route: Arc::new(Route {
                kind: Kind::IngressRoute.as_str(),
                namespace: name.namespace.clone(),
                name: name.name.clone(),
                generation: 0,
                created: None,
                state: Arc::default(),
            }),
            host: HostPattern::Any,
            rules: Vec::new(),
            certificate: None,
            entry_points: Vec::new(),
            left_out: false,
            shadowed: 0,
            origin: origin.clone(),
            observed_generation: error.generation,
            serving: Serving::Nothing,
            faults: rejections(origin, error),
            findings: Vec::new(),
            not_ours: false,
        };
        draft.into_entry(&Settings::default())
    }

    fn compile(
        &mut self,
        world: &World,
        settings: &Settings,
        has_default: bool,
        version: &Version,
        named: &mut HashSet<ObjectName>,
    ) {
        let mut findings = Vec::new();
        let chosen = choose_entry_points(settings, has_default, version, &mut findings);
        self.left_out = chosen.left_out;
        let certificate = match version.spec.tls.as_deref() {
            Some(_) if chosen.secure.is_empty() => {
                if !chosen.plain.is_empty() {
                    let names = names(settings, &chosen.plain);
                    findings.push(Finding::warning(
                        Reason::CertificateNotUsed,
                        "spec.tls",
                        format!("the certificate is not used: {names} serves plain HTTP"),
                    ));
                }
                None
            }
            Some(secret) => Some(self.certificate(world, settings, secret, &mut findings)),
            None => None,
        };
        let without_certificate = match certificate {
            None => None,
            Some(Ok(parsed)) => {
                self.certificate = Some((parsed, chosen.secure.clone()));
                None
            }
            Some(Err(finding)) => {
                let message = finding.message.clone();
                findings.push(finding);
                Some(message)
            }
        };
        for rule in &version.rules {
            let spec = &version.spec.route.rules[rule.position];
            for (_, reference) in services(rule.position, spec) {
                named.insert(service::name(reference, &self.name.namespace));
            }
            let action = resolve(world, settings, self, rule, spec, &mut findings);
            let mut add = |entry_points: Vec<EntryPointIndex>, action| {
                if !entry_points.is_empty() {
                    self.rules.push(DraftRule {
                        position: rule.position,
                        matches: rule.matches.clone(),
                        priority: rule.priority,
                        entry_points: entry_points.into(),
                        action,
                    });
                }
            };
            match &without_certificate {
                // The certificate is no concern of plain entry points.
                Some(reason) => {
                    add(chosen.plain.clone(), action);
                    add(
                        chosen.secure.clone(),
                        DraftAction::Unresolved(reason.clone()),
                    );
                }
                None => add(chosen.all(), action),
            }
        }
        self.entry_points = chosen.all();
        for finding in findings {
            self.remark(finding);
        }
    }

    fn certificate(
        &self,
        world: &World,
        settings: &Settings,
        secret: &str,
        findings: &mut Vec<Finding>,
    ) -> Result<Arc<Parsed>, Finding> {
        let name = ObjectName::new(&self.name.namespace, secret);
        let from = Referrer::IngressRoute {
            namespace: &self.name.namespace,
        };
        let refuse = |reason, message| Finding::problem(reason, "spec.tls", message);
        match referencegrant::secret(world, settings, from, &name) {
            Ok(state) => {
                let parsed = state.serving().map_err(|fault| {
                    let message = format!("Secret {name} is of no use: {fault}");
                    refuse(Reason::InvalidCertificate, message)
                })?;
                if !parsed.is_for(&self.host) {
                    let message = format!(
                        "the certificate of Secret {name} is not for {}: clients refuse it",
                        self.host
                    );
                    let reason = Reason::CertificateForOtherNames;
                    findings.push(Finding::warning(reason, "spec.tls", message));
                }
                for finding in state.findings(world.now()) {
                    let message = format!("Secret {name}: {}", finding.message);
                    findings.push(Finding {
                        field: "spec.tls".to_owned(),
                        message,
                        ..finding
                    });
                }
                Ok(Arc::clone(parsed))
            }
            Err(Refused::Missing | Refused::Unwatched | Refused::Forbidden) => {
                let message = match world.rejection(&name.key(Kind::Secret)) {
                    Some(_) => format!("Secret {name} cannot be read"),
                    None => format!("Secret {name} does not exist"),
                };
                Err(refuse(Reason::SecretNotFound, message))
            }
        }
    }

    /// Adds what only the whole table can tell.
    pub(crate) fn conflict(&mut self, field: String, message: String) {
        self.remark(Finding::problem(Reason::Conflicted, field, message));
        self.left_out = true;
    }

    /// The same for a rule that never serves.
    pub(crate) fn shadowed(&mut self, field: String, message: String) {
        self.conflict(field, message);
        self.shadowed += 1;
    }

    /// Adds a finding about the version that serves.
    pub(crate) fn remark(&mut self, finding: Finding) {
        self.findings.push(match self.serving {
            Serving::Newest => finding.located(&self.origin),
            // The lines are those of another version.
            Serving::LastGood { .. } | Serving::Nothing => finding,
        });
    }

    /// What the report says of it.
    pub(crate) fn into_entry(self, settings: &Settings) -> Entry {
        let conditions = match self.not_ours {
            true => Vec::new(),
            false => self.conditions(settings),
        };
        let mut findings = self.faults;
        findings.extend(self.findings);
        // Stable: among equals, the order of the spec.
        findings.sort_by_key(|finding| finding.severity);
        let serving = match self.rules.is_empty() {
            true => Serving::Nothing,
            false => self.serving,
        };
        Entry {
            key: self.name.key(Kind::IngressRoute),
            origin: self.origin,
            observed_generation: self.observed_generation,
            serving,
            entry_points: match self.rules.is_empty() {
                true => Vec::new(),
                false => entry_point_names(settings, &self.entry_points)
                    .map(str::to_owned)
                    .collect(),
            },
            conditions,
            findings,
        }
    }

    fn conditions(&self, settings: &Settings) -> Vec<Condition> {
        let conditions = [
            self.accepted(settings),
            self.resolved_refs(),
            self.programmed(settings),
        ];
        let observed_generation = self.observed_generation;
        conditions
            .into_iter()
            .map(|condition| Condition {
                observed_generation,
                ..condition
            })
            .collect()
    }

    fn accepted(&self, settings: &Settings) -> Condition {
        let mut problems = self.problems(ConditionType::Accepted).peekable();
        let Some(first) = problems.peek() else {
            let warnings = self.findings.iter().filter(|finding| {
                finding.severity == Severity::Warning && finding.reason.condition().is_none()
            });
            let mut message = "The spec is accepted.".to_owned();
            for warning in warnings {
                let _ = write!(message, "\nNote: {warning}");
            }
            return Condition::new(Reason::Accepted, true, message);
        };
        let reason = first.reason;
        let mut message = join(problems);
        if !self.faults.is_empty() {
            message.push('\n');
            message.push_str(&self.what_serves(settings));
        }
        Condition::new(reason, false, message)
    }

    fn resolved_refs(&self) -> Condition {
        let mut problems = self.problems(ConditionType::ResolvedRefs).peekable();
        match problems.peek() {
            None => {
                let message = "Every object that the spec names was found.".to_owned();
                Condition::new(Reason::ResolvedRefs, true, message)
            }
            Some(first) => {
                let reason = first.reason;
                let mut message = join(problems);
                let unresolved =
                    |rule: &DraftRule| matches!(rule.action, DraftAction::Unresolved(_));
                if self.rules.iter().any(unresolved) {
                    message.push_str("\nRequests that need it get 500.");
                }
                Condition::new(reason, false, message)
            }
        }
    }

    fn programmed(&self, settings: &Settings) -> Condition {
        let message = self.what_serves(settings);
        let reason = match self.serving {
            _ if self.shadowed == self.rules.len() => Reason::NotProgrammed,
            Serving::LastGood { .. } | Serving::Nothing => Reason::LastGoodServed,
            Serving::Newest if self.left_out || !self.faults.is_empty() => Reason::PartlyProgrammed,
            Serving::Newest => Reason::Programmed,
        };
        Condition::new(reason, reason == Reason::Programmed, message)
    }

    fn what_serves(&self, settings: &Settings) -> String {
        if self.rules.is_empty() {
            return "Nothing of it is served.".to_owned();
        }
        if self.shadowed == self.rules.len() {
            return "None of its rules ever serves: others come first.".to_owned();
        }
        let names = names(settings, &self.entry_points);
        match self.serving {
            Serving::LastGood {
                generation: Some(generation),
            } => format!("The last good version, generation {generation}, is served on {names}."),
            Serving::LastGood { generation: None } | Serving::Nothing => {
                format!("The last good version is served on {names}.")
            }
            Serving::Newest if !self.faults.is_empty() => {
                format!("What is good of it is served on {names}.")
            }
            Serving::Newest if self.left_out => format!("Part of it is served on {names}."),
            Serving::Newest => format!("Served on {names}."),
        }
    }

    fn problems(&self, condition: ConditionType) -> impl Iterator<Item = &Finding> {
        self.faults
            .iter()
            .chain(&self.findings)
            .filter(move |finding| {
                finding.severity == Severity::Problem
                    && finding.reason.condition() == Some(condition)
            })
    }
}

/// Why a version could not be decoded.
fn rejections(origin: &Origin, error: &DecodeError) -> Vec<Finding> {
    error
        .findings()
        .map(|finding| finding.located(origin))
        .collect()
}

fn join<'f>(findings: impl Iterator<Item = &'f Finding>) -> String {
    let mut text = String::new();
    for finding in findings {
        if text.len() > MAX_MESSAGE {
            text.push_str("\n…");
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = write!(text, "{finding}");
    }
    text
}

/// Entry points that serve a route.
#[derive(Debug, Default)]
struct Chosen {
    plain: Vec<EntryPointIndex>,
    secure: Vec<EntryPointIndex>,
    /// Whether one was named that cannot serve it.
    left_out: bool,
}

impl Chosen {
    fn all(&self) -> Vec<EntryPointIndex> {
        let mut all = [&*self.plain, &*self.secure].concat();
        all.sort_unstable();
        all
    }
}

fn choose_entry_points(
    settings: &Settings,
    has_default: bool,
    version: &Version,
    findings: &mut Vec<Finding>,
) -> Chosen {
    let mut chosen = Chosen::default();
    let indices = || (0..=EntryPointIndex::MAX).zip(&settings.entry_points);
    let tls = version.spec.tls.is_some();
    let Some(named) = version.named_entry_points() else {
        for (index, entry_point) in indices().filter(|(_, it)| it.secure == tls) {
            match entry_point.secure {
                true => chosen.secure.push(index),
                false => chosen.plain.push(index),
            }
        }
        if chosen.all().is_empty() {
            chosen.left_out = true;
            let (with, kind) = match tls {
                true => ("with `tls`", "secure"),
                false => ("without `tls`", "plain"),
            };
            let message = format!(
                "a route {with} is for {kind} entry points, and the settings have none; name the \
                 entry points that shall serve it"
            );
            findings.push(Finding::problem(Reason::NoEntryPoint, "spec", message));
        }
        return chosen;
    };
    for (field, name) in named {
        let Some((index, entry_point)) = indices().find(|(_, it)| it.name == name) else {
            chosen.left_out = true;
            let known: Vec<_> = settings.entry_points.iter().map(|it| &*it.name).collect();
            let message = format!(
                "there is no entry point `{name}`; there is {}",
                list(&known)
            );
            findings.push(Finding::problem(Reason::UnknownEntryPoint, field, message));
            continue;
        };
        if !entry_point.secure {
            chosen.plain.push(index);
        } else if tls || has_default {
            chosen.secure.push(index);
        } else {
            chosen.left_out = true;
            let message = format!(
                "entry point `{name}` is secure, and there is no certificate to present: set \
                 `tls`, or a default certificate in the settings"
            );
            findings.push(Finding::problem(Reason::NoCertificate, field, message));
        }
    }
    for indices in [&mut chosen.plain, &mut chosen.secure] {
        indices.sort_unstable();
        indices.dedup();
    }
    chosen
}

/// Finds the services of a rule.
fn resolve(
    world: &World,
    settings: &Settings,
    draft: &Draft,
    rule: &GoodRule,
    spec: &RouteRule,
    findings: &mut Vec<Finding>,
) -> DraftAction {
    let mut backends = Vec::new();
    let mut unresolved: Option<String> = None;
    for (field, reference) in services(rule.position, spec) {
        let namespace = &draft.name.namespace;
        match service::resolve(world, settings, namespace, reference, &field) {
            Ok(backend) => {
                if service::ignores_server_name(reference, &backend) {
                    let message = "has no effect: only `https` asks for a name";
                    let field = format!("{field}.serverName");
                    findings.push(Finding::warning(Reason::NoEffect, field, message));
                }
                backends.push((backend, reference.weight.unwrap_or(1)));
            }
            Err(finding) => {
                // A service that gets no requests need not be there yet.
                if reference.weight != Some(0) {
                    unresolved.get_or_insert_with(|| finding.message.clone());
                }
                findings.push(finding);
            }
        }
    }
    if spec
        .service
        .as_ref()
        .is_some_and(|service| service.weight.is_some_and(|it| it != 0))
    {
        let field = format!("spec.route.rules[{}].service.weight", rule.position);
        let message = "has no effect: there is no other service to share with";
        findings.push(Finding::warning(Reason::NoEffect, field, message));
    }
    if unresolved.is_none() && backends.iter().all(|(_, weight)| *weight == 0) {
        let field = format!("spec.route.rules[{}]", rule.position);
        let message = "no service has a weight: requests get 503";
        findings.push(Finding::warning(Reason::NoEndpoints, field, message));
    }
    match unresolved {
        Some(message) => DraftAction::Unresolved(message),
        None => DraftAction::Forward(backends),
    }
}

fn entry_point_names<'s>(
    settings: &'s Settings,
    indices: &[EntryPointIndex],
) -> impl Iterator<Item = &'s str> {
    indices
        .iter()
        .filter_map(|index| settings.entry_points.get(usize::from(*index)))
        .map(|it| &*it.name)
}

/// `web` and `websecure`, as people write it.
pub(crate) fn names(settings: &Settings, indices: &[EntryPointIndex]) -> String {
    let names: Vec<_> = entry_point_names(settings, indices).collect();
    list(&names)
}

/// `a`, `b` and `c`.
fn list(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match &*quoted {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
