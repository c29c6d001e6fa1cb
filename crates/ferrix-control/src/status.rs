//! A status as it stands in an object, in the words that all kinds share. Each kind's file knows the
//! form that its objects have it in.

use std::net::IpAddr;

use ferrix_api::{
    backendpolicy::ServiceEndpoints,
    filter::UsedBy,
    gateway::{ParentReference, RouteKind},
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use serde_json::Value;

/// A status as it stands in an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Status {
    /// The installation that wrote it: the namespace and the name of its Lease. `None`: one of a release that did not say.
    pub(crate) installation: Option<String>,
    /// The entry points that serve the object.
    pub(crate) entry_points: Vec<String>,
    /// How many replicas of how many serve this generation, such as `2/2`; `None` where none is
    /// expected to.
    pub(crate) replicas: Option<String>,
    pub(crate) conditions: Vec<Condition>,
    /// Where clients reach what serves the object; of kinds that have a place for it.
    pub(crate) addresses: Vec<Address>,
    /// What has conditions of its own.
    pub(crate) parts: Vec<Part>,
    /// How many ListenerSets are attached; of a Gateway.
    pub(crate) attached_listener_sets: Option<u32>,
    /// Who passes requests through it; of a Filter.
    pub(crate) used_by: Option<UsedBy>,
    /// How the endpoints of its Services are; of a BackendPolicy.
    pub(crate) services: Vec<ServiceEndpoints>,
    /// What the controller can do; of a GatewayClass.
    pub(crate) features: Vec<String>,
    /// Entries of other controllers, as they are: of kinds where each writes its own.
    pub(crate) foreign: Vec<Value>,
}

/// A part of a status that has conditions of its own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) of: PartOf,
    pub(crate) conditions: Vec<Condition>,
}

/// What a part is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PartOf {
    /// A parent of a route, or a Gateway for which a policy matters.
    Parent(ParentReference),
    /// A listener.
    Listener {
        name: String,
        supported_kinds: Vec<RouteKind>,
        attached_routes: u32,
    },
}

/// Who writes a status, or has written one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'w> {
    /// The installation, as the API server has recorded it where the status has no place for its name.
    pub(crate) installation: Option<&'w str>,
    /// The name that entries of this controller bear.
    pub(crate) controller: &'w str,
}

/// How a status says who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    /// It names the installation.
    Name,
    /// The API server's record of writers does.
    Manager,
    /// Each entry names the controller that wrote it.
    Entries,
}

pub(crate) type Write = fn(&Status, &Writer<'_>) -> Value;

pub(crate) type Read = fn(&Value, &Writer<'_>) -> Status;

/// The form that the statuses of a kind have in its objects.
pub(crate) struct Form {
    pub(crate) write: Write,
    /// One that does not fit counts as none.
    pub(crate) read: Read,
    pub(crate) signature: Signature,
}

/// A condition, but for the time of its last change.
pub(crate) fn timeless(
    (condition, status): (&str, bool),
    reason: &str,
    message: String,
    observed_generation: Option<i64>,
) -> Condition {
    Condition {
        type_: condition.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

impl Status {
    /// Each condition, with what it is about; `None`: the object.
    pub(crate) fn all_conditions(&self) -> impl Iterator<Item = (Option<&PartOf>, &Condition)> {
        let own = self.conditions.iter().map(|it| (None, it));
        own.chain((self.parts.iter()).flat_map(|part| {
            let conditions = part.conditions.iter();
            conditions.map(|it| (Some(&part.of), it))
        }))
    }
}

/// Where clients reach Ferrix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// An address.
    Ip(Box<str>),
    /// A name that is looked up.
    Hostname(Box<str>),
}

impl Address {
    /// What a text means.
    pub(crate) fn of(text: &str) -> Self {
        match text.parse::<IpAddr>() {
            Ok(_) => Self::Ip(text.into()),
            Err(_) => Self::Hostname(text.into()),
        }
    }
}
