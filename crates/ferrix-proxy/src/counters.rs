//! What the data plane counts beside routes and services.

use ferrix_table::state::{Counter, Gauge, RequestCounts};

use crate::failure::Failure;

/// Counts of the whole process.
#[derive(Debug, Default)]
pub struct Counters {
    /// In the order of the settings.
    pub entry_points: Vec<EntryPointCounters>,
    /// Bytes of bodies that were read, and wait for peers that do not take them.
    pub buffered_bytes: Gauge,
    /// Tasks that panicked: each cost one connection or stream, and is a bug.
    pub panics: Counter,
}

/// Counts of one entry point.
#[derive(Debug, Default)]
pub struct EntryPointCounters {
    /// Its name.
    pub name: String,
    /// Client connections open now.
    pub open_connections: Gauge,
    /// Client connections accepted.
    pub accepted_connections: Counter,
    /// Client connections closed at once because of a limit or a bad PROXY protocol header.
    pub refused_connections: Counter,
    /// Connections over HTTP/2 that were ended for what the client did.
    pub abusive_connections: Counter,
    /// TLS handshakes that failed.
    pub tls_failures: Counter,
    /// Requests.
    pub requests: RequestCounts,
    /// Requests that Ferrix answered itself, by [`Failure::index`]; names in [`Failure::NAMES`].
    pub failures: [Counter; Failure::NAMES.len()],
}
