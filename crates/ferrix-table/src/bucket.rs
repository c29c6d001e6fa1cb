//! The rules for one host on one entry point.
//!
//! They stand in a radix tree of paths, each at the paths that it can match. A look-up walks down
//! the tree along the path of the request and tries the rules that it finds on its way, not all of
//! the host. A rule that asks for nothing beyond host and path is not even tried: to be found is to
//! match.
//!
//! A bucket never changes. It knows nothing of other buckets, so that rule sets can share it.

use std::{cmp::Ordering, collections::HashSet, ops::Range, sync::Arc};

use crate::{
    Request,
    rules::{HostPattern, Rule},
};

/// The rules of one host, by path.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Nodes that have the same parent are neighbours. The first is the root.
    nodes: Box<[Node]>,
    /// The host, then all labels.
    text: Box<[u8]>,
    /// The entries of one node are neighbours, and all stand in the order of their paths.
    entries: Box<[Entry]>,
    host_length: u32,
    mixture: Mixture,
}

/// What kinds of rules a bucket has, told without looking at all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mixture {
    /// Whether they are of more than one namespace.
    pub(crate) namespaces: bool,
    /// Whether some are of routes for more hosts, and narrowed to this one by their expression.
    pub(crate) narrowed: bool,
}

/// One rule under one path.
#[derive(Clone, Debug)]
pub(crate) struct Filing {
    pub(crate) path: Box<[u8]>,
    /// Whether it takes longer paths, too.
    pub(crate) prefix: bool,
    pub(crate) rule: Arc<Rule>,
    /// Whether the rule asks for nothing beyond this host and this path.
    pub(crate) certain: bool,
    /// The rule's place in the total order of its bucket, where it comes from one.
    rank: Option<u32>,
}

/// The paths that share a beginning. Its last part is the label; the rest is told by the way here.
#[derive(Debug)]
struct Node {
    /// In the text: what all these paths have after the byte by which the parent chose this node.
    label: Span,
    /// In the text, after the label: one byte for each child, by which it is chosen. They end here.
    children_text_end: u32,
    /// The index of the first child; the others follow it.
    children: u32,
    /// Entries of `PathPrefix` whose path ends at this node.
    prefix: Span,
    /// After those: entries of `Path` whose path ends at this node, up to here.
    exact_end: u32,
}

/// A part of one of the arrays.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Debug)]
struct Entry {
    rule: Arc<Rule>,
    /// The place of the rule among those of the bucket.
    rank: u32,
    certain: bool,
}

impl Filing {
    pub(crate) fn new(path: &[u8], prefix: bool, rule: &Arc<Rule>, certain: bool) -> Self {
        Filing {
            path: path.into(),
            prefix,
            rule: Arc::clone(rule),
            certain,
            rank: None,
        }
    }

    /// The total order of rules. Ranks spare the comparison of two that come from one bucket.
    fn precedence(&self, other: &Filing) -> Ordering {
        match (self.rank, other.rank) {
            (Some(rank), Some(other)) => rank.cmp(&other),
            _ => self.rule.precedence(&other.rule),
        }
    }

    /// The key that entries are sorted by. Needs the rank.
    fn place(&self) -> (&[u8], bool, Option<u32>) {
        (&self.path, !self.prefix, self.rank)
    }
}

impl Mixture {
    /// That of filings for a host, of which those with a rank come from the bucket `before` and stand
    /// after the others. Looks at the others alone where that bucket was not mixed.
    fn new(host: &HostPattern, filings: &[Filing], before: Option<&Bucket>) -> Mixture {
        let fresh = || filings.iter().take_while(|filing| filing.rank.is_none());
        let first = &filings[0].rule;
        let known = before.map_or(first, Bucket::any_rule);
        let was = before.map_or_else(Mixture::default, |bucket| bucket.mixture);
        let foreign = |to: &Rule, filing: &Filing| !of_one_namespace(&filing.rule, to);
        let narrowed = |filing: &Filing| filing.rule.host.rank() < host.rank();
        // What is new about a bucket may be all that is left of it: then all are looked at.
        Mixture {
            namespaces: (was.namespaces || fresh().any(|it| foreign(known, it)))
                && filings.iter().any(|it| foreign(first, it)),
            narrowed: (was.narrowed || fresh().any(narrowed)) && filings.iter().any(narrowed),
        }
    }
}

