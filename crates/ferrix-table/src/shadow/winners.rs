//! Finds, for a rule, the rules that take every request that it could match.
//!
//! Rules are filed under what they take for certain: a host, and there everything, all of a path,
//! of a prefix or of what lies below a path, or all that an expression matches. What could beat a
//! rule is then found by look-ups instead of by comparing it with every other.

use std::{borrow::Borrow, hash::Hash, slice, sync::Arc};

use ferrix_rule::PathConstraint;
use foldhash::HashMap;

use super::{Candidate, Taken};
use crate::rules::{HostPattern, Rule};

/// The rules that take something for certain, by host.
#[derive(Debug, Default)]
pub(super) struct Winners {
    hosts: HashMap<HostPattern, Takers>,
}

/// The part of [`Winners`] that rules listed under one host can lose to.
pub(super) struct WinnersOfHost<'w> {
    wider: Vec<(HostPattern, TakersOfHost<'w>)>,
}

/// As [`Takers`], with what the only rule takes.
enum TakersOfHost<'w> {
    One(&'w Arc<Rule>, Box<Candidate>),
    Many(&'w Maps),
}

impl Winners {
    pub(super) fn add(&mut self, candidate: &Candidate) {
        for (host, taken) in candidate.takes() {
            let rule = &candidate.rule;
            (self.hosts.entry(host.clone()))
                .and_modify(|takers| takers.add(host, taken, rule))
                .or_insert_with(|| Takers::One(Arc::clone(rule)));
        }
    }

    pub(super) fn remove(&mut self, candidate: &Candidate) {
        for (host, taken) in candidate.takes() {
            if let Some(takers) = self.hosts.get_mut(host)
                && !takers.remove(taken, &candidate.rule)
            {
                self.hosts.remove(host);
            }
        }
    }

    pub(super) fn of(&self, host: &HostPattern) -> WinnersOfHost<'_> {
        let takers = |host: HostPattern| Some((self.hosts.get(&host)?, host));
        let wider = std::iter::once(host.clone()).chain(host.wider());
        let wider = wider.filter_map(takers);
        WinnersOfHost {
            wider: wider.map(|(takers, host)| (host, takers.view())).collect(),
        }
    }
}

impl<'w> WinnersOfHost<'w> {
    /// The rule that a candidate loses all its requests to: the first in the total order of those
    /// that come before it and take all that it could match.
    pub(super) fn first(&self, candidate: &Candidate) -> Option<&'w Arc<Rule>> {
        // A rule that matches no host at all gets no requests, and so it loses none.
        candidate.reach.hosts.first()?;
        let rule = &candidate.rule;
        (self.lists(candidate))
            .filter_map(|rules| rules.iter().find(|it| serves_where(it, rule)))
            .filter(|it| !Arc::ptr_eq(it, rule) && it.precedence(rule).is_lt())
            .min_by(|one, other| one.precedence(other))
    }

    /// Whether any of these rules takes all that a candidate could match, in whatever order they
    /// stand and on whatever entry points they are served. The candidate itself may be among them.
    pub(super) fn meet(&self, candidate: &Candidate) -> bool {
        self.lists(candidate).any(|rules| !rules.is_empty())
    }

    /// The rules that take all that a candidate could match, each on its own entry points.
    fn lists<'a>(&'a self, candidate: &'a Candidate) -> impl Iterator<Item = &'w [Arc<Rule>]> {
        let hosts = &candidate.reach.hosts;
        (self.wider.iter())
            .filter(|(wider, _)| hosts.iter().all(|host| wider.covers(host)))
            .flat_map(|(wider, takers)| takers.lists(wider, candidate))
    }
}

/// The rules of one host that take all its requests, or all with some path or expression.
///
/// Nearly all hosts have only one such rule, which is kept without maps. What it takes follows from it.
#[derive(Debug)]
enum Takers {
    One(Arc<Rule>),
    Many(Box<Maps>),
}

