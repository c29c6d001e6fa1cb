//! How writers wait: for what is due, and for the API server.

use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout};

/// Until a time; for ever where there is none.
pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// What the API server answers, which may take so long.
///
/// # Errors
/// As it answers, or [`kube::Error::Service`] where it does not in that time.
pub(super) async fn answered<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    let answer = timeout(patience, answer).await;
    answer.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())))
}
