//! Filters under a name, with the services that they name in the world: what rules have of them, which all
//! share.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ferrix_table::{
    filter_list::{FilterList, Level, Source},
    filters::Filter,
};

use super::{Found, Seeker, all_no_longer_seen, complete, opened, reference};
use crate::{
    backend::{self, Backends},
    draft::{Draft, FilterReference, Target, Versions, own_filters},
    fallback::Fallback,
    field::Field,
    filter,
    objects::{Key, Kind, ObjectName},
    outcome::Outcome,
    referencegrant::{Permitted, Referrer, Refused},
    report::{Finding, Reason},
    seniority::Seniority,
    settings::Settings,
    supply::Supply,
    world::World,
};

/// The filters of one Filter, with what they name.
type Filters = Arc<[Filter<Found>]>;

/// Every Filter that there is, as far as it could be decoded.
#[derive(Debug, Default)]
pub(crate) struct NamedFilters {
    known: HashMap<ObjectName, NamedFilter>,
    /// Those that can be used and attach themselves, by what they attach to: the oldest first.
    attached: BTreeMap<Target, BTreeMap<Seniority, ObjectName>>,
}

/// A Filter, as far as the world has what it names.
#[derive(Debug)]
pub(crate) struct NamedFilter {
    /// `Err`: no version can be used, and why.
    filters: Result<Filters, (Reason, String)>,
    pub(crate) outcome: Outcome,
    /// What serves in place of its newest version.
    fallback: Option<Fallback>,
    /// The Services that it names, whether they exist or not.
    services: BTreeSet<ObjectName>,
    /// The same for Secrets.
    secrets: BTreeSet<ObjectName>,
    /// Where it has keys and authorities from, besides Secrets.
    supplies: BTreeSet<Supply>,
    /// What it may attach to, and does.
    targets: BTreeSet<Target>,
    optional: bool,
    seniority: Seniority,
}

/// The lists of Filters in the table, each with what it was made of.
#[derive(Debug, Default)]
pub(crate) struct TableLists(HashMap<ObjectName, (Filters, Arc<[Filter]>)>);

impl NamedFilter {
    /// Resolves the version of a Filter that serves.
    pub(crate) fn new(world: &World, settings: &Settings, versions: &Versions) -> Self {
        let draft = versions.serving();
        let key = draft.key();
        let mut outcome = opened(world, versions);
        let services = draft.services().cloned().collect();
        let secrets = draft.secrets_of_filters().cloned().collect();
        let fallback = world.fallback(key);
        let seniority = Seniority::of(&draft.route);
        let attachment = filter::attachment_of(draft);
        if let Some((field, why)) = world.why_not_ours(settings, draft) {
            outcome.not_ours = true;
            outcome.remark(Finding::info(
                Reason::NotOurs,
                field,
                format!("ignored: {why}"),
            ));
            let message = format!("{key} cannot be used here: {why}");
            return Self {
                filters: Err((Reason::FilterNotFound, message)),
                outcome,
                fallback,
                services,
                secrets,
                supplies: BTreeSet::new(),
                targets: BTreeSet::new(),
                optional: false,
                seniority,
            };
        }
        let mut findings = Vec::new();
        let filters = filters(world, settings, draft, &mut findings);
        let targets = attachment.into_iter().flat_map(|it| &it.targets);
        let targets = targets.filter(|(field, target)| {
            let permitted = may_attach(settings, key, target);
            if !permitted {
                findings.push(refused_target(settings, *field));
            }
            permitted
        });
        let targets = targets.map(|(_, target)| target.clone()).collect();
        findings.extend(all_no_longer_seen(world, draft));
        for finding in findings {
            outcome.remark(finding);
        }
        outcome.rules = usize::from(filters.is_some());
        let filters = filters.ok_or_else(|| {
            let why = draft.faults.first().map(Finding::to_string);
            let message = format!("{key} cannot be used: {}", why.unwrap_or_default());
            (Reason::FilterNotUsable, message)
        });
        Self {
            filters,
            outcome,
            fallback,
            services,
            secrets,
            supplies: (draft.supplies())
                .filter(|it| world.may_have(settings, key, it))
                .collect(),
            targets,
            optional: attachment.is_some_and(|it| it.optional),
            seniority,
        }
    }