impl Taken<'_> {
    /// Whether this includes every request that a candidate can match.
    fn covers(self, candidate: &Candidate) -> bool {
        let within = |prefix: &str, path: &PathConstraint| path_text(path).starts_with(prefix);
        let paths = candidate.reach.paths.as_deref().unwrap_or_default();
        match self {
            Self::Everything => true,
            Self::Path(exact @ PathConstraint::Exact(_)) => matches!(paths, [it] if it == exact),
            Self::Path(PathConstraint::Prefix(prefix)) => {
                !paths.is_empty() && paths.iter().all(|path| within(prefix, path))
            }
            Self::Segments(above) => {
                !paths.is_empty() && paths.iter().all(|path| is_at_or_below(path, above))
            }
            Self::Expression(expression) => candidate.rule.matches.as_ref() == Some(expression),
        }
    }
}

impl Takers {
    fn add(&mut self, host: &HostPattern, taken: Taken<'_>, rule: &Arc<Rule>) {
        if let Self::One(one) = self {
            let mut maps = Box::<Maps>::default();
            if let Some(its) = Candidate::new(one).taken_at(host) {
                maps.add(its, one);
            }
            *self = Self::Many(maps);
        }
        if let Self::Many(maps) = self {
            maps.add(taken, rule);
        }
    }

    /// Returns whether any rules are left.
    fn remove(&mut self, taken: Taken<'_>, rule: &Rule) -> bool {
        match self {
            Self::One(one) => one.precedence(rule).is_ne(),
            Self::Many(maps) => {
                maps.remove(taken, rule);
                !maps.is_empty()
            }
        }
    }

    fn view(&self) -> TakersOfHost<'_> {
        match self {
            Self::One(rule) => TakersOfHost::One(rule, Box::new(Candidate::new(rule))),
            Self::Many(maps) => TakersOfHost::Many(maps),
        }
    }
}

impl<'w> TakersOfHost<'w> {
    /// Those that take all that a candidate could match of the host, list by list.
    fn lists(
        &self,
        host: &HostPattern,
        candidate: &Candidate,
    ) -> impl Iterator<Item = &'w [Arc<Rule>]> {
        let (one, maps) = match self {
            Self::One(rule, its) => {
                let covers = its.taken_at(host).is_some_and(|it| it.covers(candidate));
                (covers.then_some(*rule), None)
            }
            Self::Many(maps) => (None, Some(maps.lists(candidate))),
        };
        one.map(slice::from_ref)
            .into_iter()
            .chain(maps.into_iter().flatten())
    }
}

/// The rules of one host by what they take. Lists are in the total order.
#[derive(Debug, Default)]
struct Maps {
    everything: Vec<Arc<Rule>>,
    path: Lists<Box<str>>,
    prefix: Lists<Box<str>>,
    /// The lengths of the keys of `prefix`, and how many keys have each. Ascending.
    prefix_lengths: Vec<(usize, usize)>,
    segments: Lists<Box<str>>,
    expression: Lists<ferrix_rule::Rule>,
}

impl Maps {
    fn add(&mut self, taken: Taken<'_>, rule: &Arc<Rule>) {
        let rules = match taken {
            Taken::Everything => &mut self.everything,
            Taken::Path(PathConstraint::Exact(path)) => list(&mut self.path, &**path),
            Taken::Path(PathConstraint::Prefix(path)) => {
                let rules = list(&mut self.prefix, &**path);
                if rules.is_empty() {
                    count(&mut self.prefix_lengths, path.len());
                }
                rules
            }
            Taken::Segments(path) => list(&mut self.segments, path),
            Taken::Expression(expression) => list(&mut self.expression, expression.clone()),
        };
        let place = rules.partition_point(|it| it.precedence(rule).is_lt());
        rules.insert(place, Arc::clone(rule));
    }

    fn remove(&mut self, taken: Taken<'_>, rule: &Rule) {
        match taken {
            Taken::Everything => remove(&mut self.everything, rule),
            Taken::Path(PathConstraint::Exact(path)) => unlist(&mut self.path, &**path, rule),
            Taken::Path(PathConstraint::Prefix(path)) => {
                unlist(&mut self.prefix, &**path, rule);
                if !self.prefix.contains_key(&**path) {
                    discount(&mut self.prefix_lengths, path.len());
                }
            }
            Taken::Segments(path) => unlist(&mut self.segments, path, rule),
            Taken::Expression(expression) => unlist(&mut self.expression, expression, rule),
        }
    }

