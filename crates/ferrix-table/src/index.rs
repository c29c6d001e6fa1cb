//! From a request to its rule.
//!
//! Every entry point has a bucket of rules for each host, and a rule is in the buckets of all hosts
//! that it can match. A look-up asks at most three buckets: that of the exact host, that of the
//! wildcard above it, and that for any host; and where the entry point has wildcards for several
//! labels, those of all domains above. Of their answers, the first in the total order wins.
//!
//! A new index is made from an earlier one. Only the buckets of rules that come or go are built
//! again; both share the others.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use ferrix_rule::PathConstraint;

use crate::{
    Request,
    bucket::{self, Bucket, Filing, of_one_namespace},
    ids::EntryPointIndex,
    reach::Reach,
    rules::{HostPattern, Rule, domains, parent_domain},
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    entry_points: Vec<Arc<Hosts>>,
}

/// The buckets of one entry point.
#[derive(Clone, Debug, Default)]
struct Hosts {
    exact: Buckets,
    wildcard: Buckets,
    below: Buckets,
    any: Option<Arc<Bucket>>,
}

/// The buckets that are asked for the requests of one host on one entry point.
pub(crate) struct Contest<'i> {
    /// That of the host itself.
    pub(crate) own: &'i Bucket,
    /// Those of the wildcards above it, where one has rules of another namespace than the other.
    pub(crate) above: Vec<&'i Bucket>,
    /// The same for that of any host, where rules of the host can lose to its.
    pub(crate) everywhere: Option<&'i Bucket>,
}

/// Clients choose which hosts are looked up, but cannot add any, so they cannot make entries
/// collide: a fast hash with a random seed is safe enough.
type Buckets = HashSet<ByHost, foldhash::fast::RandomState>;

/// A bucket, found by its host.
#[derive(Clone, Debug)]
struct ByHost(Arc<Bucket>);

impl Borrow<[u8]> for ByHost {
    fn borrow(&self) -> &[u8] {
        self.0.host()
    }
}

impl Hash for ByHost {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.host().hash(state);
    }
}

impl PartialEq for ByHost {
    fn eq(&self, other: &Self) -> bool {
        self.0.host() == other.0.host()
    }
}

impl Eq for ByHost {}

impl Index {
    /// The same index without some of its rules, and with others.
    pub(crate) fn with(&self, gone: &[Arc<Rule>], fresh: &[Arc<Rule>]) -> Index {
        let mut touched: BTreeMap<(EntryPointIndex, HostPattern), Vec<Filing>> = BTreeMap::new();
        let serves = |rule: &&Arc<Rule>| !rule.is_dry_run();
        for rule in gone.iter().filter(serves) {
            for host in Reach::hosts_of(rule).iter() {
                for entry_point in &rule.entry_points {
                    touched.entry((*entry_point, host.clone())).or_default();
                }
            }
        }
        for rule in fresh.iter().filter(serves) {
            let reach = Reach::new(rule);
            for host in reach.hosts.iter() {
                for entry_point in &rule.entry_points {
                    let place = (*entry_point, host.clone());
                    file(touched.entry(place).or_default(), rule, &reach);
                }
            }
        }
        let gone: HashSet<*const Rule> = gone.iter().map(Arc::as_ptr).collect();
        let mut index = self.clone();
        for ((entry_point, host), mut filings) in touched {
            let hosts = index.entry_point(entry_point);
            if let Some(bucket) = hosts.bucket(&host) {
                filings.append(&mut bucket.filings(&gone));
            }
            hosts.put(&host, filings);
        }
        index
    }

    pub(crate) fn lookup(
        &self,
        entry_point: EntryPointIndex,
        request: &Request<'_>,
    ) -> Option<&Rule> {
        let hosts = self.entry_points.get(usize::from(entry_point))?;
        let host = request.host.as_bytes();
        let mut best = None;
        if let Some(ByHost(bucket)) = hosts.exact.get(host) {
            best = bucket.lookup(request, best);
        }
        if !hosts.wildcard.is_empty()
            && let Some(name) = parent_domain(request.host)
            && let Some(ByHost(bucket)) = hosts.wildcard.get(name.as_bytes())
        {
            best = bucket.lookup(request, best).or(best);
        }
        if !hosts.below.is_empty() {
            for domain in domains(request.host) {
                if let Some(ByHost(bucket)) = hosts.below.get(domain.as_bytes()) {
                    best = bucket.lookup(request, best).or(best);
                }
            }
        }
        if let Some(bucket) = &hosts.any {
            best = bucket.lookup(request, best).or(best);
        }
        best
    }