/// Whether two rules are of objects of one namespace.
pub(crate) fn of_one_namespace(one: &Rule, other: &Rule) -> bool {
    Arc::ptr_eq(&one.route, &other.route) || one.route.key.namespace == other.route.key.namespace
}

impl Bucket {
    /// A bucket for a host of all these; those with a rank come from the bucket `before`, and stand after
    /// the others. `None` where there are none.
    pub(crate) fn new(
        host: &HostPattern,
        mut filings: Vec<Filing>,
        before: Option<&Bucket>,
    ) -> Option<Bucket> {
        if filings.is_empty() {
            return None;
        }
        let mixture = Mixture::new(host, &filings, before);
        let host = name(host).as_bytes();
        rank(&mut filings);
        // Most come from a bucket and are in order already, which makes the sort quick.
        filings.sort_by(|one, other| one.place().cmp(&other.place()));
        filings.dedup_by(|one, other| one.place() == other.place());
        let mut builder = Builder {
            nodes: Vec::new(),
            text: host.to_vec(),
        };
        builder.tree(&filings);
        let entries = filings.into_iter().map(|filing| Entry {
            rule: filing.rule,
            rank: filing.rank.unwrap_or_default(),
            certain: filing.certain,
        });
        Some(Bucket {
            nodes: builder.nodes.into(),
            text: builder.text.into(),
            entries: entries.collect(),
            host_length: position(host.len()),
            mixture,
        })
    }

    pub(crate) fn mixture(&self) -> Mixture {
        self.mixture
    }

    /// One of its rules, whichever.
    pub(crate) fn any_rule(&self) -> &Arc<Rule> {
        // A bucket is never empty.
        &self.entries[0].rule
    }

    /// The host as requests name it; of a wildcard, its suffix.
    pub(crate) fn host(&self) -> &[u8] {
        &self.text[..self.host_length as usize]
    }

    /// The same as text, which it was made of.
    pub(crate) fn name(&self) -> &str {
        std::str::from_utf8(self.host()).unwrap_or_default()
    }

    /// The first rule, in the total order, that takes the request, whose host and entry point are
    /// those of the bucket. `None` where none does, or where the `rival`, which another bucket
    /// found, comes before it.
    pub(crate) fn lookup<'r>(
        &'r self,
        request: &Request<'_>,
        rival: Option<&'r Rule>,
    ) -> Option<&'r Rule> {
        let mut search = Search {
            request,
            rival,
            best: None,
        };
        let mut rest = request.path.as_bytes();
        let mut node = &self.nodes[0];
        loop {
            search.entries(&self.entries[node.prefix.range()]);
            let Some((first, after)) = rest.split_first() else {
                search.entries(&self.entries[node.exact()]);
                break;
            };
            let children = &self.text[node.children_text()];
            let Some(child) = children.iter().position(|byte| byte == first) else {
                break;
            };
            node = &self.nodes[node.children as usize + child];
            match after.strip_prefix(&self.text[node.label.range()]) {
                Some(after) => rest = after,
                None => break,
            }
        }
        search.best.map(|best| &*best.rule)
    }

    /// What a bucket like this one can be made of, but without some of its rules.
    pub(crate) fn filings(&self, without: &HashSet<*const Rule>) -> Vec<Filing> {
        let mut filings = Vec::with_capacity(self.entries.len() + 1);
        // From the first path to the last, as the entries stand.
        let mut pending = vec![(&self.nodes[0], Vec::new())];
        while let Some((node, mut path)) = pending.pop() {
            path.extend_from_slice(&self.text[node.label.range()]);
            for (entries, prefix) in [(node.prefix.range(), true), (node.exact(), false)] {
                let kept = (self.entries[entries].iter())
                    .filter(|entry| !without.contains(&Arc::as_ptr(&entry.rule)));
                filings.extend(kept.map(|entry| Filing {
                    rank: Some(entry.rank),
                    ..Filing::new(&path, prefix, &entry.rule, entry.certain)
                }));
            }
            let first_bytes = &self.text[node.children_text()];
            let children = &self.nodes[node.children as usize..][..first_bytes.len()];
            for (child, first) in children.iter().zip(first_bytes).rev() {
                pending.push((child, [&*path, &[*first]].concat()));
            }
        }
        filings
    }
}

