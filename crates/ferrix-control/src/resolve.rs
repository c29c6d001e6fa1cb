//! A draft against the world: what it names is looked for, and its rules get their services.
//!
//! Done anew whenever anything changes that the draft names. Knows no kind: what is told to an author
//! is in the file of the kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ferrix_table::{
    dry_runs::DryRun,
    filter_list::FilterList,
    filters::{
        Filter, Reference,
        lasting::{FilterId, Lasting},
        limit_key::LimitKey,
        rate_limit::Scope,
    },
    ids::EntryPointIndex,
    policy::Policy,
    rules::{Action, Destination, HostPattern, Route, Rule, Split},
    table,
    verification::ClientCertificate,
    weight::Weight,
};

use crate::{
    attachment::{self, Attached},
    backend::{self, Backend, Backends},
    draft::{
        BackendReference, CertificateReference, ClassReference, Draft, DraftFilters, DraftRule,
        DraftService, Hosts, Versions,
    },
    entry_points::{self, EntryPoints},
    field::Field,
    guard::Bug,
    listeners::{self, Gateways},
    objects::{Key, Kind, ObjectName, Origin},
    outcome::{self, FilterUse, Outcome},
    ownership::Ownership,
    rare::Rare,
    referencegrant::Referrer,
    report::{Finding, Reason, Serving},
    secret::Parsed,
    settings::Settings,
    supply::Supply,
    world::World,
};

mod above;
mod backend_tls;
mod filters;
mod secrets;
mod service_policies;

use above::{Above, Group};
pub(crate) use filters::{NamedFilter, NamedFilters, TableLists};
pub(crate) use service_policies::{NamedPolicy, ServicePolicies};

/// What drafts are resolved against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'w> {
    pub(crate) world: &'w World,
    pub(crate) settings: &'w Settings,
    /// Who has which host.
    pub(crate) ownership: &'w Ownership,
    /// What rules name.
    pub(crate) filters: &'w NamedFilters,
    /// What routes of the Gateway API attach to.
    pub(crate) gateways: &'w Gateways,
    /// All entry points that there are.
    pub(crate) entry_points: &'w table::EntryPoints,
    /// Whether secure entry points have something to present without any route.
    pub(crate) has_default_certificate: bool,
    /// What is presented to backends over TLS.
    pub(crate) client_certificate: Option<&'w ClientCertificate>,
}

/// An object that makes rules, as far as the world has what it names. Its rules themselves are not
/// kept here, as the table has them: see [`Resolved::new`].
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// The version that serves.
    draft: Arc<Draft>,
    pub(crate) outcome: Outcome,
    /// Every reference of its rules to a backend.
    backends: Box<[Arc<Backend>]>,
    /// The certificates that it presents.
    pub(crate) certificates: Rare<Presented>,
    /// The Secret of the default certificate, where that alone lets it be served on a secure entry point.
    default_secret: Option<ObjectName>,
    /// The listeners that it is attached to, each once: the object, and the name of the listener.
    pub(crate) attached: Rare<(Key, Arc<str>)>,
}

/// A certificate that can be presented, and where that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Presented {
    pub(crate) field: Field,
    pub(crate) hosts: Hosts,
    pub(crate) parsed: Arc<Parsed>,
    pub(crate) entry_points: Box<[EntryPointIndex]>,
}

/// A rule for one host, whose services have no place in the table yet.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedRule {
    position: u32,
    host: HostPattern,
    matches: Option<ferrix_rule::Rule>,
    weight: Weight,
    entry_points: Box<[EntryPointIndex]>,
    target: Target,
    policy: Option<Arc<ResolvedPolicy>>,
    dry_run: bool,
}

/// What a rule asks for beyond forwarding, with all that it names.
type ResolvedPolicy = Policy<FilterList<Found>>;

/// Where a rule forwards to.
#[derive(Clone, Debug)]
enum Target {
    /// Services that share its requests.
    Shares(Vec<Share>),
    /// Nowhere, as a filter answers every request.
    Answered,
    /// Nowhere, for this reason.
    Nowhere(String),
}

/// A share of the requests of a rule.
#[derive(Clone, Debug)]
struct Share {
    backend: Found,
    weight: u32,
    filters: Option<Arc<Box<[Filter<Found>]>>>,
}

/// What a reference has come to: a backend, or why it leads nowhere.
type Found = Result<Arc<Backend>, Arc<str>>;

