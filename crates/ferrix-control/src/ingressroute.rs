//! `IngressRoute`: to rules of the table.
//!
//! In two steps. [`Version::compile`] looks at the object alone, once per version: whether its
//! rules parse and its fields make sense decides whether the version is good. [`Draft::new`]
//! looks at what the good parts name in the world, whenever any of that changes.
//!
//! ```text
//!  version       an IngressRoute by itself, and the last good one
//!  entry_points  where it is served
//!  conditions    what is told to its author
//! ```

use std::sync::Arc;

use ferrix_api::ingressroute::RouteRule;
use ferrix_table::{
    rules::{Action, HostPattern, Route, Rule, Split},
    table::EntryPointIndex,
};

use crate::{
    decode::DecodeError,
    objects::{Kind, ObjectName, Origin},
    referencegrant::{self, Referrer, Refused},
    report::{Entry, Finding, Reason, Serving},
    secret::Parsed,
    service::{self, Backend, Backends},
    settings::Settings,
    translate::Context,
};

mod conditions;
mod entry_points;
mod version;

use version::{GoodRule, services};

pub(crate) use entry_points::names;
pub(crate) use version::{Version, Versions};

/// Rules of one route that share entry points, before the table's indices are known.
#[derive(Clone, Debug)]
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
    /// To these services, with their weights.
    Forward(Vec<(Backend, u32)>),
    /// Nowhere, for this reason.
    Unresolved(String),
}

