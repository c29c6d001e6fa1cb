//! Rules that no request can reach, or not everywhere that they are served.
//!
//! Kept up to date as rules come and go: a change looks only at the hosts that it is about.

use std::{collections::BTreeMap, sync::Arc};

use ferrix_rule::PathConstraint;
use foldhash::{HashMap, HashSet};

use crate::{
    reach::Reach,
    rules::{HostPattern, Rule, parent_domain},
    table::EntryPointIndex,
};

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
        let all = self.candidates.is_empty();
        let mut changes = Winners::default();
        let mut touched: HashSet<HostPattern> = HashSet::default();
        for rule in gone {
            let candidate = Candidate::new(rule);
            touched.extend(candidate.hosts().cloned());
            changes.add(&candidate);
            self.remove(&candidate);
        }
        // In their order, so that most only need to be appended.
        let mut fresh: Vec<_> = fresh.iter().map(Candidate::new).collect();
        fresh.sort_by(|one, other| one.rule.precedence(&other.rule));
        for candidate in fresh {
            touched.extend(candidate.hosts().cloned());
            if !all {
                changes.add(&candidate);
            }
            self.add(candidate);
        }
        let mut changed = Vec::new();
        for host in self.below(touched) {
            self.judge(&host, (!all).then_some(&changes), &mut changed);
        }
        changed
    }

    fn add(&mut self, candidate: Candidate) {
        self.winners.add(&candidate);
        let candidates = self.candidates.entry(candidate.host().clone()).or_default();
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
    fn below(&self, mut patterns: HashSet<HostPattern>) -> Vec<HostPattern> {
        let exact = |host: &HostPattern| matches!(host, HostPattern::Exact(_));
        if patterns.iter().all(exact) {
            patterns.retain(|host| self.candidates.contains_key(host));
            return patterns.into_iter().collect();
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
        whole.into_iter().chain(expression)
    }
}

/// What rules are certain to take, by host.
#[derive(Debug, Default)]
struct Winners {
    hosts: HashMap<HostPattern, Takers>,
}

/// The winners over what is filed under one host.
struct WinnersOfHost<'w> {
    wider: Vec<(HostPattern, &'w Takers)>,
}

impl Winners {
    fn add(&mut self, candidate: &Candidate) {
        for (host, taken) in candidate.takes() {
            let takers = self.hosts.entry(host.clone()).or_default();
            takers.add(taken, &candidate.rule);
        }
    }

    fn remove(&mut self, candidate: &Candidate) {
        for (host, taken) in candidate.takes() {
            if let Some(takers) = self.hosts.get_mut(host) {
                takers.remove(taken, &candidate.rule);
                if takers.is_empty() {
                    self.hosts.remove(host);
                }
            }
        }
    }

    fn of(&self, host: &HostPattern) -> WinnersOfHost<'_> {
        let takers = |host: HostPattern| Some((self.hosts.get(&host)?, host));
        let wider = wider_hosts(host).filter_map(takers);
        WinnersOfHost {
            wider: wider.map(|(takers, host)| (host, takers)).collect(),
        }
    }
}

impl<'w> WinnersOfHost<'w> {
    /// The first of the rules that come before a candidate and leave nothing to it.
    fn first(&self, candidate: &Candidate) -> Option<&'w Arc<Rule>> {
        // What covers all hosts covers the first: where there is none, nothing needs to.
        candidate.reach.hosts.first()?;
        let rule = &candidate.rule;
        (self.lists(candidate))
            .filter_map(|rules| rules.iter().find(|it| serves_where(it, rule)))
            .filter(|it| !Arc::ptr_eq(it, rule) && it.precedence(rule).is_lt())
            .min_by(|one, other| one.precedence(other))
    }

    /// Whether any of the rules would leave nothing to a candidate if it came first and were
    /// served everywhere, or is the same.
    fn meet(&self, candidate: &Candidate) -> bool {
        self.lists(candidate).any(|rules| !rules.is_empty())
    }

    /// Lists of rules that take all requests that the candidate can, somewhere.
    fn lists<'a>(&'a self, candidate: &'a Candidate) -> impl Iterator<Item = &'w [Arc<Rule>]> {
        let hosts = &candidate.reach.hosts;
        (self.wider.iter())
            .filter(|(wider, _)| hosts.iter().all(|host| wider.covers(host)))
            .flat_map(|(_, takers)| takers.lists(candidate))
    }
}

