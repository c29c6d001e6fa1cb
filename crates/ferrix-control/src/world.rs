//! The objects that there are now, and the last good versions of those that were edited badly.
//!
//! A plain store: no clock, no I/O. Whether a version is good is decided when it comes, by
//! compiling it alone; what it names may come and go without making it bad.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map, hash_map},
    path::Path,
    sync::Arc,
};

use ferrix_api::referencegrant::ReferenceGrantSpec;

use crate::{
    decode::DecodeError,
    endpointslice::{self, Slice},
    ingressroute::{Version, Versions},
    objects::{Key, Kind, Object, ObjectName, Origin},
    referencegrant::{self, Grants, Pass},
    report::Finding,
    secret::{self, SecretState},
    service::{self, Backend, ServiceSpec},
};

/// The objects that there are now.
#[derive(Clone, Debug, Default)]
pub struct World {
    routes: BTreeMap<ObjectName, Versions>,
    services: HashMap<ObjectName, Stored<ServiceSpec>>,
    /// The slices of each Service, by their names.
    slices: HashMap<ObjectName, BTreeMap<Arc<str>, Stored<Slice>>>,
    /// Slices that name no Service.
    strays: BTreeMap<ObjectName, Stored<Slice>>,
    /// The Service of each slice, if it names one.
    service_of: HashMap<ObjectName, Option<ObjectName>>,
    secrets: HashMap<ObjectName, Stored<SecretState>>,
    grants: HashMap<Arc<str>, Grants>,
    namespaces: BTreeSet<Arc<str>>,
    /// Objects whose newest version could not be decoded.
    rejected: BTreeMap<Key, (Origin, DecodeError)>,
    /// What was found about files rather than objects.
    remarks: BTreeMap<Arc<Path>, Vec<Finding>>,
    /// What was found while decoding objects that could be decoded.
    notes: BTreeMap<Key, (Origin, Vec<Finding>)>,
    /// The time of the newest change, in seconds since 1970.
    now: i64,
}

#[derive(Clone, Debug)]
struct Stored<T> {
    value: T,
    origin: Origin,
}

/// What a source has seen.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object is new, or has a new version.
    Apply {
        /// The object.
        object: Object,
        /// Where it comes from.
        origin: Origin,
        /// What decoding found, though it succeeded.
        notes: Vec<Finding>,
    },
    /// An object is gone.
    Remove(Key),
    /// An object has a new version that cannot be decoded.
    Reject {
        /// The object.
        key: Key,
        /// Where that version comes from.
        origin: Origin,
        /// Why it cannot be decoded.
        error: DecodeError,
    },
    /// All there is to say about a file itself. Replaces what was said before.
    Remark {
        /// The file.
        path: Arc<Path>,
        /// What there is to say.
        findings: Vec<Finding>,
    },
}

/// What a change means for what is made from the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    #[default]
    Nothing,
    /// Only endpoints of these Services may differ.
    Endpoints(BTreeSet<ObjectName>),
    /// Only what is made from these Services, and their endpoints, may differ.
    Services(BTreeSet<ObjectName>),
    /// Anything may.
    Everything,
}

impl Effect {
    /// The effect of two changes together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        use Effect::*;
        match (self, other) {
            (Everything, _) | (_, Everything) => Everything,
            (Nothing, effect) | (effect, Nothing) => effect,
            (Endpoints(mut one), Endpoints(other)) => {
                one.extend(other);
                Endpoints(one)
            }
            (Services(mut one) | Endpoints(mut one), Services(other) | Endpoints(other)) => {
                one.extend(other);
                Services(one)
            }
        }
    }
}

impl World {
    /// A world without objects.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time that validity is measured by, in seconds since 1970.
    pub fn set_time(&mut self, now: i64) {
        self.now = now;
    }

    /// Takes a change in.
    pub fn take(&mut self, change: Change) -> Effect {
        match change {
            Change::Apply {
                object,
                origin,
                notes,
            } => self.apply(object, origin, notes),
            Change::Remove(key) => self.remove(&key),
            Change::Reject { key, origin, error } => self.reject(key, origin, error),
            Change::Remark { path, findings } => self.remark(path, findings),
        }
    }

