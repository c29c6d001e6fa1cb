//! What BackendPolicies ask for, judged by the requests that strict backends received.

use std::{sync::Arc, time::Duration};

use ferrix_e2e::{Backend, Gateway, within};
use ferrix_table::{backend_policy::BackendPolicy, object::ObjectName, state::PolicyState};
use tokio::sync::watch;

mod balancing;
mod connection;
mod health;
mod hedging;
mod limits;

/// A policy that asks for nothing.
fn policy() -> BackendPolicy {
    BackendPolicy::new(ObjectName::new("default", "p"))
}

/// What has come of the policy of the only service.
fn of_policy(gateway: &Gateway) -> Arc<PolicyState> {
    let table = gateway.table();
    let policy = table.services[0].policy.as_ref();
    Arc::clone(&policy.expect("a policy").state)
}

/// An answer with this status, and no more.
fn status(status: u16) -> String {
    format!("HTTP/1.1 {status} Some\r\nContent-Length: 0\r\n\r\n")
}

/// A backend that answers with the status that the test says; while that is 0 it waits.
async fn switched(first: u16) -> (Backend, watch::Sender<u16>) {
    let (mode, modes) = watch::channel(first);
    let backend = Backend::start(move |mut connection: ferrix_e2e::backend::Connection| {
        let mut modes = modes.clone();
        async move {
            while connection.request().await.is_some() {
                let mode = modes.wait_for(|mode| *mode != 0).await;
                let mode = mode.map_or(200, |mode| *mode);
                connection.send(status(mode)).await;
            }
        }
    })
    .await;
    (backend, mode)
}

fn counts(backends: &[Backend]) -> Vec<usize> {
    let counts = backends.iter().map(|backend| backend.requests().len());
    counts.collect()
}

/// Waits until something is so that nobody tells of.
async fn eventually(what: &str, happened: impl Fn() -> bool) {
    let waiting = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(what, waiting).await;
}
