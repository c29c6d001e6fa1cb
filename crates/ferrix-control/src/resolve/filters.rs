//! Filters under a name, with the services that they name in the world: what rules have of them, which all
//! share.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ferrix_table::{
    filter_list::{FilterList, Source},
    filters::Filter,
};

use super::{Found, all_no_longer_seen, found_by_filter, opened, reference};
use crate::{
    backend::{self, Backends},
    draft::{Draft, FilterReference, Versions, own_filters},
    fallback::Fallback,
    objects::{Key, Kind, ObjectName},
    outcome::Outcome,
    referencegrant::{Permitted, Referrer, Refused},
    report::{Finding, Reason},
    settings::Settings,
    world::World,
};

/// The filters of one Filter, with what they name.
type Filters = Arc<[Filter<Found>]>;

/// Every Filter that there is, as far as it could be decoded.
#[derive(Debug, Default)]
pub(crate) struct NamedFilters(HashMap<ObjectName, NamedFilter>);

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
        let fallback = world.fallback(key);
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
            };
        }
        let mut findings = Vec::new();
        let filters = filters(world, settings, draft, &mut findings);
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
        }
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = &ObjectName> {
        self.services.iter()
    }

    /// Whether rules that name it are as they would be with another version.
    pub(crate) fn serves_as(&self, other: &Self) -> bool {
        self.filters == other.filters && self.fallback == other.fallback
    }
}

/// All of its filters; `None`: it is not good.
fn filters(
    world: &World,
    settings: &Settings,
    draft: &Draft,
    findings: &mut Vec<Finding>,
) -> Option<Filters> {
    let policy = draft.rules.first()?.policy.as_ref()?;
    let mut found = |service: &_| found_by_filter(world, settings, draft.key(), service, findings);
    let filters = own_filters(policy).map(|filter| filter.with_service(&mut found));
    Some(filters.collect())
}

impl NamedFilters {
    pub(crate) fn get(&self, name: &ObjectName) -> Option<&NamedFilter> {
        self.0.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.0.keys()
    }

    /// Puts a Filter in the place of its version before, or takes it out. Returns that.
    pub(crate) fn replace(
        &mut self,
        name: &ObjectName,
        filter: Option<NamedFilter>,
    ) -> Option<NamedFilter> {
        match filter {
            Some(filter) => self.0.insert(name.clone(), filter),
            None => self.0.remove(name),
        }
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
        self.0.get(name.name())
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
        let Source::Named(name) = &list.source else {
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
