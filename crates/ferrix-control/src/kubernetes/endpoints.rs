//! Follows how the endpoints of Services with a BackendPolicy are on this replica.
//!
//! What requests and checks find out is in atomics of the table, which nobody is told of: they are looked at
//! once a second, where there is any such Service.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ferrix_table::{Reader, services::Service};
use tokio::sync::watch::{Receiver, Sender};

use super::endpoint_health::{EndpointHealth, Settling};

const LOOK: Duration = Duration::from_secs(1);

/// Follows them until nobody publishes. `generations`: of what `table` reads.
pub(super) async fn run(
    table: Reader,
    mut generations: Receiver<u64>,
    told: Sender<EndpointHealth>,
) {
    let mut settling = Settling::default();
    let (mut generation, mut services) = (0, Vec::new());
    loop {
        let rests = services.is_empty() && settling.is_settled();
        if rests && generations.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(LOOK).await;
        let newest = *generations.borrow_and_update();
        if newest != generation {
            generation = newest;
            services = with_policy(&table);
        }
        let latest = EndpointHealth::of(&services);
        if let Some(news) = settling.take(Instant::now(), latest) {
            told.send_replace(news.clone());
        }
    }
}

fn with_policy(table: &Reader) -> Vec<Arc<Service>> {
    let table = table.load();
    let services = table.services.iter();
    let services = services.filter(|service| service.policy.is_some());
    services.cloned().collect()
}