/// Rules that take all requests of a host, or all that a path or an expression leaves of them.
/// Each list is in the total order.
#[derive(Debug, Default)]
struct Takers {
    everything: Vec<Arc<Rule>>,
    path: HashMap<Box<str>, Vec<Arc<Rule>>>,
    prefix: HashMap<Box<str>, Vec<Arc<Rule>>>,
    /// How many keys of `prefix` have a length.
    prefix_lengths: BTreeMap<usize, usize>,
    expression: HashMap<Box<str>, Vec<Arc<Rule>>>,
}

impl Takers {
    fn add(&mut self, taken: Taken<'_>, rule: &Arc<Rule>) {
        let rules = match taken {
            Taken::Everything => &mut self.everything,
            Taken::Path(PathConstraint::Exact(path)) => list(&mut self.path, path),
            Taken::Path(PathConstraint::Prefix(path)) => {
                let rules = list(&mut self.prefix, path);
                if rules.is_empty() {
                    *self.prefix_lengths.entry(path.len()).or_default() += 1;
                }
                rules
            }
            Taken::Expression(text) => list(&mut self.expression, text),
        };
        let place = rules.partition_point(|it| it.precedence(rule).is_lt());
        rules.insert(place, Arc::clone(rule));
    }

    fn remove(&mut self, taken: Taken<'_>, rule: &Rule) {
        match taken {
            Taken::Everything => remove(&mut self.everything, rule),
            Taken::Path(PathConstraint::Exact(path)) => unlist(&mut self.path, path, rule),
            Taken::Path(PathConstraint::Prefix(path)) => {
                unlist(&mut self.prefix, path, rule);
                if !self.prefix.contains_key(&**path)
                    && let Some(keys) = self.prefix_lengths.get_mut(&path.len())
                {
                    *keys -= 1;
                    if *keys == 0 {
                        self.prefix_lengths.remove(&path.len());
                    }
                }
            }
            Taken::Expression(text) => unlist(&mut self.expression, text, rule),
        }
    }

    fn is_empty(&self) -> bool {
        self.everything.is_empty()
            && self.path.is_empty()
            && self.prefix.is_empty()
            && self.expression.is_empty()
    }

    fn lists<'w>(&'w self, candidate: &Candidate) -> impl Iterator<Item = &'w [Arc<Rule>]> {
        let equal = candidate.expression.as_deref();
        let equal = equal.and_then(|it| self.expression.get(it));
        (self.covering(candidate))
            .chain([&self.everything])
            .chain(equal)
            .map(Vec::as_slice)
    }

    /// The rules of each path that covers all paths of the candidate.
    fn covering<'w>(&'w self, candidate: &Candidate) -> impl Iterator<Item = &'w Vec<Arc<Rule>>> {
        let paths = candidate.reach.paths.as_deref().unwrap_or_default();
        let exact = match paths {
            [PathConstraint::Exact(path)] => self.path.get(&**path),
            _ => None,
        };
        // What covers all paths covers the first.
        let (text, others) = match paths {
            [first, others @ ..] => (Some(path_text(first)), others),
            [] => (None, paths),
        };
        let prefixes = text.into_iter().flat_map(|text| {
            let lengths = self.prefix_lengths.range(..=text.len());
            lengths.filter_map(|(end, _)| text.get(..*end))
        });
        let covers = |prefix: &&str| {
            let mut others = others.iter();
            others.all(|path| path_text(path).starts_with(prefix))
        };
        let prefixes = prefixes.filter(covers);
        exact
            .into_iter()
            .chain(prefixes.filter_map(|prefix| self.prefix.get(prefix)))
    }
}

fn path_text(path: &PathConstraint) -> &str {
    let (PathConstraint::Exact(text) | PathConstraint::Prefix(text)) = path;
    text
}

fn list<'l>(lists: &'l mut HashMap<Box<str>, Vec<Arc<Rule>>>, key: &str) -> &'l mut Vec<Arc<Rule>> {
    lists.entry(key.into()).or_default()
}

fn unlist(lists: &mut HashMap<Box<str>, Vec<Arc<Rule>>>, key: &str, rule: &Rule) {
    if let Some(rules) = lists.get_mut(key) {
        remove(rules, rule);
        if rules.is_empty() {
            lists.remove(key);
        }
    }
}

fn remove(rules: &mut Vec<Arc<Rule>>, rule: &Rule) {
    if let Ok(place) = rules.binary_search_by(|it| it.precedence(rule)) {
        rules.remove(place);
    }
}

fn serves_where(winner: &Rule, loser: &Rule) -> bool {
    let entry_points = &winner.entry_points;
    (loser.entry_points.iter()).all(|it| entry_points.contains(it))
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
