//! Takes back what an installation has written: all of it by a command, or that in namespaces which it
//! no longer watches.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
};
use tokio::sync::watch::{Receiver, Sender};
use tracing::{info, warn};

use super::{
    Identity,
    discovery::{self, Served},
    expose,
    health::Health,
    leases::{EVERYWHERE, SILENT},
    ledger::{Write, Written},
    revisions,
    seen::{self, Seen},
    statement, status,
    watch_kind::{self, Scope},
};
use crate::{
    jitter::jittered,
    kinds,
    objects::{self, Key, Kind},
    status::Signature,
};

/// So long nobody writes after a withdrawal has begun: enough for an uninstallation to end.
pub(super) const SILENCE: Duration = Duration::from_secs(120);

/// Who holds the Lease, and has not changed it for so long, is gone.
const GONE: Duration = Duration::from_secs(15);

/// Who holds the Lease gives it up within this time, or is of a release that does not.
const PATIENCE: Duration = Duration::from_secs(30);

/// Objects of one answer.
const PAGE: u32 = 500;

/// How often objects are listed again that have changed meanwhile.
const PASSES: usize = 5;

/// How soon a namespace is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What has been taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawn {
    /// Whose statuses.
    pub installation: String,
    /// How many objects have no status of it any more.
    pub objects: usize,
    /// Those that still have one.
    pub left: Vec<Key>,
    /// Whether it was told to write no more. `false`: its Lease may not be read or written.
    pub silenced: bool,
    /// How many last good versions of routes it had kept, which are gone now. `None`: they may not be
    /// listed or deleted.
    pub kept: Option<usize>,
    /// How many Services it had made for Gateways, which are gone now. `None`: they may not be listed or
    /// deleted, or those of some namespaces alone were asked for.
    pub services: Option<usize>,
}

/// Why statuses were not taken back.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    /// What is asked for.
    #[error("{0:?} is no installation: it is NAMESPACE/NAME, as status.installation has it")]
    Installation(String),
    /// Somebody goes on writing.
    #[error(
        "{0} holds the Lease and does not give it up: it would write again. Scale it to no replicas, \
         and try again"
    )]
    StillWriting(String),
    /// The API server.
    #[error("the API server does not do what it has to: {0}")]
    Api(#[from] kube::Error),
}

/// An installation, and the name of its controller, which entries of its own bear in statuses of the Gateway
/// API.
type By<'b> = (&'b str, &'b str);

/// Tells an installation to be silent, and takes back all that it has written and kept about objects in
/// some namespaces, or in all.
pub(super) async fn all(
    client: &Client,
    (installation, controller): By<'_>,
    namespaces: Option<&BTreeSet<String>>,
) -> Result<Withdrawn, WithdrawError> {
    let (namespace, name) = (installation.split_once('/'))
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
        .ok_or_else(|| WithdrawError::Installation(installation.to_owned()))?;
    let leases = Api::namespaced(client.clone(), namespace);
    let silenced = match silence(&leases, name).await {
        Err(WithdrawError::Api(kube::Error::Api(error))) if error.code == 403 => false,
        silenced => silenced.map(|()| true)?,
    };
    let of = |namespace: &str| namespaces.is_none_or(|some| some.contains(namespace));
    let kept = match revisions::remove_all(client, (namespace, name), of).await {
        Err(kube::Error::Api(error)) if error.code == 403 => None,
        kept => Some(kept?),
    };
    let services = match namespaces {
        // Who sees some namespaces only serves no Gateways.
        Some(_) => None,
        None => match expose::remove_all(client, (namespace, name)).await {
            Err(kube::Error::Api(error)) if error.code == 403 => None,
            removed => Some(removed?),
        },
    };
    let mut withdrawn = Withdrawn {
        installation: installation.to_owned(),
        silenced,
        kept,
        services,
        ..Withdrawn::default()
    };
    let everywhere = BTreeSet::from([EVERYWHERE.to_owned()]);
    let by = (installation, controller);
    for namespace in namespaces.unwrap_or(&everywhere) {
        let (objects, left) = take_back(client, by, namespace, &BTreeSet::new()).await?;
        withdrawn.objects += objects;
        withdrawn.left.extend(left);
    }
    Ok(withdrawn)
}

