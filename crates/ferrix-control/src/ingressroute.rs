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

use ferrix_table::{
    ids::EntryPointIndex,
    rules::{Action, HostPattern, Route, Rule, Split},
};

use crate::{
    decode::DecodeError,
    objects::{Key, Kind, ObjectName, Origin},
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

use version::GoodRule;

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
    Forward(Vec<(Arc<Backend>, u32)>),
    /// Nowhere, for this reason.
    Unresolved(String),
}

/// An IngressRoute on its way into the table and the report. What it needs of its rules once they
/// are in the table.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) key: Key,
    /// The version that serves.
    version: Arc<Version>,
    /// How many rules it has in the table.
    rules: usize,
    /// Whether some of them forward nowhere.
    unresolved: bool,
    /// Every reference of those rules to a backend.
    backends: Box<[Arc<Backend>]>,
    /// The certificate that it presents, and where.
    pub(crate) certificate: Option<(Arc<Parsed>, Box<[EntryPointIndex]>)>,
    /// Every entry point that some rule is served on.
    entry_points: Box<[EntryPointIndex]>,
    /// Whether something was asked for that is not done.
    left_out: bool,
    /// How many of the rules never serve.
    shadowed: usize,
    origin: Origin,
    observed_generation: Option<i64>,
    serving: Serving,
    /// Problems of a newest version that does not serve, or serves only in part.
    faults: Box<[Finding]>,
    findings: Vec<Finding>,
    not_ours: bool,
}

impl Draft {
    /// Compiles a route against the world, and its rules. `rejected` is why its newest version
    /// could not even be decoded.
    pub(crate) fn new(
        context: &Context<'_>,
        key: &Key,
        versions: &Versions,
    ) -> (Self, Vec<DraftRule>) {
        let rejected = context.world.rejection(key);
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
        let mut draft = Self {
            origin: origin.clone(),
            observed_generation,
            serving,
            faults,
            ..Self::empty(key, Arc::clone(version))
        };
        let mut rules = Vec::new();
        if let Some(finding) = version.finding_if_not_ours(context.settings) {
            draft.not_ours = true;
            draft.remark(finding);
        } else if version.host.is_some() {
            rules = draft.compile(context, version);
        }
        (draft, rules)
    }

    /// Nothing of a version is served, and nothing is wrong.
    fn empty(key: &Key, version: Arc<Version>) -> Self {
        Self {
            key: key.clone(),
            origin: version.origin.clone(),
            observed_generation: version.generation,
            version,
            rules: 0,
            unresolved: false,
            backends: Box::default(),
            certificate: None,
            entry_points: Box::default(),
            left_out: false,
            shadowed: 0,
            serving: Serving::Nothing,
            faults: Box::default(),
            findings: Vec::new(),
            not_ours: false,
        }
    }

    /// A route that was never decoded: nothing of it is served.
    pub(crate) fn undecodable(key: &Key, origin: &Origin, error: &DecodeError) -> Entry {
        let version = Arc::new(Version::undecodable(key, origin.clone()));
        let draft = Self {
            observed_generation: error.generation,
            faults: rejections(origin, error),
            ..Self::empty(key, version)
        };
        draft.entry(&Settings::default())
    }

