//! The last good versions that are kept, as all replicas see them, and what is new about them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, Client, ResourceExt, api::DeleteParams};
use tokio::sync::watch::{self, Receiver, Sender};

use super::{
    Identity,
    health::{Health, Outages},
    own::{self, Own, Words},
    pulse::Pulse,
    revision::{self, Revision},
};
use crate::{objects::Key, world::Change};

/// The kind, as watches are named.
pub(super) const KIND: &str = "ControllerRevision";

/// So long the first table waits for this alone: an API server that shows all the rest, and not this, is
/// no reason to serve nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// The last good versions that are kept, by the names of their objects.
pub(super) type Revisions = Own<Revision>;

/// What the API server shows of them.
pub(super) struct Shown {
    pub(super) revisions: Sender<Arc<Revisions>>,
    pub(super) refused: Sender<bool>,
}

/// What is new about them, for the one that takes it in.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// `None`: nobody tells.
    shown: Option<(Receiver<Arc<Revisions>>, Receiver<bool>)>,
    /// As they were taken in.
    taken: Arc<Revisions>,
    /// Since when nothing else is waited for.
    awaited: Option<Instant>,
}

/// A version of a route of a name, and of that uid.
type Kept<'r> = BTreeMap<(&'r Key, &'r str), &'r Revision>;

impl Shown {
    pub(super) fn new() -> Self {
        Self {
            revisions: watch::Sender::default(),
            refused: watch::Sender::default(),
        }
    }

    pub(super) fn reader(&self) -> Reader {
        Reader {
            shown: Some((self.revisions.subscribe(), self.refused.subscribe())),
            ..Reader::default()
        }
    }
}

impl Reader {
    /// Returns when there is news.
    pub(super) async fn changed(&mut self) {
        let changed = match &mut self.shown {
            None => false,
            Some((revisions, refused)) => tokio::select! {
                changed = revisions.changed() => changed.is_ok(),
                changed = refused.changed() => changed.is_ok(),
            },
        };
        if !changed {
            std::future::pending().await
        }
    }

    /// What is to be taken in since the last time.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        let Some((revisions, _)) = &mut self.shown else {
            return Vec::new();
        };
        let next = Arc::clone(&revisions.borrow_and_update());
        let before = std::mem::replace(&mut self.taken, next);
        changes(&before, &self.taken)
    }

    /// Whether the first table, for which all else is there, waits for what was kept.
    pub(super) fn is_awaited(&mut self, now: Instant) -> bool {
        let Some((_, refused)) = &self.shown else {
            return false;
        };
        let since = *self.awaited.get_or_insert(now);
        self.taken.is_none() && !*refused.borrow() && now < since + PATIENCE
    }
}

/// What differs. Of several versions of one route the newest counts.
fn changes(before: &Revisions, after: &Revisions) -> Vec<Change> {
    let (before, after) = (newest(before), newest(after));
    let gone = (before.keys()).filter(|route| !after.contains_key(*route));
    let gone = gone.map(|(key, uid)| Change::Discard {
        key: (*key).clone(),
        uid: (*uid).into(),
    });
    let differs = |route: &(&Key, &str), revision: &Revision| {
        let known = before.get(route);
        known.is_none_or(|known| known.generation != revision.generation)
    };
    let new = (after.iter()).filter(|(route, revision)| differs(route, revision));
    let new = new.filter_map(|(_, revision)| revision.object.clone().map(Change::Keep));
    gone.chain(new).collect()
}

fn newest(revisions: &Revisions) -> Kept<'_> {
    let mut newest = Kept::new();
    for revision in revisions.iter().flat_map(BTreeMap::values) {
        let known = newest.entry((&revision.key, &*revision.uid));
        let known = known.or_insert(revision);
        if known.generation < revision.generation {
            *known = revision;
        }
    }
    newest
}

/// Follows them until nobody listens.
pub(super) async fn follow(client: Client, identity: Arc<Identity>, pulse: Pulse, shown: Shown) {
    let api: Api<ControllerRevision> = Api::namespaced(pulse.listen(&client), &identity.namespace);
    let health = Health::of(KIND, Outages::default(), pulse);
    let words = Words {
        fails: "ControllerRevisions cannot be watched: a replica that starts while a route is edited \
                badly does not know its last good version",
        works: "ControllerRevisions can be watched again",
    };
    let Shown { revisions, refused } = shown;
    let refused = || {
        refused.send_if_modified(|refused| !std::mem::replace(refused, true));
    };
    let read = |kept: ControllerRevision| revision::read(&kept);
    let config = own::config(&identity);
    own::follow(api, config, health, words, read, refused, revisions).await;
}

/// What an installation has kept in its namespace, at one look.
pub(super) async fn list(
    client: &Client,
    (namespace, installation): (&str, &str),
) -> Result<Vec<Change>, kube::Error> {
    let api: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    let kept = api.list(&own::list(installation)).await?.items.into_iter();
    let read = |kept: ControllerRevision| Some((kept.name_any().into(), revision::read(&kept)?));
    Ok(changes(&None, &Some(kept.filter_map(read).collect())))
}

