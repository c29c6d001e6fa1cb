//! What threads share, under one name each: the real thing, and in this crate's own tests the same
//! behind a step of a model.

#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64};

#[cfg(not(test))]
pub(crate) use arc_swap::ArcSwap;
#[cfg(test)]
pub(crate) use ferrix_model::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64};

#[cfg(test)]
pub(crate) type ArcSwap<T> = ferrix_model::Step<arc_swap::ArcSwap<T>>;
