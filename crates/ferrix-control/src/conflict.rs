//! Rules that never serve, because others come first.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use ferrix_table::{
    rules::{Criterion, Rule},
    shadow::{Shadows, Verdict},
};

use crate::{
    ingressroute::{self, Draft},
    objects::Key,
    settings::Settings,
};

/// The rules of all routes, and which of them lose something.
#[derive(Debug, Default)]
pub(crate) struct Conflicts {
    shadows: Shadows,
    losers: HashMap<Key, Vec<(Arc<Rule>, Verdict)>>,
}

impl Conflicts {
    /// Follows a change of the rules. Returns the routes about which there is something else to
    /// say.
    pub(crate) fn replace(&mut self, gone: &[Arc<Rule>], fresh: &[Arc<Rule>]) -> BTreeSet<Key> {
        let mut touched = BTreeSet::new();
        let gone_ones = gone.iter().map(|rule| (rule, Verdict::default()));
        let changed = self.shadows.replace(gone, fresh);
        let changed_ones = changed
            .iter()
            .map(|(rule, verdict)| (rule, verdict.clone()));
        for (rule, verdict) in gone_ones.chain(changed_ones) {
            let route = &rule.route.key;
            let losers = self.losers.entry(route.clone()).or_default();
            losers.retain(|(loser, _)| !Arc::ptr_eq(loser, rule));
            if verdict.loses() {
                losers.push((Arc::clone(rule), verdict));
            }
            if losers.is_empty() {
                self.losers.remove(route);
            }
            touched.insert(route.clone());
        }
        touched
    }

    /// Whether there is anything to tell a route.
    pub(crate) fn concern(&self, route: &Key) -> bool {
        self.losers.contains_key(route)
    }

    /// Tells a route which of its rules never serve, and which rule is the reason.
    pub(crate) fn tell(&self, draft: &mut Draft, settings: &Settings) {
        let mut losers: Vec<_> = self.losers.get(&draft.key).into_iter().flatten().collect();
        losers.sort_by(|(one, _), (other, _)| one.precedence(other));
        for (loser, verdict) in &losers {
            if let Some(winner) = &verdict.shadowed {
                let message = format!(
                    "never serves: {} of {} takes every request that it could, {}; change one of \
                     the two",
                    RuleName(winner),
                    winner.route,
                    because(winner, loser),
                );
                draft.shadowed(field(loser), message);
            }
        }
        for (loser, verdict) in &losers {
            for (winner, entry_points) in &verdict.conflicts {
                let message = format!(
                    "never serves on {}: {} of {} takes the same requests there, {}; change one \
                     of the two",
                    ingressroute::names(settings, entry_points),
                    RuleName(winner),
                    winner.route,
                    because(winner, loser),
                );
                draft.conflict(field(loser), message);
            }
        }
    }
}

fn field(rule: &Rule) -> String {
    format!("spec.route.{}", RuleName(rule))
}

/// `rules[0]`.
struct RuleName<'r>(&'r Rule);

impl fmt::Display for RuleName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rules[{}]", self.0.position)
    }
}

fn because(winner: &Rule, loser: &Rule) -> String {
    match winner.criterion(loser) {
        Criterion::Host => "and its host is the more exact".to_owned(),
        Criterion::Priority => format!(
            "and comes first by its priority of {} against {}",
            winner.priority, loser.priority
        ),
        Criterion::Age => "and comes first because its route is older".to_owned(),
        Criterion::Name => {
            "and comes first by the name of its route, as neither is older".to_owned()
        }
        Criterion::Position => "and comes first in the list".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use ferrix_table::rules::{Action, HostPattern, Route};

    use super::*;
    use crate::objects::{self, Kind};

    #[test]
    fn objects_of_one_name_and_different_kinds_are_told_apart() {
        let rule = |kind, position| {
            Arc::new(Rule {
                route: Arc::new(Route {
                    key: objects::key(kind, "default", "r"),
                    generation: 1,
                    created: None,
                    state: Arc::default(),
                }),
                position,
                host: HostPattern::Any,
                matches: None,
                priority: 0,
                entry_points: [0].into(),
                action: Action::Unavailable,
            })
        };
        let winner = rule(Kind::IngressRoute, 0);
        let loser = rule(Kind::Service, 0);
        let mut conflicts = Conflicts::default();
        conflicts.replace(&[], &[Arc::clone(&winner), Arc::clone(&loser)]);
        assert!(conflicts.concern(&loser.route.key));
        assert!(!conflicts.concern(&winner.route.key));
    }
}
