//! One copy of each name.
//!
//! The same few namespaces stand in every object, and the name of a Service in its slices and in
//! the routes that forward to it.

use std::{cell::RefCell, collections::HashSet, sync::Arc};

thread_local! {
    /// Of this thread, so that nobody waits: a source decodes and stores on one.
    static NAMES: RefCell<Names> = RefCell::default();
}

#[derive(Default)]
struct Names {
    known: HashSet<Arc<str>>,
    /// When there are more, those that nothing has any more are forgotten.
    bound: usize,
}

/// Fewer names are not worth to be looked through.
const MIN_BOUND: usize = 256;

/// The copy of a name that all share who ask for it.
pub(crate) fn shared(name: &str) -> Arc<str> {
    NAMES.with_borrow_mut(|names| names.shared(name))
}

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.known.get(name) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.bound {
            self.known.retain(|name| Arc::strong_count(name) > 1);
            // Twice as many, so that the work is in proportion to what is new.
            self.bound = (2 * self.known.len()).max(MIN_BOUND);
        }
        let name: Arc<str> = name.into();
        self.known.insert(Arc::clone(&name));
        name
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
        let mut names = Names::default();
        let kept = names.shared("kept");
        for number in 0..10 * MIN_BOUND {
            names.shared(&number.to_string());
        }
        assert!(names.known.len() <= MIN_BOUND);
        assert!(Arc::ptr_eq(&names.shared("kept"), &kept));
    }
}
