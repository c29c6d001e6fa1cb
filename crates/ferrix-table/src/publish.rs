//! One writer, many readers, no lock.

use std::{cell::OnceCell, collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use crate::{
    Table,
    rules::{Action, HostPattern, Route, RouteKey, Rule, RuleSet, Split},
    services::{Service, ServiceId},
    state::{RouteState, Sequence},
};

/// The only way to make a table current. There is one in a process.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwap<Table>>,
    /// Tables that requests may still read. The last owner of a table frees it, which takes
    /// milliseconds where there are thousands of rules: better here than in a request.
    retired: Vec<Arc<Table>>,
}

/// Where requests find the current table. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    current: Arc<ArcSwap<Table>>,
}

/// A publisher and the first of its readers. The table is empty and of generation 0 until the
/// first publication.
pub fn channel() -> (Publisher, Reader) {
    let current = Arc::new(ArcSwap::from_pointee(Table::default()));
    let reader = Reader {
        current: Arc::clone(&current),
    };
    let publisher = Publisher {
        current,
        retired: Vec::new(),
    };
    (publisher, reader)
}

impl Publisher {
    /// Makes `table` current and returns its generation, one more than the last. The states of
    /// routes, services and endpoints that live on move from the current table into it.
    ///
    /// Parts that `table` shares with the current one cost nothing. Derive it from
    /// [`Publisher::current`] where little changes, rather than from copies kept elsewhere: the
    /// states move into the published table, not into the copies.
    pub fn publish(&mut self, mut table: Table) -> u64 {
        let current = self.current();
        let generation = current.generation + 1;
        table.generation = generation;
        adopt_rules(&mut table.rules, &current.rules);
        adopt_services(&mut table.services, &current.services);
        self.current.store(Arc::new(table));
        self.retired.push(current);
        self.reclaim();
        generation
    }

    /// The current table.
    pub fn current(&self) -> Arc<Table> {
        self.current.load_full()
    }

    /// Frees the tables that no request reads any more, as every publication does. Returns how
    /// many are still read.
    pub fn reclaim(&mut self) -> usize {
        self.retired.retain(|table| Arc::strong_count(table) > 1);
        self.retired.len()
    }

    /// A reader of what this publishes.
    pub fn reader(&self) -> Reader {
        Reader {
            current: Arc::clone(&self.current),
        }
    }
}

impl Reader {
    /// The current table. A request calls this once and keeps what it got.
    pub fn load(&self) -> Arc<Table> {
        self.current.load_full()
    }

    /// The generation of the current table: 0 before the first publication.
    pub fn generation(&self) -> u64 {
        self.current.load().generation
    }
}

/// Moves the states of routes and the positions of splits into a new rule set.
fn adopt_rules(rules: &mut Arc<RuleSet>, earlier: &Arc<RuleSet>) {
    if Arc::ptr_eq(rules, earlier) {
        return;
    }
    let mut routes: Vec<Adopted<'_>> = Vec::new();
    let mut route_of: HashMap<RouteKey<'_>, usize> = HashMap::new();
    let mut position_of: HashMap<SplitKey<'_>, u64> = HashMap::new();
    for rule in &**earlier {
        route_of.entry(rule.route.key()).or_insert_with(|| {
            routes.push(Adopted::new(&rule.route));
            routes.len() - 1
        });
        if let Some(split) = choice(&rule.action) {
            position_of.insert(split_key(rule), split.sequence.position());
        }
    }
    for rule in Arc::make_mut(rules).rules_mut() {
        if choice(&rule.action).is_some() {
            let position = position_of.get(&split_key(rule)).copied();
            adopt_position(&mut rule.action, position);
        }
        if let Some(route) = route_of.get(&rule.route.key()) {
            routes[*route].succeed(&mut rule.route);
        }
    }
}

type SplitKey<'a> = (RouteKey<'a>, u32, &'a HostPattern);

fn split_key(rule: &Rule) -> SplitKey<'_> {
    (rule.route.key(), rule.position, &rule.host)
}

/// The split of an action that has a choice to make.
fn choice(action: &Action) -> Option<&Split> {
    match action {
        Action::Forward(split) if split.cumulative.len() > 1 => Some(split),
        _ => None,
    }
}

/// Without this, a service of small weight would never have its turn where tables follow each
/// other faster than requests.
fn adopt_position(action: &mut Action, position: Option<u64>) {
    if let (Action::Forward(split), Some(position)) = (action, position) {
        split.sequence = Sequence::starting_at(position);
    }
}

/// A route of the earlier table, and what becomes of its successor.
struct Adopted<'a> {
    state: &'a Arc<RouteState>,
    /// The successor with that state, made once for all its rules.
    successor: Option<Arc<Route>>,
}

impl<'a> Adopted<'a> {
    fn new(earlier: &'a Route) -> Self {
        Adopted {
            state: &earlier.state,
            successor: None,
        }
    }

    /// Gives a successor the state.
    fn succeed(&mut self, route: &mut Arc<Route>) {
        if Arc::ptr_eq(&route.state, self.state) {
            return;
        }
        match (&self.successor, Arc::get_mut(route)) {
            (Some(successor), _) => *route = Arc::clone(successor),
            // This is the route's only rule.
            (None, Some(route)) => route.state = Arc::clone(self.state),
            (None, None) => {
                let successor = Arc::new(Route {
                    state: Arc::clone(self.state),
                    ..Route::clone(route)
                });
                *route = Arc::clone(&successor);
                self.successor = Some(successor);
            }
        }
    }
}

/// Moves the states of services and their endpoints into new services.
fn adopt_services(services: &mut Arc<[Arc<Service>]>, earlier: &Arc<[Arc<Service>]>) {
    if Arc::ptr_eq(services, earlier) {
        return;
    }
    let by_id: OnceCell<HashMap<&ServiceId, &Arc<Service>>> = OnceCell::new();
    let predecessor = |index: usize, service: &Service| match earlier.get(index) {
        Some(same_place) if same_place.id == service.id => Some(same_place),
        _ => {
            let by_id = by_id.get_or_init(|| earlier.iter().map(|it| (&it.id, it)).collect());
            by_id.get(&service.id).copied()
        }
    };
    let kept = |index: usize, service: &Arc<Service>| {
        let same_place = earlier.get(index);
        same_place.is_some_and(|same_place| Arc::ptr_eq(service, same_place))
    };
    let changed: Vec<usize> = (services.iter().enumerate())
        .filter(|(index, service)| !kept(*index, service))
        .map(|(index, _)| index)
        .collect();
    if changed.is_empty() {
        return;
    }
    let services = Arc::make_mut(services);
    for index in changed {
        let service = &mut services[index];
        match predecessor(index, service) {
            Some(earlier) if !Arc::ptr_eq(service, earlier) => {
                Arc::make_mut(service).adopt(earlier);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
