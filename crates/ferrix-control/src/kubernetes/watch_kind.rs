//! One kind, in one namespace or in all: events to changes.
//!
//! A watch never ends by itself. What goes wrong is told once, and tried again, soon at first and
//! never less often than every [`LONGEST_PAUSE`]; what has been seen stays until the API server
//! says otherwise.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, pin_mut};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use serde_json::Value;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::ledger::Seen;
use crate::{
    decode::{self, Decoded, Strictness},
    objects::{self, Key, Kind, Origin},
    world::Change,
};

/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// An API server that comes back is found within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The pause where the kind or the permission is missing: somebody has to act first.
const LONGEST_PAUSE_WHEN_REFUSED: Duration = Duration::from_secs(15);

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) kind: Kind,
    /// `None`: all namespaces.
    pub(super) namespace: Option<Arc<str>>,
}

/// What a watch has to tell.
#[derive(Debug)]
pub(super) enum Message {
    /// Every object that there is.
    Listed(Scope, Vec<Item>),
    /// A new object, or a new version of one.
    Applied(Scope, Box<Item>),
    /// An object is gone.
    Deleted(Scope, Key, u64),
    /// The API server refuses: the kind is not installed, or not permitted.
    Refused(Scope, Refusal),
}

/// An object, decoded as far as it can be.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: Key,
    /// `metadata.resourceVersion`: later versions of objects of one kind have higher numbers.
    pub(super) version: u64,
    pub(super) change: Change,
    /// For an object that makes rules: what status writing needs to know.
    pub(super) seen: Option<Seen>,
}

/// Why the API server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not know the kind.
    NotInstalled,
    /// It does not permit to list it.
    Forbidden,
}

/// Watches until nobody listens.
pub(super) async fn run(client: Client, scope: Scope, sink: mpsc::Sender<Message>) {
    let mut told: Option<String> = None;
    let mut refusals = 0;
    // Older clusters have older versions of some kinds only.
    for version in objects::versions(scope.kind).iter().cycle() {
        let api = api(&client, &scope, version);
        let stream = watcher(api, config(scope.kind)).backoff(Pauses::default());
        pin_mut!(stream);
        let mut listed = Vec::new();
        let refusal = loop {
            let message = match stream.next().await {
                None => return,
                Some(Ok(event)) => {
                    if told.take().is_some() {
                        info!(%scope, "the API server answers again");
                    }
                    match event {
                        Event::Init => {
                            listed.clear();
                            continue;
                        }
                        Event::InitApply(object) => {
                            listed.extend(item(&scope, version, object));
                            continue;
                        }
                        Event::InitDone => {
                            refusals = 0;
                            Some(Message::Listed(scope.clone(), std::mem::take(&mut listed)))
                        }
                        Event::Apply(object) => item(&scope, version, object)
                            .map(|item| Message::Applied(scope.clone(), Box::new(item))),
                        Event::Delete(object) => item(&scope, version, object)
                            .map(|item| Message::Deleted(scope.clone(), item.key, item.version)),
                    }
                }
                Some(Err(error)) => {
                    if let Some(refusal) = refusal(&error) {
                        break refusal;
                    }
                    let text = error.to_string();
                    if told.as_ref() != Some(&text) {
                        warn!(%scope, error = text, "watching fails; what was seen stays");
                        told = Some(text);
                    }
                    continue;
                }
            };
            if let Some(message) = message
                && sink.send(message).await.is_err()
            {
                return;
            }
        };
        let message = Message::Refused(scope.clone(), refusal);
        if sink.send(message).await.is_err() {
            return;
        }
        refusals += 1;
        let pause = FIRST_PAUSE * 2_u32.pow(refusals.min(10));
        tokio::time::sleep(jittered(pause.min(LONGEST_PAUSE_WHEN_REFUSED))).await;
    }
}

fn api(client: &Client, scope: &Scope, version: &str) -> Api<DynamicObject> {
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

fn config(kind: Kind) -> watcher::Config {
    let config = watcher::Config::default();
    match kind {
        Kind::Secret => config.fields("type=kubernetes.io/tls"),
        _ => config,
    }
}

/// Decodes an object; `None` where not even its name can be read.
fn item(scope: &Scope, version: &str, object: DynamicObject) -> Option<Item> {
    let kind = scope.kind;
    let metadata = &object.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let key = objects::key(kind, namespace, metadata.name.as_deref()?);
    let seen = Seen::new(kind, &object);
    let resource_version = metadata.resource_version.as_deref();
    let resource_version = resource_version.and_then(|version| version.parse().ok());
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
        version: resource_version.unwrap_or_default(),
        change,
        seen,
    })
}

fn refusal(error: &watcher::Error) -> Option<Refusal> {
    // What has been listed once is known to be there and permitted: an API server that has just
    // started may say otherwise.
    let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error else {
        return None;
    };
    match status.code {
        403 => Some(Refusal::Forbidden),
        404 => Some(Refusal::NotInstalled),
        _ => None,
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            None => write!(f, "{}", self.kind),
            Some(namespace) => write!(f, "{} of {namespace}", self.kind),
        }
    }
}

/// Pauses between attempts. Replicas that lost the API server together do not come back in step.
#[derive(Debug, Default)]
pub(super) struct Pauses(u32);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = FIRST_PAUSE * 2_u32.pow(self.0.min(5));
        self.0 += 1;
        Some(jittered(pause.min(LONGEST_PAUSE)))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = 0;
    }
}

/// From three quarters of a time to all of it, at random.
pub(super) fn jittered(time: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // Each state has other keys.
    let random = RandomState::new().hash_one(0) % 256;
    time.mul_f64(0.75 + random as f64 / 1024.0)
}
