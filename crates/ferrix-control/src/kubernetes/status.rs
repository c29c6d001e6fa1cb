//! Writes what is due: statuses by server-side apply, and an Event for what went wrong.
//!
//! Only the replica that leads does. Only fields of our own are ever written.

use std::{sync::Arc, time::Instant};

use k8s_openapi::api::{core::v1::ObjectReference, events::v1::Event};
use kube::{
    Api, Client,
    api::{DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch::Receiver},
    task::JoinSet,
    time::timeout,
};
use tracing::warn;

use super::{
    Identity,
    census::Offer,
    leases::{self, Leases},
    figures::Figures,
    ledger::{Ledger, Other, Write, Written},
    replica::FIELD_MANAGER,
    seen,
    source::RouteSeen,
    watch_kind,
};
use crate::{
    kinds,
    objects::{self, Key, Kind},
    report::{Reason, Report},
};

/// Writes at once. The API server is shared.
const CONCURRENCY: usize = 16;

/// How long a write may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// The longest note of an Event that the API server takes.
const MAX_NOTE: usize = 1024;

pub(super) struct Inputs {
    pub(super) client: Client,
    pub(super) identity: Arc<Identity>,
    /// Of this replica.
    pub(super) offer: Offer,
    pub(super) routes: UnboundedReceiver<Vec<RouteSeen>>,
    pub(super) reports: Receiver<Arc<Report>>,
    pub(super) leases: Receiver<Arc<Leases>>,
    pub(super) leading: Receiver<bool>,
    pub(super) figures: Arc<Figures>,
}

/// Writes until the source ends.
pub(super) async fn run(mut inputs: Inputs) {
    let mut ledger = Ledger::new(&inputs.identity.installation(), inputs.offer);
    let mut writes: JoinSet<(Write, Written)> = JoinSet::new();
    // Events about other installations, which nobody waits for.
    let mut told = JoinSet::new();
    loop {
        let now = Instant::now();
        if *inputs.leading.borrow() {
            for write in ledger.writes(CONCURRENCY - writes.len(), now) {
                writes.spawn(send(
                    inputs.client.clone(),
                    Arc::clone(&inputs.identity),
                    write,
                ));
            }
        }
        for other in ledger.others_to_tell_of() {
            let (client, identity) = (inputs.client.clone(), Arc::clone(&inputs.identity));
            told.spawn(async move { tell_of(&client, &identity, &other).await });
        }
        while told.try_join_next().is_some() {}
        inputs.figures.set_others(ledger.others());
        let full = writes.len() == CONCURRENCY;
        let next = ledger.next().filter(|_| !full);
        let waiting = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            routes = inputs.routes.recv() => match routes {
                None => return,
                Some(routes) => for (key, seen) in routes {
                    ledger.see(key, seen, Instant::now());
                },
            },
            Ok(()) = inputs.reports.changed() => {
                let report = Arc::clone(&inputs.reports.borrow_and_update());
                ledger.report(report, Instant::now());
            }
            Ok(()) = inputs.leases.changed() => {
                let leases = Arc::clone(&inputs.leases.borrow_and_update());
                let replicas = (leases.iter().flatten())
                    .filter(|(_, observed)| observed.is_alive())
                    .filter_map(|(name, observed)| Some((name.clone(), observed.replica()?)));
                ledger.replicas(replicas.collect(), Instant::now());
            }
            Ok(()) = inputs.leading.changed() => {
                let leading = *inputs.leading.borrow_and_update();
                inputs.figures.set_leads(leading);
                ledger.lead(leading, Instant::now());
            }
            Some(written) = writes.join_next() => match written {
                Ok((write, outcome)) => {
                    match outcome {
                        Written::Done(_) => inputs.figures.add_written(),
                        Written::Obsolete | Written::Failed => inputs.figures.add_failed(),
                    }
                    ledger.written(&write, outcome, Instant::now());
                }
                Err(error) => warn!(%error, "a write of a status was given up"),
            },
            () = waiting => {}
        }
    }
}

