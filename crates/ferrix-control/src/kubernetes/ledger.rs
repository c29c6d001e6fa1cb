//! Which status is due: what the API server has of each object that makes rules, against what came
//! of it.
//!
//! Pure: no client, no clock; and of no kind: a route is an object of any kind that makes rules. A
//! status is due where it would say something else than the API
//! server has, and then once: a route that every replica takes up at once is reported by one write,
//! not by one for each replica.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::api::DynamicObject;

use super::census::{Census, Count, Offer, Replica};
use crate::{
    kinds,
    objects::{Key, Kind},
    report::{ConditionType, Entry, Reason, Report},
    status::Status,
};

/// How long replicas may take to confirm a version before the status says that some have not, and how
/// long a service may be without endpoints before it says that.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two statuses that are written for their count alone: at most 50 a second, however many
/// routes there are.
const BETWEEN_CORRECTIONS: Duration = Duration::from_millis(20);

/// What the API server has of a route: as little as writing its status needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) uid: Box<str>,
    pub(super) generation: Option<i64>,
    /// `metadata.resourceVersion`.
    version: u64,
    /// What its status says: see [`digest`].
    digest: u64,
    /// How many replicas its status says there were.
    count: Option<Box<str>>,
    /// The generation that its status is about.
    told: Option<i64>,
    /// Whether its status says that a replica is waited for.
    pending: bool,
    /// The state of each condition of [`ConditionType::ALL`], and since when it has it.
    transitions: [Option<(bool, Timestamp)>; ConditionType::ALL.len()],
}

/// A status to write.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) key: Key,
    pub(super) uid: Box<str>,
    pub(super) status: Status,
    /// What went wrong and has not been told yet: reason and message.
    pub(super) events: Vec<(Reason, String)>,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// The route is gone, or is another one by now: nothing to do until it is seen again.
    Obsolete,
    /// To be tried again.
    Failed,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    routes: HashMap<Key, Route>,
    report: Arc<Report>,
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
}

#[derive(Debug)]
struct Route {
    seen: Seen,
    /// The version at which its generation was first seen: replicas that have come so far serve
    /// it. Later versions differ in status only.
    since: u64,
    /// What was told about it: a hash of its problems.
    told: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    since: Instant,
    /// Not to be looked at before.
    at: Instant,
    /// Whether `at` is its turn among those that are written for their count alone.
    turn: bool,
}

impl Seen {
    /// `None` for an object of a kind that makes no rules.
    pub(super) fn new(kind: Kind, object: &DynamicObject) -> Option<Self> {
        let metadata = &object.metadata;
        let status = (kinds::of(kind)?.read_status)(&object.data["status"]);
        let version = metadata.resource_version.as_deref();
        let mut seen = Self {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            generation: metadata.generation,
            version: version
                .and_then(|version| version.parse().ok())
                .unwrap_or_default(),
            digest: 0,
            count: None,
            told: None,
            pending: false,
            transitions: Default::default(),
        };
        seen.remember(&status);
        Some(seen)
    }

    /// Since when a condition has this state, where it has.
    fn since(&self, condition: ConditionType, state: bool) -> Option<Timestamp> {
        let mut known = ConditionType::ALL.into_iter().zip(self.transitions);
        let (_, known) = known.find(|(it, _)| *it == condition)?;
        known.filter(|(it, _)| *it == state).map(|(_, since)| since)
    }
}

impl Ledger {
    /// For a replica with these entry points.
    pub(super) fn new(ours: Offer) -> Self {
        Self {
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
            return;
        };
        match self.routes.get_mut(&key) {
            Some(route) if route.seen.uid == seen.uid => {
                if route.seen.generation != seen.generation {
                    route.since = seen.version;
                }
                route.seen = seen;
            }
            _ => {
                let since = seen.version;
                let told = None;
                self.routes.insert(key.clone(), Route { seen, since, told });
            }
        }
        self.look_at(key, now);
    }