/// What a bucket is found by: the name, or the suffix of a wildcard; nothing for any host.
pub(crate) fn name(host: &HostPattern) -> &str {
    match host {
        HostPattern::Exact(name) | HostPattern::Wildcard(name) | HostPattern::Below(name) => name,
        HostPattern::Any => "",
    }
}

/// Numbers the rules in their total order. All filings of one rule get its number.
fn rank(filings: &mut [Filing]) {
    let mut ordered: Vec<&mut Filing> = filings.iter_mut().collect();
    ordered.sort_by(|one, other| one.precedence(other));
    let rules = ordered.chunk_by_mut(|one, next| Arc::ptr_eq(&one.rule, &next.rule));
    for (rank, filings) in (0..).zip(rules) {
        for filing in filings {
            filing.rank = Some(rank);
        }
    }
}

struct Search<'r, 'q> {
    request: &'q Request<'q>,
    rival: Option<&'r Rule>,
    best: Option<&'r Entry>,
}

impl<'r> Search<'r, '_> {
    /// Tries rules in their order, as long as they come before the best that was found so far.
    fn entries(&mut self, entries: &'r [Entry]) {
        for entry in entries {
            let outranked = self.best.is_some_and(|best| best.rank <= entry.rank)
                || (self.rival).is_some_and(|rival| rival.precedence(&entry.rule).is_lt());
            if outranked {
                return;
            }
            if entry.certain || entry.rule.accepts(self.request) {
                self.best = Some(entry);
                return;
            }
        }
    }
}

struct Builder {
    nodes: Vec<Node>,
    text: Vec<u8>,
}

/// A node to be made: filings whose paths are equal up to `end`. Nodes above have what is before
/// `start`.
#[derive(Clone, Copy)]
struct Branch<'f> {
    first: usize,
    filings: &'f [Filing],
    start: usize,
    end: usize,
}

impl Builder {
    /// Adds the nodes of filings in order, level by level.
    fn tree(&mut self, filings: &[Filing]) {
        let mut branches = vec![Branch {
            first: 0,
            filings,
            start: 0,
            end: 0,
        }];
        while let Some(branch) = branches.get(self.nodes.len()).copied() {
            self.node(branch, &mut branches);
        }
    }

    fn node<'f>(&mut self, branch: Branch<'f>, branches: &mut Vec<Branch<'f>>) {
        let Branch {
            mut first,
            filings,
            start,
            end,
        } = branch;
        let ending = filings.partition_point(|filing| filing.path.len() == end);
        let prefixes = filings[..ending].partition_point(|filing| filing.prefix);
        let label = self.text.len();
        self.text.extend_from_slice(&filings[0].path[start..end]);
        let label = Span::new(label, self.text.len());
        let children = position(branches.len());
        let prefix = Span::new(first, first + prefixes);
        first += ending;
        let exact_end = position(first);
        for filings in filings[ending..].chunk_by(|one, next| one.path[end] == next.path[end]) {
            self.text.push(filings[0].path[end]);
            branches.push(Branch {
                first,
                filings,
                start: end + 1,
                end: common_length(filings),
            });
            first += filings.len();
        }
        self.nodes.push(Node {
            label,
            children_text_end: position(self.text.len()),
            children,
            prefix,
            exact_end,
        });
    }
}

/// The length of what all paths begin with. They are sorted: it is enough to compare the first and
/// the last.
fn common_length(filings: &[Filing]) -> usize {
    let (first, last) = (&filings[0].path, &filings[filings.len() - 1].path);
    let pairs = first.iter().zip(last);
    pairs.take_while(|(one, other)| one == other).count()
}

impl Node {
    fn children_text(&self) -> Range<usize> {
        self.label.end as usize..self.children_text_end as usize
    }

    fn exact(&self) -> Range<usize> {
        self.prefix.end as usize..self.exact_end as usize
    }
}

impl Span {
    fn new(start: usize, end: usize) -> Span {
        Span {
            start: position(start),
            end: position(end),
        }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A position in an array of a bucket, in half the space. 2^32 elements would need more memory than
/// a machine has.
fn position(position: usize) -> u32 {
    u32::try_from(position).expect("the arrays of a bucket are short")
}