impl Resolved {
    /// Resolves the version of an object that serves, and gives its rules. Says why the newest does
    /// not, where it does not.
    pub(crate) fn new(context: &Context<'_>, versions: &Versions) -> (Self, Vec<ResolvedRule>) {
        let draft = versions.serving();
        let outcome = opened(context.world, versions);
        let mut resolved = Self {
            draft: Arc::clone(draft),
            outcome,
            backends: Box::default(),
            certificates: Rare::default(),
            default_secret: None,
            attached: Rare::default(),
        };
        let mut rules = Vec::new();
        if let Some(finding) = context.world.finding_if_not_ours(context.settings, draft) {
            resolved.outcome.not_ours = true;
            resolved.outcome.remark(finding);
        } else {
            rules = match draft.class {
                ClassReference::Parents => resolved.resolve_at_parents(context, draft),
                ClassReference::Name(_) | ClassReference::IngressClass(_) => {
                    resolved.resolve(context, draft)
                }
            };
        }
        (resolved, rules)
    }

    fn resolve(&mut self, context: &Context<'_>, draft: &Draft) -> Vec<ResolvedRule> {
        let mut findings = Vec::new();
        let refused = refused_hosts(context, draft, &mut findings);
        let default = context.has_default_certificate;
        self.default_secret = (context.settings.default_secret())
            .filter(|_| entry_points::need_default_certificate(context.settings, draft));
        let (settings, known) = (context.settings, context.entry_points);
        let chosen = entry_points::choose(settings, known, default, draft, &mut findings);
        let (presented, missing) = certificates(context, draft, &refused, &chosen, &mut findings);
        if !missing.is_empty() {
            let sentence = without_certificate(context, &chosen);
            self.outcome.without_certificate = Some(sentence);
        }
        let mut unresolved = false;
        let mut above = Above::new(context, draft, &[]);
        let all = chosen.all();
        let mut rules = Vec::with_capacity(draft.rules.len());
        for rule in &draft.rules {
            let (target, policy) = target_and_policy(context, draft, rule, &mut findings);
            let hosts = rule.hosts.iter().filter(|host| !refused.contains(host));
            for host in hosts {
                unresolved |= matches!(target, Target::Nowhere(_));
                let mut add = |entry_points: &[EntryPointIndex], target: Target| {
                    let groups = above.groups(rule, host, entry_points);
                    unresolved |= groups.iter().any(|group| group.lists.is_err());
                    let made = groups.into_iter();
                    rules.extend(made.map(|group| {
                        ResolvedRule::new(rule, host, group, target.clone(), policy.as_ref())
                    }));
                };
                match missing.iter().find(|(hosts, _)| hosts.contains(host)) {
                    // The certificate is no concern of plain entry points.
                    Some((_, reason)) => {
                        add(&chosen.plain, target.clone());
                        add(&chosen.secure, Target::Nowhere(reason.clone()));
                    }
                    None => add(&all, target.clone()),
                }
            }
        }
        self.certificates = presented.into();
        let above = above.finish();
        let outcome = &mut self.outcome;
        outcome.left_out = chosen.left_out || !refused.is_empty();
        outcome.refused_hosts = refused.into();
        outcome.entry_points = all;
        outcome.unresolved = unresolved;
        self.conclude(context, draft, &rules, above, findings);
        rules
    }

