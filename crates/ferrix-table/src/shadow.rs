//! Rules that no request can reach.

use std::collections::{BTreeSet, HashMap};

use ferrix_rule::PathConstraint;

use crate::{
    reach::Reach,
    rules::{HostPattern, Rule, RuleSet, parent_domain},
};

impl RuleSet {
    /// Each rule that never serves, because an earlier one takes every request that it could,
    /// with the first such rule: `(loser, winner)`.
    ///
    /// A pair is listed only where it is certain: the winner is served on every entry point of the
    /// loser and takes all its hosts, and has no expression, an equal one, or one that consists of
    /// `Host`, `Path` or `PathPrefix`, or of `Host` and one of the others, and that the loser
    /// cannot match without. That two rules together leave nothing to a third is not seen.
    pub fn shadowed(&self) -> Vec<(&Rule, &Rule)> {
        let mut earlier = Earlier::default();
        let mut shadowed = Vec::new();
        for rule in self {
            let candidate = Candidate::new(rule);
            if let Some(winner) = earlier.winner(&candidate) {
                shadowed.push((rule, winner));
            }
            earlier.add(candidate);
        }
        shadowed
    }
}

/// A rule, and what it can match at most.
struct Candidate<'r> {
    rule: &'r Rule,
    reach: Reach,
    /// The expression in canonical spelling.
    expression: Option<String>,
}

impl<'r> Candidate<'r> {
    fn new(rule: &'r Rule) -> Self {
        Candidate {
            rule,
            reach: Reach::new(rule),
            expression: rule.matches.as_ref().map(ToString::to_string),
        }
    }
}

/// Rules that came before, by host.
#[derive(Default)]
struct Earlier<'r> {
    hosts: HashMap<HostPattern, Winners<'r>>,
}

/// Rules that take all requests of a host, or all that a path or an expression leaves of them.
/// Each list is in the total order.
#[derive(Default)]
struct Winners<'r> {
    everything: Vec<&'r Rule>,
    path: HashMap<String, Vec<&'r Rule>>,
    prefix: HashMap<String, Vec<&'r Rule>>,
    /// Those that keys of `prefix` have.
    prefix_lengths: BTreeSet<usize>,
    expression: HashMap<String, Vec<&'r Rule>>,
}

impl<'r> Earlier<'r> {
    /// The first of the rules that leave nothing to this one.
    fn winner(&self, candidate: &Candidate<'r>) -> Option<&'r Rule> {
        let hosts = &candidate.reach.hosts;
        // What covers all hosts covers the first.
        (wider_hosts(hosts.first()?).iter())
            .filter(|wider| hosts.iter().all(|host| wider.covers(host)))
            .filter_map(|wider| self.hosts.get(wider)?.winner(candidate))
            .min_by(|one, other| one.precedence(other))
    }

    /// Files a rule under what it is certain to take.
    fn add(&mut self, candidate: Candidate<'r>) {
        let Candidate {
            rule,
            reach,
            expression,
        } = candidate;
        if let ([host], true) = (&reach.hosts[..], reach.whole) {
            let winners = self.hosts.entry(host.clone()).or_default();
            match reach.paths.as_deref() {
                None => winners.everything.push(rule),
                Some([PathConstraint::Exact(path)]) => {
                    winners.path.entry(path.clone()).or_default().push(rule);
                }
                Some([PathConstraint::Prefix(path)]) => {
                    winners.prefix_lengths.insert(path.len());
                    winners.prefix.entry(path.clone()).or_default().push(rule);
                }
                Some(_) => {}
            }
        }
        if let Some(expression) = expression {
            let winners = self.hosts.entry(rule.host.clone()).or_default();
            winners.expression.entry(expression).or_default().push(rule);
        }
    }
}

impl<'r> Winners<'r> {
    fn winner(&self, candidate: &Candidate<'r>) -> Option<&'r Rule> {
        let equal = (candidate.expression.as_ref()).and_then(|it| self.expression.get(it));
        (self.covering(candidate).into_iter())
            .chain([&self.everything])
            .chain(equal)
            .filter_map(|rules| rules.iter().find(|rule| serves_where(rule, candidate.rule)))
            .copied()
            .min_by(|one, other| one.precedence(other))
    }

    /// The rules of each path that covers all paths of the candidate.
    fn covering(&self, candidate: &Candidate<'_>) -> Vec<&Vec<&'r Rule>> {
        let Some(paths @ [first, ..]) = candidate.reach.paths.as_deref() else {
            return Vec::new();
        };
        // What covers all paths covers the first.
        let (PathConstraint::Exact(text) | PathConstraint::Prefix(text)) = first;
        let mut covering = Vec::new();
        if paths == [PathConstraint::Exact(text.clone())] {
            covering.extend(self.path.get(text));
        }
        for prefix in self
            .prefix_lengths
            .range(..=text.len())
            .filter_map(|end| text.get(..*end))
        {
            let covers = |path: &PathConstraint| match path {
                PathConstraint::Exact(path) | PathConstraint::Prefix(path) => {
                    path.starts_with(prefix)
                }
            };
            if paths.iter().all(covers) {
                covering.extend(self.prefix.get(prefix));
            }
        }
        covering
    }
}

fn serves_where(winner: &Rule, loser: &Rule) -> bool {
    let entry_points = &winner.entry_points;
    loser
        .entry_points
        .iter()
        .all(|it| entry_points.contains(it))
}

/// The host itself and every pattern that takes all its hosts.
fn wider_hosts(host: &HostPattern) -> Vec<HostPattern> {
    let mut wider = vec![host.clone()];
    if let HostPattern::Exact(name) = host {
        wider.extend(parent_domain(name).map(|parent| HostPattern::Wildcard(parent.into())));
    }
    if *host != HostPattern::Any {
        wider.push(HostPattern::Any);
    }
    wider
}

#[cfg(test)]
mod tests;
