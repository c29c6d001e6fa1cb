//! One copy of each name, and of bytes that are the same in many objects.
//!
//! The same few namespaces stand in every object, and the name of a Service in its slices and in
//! the routes that forward to it.

use std::{cell::RefCell, collections::HashSet, hash::Hash, sync::Arc};

thread_local! {
    /// Of this thread, so that nobody waits: a source decodes and stores on one.
    static NAMES: RefCell<Known<str>> = RefCell::default();
    static BYTES: RefCell<Known<[u8]>> = RefCell::default();
}

struct Known<T: ?Sized> {
    known: HashSet<Arc<T>>,
    /// When there are more, those that nothing has any more are forgotten.
    bound: usize,
}

/// Fewer are not worth to be looked through.
const MIN_BOUND: usize = 256;

/// The copy of a name that all share who ask for it.
pub(crate) fn shared(name: &str) -> Arc<str> {
    NAMES.with_borrow_mut(|names| names.shared(name))
}

/// The same for bytes.
pub(crate) fn shared_bytes(bytes: &[u8]) -> Arc<[u8]> {
    BYTES.with_borrow_mut(|known| known.shared(bytes))
}

impl<T: ?Sized> Default for Known<T> {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            bound: 0,
        }
    }
}

impl<T: ?Sized + Hash + Eq> Known<T> {
    fn shared<'t>(&mut self, value: &'t T) -> Arc<T>
    where
        Arc<T>: From<&'t T>,
    {
        if let Some(known) = self.known.get(value) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.bound {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            // Twice as many, so that the work is in proportion to what is new.
            self.bound = (2 * self.known.len()).max(MIN_BOUND);
        }
        let value: Arc<T> = value.into();
        self.known.insert(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_one() {
        assert!(Arc::ptr_eq(&shared("a"), &shared("a")));
        assert!(!Arc::ptr_eq(&shared("a"), &shared("b")));
    }

    #[test]
    fn names_that_nothing_has_are_forgotten() {
        let mut names = Known::<str>::default();
        let kept = names.shared("kept");
        for number in 0..10 * MIN_BOUND {
            names.shared(&number.to_string());
        }
        assert!(names.known.len() <= MIN_BOUND);
        assert!(Arc::ptr_eq(&names.shared("kept"), &kept));
    }
}
