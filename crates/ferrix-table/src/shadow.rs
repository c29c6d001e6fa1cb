//! Which rules lose all their requests to other rules, or lose them on some of their entry points.
//!
//! The answer follows changes of the rules: only the hosts of rules that come or go are judged
//! again.

use std::sync::Arc;

use ferrix_rule::PathConstraint;
use foldhash::{HashMap, HashSet};

use crate::{
    ids::EntryPointIndex,
    reach::Reach,
    rules::{HostPattern, Rule},
};

mod winners;

use winners::{Winners, WinnersOfHost};

/// What one rule loses to others.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The rule that gets every request that this one could match; if several do, the first in
    /// the total order. This one then never serves.
    ///
    /// Set only where it is certain, which needs three things of the winner:
    /// * it is served on every entry point of the loser;
    /// * its host includes every host of the loser;
    /// * it has no expression, or an equal one to the loser's, or one that asks for nothing beyond
    ///   a host and a path, a prefix or a path with all below it, such that every request of the
    ///   loser fulfils it.
    ///
    /// Two winners that take one half each are not noticed.
    pub shadowed: Option<Arc<Rule>>,
    /// Where nothing is `shadowed`: rules with the same host and an equal expression that come
    /// before this one, each with the entry points that both are served on.
    pub conflicts: Vec<(Arc<Rule>, Vec<EntryPointIndex>)>,
}

/// The verdict on each rule of a set.
#[derive(Debug, Default)]
pub struct Shadows {
    winners: Winners,
    /// Every rule, listed under the first of the hosts that it can match. Lists are in the total
    /// order.
    judged: HashMap<HostPattern, Vec<Judged>>,
}

/// A rule, and the verdict on it. Its reach is worked out when it is judged: kept, that would be some 70
/// bytes for each rule.
#[derive(Debug)]
struct Judged {
    rule: Arc<Rule>,
    /// `None`: it loses nothing.
    verdict: Option<Box<Verdict>>,
}

