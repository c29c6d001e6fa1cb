//! Ferrix, whole: the command line, the settings, and the wiring of the two planes.
//!
//! ```text
//!  command_line ─► settings ─► program ─┬─► control plane (own runtime) ─► Table, Report
//!        │                              ├─► proxy (own runtimes) ◄── reads the Table
//!        │                              ├─► access_log (own thread) ◄── Records
//!        │                              └─► admin (own thread): readiness, metrics, Table, Report
//!        ├─► check, explain, diff       one look at folders, no socket
//!        ├─► new                        manifests to begin with
//!        └─► echo, demo                 backends to try things with
//! ```
//!
//! It is a library so that a test can run all of it in its own process: [`program::Program`].
//! Nothing here decides about a request or an object; that is the work of the other crates.

pub mod access_log;
pub mod admin;
pub mod check;
mod colour;
pub mod command_line;
pub mod demo;
mod descriptors;
pub mod diff;
pub mod echo;
pub mod explain;
pub mod log;
mod memory;
pub mod metrics;
pub mod new;
pub mod program;
pub mod settings;
pub mod signals;
mod spelling;
mod stream;

pub use program::Program;
pub use settings::Settings;
