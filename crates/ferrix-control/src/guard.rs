//! A bug of ours that one object brings to light costs that object, and nothing else.
//!
//! Only for work that changes nothing: what was half done is thrown away.

use std::panic::{self, AssertUnwindSafe};

use crate::objects::Key;

/// The steps that are about one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// From the document to the object.
    Decode,
    /// What is kept of the object alone.
    Compile,
    /// What it names in the world.
    Resolve,
    /// What is said of it.
    Tell,
}

/// The step ended in a panic, which was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bug;

impl Bug {
    /// What is told to the author of the object. Not what the panic said: it may hold what nobody
    /// should read.
    pub(crate) const MESSAGE: &'static str = "Ferrix failed on this object, which is a bug of \
        Ferrix; its log has more. What was served of the object before is served still";
}

/// Takes a step about one object.
pub(crate) fn guarded<T>(step: Step, key: &Key, work: impl FnOnce() -> T) -> Result<T, Bug> {
    let work = || {
        #[cfg(test)]
        failing::point(step, key);
        work()
    };
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        tracing::error!(%key, ?step, "this object brought a bug to light; the others are not concerned");
        Bug
    })
}

/// Bugs for tests.
#[cfg(test)]
pub(crate) mod failing {
    use std::cell::{Cell, RefCell};

    use super::Step;
    use crate::objects::Key;

    thread_local! {
        static FAILING: RefCell<Vec<(Step, Key)>> = RefCell::default();
        static ALL_FAILS: Cell<bool> = Cell::default();
    }

    /// Whether translation fails from now on, on this thread, for no object in particular.
    pub(crate) fn set_all(fails: bool) {
        ALL_FAILS.set(fails);
    }

    /// Where it does.
    pub(crate) fn all() {
        assert!(!ALL_FAILS.get(), "as the test says");
    }

    /// From now on, on this thread, the step fails for this object; `None`: for none any more.
    pub(crate) fn set(failing: Option<(Step, Key)>) {
        FAILING.with_borrow_mut(|all| {
            all.clear();
            all.extend(failing);
        });
    }

    pub(super) fn point(step: Step, key: &Key) {
        let fails = FAILING.with_borrow(|all| all.contains(&(step, key.clone())));
        assert!(!fails, "as the test says");
    }
}
