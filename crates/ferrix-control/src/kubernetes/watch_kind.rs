//! One kind, in one namespace or in all: events to changes.
//!
//! A watch never ends by itself. What goes wrong is told once, and tried again, soon at first and
//! never less often than every [`LONGEST_PAUSE`]; what has been seen stays until the API server
//! says that it is gone, which a refusal does not.

use std::{collections::HashSet, sync::Arc, time::Instant};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    runtime::watcher::{self, Event, InitialListStrategy, watcher},
};
use serde_json::Value;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    discovery::Served,
    health::{Health, LONGEST_PAUSE, LONGEST_PAUSE_WHEN_REFUSED, Outages},
    pulse::{self, Pulse},
    seen::{self, Seen},
};
use crate::{
    decode::{self, Decoded, Strictness},
    jitter::jittered,
    objects::{self, Key, Kind, Origin},
    secret::TLS_TYPE,
    world::Change,
};

/// After so many refusals in a row, which take three seconds, they are believed of what has been seen.
const REFUSALS_BELIEVED: u32 = 5;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) kind: Kind,
    /// `None`: all namespaces.
    pub(super) namespace: Option<Arc<str>>,
    /// A Secret that is no certificate; `None`: all objects, of Secrets the certificates.
    pub(super) name: Option<Arc<str>>,
}

/// What a watch has to tell.
#[derive(Debug)]
pub(super) enum Message {
    /// One of the objects that there are, of a list that has not ended.
    Listing(Scope, Box<Item>),
    /// The list has ended: there are no other objects.
    Listed(Scope, Listed),
    /// A new object, or a new version of one.
    Applied(Scope, Box<Item>),
    /// An object is gone.
    Deleted(Scope, Key, u64),
    /// The API server refuses: the kind is not installed, or not permitted.
    Refused(Scope, Refusal),
    /// Kinds that the API server has come to serve.
    Served(Served),
}

impl From<Served> for Message {
    fn from(served: Served) -> Self {
        Self::Served(served)
    }
}

/// An object, decoded as far as it can be.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: Key,
    /// `metadata.resourceVersion`: later versions of objects of one kind have higher numbers.
    pub(super) version: u64,
    pub(super) change: Change,
    /// For an object that has a status: what writing that needs to know.
    pub(super) seen: Option<Seen>,
    /// Whether it is about to go.
    pub(super) terminating: bool,
}

/// Which objects a list had. The objects themselves are told one by one, because all of a large
/// cluster's at once would be most of the memory that Ferrix ever needs.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) keys: HashSet<Key>,
    /// The newest version among them; 0 where there are none.
    pub(super) version: u64,
}

/// Why the API server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not know the kind.
    NotInstalled,
    /// It does not permit to list it.
    Forbidden,
}

