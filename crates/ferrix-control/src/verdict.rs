//! What is told in the status of an object beside its conditions: of one of the Gateway API, in the words
//! of its specification.
//!
//! Times, and how far each replica has come, are the writer's to add; the generation that everything
//! here is about is that of the report's entry.

use std::borrow::Cow;

use ferrix_api::{
    filter::UsedBy,
    gateway::{GatewayAddress, ParentReference},
};
use serde::{Serialize, Serializer};

use crate::objects::Kind;

/// What is told of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Of a Filter: who passes requests through it.
    Filter(UsedBy),
    /// Of a GatewayClass.
    GatewayClass(ClassVerdict),
    /// Of a Gateway.
    Gateway(GatewayVerdict),
    /// Of a ListenerSet.
    ListenerSet(ListenerSetVerdict),
    /// Of a route of any kind: of each parent that is ours, in the order of the route.
    Route(Box<[ParentVerdict]>),
    /// Of a policy: of each Gateway for which it matters.
    Policy(Box<[ParentVerdict]>),
}

/// What is told of a GatewayClass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassVerdict {
    /// `Accepted`.
    pub conditions: Box<[Condition]>,
    /// Whether retries of HTTPRoutes are among what is supported: where the API server keeps them.
    pub retries: bool,
}

/// What is told of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GatewayVerdict {
    /// Where it is reached.
    pub addresses: Box<[GatewayAddress]>,
    /// `Accepted`, `Programmed`, `ResolvedRefs` and, where that is so, `InsecureFrontendValidationMode`.
    pub conditions: Box<[Condition]>,
    /// Of each of its own listeners, in its order.
    pub listeners: Box<[ListenerVerdict]>,
    /// How many ListenerSets are accepted.
    pub attached_listener_sets: u32,
}

/// What is told of a ListenerSet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerSetVerdict {
    /// `Accepted` and `Programmed`.
    pub conditions: Box<[Condition]>,
    /// Of each listener, in its order; of none where it may not attach.
    pub listeners: Box<[ListenerVerdict]>,
}

/// What is told of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerVerdict {
    /// Its name.
    pub name: String,
    /// The kinds of routes that may attach.
    pub supported_kinds: Box<[Kind]>,
    /// How many routes are attached.
    pub attached_routes: u32,
    /// `Accepted`, `Programmed`, `ResolvedRefs`, `Conflicted` and, where that is so,
    /// `OverlappingTLSConfig`.
    pub conditions: Box<[Condition]>,
}

/// What is told of a route at a parent, or of a policy at a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ParentVerdict {
    /// As the route names it.
    pub parent: ParentReference,
    /// `Accepted` and `ResolvedRefs`.
    pub conditions: Box<[Condition]>,
}

/// A condition, but for the time of its last change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub condition: &'static str,
    /// `True` or `False`; never unknown.
    #[serde(serialize_with = "true_or_false")]
    pub status: bool,
    /// Why, for programs: a reason of the specification.
    pub reason: &'static str,
    /// Why, and what to do, for people.
    pub message: Cow<'static, str>,
    /// The generation that it is about, where that is not the newest.
    #[serde(rename = "observedGeneration", skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

impl Condition {
    pub(crate) fn new(
        condition: &'static str,
        status: bool,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            condition,
            status,
            reason,
            message: message.into(),
            generation: None,
        }
    }
}

fn true_or_false<S: Serializer>(status: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match status {
        true => "True",
        false => "False",
    })
}
