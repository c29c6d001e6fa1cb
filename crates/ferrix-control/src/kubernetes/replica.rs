//! How far this replica has come, what it offers, and what it serves in place of bad objects, for the one
//! that writes statuses: a Lease of its own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ferrix_table::sockets::Refusals;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams},
};
use tokio::sync::watch::Receiver;
use tracing::{info, warn};

use super::{
    Identity,
    census::{Offer, Replica},
    endpoint_health::EndpointHealth,
    exceptions::Exceptions,
    leases::{self, ENDPOINTS, EXCEPTIONS, PROGRESS, REFUSED, REPLICA, RESTORED},
    own::INSTALLATION,
    progress::Standing,
    refused,
};
use crate::{jitter::jittered, report::Report};

/// Progress is told at once, and then no more often than this.
const PAUSE: Duration = Duration::from_millis(100);

/// The pause after a first failure. It doubles three times.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How often the Lease is renewed where nothing happens.
const RENEWAL: Duration = Duration::from_secs(60);

/// Without a sign of life for so long, a replica outside of a pod is taken for dead.
const VALID_SECONDS: i32 = 180;

/// The owner of the fields that are written.
pub(super) const FIELD_MANAGER: &str = "ferrix";

/// How long a write may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Inputs {
    pub(super) client: Client,
    pub(super) identity: Arc<Identity>,
    pub(super) offer: Offer,
    /// Follows the reports: what it says has been reported.
    pub(super) standing: Receiver<Standing>,
    pub(super) reports: Receiver<Arc<Report>>,
    /// Where the system does not let this replica listen.
    pub(super) refused: Receiver<Refusals>,
    pub(super) endpoints: Receiver<EndpointHealth>,
    pub(super) left: Receiver<bool>,
}

/// Tells how far this replica has come, from the first table until it leaves.
pub(super) async fn run(inputs: Inputs) {
    let Inputs {
        client,
        identity,
        offer,
        mut standing,
        mut reports,
        mut refused,
        mut endpoints,
        mut left,
    } = inputs;
    let api: Api<Lease> = Api::namespaced(client, &identity.namespace);
    let name = name(&identity);
    let (mut failures, mut said) = (0, false);
    // Nothing is served before.
    if standing.changed().await.is_err() {
        return;
    }
    loop {
        // In this order: the report is then at least as new.
        let Standing { progress, restored } = standing.borrow_and_update().clone();
        let exceptions = Exceptions::new(&reports.borrow_and_update().fallbacks);
        let replica = Replica {
            progress,
            offer: offer.clone(),
            exceptions,
            restored,
            endpoints: endpoints.borrow_and_update().clone(),
        };
        let told = refused::write(&refused.borrow_and_update());
        let lease = Patch::Apply(lease(&identity, &name, &replica, told));
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let patch = api.patch(&name, &parameters, &lease);
        let pause = match tokio::time::timeout(PATIENCE, patch).await {
            Ok(Ok(_)) => {
                failures = 0;
                if std::mem::take(&mut said) {
                    info!("this replica's Lease can be written again");
                }
                PAUSE
            }
            Ok(Err(error)) => {
                if !std::mem::replace(&mut said, true) {
                    warn!(
                        %error,
                        "this replica's Lease cannot be written: routes may be reported as not served by \
                         it; this is said once"
                    );
                }
                failures = (failures + 1).min(4);
                jittered(FIRST_PAUSE * 2_u32.pow(failures - 1))
            }
            Err(_) => PAUSE,
        };
        let next = async {
            tokio::time::sleep(pause).await;
            let news = async {
                tokio::select! {
                    changed = standing.changed() => changed.is_ok(),
                    changed = differ(&mut reports, &replica.exceptions) => changed,
                    Ok(()) = refused.changed() => true,
                    Ok(()) = endpoints.changed() => true,
                }
            };
            let renewal = tokio::time::timeout(jittered(RENEWAL), news);
            renewal.await.unwrap_or(true)
        };
        tokio::select! {
            more = next => if !more { return },
            _ = left.wait_for(|left| *left) => break,
        }
    }
    // What is left behind goes with the pod.
    let parameters = DeleteParams::default();
    let _ = tokio::time::timeout(PATIENCE, api.delete(&name, &parameters)).await;
}

/// Returns when something else serves in place of bad objects than was told. `false`: nobody reports any
/// more.
async fn differ(reports: &mut Receiver<Arc<Report>>, told: &Exceptions) -> bool {
    loop {
        let now = Exceptions::new(&reports.borrow_and_update().fallbacks);
        if now != *told {
            return true;
        }
        if reports.changed().await.is_err() {
            return false;
        }
    }
}

/// The name of the Lease of a replica. One of the same name as the installation would be the installation's.
pub(super) fn name(identity: &Identity) -> String {
    match identity.name == identity.installation {
        true => format!("{}-replica", identity.name),
        false => identity.name.clone(),
    }
}

fn lease(identity: &Identity, name: &str, replica: &Replica, refused: Option<String>) -> Lease {
    // A map of texts and numbers is always JSON.
    let progress = serde_json::to_string(&replica.progress).unwrap_or_default();
    let mut annotations = BTreeMap::from([
        (PROGRESS.to_owned(), progress),
        (REPLICA.to_owned(), replica.offer.write()),
    ]);
    let restored = (replica.restored).then(|| (RESTORED.to_owned(), "true".to_owned()));
    annotations.extend(restored);
    let exceptions = replica.exceptions.write();
    annotations.extend(exceptions.map(|told| (EXCEPTIONS.to_owned(), told)));
    let endpoints = replica.endpoints.write();
    annotations.extend(endpoints.map(|told| (ENDPOINTS.to_owned(), told)));
    annotations.extend(refused.map(|told| (REFUSED.to_owned(), told)));
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(INSTALLATION.to_owned(), identity.installation.clone())].into()),
            annotations: Some(annotations),
            owner_references: identity.pod.clone().map(|pod| vec![pod]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(identity.name.clone()),
            lease_duration_seconds: Some(VALID_SECONDS),
            renew_time: Some(leases::now()),
            ..LeaseSpec::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ferrix_table::sockets::Place;

    use super::{super::progress::Progress, *};
    use crate::objects::Kind;

    #[test]
    fn what_a_replica_tells_of_itself_another_reads() {
        let identity = Identity {
            name: "me".to_owned(),
            namespace: "ferrix".to_owned(),
            controller: String::new(),
            installation: "ferrix".to_owned(),
            pod: None,
        };
        let mut progress = Progress::default();
        progress.advance(Kind::IngressRoute, None, 7);
        let mut cases = 0;
        for restored in [false, true] {
            let replica = Replica {
                progress: progress.clone(),
                offer: Offer::default(),
                exceptions: Exceptions::default(),
                restored,
                endpoints: EndpointHealth::default(),
            };
            let place = Place {
                address: "192.0.2.1:80".parse().unwrap(),
                datagrams: restored,
                entry_point: None,
            };
            let told = refused::write(&[(place.clone(), "in use".into())].into());
            let lease = lease(&identity, "me", &replica, told);
            let at = Instant::now();
            let observed = leases::Observed { lease, at };
            let read = observed.replica().unwrap();
            assert_eq!((read.progress, read.restored), (replica.progress, restored));
            assert_eq!(observed.refused(), [place].into());
            cases += 1;
        }
        assert_eq!(cases, 2);
    }
}