    /// What came of every object.
    pub(super) fn report(&mut self, report: Arc<Report>, now: Instant) {
        let before = std::mem::replace(&mut self.report, report);
        if !self.leading {
            return;
        }
        let changed: Vec<Key> = changed_entries(&before, &self.report)
            .filter(|entry| self.routes.contains_key(&entry.key))
            .map(|entry| entry.key.clone())
            .collect();
        for key in changed {
            self.look_at(key, now);
        }
    }

    /// What each replica tells of itself.
    pub(super) fn replicas(&mut self, replicas: BTreeMap<Box<str>, Replica>, now: Instant) {
        if !self.census.take(replicas, now) {
            return;
        }
        for key in std::mem::take(&mut self.unconfirmed) {
            self.look_at(key, now);
        }
    }

    /// Whether this replica writes. Who begins to write looks at every route.
    pub(super) fn lead(&mut self, leading: bool, now: Instant) {
        self.leading = leading;
        self.due.clear();
        self.queue.clear();
        self.unconfirmed.clear();
        if leading {
            self.census.begin(now);
            self.look_at_all(now);
        }
    }

    /// What came of a write.
    pub(super) fn written(&mut self, write: &Write, outcome: Written, now: Instant) {
        self.in_flight.remove(&write.key);
        match outcome {
            // If it is there at all, the watch has more to tell.
            Written::Obsolete | Written::Failed => {
                let due = Due {
                    since: now,
                    at: now + PATIENCE,
                    turn: false,
                };
                self.plan(write.key.clone(), due);
            }
            Written::Done => {
                if let Some(route) = self.routes.get_mut(&write.key)
                    && route.seen.uid == write.uid
                {
                    route.seen.remember(&write.status);
                }
                // What has changed meanwhile.
                self.look_at(write.key.clone(), now);
            }
        }
    }

