//! Who may use what: the only door to a Service or a Secret.
//!
//! The store gives out neither without a [`Pass`], and only this module makes one. So there is no
//! second way to reach an object of another namespace, whatever kind of reference comes next.

use std::{collections::BTreeMap, sync::Arc};

use ferrix_api::{ReferenceGrant, referencegrant::ReferenceGrantSpec};

use crate::{
    objects::{Kind, ObjectName, group},
    secret::SecretState,
    service::ServiceSpec,
    settings::Settings,
    world::World,
};

/// Whose reference it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Referrer<'a> {
    /// The operator's, who needs nobody's consent.
    Settings,
    /// An IngressRoute's of this namespace.
    IngressRoute { namespace: &'a str },
}

/// Permission to take one object out of the store.
pub(crate) struct Pass<'a> {
    name: &'a ObjectName,
}

impl Pass<'_> {
    /// The object that it is for.
    pub(crate) fn name(&self) -> &ObjectName {
        self.name
    }
}

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

/// The Service of this name, if the referrer may use it.
pub(crate) fn service<'w>(
    world: &'w World,
    settings: &Settings,
    from: Referrer<'_>,
    name: &ObjectName,
) -> Result<&'w ServiceSpec, Refused> {
    let pass = permit(world, settings, from, Kind::Service, name)?;
    world.service(pass).ok_or(Refused::Missing)
}

/// The Secret of this name, if the referrer may use it.
pub(crate) fn secret<'w>(
    world: &'w World,
    settings: &Settings,
    from: Referrer<'_>,
    name: &ObjectName,
) -> Result<&'w SecretState, Refused> {
    let pass = permit(world, settings, from, Kind::Secret, name)?;
    world.secret(pass).ok_or(Refused::Missing)
}

fn permit<'a>(
    world: &World,
    settings: &Settings,
    from: Referrer<'_>,
    kind: Kind,
    name: &'a ObjectName,
) -> Result<Pass<'a>, Refused> {
    if let Referrer::IngressRoute { namespace } = from
        && *namespace != *name.namespace
        && !world
            .grants(&name.namespace)
            .any(|grant| grants(grant, namespace, kind, &name.name))
    {
        return Err(Refused::Forbidden);
    }
    match settings.watches(&name.namespace) {
        true => Ok(Pass { name }),
        false => Err(Refused::Unwatched),
    }
}

fn grants(grant: &ReferenceGrantSpec, from: &str, kind: Kind, name: &str) -> bool {
    let ours = Kind::IngressRoute;
    grant
        .from
        .iter()
        .any(|it| it.group == group(ours) && it.kind == ours.as_str() && it.namespace == from)
        && grant.to.iter().any(|it| {
            // An empty name is no name: the schema of the Gateway API leaves it out.
            let named = it.name.as_deref().filter(|name| !name.is_empty());
            it.group == group(kind) && it.kind == kind.as_str() && named.is_none_or(|it| it == name)
        })
}

/// The grants of one namespace, by name.
pub(crate) type Grants = BTreeMap<Arc<str>, ReferenceGrantSpec>;

/// What of a grant is kept.
pub(crate) fn compile(grant: &ReferenceGrant) -> ReferenceGrantSpec {
    grant.spec.clone()
}
