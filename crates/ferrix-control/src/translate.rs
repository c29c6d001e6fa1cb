//! The world to a table and a report, in one pass.
//!
//! Pure and total: the same objects give the same table and the same report, in whatever order
//! they came, and no object can make it fail. What an object gets wrong becomes a finding about
//! that object.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use ferrix_table::{
    Table,
    rules::{Action, Rule, RuleSet, Split},
    services::Service,
};

use crate::{
    certificates, conflict, endpointslice,
    ingressroute::{Draft, DraftAction},
    objects::{Key, Kind, ObjectName},
    report::{Entry, Finding, Reason, Remark, Report},
    service::{self, Backends, Indices, References},
    settings::Settings,
    world::World,
};

/// Makes the table and the report of a world.
pub fn translate(world: &World, settings: &Settings) -> (Table, Report) {
    let translation = Translation::new(world, settings);
    (translation.table, translation.report)
}

/// A table, its report, and what is needed to follow changes of endpoints.
#[derive(Debug, Default)]
pub(crate) struct Translation {
    pub(crate) table: Table,
    pub(crate) report: Report,
    pub(crate) backends: Backends,
    /// What was said about Services and their slices.
    told: HashMap<ObjectName, BTreeSet<Key>>,
    /// The Services that routes name, whether they exist or not.
    pub(crate) named: HashSet<ObjectName>,
}

/// What routes are compiled against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'w> {
    pub(crate) world: &'w World,
    pub(crate) settings: &'w Settings,
    /// Whether secure entry points have something to present without any route.
    pub(crate) has_default_certificate: bool,
}

impl Translation {
    pub(crate) fn new(world: &World, settings: &Settings) -> Self {
        let default = certificates::default_certificate(world, settings);
        let context = Context {
            world,
            settings,
            has_default_certificate: matches!(default, Ok(Some(_))),
        };
        let mut references = References::default();
        let mut drafts: Vec<Draft> = world
            .routes()
            .map(|(name, versions)| Draft::new(&context, name, versions, &mut references))
            .collect();
        let (backends, indices) = Backends::of(references.take_backends());
        let services = service::table_services(world, settings, backends.list());
        let rules = RuleSet::new(rules(&drafts, &indices));

        let mut findings = findings_of_objects(world, settings);
        let default = default.unwrap_or_else(|(secret, why)| {
            let message = format!("the default certificate cannot be presented: {why}");
            let finding = Finding::problem(Reason::InvalidCertificate, "", message);
            findings
                .entry(secret.key(Kind::Secret))
                .or_default()
                .push(finding);
            None
        });
        let certificates = certificates::certificates(default, settings, &mut drafts);
        conflict::report_shadowed(&rules, &mut drafts, settings);
        let mut told: HashMap<ObjectName, BTreeSet<Key>> = HashMap::new();
        let mut rest = &*services;
        for backends in backends
            .list()
            .chunk_by(|one, other| one.service() == other.service())
        {
            let (services, further) = rest.split_at(backends.len());
            rest = further;
            for (key, more) in service::findings(world, settings, backends, services) {
                let told = told.entry(backends[0].service().clone()).or_default();
                told.insert(key.clone());
                findings.entry(key).or_default().extend(more);
            }
        }

        let mut entries: Vec<Arc<Entry>> = findings
            .into_iter()
            .map(|(key, findings)| Arc::new(entry(world, key, findings)))
            .chain(
                drafts
                    .into_iter()
                    .map(|draft| Arc::new(draft.into_entry(settings))),
            )
            .chain(undecodable_routes(world).map(Arc::new))
            .collect();
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        let remark = |(path, finding): (&Arc<_>, &Finding)| Remark {
            path: Arc::clone(path),
            finding: finding.clone(),
        };
        Self {
            table: Table {
                generation: 0,
                entry_points: settings.entry_points.as_slice().into(),
                rules: Arc::new(rules),
                services: services.into(),
                certificates: Arc::new(certificates),
            },
            report: Report {
                entries,
                remarks: world.remarks().map(remark).collect(),
            },
            backends,
            told,
            named: references.named,
        }
    }

    /// Hands over what was said about each Service and its slices, where anything was.
    pub(crate) fn take_told(&mut self) -> HashMap<ObjectName, BTreeSet<Key>> {
        std::mem::take(&mut self.told)
    }
}