    fn is_empty(&self) -> bool {
        self.everything.is_empty()
            && self.path.is_empty()
            && self.prefix.is_empty()
            && self.segments.is_empty()
            && self.expression.is_empty()
    }

    fn lists<'w>(&'w self, candidate: &Candidate) -> impl Iterator<Item = &'w [Arc<Rule>]> {
        let equal = candidate.rule.matches.as_ref();
        let equal = equal.and_then(|it| self.expression.get(it));
        (self.covering(candidate))
            .chain(self.above(candidate))
            .chain([&self.everything])
            .chain(equal)
            .map(Vec::as_slice)
    }

    /// The rules filed under a path that all paths of the candidate are, or lie below.
    fn above<'w>(&'w self, candidate: &Candidate) -> impl Iterator<Item = &'w Vec<Arc<Rule>>> {
        let paths = candidate.reach.paths.as_deref().unwrap_or_default();
        // One of these is the first, or above it.
        let first = (!self.segments.is_empty()).then(|| paths.first()).flatten();
        let above = first.map(path_text).into_iter().flat_map(|text| {
            let ends = text.match_indices('/').map(|(end, _)| end);
            ends.chain([text.len()]).map(|end| &text[..end])
        });
        let includes = |above: &&str| paths.iter().all(|path| is_at_or_below(path, above));
        (above.filter(includes)).filter_map(|above| self.segments.get(above))
    }

    /// The rules filed under a path that includes all paths of the candidate, list by list.
    fn covering<'w>(&'w self, candidate: &Candidate) -> impl Iterator<Item = &'w Vec<Arc<Rule>>> {
        let paths = candidate.reach.paths.as_deref().unwrap_or_default();
        let exact = match paths {
            [PathConstraint::Exact(path)] => self.path.get(&**path),
            _ => None,
        };
        // A prefix of all paths is one of the first: try those, and compare with the others.
        let (text, others) = match paths {
            [first, others @ ..] => (Some(path_text(first)), others),
            [] => (None, paths),
        };
        let prefixes = text.into_iter().flat_map(|text| {
            let lengths = self.prefix_lengths.iter();
            let lengths = lengths.take_while(|(end, _)| *end <= text.len());
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

/// Whether these are this path or paths below it, whole segments alone.
fn is_at_or_below(path: &PathConstraint, above: &str) -> bool {
    let below = path_text(path).strip_prefix(above);
    below.is_some_and(|below| match path {
        PathConstraint::Exact(_) => below.is_empty() || below.starts_with('/'),
        PathConstraint::Prefix(_) => below.starts_with('/'),
    })
}

fn path_text(path: &PathConstraint) -> &str {
    let (PathConstraint::Exact(text) | PathConstraint::Prefix(text)) = path;
    text
}

/// The rules filed under one key.
type Lists<K> = HashMap<K, Vec<Arc<Rule>>>;

fn list<K: Eq + Hash>(lists: &mut Lists<K>, key: impl Into<K>) -> &mut Vec<Arc<Rule>> {
    let list = lists.entry(key.into());
    list.or_insert_with(|| Vec::with_capacity(1))
}

fn unlist<K, Q>(lists: &mut Lists<K>, key: &Q, rule: &Rule)
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
{
    if let Some(rules) = lists.get_mut(key) {
        remove(rules, rule);
        if rules.is_empty() {
            lists.remove(key);
        }
    }
}

/// Counts one key more of this length.
fn count(lengths: &mut Vec<(usize, usize)>, length: usize) {
    match lengths.binary_search_by_key(&length, |(it, _)| *it) {
        Ok(place) => lengths[place].1 += 1,
        Err(place) => {
            lengths.reserve_exact(1);
            lengths.insert(place, (length, 1));
        }
    }
}

/// Counts one key less of this length.
fn discount(lengths: &mut Vec<(usize, usize)>, length: usize) {
    if let Ok(place) = lengths.binary_search_by_key(&length, |(it, _)| *it) {
        lengths[place].1 -= 1;
        if lengths[place].1 == 0 {
            lengths.remove(place);
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
