//! Rules that never serve, because others come first.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use ferrix_table::{
    rules::{Criterion, HostPattern, Rule, RuleSet},
    table::EntryPointIndex,
};

use crate::{
    ingressroute::{self, Draft},
    settings::Settings,
};

/// Tells each route which of its rules never serve, and which rule is the reason.
pub(crate) fn report_shadowed(rules: &RuleSet, drafts: &mut [Draft], settings: &Settings) {
    let shadowed = rules.shadowed();
    for (loser, winner) in &shadowed {
        let message = format!(
            "never serves: {} of {} takes every request that it could, {}; change one of the two",
            RuleName(winner),
            winner.route,
            because(winner, loser),
        );
        tell(drafts, loser, |draft, field| draft.shadowed(field, message));
    }
    let losers: HashSet<*const Rule> = shadowed
        .iter()
        .map(|(loser, _)| std::ptr::from_ref(*loser))
        .collect();
    // Where two rules are the same but share only some entry points, one of them never serves on
    // those, and serves on the others.
    let mut first: HashMap<(EntryPointIndex, &HostPattern, Option<&str>), &Rule> = HashMap::new();
    for loser in rules {
        if losers.contains(&std::ptr::from_ref(loser)) {
            continue;
        }
        let mut conflicts: Vec<(&Rule, Vec<EntryPointIndex>)> = Vec::new();
        for entry_point in &loser.entry_points {
            let text = loser.text();
            let winner = *first
                .entry((*entry_point, &loser.host, text))
                .or_insert(loser);
            if std::ptr::eq(winner, loser) {
                continue;
            }
            match conflicts
                .iter_mut()
                .find(|(it, _)| std::ptr::eq(*it, winner))
            {
                Some((_, entry_points)) => entry_points.push(*entry_point),
                None => conflicts.push((winner, vec![*entry_point])),
            }
        }
        for (winner, entry_points) in conflicts {
            let message = format!(
                "never serves on {}: {} of {} takes the same requests there, {}; change one of \
                 the two",
                ingressroute::names(settings, &entry_points),
                RuleName(winner),
                winner.route,
                because(winner, loser),
            );
            tell(drafts, loser, |draft, field| draft.conflict(field, message));
        }
    }
}

fn tell(drafts: &mut [Draft], loser: &Rule, tell: impl FnOnce(&mut Draft, String)) {
    let of = |draft: &Draft| {
        (&*draft.name.namespace, &*draft.name.name)
            .cmp(&(&*loser.route.namespace, &*loser.route.name))
    };
    if let Ok(place) = drafts.binary_search_by(of) {
        tell(
            &mut drafts[place],
            format!("spec.route.{}", RuleName(loser)),
        );
    }
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