    /// Takes the newest version of an object.
    pub fn apply(&mut self, object: Object, origin: Origin, notes: Vec<Finding>) -> Effect {
        let key = object.key();
        let effect = match self.rejected.remove(&key) {
            Some(_) => Effect::Everything,
            None => Effect::Nothing,
        };
        let effect = effect.and(self.note(&key, &origin, notes));
        let name = key.object_name();
        effect.and(match object {
            Object::IngressRoute(route) => self.apply_route(name, &route, origin),
            Object::Service(service) => {
                store(&mut self.services, name, service::compile(&service), origin)
                    .map_or(Effect::Nothing, |name| Effect::Services([name].into()))
            }
            Object::EndpointSlice(slice) => {
                self.apply_slice(name, endpointslice::compile(&slice), origin)
            }
            Object::Secret(secret) => {
                let newest = secret::compile(&name.to_string(), &secret);
                self.apply_secret(name, newest, origin)
            }
            Object::ReferenceGrant(grant) => {
                let grant = referencegrant::compile(&grant);
                let grants = self.grants.entry(name.namespace).or_default();
                match grants.insert(name.name, grant.clone()) == Some(grant) {
                    true => Effect::Nothing,
                    false => Effect::Everything,
                }
            }
            Object::Namespace(_) => {
                self.namespaces.insert(name.name);
                Effect::Nothing
            }
        })
    }

    /// Forgets an object: a deletion is a deletion.
    pub fn remove(&mut self, key: &Key) -> Effect {
        let name = key.object_name();
        let told = self.rejected.remove(key).is_some() | self.notes.remove(key).is_some();
        let everything = |gone: bool| match gone {
            true => Effect::Everything,
            false => Effect::Nothing,
        };
        let effect = match key.kind {
            Kind::IngressRoute => everything(self.routes.remove(&name).is_some()),
            Kind::Service => match self.services.remove(&name) {
                Some(_) => Effect::Services([name].into()),
                None => Effect::Nothing,
            },
            Kind::EndpointSlice => self.remove_slice(&name),
            Kind::Secret => everything(self.secrets.remove(&name).is_some()),
            Kind::ReferenceGrant => {
                let grants = self.grants.get_mut(&name.namespace);
                everything(grants.is_some_and(|grants| grants.remove(&name.name).is_some()))
            }
            Kind::Namespace => {
                self.namespaces.remove(&name.name);
                Effect::Nothing
            }
        };
        effect.and(everything(told))
    }

    /// Takes note that the newest version of an object cannot be decoded. What was there before
    /// stays.
    pub fn reject(&mut self, key: Key, origin: Origin, error: DecodeError) -> Effect {
        let rejection = (origin, error);
        match self.rejected.insert(key, rejection.clone()) == Some(rejection) {
            true => Effect::Nothing,
            false => Effect::Everything,
        }
    }

    /// Takes note of what was found about a file; nothing forgets the file.
    pub fn remark(&mut self, path: Arc<Path>, findings: Vec<Finding>) -> Effect {
        let before = match findings.is_empty() {
            true => self.remarks.remove(&path),
            false => self.remarks.insert(Arc::clone(&path), findings),
        };
        match before.as_ref() == self.remarks.get(&path) {
            true => Effect::Nothing,
            false => Effect::Everything,
        }
    }

    fn note(&mut self, key: &Key, origin: &Origin, notes: Vec<Finding>) -> Effect {
        let before = match notes.is_empty() {
            true => self.notes.remove(key),
            false => self.notes.insert(key.clone(), (origin.clone(), notes)),
        };
        match before.as_ref() == self.notes.get(key) {
            true => Effect::Nothing,
            false => Effect::Everything,
        }
    }

    fn apply_route(
        &mut self,
        name: ObjectName,
        route: &ferrix_api::IngressRoute,
        origin: Origin,
    ) -> Effect {
        match self.routes.entry(name) {
            btree_map::Entry::Occupied(known) if known.get().newest.is_of(route, &origin) => {
                return Effect::Nothing;
            }
            btree_map::Entry::Occupied(mut known) => {
                known.get_mut().update(Version::compile(route, origin));
            }
            btree_map::Entry::Vacant(unknown) => {
                unknown.insert(Versions::first(Version::compile(route, origin)));
            }
        }
        Effect::Everything
    }