/// Removes what an installation has kept of routes in some namespaces, or in all. How many versions that
/// were.
pub(super) async fn remove_all(
    client: &Client,
    (namespace, installation): (&str, &str),
    of: impl Fn(&str) -> bool,
) -> Result<usize, kube::Error> {
    let api: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    let mut removed = 0;
    for kept in api.list(&own::list(installation)).await? {
        let route = revision::read(&kept);
        if route.is_some_and(|route| !of(&route.key.namespace)) {
            continue;
        }
        match api.delete(&kept.name_any(), &DeleteParams::default()).await {
            Ok(_) => removed += 1,
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{self, Kind};

    fn revision(name: &str, uid: &str, generation: i64) -> Revision {
        let route = serde_json::json!({
            "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
            "metadata": {
                "name": name, "namespace": "default", "uid": uid, "generation": generation,
            },
            "spec": {"route": {"rules": [{"service": {"name": "api", "port": 80}}]}},
        });
        let kept = serde_json::json!({"metadata": {}, "revision": generation, "data": route});
        revision::read(&serde_json::from_value(kept).unwrap()).unwrap()
    }

    fn revisions(all: &[(&str, &str, i64)]) -> Revisions {
        let named = all.iter().map(|(name, uid, generation)| {
            let object: Box<str> = format!("{name}-{uid}-{generation}").into();
            (object, revision(name, uid, *generation))
        });
        Some(named.collect())
    }

    fn told(before: &Revisions, after: &Revisions) -> Vec<String> {
        let changes = changes(before, after).into_iter();
        let told = changes.map(|change| match change {
            Change::Keep(object) => {
                let metadata = object.metadata();
                let (name, uid) = (
                    metadata.name.clone().unwrap(),
                    metadata.uid.clone().unwrap(),
                );
                format!("keep {name} {uid} {}", metadata.generation.unwrap())
            }
            Change::Discard { key, uid } => format!("discard {} {uid}", key.name),
            other => panic!("{other:?}"),
        });
        told.collect()
    }

    #[test]
    fn what_is_new_of_what_is_kept() {
        let one = ("a", "1", 3);
        let cases: [(Revisions, Revisions, &[&str]); 8] = [
            (None, revisions(&[]), &[]),
            (None, revisions(&[one]), &["keep a 1 3"]),
            (revisions(&[one]), revisions(&[one]), &[]),
            (revisions(&[one]), revisions(&[]), &["discard a 1"]),
            // Another version, beside the one before and then alone.
            (
                revisions(&[one]),
                revisions(&[one, ("a", "1", 5)]),
                &["keep a 1 5"],
            ),
            (
                revisions(&[one, ("a", "1", 5)]),
                revisions(&[("a", "1", 5)]),
                &[],
            ),
            (
                revisions(&[("a", "1", 5)]),
                revisions(&[("a", "1", 5), one]),
                &[],
            ),
            // Deleted, and made anew.
            (
                revisions(&[one]),
                revisions(&[("a", "2", 1), ("b", "3", 1)]),
                &["discard a 1", "keep a 2 1", "keep b 3 1"],
            ),
        ];
        for (before, after, expected) in cases {
            assert_eq!(told(&before, &after), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn the_first_table_waits_until_they_are_known_refused_or_late() {
        let now = Instant::now();
        assert!(!Reader::default().is_awaited(now), "nobody tells");
        let shown = Shown::new();
        let mut reader = shown.reader();
        assert!(reader.is_awaited(now));
        assert!(reader.is_awaited(now + PATIENCE / 2));
        assert!(!reader.is_awaited(now + PATIENCE));
        let mut reader = shown.reader();
        shown
            .revisions
            .send_replace(Arc::new(revisions(&[("a", "1", 3)])));
        assert!(reader.is_awaited(now), "they are not taken in");
        assert_eq!(reader.changes().len(), 1);
        assert!(!reader.is_awaited(now));
        shown.refused.send_replace(true);
        assert!(!shown.reader().is_awaited(now));
    }

    #[test]
    fn nothing_but_routes_is_ever_read() {
        let read = |data: serde_json::Value| {
            let kept = serde_json::json!({"metadata": {}, "revision": 1, "data": data});
            revision::read(&serde_json::from_value(kept).unwrap())
        };
        let metadata = serde_json::json!({
            "name": "a", "namespace": "default", "uid": "1", "generation": 1,
        });
        for data in [
            serde_json::json!(null),
            serde_json::json!({"spec": {"template": {}}}),
            serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {}}),
            serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": 7}),
            serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {}}),
            serde_json::json!({"apiVersion": "ferrix.com/v1", "kind": "IngressRoute", "metadata": {"name": "a"}}),
        ] {
            assert!(read(data.clone()).is_none(), "{data}");
        }
        // As a release to come may write it: it is somebody's, and stays.
        let unknown = read(serde_json::json!({
            "apiVersion": "ferrix.com/v2", "kind": "IngressRoute", "metadata": metadata, "spec": {},
        }));
        let unknown = unknown.unwrap();
        assert!(unknown.object.is_none());
        assert_eq!(
            unknown.key,
            objects::key(Kind::IngressRoute, "default", "a")
        );
    }
}
