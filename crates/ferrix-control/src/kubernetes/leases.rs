//! The Leases of this installation, as all its replicas see them.
//!
//! There is one for the replica that writes statuses, and one for each replica, which says how far
//! it has come.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures_util::{StreamExt, pin_mut};
use k8s_openapi::{
    api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{Event, watcher},
};
use tokio::sync::watch::Sender;
use tracing::{info, warn};

use super::{
    Identity,
    census::{Offer, Replica},
    health::{Health, LONGEST_PAUSE, Outages},
    pulse::{self, Pulse},
};
use crate::jitter::jittered;

/// On every Lease of an installation: its name.
pub(super) const INSTALLATION: &str = "ferrix.com/installation";

/// On the Lease of a replica: how far it has come, as JSON.
pub(super) const PROGRESS: &str = "ferrix.com/progress";

/// On the Lease of a replica: what it tells of its settings, as JSON.
pub(super) const REPLICA: &str = "ferrix.com/replica";

/// On the Lease of a replica: that it serves what an earlier process in its pod had seen.
pub(super) const RESTORED: &str = "ferrix.com/restored";

/// On the Lease of an installation: the namespaces that it writes statuses in, as JSON.
pub(super) const NAMESPACES: &str = "ferrix.com/namespaces";

/// In place of the names of namespaces.
pub(super) const EVERYWHERE: &str = "*";

/// On the Lease of an installation: until when none of its replicas writes, as its statuses are taken
/// back.
pub(super) const SILENT: &str = "ferrix.com/silent-until";

/// The Leases of an installation by name; `None` before they have been listed.
pub(super) type Leases = Option<BTreeMap<Box<str>, Observed>>;

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
        })
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
    let ours = format!("{INSTALLATION}={}", identity.installation);
    let stream = watcher(api, pulse::config().labels(&ours));
    pin_mut!(stream);
    let mut listed = BTreeMap::new();
    let mut health = Health::of("Lease", Outages::default(), pulse);
    loop {
        let next = match health.has_news_at(Instant::now()) {
            None => stream.next().await,
            Some(at) => match tokio::time::timeout_at(at.into(), stream.next()).await {
                Ok(next) => next,
                Err(_) => {
                    if health.has_news(Instant::now()) {
                        info!("Leases can be watched again");
                    }
                    continue;
                }
            },
        };
        let Some(event) = next else {
            return;
        };
        if let Ok(event) = &event {
            health.came(event);
        }
        let named = |lease: Lease| (lease.name_any().into(), Observed::new(lease));
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(lease)) => listed.extend([named(lease)]),
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut listed);
                leases.send_modify(|leases| *leases = Arc::new(Some(listed)));
            }
            Ok(Event::Apply(lease)) => leases.send_modify(|leases| {
                let leases = Arc::make_mut(leases).get_or_insert_default();
                leases.extend([named(lease)]);
            }),
            Ok(Event::Delete(lease)) => leases.send_modify(|leases| {
                if let Some(leases) = Arc::make_mut(leases) {
                    leases.remove(&*lease.name_any());
                }
            }),
            Err(error) => {
                let failed = health.failed(LONGEST_PAUSE, Instant::now());
                if health.is_new() {
                    warn!(%error, "Leases cannot be watched: no status is written until they can");
                }
                tokio::time::sleep(jittered(failed.pause)).await;
            }
        }
    }
}

/// The present, as Leases write it.
pub(super) fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}