    fn apply_slice(&mut self, name: ObjectName, slice: Slice, origin: Origin) -> Effect {
        let same = |known: &Stored<Slice>| known.value == slice && known.origin == origin;
        if self.slice(&name).is_some_and(same) {
            return Effect::Nothing;
        }
        let service = slice.service.as_ref().map(|service| ObjectName {
            namespace: Arc::clone(&name.namespace),
            name: Arc::clone(service),
        });
        let moved = match self.service_of.get(&name) {
            Some(before) if *before != service => self.remove_slice(&name),
            _ => Effect::Nothing,
        };
        self.service_of.insert(name.clone(), service.clone());
        let slice = Stored {
            value: slice,
            origin,
        };
        match service {
            // It is of interest to nobody, and the report says so.
            None => {
                self.strays.insert(name, slice);
                Effect::Everything
            }
            Some(service) => {
                self.slices
                    .entry(service.clone())
                    .or_default()
                    .insert(name.name, slice);
                moved.and(Effect::Endpoints([service].into()))
            }
        }
    }

    fn remove_slice(&mut self, name: &ObjectName) -> Effect {
        let Some(service) = self.service_of.remove(name) else {
            return Effect::Nothing;
        };
        let Some(service) = service else {
            self.strays.remove(name);
            return Effect::Everything;
        };
        if let hash_map::Entry::Occupied(mut slices) = self.slices.entry(service.clone()) {
            slices.get_mut().remove(&name.name);
            if slices.get().is_empty() {
                slices.remove();
            }
        }
        Effect::Endpoints([service].into())
    }

    fn slice(&self, name: &ObjectName) -> Option<&Stored<Slice>> {
        match self.service_of.get(name)? {
            Some(service) => self.slices.get(service)?.get(&name.name),
            None => self.strays.get(name),
        }
    }

    fn apply_secret(
        &mut self,
        name: ObjectName,
        newest: Result<Arc<secret::Parsed>, secret::SecretFault>,
        origin: Origin,
    ) -> Effect {
        let before = self.secrets.get(&name);
        let last_good = match &newest {
            Ok(_) => None,
            Err(_) => before.and_then(|before| before.value.serving().ok().cloned()),
        };
        let state = SecretState { newest, last_good };
        let same =
            before.is_some_and(|before| before.value.same(&state) && before.origin == origin);
        if same {
            return Effect::Nothing;
        }
        self.secrets.insert(
            name,
            Stored {
                value: state,
                origin,
            },
        );
        Effect::Everything
    }

