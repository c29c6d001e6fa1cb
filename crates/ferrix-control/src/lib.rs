//! From watched objects to the routing table, and to a word on each object.
//!
//! ```text
//!  files (a folder) ──► decode ──► Change ─┐
//!                                          ├─► compiler ─► world ─► translate ─┬─► Table ──► publish
//!  the API server ────► decode ──► Change ─┘    (last good versions)  (pure)   └─► Report ─► status, check
//! ```
//!
//! `translate` does not know where objects come from. What it does with each kind is in the file
//! of that kind: `ingressroute`, `service`, `endpointslice`, `secret`, `referencegrant`.
//! `certificates` and `conflict` are about what routes take from each other.

mod certificates;
pub mod compiler;
mod conflict;
pub mod decode;
mod endpointslice;
pub mod files;
mod ingressroute;
pub mod kubernetes;
mod names;
pub mod objects;
mod referencegrant;
pub mod report;
pub mod secret;
mod service;
pub mod settings;
pub mod translate;
pub mod world;
pub mod yaml;

pub use compiler::Compiler;
pub use files::run_files;
pub use kubernetes::run_kubernetes;
pub use report::Report;
pub use settings::Settings;
pub use translate::translate;
