//! What rules leave to those that take their place: the counters of their routes, and where their
//! splits stand.

use std::{collections::HashMap, sync::Arc};

use crate::{
    object::Key,
    rules::{Action, HostPattern, Route, Rule, Split},
    state::{RouteState, Sequence},
};

/// Lets rules take over from those that they replace. All rules of a route come and go together.
pub fn succeed(gone: &[Arc<Rule>], mut fresh: Vec<Rule>) -> Vec<Arc<Rule>> {
    let mut routes: Vec<Predecessor<'_>> = Vec::new();
    let mut route_of: HashMap<&Key, usize> = HashMap::new();
    let mut position_of: HashMap<SplitKey<'_>, u64> = HashMap::new();
    for rule in gone {
        route_of.entry(&rule.route.key).or_insert_with(|| {
            routes.push(Predecessor::new(&rule.route));
            routes.len() - 1
        });
        if let Some(split) = choice(&rule.action) {
            position_of.insert(split_key(rule), split.sequence.position());
        }
    }
    for rule in &mut fresh {
        if choice(&rule.action).is_some() {
            let position = position_of.get(&split_key(rule)).copied();
            adopt_position(&mut rule.action, position);
        }
        if let Some(route) = route_of.get(&rule.route.key) {
            routes[*route].bequeath(&mut rule.route);
        }
    }
    fresh.into_iter().map(Arc::new).collect()
}

/// Whether rules that take the place of others have not taken over from them yet.
pub(crate) fn is_due(gone: &[Arc<Rule>], fresh: &[Arc<Rule>]) -> bool {
    let states: HashMap<&Key, &Arc<RouteState>> = (gone.iter())
        .map(|rule| (&rule.route.key, &rule.route.state))
        .collect();
    fresh.iter().any(|rule| {
        let before = states.get(&rule.route.key);
        before.is_some_and(|before| !Arc::ptr_eq(before, &rule.route.state))
    })
}

type SplitKey<'a> = (&'a Key, u32, &'a HostPattern);

fn split_key(rule: &Rule) -> SplitKey<'_> {
    (&rule.route.key, rule.position, &rule.host)
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

/// A route whose rules go, and what becomes of its successor.
struct Predecessor<'a> {
    state: &'a Arc<RouteState>,
    /// The successor with that state, made once for all its rules.
    successor: Option<Arc<Route>>,
}

impl<'a> Predecessor<'a> {
    fn new(route: &'a Route) -> Self {
        Predecessor {
            state: &route.state,
            successor: None,
        }
    }

    /// Gives a successor the state.
    fn bequeath(&mut self, route: &mut Arc<Route>) {
        if Arc::ptr_eq(&route.state, self.state) {
            return;
        }
        let successor = self.successor.get_or_insert_with(|| {
            Arc::new(Route {
                state: Arc::clone(self.state),
                ..Route::clone(route)
            })
        });
        *route = Arc::clone(successor);
    }
}
