//! One version of an object of which the whole spec is kept.

use std::sync::Arc;

use ferrix_table::rules::Route;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    draft,
    objects::{Key, Kind, Origin},
    seniority::Seniority,
};

/// One version of an object.
#[derive(Clone, Debug)]
pub(crate) struct Version<Spec> {
    /// Its key and its age.
    pub(crate) route: Arc<Route>,
    pub(crate) origin: Origin,
    /// `metadata.generation`.
    pub(crate) generation: Option<i64>,
    pub(crate) spec: Spec,
}

impl<Spec> Version<Spec> {
    pub(crate) fn new(kind: Kind, metadata: &ObjectMeta, origin: Origin, spec: Spec) -> Self {
        Self {
            route: draft::route(kind, metadata),
            origin,
            generation: metadata.generation,
            spec,
        }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.route.key
    }

    /// Its place among others.
    pub(crate) fn seniority(&self) -> Seniority {
        Seniority::of(&self.route)
    }
}

/// Whether two say the same.
impl<Spec: PartialEq> PartialEq for Version<Spec> {
    fn eq(&self, other: &Self) -> bool {
        self.route.key == other.route.key
            && self.route.created == other.route.created
            && self.origin == other.origin
            && self.generation == other.generation
            && self.spec == other.spec
    }
}