    /// Whether rules of other namespaces may exempt themselves from it.
    pub(super) fn is_optional(&self) -> bool {
        self.optional
    }

    /// What it is attached to; nothing where it cannot be used.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        let targets = self.targets.iter();
        targets.filter(|_| self.filters.is_ok())
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = &ObjectName> {
        self.services.iter()
    }

    pub(crate) fn secrets(&self) -> impl Iterator<Item = &ObjectName> {
        self.secrets.iter()
    }

    pub(crate) fn supplies(&self) -> impl Iterator<Item = &Supply> {
        self.supplies.iter()
    }

    /// Whether rules that name it are as they would be with another version.
    pub(crate) fn serves_as(&self, other: &Self) -> bool {
        self.filters == other.filters
            && self.fallback == other.fallback
            && self.optional == other.optional
            && self.seniority == other.seniority
            && self.targets().eq(other.targets())
    }
}

/// Whether a Filter may attach itself to something: that of a namespace which the settings trust to anything,
/// another one to what is in its own namespace.
fn may_attach(settings: &Settings, filter: &Key, target: &Target) -> bool {
    settings.filters.trusts(&filter.namespace)
        || match target {
            Target::EntryPoint(_) | Target::Namespace(_) => false,
            Target::Parent(key, _) | Target::Route(key) => key.namespace == filter.namespace,
        }
}

fn refused_target(settings: &Settings, field: Field) -> Finding {
    let trusted = match &settings.filters.namespace {
        Some(namespace) => format!("those of namespace {namespace}"),
        None => "none, by the settings,".to_owned(),
    };
    let message = format!(
        "not attached: Filters attach themselves to Gateways and routes of their own namespace, and {trusted} \
         to anything"
    );
    Finding::problem(Reason::NotPermitted, field.to_string(), message)
}

/// All of its filters; `None`: it is not good.
fn filters(
    world: &World,
    settings: &Settings,
    draft: &Draft,
    findings: &mut Vec<Finding>,
) -> Option<Filters> {
    let policy = draft.rules.first()?.policy.as_ref()?;
    let seeker = Seeker {
        world,
        settings,
        from: draft.key(),
        // It is of no Gateway.
        client_certificate: None,
    };
    let filters = own_filters(policy).map(|it| complete(seeker, it, findings));
    Some(filters.collect())
}

impl NamedFilters {
    pub(crate) fn get(&self, name: &ObjectName) -> Option<&NamedFilter> {
        self.known.get(name)
    }

    /// Whether any attaches itself.
    pub(super) fn attach(&self) -> bool {
        !self.attached.is_empty()
    }

    /// Those that are attached to something, the oldest first.
    pub(super) fn attached_to(&self, target: &Target) -> impl Iterator<Item = &ObjectName> {
        let attached = self.attached.get(target);
        attached.into_iter().flat_map(BTreeMap::values)
    }

