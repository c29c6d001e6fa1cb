//! The Leases of this installation, as all its replicas see them.
//!
//! There is one for the replica that writes statuses, and one for each replica, which says how far
//! it has come.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use ferrix_table::sockets::Place;
use k8s_openapi::{
    api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp,
};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch::Sender;

use super::{
    Identity,
    census::{Offer, Replica},
    endpoint_health::EndpointHealth,
    exceptions::Exceptions,
    health::{Health, Outages},
    own::{self, Own, Words},
    pulse::Pulse,
    refused,
};

/// On the Lease of a replica: how far it has come, as JSON.
pub(super) const PROGRESS: &str = "ferrix.com/progress";

/// On the Lease of a replica: what it tells of its settings, as JSON.
pub(super) const REPLICA: &str = "ferrix.com/replica";

/// On the Lease of a replica: that it serves what an earlier process in its pod had seen.
pub(super) const RESTORED: &str = "ferrix.com/restored";

/// On the Lease of a replica: what serves there in place of bad objects, as JSON. Not there: nothing is
/// bad, or the release is one that does not tell.
pub(super) const EXCEPTIONS: &str = "ferrix.com/exceptions";

/// On the Lease of a replica: where the system does not let it listen, as JSON. Not there: nowhere, or the
/// release is one that does not tell.
pub(super) const REFUSED: &str = "ferrix.com/refused";

/// On the Lease of a replica: how endpoints of Services with a BackendPolicy are there, as JSON. Not there:
/// there are none, or the release is one that does not tell.
pub(super) const ENDPOINTS: &str = "ferrix.com/endpoints";

/// On the Lease of an installation: the namespaces that it writes statuses in, as JSON.
pub(super) const NAMESPACES: &str = "ferrix.com/namespaces";

/// In place of the names of namespaces.
pub(super) const EVERYWHERE: &str = "*";

/// On the Lease of an installation: until when none of its replicas writes, as its statuses are taken
/// back.
pub(super) const SILENT: &str = "ferrix.com/silent-until";

/// The Leases of an installation.
pub(super) type Leases = Own<Observed>;

/// A Lease, and when this version of it was seen first. Clocks of other machines are not believed.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) lease: Lease,
    pub(super) at: Instant,
}

impl Observed {
    fn new(lease: Lease) -> Self {
        Self {
            lease,
            at: Instant::now(),
        }
    }

    /// What the replica tells whose Lease this is; `None` if it is no replica's.
    pub(super) fn replica(&self) -> Option<Replica> {
        let told = self.lease.annotations();
        Some(Replica {
            progress: serde_json::from_str(told.get(PROGRESS)?).ok()?,
            offer: Offer::read(told.get(REPLICA).map(String::as_str)),
            restored: told.contains_key(RESTORED),
            exceptions: Exceptions::read(told.get(EXCEPTIONS).map(String::as_str)),
            endpoints: EndpointHealth::read(told.get(ENDPOINTS).map(String::as_str)),
        })
    }

    /// Where the system does not let the replica listen whose Lease this is.
    pub(super) fn refused(&self) -> BTreeSet<Place> {
        refused::read(self.lease.annotations().get(REFUSED).map(String::as_str))
    }

    /// Whether nobody is to write statuses now.
    pub(super) fn is_silent(&self) -> bool {
        let until = self.lease.annotations().get(SILENT);
        let until = until.and_then(|until| until.parse::<Timestamp>().ok());
        until.is_some_and(|until| Timestamp::now() < until)
    }

    /// Whether the replica whose Lease this is may be there still. One in a pod goes with the pod;
    /// any other has to renew it.
    pub(super) fn is_alive(&self) -> bool {
        let renewed = self.lease.spec.as_ref().and_then(|spec| {
            let valid = spec.lease_duration_seconds?;
            Some((spec.renew_time.as_ref()?.0, i64::from(valid)))
        });
        let recent = renewed.is_some_and(|(renewed, valid)| {
            Timestamp::now().as_second() - renewed.as_second() < valid
        });
        recent || !self.lease.owner_references().is_empty()
    }
}

/// Follows them until nobody listens.
pub(super) async fn follow(
    client: Client,
    identity: Arc<Identity>,
    pulse: Pulse,
    leases: Sender<Arc<Leases>>,
) {
    let api: Api<Lease> = Api::namespaced(pulse.listen(&client), &identity.namespace);
    let health = Health::of("Lease", Outages::default(), pulse);
    let words = Words {
        fails: "Leases cannot be watched: no status is written until they can",
        works: "Leases can be watched again",
    };
    let read = |lease| Some(Observed::new(lease));
    own::follow(
        api,
        own::config(&identity),
        health,
        words,
        read,
        || {},
        leases,
    )
    .await;
}

/// The present, as Leases write it.
pub(super) fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}