    /// At most `limit` statuses to write now.
    pub(super) fn writes(&mut self, limit: usize, now: Instant) -> Vec<Write> {
        if self.leading && self.census.has_settled(now) {
            self.look_at_all(now);
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
                    self.plan(key, Due { at: until, turn, ..due });
                }
                Step::Turn => {
                    let at = self.turn(now);
                    self.plan(key, Due { at, turn: true, ..due });
                }
                Step::Write(write) => {
                    self.in_flight.insert(key);
                    writes.push(*write);
                }
            }
        }
        writes
    }

    /// When something may be due that is not now.
    pub(super) fn next(&self) -> Option<Instant> {
        let queued = self.queue.first().map(|(at, _)| *at);
        let settled = self.census.settles().filter(|_| self.leading);
        queued.into_iter().chain(settled).min()
    }

    fn write(&mut self, key: &Key, due: Due, now: Instant) -> Step {
        let entry = self.report.get(key);
        let (Some(route), Some(entry)) = (self.routes.get_mut(key), entry) else {
            return Step::Nothing;
        };
        // Somebody else's, or the report is about another version: it will come.
        if entry.conditions.is_empty() || entry.observed_generation != route.seen.generation {
            return Step::Nothing;
        }
        let count = self.census.count(key, entry, route.since);
        let programmed = is_programmed(entry);
        if !count.is_whole() {
            self.unconfirmed.insert(key.clone());
        }
        let until = due.since + PATIENCE;
        let may_pass = programmed && !count.is_whole() || lacks_endpoints(entry);
        if may_pass && now < until {
            return Step::Wait(until);
        }
        let status = status(entry, Some(&count), &route.seen);
        let same = digest(&status) == route.seen.digest;
        if same && status.replicas.as_deref() == route.seen.count.as_deref() {
            route.told = Some(problems(entry).0);
            return Step::Nothing;
        }
        if same || route.seen.differs_by_count(entry, &status) {
            match self.census.settles() {
                Some(settles) => return Step::Wait(settles),
                None if !due.turn => return Step::Turn,
                None => {}
            }
        }
        let (hash, events) = problems(entry);
        let news = route.told != Some(hash);
        route.told = Some(hash);
        Step::Write(Box::new(Write {
            key: key.clone(),
            uid: route.seen.uid.clone(),
            status,
            events: if news { events } else { Vec::new() },
        }))
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

impl Seen {
    /// The status that the API server has by now.
    fn remember(&mut self, status: &Status) {
        self.digest = digest(status);
        self.count = status.replicas.as_deref().map(Into::into);
        self.told = (status.conditions.first()).and_then(|it| it.observed_generation);
        self.pending = is_pending(status);
        self.transitions = ConditionType::ALL.map(|it| {
            let condition = condition(status, it)?;
            Some((condition.status == "True", condition.last_transition_time.0))
        });
    }

    /// Whether this status differs from the one that the API server has by nothing but replicas
    /// that have come or gone since.
    fn differs_by_count(&self, entry: &Entry, next: &Status) -> bool {
        self.told == entry.observed_generation
            && is_pending(next)
            && (self.pending || digest(&status(entry, None, self)) == self.digest)
    }
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

/// The status of a route; without a count, that which it has where every replica serves it.
fn status(entry: &Entry, count: Option<&Count>, seen: &Seen) -> Status {
    let behind = count.filter(|count| !count.is_whole());
    let conditions = entry.conditions.iter().map(|condition| {
        let mut status = condition.status;
        let mut reason = condition.reason;
        let mut message = condition.message.to_string();
        let waits = matches!(
            condition.condition,
            ConditionType::Programmed | ConditionType::Ready
        );
        if let Some(count) = behind
            && waits
            && status
        {
            status = false;
            reason = Reason::Pending;
            message = count.pending();
        }
        let since = seen.since(condition.condition, status);
        Condition {
            type_: condition.condition.as_str().to_owned(),
            status: if status { "True" } else { "False" }.to_owned(),
            reason: reason.as_str().to_owned(),
            message,
            observed_generation: condition.observed_generation,
            last_transition_time: Time(since.unwrap_or_else(Timestamp::now)),
        }
    });
    Status {
        entry_points: entry.entry_points.to_vec(),
        replicas: count.filter(|_| is_programmed(entry)).map(Count::to_string),
        conditions: conditions.collect(),
    }
}

/// Whether a replica that has come so far serves the newest version.
fn is_programmed(entry: &Entry) -> bool {
    let mut conditions = entry.conditions.iter();
    conditions.all(|it| it.condition != ConditionType::Programmed || it.status)
}

/// Whether endpoints are all that is missing, which passes in a moment where pods are replaced.
fn lacks_endpoints(entry: &Entry) -> bool {
    let ready = entry.condition(ConditionType::Ready);
    ready.is_some_and(|it| it.reason == Reason::NoEndpoints)
}

/// Whether a status says that a replica is waited for.
fn is_pending(status: &Status) -> bool {
    let programmed = condition(status, ConditionType::Programmed);
    programmed.is_some_and(|it| it.reason == Reason::Pending.as_str())
}

/// What a status says, but for times, and for how many replicas there were: see [`Census`].
fn digest(status: &Status) -> u64 {
    let mut hasher = DefaultHasher::new();
    status.entry_points.hash(&mut hasher);
    for it in ConditionType::ALL {
        condition(status, it)
            .map(|it| (&it.status, &it.reason, &it.message, it.observed_generation))
            .hash(&mut hasher);
    }
    hasher.finish()
}

fn condition(status: &Status, condition: ConditionType) -> Option<&Condition> {
    let mut conditions = status.conditions.iter();
    conditions.find(|it| it.type_ == condition.as_str())
}

/// What is wrong with a route, and a hash of it.
fn problems(entry: &Entry) -> (u64, Vec<(Reason, String)>) {
    let wrong = entry
        .conditions
        .iter()
        .filter(|condition| !condition.status);
    // That a route is not programmed follows from what else is wrong, and what sums up or is about
    // another condition repeats it.
    let first = wrong.filter(|it| {
        it.condition != ConditionType::Programmed && it.reason.condition() == Some(it.condition)
    });
    let problems: Vec<_> = first
        .map(|condition| (condition.reason, condition.message.to_string()))
        .collect();
    let mut hasher = DefaultHasher::new();
    problems.hash(&mut hasher);
    (hasher.finish(), problems)
}

#[cfg(test)]
mod tests;
