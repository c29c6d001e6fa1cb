//! The routing table: everything that a request reads, in one immutable snapshot.
//!
//! ```text
//!  control::translate ──► Table ──► Publisher ─┐          (one writer)
//!                                              ▼
//!  proxy: Reader::load ──► Arc<Table> ──► RuleSet::lookup ──► Rule ──► Service ──► Endpoint
//! ```
//!
//! Nothing here does I/O, reads a clock or knows Kubernetes or a connection. A published table never
//! changes; what requests count lives in the `state` objects, which outlive tables: see
//! [`Publisher`].

pub mod backend_policy;
pub mod backoff;
pub mod balancing;
mod bucket;
mod certificate_hosts;
pub mod certificates;
pub mod connection;
pub mod dry_runs;
pub mod dump;
pub mod entry_points;
pub mod explain;
pub mod filter_list;
pub mod filters;
pub mod health;
pub mod host;
pub mod host_map;
pub mod ids;
mod index;
pub mod jwks;
pub mod latency;
pub mod object;
pub mod overlap;
pub mod path;
pub mod policy;
pub mod precedence;
pub mod publish;
mod reach;
pub mod refused_address;
pub mod rule_set;
pub mod rules;
pub mod services;
pub mod shadow;
pub mod sockets;
pub mod standing;
pub mod state;
pub mod succession;
mod sync;
pub mod table;
#[cfg(test)]
mod testing;
pub mod verification;
pub mod weight;

pub use ferrix_rule::{Headers, Request, canonical_network};
pub use publish::{Publisher, Reader};
pub use table::Table;
