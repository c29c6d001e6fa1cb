//! The last good version of a route, as it is kept: a ControllerRevision.
//!
//! Its data is the route as the API server had it, with what tells one version from all others, so that
//! the decoder takes it like any. An object whose data never changes: another version is another object.
//! It has no labels but the installation's: controllers take those over that fit a workload of theirs.

use std::sync::Arc;

use k8s_openapi::{
    api::apps::v1::ControllerRevision,
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
    jiff::Timestamp,
};
use serde_json::json;

use super::{Identity, own::INSTALLATION};
use crate::{
    decode::{self, Decoded, Strictness},
    draft::Draft,
    kinds,
    objects::{self, Key, Object},
};

/// A version of a route that was good, as another replica kept it.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    pub(super) key: Key,
    /// `metadata.uid` of the route.
    pub(super) uid: Box<str>,
    /// `metadata.generation` of this version.
    pub(super) generation: i64,
    /// `None`: this release cannot read it.
    pub(super) object: Option<Object>,
}

/// The name of a version of a route. `metadata.uid` is short, and no two routes ever have the same.
pub(super) fn name(identity: &Identity, uid: &str, generation: i64) -> String {
    format!("{}-{uid}-{generation}", identity.installation)
}

/// A version of a route, to be kept. `None` where it has no generation, or no form: it came from
/// elsewhere than the API server.
pub(super) fn write(identity: &Identity, uid: &str, draft: &Draft) -> Option<ControllerRevision> {
    let key = draft.key();
    let spec = kinds::written_spec(draft)?;
    let generation = draft.generation()?;
    let created = draft.route.created;
    let created = created.and_then(|it| Timestamp::from_second(it).ok());
    let route = json!({
        "apiVersion": objects::api_version(key.kind, objects::versions(key.kind)[0]),
        "kind": key.kind.as_str(),
        "metadata": {
            "name": &*key.name,
            "namespace": &*key.namespace,
            "uid": uid,
            "generation": generation,
            "creationTimestamp": created.map(|it| it.to_string()),
        },
        "spec": spec,
    });
    Some(ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name(identity, uid, generation)),
            labels: Some([(INSTALLATION.to_owned(), identity.installation.clone())].into()),
            ..ObjectMeta::default()
        },
        data: RawExtension(route),
        revision: Some(generation),
    })
}

/// What was kept. `None`: no version of a route.
pub(super) fn read(revision: &ControllerRevision) -> Option<Revision> {
    let RawExtension(route) = &revision.data;
    match decode::decode(route, Strictness::Api) {
        Ok(Decoded::Object { object, .. }) => {
            let key = object.key();
            let metadata = object.metadata();
            let (uid, generation) = (metadata.uid.as_deref()?.into(), metadata.generation?);
            kinds::has_drafts(key.kind).then_some(Revision {
                key,
                uid,
                generation,
                object: Some(object),
            })
        }
        Ok(Decoded::Ignored(_)) => None,
        Err(error) => Some(Revision {
            key: error.key.filter(|key| kinds::has_drafts(key.kind))?,
            uid: error.uid?,
            generation: error.generation?,
            object: None,
        }),
    }
}

/// A route whose newest version is bad.
#[derive(Clone, Debug)]
pub(super) struct BadRoute {
    /// `metadata.uid`.
    pub(super) uid: Box<str>,
    /// The last good version, where one is known here.
    pub(super) last_good: Option<Arc<Draft>>,
}

/// Versions of one object with equal generations are equal.
impl PartialEq for BadRoute {
    fn eq(&self, other: &Self) -> bool {
        let [one, two] = [self, other].map(|it| it.last_good.as_ref().map(|it| it.generation()));
        self.uid == other.uid && one == two
    }
}
