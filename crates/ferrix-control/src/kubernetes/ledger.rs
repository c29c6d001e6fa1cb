//! Which status is due: what the API server has of each object that has one, against what came of it.
//!
//! Pure: no client, no clock; and of no kind: a route is an object of any kind that has a status. A
//! status is due where it would say something else than the API server has, and then once: a route
//! that every replica takes up at once is reported by one write, not by one for each replica. What
//! another installation has written stays; what this one wrote of a route that has become another's is
//! taken back.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    backoff::{Backoff, Blame, News, pause_of_one},
    budget::Budget,
    census::{Census, Offer, Replica},
    definition::Definition,
    seen::{Seen, digest, digest_of_services, is_pending},
    statement,
};
use crate::{
    kinds,
    objects::{Key, Kind, ObjectName},
    report::{Entry, Reason, Report, Serving},
    status::{Address, Signature, Status},
};

/// How long replicas may take to confirm a version before the status says that some have not, and how
/// long a service may be without endpoints before it says that.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same for what can no longer be seen: after an outage watches do not all come back at once.
const PATIENCE_WITH_WATCHES: Duration = Duration::from_secs(8);

/// How long after the first replica the others may tell of endpoints, so that one write has what all tell.
const PATIENCE_WITH_ENDPOINTS: Duration = Duration::from_secs(5);

/// Between two statuses that are written for their count alone: at most 50 a second, however many
/// routes there are.
const BETWEEN_CORRECTIONS: Duration = Duration::from_millis(20);

/// A status to write.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) key: Key,
    /// Who writes it.
    pub(super) installation: Box<str>,
    pub(super) uid: Box<str>,
    /// The version that it is about: of no other is it true.
    pub(super) version: u64,
    /// In which version of its kind it was seen.
    pub(super) api_version: &'static str,
    /// The whole status; an empty one takes back what was written before.
    pub(super) status: Status,
    /// What went wrong and has not been told yet: reason and message.
    pub(super) events: Vec<(Reason, String)>,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The object has this version by it.
    Done(u64),
    /// The same, but the API server has no place for the name of the installation.
    Nameless(u64),
    /// The route is gone, or has another version by now: nothing to do until it is seen again.
    Obsolete,
    /// To be tried again, ever less often.
    Failed(Blame),
}

/// Another installation, which serves routes of the same class, and the first of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Other {
    pub(super) installation: Box<str>,
    pub(super) key: Key,
    pub(super) uid: Box<str>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What the statuses say that it writes.
    installation: Box<str>,
    /// Boxed, as a third of a large map is empty.
    routes: HashMap<Key, Box<Route>>,
    report: Arc<Report>,
    /// Whether there ever was one.
    reported: bool,
    census: Census,
    /// Routes to look at.
    due: HashMap<Key, Due>,
    /// The same, by the time to do so.
    queue: BTreeSet<(Instant, Key)>,
    /// Routes that some replica has not confirmed.
    unconfirmed: BTreeSet<Key>,
    in_flight: HashSet<Key>,
    leading: bool,
    /// When the next status may be written for its count alone; `None`: at any time.
    next_correction: Option<Instant>,
    backoff: Backoff,
    definition: Definition,
    /// Namespaces that are about to go, with all that is in them.
    terminating: BTreeSet<Arc<str>>,
    /// Those of which the API server has said so itself, when something was to be made in them.
    refusing: BTreeSet<Arc<str>>,
    /// The Filters that were attached above routes and are gone.
    lost: HashMap<Key, Lost>,
    /// Routes of this class that other installations have written the status of.
    others: HashMap<Key, Box<str>>,
    /// Other installations that were told of.
    told_of: BTreeSet<Box<str>>,
    /// Those that are to be told of.
    to_tell_of: Vec<Other>,
}

