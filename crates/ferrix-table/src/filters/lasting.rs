//! What filters remember from one request to the next.
//!
//! Tables come and go, and a limit or a cache must not begin anew with each of them. So a filter that
//! remembers anything has a [`Lasting`] among its data, which names the filter. As a table is published,
//! it is connected with what an earlier version of the same filter has left, and from then on a request
//! follows one pointer. What no table has any more is freed with the last that had it.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock, Weak},
};

use crate::object::Key;

/// What identifies a filter from one version of its object to the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilterId {
    /// The object that it is written in.
    pub object: Key,
    /// Where it stands there. Filters of a list are counted among those of their own name, so that
    /// others may come before it and go.
    pub place: Arc<str>,
}

/// The state of a filter, shared by all versions of it. `T` begins as its default, and hands itself out
/// to many threads at once.
pub struct Lasting<T> {
    id: FilterId,
    state: OnceLock<Arc<T>>,
}

/// `KIND NAMESPACE/NAME: PLACE`.
impl fmt::Display for FilterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.place)
    }
}

impl<T> Lasting<T> {
    /// The state of this filter, which nothing is known of yet.
    pub fn new(id: FilterId) -> Self {
        Self {
            id,
            state: OnceLock::new(),
        }
    }

    /// Whose state it is.
    pub fn id(&self) -> &FilterId {
        &self.id
    }
}

impl<T: Default> Lasting<T> {
    /// The state. That of a published table is the one that earlier versions of the filter had.
    pub fn get(&self) -> &Arc<T> {
        self.state.get_or_init(Arc::default)
    }
}

/// Another version of the same filter.
impl<T> Clone for Lasting<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id.clone(),
            state: self.state.clone(),
        }
    }
}

/// What is remembered makes no difference between filters, and neither does where they stand.
impl<T> PartialEq for Lasting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<T> Eq for Lasting<T> {}

/// Nothing of what is remembered: texts of filters are compared.
impl<T> fmt::Debug for Lasting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lasting")
    }
}

/// The states of the filters that tables have, so that later versions find them.
#[derive(Debug, Default)]
pub(crate) struct States(HashMap<FilterId, Weak<dyn Any + Send + Sync>>);

impl States {
    /// Gives a filter that is about to be published what an earlier version of it has left. Where that was
    /// a filter of another type, nothing is left.
    pub(crate) fn connect<T: Any + Default + Send + Sync>(&mut self, lasting: &Lasting<T>) {
        let known = self.0.get(&lasting.id).and_then(Weak::upgrade);
        let known = known.and_then(|state| state.downcast::<T>().ok());
        let state = lasting.state.get_or_init(|| known.unwrap_or_default());
        let state: Weak<T> = Arc::downgrade(state);
        self.0.insert(lasting.id.clone(), state);
    }

    /// Forgets the filters that no table has any more.
    pub(crate) fn forget_departed(&mut self) {
        self.0.retain(|_, state| state.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{object::Kind, state::Counter};

    fn lasting<T>(place: &str) -> Lasting<T> {
        Lasting::new(FilterId {
            object: Key::new(Kind::IngressRoute, "default", "r"),
            place: place.into(),
        })
    }

    #[test]
    fn versions_of_one_filter_share_what_it_remembers() {
        let mut states = States::default();
        let first = lasting::<Counter>("rules[0].filters[0].x");
        states.connect(&first);
        first.get().add(3);
        let second = lasting::<Counter>("rules[0].filters[0].x");
        states.connect(&second);
        assert_eq!(second.get().get(), 3);
        assert!(Arc::ptr_eq(first.get(), second.get()));
        assert!(Arc::ptr_eq(first.clone().get(), first.get()));
        // Another filter of the same object has its own.
        let other = lasting::<Counter>("rules[0].filters[1].x");
        states.connect(&other);
        assert_eq!(other.get().get(), 0);
        // As has one of another type in the same place.
        let replaced = lasting::<String>("rules[0].filters[0].x");
        states.connect(&replaced);
        assert_eq!(**replaced.get(), "");
    }

    #[test]
    fn what_a_filter_remembers_goes_with_it() {
        let mut states = States::default();
        let (one, other) = (lasting::<Counter>("a"), lasting::<Counter>("b"));
        states.connect(&one);
        states.connect(&other);
        one.get().add(1);
        let requests = Arc::clone(one.get());
        drop(one);
        states.forget_departed();
        assert_eq!(states.0.len(), 2, "a request has it still");
        drop(requests);
        states.forget_departed();
        assert_eq!(states.0.len(), 1);
        let again = lasting::<Counter>("a");
        states.connect(&again);
        assert_eq!(again.get().get(), 0);
    }

    #[test]
    fn what_is_published_again_is_the_same() {
        let mut states = States::default();
        let filter = lasting::<Counter>("a");
        for times in 1..=3 {
            states.connect(&filter);
            filter.get().add(1);
            assert_eq!(filter.get().get(), times);
        }
    }

    #[test]
    fn what_is_remembered_makes_no_difference() {
        let (one, other) = (lasting::<Counter>("a"), lasting::<Counter>("a"));
        one.get().add(1);
        assert_eq!(one, other);
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
        assert_ne!(one, lasting("b"));
        assert_eq!(one.id().to_string(), "IngressRoute default/r: a");
    }
}
