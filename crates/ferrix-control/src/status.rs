//! A status as it stands in an object, in the words that all kinds share. Each kind's file knows the
//! form that its objects have it in.

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
}