    /// The same for a draft with parents. A backend that cannot be had costs only its own share.
    fn resolve_at_parents(&mut self, context: &Context<'_>, draft: &Draft) -> Vec<ResolvedRule> {
        let mut findings = Vec::new();
        let (attached, parents) =
            attachment::attach(context.world, context.gateways, context.entry_points, draft);
        // In a cluster, most of them are those of other controllers.
        let strangers = match draft.origin {
            Origin::Api => Vec::new(),
            Origin::File(_) => attachment::strangers(context.gateways, draft),
        };
        if parents.is_empty() {
            let named: Vec<_> = strangers.into_iter().map(|(_, name)| name).collect();
            let mut message =
                "ignored: none of its parents is a Gateway of this installation".to_owned();
            if !named.is_empty() {
                message.push_str(&format!(" ({})", named.join(", ")));
            }
            self.outcome.not_ours = true;
            let finding = Finding::info(Reason::NotOurs, "spec.parentRefs", message);
            self.outcome.remark(finding);
            return Vec::new();
        }
        for parent in &parents {
            if let Some((reason, message)) = &parent.refused {
                let field = "spec.parentRefs";
                findings.push(Finding::problem(*reason, field, message.as_str()));
            }
        }
        for (place, name) in strangers {
            let field = Field::new("spec.parentRefs[]", [place]).to_string();
            let message = format!("ignored: {name} is no Gateway of this installation");
            findings.push(Finding::info(Reason::NotOurs, field, message));
        }
        let mut fronts = fronts(context, &attached);
        let hosts = fronts.iter().flat_map(|front| front.places.keys().copied());
        let hosts: Vec<HostPattern> = BTreeSet::from_iter(hosts).into_iter().cloned().collect();
        let refused = refused(context, draft, &hosts, &mut findings);
        for front in &mut fronts {
            let is_served = |host: &HostPattern, entry_points: &BTreeSet<_>| {
                !refused.contains(host) && !entry_points.is_empty()
            };
            (front.places).retain(|host, entry_points| is_served(host, entry_points));
        }
        let mut unresolved = false;
        let mut above = Above::new(context, draft, &attached);
        let mut rules = Vec::with_capacity(draft.rules.len());
        for (rule, front) in
            (draft.rules.iter()).flat_map(|it| fronts.iter().map(move |front| (it, front)))
        {
            let context = &Context {
                client_certificate: front.client_certificate,
                ..*context
            };
            let (target, policy) = target_and_policy(context, draft, rule, &mut findings);
            unresolved |= match &target {
                Target::Shares(shares) => shares.iter().any(|it| it.backend.is_err()),
                Target::Answered => false,
                Target::Nowhere(_) => true,
            };
            for (host, entry_points) in &front.places {
                let entry_points: Vec<_> = entry_points.iter().copied().collect();
                let groups = above.groups(rule, host, &entry_points);
                unresolved |= groups.iter().any(|group| group.lists.is_err());
                let made = groups.into_iter();
                rules.extend(made.map(|group| {
                    ResolvedRule::new(rule, host, group, target.clone(), policy.as_ref())
                }));
            }
        }
        let above = above.finish();
        let places = fronts.iter().flat_map(|front| front.places.values());
        let all: BTreeSet<_> = places.flatten().copied().collect();
        let listeners = attached.into_iter().map(|it| (it.parent, it.listener));
        let listeners: BTreeSet<_> = listeners.collect();
        self.attached = listeners.into_iter().collect();
        let outcome = &mut self.outcome;
        outcome.left_out = parents.iter().any(|it| it.refused.is_some()) || !refused.is_empty();
        outcome.parents = parents.into();
        outcome.refused_hosts = refused.into();
        outcome.entry_points = all.into_iter().collect();
        outcome.unresolved = unresolved;
        self.conclude(context, draft, &rules, above, findings);
        rules
    }

    /// What is to be said of any draft.
    fn conclude(
        &mut self,
        context: &Context<'_>,
        draft: &Draft,
        rules: &[ResolvedRule],
        (above, of_above): (BTreeSet<ObjectName>, Vec<Finding>),
        mut findings: Vec<Finding>,
    ) {
        findings.extend(of_above);
        for reference in &draft.unserved {
            let (world, settings) = (context.world, context.settings);
            let found = backend::resolve(world, settings, draft.key(), reference, None);
            findings.extend(found.err());
        }
        let policies = rules.iter().filter_map(|rule| rule.policy.as_ref());
        findings.extend(policies.flat_map(|policy| counted_without_claims(policy)));
        findings.extend(draft.notes.iter().cloned());
        findings.extend(all_no_longer_seen(context.world, draft));
        // Matches of one rule share its backends.
        let mut known = Vec::with_capacity(findings.len());
        for finding in findings {
            if !known.contains(&finding) {
                known.push(finding);
            }
        }
        self.backends = rules
            .iter()
            .flat_map(ResolvedRule::backends)
            .cloned()
            .collect();
        self.outcome.rules = rules.len();
        let named = draft.rules.iter().flat_map(DraftRule::named_filters);
        let named: BTreeSet<_> = named.map(|it| &it.filter).chain(&above).collect();
        let named = named.into_iter().map(|filter| {
            let from = Referrer::Object(draft.key());
            let permitted = || context.world.filter(context.settings, from, filter).is_ok();
            FilterUse {
                filter: filter.clone(),
                permitted: above.contains(filter) || permitted(),
                attached: above.contains(filter),
            }
        });
        self.outcome.filters = named.collect();
        for finding in known {
            self.outcome.remark(finding);
        }
    }

    /// What is to be said of an object that could not be resolved for a bug of ours. `before`: what it
    /// was before, and still is.
    pub(crate) fn failed(before: Option<&Self>, versions: &Versions) -> Outcome {
        let newest = &versions.newest;
        let finding = Finding::problem(Reason::InternalError, "", Bug::MESSAGE);
        let mut outcome = match before {
            Some(before) => {
                let mut outcome = before.outcome.clone();
                outcome.serving = Serving::LastGood {
                    generation: before.draft.generation(),
                };
                outcome.findings.clear();
                outcome
            }
            None => Outcome::nothing(newest),
        };
        outcome.origin = newest.origin.clone();
        outcome.observed_generation = newest.generation();
        outcome.faults = [finding].into();
        outcome
    }