    /// Every IngressRoute that could be decoded at least once.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (&ObjectName, &Versions)> {
        self.routes.iter()
    }

    /// A Service, for who has a pass for it.
    pub(crate) fn service(&self, pass: Pass<'_>) -> Option<&ServiceSpec> {
        self.services.get(pass.name()).map(|stored| &stored.value)
    }

    /// A Secret, for who has a pass for it.
    pub(crate) fn secret(&self, pass: Pass<'_>) -> Option<&SecretState> {
        self.secrets.get(pass.name()).map(|stored| &stored.value)
    }

    /// The Service of a backend. That there is a backend shows that there was a pass.
    pub(crate) fn spec(&self, backend: &Backend) -> Option<&ServiceSpec> {
        self.services
            .get(backend.service())
            .map(|stored| &stored.value)
    }

    /// The slices of a backend's Service, by name.
    pub(crate) fn slices(&self, backend: &Backend) -> impl Iterator<Item = (&str, &Slice)> {
        let slices = self.slices.get(backend.service()).into_iter().flatten();
        slices.map(|(name, stored)| (&**name, &stored.value))
    }

    /// Slices that name no Service.
    pub(crate) fn stray_slices(&self) -> impl Iterator<Item = (&ObjectName, &Slice)> {
        self.strays
            .iter()
            .map(|(name, stored)| (name, &stored.value))
    }

    /// What there is to say about Secrets, whoever uses them.
    pub(crate) fn secret_findings(&self) -> impl Iterator<Item = (&ObjectName, Vec<Finding>)> {
        self.secrets
            .iter()
            .map(|(name, stored)| (name, stored.value.findings(self.now)))
            .filter(|(_, findings)| !findings.is_empty())
    }

    /// The time that validity is measured by, in seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    /// The grants of a namespace.
    pub(crate) fn grants(&self, namespace: &str) -> impl Iterator<Item = &ReferenceGrantSpec> {
        self.grants
            .get(namespace)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// Why the newest version of an object could not be decoded, where it could not.
    pub(crate) fn rejection(
        &self,
        kind: Kind,
        name: &ObjectName,
    ) -> Option<(&Origin, &DecodeError)> {
        // There are none as a rule, and then no key is made.
        let rejected = (!self.rejected.is_empty()).then(|| self.rejected.get(&name.key(kind)));
        rejected.flatten().map(|(origin, error)| (origin, error))
    }

    /// Every object of a kind that there is, good or not.
    pub(crate) fn names(&self, kind: Kind) -> BTreeSet<ObjectName> {
        let rejected = (self.rejected.keys())
            .filter(|key| key.kind == kind)
            .map(Key::object_name);
        let known: Vec<ObjectName> = match kind {
            Kind::EndpointSlice => self.service_of.keys().cloned().collect(),
            Kind::IngressRoute => self.routes.keys().cloned().collect(),
            Kind::Namespace => (self.namespaces.iter())
                .map(|name| ObjectName::new("", name))
                .collect(),
            Kind::ReferenceGrant => (self.grants.iter())
                .flat_map(|(namespace, grants)| {
                    grants.keys().map(|name| ObjectName::new(namespace, name))
                })
                .collect(),
            Kind::Secret => self.secrets.keys().cloned().collect(),
            Kind::Service => self.services.keys().cloned().collect(),
        };
        rejected.chain(known).collect()
    }

    /// Every namespace with a route that names a Secret, some of them more than once.
    pub(crate) fn namespaces_with_tls(&self) -> impl Iterator<Item = Arc<str>> {
        let routes = (self.routes.iter()).filter(|(_, versions)| versions.use_tls());
        routes.map(|(name, _)| Arc::clone(&name.namespace))
    }

    /// Every object whose newest version could not be decoded.
    pub(crate) fn rejections(&self) -> impl Iterator<Item = (&Key, &Origin, &DecodeError)> {
        self.rejected
            .iter()
            .map(|(key, (origin, error))| (key, origin, error))
    }

    /// Every object about which decoding found something, though it succeeded.
    pub(crate) fn noted(&self) -> impl Iterator<Item = &Key> {
        self.notes.keys()
    }

    /// What decoding found about an object.
    pub(crate) fn notes_of(&self, key: &Key) -> Option<&[Finding]> {
        self.notes.get(key).map(|(_, findings)| &**findings)
    }

    /// What was found about files.
    pub(crate) fn remarks(&self) -> impl Iterator<Item = (&Arc<Path>, &Finding)> {
        self.remarks
            .iter()
            .flat_map(|(path, findings)| findings.iter().map(move |finding| (path, finding)))
    }

    /// Whether any version of the route could ever be decoded.
    pub(crate) fn has_route(&self, name: &ObjectName) -> bool {
        self.routes.contains_key(name)
    }

    /// Where an object comes from.
    pub(crate) fn origin(&self, key: &Key) -> Origin {
        let name = key.object_name();
        let origin = match key.kind {
            Kind::EndpointSlice => self.slice(&name).map(|stored| &stored.origin),
            Kind::Secret => self.secrets.get(&name).map(|stored| &stored.origin),
            Kind::Service => self.services.get(&name).map(|stored| &stored.origin),
            Kind::IngressRoute => self
                .routes
                .get(&name)
                .map(|versions| &versions.newest.origin),
            // Nothing of these is located.
            Kind::Namespace | Kind::ReferenceGrant => None,
        };
        origin
            .or_else(|| self.notes.get(key).map(|(origin, _)| origin))
            .cloned()
            .unwrap_or_default()
    }
}

/// Stores a value; the name comes back if that changed anything.
fn store<T: PartialEq>(
    stored: &mut HashMap<ObjectName, Stored<T>>,
    name: ObjectName,
    value: T,
    origin: Origin,
) -> Option<ObjectName> {
    match stored.get_mut(&name) {
        Some(known) if known.value == value && known.origin == origin => return None,
        Some(known) => *known = Stored { value, origin },
        None => {
            stored.insert(name.clone(), Stored { value, origin });
        }
    }
    Some(name)
}