    /// The rules that compete for the requests of a host, where they are of several namespaces.
    pub(crate) fn contest(
        &self,
        entry_point: EntryPointIndex,
        host: &HostPattern,
    ) -> Option<Contest<'_>> {
        let hosts = self.entry_points.get(usize::from(entry_point))?;
        hosts.contest(host)
    }

    /// Every host that there is a contest for, on any entry point.
    pub(crate) fn contested(&self) -> BTreeSet<HostPattern> {
        let hosts = self.entry_points.iter().flat_map(|hosts| {
            let wildcards = !hosts.wildcard.is_empty() || !hosts.below.is_empty();
            let alone = !wildcards && hosts.any.is_none();
            let perhaps = hosts.those(|bucket| !alone || bucket.mixture().namespaces);
            let perhaps = perhaps.into_iter();
            perhaps.filter(move |host| hosts.contest(host).is_some())
        });
        hosts.collect()
    }

    /// The hosts whose rules compete with those of wider ones among these, which have changed; and
    /// perhaps others in the domains of these.
    pub(crate) fn below(&self, changed: &BTreeSet<HostPattern>) -> Vec<HostPattern> {
        let any = changed.contains(&HostPattern::Any);
        let wide: HashSet<&str> = (changed.iter())
            .filter(|host| !matches!(host, HostPattern::Exact(_)))
            .filter_map(HostPattern::domain)
            .collect();
        if !any && wide.is_empty() {
            return Vec::new();
        }
        let is_below = |bucket: &Bucket| {
            let name = bucket.name();
            any && bucket.mixture().narrowed
                || wide.contains(name)
                || domains(name).any(|it| wide.contains(it))
        };
        let hosts = self.entry_points.iter();
        hosts.flat_map(|hosts| hosts.those(is_below)).collect()
    }

    /// Every entry point with rules, and perhaps others.
    pub(crate) fn entry_points(&self) -> impl Iterator<Item = EntryPointIndex> {
        (0..=EntryPointIndex::MAX).take(self.entry_points.len())
    }

    /// The hosts of an entry point, to be changed.
    fn entry_point(&mut self, entry_point: EntryPointIndex) -> &mut Hosts {
        let entry_point = usize::from(entry_point);
        if self.entry_points.len() <= entry_point {
            self.entry_points.resize_with(entry_point + 1, Arc::default);
        }
        Arc::make_mut(&mut self.entry_points[entry_point])
    }
}

fn file(filings: &mut Vec<Filing>, rule: &Arc<Rule>, reach: &Reach) {
    let filing = |path: &str, prefix| Filing::new(path.as_bytes(), prefix, rule, reach.whole);
    match &reach.paths {
        None => filings.push(filing("", true)),
        Some(paths) => filings.extend(paths.iter().map(|path| match path {
            PathConstraint::Exact(path) => filing(path, false),
            PathConstraint::Prefix(path) => filing(path, true),
        })),
    }
}

impl Hosts {
    fn bucket(&self, host: &HostPattern) -> Option<&Bucket> {
        match host {
            HostPattern::Exact(name) => self.exact.get(name.as_bytes()).map(|it| &*it.0),
            HostPattern::Wildcard(suffix) => self.wildcard.get(suffix.as_bytes()).map(|it| &*it.0),
            HostPattern::Below(suffix) => self.below.get(suffix.as_bytes()).map(|it| &*it.0),
            HostPattern::Any => self.any.as_deref(),
        }
    }

    /// Gives a host a bucket of these filings, in place of any that it had.
    #[expect(
        clippy::mutable_key_type,
        reason = "the key is the name of the host, which does not change"
    )]
    fn put(&mut self, host: &HostPattern, filings: Vec<Filing>) {
        let bucket = Bucket::new(host, filings, self.bucket(host)).map(Arc::new);
        let buckets = match host {
            HostPattern::Exact(_) => &mut self.exact,
            HostPattern::Wildcard(_) => &mut self.wildcard,
            HostPattern::Below(_) => &mut self.below,
            HostPattern::Any => {
                self.any = bucket;
                return;
            }
        };
        match bucket {
            Some(bucket) => drop(buckets.replace(ByHost(bucket))),
            None => drop(buckets.remove(bucket::name(host).as_bytes())),
        }
    }

    /// The hosts whose bucket passes a test.
    fn those(&self, test: impl Fn(&Bucket) -> bool) -> Vec<HostPattern> {
        let name = |ByHost(bucket): &ByHost| -> Arc<str> { bucket.name().into() };
        let exact = self.exact.iter().filter(|ByHost(bucket)| test(bucket));
        let wildcard = self.wildcard.iter().filter(|ByHost(bucket)| test(bucket));
        let below = self.below.iter().filter(|ByHost(bucket)| test(bucket));
        let any = self.any.iter().filter(|bucket| test(bucket));
        (exact.map(|it| HostPattern::Exact(name(it))))
            .chain(wildcard.map(|it| HostPattern::Wildcard(name(it))))
            .chain(below.map(|it| HostPattern::Below(name(it))))
            .chain(any.map(|_| HostPattern::Any))
            .collect()
    }

    fn contest(&self, host: &HostPattern) -> Option<Contest<'_>> {
        let own = self.bucket(host)?;
        let above = host.wider().filter(|it| *it != HostPattern::Any);
        let above = above.filter_map(|it| self.bucket(&it));
        // Routes for any host are the last to be asked: only rules of such routes lose to theirs.
        let narrowed = own.mixture().narrowed && *host != HostPattern::Any;
        let everywhere = self.any.as_deref().filter(|_| narrowed);
        let foreign = |wider: &&Bucket| {
            own.mixture().namespaces
                || wider.mixture().namespaces
                || !of_one_namespace(own.any_rule(), wider.any_rule())
        };
        let contest = Contest {
            own,
            above: above.filter(foreign).collect(),
            everywhere: everywhere.filter(foreign),
        };
        let contested =
            own.mixture().namespaces || !contest.above.is_empty() || contest.everywhere.is_some();
        contested.then_some(contest)
    }
}