    pub(crate) fn key(&self) -> &Key {
        self.draft.key()
    }

    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.draft.route
    }

    /// The Services that it names, whether they exist or not.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ObjectName> {
        self.draft.services()
    }

    /// The Secrets whose certificates it depends on, whether they exist or not.
    pub(crate) fn certificate_secrets(&self) -> impl Iterator<Item = &ObjectName> {
        self.draft.certificate_secrets().chain(&self.default_secret)
    }

    /// The Secrets that it depends on, whether they exist or not.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &ObjectName> {
        self.certificate_secrets()
            .chain(self.draft.secrets_of_filters())
    }

    /// Where its filters have keys and authorities from, besides Secrets. None where it is not ours: nobody else's
    /// URLs are asked for anything.
    pub(crate) fn supplies(&self) -> impl Iterator<Item = Supply> {
        let ours = (!self.outcome.not_ours).then_some(&self.draft);
        ours.into_iter().flat_map(|draft| draft.supplies())
    }

    /// The Filters that its rules name, whether they exist or not.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &FilterUse> {
        self.outcome.filters.iter()
    }

    /// Every reference to a backend.
    pub(crate) fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// Where it says which name is asked for over TLS, and of which backend.
    pub(crate) fn server_names(&self) -> impl Iterator<Item = (String, &Backend)> {
        let references = self.draft.rules.iter().flat_map(|rule| &rule.backends);
        let naming = references.filter(|it| it.server_name.is_some());
        naming.filter_map(|reference| {
            let mut backends = self.backends.iter();
            let backend = backends.find(|it| it.is_of(reference))?;
            Some((format!("{}.serverName", reference.field), &**backend))
        })
    }

    /// The field of one of its rules in the table.
    pub(crate) fn field_of(&self, rule: &Rule) -> Option<Field> {
        self.draft.field_of(rule.position)
    }

    /// The Gateways and ListenerSets that it names, whether they exist or not.
    pub(crate) fn parents(&self) -> impl Iterator<Item = Key> {
        listeners::parents_of(&self.draft)
    }

    /// One of its rules in the table.
    pub(crate) fn table_rule(
        &self,
        rule: ResolvedRule,
        backends: &Backends,
        lists: &mut TableLists,
    ) -> Rule {
        let policy = rule.policy.map(|policy| {
            let of_policy = policy.lists.iter().cloned();
            let of_policy = of_policy.map(|list| lists.list(list, backends));
            Arc::new(policy.with_lists(of_policy))
        });
        Rule {
            route: Arc::clone(self.route()),
            position: rule.position,
            host: rule.host,
            matches: rule.matches,
            weight: rule.weight,
            entry_points: rule.entry_points,
            action: action(rule.target, backends),
            policy,
            dry_run: rule.dry_run.then(|| Box::new(self.dry_run(rule.position))),
        }
    }

    /// What a rule would have served, by its place.
    fn dry_run(&self, position: u32) -> DryRun {
        let field = self.draft.field_of(position);
        Lasting::new(FilterId {
            object: self.key().clone(),
            place: field
                .map_or_else(String::new, |it| it.short().to_string())
                .into(),
        })
    }

    /// Adds what only the whole table can tell.
    pub(crate) fn conflict(&mut self, field: String, message: String) {
        let finding = Finding::problem(Reason::Conflicted, field, message);
        self.outcome.remark(finding);
        self.outcome.left_out = true;
    }

    /// That rules of two namespaces can match the same requests.
    pub(crate) fn overlap(&mut self, field: String, message: String) {
        let finding = Finding::warning(Reason::Overlaps, field, message);
        self.outcome.remark(finding);
    }

    /// The same for a rule that never serves.
    pub(crate) fn shadowed(&mut self, field: String, message: String) {
        self.conflict(field, message);
        self.outcome.shadowed += 1;
    }
}

