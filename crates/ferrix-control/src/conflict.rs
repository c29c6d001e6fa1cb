//! Rules that others come before: what their authors are told.
//!
//! A rule that never serves is a problem of its author, whoever has the other. A rule that loses a part of
//! its requests is an ordinary thing within a namespace; across namespaces both sides are told.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ferrix_table::{
    entry_points::EntryPoints,
    overlap::{Capture, Overlaps},
    precedence::Criterion,
    rule_set::RuleSet,
    rules::{HostPattern, Rule},
    shadow::{Shadows, Verdict},
};

use crate::{entry_points, objects::Key, resolve::Resolved};

/// How many captures a route is told of that it wins, and how many that it loses.
const MOST_TOLD: usize = 5;

/// How much of a rule's text a message has, in characters.
const MOST_TEXT: usize = 120;

/// The rules of all routes, and which of them lose something.
#[derive(Debug, Default)]
pub(crate) struct Conflicts {
    shadows: Shadows,
    losers: HashMap<Key, Vec<(Arc<Rule>, Verdict)>>,
    overlaps: Overlaps,
}

impl Conflicts {
    /// Follows a change to this set of rules. Returns the routes about which there is something else
    /// to say.
    pub(crate) fn replace(
        &mut self,
        rules: &RuleSet,
        gone: &[Arc<Rule>],
        fresh: &[Arc<Rule>],
    ) -> BTreeSet<Key> {
        let mut touched = self.overlaps.follow(rules, gone, fresh);
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
            // What never serves takes nothing from others.
            let taken = self.overlaps.taken_by(rule);
            touched.extend(taken.map(|capture| capture.victim.route.key.clone()));
        }
        touched
    }

    /// Whether there is anything to tell a route.
    pub(crate) fn concern(&self, route: &Key) -> bool {
        self.losers.contains_key(route) || self.overlaps.of(route).next().is_some()
    }

    /// Tells an object which of its rules never serve, and which rule is the reason; then what its rules
    /// take from those of other namespaces, and what those take. `of` finds the object of a rule.
    pub(crate) fn tell<'r>(
        &self,
        resolved: &mut Resolved,
        all: &EntryPoints,
        of: impl Fn(&Key) -> Option<&'r Resolved>,
    ) {
        self.tell_losses(resolved, all, &of);
        self.tell_captures(resolved, all, &of);
    }

    fn tell_losses<'r>(
        &self,
        resolved: &mut Resolved,
        all: &EntryPoints,
        of: &impl Fn(&Key) -> Option<&'r Resolved>,
    ) {
        let losers = self.losers.get(resolved.key());
        let mut losers: Vec<_> = losers.into_iter().flatten().collect();
        losers.sort_by(|(one, _), (other, _)| one.precedence(other));
        let name = |rule: &Rule| name(of, rule);
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
                    entry_points::names(all, entry_points),
                    name(winner),
                    winner.route,
                    because(winner, loser),
                );
                resolved.conflict(field(resolved, loser), message);
            }
        }
    }

    fn tell_captures<'r>(
        &self,
        resolved: &mut Resolved,
        all: &EntryPoints,
        of: &impl Fn(&Key) -> Option<&'r Resolved>,
    ) {
        let route = resolved.key().clone();
        let (mut won, mut lost) = (Told::default(), Told::default());
        for capture in self.overlaps.of(&route) {
            let Capture { winner, victim, .. } = capture;
            let wins = winner.route.key == route;
            // Whoever loses all is told so, and what never serves takes nothing.
            if self.never_serves(winner) || (!wins && self.loses_to(victim, winner)) {
                continue;
            }
            let (told, own) = match wins {
                true => (&mut won, winner),
                false => (&mut lost, victim),
            };
            if told.is_new(capture) {
                let message = match wins {
                    true => won_message(capture, all, &name(of, victim)),
                    false => lost_message(capture, all, &name(of, winner)),
                };
                resolved.overlap(field(resolved, own), message);
            }
        }
        for (told, what) in [(lost, "lose requests to"), (won, "take requests from")] {
            if told.more {
                let message = format!("its rules {what} further ones of other namespaces");
                resolved.overlap(String::new(), message);
            }
        }
    }

    fn verdict(&self, rule: &Arc<Rule>) -> Option<&Verdict> {
        let losers = self.losers.get(&rule.route.key)?;
        let verdict = losers.iter().find(|(loser, _)| Arc::ptr_eq(loser, rule));
        verdict.map(|(_, verdict)| verdict)
    }

    fn never_serves(&self, rule: &Arc<Rule>) -> bool {
        self.verdict(rule).is_some_and(|it| it.shadowed.is_some())
    }

    /// Whether the loser is told more than that the winner takes a part.
    fn loses_to(&self, loser: &Arc<Rule>, winner: &Arc<Rule>) -> bool {
        self.verdict(loser).is_some_and(|verdict| {
            let mut conflicts = verdict.conflicts.iter();
            verdict.shadowed.is_some() || conflicts.any(|(it, _)| Arc::ptr_eq(it, winner))
        })
    }
}

