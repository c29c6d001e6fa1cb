//! What the API server has of an object that makes rules: as little as writing its status needs.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::api::DynamicObject;
use serde_json::Value;

use crate::{
    gateway_status, kinds,
    names::shared,
    objects::Kind,
    report::{ConditionType, Reason},
    status::{PartOf, Status, Writer},
};

/// Before the name of an installation, in that of its field manager.
const MANAGER: &str = "ferrix:";

/// What the API server has of an object that makes rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The version of the kind that it was seen in, such as `v1`.
    pub(super) api_version: &'static str,
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
    /// How its status says that endpoints are: see [`digest_of_services`].
    pub(super) services: u64,
    /// The generation that its status is about.
    pub(super) told: Option<i64>,
    /// Whether its status says that a replica is waited for.
    pub(super) pending: bool,
    /// Entries of other controllers in its status.
    pub(super) foreign: Box<[Value]>,
    /// Whether its status has conditions of ours: of kinds where each controller writes its own entries.
    pub(super) has_entries: bool,
    transitions: Transitions,
}

/// Since when each condition is what it is, by [`transition`]: in seconds since 1970, as statuses have no
/// finer times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Transitions(Box<[(u64, i64)]>);

impl Seen {
    /// As a controller of this name sees it, in a version of its kind. `None` for an object of a kind whose
    /// status is written by nobody here.
    pub(super) fn new(
        (kind, api_version): (Kind, &'static str),
        object: &DynamicObject,
        controller: &str,
    ) -> Option<Self> {
        let metadata = &object.metadata;
        let status = status(kind, object, controller)?;
        let mut seen = Self {
            api_version,
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            generation: metadata.generation,
            version: 0,
            terminating: metadata.deletion_timestamp.is_some(),
            digest: 0,
            installation: None,
            count: None,
            services: 0,
            told: None,
            pending: false,
            foreign: Box::default(),
            has_entries: false,
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
        self.services = digest_of_services(status);
        let told = status.all_conditions();
        // What is said of a version that serves in place of the newest is of that.
        self.told = told.filter_map(|(_, it)| it.observed_generation).max();
        self.pending = is_pending(status);
        self.foreign = status.foreign.as_slice().into();
        self.has_entries = !status.parts.is_empty();
        self.transitions = Transitions::of(status);
    }

    /// Whether this was seen before another observation of the same object.
    pub(super) fn is_older_than(&self, other: &Seen) -> bool {
        self.uid == other.uid && is_older(self.version, other.version)
    }

    /// Since when a condition has this state, where it has; of a part, or of the object.
    pub(super) fn since(
        &self,
        part: Option<&PartOf>,
        condition: &str,
        state: &str,
    ) -> Option<Timestamp> {
        let transition = transition(part, condition, state);
        let mut known = self.transitions.0.iter();
        let (_, since) = known.find(|(known, _)| *known == transition)?;
        Timestamp::from_second(*since).ok()
    }
}

impl Transitions {
    fn of(status: &Status) -> Self {
        let transitions = status.all_conditions().map(|(part, it)| {
            let since = it.last_transition_time.0.as_second();
            (transition(part, &it.type_, &it.status), since)
        });
        Self(transitions.collect())
    }
}

/// What stands for a condition that has a state.
fn transition(part: Option<&PartOf>, condition: &str, state: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (place(part), condition, state).hash(&mut hasher);
    hasher.finish()
}

/// What tells a part apart from others of its status.
fn place(part: Option<&PartOf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match part {
        None => {}
        Some(PartOf::Parent(parent)) => parent.hash(&mut hasher),
        Some(PartOf::Listener { name, .. }) => name.hash(&mut hasher),
    }
    hasher.finish()
}

/// The status of an object, as a controller of this name sees it; `None` for one of a kind whose status is
/// written by nobody here.
pub(super) fn status(kind: Kind, object: &DynamicObject, controller: &str) -> Option<Status> {
    let writer = Writer {
        installation: recorded(object),
        controller,
    };
    Some((kinds::form(kind)?.read)(&object.data["status"], &writer))
}

/// Which installation the API server has recorded as the one that wrote the status: see [`manager`].
fn recorded(object: &DynamicObject) -> Option<&str> {
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
    let mut conditions = status.all_conditions();
    conditions.any(|(_, it)| {
        let counts = it.type_ == ConditionType::Programmed.as_str()
            || it.type_ == gateway_status::PROGRAMMED;
        counts && it.status == "False" && it.reason == Reason::Pending.as_str()
    })
}

/// How a status says that the endpoints of Services are; 0: it says nothing.
pub(super) fn digest_of_services(status: &Status) -> u64 {
    if status.services.is_empty() {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    status.services.hash(&mut hasher);
    hasher.finish()
}

/// What a status says, but for times, for who says it, for how many replicas there are and how endpoints are.
pub(super) fn digest(status: &Status) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&status.entry_points, &status.addresses).hash(&mut hasher);
    (status.attached_listener_sets, &status.features).hash(&mut hasher);
    status.used_by.hash(&mut hasher);
    let mut told: Vec<_> = (status.all_conditions())
        .filter(|(part, it)| part.is_some() || is_known(&it.type_))
        .map(|(part, it)| (place(part), said(it)))
        .collect();
    told.sort_unstable();
    told.hash(&mut hasher);
    let listeners = status.parts.iter().filter_map(|part| match &part.of {
        PartOf::Parent(_) => None,
        PartOf::Listener {
            name,
            supported_kinds,
            attached_routes,
        } => {
            let kinds: Vec<_> = supported_kinds
                .iter()
                .map(|it| (&it.group, &it.kind))
                .collect();
            Some((name, kinds, attached_routes))
        }
    });
    let mut listeners: Vec<_> = listeners.collect();
    listeners.sort_unstable();
    listeners.hash(&mut hasher);
    let mut parents: Vec<_> = (status.parts.iter())
        .map(|part| place(Some(&part.of)))
        .collect();
    parents.sort_unstable();
    parents.hash(&mut hasher);
    hasher.finish()
}

/// What a condition says.
fn said(condition: &Condition) -> (&str, &str, &str, &str, Option<i64>) {
    let Condition {
        type_,
        status,
        reason,
        message,
        observed_generation,
        ..
    } = condition;
    // It has the number of replicas.
    let counts = type_ == gateway_status::PROGRAMMED && status == "True";
    let message = if counts { "" } else { message };
    (type_, status, reason, message, *observed_generation)
}

/// Whether a condition of an object is one of those that are written here.
fn is_known(condition: &str) -> bool {
    let mut known = ConditionType::ALL.iter();
    known.any(|it| it.as_str() == condition) || gateway_status::is_known(condition)
}