/// What is to be said of an object before what it names is looked for: of the version that serves, and why
/// the newest does not, where it does not.
fn opened(world: &World, versions: &Versions) -> Outcome {
    let (newest, draft) = (&versions.newest, versions.serving());
    let rejected = world.rejection(newest.key());
    let (origin, observed_generation, faults) = match rejected {
        Some((origin, error)) => (
            origin,
            error.generation.or(newest.generation()),
            outcome::rejections(origin, error),
        ),
        None => (&newest.origin, newest.generation(), newest.faults.clone()),
    };
    let serving = match Arc::ptr_eq(draft, newest) && rejected.is_none() {
        true => Serving::Newest,
        false => Serving::LastGood {
            generation: draft.generation(),
        },
    };
    let mut outcome = Outcome::nothing(draft);
    outcome.origin = origin.clone();
    outcome.observed_generation = observed_generation;
    outcome.serving = serving;
    outcome.faults = faults;
    outcome.is_good_in_part = rejected.is_none() && newest.is_good_in_part();
    outcome
}

impl ResolvedRule {
    /// A rule for a host, with what is above it there.
    fn new(
        rule: &DraftRule,
        host: &HostPattern,
        group: Group,
        target: Target,
        policy: Option<&Arc<ResolvedPolicy>>,
    ) -> Self {
        let (target, policy) = match group.lists {
            Ok(lists) if lists.is_empty() => (target, policy.cloned()),
            Ok(mut lists) => {
                let own = policy.cloned().unwrap_or_default();
                lists.extend(own.lists.iter().cloned());
                (target, Some(Arc::new(own.with_lists(lists))))
            }
            Err(reason) => (Target::Nowhere(reason), None),
        };
        Self {
            position: rule.position,
            host: host.clone(),
            matches: rule.matches.clone(),
            weight: rule.weight,
            entry_points: group.entry_points.into(),
            target,
            policy,
            dry_run: rule.dry_run,
        }
    }

    /// Every backend that it refers to, some perhaps more than once.
    fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        let shares = match &self.target {
            Target::Shares(shares) => &shares[..],
            Target::Answered | Target::Nowhere(_) => &[],
        };
        let of_shares = shares.iter().flat_map(|share| {
            let filters = share.filters.iter().flat_map(|filters| filters.iter());
            std::iter::once(&share.backend).chain(filters.filter_map(Filter::service))
        });
        let policy = self.policy.iter().flat_map(|policy| policy.filters());
        let found = of_shares.chain(policy.filter_map(Filter::service));
        found.filter_map(|found| found.as_ref().ok())
    }
}

fn action(target: Target, backends: &Backends) -> Action {
    let shares = match target {
        Target::Shares(shares) => shares,
        Target::Answered => return Action::Answered,
        Target::Nowhere(reason) => return Action::Unresolved(reason),
    };
    let destination = |share: &Share| {
        let filters = share.filters.as_ref().map(|filters| {
            let filters = filters.iter();
            let filters = filters.map(|it| it.with_service(|found| reference(found, backends)));
            Arc::new(filters.collect())
        });
        let destination = Destination {
            service: reference(&share.backend, backends),
            filters,
        };
        (destination, share.weight)
    };
    let shares: Vec<_> = shares.iter().map(destination).collect();
    Split::new(&shares).map_or(Action::Unavailable, Action::Forward)
}

/// What a reference is in the table.
fn reference(found: &Found, backends: &Backends) -> Reference {
    let backend = found.as_ref().map_err(Arc::clone)?;
    // Every backend of a rule is referred to before its rules are made.
    backends
        .index(backend)
        .ok_or_else(|| "the backend is not known".into())
}

/// Where a route is served whose Gateways present the same to backends.
struct Front<'w> {
    client_certificate: Option<&'w ClientCertificate>,
    places: BTreeMap<&'w HostPattern, BTreeSet<EntryPointIndex>>,
}

impl<'w> Front<'w> {
    fn new(client_certificate: Option<&'w ClientCertificate>) -> Self {
        Self {
            client_certificate,
            places: BTreeMap::new(),
        }
    }
}

/// The places of a route. At least one front, as its backends are looked for in any case.
fn fronts<'w>(context: &Context<'w>, attached: &'w [Attached]) -> Vec<Front<'w>> {
    let mut fronts: Vec<Front<'w>> = Vec::new();
    for listener in attached {
        let parent = context.gateways.get(&listener.parent);
        let client_certificate = parent.and_then(|it| it.client_certificate.as_ref());
        let known = (fronts.iter()).position(|it| it.client_certificate == client_certificate);
        let place = known.unwrap_or_else(|| {
            fronts.push(Front::new(client_certificate));
            fronts.len() - 1
        });
        for host in &listener.hosts {
            let entry_points = fronts[place].places.entry(host).or_default();
            entry_points.extend(&listener.entry_points);
        }
    }
    if fronts.is_empty() {
        fronts.push(Front::new(None));
    }
    fronts
}