/// Watches until nobody listens, first in a version.
pub(super) async fn run(
    client: Client,
    (scope, first): (Scope, &'static str),
    controller: Arc<str>,
    pulse: Pulse,
    outages: Outages,
    sink: mpsc::Sender<Message>,
) {
    let client = pulse.listen(&client);
    let mut health = Health::of(scope.kind.as_str(), outages, pulse);
    let versions = objects::versions(scope.kind);
    // Older clusters have older versions of some kinds only.
    for version in versions.iter().cycle().skip_while(|it| **it != first) {
        let api = api(&client, &scope, version);
        // What has been seen was perhaps newer than what another API server has in its cache.
        let config = match health.listed() {
            false => config(&scope).streaming_lists(),
            true => config(&scope),
        };
        let Some(refusal) = watch(
            api,
            config,
            (&scope, version),
            &controller,
            &mut health,
            &sink,
        )
        .await
        else {
            return;
        };
        let failed = health.failed(LONGEST_PAUSE_WHEN_REFUSED, Instant::now());
        if is_believed(&health, failed.failures, versions.len()) {
            let message = Message::Refused(scope.clone(), refusal);
            if sink.send(message).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(jittered(failed.pause)).await;
    }
}

/// Whether a refusal is told. One of a kind that has not been listed yet is, when each of its versions
/// was refused. What has been listed once is known to be there and permitted: an API server that has
/// just started may say otherwise for a moment.
fn is_believed(health: &Health, failures: u32, versions: usize) -> bool {
    match health.listed() {
        false => failures as usize >= versions,
        true => failures >= REFUSALS_BELIEVED,
    }
}

/// Watches until the API server refuses; `None`: until nobody listens.
///
/// A stream in place of a list comes from the API server's cache, and costs it a fraction of a list that it
/// reads from its database. But the cache may be behind what was seen before, and an API server before
/// Kubernetes 1.32 has no such streams. So one is tried first, and lists are read from then on.
pub(super) async fn watch(
    api: Api<DynamicObject>,
    mut config: watcher::Config,
    (scope, version): (&Scope, &'static str),
    controller: &str,
    health: &mut Health,
    sink: &mpsc::Sender<Message>,
) -> Option<Refusal> {
    let mut stream = Box::pin(watcher(api.clone(), config.clone()));
    let mut listed = Listed::default();
    let mut begun = false;
    loop {
        let well = || info!(%scope, "the API server answers again");
        let next = health.next(&mut stream, well).await?;
        let again = begun && matches!(next, Ok(Event::Init));
        begun |= next.is_ok();
        let streams = config.initial_list_strategy == InitialListStrategy::StreamingList;
        let fails = (next.as_ref()).is_err_and(|error| !health.listed() || is_lost(error));
        if streams && (again || fails) {
            config.initial_list_strategy = InitialListStrategy::ListWatch;
            stream = Box::pin(watcher(api.clone(), config.clone()));
            if again || has_no_streams(&next) {
                continue;
            }
        }
        match next {
            Ok(event) => {
                if let Some(message) = message((scope, version), controller, event, &mut listed)
                    && sink.send(message).await.is_err()
                {
                    return None;
                }
            }
            Err(error) => {
                if let Some(refusal) = refusal(&error) {
                    return Some(refusal);
                }
                let failed = health.failed(LONGEST_PAUSE, Instant::now());
                if health.is_new() {
                    warn!(%scope, %error, "watching fails; what was seen stays");
                }
                tokio::time::sleep(jittered(failed.pause)).await;
            }
        }
    }
}

/// Whether a watch has lost its place, and begins with all objects again.
fn is_lost(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(status) => status.code == 410,
        watcher::Error::NoResourceVersion => true,
        _ => false,
    }
}

/// Whether the API server does not stream what it would list: it does not know how, or its database does not
/// let it.
fn has_no_streams(next: &watcher::Result<Event<DynamicObject>>) -> bool {
    match next {
        Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) => {
            matches!(status.code, 400 | 422)
        }
        Err(watcher::Error::WatchError(_)) => true,
        _ => false,
    }
}

/// What an event tells.
fn message(
    (scope, version): (&Scope, &'static str),
    controller: &str,
    event: Event<DynamicObject>,
    listed: &mut Listed,
) -> Option<Message> {
    let item = |object| item((scope, version), controller, object);
    match event {
        Event::Init => {
            *listed = Listed::default();
            None
        }
        Event::InitApply(object) => item(object).map(|item| {
            listed.add(&item);
            Message::Listing(scope.clone(), Box::new(item))
        }),
        Event::InitDone => Some(Message::Listed(scope.clone(), std::mem::take(listed))),
        Event::Apply(object) => {
            item(object).map(|item| Message::Applied(scope.clone(), Box::new(item)))
        }
        Event::Delete(object) => {
            item(object).map(|item| Message::Deleted(scope.clone(), item.key, item.version))
        }
    }
}

impl Listed {
    pub(super) fn add(&mut self, item: &Item) {
        self.keys.insert(item.key.clone());
        self.version = item.version.max(self.version);
    }
}

pub(super) fn api(client: &Client, scope: &Scope, version: &str) -> Api<DynamicObject> {
    let resource = resource(scope.kind, version);
    match &scope.namespace {
        None => Api::all_with(client.clone(), &resource),
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

/// How the API server names a kind in a version.
pub(super) fn resource(kind: Kind, version: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk(objects::group(kind), version, kind.as_str());
    ApiResource::from_gvk(&kind)
}

/// No two watches over Secrets see the same ones.
pub(super) fn config(scope: &Scope) -> watcher::Config {
    let config = pulse::config();
    match (scope.kind, &scope.name) {
        (Kind::Secret, None) => config.fields(&format!("type={TLS_TYPE}")),
        (_, None) => config,
        (_, Some(name)) => config.fields(&format!("metadata.name={name},type!={TLS_TYPE}")),
    }
}

/// Decodes an object; `None` where not even its name can be read.
pub(super) fn item(
    (scope, version): (&Scope, &'static str),
    controller: &str,
    object: DynamicObject,
) -> Option<Item> {
    let kind = scope.kind;
    let metadata = &object.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let key = objects::key(kind, namespace, metadata.name.as_deref()?);
    let seen = Seen::new((kind, version), &object, controller);
    let version_seen = seen::version(&object);
    let terminating = metadata.deletion_timestamp.is_some();
    let mut value = serde_json::to_value(object).ok()?;
    // Objects of a list come without.
    value["apiVersion"] = Value::String(objects::api_version(kind, version));
    value["kind"] = Value::String(kind.as_str().to_owned());
    let change = match decode::decode(&value, Strictness::Api) {
        Ok(Decoded::Object { object, .. }) => Change::Apply {
            object,
            origin: Origin::Api,
            notes: Vec::new(),
        },
        Ok(Decoded::Ignored(_)) => return None,
        Err(error) => Change::Reject {
            key: key.clone(),
            origin: Origin::Api,
            error,
        },
    };
    Some(Item {
        key,
        version: version_seen,
        change,
        seen,
        terminating,
    })
}

/// Why the API server refuses, if it does.
pub(super) fn refusal(error: &watcher::Error) -> Option<Refusal> {
    use watcher::Error::{InitialListFailed, WatchStartFailed};

    let (InitialListFailed(kube::Error::Api(status)) | WatchStartFailed(kube::Error::Api(status))) =
        error
    else {
        return None;
    };
    match status.code {
        403 => Some(Refusal::Forbidden),
        404 => Some(Refusal::NotInstalled),
        _ => None,
    }
}

impl Scope {
    /// All of a kind, in one namespace or in all.
    pub(super) fn of(kind: Kind, namespace: Option<Arc<str>>) -> Self {
        Self {
            kind,
            namespace,
            name: None,
        }
    }

    /// Whether an object may be among what it shows.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.kind == key.kind
            && (self.namespace.as_ref()).is_none_or(|it| *it == key.namespace)
            && self.name.as_ref().is_none_or(|it| **it == *key.name)
    }

    /// That an object is gone.
    pub(super) fn gone(&self, key: Key) -> Change {
        match key.kind {
            Kind::Secret => Change::RemoveSecret {
                name: key.object,
                certificate: self.name.is_none(),
            },
            _ => Change::Remove(key),
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.namespace, &self.name) {
            (None, _) => write!(f, "{}", self.kind),
            (Some(namespace), None) => write!(f, "{} of {namespace}", self.kind),
            (Some(namespace), Some(name)) => write!(f, "{} {namespace}/{name}", self.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_not_given_up_for_one_refusal() {
        let listed = || {
            let mut health = Health::default();
            health.came::<()>(&Event::InitDone);
            health
        };
        let cases = [
            (Health::default(), 1, 1, true),
            // The older version may be there.
            (Health::default(), 1, 2, false),
            (Health::default(), 2, 2, true),
            (listed(), 1, 1, false),
            (listed(), REFUSALS_BELIEVED - 1, 1, false),
            (listed(), REFUSALS_BELIEVED, 1, true),
        ];
        for (health, failures, versions, believed) in cases {
            let is = is_believed(&health, failures, versions);
            assert_eq!(is, believed, "{health:?}, {failures} of {versions}");
        }
    }
}
