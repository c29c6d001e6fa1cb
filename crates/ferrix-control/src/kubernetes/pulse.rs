//! When the API server was heard last, watch by watch.
//!
//! A connection may be dead without anybody being told: the other side is gone, or something between
//! the two forgot of it. So a watch is never longer silent than [`WATCH`]: the API server ends it then,
//! having sent a bookmark before, and it is begun anew where it ended. Whoever hears nothing for five
//! seconds longer takes another connection.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::Request;
use http_body_util::BodyExt;
use kube::{Client, client::Body, runtime::watcher};
use serde::Serialize;
use tower::service_fn;

/// The longest watch, in seconds.
pub(super) const WATCH: u32 = 20;

/// A watch that was not heard for so long shows what may be no longer true. Longer than it takes to
/// notice a dead connection and to make another.
pub(super) const STALE: Duration = Duration::from_secs(60);

/// How long a watch waits for its first byte. The API server sends it at once.
const BEGINNING: Duration = Duration::from_secs(10);

/// How fresh each watch is.
#[derive(Clone, Debug, Default)]
pub struct Watches(Arc<Mutex<BTreeMap<Name, Pulse>>>);

/// The kind, the namespace, and the object; none where it is over all of them.
type Name = (&'static str, Option<Arc<str>>, Option<Arc<str>>);

/// The watches of a kind and a namespace, and how fresh they are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Watch {
    /// What it is over.
    pub kind: &'static str,
    /// In this namespace; `None`: in all.
    pub namespace: Option<Box<str>>,
    /// Time since the API server was heard on it last, in seconds; `None`: it never was. Where there is one
    /// for each of some objects, on that which it was heard on least.
    pub age_seconds: Option<f64>,
}

/// When a watch was heard last.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Heard>);

#[derive(Debug)]
struct Heard {
    start: Instant,
    /// Milliseconds since the start, and one more; 0: never.
    at: AtomicU64,
}

impl Watches {
    /// Every watch that there is, those of one kind and namespace as one.
    pub fn list(&self) -> Vec<Watch> {
        let mut all: Vec<Watch> = Vec::new();
        for ((kind, namespace, _), pulse) in self.lock().iter() {
            let watch = Watch {
                kind,
                namespace: namespace.as_deref().map(Into::into),
                age_seconds: pulse.age().map(|age| age.as_secs_f64()),
            };
            let same = |it: &&mut Watch| it.kind == *kind && it.namespace == watch.namespace;
            match all.last_mut().filter(same) {
                Some(known) => {
                    let ages = known.age_seconds.zip(watch.age_seconds);
                    known.age_seconds = ages.map(|(one, other)| one.max(other));
                }
                None => all.push(watch),
            }
        }
        all
    }

    /// A new watch.
    pub(super) fn begin(&self, name: Name) -> Pulse {
        let pulse = Pulse::default();
        self.lock().insert(name, pulse.clone());
        pulse
    }

    /// A watch that is given up.
    pub(super) fn end(&self, name: &Name) {
        self.lock().remove(name);
    }

    /// Whether a watch that was heard once has not been for long.
    pub(super) fn is_stale(&self, name: &Name) -> bool {
        let age = self.lock().get(name).and_then(Pulse::age);
        age.is_some_and(|age| age >= STALE)
    }

    /// As if each watch over a kind had been heard so long ago.
    #[cfg(test)]
    pub(super) fn set_age(&self, of: &'static str, age: Duration) {
        for ((kind, ..), pulse) in self.lock().iter_mut() {
            if *kind == of {
                let start = Instant::now() - age;
                let at = AtomicU64::new(1);
                *pulse = Pulse(Arc::new(Heard { start, at }));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Pulse>> {
        // Nothing is left half done in there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Pulse {
    fn default() -> Self {
        let start = Instant::now();
        let at = AtomicU64::new(0);
        Self(Arc::new(Heard { start, at }))
    }
}

impl Pulse {
    /// It is heard.
    pub(super) fn beat(&self) {
        let since = self.0.start.elapsed().as_millis() as u64;
        self.0.at.store(since + 1, Relaxed);
    }

    /// `None`: it never beat.
    pub(super) fn age(&self) -> Option<Duration> {
        let at = self.0.at.load(Relaxed).checked_sub(1)?;
        Some((self.0.start.elapsed()).saturating_sub(Duration::from_millis(at)))
    }

    /// The same client, whose good answers are heard by it, piece by piece.
    pub(super) fn listen(&self, client: &Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        let (client, pulse) = (client.clone(), self.clone());
        let service = service_fn(move |request: Request<Body>| {
            let (client, pulse) = (client.clone(), pulse.clone());
            async move {
                let is_watch = (request.uri().query()).is_some_and(|it| it.contains("watch=true"));
                let response = match is_watch {
                    false => client.send(request).await?,
                    true => tokio::time::timeout(BEGINNING, client.send(request))
                        .await
                        .map_err(|_| kube::Error::Service("a watch does not begin".into()))??,
                };
                let good = response.status().is_success();
                let beat = move || {
                    if good {
                        pulse.beat();
                    }
                };
                beat();
                let body = |body: Body| {
                    body.map_frame(move |frame| {
                        beat();
                        frame
                    })
                };
                Ok::<_, kube::Error>(response.map(body))
            }
        });
        Client::new(service, namespace)
    }
}

/// How a watch is begun.
pub(super) fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH)
}

#[cfg(test)]
mod tests;