/// The hosts of a draft that its namespace may not have.
fn refused_hosts(
    context: &Context<'_>,
    draft: &Draft,
    findings: &mut Vec<Finding>,
) -> Vec<HostPattern> {
    refused(context, draft, &draft.hosts, findings)
}

/// Those of some hosts that the namespace of a draft may not have.
fn refused(
    context: &Context<'_>,
    draft: &Draft,
    hosts: &[HostPattern],
    findings: &mut Vec<Finding>,
) -> Vec<HostPattern> {
    let Context {
        world, settings, ..
    } = *context;
    let mut refused = Vec::new();
    for host in hosts {
        let refusal = (context.ownership).refusal(world, settings, draft.key(), host);
        if let Some(refusal) = refusal {
            let (field, message) = (draft.host_field, refusal.to_string());
            findings.push(Finding::problem(Reason::HostNotAllowed, field, message));
            refused.push(host.clone());
        }
    }
    refused
}

/// Hosts without those that are refused.
fn served(hosts: &Hosts, refused: &[HostPattern]) -> Hosts {
    let is_refused = |host: &HostPattern| refused.contains(host);
    match hosts.iter().any(is_refused) {
        false => Arc::clone(hosts),
        true => (hosts.iter().filter(|host| !is_refused(host)))
            .cloned()
            .collect(),
    }
}

/// The hosts whose certificate cannot be presented, and why.
type Missing = (Hosts, String);

/// Looks for the certificates of a draft.
fn certificates(
    context: &Context<'_>,
    draft: &Draft,
    refused: &[HostPattern],
    chosen: &EntryPoints,
    findings: &mut Vec<Finding>,
) -> (Vec<Presented>, Vec<Missing>) {
    let (mut presented, mut missing) = (Vec::new(), Vec::new());
    for reference in &draft.certificates {
        if chosen.secure.is_empty() {
            if !chosen.plain.is_empty() {
                let names = entry_points::names(context.entry_points, &chosen.plain);
                let message = format!("the certificate is not used: {names} serves plain HTTP");
                let field = reference.field.to_string();
                findings.push(Finding::warning(Reason::CertificateNotUsed, field, message));
            }
            continue;
        }
        let hosts = served(&reference.hosts, refused);
        let found = certificate(context, draft.key(), reference, findings);
        let found = found.map_err(|finding| {
            let message = finding.message.clone();
            findings.push(finding);
            message
        });
        match found {
            // For none of its hosts.
            _ if hosts.is_empty() => {}
            Ok(parsed) => presented.push(Presented {
                field: reference.field,
                hosts,
                parsed,
                entry_points: chosen.secure.as_slice().into(),
            }),
            Err(message) => missing.push((hosts, message)),
        }
    }
    (presented, missing)
}

/// What clients get where a certificate is missing.
fn without_certificate(context: &Context<'_>, chosen: &EntryPoints) -> String {
    let names = entry_points::names(context.entry_points, &chosen.secure);
    match context.has_default_certificate {
        true => format!("On {names} clients are presented another certificate, and get 500."),
        false => format!(
            "On {names} the TLS handshake fails, unless another route has a certificate for the \
             name; then requests get 500."
        ),
    }
}

fn certificate(
    context: &Context<'_>,
    from: &Key,
    reference: &CertificateReference,
    findings: &mut Vec<Finding>,
) -> Result<Arc<Parsed>, Finding> {
    let Context {
        world, settings, ..
    } = *context;
    let (name, field) = (&reference.secret, reference.field);
    let refuse = |reason, message| Finding::problem(reason, field.to_string(), message);
    let Ok(state) = world.secret(settings, Referrer::Object(from), name) else {
        let message = backend::why_missing(world, Kind::Secret, name);
        return Err(refuse(Reason::SecretNotFound, message));
    };
    let parsed = state.serving().map_err(|fault| {
        let message = format!("Secret {name} is of no use: {fault}");
        refuse(Reason::InvalidCertificate, message)
    })?;
    for host in reference.hosts.iter().filter(|host| !parsed.is_for(host)) {
        let message =
            format!("the certificate of Secret {name} is not for {host}: clients refuse it");
        let reason = Reason::CertificateForOtherNames;
        findings.push(Finding::warning(reason, field.to_string(), message));
    }
    findings.extend(no_longer_seen(world, Kind::Secret, &name.namespace));
    for finding in state.findings(world.now()) {
        let message = format!("Secret {name}: {}", finding.message);
        findings.push(Finding {
            field: field.to_string(),
            message,
            ..finding
        });
    }
    Ok(Arc::clone(parsed))
}