#[derive(Debug)]
struct Route {
    seen: Seen,
    /// The version at which its generation was first seen: replicas that have come so far serve
    /// it. Later versions differ in status only.
    since: u64,
    /// What was told about it: a hash of its problems.
    told: Option<u64>,
    budget: Budget,
    /// How often its status was refused in a row.
    refusals: u32,
}

/// What a route has lost, while nobody has edited it since.
#[derive(Debug, Default)]
struct Lost {
    generation: Option<i64>,
    filters: BTreeSet<ObjectName>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    since: Instant,
    /// Not to be looked at before.
    at: Instant,
    /// Whether `at` is its turn among those that are written for their count alone.
    turn: bool,
}

impl Due {
    fn at(since: Instant, at: Instant) -> Self {
        let turn = false;
        Self { since, at, turn }
    }
}

impl Ledger {
    /// For a replica of an installation, with these entry points.
    pub(super) fn new(installation: &str, ours: Offer) -> Self {
        Self {
            installation: installation.into(),
            census: Census::new(ours),
            ..Self::default()
        }
    }

    /// A route as the API server has it now; `None`: it is gone.
    pub(super) fn see(&mut self, key: Key, seen: Option<Seen>, now: Instant) {
        let Some(seen) = seen else {
            self.routes.remove(&key);
            self.forget(&key);
            self.unconfirmed.remove(&key);
            self.others.remove(&key);
            self.definition.forget(&key);
            self.backoff.release(&key);
            return;
        };
        let known = self.routes.get(&key);
        if known.is_some_and(|route| seen.is_older_than(&route.seen)) {
            return;
        }
        match self.routes.get_mut(&key) {
            Some(route) if route.seen.uid == seen.uid => {
                if route.seen.generation != seen.generation {
                    route.since = seen.version;
                    route.refusals = 0;
                }
                route.seen = seen;
            }
            _ => {
                let since = seen.version;
                let route = Route {
                    seen,
                    since,
                    told: None,
                    budget: Budget::default(),
                    refusals: 0,
                };
                // Nothing is made in a namespace that is about to go.
                self.refusing.remove(&key.namespace);
                self.routes.insert(key.clone(), Box::new(route));
            }
        }
        self.look_at(key, now);
    }

    /// What came of every object.
    pub(super) fn report(&mut self, report: Arc<Report>, now: Instant) {
        let before = std::mem::replace(&mut self.report, report);
        self.reported = true;
        self.take_in_losses(&before, now);
        if !self.leading {
            return;
        }
        if before.addresses != self.report.addresses {
            self.look_at_all(now);
        }
        let gone = changed_entries(&self.report, &before);
        let gone = gone.filter(|entry| self.report.get(&entry.key).is_none());
        let changed: Vec<Key> = (changed_entries(&before, &self.report).chain(gone))
            .filter(|entry| self.routes.contains_key(&entry.key))
            .map(|entry| entry.key.clone())
            .collect();
        for key in changed {
            self.look_at(key, now);
        }
    }

    /// Takes note of Filters that are gone, and of those that are back. Every replica does: one of them may
    /// be the next to write.
    fn take_in_losses(&mut self, before: &Report, now: Instant) {
        let is_there = |filter: &ObjectName| self.report.get(&filter.key(Kind::Filter)).is_some();
        for entry in changed_entries(&self.report, before) {
            let Some(after) = self.report.get(&entry.key) else {
                continue;
            };
            // Without what the settings name nothing goes on.
            let is_lost = |it: &&ObjectName| !is_there(it) && !after.attached.contains(it);
            let gone: BTreeSet<_> = entry.attached.iter().filter(is_lost).cloned().collect();
            if !gone.is_empty() {
                let lost = self.lost.entry(entry.key.clone()).or_default();
                lost.generation = after.observed_generation;
                lost.filters.extend(gone);
            }
        }
        let mut over = Vec::new();
        for (key, lost) in &mut self.lost {
            lost.filters.retain(|filter| !is_there(filter));
            let entry = self.report.get(key);
            let is_edited = entry.is_none_or(|it| it.observed_generation != lost.generation);
            if is_edited || lost.filters.is_empty() {
                over.push(key.clone());
            }
        }
        for key in over {
            self.lost.remove(&key);
            self.look_at(key, now);
        }
    }

