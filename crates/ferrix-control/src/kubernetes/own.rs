//! Objects of the installation's own, in its namespace, as all its replicas see them: they carry its
//! name as a label.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Instant};

use futures_util::pin_mut;
use kube::{
    Api, Resource, ResourceExt,
    api::ListParams,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::watch::Sender;
use tracing::{info, warn};

use super::{
    Identity,
    health::{Health, LONGEST_PAUSE, LONGEST_PAUSE_WHEN_REFUSED},
    pulse, watch_kind,
};
use crate::jitter::jittered;
pub(super) use crate::names::INSTALLATION;

/// Objects of an installation by name; `None` before they have been listed.
pub(super) type Own<T> = Option<BTreeMap<Box<str>, T>>;

/// What is said of a watch.
pub(super) struct Words {
    /// When it begins to fail.
    pub(super) fails: &'static str,
    /// When it works again.
    pub(super) works: &'static str,
}

/// Which of all objects of a kind.
pub(super) fn config(identity: &Identity) -> watcher::Config {
    pulse::config().labels(&selector(&identity.installation))
}

/// The same for one look.
pub(super) fn list(installation: &str) -> ListParams {
    ListParams::default().labels(&selector(installation))
}

fn selector(installation: &str) -> String {
    format!("{INSTALLATION}={installation}")
}

/// Follows them until nobody listens. `read`: what is kept of each; `None`: it is none of ours.
/// `refused` is told when the API server refuses to show them.
pub(super) async fn follow<K, T>(
    api: Api<K>,
    config: watcher::Config,
    mut health: Health,
    words: Words,
    read: impl Fn(K) -> Option<T>,
    refused: impl Fn(),
    own: Sender<Arc<Own<T>>>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: Clone,
{
    let stream = watcher(api, config);
    pin_mut!(stream);
    let named = |object: K| {
        let name: Box<str> = object.name_any().into();
        Some((name, read(object)?))
    };
    let mut listed = BTreeMap::new();
    loop {
        let well = || info!("{}", words.works);
        let Some(event) = health.next(&mut stream, well).await else {
            return;
        };
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => listed.extend(named(object)),
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut listed);
                own.send_replace(Arc::new(Some(listed)));
            }
            Ok(Event::Apply(object)) => own.send_modify(|own| {
                let own = Arc::make_mut(own).get_or_insert_default();
                own.extend(named(object));
            }),
            Ok(Event::Delete(object)) => own.send_modify(|own| {
                if let Some(own) = Arc::make_mut(own) {
                    own.remove(&*object.name_any());
                }
            }),
            Err(error) => {
                let longest = match watch_kind::refusal(&error) {
                    Some(_) => {
                        refused();
                        LONGEST_PAUSE_WHEN_REFUSED
                    }
                    None => LONGEST_PAUSE,
                };
                let failed = health.failed(longest, Instant::now());
                if health.is_new() {
                    warn!(%error, "{}", words.fails);
                }
                tokio::time::sleep(jittered(failed.pause)).await;
            }
        }
    }
}
