//! The kit for tests that need more than one crate: everything around a running Ferrix.
//!
//! ```text
//!  client, http2_client, frames ─► gateway ─► backend, http2_backend
//!          what a client sees       Ferrix      what really arrived
//! ```
//!
//! The backends read as strictly as any server may and keep the bytes that they got: a test judges
//! by both ends, never by the client's status alone. Every wait is bounded by [`within`].

pub mod audit;
pub mod backend;
pub mod browser;
pub mod certificates;
pub mod chromium;
pub mod client;
pub mod clients;
pub mod cluster;
pub mod deploy;
pub mod frames;
pub mod gateway;
pub mod http2_backend;
pub mod http2_client;
pub mod kill_on_drop;
pub mod load;
pub mod manifests;
pub mod oidc_server;
pub mod routes;
pub mod wire;

use std::{fmt::Display, time::Duration};

pub use crate::{
    backend::Backend, browser::Browser, client::Client, gateway::Gateway,
    http2_backend::Http2Backend, http2_client::Http2Client, manifests::Manifests, routes::Routes,
};

/// How long anything may take before a test fails. Far above what it takes: the machine is shared.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Waits for a future, but not for ever.
///
/// # Panics
/// When it takes longer than [`PATIENCE`].
pub async fn within<T>(what: impl Display, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}
