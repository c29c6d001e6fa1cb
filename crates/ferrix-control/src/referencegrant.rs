//! `ReferenceGrant`: who may use what, and the only door to a Service or a Secret.
//!
//! The store gives out neither without being [`Permitted`] to, and only [`Grants::permit`] says so.
//! So there is no second way to reach an object of another namespace, whatever kind of reference
//! comes next.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ferrix_api::{ReferenceGrant, referencegrant::ReferenceGrantSpec};
use serde_json::Value;

use crate::{
    document::{self, Fault, Read, Strictness},
    names::shared,
    objects::{self, Key, Kind, ObjectName, group},
    rare::Rare,
    settings::Settings,
};

/// Whose reference it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Referrer<'a> {
    /// The operator's, who needs nobody's consent.
    Settings,
    /// This object's.
    Object(&'a Key),
}

/// The name of an object that the referrer may use, whether it exists or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Permitted(ObjectName);

/// Why a reference leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No grant. Whether the object exists is not told.
    Forbidden,
    /// Its namespace is not watched.
    Unwatched,
    /// There is no such object.
    Missing,
}

/// All grants that there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grants {
    /// By namespace, then by name.
    of_namespace: HashMap<Arc<str>, BTreeMap<Arc<str>, ReferenceGrantSpec>>,
}

/// Reads a document.
pub(crate) fn decode(
    value: &Value,
    strictness: Strictness,
) -> Result<Read<ReferenceGrant>, Vec<Fault>> {
    document::read_known(value, strictness, |_| Rare::default())
}

/// What of a grant is kept.
pub(crate) fn compile(grant: &ReferenceGrant) -> ReferenceGrantSpec {
    grant.spec.clone()
}

impl Permitted {
    pub(crate) fn name(&self) -> &ObjectName {
        &self.0
    }
}

impl Grants {
    /// Decides every reference: whether the referrer may use the object of this kind and name.
    pub(crate) fn permit(
        &self,
        settings: &Settings,
        from: Referrer<'_>,
        kind: Kind,
        name: &ObjectName,
    ) -> Result<Permitted, Refused> {
        if let Referrer::Object(from) = from
            && from.namespace != name.namespace
            && !self
                .of(&name.namespace)
                .any(|it| grants(it, from, kind, &name.name))
        {
            return Err(Refused::Forbidden);
        }
        match settings.watches(&name.namespace) {
            true => Ok(Permitted(name.clone())),
            false => Err(Refused::Unwatched),
        }
    }

    /// Stores a grant. Tells whether that changes anything.
    pub(crate) fn store(&mut self, name: &ObjectName, grant: ReferenceGrantSpec) -> bool {
        let grants = self.of_namespace.entry(name.namespace.clone()).or_default();
        grants.insert(shared(&name.name), grant.clone()) != Some(grant)
    }

    /// Forgets a grant. Tells whether there was one.
    pub(crate) fn remove(&mut self, name: &ObjectName) -> bool {
        let grants = self.of_namespace.get_mut(&name.namespace);
        grants.is_some_and(|grants| grants.remove(&*name.name).is_some())
    }

    /// The key of every grant.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.of_namespace.iter().flat_map(|(namespace, grants)| {
            let names = grants.keys();
            names.map(|name| objects::key(Kind::ReferenceGrant, namespace, name))
        })
    }

    fn of(&self, namespace: &str) -> impl Iterator<Item = &ReferenceGrantSpec> {
        let grants = self.of_namespace.get(namespace);
        grants.into_iter().flat_map(BTreeMap::values)
    }
}

fn grants(grant: &ReferenceGrantSpec, from: &Key, kind: Kind, name: &str) -> bool {
    let is_from = grant.from.iter().any(|it| {
        it.group == group(from.kind)
            && it.kind == from.kind.as_str()
            && *it.namespace == *from.namespace
    });
    is_from
        && grant.to.iter().any(|it| {
            // An empty name is no name: the schema of the Gateway API leaves it out.
            let named = it.name.as_deref().filter(|name| !name.is_empty());
            it.group == group(kind) && it.kind == kind.as_str() && named.is_none_or(|it| it == name)
        })
}
