//! The codec beside hyper: what both accept, both read alike.
//!
//! hyper parses lines with the same crate (`properties.rs` has a model of those), and everything
//! after them by itself.
#![allow(clippy::unwrap_used, reason = "tests")]

mod generate;
mod message;
mod requests;
mod responses;