    /// What each replica tells of itself.
    pub(super) fn replicas(&mut self, replicas: BTreeMap<Box<str>, Replica>, now: Instant) {
        let Some(differing) = self.census.take(replicas, now) else {
            return;
        };
        let mut keys = std::mem::take(&mut self.unconfirmed);
        if !differing.is_empty() {
            // Those that name a Secret of these are among them.
            keys.extend(self.report.fallbacks.routes().cloned());
            keys.extend(differing);
        }
        for key in keys {
            self.look_at(key, now);
        }
    }

    /// Whether this replica writes. Who begins to write looks at every route.
    pub(super) fn lead(&mut self, leading: bool, now: Instant) {
        self.leading = leading;
        self.due.clear();
        self.queue.clear();
        self.unconfirmed.clear();
        self.others.clear();
        self.definition = Definition::default();
        if leading {
            self.census.begin(now);
            self.look_at_all(now);
        }
    }

    /// Whether a namespace is about to go.
    pub(super) fn namespace(&mut self, name: &Arc<str>, terminating: bool) {
        match terminating {
            true => self.terminating.insert(Arc::clone(name)),
            false => self.terminating.remove(name),
        };
    }

    /// The API server makes nothing in a namespace any more, as it is about to go.
    pub(super) fn refuses(&mut self, namespace: &Arc<str>) {
        self.refusing.insert(Arc::clone(namespace));
    }

    /// What came of a write, and what there is to say about that.
    pub(super) fn written(
        &mut self,
        write: &Write,
        outcome: Written,
        now: Instant,
    ) -> Option<News> {
        let key = &write.key;
        self.in_flight.remove(key);
        let route = self.routes.get_mut(key);
        let route = route.filter(|route| route.seen.uid == write.uid);
        match outcome {
            Written::Done(version) => {
                if let Some(route) = route {
                    route.seen.remember(&write.status, version);
                    route.refusals = 0;
                }
                self.take_in_name(write, now);
                // What has changed meanwhile.
                self.look_at(key.clone(), now);
                self.backoff.succeeded(key)
            }
            Written::Nameless(version) => {
                if let Some(route) = route {
                    let status = Status {
                        installation: None,
                        ..write.status.clone()
                    };
                    route.seen.remember(&status, version);
                    route.refusals = 0;
                }
                self.definition.dropped_name(key.clone(), now);
                self.look_at(key.clone(), now);
                self.backoff.succeeded(key)
            }
            // If it is there at all, the watch has more to tell.
            Written::Obsolete => {
                if let Some(route) = route {
                    route.told = None;
                }
                self.plan(key.clone(), Due::at(now, now + PATIENCE));
                self.backoff.succeeded(key)
            }
            Written::Failed(blame) => {
                let mut pause = PATIENCE;
                if let Some(route) = route {
                    route.told = None;
                    if blame == Blame::Object {
                        pause = pause_of_one(route.refusals);
                        route.refusals = route.refusals.saturating_add(1);
                    }
                }
                self.plan(key.clone(), Due::at(now, now + pause));
                self.backoff.failed(key, blame, now)
            }
        }
    }

    /// What it means for other statuses that this one was taken as it was written.
    fn take_in_name(&mut self, write: &Write, now: Instant) {
        let form = kinds::form(write.key.kind);
        if form.is_none_or(|it| it.signature != Signature::Name) {
            return;
        }
        if write.status.installation.is_some() {
            for key in self.definition.kept_name() {
                self.look_at(key, now);
            }
        } else if !write.status.conditions.is_empty() {
            self.definition.went_without(write.key.clone());
        }
    }

