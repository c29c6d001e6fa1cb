//! Which rules take requests that rules of another namespace could match as well.
//!
//! Of two rules that compete, the first in the total order serves. Within a namespace that is how
//! routes are written. Across namespaces it is what both sides want to know, as neither sees the
//! other's objects.
//!
//! The answer follows changes of the rules, and is a function of the rules there are: only the hosts of
//! rules that come or go are compared again, and of those only the ones with rules of several
//! namespaces.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    ids::EntryPointIndex,
    index::Index,
    object::Key,
    reach::Reach,
    rule_set::RuleSet,
    rules::{HostPattern, Rule},
};

mod sweep;

/// Requests of one rule that another takes, of another namespace.
///
/// That a route for any host gets only what routes with a host leave is how such a route is meant, and
/// is no capture.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The hosts that it is about: those that both can match.
    pub host: HostPattern,
    /// The rule that comes first.
    pub winner: Arc<Rule>,
    /// The rule that could match the requests as well.
    pub victim: Arc<Rule>,
    /// Whether one of the two takes whatever the other does there, so that there are such requests. Otherwise
    /// both may match, as far as hosts, paths, methods and negations tell: nothing else is compared.
    pub certain: bool,
    /// The entry points where that is so. Ascending.
    pub entry_points: Vec<EntryPointIndex>,
}

/// All captures among the rules of a set, but for those beyond a bound for each rule.
#[derive(Debug, Default)]
pub struct Overlaps {
    /// Those of each host that has any, in the total order of winners, then of victims.
    captures: HashMap<HostPattern, Box<[Capture]>>,
    /// The hosts where each route takes part in any.
    hosts: HashMap<Key, BTreeSet<HostPattern>>,
}

impl Capture {
    /// Its winner's route and its victim's.
    fn routes(&self) -> [&Key; 2] {
        [&self.winner.route.key, &self.victim.route.key]
    }

    /// Those of the two that it is news to: whoever names the more exact host means to come first.
    fn told(&self) -> impl Iterator<Item = &Key> {
        let [winner, victim] = self.routes();
        let equally_exact = self.winner.host.rank() == self.victim.host.rank();
        equally_exact.then_some(winner).into_iter().chain([victim])
    }

    fn identity(&self) -> (*const Rule, *const Rule, bool, &[EntryPointIndex]) {
        let rules = (Arc::as_ptr(&self.winner), Arc::as_ptr(&self.victim));
        (rules.0, rules.1, self.certain, &self.entry_points)
    }
}

impl Overlaps {
    /// Follows a change to this set of rules, from the one without `fresh` and with `gone`. Returns the
    /// routes that are to be told of other captures than before.
    pub fn follow(
        &mut self,
        rules: &RuleSet,
        gone: &[Arc<Rule>],
        fresh: &[Arc<Rule>],
    ) -> BTreeSet<Key> {
        let index = rules.index();
        let from_nothing = gone.is_empty() && fresh.len() == rules.len();
        let hosts = match from_nothing {
            true => index.contested(),
            false => touched(index, gone.iter().chain(fresh)),
        };
        let mut routes = BTreeSet::new();
        for host in hosts {
            let captures = sweep::captures(index, &host);
            self.put(&host, captures, &mut routes);
        }
        routes
    }

    /// The captures that a route is to be told of, by host: those of its requests, and those by its rules
    /// but for what a rule for a wildcard loses to one for a host.
    pub fn of(&self, route: &Key) -> impl Iterator<Item = &Capture> {
        let captures = self.at_hosts_of(route);
        captures.filter(move |capture| capture.told().any(|it| it == route))
    }

    /// What a rule takes from others.
    pub fn taken_by(&self, winner: &Arc<Rule>) -> impl Iterator<Item = &Capture> {
        let captures = self.at_hosts_of(&winner.route.key);
        captures.filter(move |capture| Arc::ptr_eq(&capture.winner, winner))
    }

    fn at_hosts_of(&self, route: &Key) -> impl Iterator<Item = &Capture> {
        let hosts = self.hosts.get(route).into_iter().flatten();
        hosts.filter_map(|host| self.captures.get(host)).flatten()
    }

    /// Takes all captures of a host, in place of those that it had.
    fn put(&mut self, host: &HostPattern, captures: Vec<Capture>, routes: &mut BTreeSet<Key>) {
        let before = self.captures.remove(host).unwrap_or_default();
        for route in before.iter().flat_map(Capture::routes) {
            if let Some(hosts) = self.hosts.get_mut(route) {
                hosts.remove(host);
                if hosts.is_empty() {
                    self.hosts.remove(route);
                }
            }
        }
        for route in captures.iter().flat_map(Capture::routes) {
            let hosts = self.hosts.entry(route.clone()).or_default();
            hosts.insert(host.clone());
        }
        routes.extend(differing(&before, &captures).cloned());
        if !captures.is_empty() {
            self.captures.insert(host.clone(), captures.into());
        }
    }
}

/// The routes to be told of what only one of two lists has.
fn differing<'c>(one: &'c [Capture], other: &'c [Capture]) -> impl Iterator<Item = &'c Key> {
    let missing = |list: &'c [Capture], from: &'c [Capture]| {
        let known: HashSet<_> = from.iter().map(Capture::identity).collect();
        let list = list.iter();
        list.filter(move |capture| !known.contains(&capture.identity()))
    };
    missing(one, other)
        .chain(missing(other, one))
        .flat_map(Capture::told)
}

/// The hosts of rules that come or go, and those whose rules compete with them.
fn touched<'r>(index: &Index, rules: impl Iterator<Item = &'r Arc<Rule>>) -> BTreeSet<HostPattern> {
    let mut hosts: BTreeSet<_> = rules
        .flat_map(|rule| Reach::hosts_of(rule).to_vec())
        .collect();
    let below = index.below(&hosts);
    hosts.extend(below);
    hosts
}

#[cfg(test)]
mod tests;