/// What of all that serves a draft can no longer be seen, but for Secrets, which may not be there.
fn all_no_longer_seen(world: &World, draft: &Draft) -> Vec<Finding> {
    let own = &draft.key().namespace;
    let mut needed = BTreeSet::from([(draft.key().kind, own)]);
    for reference in draft.rules.iter().flat_map(DraftRule::named_filters) {
        let namespace = &reference.filter.namespace;
        needed.insert((Kind::Filter, namespace));
        if namespace != own {
            needed.insert((Kind::ReferenceGrant, namespace));
        }
    }
    for service in draft.services() {
        let namespace = &service.namespace;
        needed.extend([(Kind::Service, namespace), (Kind::EndpointSlice, namespace)]);
        if namespace != own {
            needed.insert((Kind::ReferenceGrant, namespace));
        }
    }
    let needed = needed.into_iter();
    let findings = needed.filter_map(|(kind, namespace)| no_longer_seen(world, kind, namespace));
    findings.collect()
}

fn no_longer_seen(world: &World, kind: Kind, namespace: &Arc<str>) -> Option<Finding> {
    let reason = world.withheld(kind, namespace)?;
    let message = format!(
        "{} of namespace {namespace} can no longer be seen, and what was seen last serves on: \
         {reason}",
        kind.plural()
    );
    Some(Finding::warning(Reason::NoLongerSeen, "", message))
}

/// Where a rule forwards to, and what it asks for beyond that. Without a Filter that it names it never
/// serves.
fn target_and_policy(
    context: &Context<'_>,
    draft: &Draft,
    rule: &DraftRule,
    findings: &mut Vec<Finding>,
) -> (Target, Option<Arc<ResolvedPolicy>>) {
    let mut of_policy = Vec::new();
    let policy = policy(context, draft.key(), rule, &mut of_policy);
    let answers = policy.as_ref().is_ok_and(|policy| {
        let policy = policy.as_ref();
        policy.is_some_and(|policy| policy.answers())
    });
    let target = target(context, draft, rule, answers, findings);
    findings.append(&mut of_policy);
    match policy {
        Ok(policy) => (target, policy),
        Err(reason) => (Target::Nowhere(reason), None),
    }
}

/// Finds the services of a rule, or says why one cannot be found. `answers`: whether a filter of the rule
/// answers every request.
fn target(
    context: &Context<'_>,
    draft: &Draft,
    rule: &DraftRule,
    answers: bool,
    findings: &mut Vec<Finding>,
) -> Target {
    let seeker = Seeker::new(context, draft.key());
    let mut shares = Vec::with_capacity(rule.backends.len() + rule.lost.len());
    let mut unresolved: Option<String> = None;
    for reference in &rule.backends {
        let weight = reference.weight.unwrap_or(1);
        let backend = match found(seeker, reference, findings) {
            Ok(backend) => Ok(backend),
            Err(message) => {
                // A service that gets no requests need not be there yet.
                if weight != 0 {
                    unresolved.get_or_insert_with(|| message.to_string());
                }
                Err(message)
            }
        };
        let filters = reference.filters.as_ref().map(|filters| {
            let filters = filters.iter().map(|it| complete(seeker, it, findings));
            Arc::new(filters.collect())
        });
        shares.push(Share {
            backend,
            weight,
            filters,
        });
    }
    for lost in &rule.lost {
        findings.push(lost.finding.clone());
        shares.push(Share {
            backend: Err(lost.finding.message.as_str().into()),
            weight: lost.weight,
            filters: None,
        });
    }
    if answers {
        return Target::Answered;
    }
    if draft.class == ClassReference::Parents {
        return match shares.is_empty() {
            false => Target::Shares(shares),
            true => Target::Nowhere("the rule names no backend".to_owned()),
        };
    }
    if let Some(reason) = unresolved {
        return Target::Nowhere(reason);
    }
    // Only a rule that names a Filter may leave it to that.
    if rule.backends.is_empty() && rule.named_filters().next().is_some() {
        let message =
            "the rule names no service, and no Filter that it names answers every request";
        let field = rule.field.to_string();
        findings.push(Finding::problem(Reason::FilterNotUsable, field, message));
        return Target::Nowhere(message.to_owned());
    }
    if shares.iter().all(|share| share.weight == 0) {
        let message = "no service has a weight: requests get 503";
        let field = rule.field.to_string();
        findings.push(Finding::warning(Reason::NoEndpoints, field, message));
    }
    // Only those remain that get no requests.
    shares.retain(|share| share.backend.is_ok());
    Target::Shares(shares)
}