    /// Whether the status of a route was refused for the first time, as it is now.
    pub(super) fn is_first_refusal(&self, key: &Key) -> bool {
        self.routes
            .get(key)
            .is_some_and(|route| route.refusals == 1)
    }

    /// At most `limit` statuses to write now.
    pub(super) fn writes(&mut self, limit: usize, now: Instant) -> Vec<Write> {
        if self.leading && self.census.has_settled(now) {
            self.look_at_all(now);
        }
        if let Some(key) = self.definition.probe(now) {
            self.look_at(key, now);
        }
        let mut writes = Vec::new();
        while writes.len() < limit
            && let Some((at, key)) = self.queue.pop_first()
        {
            if at > now {
                self.queue.insert((at, key));
                break;
            }
            let Some(due) = self.due.remove(&key) else {
                continue;
            };
            match self.write(&key, due, now) {
                Step::Nothing => {}
                Step::Wait(until) => {
                    let turn = false;
                    self.plan(
                        key,
                        Due {
                            at: until,
                            turn,
                            ..due
                        },
                    );
                }
                Step::Turn => {
                    let at = self.turn(now);
                    self.plan(
                        key,
                        Due {
                            at,
                            turn: true,
                            ..due
                        },
                    );
                }
                Step::Write(write) => {
                    self.in_flight.insert(key);
                    writes.push(*write);
                }
            }
        }
        if self.due.is_empty() {
            // Every route was in it at the start, and few ever are again.
            self.due = HashMap::new();
        }
        writes
    }

    /// Other installations that nobody was told of yet.
    pub(super) fn others_to_tell_of(&mut self) -> Vec<Other> {
        std::mem::take(&mut self.to_tell_of)
    }

    /// How many routes of this class are left to other installations.
    pub(super) fn others(&self) -> usize {
        self.others.len()
    }

    /// Whether the API server's definition of a kind is one of a release before.
    pub(super) fn is_definition_outdated(&self) -> bool {
        self.definition.is_outdated()
    }

    /// When something may be due that is not now.
    pub(super) fn next(&self) -> Option<Instant> {
        let queued = self.queue.first().map(|(at, _)| *at);
        let settled = self.census.settles().filter(|_| self.leading);
        let retries = self.definition.retries().filter(|_| self.leading);
        queued.into_iter().chain(settled).chain(retries).min()
    }