    fn compile(&mut self, context: &Context<'_>, version: &Version) -> Vec<DraftRule> {
        let mut findings = Vec::new();
        let chosen = entry_points::choose(context, version, &mut findings);
        self.left_out = chosen.left_out;
        let certificate = match self.secret() {
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
            Some(secret) => Some(self.certificate(context, &secret, &mut findings)),
            None => None,
        };
        let without_certificate = match certificate {
            None => None,
            Some(Ok(parsed)) => {
                self.certificate = Some((parsed, chosen.secure.as_slice().into()));
                None
            }
            Some(Err(finding)) => {
                let message = finding.message.clone();
                findings.push(finding);
                Some(message)
            }
        };
        let all = chosen.all();
        let mut rules = Vec::with_capacity(version.rules.len());
        for rule in &version.rules {
            let resolved = resolve(context, &self.key, rule, &mut findings);
            let mut add = |entry_points: &[EntryPointIndex], resolved: Result<Vec<_>, String>| {
                if entry_points.is_empty() {
                    return;
                }
                rules.push(DraftRule {
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
        self.rules = rules.len();
        self.unresolved = rules.iter().any(DraftRule::is_unresolved);
        self.backends = rules
            .iter()
            .flat_map(DraftRule::backends)
            .cloned()
            .collect();
        for finding in findings {
            self.remark(finding);
        }
        rules
    }

    /// The Services that it names, whether they exist or not.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ObjectName> {
        self.version.services()
    }

    /// The Secret that it names.
    pub(crate) fn secret(&self) -> Option<ObjectName> {
        Some(ObjectName {
            namespace: Arc::clone(&self.key.namespace),
            name: self.version.tls.clone()?,
        })
    }

    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.version.route
    }

    pub(crate) fn host(&self) -> &HostPattern {
        self.version.host.as_ref().unwrap_or(&HostPattern::Any)
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
            namespace: &self.key.namespace,
        };
        let refuse = |reason, message| Finding::problem(reason, "spec.tls", message);
        match referencegrant::secret(world, settings, from, name) {
            Ok(state) => {
                let parsed = state.serving().map_err(|fault| {
                    let message = format!("Secret {name} is of no use: {fault}");
                    refuse(Reason::InvalidCertificate, message)
                })?;
                if !parsed.is_for(self.host()) {
                    let message = format!(
                        "the certificate of Secret {name} is not for {}: clients refuse it",
                        self.host()
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
                let message = match (world.rejection(&name.key(Kind::Secret)), withheld) {
                    (Some(_), _) => format!("Secret {name} cannot be read"),
                    (None, Some(reason)) => format!("Secret {name} cannot be seen: {reason}"),
                    (None, None) => format!("Secret {name} does not exist"),
                };
                Err(refuse(Reason::SecretNotFound, message))
            }
        }
    }

    /// Every reference to a backend.
    pub(crate) fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// One of its rules in the table.
    pub(crate) fn table_rule(&self, rule: DraftRule, backends: &Backends) -> Rule {
        Rule {
            route: Arc::clone(self.route()),
            position: u32::try_from(rule.position).unwrap_or(u32::MAX),
            host: self.host().clone(),
            matches: rule.matches,
            priority: rule.priority,
            entry_points: rule.entry_points,
            action: rule.action.in_table(backends),
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
}

impl DraftRule {
    fn is_unresolved(&self) -> bool {
        matches!(self.action, DraftAction::Unresolved(_))
    }

    fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        let backends = match &self.action {
            DraftAction::Forward(backends) => backends.as_slice(),
            DraftAction::Unresolved(_) => &[],
        };
        backends.iter().map(|(backend, _)| backend)
    }
}

impl DraftAction {
    fn in_table(self, backends: &Backends) -> Action {
        match self {
            DraftAction::Unresolved(message) => Action::Unresolved(message),
            DraftAction::Forward(services) => {
                let share = |(backend, weight): &(Arc<Backend>, u32)| {
                    Some((backends.index(backend)?, *weight))
                };
                let shares: Vec<_> = services.iter().filter_map(share).collect();
                Split::new(&shares).map_or(Action::Unavailable, Action::Forward)
            }
        }
    }
}

/// Why a version could not be decoded.
fn rejections(origin: &Origin, error: &DecodeError) -> Box<[Finding]> {
    error
        .findings()
        .map(|finding| finding.located(origin))
        .collect()
}

/// Finds the services of a rule, or says why one cannot be found.
fn resolve(
    context: &Context<'_>,
    route: &Key,
    rule: &GoodRule,
    findings: &mut Vec<Finding>,
) -> Result<Vec<(Arc<Backend>, u32)>, String> {
    let mut backends = Vec::new();
    let mut unresolved: Option<String> = None;
    for (field, reference) in rule.services() {
        let Context {
            world, settings, ..
        } = *context;
        let backend = service::resolve(world, settings, &route.namespace, reference, &field);
        match backend {
            Ok(backend) => {
                if service::ignores_server_name(reference, &backend) {
                    let message = "has no effect: only `https` asks for a name";
                    let field = format!("{field}.serverName");
                    findings.push(Finding::warning(Reason::NoEffect, field, message));
                }
                backends.push((Arc::new(backend), reference.weight.unwrap_or(1)));
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
    let only = rule.only_service();
    if only.is_some_and(|service| service.weight.is_some_and(|it| it != 0)) {
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