/// What a rule asks for beyond forwarding, with the services and the Filters that it names, or why one of
/// these cannot be had.
fn policy(
    context: &Context<'_>,
    from: &Key,
    rule: &DraftRule,
    findings: &mut Vec<Finding>,
) -> Result<Option<Arc<ResolvedPolicy>>, String> {
    let Some(policy) = &rule.policy else {
        return Ok(None);
    };
    let Context {
        world,
        settings,
        filters,
        ..
    } = *context;
    let seeker = Seeker::new(context, from);
    let mut lost = None;
    let mut lists = Vec::with_capacity(policy.lists.len());
    for list in &policy.lists {
        match list {
            DraftFilters::Own(_, own) => {
                let own = own.iter().map(|it| complete(seeker, it, findings));
                lists.push(FilterList::of_rule(own.collect::<Arc<[_]>>()));
            }
            DraftFilters::Without(_) => {}
            DraftFilters::Named(reference) => {
                match filters.list(world, settings, from, reference) {
                    Ok(list) => lists.push(list),
                    Err(finding) => {
                        lost.get_or_insert_with(|| finding.message.clone());
                        findings.push(finding);
                    }
                }
            }
        }
    }
    if !settings.shares_limits {
        let filters = lists.iter().flat_map(|list| list.filters.iter());
        findings.extend(filters.filter_map(counted_alone));
    }
    match lost {
        Some(reason) => Err(reason),
        None => {
            let policy = policy.with_lists(lists);
            Ok((!policy.is_empty()).then(|| Arc::new(policy)))
        }
    }
}

/// What there is to say of a limit that all replicas are to count together, where they do not.
fn counted_alone<S>(filter: &Filter<S>) -> Option<Finding> {
    let Filter::RateLimit(limit) = filter else {
        return None;
    };
    let message = format!(
        "`scope: Cluster` of `{}` has no effect: the settings have no `replicas`, so that each counts for \
         itself",
        limit.state.id().place
    );
    let finding = Finding::warning(Reason::NoEffect, "", message);
    (limit.scope == Scope::Cluster).then_some(finding)
}

/// What there is to say of limits by claims that nobody has found before them.
fn counted_without_claims(policy: &ResolvedPolicy) -> Vec<Finding> {
    let before = policy.filters().take_while(|filter| !filter.knows_claims());
    let limits = before.filter_map(Filter::limit_key);
    let findings = limits.filter_map(|(by, id)| match by {
        LimitKey::Claim(name) => {
            let message = format!(
                "`by: {{claim: {name}}}` of `{}` has no effect: no `jwt` stands before it, so that requests \
                 are counted by client",
                id.place
            );
            Some(Finding::warning(Reason::NoEffect, "", message))
        }
        _ => None,
    });
    findings.collect()
}

/// Who looks for services, and in what.
#[derive(Clone, Copy)]
struct Seeker<'w> {
    world: &'w World,
    settings: &'w Settings,
    from: &'w Key,
    /// What is presented to them over TLS.
    client_certificate: Option<&'w ClientCertificate>,
}

impl<'w> Seeker<'w> {
    fn new(context: &Context<'w>, from: &'w Key) -> Self {
        Self {
            world: context.world,
            settings: context.settings,
            from,
            client_certificate: context.client_certificate,
        }
    }
}

/// A filter with what it names.
fn complete(
    seeker: Seeker<'_>,
    filter: &Filter<DraftService>,
    findings: &mut Vec<Finding>,
) -> Filter<Found> {
    let filter = filter.with_service(|it| found_by_filter(seeker, it, findings));
    secrets::look_up(seeker, filter, findings)
}

fn found_by_filter(
    seeker: Seeker<'_>,
    service: &DraftService,
    findings: &mut Vec<Finding>,
) -> Found {
    match service {
        Ok(reference) => found(seeker, reference, findings),
        Err(finding) => {
            findings.push(finding.clone());
            Err(finding.message.as_str().into())
        }
    }
}

/// The backend of a reference, or why there is none.
fn found(seeker: Seeker<'_>, reference: &BackendReference, findings: &mut Vec<Finding>) -> Found {
    let Seeker {
        world,
        settings,
        from,
        client_certificate,
    } = seeker;
    match backend::resolve(world, settings, from, reference, client_certificate) {
        Ok(backend) => {
            let trouble = backend::external_name_finding(world, reference, &backend);
            findings.extend(trouble);
            Ok(Arc::new(backend))
        }
        Err(finding) => {
            let message = finding.message.as_str().into();
            findings.push(finding);
            Err(message)
        }
    }
}
