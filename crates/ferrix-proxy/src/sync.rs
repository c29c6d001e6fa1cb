//! What threads share of the connections to backends, under one name each: the real thing, and in this
//! crate's own tests the same behind a step of a model.

#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

#[cfg(test)]
pub(crate) use ferrix_model::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, AtomicUsize},
};
#[cfg(not(test))]
pub(crate) use parking_lot::Mutex;
