//! What filters need besides Services and Secrets.

use std::sync::Arc;

use ferrix_table::filters::Filter;

use crate::objects::ObjectName;

/// Where a filter has keys or authorities from, where that is neither the object itself nor a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Supply {
    ConfigMap(ObjectName),
    Url(Arc<str>),
}

impl Supply {
    pub(crate) fn of<S>(filter: &Filter<S>) -> Option<Self> {
        let config_map = filter.config_map().cloned().map(Self::ConfigMap);
        config_map.or_else(|| filter.key_url().cloned().map(Self::Url))
    }

    pub(crate) fn config_map(self) -> Option<ObjectName> {
        match self {
            Self::ConfigMap(map) => Some(map),
            Self::Url(_) => None,
        }
    }

    pub(crate) fn url(&self) -> Option<&Arc<str>> {
        match self {
            Self::ConfigMap(_) => None,
            Self::Url(url) => Some(url),
        }
    }
}
