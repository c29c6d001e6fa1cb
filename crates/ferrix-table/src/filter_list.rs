//! Filters, and where they are written: in a rule, or in an object that rules name.

use std::sync::Arc;

use crate::{
    filters::{Filter, Reference},
    object::ObjectName,
};

/// Filters that are written in one place, in their order.
///
/// `S`: see [`Filter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterList<S = Reference> {
    /// Where.
    pub source: Source,
    /// The filters. Rules that name one object share its list.
    pub filters: Arc<[Filter<S>]>,
}

/// Where filters are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the object of the rule.
    Rule,
    /// In this Filter, which the rule names.
    Named(ObjectName),
}

impl<S> FilterList<S> {
    /// Filters that are written in the rule itself.
    pub fn of_rule(filters: impl Into<Arc<[Filter<S>]>>) -> Self {
        Self {
            source: Source::Rule,
            filters: filters.into(),
        }
    }

    /// The same with other services in the place of those that filters refer to.
    pub fn with_services<T>(&self, mut service: impl FnMut(&S) -> T) -> FilterList<T> {
        let filters = self.filters.iter();
        FilterList {
            source: self.source.clone(),
            filters: filters.map(|it| it.with_service(&mut service)).collect(),
        }
    }
}

impl Source {
    /// After what a filter does, for a person: which object says so. Empty for the rule itself.
    pub fn note(&self) -> String {
        match self {
            Source::Rule => String::new(),
            Source::Named(filter) => format!(" (Filter {filter})"),
        }
    }
}
