//! Finds the captures at one host, without comparing each rule with every other.
//!
//! Two paths that rules are filed under have requests in common only where one lies within the other.
//! In their order, whatever lies within a path follows it at once: so one pass is enough, which keeps
//! the paths that the present one lies within on a stack. What stands there of the same namespace is
//! passed over together.
//!
//! Both what a rule is compared with and what is noted of two routes have a bound, so that a host with
//! thousands of rules costs thousands of comparisons and not millions.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::Capture;
use crate::{
    bucket::{Bucket, Filing, of_one_namespace},
    ids::EntryPointIndex,
    index::{Contest, Index},
    object::Key,
    rules::{HostPattern, Rule},
};

/// How many rules of other namespaces a rule is compared with, on each entry point and path.
const MOST_COMPARED: usize = 32;

/// How many filings of each wider host compete, on each entry point: the first in the total order.
const MOST_WIDER: usize = 64;

/// How many rules of one route that a rule takes from are noted, whole and in part.
pub(super) const MOST_NOTED: usize = 4;

/// The captures at a host, on all entry points.
pub(super) fn captures(index: &Index, host: &HostPattern) -> Vec<Capture> {
    let mut captures: Vec<Capture> = Vec::new();
    let mut places: HashMap<Pair, usize> = HashMap::new();
    for entry_point in index.entry_points() {
        let Some(contest) = index.contest(entry_point, host) else {
            continue;
        };
        for found in Sweep::over(&items(&contest)) {
            let place = *places
                .entry(pair(&found.winner, &found.victim))
                .or_insert_with(|| {
                    captures.push(found.capture(host));
                    captures.len() - 1
                });
            captures[place].add(entry_point, found.certain);
        }
    }
    captures.sort_by(|one, other| {
        let winners = one.winner.precedence(&other.winner);
        winners.then_with(|| one.victim.precedence(&other.victim))
    });
    captures
}

impl Capture {
    fn add(&mut self, entry_point: EntryPointIndex, certain: bool) {
        self.entry_points.push(entry_point);
        self.certain |= certain;
    }
}

/// Two rules, by where they lie in memory.
type Pair = (*const Rule, *const Rule);

fn pair(winner: &Arc<Rule>, victim: &Arc<Rule>) -> Pair {
    (Arc::as_ptr(winner), Arc::as_ptr(victim))
}

/// A rule under one path.
struct Item {
    filing: Filing,
    filed: Filed,
}

/// Which of the host's buckets has a rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filed {
    /// That of the host itself.
    Here,
    /// That of a wildcard above it.
    Above,
    /// That of any host.
    Everywhere,
}

/// All rules of a contest, in the order of their paths: a prefix before what lies within it.
fn items(contest: &Contest<'_>) -> Vec<Item> {
    let all = HashSet::new();
    let item = |filed| move |filing| Item { filing, filed };
    let mut items: Vec<Item> = (contest.own.filings(&all).into_iter())
        .map(item(Filed::Here))
        .collect();
    let above = contest.above.iter().map(|bucket| (bucket, Filed::Above));
    let everywhere = contest.everywhere.iter();
    let everywhere = everywhere.map(|bucket| (bucket, Filed::Everywhere));
    for (bucket, filed) in above.chain(everywhere) {
        let filings = first_foreign(bucket, contest.own);
        items.extend(filings.into_iter().map(item(filed)));
    }
    items.sort_by(|one, other| {
        let place = one.place().cmp(&other.place());
        place.then_with(|| one.rule().precedence(other.rule()))
    });
    items
}

/// The first rules of a wider bucket that rules of this one may be foreign to.
fn first_foreign(wider: &Bucket, own: &Bucket) -> Vec<Filing> {
    let mut filings = wider.filings(&HashSet::new());
    filings.retain(|filing| {
        own.mixture().namespaces || !of_one_namespace(&filing.rule, own.any_rule())
    });
    filings.sort_by(|one, other| one.rule.precedence(&other.rule));
    filings.truncate(MOST_WIDER);
    filings
}

impl Item {
    fn rule(&self) -> &Arc<Rule> {
        &self.filing.rule
    }

    fn namespace(&self) -> &str {
        &self.rule().route.key.namespace
    }

    /// What its place in the order follows from.
    fn place(&self) -> (&[u8], bool) {
        (&self.filing.path, !self.filing.prefix)
    }
}

