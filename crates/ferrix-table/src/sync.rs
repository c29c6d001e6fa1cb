//! What threads share, under one name each: the real thing, and in this crate's own tests the same
//! behind a step of a model.

#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize};

#[cfg(not(test))]
pub(crate) use arc_swap::ArcSwap;
#[cfg(test)]
pub(crate) use stepped::*;

#[cfg(test)]
mod stepped {
    use std::sync::atomic;

    use ferrix_model::Step;

    pub(crate) type AtomicBool = Step<atomic::AtomicBool>;
    pub(crate) type AtomicI64 = Step<atomic::AtomicI64>;
    pub(crate) type AtomicU64 = Step<atomic::AtomicU64>;
    pub(crate) type AtomicUsize = Step<atomic::AtomicUsize>;
    pub(crate) type ArcSwap<T> = Step<arc_swap::ArcSwap<T>>;
}
