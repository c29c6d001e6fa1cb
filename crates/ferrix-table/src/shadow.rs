//! Rules that no request can reach, or not everywhere that they are served.
//!
//! Kept up to date as rules come and go: a change looks only at the hosts that it is about.

use std::sync::Arc;

use ferrix_rule::PathConstraint;
use foldhash::{HashMap, HashSet};

use crate::{
    reach::Reach,
    rules::{HostPattern, Rule, parent_domain},
    table::EntryPointIndex,
};

mod winners;

use winners::{Winners, WinnersOfHost};

/// What other rules leave to one.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// It never serves: the first of those rules that take every request that it could.
    ///
    /// Set only where that is certain: the winner is served on every entry point of the loser and
    /// takes all its hosts, and has no expression, an equal one, or one that consists of `Host`,
    /// `Path` or `PathPrefix`, or of `Host` and one of the others, and that the loser cannot match
    /// without. That two rules together leave nothing to a third is not seen.
    pub shadowed: Option<Arc<Rule>>,
    /// Otherwise: rules with the same host and the same text that come first on these of its
    /// entry points.
    pub conflicts: Vec<(Arc<Rule>, Vec<EntryPointIndex>)>,
}

/// The verdict on each rule of a set.
#[derive(Debug, Default)]
pub struct Shadows {
    winners: Winners,
    /// Every rule, under the first host that it can match. Each list is in the total order.
    candidates: HashMap<HostPattern, Vec<Candidate>>,
}

impl Verdict {
    /// Whether the rule does not serve all that it was written for.
    pub fn loses(&self) -> bool {
        self.shadowed.is_some() || !self.conflicts.is_empty()
    }

    fn same(&self, other: &Verdict) -> bool {
        let shadowed = match (&self.shadowed, &other.shadowed) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        let conflict = |((one, here), (other, there)): (&(Arc<_>, Vec<_>), &(Arc<_>, Vec<_>))| {
            Arc::ptr_eq(one, other) && here == there
        };
        shadowed
            && self.conflicts.len() == other.conflicts.len()
            && self.conflicts.iter().zip(&other.conflicts).all(conflict)
    }
}

impl Shadows {
    /// Follows a change of the rules. Returns the rules on which the verdict is another than
    /// before, in no order; of those that are new, only the ones that lose something.
    pub fn replace(
        &mut self,
        gone: &[Arc<Rule>],
        fresh: &[Arc<Rule>],
    ) -> Vec<(Arc<Rule>, Verdict)> {
        let gone: Vec<_> = gone.iter().map(Candidate::new).collect();
        // In their order, so that most only need to be appended.
        let mut fresh: Vec<&Arc<Rule>> = fresh.iter().collect();
        fresh.sort_by(|one, other| one.precedence(other));
        let fresh: Vec<_> = fresh.into_iter().map(Candidate::new).collect();
        // Where nothing was before, everything is new.
        let changes = (!self.candidates.is_empty()).then(|| Changes::new(&gone, &fresh));
        for candidate in &gone {
            self.remove(candidate);
        }
        for candidate in fresh {
            self.add(candidate);
        }
        let hosts = match &changes {
            Some(changes) => self.below(&changes.hosts),
            None => self.candidates.keys().cloned().collect(),
        };
        let winners = changes.as_ref().map(|changes| &changes.winners);
        let mut changed = Vec::new();
        for host in hosts {
            self.judge(&host, winners, &mut changed);
        }
        changed
    }

    fn add(&mut self, candidate: Candidate) {
        self.winners.add(&candidate);
        // Nearly all hosts have few rules.
        let candidates = (self.candidates.entry(candidate.host().clone()))
            .or_insert_with(|| Vec::with_capacity(1));
        let rule = &candidate.rule;
        let place = candidates.partition_point(|it| it.rule.precedence(rule).is_lt());
        candidates.insert(place, candidate);
    }

    fn remove(&mut self, candidate: &Candidate) {
        self.winners.remove(candidate);
        if let Some(candidates) = self.candidates.get_mut(candidate.host()) {
            let rule = &candidate.rule;
            let place = candidates.binary_search_by(|it| it.rule.precedence(rule));
            place.map(|place| candidates.remove(place)).ok();
            if candidates.is_empty() {
                self.candidates.remove(candidate.host());
            }
        }
    }

    /// The hosts that have candidates and that one of these patterns takes whole.
    fn below(&self, patterns: &HashSet<HostPattern>) -> Vec<HostPattern> {
        let exact = |host: &HostPattern| matches!(host, HostPattern::Exact(_));
        if patterns.iter().all(exact) {
            let known = patterns.iter();
            let known = known.filter(|host| self.candidates.contains_key(host));
            return known.cloned().collect();
        }
        let is_below = |host: &&HostPattern| wider_hosts(host).any(|it| patterns.contains(&it));
        self.candidates.keys().filter(is_below).cloned().collect()
    }

