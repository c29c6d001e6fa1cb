//! What threads share of the connections to backends, under one name each: the real thing, and in this
//! crate's own tests the same behind a step of a model.

#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

#[cfg(not(test))]
pub(crate) use parking_lot::Mutex;
#[cfg(test)]
pub(crate) use stepped::*;

#[cfg(test)]
mod stepped {
    use std::sync::atomic;

    pub(crate) use ferrix_model::Mutex;
    use ferrix_model::Step;

    pub(crate) type AtomicBool = Step<atomic::AtomicBool>;
    pub(crate) type AtomicU64 = Step<atomic::AtomicU64>;
    pub(crate) type AtomicUsize = Step<atomic::AtomicUsize>;
}