    /// What a rule has of a Filter that is above it.
    pub(super) fn above(
        &self,
        world: &World,
        settings: &Settings,
        name: &ObjectName,
        level: Level,
    ) -> Result<FilterList<Found>, (Reason, String)> {
        let permitted = world.filter(settings, Referrer::Settings, name);
        let found = permitted.and_then(|it| self.permitted(&it).ok_or(Refused::Missing));
        match found.map(|filter| &filter.filters) {
            Ok(Ok(filters)) => Ok(FilterList {
                source: Source::Attached(name.clone(), level),
                filters: Arc::clone(filters),
            }),
            Ok(Err(unusable)) => Err(unusable.clone()),
            Err(_) => Err((
                Reason::FilterNotFound,
                backend::why_missing(world, Kind::Filter, name),
            )),
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.known.keys()
    }

    /// Puts a Filter in the place of its version before, or takes it out. Returns that.
    pub(crate) fn replace(
        &mut self,
        name: &ObjectName,
        filter: Option<NamedFilter>,
    ) -> Option<NamedFilter> {
        let before = self.known.remove(name);
        for target in before.iter().flat_map(NamedFilter::targets) {
            if let Some(attached) = self.attached.get_mut(target) {
                attached.retain(|_, it| it != name);
                if attached.is_empty() {
                    self.attached.remove(target);
                }
            }
        }
        if let Some(filter) = filter {
            for target in filter.targets() {
                let attached = self.attached.entry(target.clone()).or_default();
                attached.insert(filter.seniority.clone(), name.clone());
            }
            self.known.insert(name.clone(), filter);
        }
        before
    }

    /// What an object has of a Filter that it names.
    pub(super) fn list(
        &self,
        world: &World,
        settings: &Settings,
        from: &Key,
        reference: &FilterReference,
    ) -> Result<FilterList<Found>, Finding> {
        let name = &reference.filter;
        let refuse = |(reason, message)| {
            let field = reference.field.to_string();
            Err(Finding::problem(reason, field, message))
        };
        let found = world.filter(settings, Referrer::Object(from), name);
        let found = found.and_then(|permitted| self.permitted(&permitted).ok_or(Refused::Missing));
        match found.map(|filter| &filter.filters) {
            Ok(Ok(filters)) => Ok(FilterList {
                source: Source::Named(name.clone()),
                filters: Arc::clone(filters),
            }),
            Ok(Err(unusable)) => refuse(unusable.clone()),
            Err(refused) => refuse(why_refused(world, from, name, refused)),
        }
    }

    fn permitted(&self, name: &Permitted) -> Option<&NamedFilter> {
        self.known.get(name.name())
    }
}

fn why_refused(world: &World, from: &Key, name: &ObjectName, refused: Refused) -> (Reason, String) {
    match refused {
        Refused::Missing => (
            Reason::FilterNotFound,
            backend::why_missing(world, Kind::Filter, name),
        ),
        Refused::Unwatched => (
            Reason::FilterNotFound,
            format!("Filter {name} is in a namespace that is not watched"),
        ),
        Refused::Forbidden => (
            Reason::NotPermitted,
            backend::why_forbidden(world, from, Kind::Filter, name),
        ),
    }
}

impl TableLists {
    /// A list in the table. That of a Filter is made once for all rules that name it.
    pub(super) fn list(&mut self, list: FilterList<Found>, backends: &Backends) -> FilterList {
        let Some(name) = list.source.filter() else {
            return list.with_services(|found| reference(found, backends));
        };
        if let Some((made_of, filters)) = self.0.get(name)
            && Arc::ptr_eq(made_of, &list.filters)
            && is_current(made_of, filters, backends)
        {
            return FilterList {
                filters: Arc::clone(filters),
                source: list.source,
            };
        }
        let made = list.with_services(|found| reference(found, backends));
        let known = (list.filters, Arc::clone(&made.filters));
        self.0.insert(name.clone(), known);
        made
    }

    /// Forgets that of a Filter.
    pub(crate) fn forget(&mut self, name: &ObjectName) {
        self.0.remove(name);
    }
}

/// Whether backends have the indices still that a list has: those that nobody referred to for a while may
/// have others.
fn is_current(made_of: &[Filter<Found>], filters: &[Filter], backends: &Backends) -> bool {
    let services = made_of.iter().map(Filter::service);
    let mut both = services.zip(filters.iter().map(Filter::service));
    both.all(|(found, known)| found.map(|it| reference(it, backends)).as_ref() == known)
}