    /// Judges anew what is filed under one host and meets a rule that came or went. `None`: all.
    fn judge(
        &mut self,
        host: &HostPattern,
        changes: Option<&Winners>,
        changed: &mut Vec<(Arc<Rule>, Verdict)>,
    ) {
        let Some(candidates) = self.candidates.get_mut(host) else {
            return;
        };
        let changes = changes.map(|changes| changes.of(host));
        // Rules with one host and one text meet the same rules: conflicts are among suspects.
        let mut suspects: Vec<&mut Candidate> = (candidates.iter_mut())
            .filter(|it| changes.as_ref().is_none_or(|changes| changes.meet(it)))
            .collect();
        let verdicts = verdicts(&self.winners.of(host), &suspects);
        for (candidate, verdict) in suspects.iter_mut().zip(verdicts) {
            if !candidate.verdict.same(&verdict) {
                candidate.verdict = verdict.clone();
                changed.push((Arc::clone(&candidate.rule), verdict));
            }
        }
    }
}

/// Rules that come or go, and the hosts that they are about.
struct Changes {
    hosts: HashSet<HostPattern>,
    winners: Winners,
}

impl Changes {
    fn new(gone: &[Candidate], fresh: &[Candidate]) -> Self {
        let mut changes = Changes {
            hosts: HashSet::default(),
            winners: Winners::default(),
        };
        for candidate in gone.iter().chain(fresh) {
            changes.hosts.extend(candidate.hosts().cloned());
            changes.winners.add(candidate);
        }
        changes
    }
}

/// The verdicts on candidates that are in their order.
fn verdicts(winners: &WinnersOfHost<'_>, candidates: &[&mut Candidate]) -> Vec<Verdict> {
    // Where two rules are the same but share only some entry points, one of them never serves on
    // those, and serves on the others.
    let mut first: HashMap<(EntryPointIndex, &HostPattern, Option<&str>), &Arc<Rule>> =
        HashMap::default();
    let mut verdicts = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let mut verdict = Verdict {
            shadowed: winners.first(candidate).cloned(),
            conflicts: Vec::new(),
        };
        let rule = &candidate.rule;
        if verdict.shadowed.is_none() && candidates.len() > 1 {
            for entry_point in &rule.entry_points {
                let key = (*entry_point, &rule.host, rule.text());
                let winner = *first.entry(key).or_insert(rule);
                if !Arc::ptr_eq(winner, rule) {
                    verdict.conflict(winner, *entry_point);
                }
            }
        }
        verdicts.push(verdict);
    }
    verdicts
}

impl Verdict {
    fn conflict(&mut self, winner: &Arc<Rule>, entry_point: EntryPointIndex) {
        let known = self.conflicts.iter_mut();
        let mut known = known.filter(|(it, _)| Arc::ptr_eq(it, winner));
        match known.next() {
            Some((_, entry_points)) => entry_points.push(entry_point),
            None => self.conflicts.push((Arc::clone(winner), vec![entry_point])),
        }
    }
}

/// A rule, what it can match at most, and what becomes of it.
#[derive(Debug)]
struct Candidate {
    rule: Arc<Rule>,
    reach: Reach,
    /// The expression in canonical spelling.
    expression: Option<Box<str>>,
    verdict: Verdict,
}

/// What is left of the requests of a host where a rule takes them all.
#[derive(Clone, Copy)]
enum Taken<'c> {
    Everything,
    Path(&'c PathConstraint),
    Expression(&'c str),
}

impl Candidate {
    fn new(rule: &Arc<Rule>) -> Self {
        Candidate {
            rule: Arc::clone(rule),
            reach: Reach::new(rule),
            expression: rule.matches.as_ref().map(|it| it.to_string().into()),
            verdict: Verdict::default(),
        }
    }

    /// Where it is filed.
    fn host(&self) -> &HostPattern {
        self.reach.hosts.first().unwrap_or(&self.rule.host)
    }

    /// All hosts that it is about.
    fn hosts(&self) -> impl Iterator<Item = &HostPattern> {
        self.reach.hosts.iter().chain([self.host()])
    }

    /// What it is certain to take, and of which hosts.
    fn takes(&self) -> impl Iterator<Item = (&HostPattern, Taken<'_>)> {
        let whole = match (&self.reach.hosts[..], self.reach.paths.as_deref()) {
            _ if !self.reach.whole => None,
            ([host], None) => Some((host, Taken::Everything)),
            ([host], Some([path])) => Some((host, Taken::Path(path))),
            _ => None,
        };
        let expression = self.expression.as_deref();
        let expression = expression.map(|it| (&self.rule.host, Taken::Expression(it)));
        // What has an equal expression then has the same path, too.
        let told = |(host, _): &(&HostPattern, Taken<'_>)| **host == self.rule.host;
        let expression = expression.filter(|_| !whole.as_ref().is_some_and(told));
        whole.into_iter().chain(expression)
    }
}

/// The host itself and every pattern that takes all its hosts.
fn wider_hosts(host: &HostPattern) -> impl Iterator<Item = HostPattern> {
    let parent = match host {
        HostPattern::Exact(name) => parent_domain(name),
        HostPattern::Wildcard(_) | HostPattern::Any => None,
    };
    let any = (*host != HostPattern::Any).then_some(HostPattern::Any);
    std::iter::once(host.clone())
        .chain(parent.map(|parent| HostPattern::Wildcard(parent.into())))
        .chain(any)
}

#[cfg(test)]
mod tests;