/// An IngressRoute on its way into the table and the report.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) name: ObjectName,
    /// The Services that it names, whether they exist or not.
    pub(crate) services: Box<[ObjectName]>,
    /// The Secret that it names.
    pub(crate) secret: Option<ObjectName>,
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
    pub(crate) fn new(context: &Context<'_>, name: &ObjectName, versions: &Versions) -> Self {
        let rejected = context.world.rejection(Kind::IngressRoute, name);
        let newest = &versions.newest;
        let version = versions.serving();
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
        let secret = version.spec.tls.as_deref();
        let mut draft = Self {
            name: name.clone(),
            services: (version.rules.iter())
                .flat_map(|rule| rule.names.iter().cloned())
                .collect::<Box<[_]>>(),
            secret: secret.map(|secret| ObjectName {
                namespace: Arc::clone(&name.namespace),
                name: secret.into(),
            }),
            route: Arc::clone(&version.route),
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
        if let Some(finding) = version.finding_if_not_ours(context.settings, name) {
            draft.not_ours = true;
            draft.remark(finding);
        } else if version.host.is_some() {
            draft.compile(context, version);
        }
        draft
    }

    /// A route that was never decoded: nothing of it is served.
    pub(crate) fn undecodable(name: &ObjectName, origin: &Origin, error: &DecodeError) -> Entry {
        let draft = Self {
            name: name.clone(),
            services: Box::default(),
            secret: None,
            route: Arc::new(Route {
                kind: Kind::IngressRoute.as_str(),
                namespace: (*name.namespace).into(),
                name: (*name.name).into(),
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
        draft.entry(&Settings::default())
    }

    fn compile(&mut self, context: &Context<'_>, version: &Version) {
        let mut findings = Vec::new();
        let chosen = entry_points::choose(context, version, &mut findings);
        self.left_out = chosen.left_out;
        let certificate = match self.secret.as_ref() {
            Some(_) if chosen.secure.is_empty() => {
                if !chosen.plain.is_empty() {
                    let names = names(context.settings, &chosen.plain);
                    findings.push(Finding::warning(
                        Reason::CertificateNotUsed,
                        "spec.tls",
                        format!("the certificate is not used: {names} serves plain HTTP"),
                    ));
                }
                None
            }
            Some(secret) => Some(self.certificate(context, secret, &mut findings)),
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
        let all = chosen.all();
        self.rules.reserve_exact(version.rules.len());
        for rule in &version.rules {
            let spec = &version.spec.route.rules[rule.position];
            let resolved = resolve(context, &self.name, rule, spec, &mut findings);
            let mut add = |entry_points: &[EntryPointIndex], resolved: Result<Vec<_>, String>| {
                if entry_points.is_empty() {
                    return;
                }
                self.rules.push(DraftRule {
                    position: rule.position,
                    matches: rule.matches.clone(),
                    priority: rule.priority,
                    entry_points: entry_points.into(),
                    action: match resolved {
                        Ok(backends) => DraftAction::Forward(backends),
                        Err(message) => DraftAction::Unresolved(message),
                    },
                });
            };
            match &without_certificate {
                // The certificate is no concern of plain entry points.
                Some(reason) => {
                    add(&chosen.plain, resolved);
                    add(&chosen.secure, Err(reason.clone()));
                }
                None => add(&all, resolved),
            }
        }
        self.entry_points = all;
        for finding in findings {
            self.remark(finding);
        }
    }

    fn certificate(
        &self,
        context: &Context<'_>,
        name: &ObjectName,
        findings: &mut Vec<Finding>,
    ) -> Result<Arc<Parsed>, Finding> {
        let Context {
            world, settings, ..
        } = *context;
        let from = Referrer::IngressRoute {
            namespace: &self.name.namespace,
        };
        let refuse = |reason, message| Finding::problem(reason, "spec.tls", message);
        match referencegrant::secret(world, settings, from, name) {
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
                let withheld = world.withheld(&name.namespace);
                let message = match (world.rejection(Kind::Secret, name), withheld) {
                    (Some(_), _) => format!("Secret {name} cannot be read"),
                    (None, Some(reason)) => format!("Secret {name} cannot be seen: {reason}"),
                    (None, None) => format!("Secret {name} does not exist"),
                };
                Err(refuse(Reason::SecretNotFound, message))
            }
        }
    }

    /// Every reference to a backend.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &Backend> {
        self.rules
            .iter()
            .flat_map(|rule| match &rule.action {
                DraftAction::Forward(backends) => backends.as_slice(),
                DraftAction::Unresolved(_) => &[],
            })
            .map(|(backend, _)| backend)
    }

    /// Its rules in the table.
    pub(crate) fn table_rules(&self, backends: &Backends) -> impl Iterator<Item = Rule> {
        self.rules.iter().map(|rule| Rule {
            route: Arc::clone(&self.route),
            position: u32::try_from(rule.position).unwrap_or(u32::MAX),
            host: self.host.clone(),
            matches: rule.matches.clone(),
            priority: rule.priority,
            entry_points: rule.entry_points.clone(),
            action: rule.action.in_table(backends),
        })
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
}

impl DraftAction {
    fn in_table(&self, backends: &Backends) -> Action {
        match self {
            DraftAction::Unresolved(message) => Action::Unresolved(message.clone()),
            DraftAction::Forward(services) => {
                let share =
                    |(backend, weight): &(Backend, u32)| Some((backends.index(backend)?, *weight));
                let shares: Vec<_> = services.iter().filter_map(share).collect();
                Split::new(&shares).map_or(Action::Unavailable, Action::Forward)
            }
        }
    }
}

/// Why a version could not be decoded.
fn rejections(origin: &Origin, error: &DecodeError) -> Vec<Finding> {
    error
        .findings()
        .map(|finding| finding.located(origin))
        .collect()
}

/// Finds the services of a rule, or says why one cannot be found.
fn resolve(
    context: &Context<'_>,
    route: &ObjectName,
    rule: &GoodRule,
    spec: &RouteRule,
    findings: &mut Vec<Finding>,
) -> Result<Vec<(Backend, u32)>, String> {
    let mut backends = Vec::with_capacity(rule.names.len());
    let mut unresolved: Option<String> = None;
    for ((field, reference), name) in services(rule.position, spec).zip(&rule.names) {
        let Context {
            world, settings, ..
        } = *context;
        let backend = service::resolve(world, settings, &route.namespace, name, reference, &field);
        match backend {
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
        Some(message) => Err(message),
        None => Ok(backends),
    }
}