pub(super) async fn send(
    client: Client,
    identity: Arc<Identity>,
    write: Write,
) -> (Write, Written) {
    let outcome = apply(&client, &write).await.unwrap_or_else(|error| {
        warn!(route = %write.key, %error, "a status cannot be written; it is tried again");
        Written::Failed
    });
    if matches!(outcome, Written::Done(_)) {
        for (reason, message) in &write.events {
            tell(&client, &identity, (&write.key, &write.uid), *reason, message).await;
        }
    }
    (write, outcome)
}

/// Writes a status; an error is one that may pass.
pub(super) async fn apply(client: &Client, write: &Write) -> Result<Written, kube::Error> {
    let key = &write.key;
    // Only objects of such kinds are ever seen by the ledger.
    let Some(kind) = kinds::of(key.kind) else {
        return Ok(Written::Obsolete);
    };
    let api_version = api_version(key.kind);
    let resource = watch_kind::resource(key.kind, objects::versions(key.kind)[0]);
    let objects: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &key.namespace, &resource);
    // The identifier keeps a status from a route that was deleted and made again, the version from one
    // that another installation has written to meanwhile.
    let mut patch = json!({
        "apiVersion": api_version,
        "kind": key.kind.as_str(),
        "metadata": {"name": &*key.name, "namespace": &*key.namespace, "uid": &*write.uid},
        "status": (kind.write_status)(&write.status),
    });
    if write.version != 0 {
        patch["metadata"]["resourceVersion"] = json!(write.version.to_string());
    }
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&patch);
    let patch = objects.patch_status(&key.name, &parameters, &patch);
    match timeout(PATIENCE, patch).await {
        Ok(Ok(object)) => Ok(Written::Done(seen::version(&object))),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
            Ok(Written::Obsolete)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(kube::Error::Service("no answer in time".into())),
    }
}

/// An Event, which nobody depends on: it is not tried again.
async fn tell(
    client: &Client,
    identity: &Identity,
    (key, uid): (&Key, &str),
    reason: Reason,
    message: &str,
) {
    let now = leases::now();
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", key.name, now.0.as_nanosecond())),
            ..ObjectMeta::default()
        },
        action: Some("Accept".to_owned()),
        event_time: Some(now),
        note: Some(shortened(message)),
        reason: Some(reason.as_str().to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(api_version(key.kind)),
            kind: Some(key.kind.as_str().to_owned()),
            name: Some(key.name.to_string()),
            namespace: Some(key.namespace.to_string()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some("ferrix.com/ferrix".to_owned()),
        reporting_instance: Some(identity.name.clone()),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    };
    let events: Api<Event> = Api::namespaced(client.clone(), &key.namespace);
    let parameters = PostParams::default();
    let created = timeout(PATIENCE, events.create(&parameters, &event));
    if let Ok(Err(error)) = created.await {
        warn!(route = %key, %error, "an Event cannot be written");
    }
}

/// Says once that another installation serves this class as well.
async fn tell_of(client: &Client, identity: &Identity, other: &Other) {
    let Other {
        installation,
        key,
        uid,
    } = other;
    let message = format!(
        "The installation {installation} has written the status of this route, and maybe of others of \
         this class: {} serves them too, and leaves their statuses as they are. Give one of the two \
         another class. If {installation} is gone, `ferrix withdraw --installation {installation}` \
         takes its statuses back.",
        identity.installation(),
    );
    warn!(route = %key, "{message}");
    tell(client, identity, (key, uid), Reason::OtherInstallation, &message).await;
}

/// The version that statuses are written in: the newest.
fn api_version(kind: Kind) -> String {
    objects::api_version(kind, objects::versions(kind)[0])
}

fn shortened(message: &str) -> String {
    if message.len() <= MAX_NOTE {
        return message.to_owned();
    }
    let ellipsis = "…";
    let end = message.floor_char_boundary(MAX_NOTE - ellipsis.len());
    format!("{}{ellipsis}", &message[..end])
}