/// Rules under one path, by namespace.
struct Group<'i> {
    path: &'i [u8],
    namespaces: BTreeMap<&'i str, Vec<&'i Item>>,
}

impl<'i> Group<'i> {
    fn new(items: &'i [Item]) -> Self {
        let mut namespaces: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
        for item in items {
            namespaces.entry(item.namespace()).or_default().push(item);
        }
        Self {
            path: &items[0].filing.path,
            namespaces,
        }
    }
}

/// A capture on one entry point.
struct Found {
    winner: Arc<Rule>,
    victim: Arc<Rule>,
    certain: bool,
}

impl Found {
    fn capture(&self, host: &HostPattern) -> Capture {
        Capture {
            host: host.clone(),
            winner: Arc::clone(&self.winner),
            victim: Arc::clone(&self.victim),
            certain: false,
            entry_points: Vec::new(),
        }
    }
}

#[derive(Default)]
struct Sweep<'i> {
    found: Vec<Found>,
    places: HashMap<Pair, usize>,
    /// How many rules of a route a rule takes from, all that they match at a path, or a part of it.
    noted: HashMap<(*const Rule, &'i Key, bool), usize>,
}

impl<'i> Sweep<'i> {
    /// What is found among items in their order.
    fn over(items: &'i [Item]) -> Vec<Found> {
        let mut sweep = Self::default();
        let mut stack: Vec<Group<'i>> = Vec::new();
        for items in items.chunk_by(|one, next| one.place() == next.place()) {
            let path = &items[0].filing.path;
            while stack.last().is_some_and(|top| !path.starts_with(top.path)) {
                stack.pop();
            }
            stack.push(Group::new(items));
            for item in items {
                sweep.compare(item, &stack);
            }
            // Nothing lies within an exact path.
            if !items[0].filing.prefix {
                stack.pop();
            }
        }
        sweep.found
    }

    /// Compares an item with those of other namespaces under its own path, and under those that it lies
    /// within.
    fn compare(&mut self, item: &'i Item, stack: &[Group<'i>]) {
        let mut left = MOST_COMPARED;
        for group in stack.iter().rev() {
            let foreign = group.namespaces.iter();
            let foreign = foreign.filter(|(namespace, _)| **namespace != item.namespace());
            for other in foreign.flat_map(|(_, others)| others.iter().copied()) {
                if left == 0 {
                    return;
                }
                left -= 1;
                self.meet(item, other);
            }
        }
    }

    /// Notes what one of two takes from the other. The paths of `inner` lie within those of `outer`.
    fn meet(&mut self, inner: &'i Item, outer: &'i Item) {
        if inner.filed != Filed::Here && outer.filed != Filed::Here {
            // They compete elsewhere as well.
            return;
        }
        let inner_first = inner.rule().precedence(outer.rule()).is_lt();
        let (winner, victim) = match inner_first {
            true => (inner, outer),
            false => (outer, inner),
        };
        if victim.filed == Filed::Everywhere {
            return;
        }
        let same_paths = inner.place() == outer.place();
        // Whether one takes all that the other can match at these paths.
        let takes_all = |one: &Item| one.filing.certain && (same_paths || std::ptr::eq(one, outer));
        let whole = takes_all(winner);
        let certain = whole || takes_all(victim);
        if !certain && exclude(winner.rule(), victim.rule()) {
            return;
        }
        self.note(winner, victim, whole, certain);
    }

    fn note(&mut self, winner: &'i Item, victim: &'i Item, whole: bool, certain: bool) {
        let (winner, victim) = (winner.rule(), victim.rule());
        let pair = pair(winner, victim);
        if let Some(place) = self.places.get(&pair) {
            self.found[*place].certain |= certain;
            return;
        }
        let noted = self.noted.entry((pair.0, &victim.route.key, whole));
        let noted = noted.or_default();
        if *noted == MOST_NOTED {
            return;
        }
        *noted += 1;
        self.places.insert(pair, self.found.len());
        self.found.push(Found {
            winner: Arc::clone(winner),
            victim: Arc::clone(victim),
            certain,
        });
    }
}

/// Whether no request meets the conditions of both, as far as that shows.
fn exclude(one: &Rule, other: &Rule) -> bool {
    match (&one.matches, &other.matches) {
        (Some(one), Some(other)) => one.excludes(other),
        _ => false,
    }
}