impl Verdict {
    /// Whether the rule loses anything.
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

impl Judged {
    /// Takes a verdict. Tells whether it is another than before.
    fn take(&mut self, verdict: &Verdict) -> bool {
        let same = match &self.verdict {
            Some(before) => before.same(verdict),
            None => !verdict.loses(),
        };
        if !same {
            self.verdict = verdict.loses().then(|| Box::new(verdict.clone()));
        }
        !same
    }
}

impl Shadows {
    /// Replaces rules. Returns, in no order, the rules whose verdict is not what it was before. A
    /// new rule counts as one that lost nothing before.
    pub fn replace(
        &mut self,
        gone: &[Arc<Rule>],
        fresh: &[Arc<Rule>],
    ) -> Vec<(Arc<Rule>, Verdict)> {
        // Nobody loses anything to what serves nothing.
        let serves = |rule: &&Arc<Rule>| !rule.is_dry_run();
        let gone: Vec<_> = gone.iter().filter(serves).map(Candidate::new).collect();
        // Added in the total order, most of them go to the end of their list.
        let mut fresh: Vec<&Arc<Rule>> = fresh.iter().filter(serves).collect();
        fresh.sort_by(|one, other| one.precedence(other));
        let fresh: Vec<_> = fresh.into_iter().map(Candidate::new).collect();
        // In an empty set every rule is new and must be judged: no need to find out which.
        let changes = (!self.judged.is_empty()).then(|| Changes::new(&gone, &fresh));
        for candidate in &gone {
            self.remove(candidate);
        }
        for candidate in fresh {
            self.add(candidate);
        }
        let hosts = match &changes {
            Some(changes) => self.below(&changes.hosts),
            None => self.judged.keys().cloned().collect(),
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
        // Nearly all hosts have one rule, and the default capacity is four.
        let judged =
            (self.judged.entry(candidate.host().clone())).or_insert_with(|| Vec::with_capacity(1));
        let rule = candidate.rule;
        let place = judged.partition_point(|it| it.rule.precedence(&rule).is_lt());
        let verdict = None;
        judged.insert(place, Judged { rule, verdict });
    }

    fn remove(&mut self, candidate: &Candidate) {
        self.winners.remove(candidate);
        if let Some(judged) = self.judged.get_mut(candidate.host()) {
            let rule = &candidate.rule;
            let place = judged.binary_search_by(|it| it.rule.precedence(rule));
            place.map(|place| judged.remove(place)).ok();
            if judged.is_empty() {
                self.judged.remove(candidate.host());
            }
        }
    }

    /// The hosts with rules that are one of these patterns, or lie wholly within one.
    fn below(&self, patterns: &HashSet<HostPattern>) -> Vec<HostPattern> {
        let exact = |host: &HostPattern| matches!(host, HostPattern::Exact(_));
        if patterns.iter().all(exact) {
            let known = patterns.iter();
            let known = known.filter(|host| self.judged.contains_key(host));
            return known.cloned().collect();
        }
        let is_below = |host: &&HostPattern| {
            patterns.contains(*host) || host.wider().any(|it| patterns.contains(&it))
        };
        self.judged.keys().filter(is_below).cloned().collect()
    }

    /// Judges the rules listed under one host again: those that could lose to one of `changes`,
    /// or all where that is `None`.
    fn judge(
        &mut self,
        host: &HostPattern,
        changes: Option<&Winners>,
        changed: &mut Vec<(Arc<Rule>, Verdict)>,
    ) {
        let Some(judged) = self.judged.get_mut(host) else {
            return;
        };
        let changes = changes.map(|changes| changes.of(host));
        // Two rules of the same host and expression could lose to the same rules. So either both
        // are judged here or neither is, and no conflict between them is missed.
        let (mut suspects, candidates): (Vec<&mut Judged>, Vec<Candidate>) = (judged.iter_mut())
            .map(|it| (Candidate::new(&it.rule), it))
            .filter(|(it, _)| changes.as_ref().is_none_or(|changes| changes.meet(it)))
            .map(|(candidate, it)| (it, candidate))
            .unzip();
        let verdicts = verdicts(&self.winners.of(host), &candidates);
        for (judged, verdict) in suspects.iter_mut().zip(verdicts) {
            if judged.take(&verdict) {
                changed.push((Arc::clone(&judged.rule), verdict));
            }
        }
    }
}

/// Rules that come or go, and the hosts that they can match.
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

/// The verdict on each of these candidates, which are in the total order.
#[expect(
    clippy::mutable_key_type,
    reason = "what a rule asks for, by which it is found, does not change"
)]
fn verdicts(winners: &WinnersOfHost<'_>, candidates: &[Candidate]) -> Vec<Verdict> {
    // Of two equal rules that share only some of their entry points, the later one loses on those
    // and still serves on its others: a conflict, and not shadowed.
    let mut first: HashMap<_, &Arc<Rule>> = HashMap::default();
    let mut verdicts = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let mut verdict = Verdict {
            shadowed: winners.first(candidate).cloned(),
            conflicts: Vec::new(),
        };
        let rule = &candidate.rule;
        if verdict.shadowed.is_none() && candidates.len() > 1 {
            for entry_point in &rule.entry_points {
                let key = (*entry_point, &rule.host, &rule.matches);
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

/// A rule with what is known of it without a request.
struct Candidate {
    rule: Arc<Rule>,
    reach: Reach,
}

/// Which requests of a host a rule takes, all of them: nothing of these is left to later rules.
#[derive(Clone, Copy)]
enum Taken<'c> {
    Everything,
    Path(&'c PathConstraint),
    /// This path and what lies below it.
    Segments(&'c str),
    Expression(&'c ferrix_rule::Rule),
}

impl Candidate {
    fn new(rule: &Arc<Rule>) -> Self {
        Candidate {
            rule: Arc::clone(rule),
            reach: Reach::new(rule),
        }
    }

    /// The host that it is listed under.
    fn host(&self) -> &HostPattern {
        self.reach.hosts.first().unwrap_or(&self.rule.host)
    }

    /// Every host that it can match, and the one that it is listed under.
    fn hosts(&self) -> impl Iterator<Item = &HostPattern> {
        self.reach.hosts.iter().chain([self.host()])
    }

    /// The hosts of which it takes all requests, or all with some path or expression.
    fn takes(&self) -> impl Iterator<Item = (&HostPattern, Taken<'_>)> {
        let whole = match &self.reach.hosts[..] {
            [host] if self.reach.whole => self.reach.taken().map(|taken| (host, taken)),
            _ => None,
        };
        let expression = self.rule.matches.as_ref();
        let expression = expression.map(|it| (&self.rule.host, Taken::Expression(it)));
        // The expression would only repeat this: a rule with an equal one has the same path.
        let told = |(host, _): &(&HostPattern, Taken<'_>)| **host == self.rule.host;
        let expression = expression.filter(|_| !whole.as_ref().is_some_and(told));
        whole.into_iter().chain(expression)
    }

    /// What it takes of the requests of one of these hosts.
    fn taken_at(&self, host: &HostPattern) -> Option<Taken<'_>> {
        let mut takes = self.takes();
        takes.find(|(it, _)| *it == host).map(|(_, taken)| taken)
    }
}

impl Reach {
    /// What a rule takes that asks for nothing beyond its host and these paths, if they are of a
    /// kind.
    fn taken(&self) -> Option<Taken<'_>> {
        match self.paths.as_deref() {
            None => Some(Taken::Everything),
            Some([path]) => Some(Taken::Path(path)),
            Some([PathConstraint::Exact(path), PathConstraint::Prefix(below)])
                if below.strip_suffix('/') == Some(path) =>
            {
                Some(Taken::Segments(path))
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
