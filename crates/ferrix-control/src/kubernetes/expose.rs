//! Writes the Services of Gateways, and removes those of Gateways that are gone.
//!
//! Only the replica that leads does. What is to be done follows from what the API server shows
//! (`listeners/services.rs`), so that what has been done is done when it shows it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use tokio::{
    sync::watch::{Receiver, Sender},
    task::JoinSet,
};
use tracing::{info, warn};

use super::{Identity, backoff::pause_of_one, replica::FIELD_MANAGER, waits};
use crate::{
    gateway_service::{Deed, GATEWAY_UID},
    names::INSTALLATION,
    world::Unwritten,
};

/// Writes at once. The API server is shared.
const CONCURRENCY: usize = 8;

/// How long a write may take, and so long the API server may take to show what was done.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be done now. Nothing as long as not everything is seen that Services follow from.
pub(super) type Deeds = Arc<[Deed]>;

pub(super) struct Inputs {
    pub(super) client: Client,
    pub(super) identity: Arc<Identity>,
    pub(super) deeds: Receiver<Deeds>,
    pub(super) leading: Receiver<bool>,
    /// What is told of those that cannot be written.
    pub(super) unwritten: Sender<Unwritten>,
}

/// The last attempt at a Service.
struct Attempt {
    deed: Deed,
    /// When it is done again; `None`: it is under way.
    again: Option<Instant>,
    /// How often it failed in a row.
    failures: u32,
    /// Why it failed last.
    error: Option<String>,
}

/// The attempts, by the names of the Services.
#[derive(Default)]
struct Attempts(HashMap<Box<str>, Attempt>);

/// Writes and removes until the source ends.
pub(super) async fn run(mut inputs: Inputs) {
    let api = Api::namespaced(inputs.client, &inputs.identity.namespace);
    let mut attempts = Attempts::default();
    let mut tasks = JoinSet::new();
    loop {
        let leading = *inputs.leading.borrow_and_update();
        let deeds = Arc::clone(&inputs.deeds.borrow_and_update());
        let room = CONCURRENCY - tasks.len();
        for deed in attempts.begin(leading, &deeds, room, Instant::now()) {
            let api = api.clone();
            tasks.spawn(async move { (perform(&api, &deed).await, deed) });
        }
        let unwritten = attempts.unwritten();
        inputs.unwritten.send_if_modified(|told| {
            let differ = *told != unwritten;
            if differ {
                *told = unwritten;
            }
            differ
        });
        let full = tasks.len() == CONCURRENCY;
        let next = attempts.next().filter(|_| leading && !full);
        tokio::select! {
            changed = inputs.deeds.changed() => if changed.is_err() { return },
            changed = inputs.leading.changed() => if changed.is_err() { return },
            Some(done) = tasks.join_next() => match done {
                Ok((done, deed)) => take_in(&deed, done, &mut attempts),
                Err(error) => warn!(%error, "a write of the Service of a Gateway was given up"),
            },
            () = waits::until(next) => {}
        }
    }
}

impl Attempts {
    /// Begins what is to be done now, at most so much at once.
    fn begin(&mut self, leading: bool, deeds: &Deeds, room: usize, now: Instant) -> Vec<Deed> {
        let is_due = |name: &str| leading && deeds.iter().any(|deed| deed.name() == name);
        self.0
            .retain(|name, attempt| attempt.again.is_none() || is_due(name));
        let due = deeds.iter().filter(|_| leading);
        let due: Vec<Deed> = due
            .filter(|deed| self.may_begin(deed, now))
            .take(room)
            .cloned()
            .collect();
        for deed in &due {
            let before = self.0.remove(deed.name());
            let attempt = Attempt {
                deed: deed.clone(),
                again: None,
                failures: before.as_ref().map_or(0, |it| it.failures),
                error: before.and_then(|it| it.error),
            };
            self.0.insert(deed.name().into(), attempt);
        }
        due
    }

    fn may_begin(&self, deed: &Deed, now: Instant) -> bool {
        self.0.get(deed.name()).is_none_or(|attempt| {
            let again = attempt.again;
            again.is_some_and(|again| again <= now || attempt.deed != *deed)
        })
    }

    /// When something is to be done again.
    fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|attempt| attempt.again).min()
    }

    /// Those that cannot be written.
    fn unwritten(&self) -> Unwritten {
        let failed = self.0.iter().filter_map(|(name, attempt)| {
            let error = attempt.error.clone()?;
            matches!(attempt.deed, Deed::Apply { .. }).then(|| (name.clone(), error))
        });
        failed.collect()
    }

    /// Takes note of what came of a deed. Tells whether that is new.
    fn done(&mut self, deed: &Deed, done: &Result<(), kube::Error>, now: Instant) -> bool {
        let Some(attempt) = self.0.get_mut(deed.name()) else {
            return false;
        };
        attempt.error = done.as_ref().err().map(kube::Error::to_string);
        match done {
            Ok(()) => {
                attempt.again = Some(now + PATIENCE);
                attempt.failures = 0;
                true
            }
            Err(_) => {
                attempt.again = Some(now + pause_of_one(attempt.failures));
                attempt.failures = attempt.failures.saturating_add(1);
                attempt.failures == 1
            }
        }
    }
}

fn take_in(deed: &Deed, done: Result<(), kube::Error>, attempts: &mut Attempts) {
    let is_new = attempts.done(deed, &done, Instant::now());
    let service = deed.name();
    match (done, deed) {
        (Ok(()), Deed::Apply { gateway, .. }) => {
            info!(service, %gateway, "the Service of a Gateway is written");
        }
        (Ok(()), Deed::Delete { .. }) => {
            info!(service, "the Service of a Gateway that is gone is removed");
        }
        (Err(error), _) if is_new => warn!(
            service,
            %error,
            "the Service of a Gateway cannot be written or removed; it is tried again, ever less often, \
             and this is said once"
        ),
        (Err(_), _) => {}
    }
}

/// One that is not known to be ours is not taken over: what others manage there is a conflict.
async fn perform(api: &Api<Service>, deed: &Deed) -> Result<(), kube::Error> {
    let performed = waits::answered(PATIENCE, async {
        match deed {
            Deed::Apply {
                name,
                before,
                manifest,
                ..
            } => {
                let mut parameters = PatchParams::apply(FIELD_MANAGER);
                let mut manifest = (**manifest).clone();
                if let Some(uid) = before {
                    parameters = parameters.force();
                    manifest["metadata"]["uid"] = (&**uid).into();
                }
                let patch = Patch::Apply(manifest);
                api.patch(name, &parameters, &patch).await.map(drop)
            }
            Deed::Delete { name, uid } => {
                let preconditions = Preconditions {
                    uid: Some(uid.to_string()),
                    resource_version: None,
                };
                let parameters = DeleteParams::default().preconditions(preconditions);
                api.delete(name, &parameters).await.map(drop)
            }
        }
    });
    match (performed.await, deed) {
        (Err(kube::Error::Api(status)), Deed::Delete { .. }) if status.code == 404 => Ok(()),
        (performed, _) => performed,
    }
}

/// Removes all Services that an installation has made for Gateways. How many those were.
pub(super) async fn remove_all(
    client: &Client,
    (namespace, installation): (&str, &str),
) -> Result<usize, kube::Error> {
    let api: Api<Service> = Api::namespaced(client.clone(), namespace);
    let selector = format!("{INSTALLATION}={installation},{GATEWAY_UID}");
    let mut removed = 0;
    for service in api.list(&ListParams::default().labels(&selector)).await? {
        let name = service.name_any();
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => removed += 1,
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}