/// What a route has been told on one of its sides: each rule of a winner once for each host and each
/// object that it takes from.
#[derive(Default)]
struct Told<'c> {
    known: BTreeSet<(&'c HostPattern, *const Rule, &'c Key)>,
    /// Whether there is more than may be told.
    more: bool,
}

impl<'c> Told<'c> {
    /// Whether a capture is to be told.
    fn is_new(&mut self, capture: &'c Capture) -> bool {
        let winner = Arc::as_ptr(&capture.winner);
        let identity = (&capture.host, winner, &capture.victim.route.key);
        if self.known.contains(&identity) {
            return false;
        }
        self.more = self.known.len() == MOST_TOLD;
        !self.more && self.known.insert(identity)
    }
}

/// The place of a rule in its object.
fn name<'r>(of: &impl Fn(&Key) -> Option<&'r Resolved>, rule: &Rule) -> String {
    let field = of(&rule.route.key).and_then(|resolved| resolved.field_of(rule));
    field.map_or_else(String::new, |field| field.short().to_string())
}

fn field(resolved: &Resolved, rule: &Rule) -> String {
    let field = resolved.field_of(rule);
    field.map_or_else(String::new, |field| field.to_string())
}

/// What the winner's author is told. `victim`: the place of the other rule in its object.
fn won_message(capture: &Capture, all: &EntryPoints, victim: &str) -> String {
    format!(
        "{} from {victim} of {}, {}",
        what(capture, all),
        capture.victim.route,
        because(&capture.winner, &capture.victim),
    )
}

/// The same for the other side.
fn lost_message(capture: &Capture, all: &EntryPoints, winner: &str) -> String {
    format!(
        "{winner} of {} {} from it, {}",
        capture.winner.route,
        what(capture, all),
        because(&capture.winner, &capture.victim),
    )
}

/// What the winner does: `takes requests for HOST that match RULE`.
fn what(capture: &Capture, all: &EntryPoints) -> String {
    let Capture {
        host,
        winner,
        victim,
        certain,
        entry_points,
    } = capture;
    let verb = match certain {
        true => "takes",
        false => "may take",
    };
    let part = match winner.text() {
        None => format!("every request for {host}"),
        Some(text) => format!("requests for {host} that match {}", shortened(text)),
    };
    let everywhere = (victim.entry_points.iter()).all(|it| entry_points.contains(it));
    match everywhere {
        true => format!("{verb} {part}"),
        false => {
            let names = entry_points::names(all, entry_points);
            format!("{verb} {part} on {names}")
        }
    }
}

/// A rule on one line, and not longer than a message can bear.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST_TEXT) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

fn because(winner: &Rule, loser: &Rule) -> String {
    match winner.criterion(loser) {
        Criterion::Host => "and its host is the more exact".to_owned(),
        Criterion::GivenPriority => "and comes first because it has a priority".to_owned(),
        Criterion::Priority => {
            let number = |rule: &Rule| rule.weight.priority().unwrap_or_default();
            let (first, second) = (number(winner), number(loser));
            format!("and comes first by its priority of {first} against {second}")
        }
        Criterion::Path | Criterion::Method | Criterion::Headers | Criterion::Query => {
            format!(
                "and is the more specific by its {}",
                winner.criterion(loser)
            )
        }
        Criterion::Age => "and comes first because its route is older".to_owned(),
        Criterion::Name => {
            "and comes first by the name of its route, as neither is older".to_owned()
        }
        Criterion::Position => "and comes first in the list".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use ferrix_table::{
        rules::{Action, Route},
        weight::Weight,
    };

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
                weight: Weight::Priority(0),
                entry_points: [0].into(),
                action: Action::Unavailable,
                policy: None,
                dry_run: None,
            })
        };
        let winner = rule(Kind::IngressRoute, 0);
        let loser = rule(Kind::Service, 0);
        let mut conflicts = Conflicts::default();
        let rules = [Arc::clone(&winner), Arc::clone(&loser)];
        let set = RuleSet::default().with(&[], &rules);
        conflicts.replace(&set, &[], &rules);
        assert!(conflicts.concern(&loser.route.key));
        assert!(!conflicts.concern(&winner.route.key));
    }

    #[test]
    fn a_rule_in_a_message_is_one_short_line() {
        let cases = [
            ("Path(`/a`)".to_owned(), "Path(`/a`)".to_owned()),
            (
                "Path(`/a`)\n  || Path(`/b`)".to_owned(),
                "Path(`/a`) || Path(`/b`)".to_owned(),
            ),
            ("x".repeat(MOST_TEXT), "x".repeat(MOST_TEXT)),
            ("é".repeat(MOST_TEXT + 1), "é".repeat(MOST_TEXT) + "…"),
        ];
        for (text, expected) in &cases {
            assert_eq!(shortened(text), *expected);
        }
        assert_eq!(cases.len(), 4);
    }
}