/// The rules of the table, in no order.
fn rules(drafts: &[Draft], indices: &Indices) -> Vec<Rule> {
    let mut rules = Vec::with_capacity(drafts.len());
    for draft in drafts {
        for rule in &draft.rules {
            let action = match &rule.action {
                DraftAction::Unresolved(message) => Action::Unresolved(message.clone()),
                DraftAction::Forward(references) => {
                    let shares: Vec<_> = references
                        .iter()
                        .map(|(reference, weight)| (indices.of(*reference), *weight))
                        .collect();
                    Split::new(&shares).map_or(Action::Unavailable, Action::Forward)
                }
            };
            rules.push(Rule {
                route: Arc::clone(&draft.route),
                position: u32::try_from(rule.position).unwrap_or(u32::MAX),
                host: draft.host.clone(),
                matches: rule.matches.clone(),
                priority: rule.priority,
                entry_points: rule.entry_points.clone(),
                action,
            });
        }
    }
    rules
}

/// What there is to say about objects other than routes, whoever uses them.
fn findings_of_objects(world: &World, settings: &Settings) -> BTreeMap<Key, Vec<Finding>> {
    let mut findings: BTreeMap<Key, Vec<Finding>> = BTreeMap::new();
    for (key, ..) in world
        .rejections()
        .filter(|(key, ..)| key.kind != Kind::IngressRoute)
    {
        findings.entry(key.clone()).or_default();
    }
    for key in world.noted() {
        findings.entry(key.clone()).or_default();
    }
    for (name, more) in world.secret_findings() {
        findings
            .entry(name.key(Kind::Secret))
            .or_default()
            .extend(more);
    }
    for (name, slice) in world.stray_slices() {
        let more = endpointslice::findings(settings, slice);
        findings
            .entry(name.key(Kind::EndpointSlice))
            .or_default()
            .extend(more);
    }
    findings
}

/// The entry of an object that is no route: what decoding found, then what translation did.
pub(crate) fn entry(world: &World, key: Key, findings: Vec<Finding>) -> Entry {
    let mut all = Vec::new();
    let mut origin = world.origin(&key);
    if let Some((rejected, error)) = world.rejection(key.kind, &key.object_name()) {
        origin = rejected.clone();
        all.extend(error.findings());
    }
    if let Some(notes) = world.notes_of(&key) {
        all.extend(notes.iter().cloned());
    }
    all.extend(findings);
    all.sort_by_key(|finding| finding.severity);
    Entry::remarks(key, origin, all)
}

/// Routes of which no version could ever be decoded.
fn undecodable_routes(world: &World) -> impl Iterator<Item = Entry> {
    let routes = world
        .rejections()
        .filter(|(key, ..)| key.kind == Kind::IngressRoute);
    routes.filter_map(|(key, origin, error)| {
        let name = key.object_name();
        let unknown = !world.has_route(&name);
        unknown.then(|| Draft::undecodable(&name, origin, error))
    })
}

/// Whether two tables serve the same, whatever their generation and their counters.
pub(crate) fn same_table(one: &Table, other: &Table) -> bool {
    one.entry_points == other.entry_points
        && same_rules(&one.rules, &other.rules)
        && one.services.len() == other.services.len()
        && one
            .services
            .iter()
            .zip(&*other.services)
            .all(|(one, other)| same_service(one, other))
        && certificates::same(&one.certificates, &other.certificates)
}

fn same_rules(one: &RuleSet, other: &RuleSet) -> bool {
    let same = |one: &Rule, other: &Rule| {
        let same_action = match (&one.action, &other.action) {
            (Action::Forward(one), Action::Forward(other)) => one.cumulative == other.cumulative,
            (Action::Unresolved(one), Action::Unresolved(other)) => one == other,
            (Action::Unavailable, Action::Unavailable) => true,
            _ => false,
        };
        let route = |rule: &Rule| (rule.route.generation, rule.route.created);
        same_action
            && one.route.key() == other.route.key()
            && route(one) == route(other)
            && one.position == other.position
            && one.host == other.host
            && one.text() == other.text()
            && one.priority == other.priority
            && one.entry_points == other.entry_points
    };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
}

/// Whether two services forward to the same endpoints in the same way.
pub(crate) fn same_service(one: &Service, other: &Service) -> bool {
    one.id == other.id
        && one.protocol == other.protocol
        && one.endpoints.len() == other.endpoints.len()
        && one
            .endpoints
            .iter()
            .zip(&other.endpoints)
            .all(|(one, it)| one.address == it.address)
}
