//! Keeps last good versions where all replicas read them, for as long as they are needed.
//!
//! Only the replica that leads does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use tokio::{sync::watch::Receiver, task::JoinSet};
use tracing::{debug, info, warn};

use super::{
    Identity,
    archive::{Archive, BadRoutes, Deed, Task},
    backoff::{Blame, News},
    revision,
    revisions::Revisions,
    status, waits,
};

/// Writes at once. The API server is shared.
const CONCURRENCY: usize = 8;

/// How long a write may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Inputs {
    pub(super) client: Client,
    pub(super) identity: Arc<Identity>,
    pub(super) bad: Receiver<BadRoutes>,
    pub(super) revisions: Receiver<Arc<Revisions>>,
    pub(super) leading: Receiver<bool>,
}

/// Writes and removes until the source ends.
pub(super) async fn run(mut inputs: Inputs) {
    let api = Api::namespaced(inputs.client, &inputs.identity.namespace);
    let mut archive = Archive::default();
    let mut tasks = JoinSet::new();
    loop {
        let leading = *inputs.leading.borrow_and_update();
        archive.lead(leading);
        archive.bad(inputs.bad.borrow_and_update().clone());
        archive.kept(Arc::clone(&inputs.revisions.borrow_and_update()));
        for task in archive.tasks(CONCURRENCY - tasks.len(), Instant::now()) {
            let (api, identity) = (api.clone(), Arc::clone(&inputs.identity));
            tasks.spawn(async move { (perform(&api, &identity, &task).await, task) });
        }
        let full = tasks.len() == CONCURRENCY;
        let next = archive.next().filter(|_| !full);
        tokio::select! {
            changed = inputs.bad.changed() => if changed.is_err() { return },
            changed = inputs.revisions.changed() => if changed.is_err() { return },
            changed = inputs.leading.changed() => if changed.is_err() { return },
            Some(done) = tasks.join_next() => match done {
                Ok((done, task)) => take_in(&task, done, &mut archive),
                Err(error) => warn!(%error, "a write of a last good version was given up"),
            },
            () = waits::until(next) => {}
        }
    }
}

/// Takes note of what came of a task, and says what is new about it.
fn take_in(task: &Task, done: Result<(), kube::Error>, archive: &mut Archive) {
    let (key, now) = (&task.key, Instant::now());
    let outcome = match &done {
        Ok(()) => Ok(()),
        Err(error) => Err(blame(error)),
    };
    let news = archive.done(task, outcome, now);
    match (news, done) {
        (Some(News::Works), _) => info!("last good versions can be written and removed again"),
        (Some(News::Fails), Err(error)) => warn!(
            route = %key,
            %error,
            "ControllerRevisions cannot be written or removed: a replica that starts while a route is \
             edited badly does not know its last good version; it is tried again, ever less often, and \
             this is said once"
        ),
        (_, Err(error)) => debug!(route = %key, %error, "a last good version cannot be kept"),
        (_, Ok(())) => match task.deed {
            Deed::Write(_) => {
                let generation = task.generation;
                info!(route = %key, generation, "the last good version is kept");
            }
            Deed::Remove(_) => debug!(route = %key, "a version is not kept any more"),
        },
    }
}

async fn perform(
    api: &Api<ControllerRevision>,
    identity: &Identity,
    task: &Task,
) -> Result<(), kube::Error> {
    let performed = waits::answered(PATIENCE, async {
        match &task.deed {
            Deed::Write(draft) => match revision::write(identity, &task.uid, draft) {
                Some(kept) => api.create(&PostParams::default(), &kept).await.map(drop),
                None => Ok(()),
            },
            Deed::Remove(name) => {
                let parameters = DeleteParams::default();
                api.delete(name, &parameters).await.map(drop)
            }
        }
    });
    match (performed.await, &task.deed) {
        // Somebody was faster: the watch tells.
        (Err(kube::Error::Api(status)), Deed::Write(_)) if status.code == 409 => Ok(()),
        (Err(kube::Error::Api(status)), Deed::Remove(_)) if status.code == 404 => Ok(()),
        (performed, _) => performed,
    }
}

/// Whose fault it is. All versions are in one namespace: what is refused there is refused for all.
fn blame(error: &kube::Error) -> Blame {
    match status::blame(error) {
        Blame::Object => Blame::Object,
        Blame::Namespace | Blame::Kind => Blame::Kind,
    }
}
