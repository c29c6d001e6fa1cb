//! A status as it stands in an object, in the words that all kinds share. Each kind's file knows the
//! form that its objects have it in.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

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
