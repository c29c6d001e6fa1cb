//! What the API server has of an object that makes rules: as little as writing its status needs.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::api::DynamicObject;

use crate::{
    kinds,
    names::shared,
    objects::Kind,
    report::{ConditionType, Reason},
    status::Status,
};

/// Before the name of an installation, in that of its field manager.
const MANAGER: &str = "ferrix:";

/// What the API server has of an object that makes rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) uid: Box<str>,
    pub(super) generation: Option<i64>,
    /// `metadata.resourceVersion`; 0 where it is no number.
    pub(super) version: u64,
    /// Whether it is about to go.
    pub(super) terminating: bool,
    /// What its status says: see [`digest`].
    pub(super) digest: u64,
    /// Who wrote its status; `None`: nobody, or a release that did not say.
    pub(super) installation: Option<Arc<str>>,
    /// How many replicas its status says there are.
    pub(super) count: Option<Arc<str>>,
    /// The generation that its status is about.
    pub(super) told: Option<i64>,
    /// Whether its status says that a replica is waited for.
    pub(super) pending: bool,
    transitions: Transitions,
}

/// What each condition of [`ConditionType::ALL`] is, where there is one, and since when: in seconds since
/// 1970, as statuses have no finer times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Transitions {
    states: [Option<bool>; ConditionType::ALL.len()],
    since: [i64; ConditionType::ALL.len()],
}

impl Seen {
    /// `None` for an object of a kind that makes no rules.
    pub(super) fn new(kind: Kind, object: &DynamicObject) -> Option<Self> {
        let metadata = &object.metadata;
        let status = status(kind, object)?;
        let mut seen = Self {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            generation: metadata.generation,
            version: 0,
            terminating: metadata.deletion_timestamp.is_some(),
            digest: 0,
            installation: None,
            count: None,
            told: None,
            pending: false,
            transitions: Transitions::default(),
        };
        seen.remember(&status, version(object));
        Some(seen)
    }

    /// The status that the API server has as of a version. One of before what is known says nothing:
    /// the answer to a write and the watch do not come in order.
    pub(super) fn remember(&mut self, status: &Status, version: u64) {
        if is_older(version, self.version) {
            return;
        }
        self.version = version;
        self.digest = digest(status);
        self.installation = status.installation.as_deref().map(shared);
        self.count = status.replicas.as_deref().map(shared);
        self.told = (status.conditions.first()).and_then(|it| it.observed_generation);
        self.pending = is_pending(status);
        self.transitions = Transitions::of(status);
    }

    /// Whether this was seen before another observation of the same object.
    pub(super) fn is_older_than(&self, other: &Seen) -> bool {
        self.uid == other.uid && is_older(self.version, other.version)
    }

    /// Since when a condition has this state, where it has.
    pub(super) fn since(&self, condition: ConditionType, state: bool) -> Option<Timestamp> {
        let place = ConditionType::ALL.iter().position(|it| *it == condition)?;
        let Transitions { states, since } = &self.transitions;
        let since = (states[place] == Some(state)).then_some(since[place])?;
        Timestamp::from_second(since).ok()
    }
}

impl Transitions {
    fn of(status: &Status) -> Self {
        let conditions = ConditionType::ALL.map(|it| condition(status, it));
        let since = |it: &Condition| it.last_transition_time.0.as_second();
        Self {
            states: conditions.map(|it| it.map(|it| it.status == "True")),
            since: conditions.map(|it| it.map_or(0, since)),
        }
    }
}

/// The status of an object; `None` for one of a kind that makes no rules.
pub(super) fn status(kind: Kind, object: &DynamicObject) -> Option<Status> {
    let read = kinds::of(kind)?.read_status;
    Some(read(&object.data["status"], writer(object)))
}

/// Which installation the API server has recorded as the one that wrote the status: see [`manager`].
fn writer(object: &DynamicObject) -> Option<&str> {
    let managed = object.metadata.managed_fields.as_deref()?.iter();
    let mut of_status = managed.filter(|it| it.subresource.as_deref() == Some("status"));
    of_status.find_map(|it| it.manager.as_deref()?.strip_prefix(MANAGER))
}

/// The field manager of statuses that have no place for the name of the installation.
pub(super) fn manager(installation: &str) -> String {
    format!("{MANAGER}{installation}")
}

/// `metadata.resourceVersion`; 0 where it is no number.
pub(super) fn version(object: &DynamicObject) -> u64 {
    let version = object.metadata.resource_version.as_deref();
    let version = version.and_then(|version| version.parse().ok());
    version.unwrap_or_default()
}

fn is_older(version: u64, known: u64) -> bool {
    version != 0 && version < known
}

/// Whether a status says that a replica is waited for.
pub(super) fn is_pending(status: &Status) -> bool {
    let programmed = condition(status, ConditionType::Programmed);
    programmed.is_some_and(|it| it.reason == Reason::Pending.as_str())
}

/// What a status says, but for times, for who says it, and for how many replicas there are.
pub(super) fn digest(status: &Status) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&status.entry_points, &status.addresses).hash(&mut hasher);
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