    fn write(&mut self, key: &Key, due: Due, now: Instant) -> Step {
        let (Some(route), Some(form)) = (self.routes.get_mut(key), kinds::form(key.kind)) else {
            return Step::Nothing;
        };
        self.others.remove(key);
        let namespace = &key.namespace;
        if route.seen.terminating
            || self.terminating.contains(namespace)
            || self.refusing.contains(namespace)
        {
            return Step::Nothing;
        }
        let writer = route.seen.installation.as_deref();
        let is_ours = match form.signature {
            Signature::Entries => route.seen.has_entries,
            Signature::Name | Signature::Manager => writer == Some(&*self.installation),
        };
        let by = (key, &*self.installation);
        let entry = match self.report.get(key) {
            // The report is about another version: it will come.
            Some(entry) if entry.observed_generation != route.seen.generation => {
                return Step::Nothing;
            }
            Some(entry) if statement::tells(entry) => entry,
            // Of another class by now, or attached to nothing of ours.
            Some(_) if is_ours => return route.take_back(&mut self.backoff, by, now),
            // The same, of a kind of which those that are not ours have no entry.
            None if is_ours && self.reported && form.signature == Signature::Manager => {
                let until = due.since + PATIENCE;
                return match now < until {
                    true => Step::Wait(until),
                    false => route.take_back(&mut self.backoff, by, now),
                };
            }
            Some(_) | None => return Step::Nothing,
        };
        if let Some(other) = writer.filter(|_| !is_ours) {
            let other: Box<str> = other.into();
            if self.told_of.insert(other.clone()) {
                self.to_tell_of.push(Other {
                    installation: other.clone(),
                    key: key.clone(),
                    uid: route.seen.uid.clone(),
                });
            }
            self.others.insert(key.clone(), other);
            return Step::Nothing;
        }
        if key.kind == Kind::Ingress {
            let addresses = match entry.serving {
                Serving::Nothing => Vec::new(),
                Serving::Newest | Serving::LastGood { .. } => self.report.addresses.to_vec(),
            };
            let lost = self.lost.get(key).map(|lost| &lost.filters);
            let told = statement::problems(entry, lost);
            return route.write_addresses(&mut self.backoff, by, told, addresses, now);
        }
        let bad = self.report.fallbacks.of(key);
        let count = self.census.count(entry, route.since, bad);
        let programmed = statement::is_programmed(entry);
        if !count.is_whole() {
            self.unconfirmed.insert(key.clone());
        }
        let patience = match () {
            () if statement::is_no_longer_seen(entry)
                && route.seen.told == entry.observed_generation =>
            {
                PATIENCE_WITH_WATCHES
            }
            () if !count.is_whole() && (programmed || !bad.is_empty()) => PATIENCE,
            () if statement::lacks_endpoints(entry) => PATIENCE,
            // Routes come and go in crowds, and each is counted by its Gateway: after the first, a write a
            // second tells of all, and leaves something of the budget.
            () if counts_routes(key.kind)
                && route.seen.told == entry.observed_generation
                && !route.budget.is_full(now) =>
            {
                PATIENCE
            }
            () => Duration::ZERO,
        };
        let until = due.since + patience;
        if now < until {
            return Step::Wait(until);
        }
        let lacks_name = form.signature == Signature::Name && self.definition.lacks_name();
        let signs = !lacks_name && form.signature != Signature::Entries;
        let installation = signs.then_some(&*self.installation);
        let lost = self.lost.get(key).map(|lost| &lost.filters);
        let mut status = statement::status(entry, Some(&count), &route.seen, installation);
        if let Some(lost) = lost {
            statement::add_loss(&mut status, lost, entry.observed_generation, &route.seen);
        }
        if key.kind == Kind::BackendPolicy {
            status.services = self.census.endpoints(&key.object);
        }
        let same = digest(&status) == route.seen.digest;
        let same_services = digest_of_services(&status) == route.seen.services;
        if same && lacks_name && !is_ours {
            self.definition.went_without(key.clone());
        }
        if same
            && (is_ours || lacks_name)
            && same_services
            && status.replicas.as_deref() == route.seen.count.as_deref()
        {
            route.told = Some(statement::problems(entry, lost).0);
            return Step::Nothing;
        }
        let until = due.since + PATIENCE_WITH_ENDPOINTS;
        if same && !same_services && now < until {
            return Step::Wait(until);
        }
        if same || lost.is_none() && differs_by_count(&route.seen, entry, &status) {
            // Whoever wrote before has told what is wrong.
            route.told = Some(statement::problems(entry, lost).0);
            match self.census.settles() {
                Some(settles) => return Step::Wait(settles),
                None if !due.turn => return Step::Turn,
                None => {}
            }
        }
        let (hash, events) = statement::problems(entry, lost);
        let news = route.told != Some(hash);
        let events = if news { events } else { Vec::new() };
        let step = route.write(&mut self.backoff, by, status, events, now);
        if matches!(step, Step::Write(_)) {
            route.told = Some(hash);
        }
        step
    }

    fn look_at(&mut self, key: Key, now: Instant) {
        // The end of a write looks at its route again.
        if !self.in_flight.contains(&key) {
            let since = self.due.get(&key).map_or(now, |due| due.since);
            let (at, turn) = (now, false);
            self.plan(key, Due { since, at, turn });
        }
    }

    fn look_at_all(&mut self, now: Instant) {
        let keys: Vec<_> = self.routes.keys().cloned().collect();
        for key in keys {
            self.look_at(key, now);
        }
    }

