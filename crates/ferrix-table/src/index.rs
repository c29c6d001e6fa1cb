//! From a request to its rule.
//!
//! Each rule is filed, for each of its entry points, under the hosts and the paths without which
//! it cannot match. A look-up visits three hosts (the exact one, the wildcard above it, any) and
//! under each the few paths that are prefixes of its own, and asks the rules it finds there, the
//! first in the total order first, until no better one is left. Rules that say nothing beyond
//! host and path need not even be asked.
//!
//! All hosts share a few arrays, so that a look-up among thousands of rules touches few cache
//! lines.

use std::{collections::HashMap, ops::Range};

use ferrix_rule::PathConstraint;

use crate::{
    Request,
    reach::Reach,
    rules::{HostPattern, Rule, parent_domain},
    table::EntryPointIndex,
};

#[derive(Debug, Default)]
pub(crate) struct Index {
    entry_points: Vec<Hosts>,
    /// Sorted by path under each host.
    nodes: Vec<Node>,
    /// Ascending in each place that refers to them.
    entries: Vec<Entry>,
    /// The paths of all nodes, each once.
    text: Vec<u8>,
}

/// The hosts of one entry point. Keys are canonical; those of `wildcard` are without `*.`.
#[derive(Debug, Default)]
struct Hosts {
    exact: HostMap,
    wildcard: HostMap,
    any: Paths,
}

/// Requests look up what they like here, but cannot insert: a fast hash with a random seed is
/// safe enough.
type HostMap = HashMap<Box<str>, Paths, foldhash::fast::RandomState>;

/// What is filed under one host.
#[derive(Clone, Copy, Debug, Default)]
struct Paths {
    nodes: Span,
    /// Rules that take any path.
    unrestricted: Span,
}

/// One path that rules name.
#[derive(Debug)]
struct Node {
    path: Span,
    /// Its longest proper prefix among the nodes of the host.
    parent: Option<u32>,
    exact: Span,
    prefix: Span,
}

/// A part of one of the arrays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// A rule in some place of the index: its position in the total order, and whether to be found in
/// that place is all it asks of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u32);

impl Index {
    /// Files rules that are in their total order.
    pub(crate) fn new(rules: &[Rule]) -> Index {
        let reaches: Vec<Reach> = rules.iter().map(Reach::new).collect();
        let mut filings = Vec::new();
        for (rank, (rule, reach)) in rules.iter().zip(&reaches).enumerate() {
            let entry = Entry::new(rank, reach.whole);
            for entry_point in &rule.entry_points {
                file(&mut filings, *entry_point, reach, entry);
            }
        }
        filings.sort_unstable();
        filings.dedup();
        let mut builder = Builder::default();
        for filings in filings.chunk_by(|one, next| one.place() == next.place()) {
            builder.host(filings);
        }
        builder.index
    }

    pub(crate) fn lookup<'r>(
        &self,
        rules: &'r [Rule],
        entry_point: EntryPointIndex,
        request: &Request<'_>,
    ) -> Option<&'r Rule> {
        let hosts = self.entry_points.get(usize::from(entry_point))?;
        let mut search = Search {
            index: self,
            rules,
            request,
            best: None,
        };
        if let Some(paths) = hosts.exact.get(request.host) {
            search.paths(paths);
        }
        if let Some(paths) = parent_domain(request.host).and_then(|name| hosts.wildcard.get(name)) {
            search.paths(paths);
        }
        search.paths(&hosts.any);
        search.best.map(|best| &rules[best.rank()])
    }

    fn path(&self, node: &Node) -> &[u8] {
        &self.text[node.path.range()]
    }
}

struct Search<'r, 'q> {
    index: &'q Index,
    rules: &'r [Rule],
    request: &'q Request<'q>,
    best: Option<Entry>,
}

impl Search<'_, '_> {
    fn paths(&mut self, paths: &Paths) {
        self.entries(paths.unrestricted);
        let nodes = &self.index.nodes[paths.nodes.range()];
        let path = self.request.path.as_bytes();
        let Some(nearest) = (nodes.partition_point(|node| self.index.path(node) <= path))
            .checked_sub(1)
            .map(|position| &nodes[position])
        else {
            return;
        };
        // Every node that is a prefix of the path is the nearest node not behind it, or a prefix
        // of that one. And of two prefixes of one string, the shorter is a prefix of the other:
        // below, lengths stand for comparisons.
        let common = common_prefix(self.index.path(nearest), path);
        let mut next = Some(nearest);
        while let Some(node) = next {
            if node.path.len() <= common {
                if node.path.len() == path.len() {
                    self.entries(node.exact);
                }
                self.entries(node.prefix);
            }
            next = node.parent.map(|parent| &self.index.nodes[parent as usize]);
        }
    }

    fn entries(&mut self, span: Span) {
        for entry in &self.index.entries[span.range()] {
            if self.best.is_some_and(|best| best <= *entry) {
                return;
            }
            if entry.is_certain() || self.rules[entry.rank()].accepts(self.request) {
                self.best = Some(*entry);
                return;
            }
        }
    }
}

fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let pairs = one.iter().zip(other);
    pairs.take_while(|(one, other)| one == other).count()
}

/// One rule in one place, in the order that places are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Filing<'r> {
    entry_point: EntryPointIndex,
    host: &'r HostPattern,
    /// `None`: any path.
    path: Option<&'r str>,
    prefix: bool,
    entry: Entry,
}

impl<'r> Filing<'r> {
    fn place(&self) -> (EntryPointIndex, &'r HostPattern) {
        (self.entry_point, self.host)
    }
}

fn file<'r>(
    filings: &mut Vec<Filing<'r>>,
    entry_point: EntryPointIndex,
    reach: &'r Reach,
    entry: Entry,
) {
    for host in &reach.hosts {
        let filing = |path, prefix| Filing {
            entry_point,
            host,
            path,
            prefix,
            entry,
        };
        match &reach.paths {
            None => filings.push(filing(None, false)),
            Some(paths) => filings.extend(paths.iter().map(|path| match path {
                PathConstraint::Exact(path) => filing(Some(path), false),
                PathConstraint::Prefix(path) => filing(Some(path), true),
            })),
        }
    }
}

#[derive(Default)]
struct Builder<'r> {
    index: Index,
    /// Where `text` holds a path already.
    paths: HashMap<&'r str, Span>,
}

impl<'r> Builder<'r> {
    /// Adds all that is filed under one host of one entry point.
    fn host(&mut self, filings: &[Filing<'r>]) {
        let (entry_point, host) = filings[0].place();
        // `None` sorts first.
        let restricted = filings.partition_point(|filing| filing.path.is_none());
        let (unrestricted, restricted) = filings.split_at(restricted);
        let unrestricted = self.entries(unrestricted);
        let first = self.index.nodes.len();
        for filings in restricted.chunk_by(|one, next| one.path == next.path) {
            self.node(first, filings);
        }
        let paths = Paths {
            nodes: Span::new(first, self.index.nodes.len()),
            unrestricted,
        };
        let hosts = self.entry_point(entry_point);
        match host {
            HostPattern::Exact(name) => drop(hosts.exact.insert(name.clone(), paths)),
            HostPattern::Wildcard(suffix) => drop(hosts.wildcard.insert(suffix.clone(), paths)),
            HostPattern::Any => hosts.any = paths,
        }
    }

    /// Adds one path of a host whose nodes begin at `first`.
    fn node(&mut self, first: usize, filings: &[Filing<'r>]) {
        let path = filings[0].path.unwrap_or_default();
        let (exact, prefix) = filings.split_at(filings.partition_point(|filing| !filing.prefix));
        let node = Node {
            path: self.text(path),
            parent: self.parent(first, path),
            exact: self.entries(exact),
            prefix: self.entries(prefix),
        };
        self.index.nodes.push(node);
    }

    /// The longest node of the host that begins a path which sorts behind them all: the last of
    /// them, or a prefix of it.
    fn parent(&self, first: usize, path: &str) -> Option<u32> {
        let last = self.index.nodes.len().checked_sub(1)?;
        let mut candidate = (last >= first).then(|| position(last));
        while let Some(position) = candidate {
            let node = &self.index.nodes[position as usize];
            if path.as_bytes().starts_with(self.index.path(node)) {
                return candidate;
            }
            candidate = node.parent;
        }
        None
    }

    fn text(&mut self, path: &'r str) -> Span {
        *self.paths.entry(path).or_insert_with(|| {
            let start = self.index.text.len();
            self.index.text.extend_from_slice(path.as_bytes());
            Span::new(start, self.index.text.len())
        })
    }

    fn entries(&mut self, filings: &[Filing<'_>]) -> Span {
        let start = self.index.entries.len();
        let entries = filings.iter().map(|filing| filing.entry);
        self.index.entries.extend(entries);
        Span::new(start, self.index.entries.len())
    }

    fn entry_point(&mut self, entry_point: EntryPointIndex) -> &mut Hosts {
        let entry_point = usize::from(entry_point);
        let entry_points = &mut self.index.entry_points;
        if entry_points.len() <= entry_point {
            entry_points.resize_with(entry_point + 1, Hosts::default);
        }
        &mut entry_points[entry_point]
    }
}

impl Span {
    fn new(start: usize, end: usize) -> Span {
        Span {
            start: position(start),
            end: position(end),
        }
    }

    fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Entry {
    fn new(rank: usize, certain: bool) -> Entry {
        Entry(position(rank) << 1 | u32::from(certain))
    }

    fn rank(self) -> usize {
        (self.0 >> 1) as usize
    }

    fn is_certain(self) -> bool {
        self.0 & 1 == 1
    }
}

/// A position in an array of the index. Its rules would fill the memory of any machine before
/// the arrays had 2^31 elements.
fn position(position: usize) -> u32 {
    u32::try_from(position).expect("the arrays of an index are short")
}
