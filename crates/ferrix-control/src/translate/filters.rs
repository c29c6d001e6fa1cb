//! Filters: what changes with them, who names them, and what is told of them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ferrix_api::filter::UsedBy;

use super::{Concerned, Translation, Users, entries::with_notes, users};
use crate::{
    draft::Target,
    filter,
    guard::{Step, guarded},
    objects::{Key, Kind, ObjectName},
    outcome::{FilterUse, Outcome},
    report::Entry,
    resolve::{Context, NamedFilter},
    settings::Settings,
    verdict::Verdict,
    world::World,
};

/// So many routes that name a Filter are named in its status.
const MOST_NAMES: usize = 5;

/// Who names each Filter, whether it exists or not.
#[derive(Debug, Default)]
pub(super) struct FilterUsers {
    all: Users,
    /// Those that may.
    permitted: Users,
    /// How many of these each has.
    counts: HashMap<ObjectName, u32>,
}

impl FilterUsers {
    fn add(&mut self, named: &FilterUse, route: &Key) {
        let user = (named.filter.clone(), route.clone());
        if named.permitted && self.permitted.insert(user.clone()) {
            *self.counts.entry(named.filter.clone()).or_default() += 1;
        }
        self.all.insert(user);
    }

    fn remove(&mut self, named: &FilterUse, route: &Key) {
        let user = (named.filter.clone(), route.clone());
        self.all.remove(&user);
        let was_counted = self.permitted.remove(&user);
        if let Some(count) = self.counts.get_mut(&named.filter).filter(|_| was_counted) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&named.filter);
            }
        }
    }

    /// Each Filter that is named, with a route that names it.
    pub(super) fn all(&self) -> &Users {
        &self.all
    }

    fn told(&self, filter: &ObjectName) -> UsedBy {
        let routes = users(&self.permitted, filter).take(MOST_NAMES);
        UsedBy {
            count: self.counts.get(filter).copied().unwrap_or_default(),
            routes: routes.map(Key::to_string).collect(),
        }
    }
}

impl Translation {
    /// Resolves the Filters anew that are among some objects, and puts the routes in their place that name
    /// those that differ. Returns the Filters of which there may be something else to say.
    pub(super) fn follow_filters(
        &mut self,
        world: &World,
        settings: &Settings,
        objects: &mut BTreeSet<Key>,
    ) -> BTreeSet<ObjectName> {
        let is_filter = |key: &Key| key.kind == Kind::Filter;
        let changed: BTreeSet<_> = objects.extract_if(.., is_filter).collect();
        for key in &changed {
            let name = &key.object;
            let versions = world.filter_versions(name);
            let resolved = guarded(Step::Resolve, key, || {
                versions.map(|versions| NamedFilter::new(world, settings, versions))
            });
            let Ok(resolved) = resolved else {
                self.failed.insert(key.clone());
                continue;
            };
            self.failed.remove(key);
            if resolved.is_none() {
                self.table_lists.forget(name);
            }
            let user = |named: &ObjectName| (named.clone(), key.clone());
            let services = resolved.iter().flat_map(NamedFilter::services).map(user);
            let services: Vec<_> = services.collect();
            let secrets = resolved.iter().flat_map(NamedFilter::secrets).map(user);
            let secrets: Vec<_> = secrets.collect();
            let supplies = resolved.iter().flat_map(NamedFilter::supplies).cloned();
            let supplies: Vec<_> = supplies.collect();
            let before = self.filters.replace(name, resolved);
            let supplies_before = before.iter().flat_map(NamedFilter::supplies).cloned();
            (self.users_of_supply).replace(key, supplies_before, supplies);
            for service in before.iter().flat_map(NamedFilter::services) {
                self.filters_of_service.remove(&user(service));
            }
            for secret in before.iter().flat_map(NamedFilter::secrets) {
                self.filters_of_secret.remove(&user(secret));
            }
            self.filters_of_service.extend(services);
            self.filters_of_secret.extend(secrets);
            // Why there is none is told as well.
            let same = match (&before, self.filters.get(name)) {
                (Some(before), Some(after)) => before.serves_as(after),
                _ => false,
            };
            if !same {
                objects.extend(users(self.users_of_filter.all(), name).cloned());
                // Those that it attaches itself to from now on; before, they were among its users.
                let after = self.filters.get(name);
                for target in after.into_iter().flat_map(NamedFilter::targets) {
                    objects.extend(self.routes_of(world, target));
                }
            }
        }
        changed.into_iter().map(|key| key.object).collect()
    }

    /// The routes that may have rules below something that Filters attach themselves to.
    fn routes_of(&self, world: &World, target: &Target) -> Vec<Key> {
        match target {
            Target::EntryPoint(_) => self.routes.keys().cloned().collect(),
            Target::Namespace(namespace) => world.routes_in(namespace).cloned().collect(),
            Target::Route(route) => world
                .route(route)
                .map(|_| route.clone())
                .into_iter()
                .collect(),
            Target::Parent(parent, _) => {
                // Routes name the ListenerSets of a Gateway as well.
                let parents: Vec<_> = self.gateways.with(parent).collect();
                self.users_of(&parents).into_iter().collect()
            }
        }
    }

    /// What is told of a Filter; `None`: it is gone.
    pub(super) fn filter_entry(&self, context: &Context<'_>, name: &ObjectName) -> Option<Entry> {
        let key = name.key(Kind::Filter);
        let undecodable = || {
            let (origin, error) = context.world.rejection(&key)?;
            Some(Outcome::undecodable(&key, origin, error))
        };
        let outcome = match context.filters.get(name) {
            Some(known) => known.outcome.clone(),
            None => undecodable()?,
        };
        let conditions = match outcome.not_ours {
            true => Vec::new(),
            false => filter::status::conditions(&outcome),
        };
        let told = Verdict::Filter(self.users_of_filter.told(name));
        let entry = Entry {
            verdict: (!outcome.not_ours).then(|| Arc::new(told)),
            ..outcome.entry(context.entry_points, conditions)
        };
        Some(with_notes(context.world, entry))
    }

    /// Takes note of who names Filters no more, or from now on.
    pub(super) fn name_filters<'f>(
        &mut self,
        route: &Key,
        before: impl Iterator<Item = &'f FilterUse>,
        after: impl Iterator<Item = &'f FilterUse>,
        concerned: &mut Concerned,
    ) {
        for named in before {
            self.users_of_filter.remove(named, route);
            concerned.filters.insert(named.filter.clone());
        }
        for named in after {
            self.users_of_filter.add(named, route);
            concerned.filters.insert(named.filter.clone());
        }
    }
}