    /// The next turn among the statuses that are written for their count alone.
    fn turn(&mut self, now: Instant) -> Instant {
        let at = self.next_correction.unwrap_or(now).max(now);
        self.next_correction = Some(at + BETWEEN_CORRECTIONS);
        at
    }

    fn plan(&mut self, key: Key, due: Due) {
        self.forget(&key);
        if self.leading {
            self.queue.insert((due.at, key.clone()));
            self.due.insert(key, due);
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(due) = self.due.remove(key) {
            self.queue.remove(&(due.at, key.clone()));
        }
    }
}

enum Step {
    Nothing,
    Wait(Instant),
    /// It is due for its count alone.
    Turn,
    Write(Box<Write>),
}

impl Route {
    /// The status of a kind that has a place for addresses alone: what is wrong is told in Events.
    fn write_addresses(
        &mut self,
        backoff: &mut Backoff,
        by: (&Key, &str),
        (hash, events): (u64, Vec<(Reason, String)>),
        addresses: Vec<Address>,
        now: Instant,
    ) -> Step {
        let status = Status {
            installation: (!addresses.is_empty()).then(|| by.1.to_owned()),
            addresses,
            ..Status::default()
        };
        if digest(&status) == self.seen.digest {
            // Whoever wrote it has told what was wrong then.
            let told = self.told.replace(hash);
            if events.is_empty() || told.is_none_or(|told| told == hash) {
                return Step::Nothing;
            }
        }
        let step = self.write(backoff, by, status, events, now);
        if matches!(step, Step::Write(_)) {
            self.told = Some(hash);
        }
        step
    }

    /// Takes back what was written before, unless nothing is left of it.
    fn take_back(&mut self, backoff: &mut Backoff, by: (&Key, &str), now: Instant) -> Step {
        let nothing = statement::nothing(&self.seen);
        match digest(&nothing) == self.seen.digest {
            true => Step::Nothing,
            false => self.write(backoff, by, nothing, Vec::new(), now),
        }
    }

    /// A status to write now, or when it may be.
    fn write(
        &mut self,
        backoff: &mut Backoff,
        (key, installation): (&Key, &str),
        status: Status,
        events: Vec<(Reason, String)>,
        now: Instant,
    ) -> Step {
        // A write that is admitted is made: the budget comes first.
        let before = self.budget;
        let admitted = (self.budget.spend(now)).and_then(|()| backoff.admit(key, now));
        if let Err(until) = admitted {
            self.budget = before;
            return Step::Wait(until);
        }
        Step::Write(Box::new(Write {
            key: key.clone(),
            installation: installation.into(),
            uid: self.seen.uid.clone(),
            version: self.seen.version,
            api_version: self.seen.api_version,
            status,
            events,
        }))
    }
}

/// Whether the status of a kind has the number of what is attached.
fn counts_routes(kind: Kind) -> bool {
    matches!(kind, Kind::Gateway | Kind::ListenerSet)
}

/// Whether a status differs from the one that the API server has by nothing but replicas that have
/// come or gone since.
fn differs_by_count(seen: &Seen, entry: &Entry, next: &Status) -> bool {
    let whole = || digest(&statement::status(entry, None, seen, None));
    seen.told == entry.observed_generation
        && is_pending(next)
        && (seen.pending || whole() == seen.digest)
}

/// Entries that differ between two reports, as of the second. Both are sorted by key.
fn changed_entries<'r>(before: &'r Report, after: &'r Report) -> impl Iterator<Item = &'r Entry> {
    let mut rest = before.entries();
    after.entries().iter().filter_map(move |entry| {
        let behind = rest.iter().take_while(|it| it.key < entry.key).count();
        rest = &rest[behind..];
        let same = rest
            .first()
            .is_some_and(|it| Arc::ptr_eq(it, entry) || it == entry);
        (!same).then_some(&**entry)
    })
}

#[cfg(test)]
mod tests;