/// Asks the replicas of an installation not to write, and waits until none does.
async fn silence(leases: &Api<Lease>, name: &str) -> Result<(), WithdrawError> {
    let only = ListParams::default().fields(&format!("metadata.name={name}"));
    let until = Timestamp::now() + SILENCE;
    let asked = loop {
        let Some(mut lease) = leases.list(&only).await?.items.pop() else {
            return Ok(());
        };
        (lease.annotations_mut()).insert(SILENT.to_owned(), until.to_string());
        match leases.replace(name, &PostParams::default(), &lease).await {
            Ok(lease) => break lease,
            // The holder has renewed it meanwhile.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
    };
    let (started, mut changed) = (Instant::now(), Instant::now());
    let mut known = asked;
    loop {
        let spec = known.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref());
        let Some(holder) = holder.filter(|holder| !holder.is_empty()) else {
            return Ok(());
        };
        if changed.elapsed() > GONE {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err(WithdrawError::StillWriting(holder.to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let Some(lease) = leases.list(&only).await?.items.pop() else {
            return Ok(());
        };
        if lease.resource_version() != known.resource_version() {
            changed = Instant::now();
        }
        known = lease;
    }
}

/// Takes back what an installation has written in a namespace, or in all but some. How many statuses,
/// and what still has one.
async fn take_back(
    client: &Client,
    by: By<'_>,
    namespace: &str,
    kept: &BTreeSet<String>,
) -> Result<(usize, Vec<Key>), kube::Error> {
    let (mut taken, mut left) = (0, Vec::new());
    for (kind, version) in with_statuses(client, namespace).await? {
        // What changes between the list and the write is listed again.
        for pass in 1..=PASSES {
            let mut again = Vec::new();
            let written = match written_by(client, (kind, version), by, namespace, kept).await {
                // Who may not list them has written none.
                Err(kube::Error::Api(refusal))
                    if kind != Kind::IngressRoute && matches!(refusal.code, 403 | 404) =>
                {
                    break;
                }
                written => written?,
            };
            for write in written {
                match status::apply(client, by.1, &write).await {
                    Ok(Written::Done(_)) => taken += 1,
                    Ok(_) => again.push(write.key),
                    Err(error) => {
                        warn!(route = %write.key, %error, "a status cannot be taken back");
                        again.push(write.key);
                    }
                }
            }
            if again.is_empty() {
                break;
            }
            if pass == PASSES {
                left.extend(again);
            }
        }
    }
    Ok((taken, left))
}

/// The kinds that may have statuses, each in the version that is served.
async fn with_statuses(client: &Client, namespace: &str) -> Result<Served, kube::Error> {
    let mut kinds = discovery::served(client).await?;
    let own = [
        Kind::BackendPolicy,
        Kind::Filter,
        Kind::Ingress,
        Kind::IngressRoute,
    ];
    for kind in own {
        kinds.insert(kind, objects::versions(kind)[0]);
    }
    kinds.retain(|kind, _| kind.is_namespaced() || namespace == EVERYWHERE);
    Ok(kinds)
}

/// An empty status for each object that an installation has written to.
async fn written_by(
    client: &Client,
    (kind, version): (Kind, &'static str),
    (installation, controller): By<'_>,
    namespace: &str,
    kept: &BTreeSet<String>,
) -> Result<Vec<Write>, kube::Error> {
    let namespace = (namespace != EVERYWHERE).then(|| namespace.into());
    let api = watch_kind::api(client, &Scope::of(kind, namespace), version);
    let signature = kinds::form(kind).map(|form| form.signature);
    let mut page = ListParams::default().limit(PAGE);
    let mut writes = Vec::new();
    loop {
        let list = api.list(&page).await?;
        let next = list.metadata.continue_.filter(|token| !token.is_empty());
        for object in list.items {
            let namespace = object.namespace().unwrap_or_default();
            let seen = Seen::new((kind, version), &object, controller);
            let is_ours = |seen: &Seen| match signature {
                Some(Signature::Entries) => seen.has_entries,
                _ => seen.installation.as_deref() == Some(installation),
            };
            let Some(seen) = seen.filter(is_ours) else {
                continue;
            };
            if !kept.contains(&namespace) {
                writes.push(Write {
                    key: objects::key(kind, &namespace, &object.name_any()),
                    uid: seen.uid.clone(),
                    installation: installation.into(),
                    version: seen::version(&object),
                    api_version: version,
                    status: statement::nothing(&seen),
                    events: Vec::new(),
                });
            }
        }
        match next {
            None => return Ok(writes),
            Some(token) => page = page.continue_token(&token),
        }
    }
}

/// What a replica that leads takes back at its start.
pub(super) struct Inputs {
    pub(super) client: Client,
    pub(super) identity: Arc<Identity>,
    /// Those that are watched.
    pub(super) namespaces: BTreeSet<String>,
    pub(super) leading: Receiver<bool>,
    /// Namespaces that are no longer watched, as of the time when this replica began to lead.
    pub(super) former: Receiver<BTreeSet<String>>,
    /// Whether nothing is left in them that can be taken back.
    pub(super) settled: Sender<bool>,
}

/// Takes back what is left in namespaces that are no longer watched, whenever this replica begins to
/// lead.
pub(super) async fn run(mut inputs: Inputs) {
    loop {
        if inputs.leading.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        let former = inputs.former.borrow().clone();
        let mut leading = inputs.leading.clone();
        tokio::select! {
            () = leave(&inputs, &former) => drop(inputs.settled.send_replace(true)),
            _ = leading.wait_for(|leads| !*leads) => {}
        }
        if inputs.leading.wait_for(|leads| !*leads).await.is_err() {
            return;
        }
        inputs.settled.send_replace(false);
    }
}

async fn leave(inputs: &Inputs, former: &BTreeSet<String>) {
    let installation = inputs.identity.installation();
    let by = (&*installation, &*inputs.identity.controller);
    for namespace in former {
        let mut health = Health::default();
        loop {
            let taken = take_back(&inputs.client, by, namespace, &inputs.namespaces);
            match taken.await {
                Ok((0, left)) if left.is_empty() => break,
                Ok((objects, left)) => {
                    info!(
                        namespace,
                        objects,
                        left = left.len(),
                        "statuses are taken back, as the namespace is no longer watched"
                    );
                    break;
                }
                Err(kube::Error::Api(error)) if matches!(error.code, 403 | 404) => {
                    let advice = format!(
                        "ferrix withdraw --kubeconfig FILE --installation {installation} --namespace \
                         {namespace}"
                    );
                    warn!(
                        namespace,
                        advice,
                        "statuses in a namespace that is no longer watched may not be taken back, and \
                         stay as they are: somebody has to who may"
                    );
                    break;
                }
                Err(error) => {
                    let pause = health.failed(LONGEST_PAUSE, Instant::now()).pause;
                    if health.is_new() {
                        warn!(namespace, %error, "statuses cannot be taken back; it is tried again");
                    }
                    tokio::time::sleep(jittered(pause)).await;
                }
            }
        }
    }
}
