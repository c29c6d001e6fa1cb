//! Rules that never serve, because others come first.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ferrix_table::{
    rules::{Criterion, Rule},
    shadow::{Shadows, Verdict},
};

use crate::{entry_points, objects::Key, resolve::Resolved, settings::Settings};

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

    /// Tells an object which of its rules never serve, and which rule is the reason. `of` finds the
    /// object of a rule.
    pub(crate) fn tell<'r>(
        &self,
        resolved: &mut Resolved,
        settings: &Settings,
        of: impl Fn(&Key) -> Option<&'r Resolved>,
    ) {
        let losers = self.losers.get(resolved.key());
        let mut losers: Vec<_> = losers.into_iter().flatten().collect();
        losers.sort_by(|(one, _), (other, _)| one.precedence(other));
        let name = |rule: &Rule| {
            let field = of(&rule.route.key).and_then(|resolved| resolved.field_of(rule));
            field.map_or_else(String::new, |field| field.short().to_string())
        };
        let field = |resolved: &Resolved, rule: &Rule| {
            let field = resolved.field_of(rule);
            field.map_or_else(String::new, |field| field.to_string())
        };
        for (loser, verdict) in &losers {
            if let Some(winner) = &verdict.shadowed {
                let message = format!(
                    "never serves: {} of {} takes every request that it could, {}; change one of \
                     the two",
                    name(winner),
                    winner.route,
                    because(winner, loser),
                );
                resolved.shadowed(field(resolved, loser), message);
            }
        }
        for (loser, verdict) in &losers {
            for (winner, entry_points) in &verdict.conflicts {
                let message = format!(
                    "never serves on {}: {} of {} takes the same requests there, {}; change one \
                     of the two",
                    entry_points::names(settings, entry_points),
                    name(winner),
                    winner.route,
                    because(winner, loser),
                );
                resolved.conflict(field(resolved, loser), message);
            }
        }
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
