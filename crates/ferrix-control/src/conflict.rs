//! Rules that never serve, because others come first.

use std::{fmt, sync::Arc};

use ferrix_table::{
    rules::{Criterion, Rule, RuleSet},
    shadow::{Shadows, Verdict},
};

use crate::{
    ingressroute::{self, Draft},
    settings::Settings,
};

/// Tells each route which of its rules never serve, and which rule is the reason.
pub(crate) fn report_shadowed(rules: &RuleSet, drafts: &mut [Draft], settings: &Settings) {
    let mut verdicts: Vec<(Arc<Rule>, Verdict)> = Shadows::default().replace(&[], rules.shared());
    verdicts.sort_by(|(one, _), (other, _)| one.precedence(other));
    for (loser, verdict) in &verdicts {
        if let Some(winner) = &verdict.shadowed {
            let message = format!(
                "never serves: {} of {} takes every request that it could, {}; change one of the \
                 two",
                RuleName(winner),
                winner.route,
                because(winner, loser),
            );
            tell(drafts, loser, |draft, field| draft.shadowed(field, message));
        }
    }
    for (loser, verdict) in &verdicts {
        for (winner, entry_points) in &verdict.conflicts {
            let message = format!(
                "never serves on {}: {} of {} takes the same requests there, {}; change one of \
                 the two",
                ingressroute::names(settings, entry_points),
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
