//! `XBackendTrafficPolicy`: which requests to a Service are sent once more, and which stay together.
//!
//! Of the experimental channel alone, in a group of its own.

use serde::{Deserialize, Serialize};

use super::session::SessionPersistence;

/// The group of kinds that only the experimental channel has.
pub const EXPERIMENTAL_GROUP: &str = "gateway.networking.x-k8s.io";

/// `spec` of an XBackendTrafficPolicy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTrafficPolicySpec {
    /// What it is for: Services of its namespace.
    pub target_refs: Vec<LocalTargetReference>,
    /// How many requests may be sent once more. Absent: as many as rules ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_constraint: Option<RetryConstraint>,
    /// How requests of one client are kept to one endpoint, where their rule says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// An object that a policy is for (`LocalPolicyTargetReference`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct LocalTargetReference {
    /// Empty for Services.
    pub group: String,
    /// `Service`.
    pub kind: String,
    /// The name of the object.
    pub name: String,
}

/// How many requests may be sent once more.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryConstraint {
    /// A share of all requests.
    #[serde(default)]
    pub budget: RetryBudgetDetails,
    /// So many in any case.
    #[serde(default)]
    pub min_retry_rate: RequestRate,
}

/// A share of the requests of a time (`BudgetDetails`).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct RetryBudgetDetails {
    /// From 0 to 100.
    pub percent: i64,
    /// A time such as `10s`.
    pub interval: String,
}

/// So many requests in a time.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct RequestRate {
    /// From 1 to 1000000.
    pub count: i64,
    /// A time such as `1s`.
    pub interval: String,
}

impl Default for RetryBudgetDetails {
    fn default() -> Self {
        Self {
            percent: 20,
            interval: "10s".to_owned(),
        }
    }
}

impl Default for RequestRate {
    fn default() -> Self {
        Self {
            count: 10,
            interval: "1s".to_owned(),
        }
    }
}
