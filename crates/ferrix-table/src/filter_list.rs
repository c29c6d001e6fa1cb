//! Filters, and where they are written: in a rule, or in an object that rules name.

use std::{fmt, sync::Arc};

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
    /// In this Filter, which is attached to something that the rule is part of.
    Attached(ObjectName, Level),
}

/// What filters are attached to. Requests pass those of the first first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The entry point that they come in by.
    EntryPoint,
    /// The Gateway.
    Gateway,
    /// A ListenerSet, or a listener of it or of the Gateway.
    Listener,
    /// The namespace of the route.
    Namespace,
    /// The route.
    Route,
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
            Source::Attached(filter, level) => format!(" (Filter {filter}, of the {level})"),
        }
    }

    /// The Filter that they are written in.
    pub fn filter(&self) -> Option<&ObjectName> {
        match self {
            Source::Rule => None,
            Source::Named(filter) | Source::Attached(filter, _) => Some(filter),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::EntryPoint => "entry point",
            Level::Gateway => "Gateway",
            Level::Listener => "listener",
            Level::Namespace => "namespace",
            Level::Route => "route",
        })
    }
}
