//! The objects that there are now, and the last good versions of those that were edited badly.
//!
//! A plain store: no clock, no I/O. Whether a version is good is decided when it comes, by
//! compiling it alone; what it names may come and go without making it bad. So each kind's file is
//! below the store, and whatever looks at several objects is above it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map},
    path::Path,
    sync::Arc,
};

use ferrix_api::{
    gateway::{BackendTlsPolicySpec, BackendTrafficPolicySpec, GatewayClassSpec, ListenerSetSpec},
    referencegrant::ReferenceGrantSpec,
};
use ferrix_table::{filters::jwt::Renewal, sockets::Refusals};

use crate::{
    authorities::Authorities,
    backendpolicy, configmap,
    credentials::Entries,
    document::DecodeError,
    draft::{ClassReference, Draft, NamedByTls, Versions},
    endpointslice::{self, Slice},
    external_name::{Answer, DomainName, Resolution},
    fallback::Fallback,
    filter,
    gateway::GatewayVersion,
    gateway_objects::{GatewayObject, GatewayObjects},
    gateway_route::{grpcroute, httproute, stream},
    gateway_service::{Exposed, Found},
    guard::{Step, guarded},
    ingress,
    ingressclass::{self, IngressClassSpec, IngressClasses},
    ingressroute,
    issuer_keys::{Fetched, KnownKeys},
    kinds,
    last_good::{BadVersion, LastGood},
    names::shared,
    namespace::{self, Labels},
    objects::{self, Key, Kind, Object, ObjectName, Origin},
    referencegrant::{self, Grants, Permitted, Referrer, Refused},
    report::{Finding, Reason},
    secret::{self, SecretState},
    service::{self, ServiceSpec},
    settings::{Publish, Settings},
    status::Address,
    supply::Supply,
    version::Version,
};

/// The objects that there are now.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Objects that make rules, of whatever kind.
    routes: BTreeMap<Key, Versions>,
    /// Filters, which rules of any kind name.
    filters: BTreeMap<Key, Versions>,
    /// BackendPolicies, each for Services.
    backend_policies: BTreeMap<Key, Versions>,
    /// Which of all are bad, and what others have kept of those.
    last_good: LastGood,
    /// Boxed, like slices: a third of a large map is empty, and a half while it grows.
    services: HashMap<ObjectName, Box<Stored<ServiceSpec>>>,
    slices: HashMap<ObjectName, Box<Stored<Slice>>>,
    /// Each Service that slices name, with the names of those slices.
    slices_of: BTreeSet<(ObjectName, ObjectName)>,
    /// Each name that Services stand for, with those Services.
    services_of: BTreeSet<(DomainName, ObjectName)>,
    /// The Services that installations have made for Gateways.
    exposed: BTreeSet<ObjectName>,
    /// What was found of the names that are looked up.
    resolutions: HashMap<DomainName, Resolution>,
    /// What was fetched of the keys at URLs.
    keys: HashMap<Arc<str>, KnownKeys>,
    secrets: HashMap<ObjectName, Stored<SecretState>>,
    grants: Grants,
    namespaces: BTreeMap<Arc<str>, Labels>,
    classes: IngressClasses,
    gateway_api: GatewayObjects,
    /// Where no replica can listen.
    refused: Refusals,
    /// The Services of Gateways that cannot be written, and why, by name.
    unwritten: Unwritten,
    /// Whether the API server keeps `retry` of HTTPRoutes.
    keeps_retries: bool,
    /// Kinds that cannot be seen, in a namespace or (`None`) in all, and why.
    withheld: BTreeMap<(Kind, Option<Arc<str>>), String>,
    /// Objects whose newest version could not be decoded.
    rejected: BTreeMap<Key, (Origin, DecodeError)>,
    /// What was found about files rather than objects.
    remarks: BTreeMap<Arc<Path>, Vec<Finding>>,
    /// What was found while decoding objects that could be decoded.
    notes: BTreeMap<Key, (Origin, Vec<Finding>)>,
    /// The time of the newest change, in seconds since 1970.
    now: i64,
    /// No certificate begins or ceases to be valid before this time, in seconds since 1970: until
    /// then the passing of time changes nothing. It may be too early, if the certificate that it was
    /// taken from is gone.
    turn: i64,
}

#[derive(Clone, Debug)]
struct Stored<T> {
    value: T,
    origin: Origin,
}

/// What is kept of an object.
enum Compiled {
    GatewayObject(GatewayObject),
    Draft(Draft),
    EndpointSlice(Slice),
    IngressClass(IngressClassSpec),
    Namespace(Labels),
    ReferenceGrant(ReferenceGrantSpec),
    Secret(
        Result<Arc<secret::Parsed>, secret::SecretFault>,
        Option<Arc<Entries>>,
    ),
    Service(ServiceSpec),
}

impl Compiled {
    fn new(object: &Object, origin: &Origin) -> Self {
        match object {
            Object::BackendPolicy(it) => Self::Draft(backendpolicy::draft(it, origin.clone())),
            Object::BackendTlsPolicy(policy) => {
                Self::GatewayObject(GatewayObject::policy(policy, origin.clone()))
            }
            Object::XBackendTrafficPolicy(policy) => {
                Self::GatewayObject(GatewayObject::traffic_policy(policy, origin.clone()))
            }
            Object::ConfigMap(map) => Self::GatewayObject(GatewayObject::config_map(map)),
            Object::Gateway(gateway) => {
                Self::GatewayObject(GatewayObject::gateway(gateway, origin.clone()))
            }
            Object::GatewayClass(class) => {
                Self::GatewayObject(GatewayObject::class(class, origin.clone()))
            }
            Object::ListenerSet(set) => {
                Self::GatewayObject(GatewayObject::listener_set(set, origin.clone()))
            }
            Object::GrpcRoute(route) => Self::Draft(grpcroute::draft(route, origin.clone())),
            Object::HttpRoute(route) => Self::Draft(httproute::draft(route, origin.clone())),
            Object::TcpRoute(route) => Self::Draft(stream::tcp(route, origin.clone())),
            Object::TlsRoute(route) => Self::Draft(stream::tls(route, origin.clone())),
            Object::UdpRoute(route) => Self::Draft(stream::udp(route, origin.clone())),
            Object::Filter(it) => Self::Draft(filter::draft(it, origin.clone())),
            Object::EndpointSlice(slice) => Self::EndpointSlice(endpointslice::compile(slice)),
            Object::Ingress(ingress) => Self::Draft(ingress::draft(ingress, origin.clone())),
            Object::IngressClass(class) => Self::IngressClass(ingressclass::compile(class)),
            Object::IngressRoute(route) => Self::Draft(ingressroute::draft(route, origin.clone())),
            Object::Namespace(namespace) => Self::Namespace(namespace::compile(namespace)),
            Object::ReferenceGrant(grant) => Self::ReferenceGrant(referencegrant::compile(grant)),
            Object::Secret(secret) => {
                let id = object.key().object.to_string();
                Self::Secret(secret::compile(&id, secret), secret::entries(secret))
            }
            Object::Service(service) => Self::Service(service::compile(service)),
        }
    }
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
    /// A Secret is gone that was a certificate, or one that was none. What has its name and is of the other
    /// sort stays: another watch tells of it.
    RemoveSecret {
        /// The Secret.
        name: ObjectName,
        /// Whether it was a certificate.
        certificate: bool,
    },
    /// An object has a new version that cannot be decoded.
    Reject {
        /// The object.
        key: Key,
        /// Where that version comes from.
        origin: Origin,
        /// Why it cannot be decoded.
        error: DecodeError,
    },
    /// A name was looked up. What was found before stays where nothing was found now.
    LookedUp {
        /// The name.
        name: DomainName,
        /// What came of it.
        answer: Answer,
    },
    /// A name is not looked up any more: nothing is known of it.
    Forget(DomainName),
    /// The keys at a URL were fetched. What was fetched before stays where nothing was now.
    KeysFetched {
        /// The URL.
        url: Arc<str>,
        /// What came of it.
        fetched: Fetched,
        /// Has them fetched again.
        renewal: Renewal,
    },
    /// The keys at a URL are not fetched any more: nothing is known of them.
    ForgetKeys(Arc<str>),
    /// All there is to say about a file itself. Replaces what was said before.
    Remark {
        /// The file.
        path: Arc<Path>,
        /// What there is to say.
        findings: Vec<Finding>,
    },
    /// A version of an object that makes rules, as it was kept since it was the last good one. Nothing
    /// comes of it unless the newest version is bad and none is known that was good before.
    Keep(Object),
    /// A version is not kept any more. Where it serves, it goes on until the object is good again.
    Discard {
        /// The object.
        key: Key,
        /// Its `metadata.uid`.
        uid: Box<str>,
    },
    /// Where the system does not let any replica listen. Replaces what was said before.
    Refused(Refusals),
    /// The Services of Gateways that cannot be written, and why, by name. Replaces what was said before.
    Unwritten(BTreeMap<Box<str>, String>),
    /// Whether the API server keeps `retry` of HTTPRoutes, which not every definition of them has.
    KeepsRetries(bool),
    /// Objects of a kind cannot be seen, for this reason; or they can again. Those that were seen
    /// stay.
    Withhold {
        /// The kind.
        kind: Kind,
        /// The namespace; `None`: all.
        namespace: Option<Arc<str>>,
        /// Why, and what to do.
        reason: Option<String>,
    },
}

impl Change {
    /// Whether it comes from elsewhere than a source of objects: from DNS, an issuer, or the system.
    pub(crate) fn is_of_no_object(&self) -> bool {
        matches!(
            self,
            Self::LookedUp { .. }
                | Self::Forget(_)
                | Self::KeysFetched { .. }
                | Self::ForgetKeys(_)
                | Self::Refused(_)
                | Self::Unwritten(_)
        )
    }
}

/// The Services of Gateways that cannot be written, and why, by name.
pub(crate) type Unwritten = BTreeMap<Box<str>, String>;

/// What of the world is other than before: whatever is made from it may differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Objects, in what they say or in what is to be said of them.
    pub(crate) objects: BTreeSet<Key>,
    /// Services of which slices are among those.
    pub(crate) endpoints: BTreeSet<ObjectName>,
    /// URLs of which other keys are known, or something else is to be said.
    pub(crate) keys: BTreeSet<Arc<str>>,
    /// Whether files are, of which something was found.
    pub(crate) remarks: bool,
    /// Whether the system lets replicas listen elsewhere than before, or other Services can be written.
    pub(crate) refused: bool,
    /// Whether kinds can or cannot be seen that could not or could before.
    pub(crate) sight: bool,
}

impl Effect {
    fn on(key: Key) -> Self {
        Self {
            objects: [key].into(),
            ..Self::default()
        }
    }

    fn on_keys(url: Arc<str>) -> Self {
        Self {
            keys: [url].into(),
            ..Self::default()
        }
    }

    fn on_if(changed: bool, key: Key) -> Self {
        match changed {
            true => Self::on(key),
            false => Self::default(),
        }
    }

    /// Whether everything is as before.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The effect of two changes together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.objects.extend(other.objects);
        self.endpoints.extend(other.endpoints);
        self.keys.extend(other.keys);
        self.remarks |= other.remarks;
        self.refused |= other.refused;
        self.sight |= other.sight;
        self
    }
}

impl World {
    /// A world without objects.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time that validity is measured by, in seconds since 1970.
    pub fn set_time(&mut self, now: i64) -> Effect {
        let before = std::mem::replace(&mut self.now, now);
        if (before..self.turn).contains(&now) {
            return Effect::default();
        }
        let states = || {
            self.secrets
                .iter()
                .map(|(name, stored)| (name, &stored.value))
        };
        let turns = states().filter_map(|(_, state)| state.turn_after(now));
        let turn = turns.min().unwrap_or(i64::MAX);
        let differs = |state: &SecretState| state.findings(before) != state.findings(now);
        let objects = states().filter(|(_, state)| differs(state));
        let effect = Effect {
            objects: objects.map(|(name, _)| name.key(Kind::Secret)).collect(),
            ..Effect::default()
        };
        self.turn = turn;
        effect
    }

    /// All that there is to be made from, as if all were new.
    pub(crate) fn everything(&self) -> Effect {
        let told = self.rejected.keys().chain(self.notes.keys());
        let gateway_api = [
            Kind::BackendTlsPolicy,
            Kind::XBackendTrafficPolicy,
            Kind::Gateway,
            Kind::GatewayClass,
            Kind::ListenerSet,
        ];
        let gateway_api = gateway_api.map(|kind| self.gateway_api.keys(kind));
        Effect {
            objects: (self.routes.keys().chain(self.filters.keys()))
                .chain(self.backend_policies.keys())
                .cloned()
                .chain(gateway_api.into_iter().flatten())
                .chain(self.secrets.keys().map(|name| name.key(Kind::Secret)))
                .chain(self.strays().map(|name| name.key(Kind::EndpointSlice)))
                .chain(told.cloned())
                .collect(),
            // The others follow from what routes name.
            endpoints: BTreeSet::new(),
            keys: BTreeSet::new(),
            remarks: true,
            refused: true,
            sight: true,
        }
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
            Change::RemoveSecret { name, certificate } => {
                match self
                    .is_certificate(&name)
                    .is_none_or(|it| it == certificate)
                {
                    true => self.remove(&name.key(Kind::Secret)),
                    false => Effect::default(),
                }
            }
            Change::Reject { key, origin, error } => self.reject(key, origin, error),
            Change::LookedUp { name, answer } => self.looked_up(name, &answer),
            Change::Forget(name) => self.forget(&name),
            Change::KeysFetched {
                url,
                fetched,
                renewal,
            } => self.keys_fetched(url, fetched, renewal),
            Change::ForgetKeys(url) => match self.keys.remove(&url) {
                Some(_) => Effect::on_keys(url),
                None => Effect::default(),
            },
            Change::Remark { path, findings } => self.remark(path, findings),
            Change::Keep(object) => self.keep(&object),
            Change::Discard { key, uid } => {
                self.last_good.discard(key, uid);
                Effect::default()
            }
            Change::Refused(refused) => Effect {
                refused: std::mem::replace(&mut self.refused, refused) != self.refused,
                ..Effect::default()
            },
            Change::Unwritten(unwritten) => Effect {
                refused: std::mem::replace(&mut self.unwritten, unwritten) != self.unwritten,
                ..Effect::default()
            },
            Change::KeepsRetries(keeps) => {
                let differs = std::mem::replace(&mut self.keeps_retries, keeps) != keeps;
                let classes = self.gateway_api.keys(Kind::GatewayClass).into_iter();
                Effect {
                    objects: classes.filter(|_| differs).collect(),
                    ..Effect::default()
                }
            }
            Change::Withhold {
                kind,
                namespace,
                reason,
            } => self.withhold(kind, namespace, reason),
        }
    }

    /// Takes the newest version of an object.
    pub fn apply(&mut self, object: Object, origin: Origin, notes: Vec<Finding>) -> Effect {
        let key = object.key();
        let compiled = guarded(Step::Compile, &key, || Compiled::new(&object, &origin));
        let (uid, generation) = (
            object.metadata().uid.as_deref(),
            object.metadata().generation,
        );
        let Ok(compiled) = compiled else {
            let error = DecodeError::bug(&key, uid, generation);
            return self.reject(key, origin, error);
        };
        let name = key.object.clone();
        let told = self.rejected.remove(&key).is_some() | self.note(&key, &origin, notes);
        let effect = Effect::on_if(told, key.clone());
        let changed = match compiled {
            Compiled::GatewayObject(object) => self.gateway_api.store(&name, object),
            Compiled::Draft(draft) => {
                let bad = (!draft.is_good()).then(|| BadVersion::new(uid, generation));
                self.last_good.see(&key, bad.flatten());
                self.apply_draft(key.clone(), draft) | self.restore(&key)
            }
            Compiled::Service(service) => self.apply_service(name, service, origin),
            Compiled::EndpointSlice(slice) => {
                return effect.and(self.apply_slice(name, slice, origin));
            }
            Compiled::Secret(newest, entries) => self.apply_secret(name, newest, entries, origin),
            Compiled::ReferenceGrant(grant) => self.grants.store(&name, grant),
            Compiled::Namespace(labels) => self.apply_namespace(&name.name, labels),
            Compiled::IngressClass(class) => {
                let changed = self.classes.store(&name.name, class);
                return effect.and(self.on_class(changed, key));
            }
        };
        effect.and(Effect::on_if(changed, key))
    }

    /// Forgets an object: a deletion is a deletion.
    pub fn remove(&mut self, key: &Key) -> Effect {
        let name = key.object.clone();
        let told = self.rejected.remove(key).is_some() | self.notes.remove(key).is_some();
        let effect = Effect::on_if(told, key.clone());
        let gone = match key.kind {
            Kind::BackendPolicy
            | Kind::Filter
            | Kind::GrpcRoute
            | Kind::HttpRoute
            | Kind::Ingress
            | Kind::IngressRoute
            | Kind::TcpRoute
            | Kind::TlsRoute
            | Kind::UdpRoute => {
                self.last_good.see(key, None);
                self.drafts_mut(key.kind).remove(key).is_some()
            }
            Kind::IngressClass => {
                let gone = self.classes.remove(&key.name);
                return effect.and(self.on_class(gone, key.clone()));
            }
            Kind::Service => self.remove_service(&name),
            Kind::EndpointSlice => return effect.and(self.remove_slice(&name)),
            Kind::Secret => self.secrets.remove(&name).is_some(),
            Kind::BackendTlsPolicy
            | Kind::XBackendTrafficPolicy
            | Kind::ConfigMap
            | Kind::Gateway
            | Kind::GatewayClass
            | Kind::ListenerSet => self.gateway_api.remove(key),
            Kind::ReferenceGrant => self.grants.remove(&name),
            Kind::Namespace => {
                let labels = self.namespaces.remove(&*name.name);
                labels.is_some_and(|labels| !labels.is_empty())
            }
        };
        effect.and(Effect::on_if(gone, key.clone()))
    }

    /// Takes note that the newest version of an object cannot be decoded. What was there before
    /// stays.
    pub fn reject(&mut self, key: Key, origin: Origin, error: DecodeError) -> Effect {
        let bad = BadVersion::new(error.uid.as_deref(), error.generation);
        let rejection = (origin, error);
        let before = self.rejected.insert(key.clone(), rejection.clone());
        let mut changed = before != Some(rejection);
        if kinds::has_drafts(key.kind) {
            self.last_good.see(&key, bad);
            changed |= self.restore(&key);
        }
        Effect::on_if(changed, key)
    }

    /// Takes note of why objects of a kind cannot be seen, in a namespace or in all. Those that were
    /// seen stay.
    pub fn withhold(
        &mut self,
        kind: Kind,
        namespace: Option<Arc<str>>,
        reason: Option<String>,
    ) -> Effect {
        let scope = (kind, namespace);
        let before = match reason.clone() {
            None => self.withheld.remove(&scope),
            Some(reason) => self.withheld.insert(scope.clone(), reason),
        };
        match (scope, before != reason) {
            (_, false) => Effect::default(),
            // One such namespace after the other is the rule at the start.
            ((Kind::Secret, Some(namespace)), true) => {
                Effect::on(objects::key(Kind::Namespace, "", &namespace))
            }
            (_, true) => Effect {
                sight: true,
                ..Effect::default()
            },
        }
    }

    /// Why objects of a kind cannot be seen in a namespace, where they cannot.
    pub(crate) fn withheld(&self, kind: Kind, namespace: &Arc<str>) -> Option<&str> {
        if self.withheld.is_empty() {
            return None;
        }
        let here = self.withheld.get(&(kind, Some(Arc::clone(namespace))));
        let reason = here.or_else(|| self.withheld.get(&(kind, None)));
        reason.map(String::as_str)
    }

    /// Whether the API server keeps `retry` of HTTPRoutes.
    pub(crate) fn keeps_retries(&self) -> bool {
        self.keeps_retries
    }

    /// Where no replica can listen, and what the system says.
    pub(crate) fn refused(&self) -> &Refusals {
        &self.refused
    }

    /// Why the Service of a Gateway cannot be written, where it cannot.
    pub(crate) fn unwritten(&self, service: &ObjectName) -> Option<&str> {
        self.unwritten.get(&*service.name).map(String::as_str)
    }

    /// Takes note of what was found about a file; nothing forgets the file.
    pub fn remark(&mut self, path: Arc<Path>, findings: Vec<Finding>) -> Effect {
        let before = match findings.is_empty() {
            true => self.remarks.remove(&path),
            false => self.remarks.insert(Arc::clone(&path), findings),
        };
        Effect {
            remarks: before.as_ref() != self.remarks.get(&path),
            ..Effect::default()
        }
    }

    /// Tells whether that changes anything.
    fn note(&mut self, key: &Key, origin: &Origin, notes: Vec<Finding>) -> bool {
        if notes.is_empty() {
            return self.notes.remove(key).is_some();
        }
        let note = (origin.clone(), notes);
        self.notes.insert(key.clone(), note.clone()) != Some(note)
    }

    /// Tells whether that changes anything.
    fn apply_draft(&mut self, key: Key, newest: Draft) -> bool {
        match self.drafts_mut(key.kind).entry(key) {
            btree_map::Entry::Occupied(mut known) => known.get_mut().update(newest),
            btree_map::Entry::Vacant(unknown) => {
                unknown.insert(Versions::first(newest));
                true
            }
        }
    }

    /// A class may be that of any Ingress, and classes change seldom.
    fn on_class(&self, changed: bool, class: Key) -> Effect {
        let mut effect = Effect::on_if(changed, class);
        if changed {
            let routes = self.routes.range(objects::key(Kind::Ingress, "", "")..);
            let keys = routes.map(|(key, _)| key.clone());
            effect
                .objects
                .extend(keys.take_while(|key| key.kind == Kind::Ingress));
        }
        effect
    }

    /// Tells whether that changes its labels: nothing else of it matters.
    fn apply_namespace(&mut self, name: &str, labels: Labels) -> bool {
        let before = self.namespaces.get(name).cloned().unwrap_or_default();
        let differ = before != labels;
        self.namespaces.insert(shared(name), labels);
        differ
    }

    fn keep(&mut self, object: &Object) -> Effect {
        let key = object.key();
        let compiled = guarded(Step::Compile, &key, || {
            Compiled::new(object, &Origin::default())
        });
        if let (Ok(Compiled::Draft(draft)), Some(uid)) = (compiled, &object.metadata().uid) {
            self.last_good.keep(uid, draft);
        }
        Effect::on_if(self.restore(&key), key)
    }

    /// Where an object is bad, and no version of it is known that was good before, one may have been
    /// kept. Tells whether that changes anything.
    fn restore(&mut self, key: &Key) -> bool {
        let Some(kept) = self.last_good.of(key).cloned() else {
            return false;
        };
        match self.drafts_mut(key.kind).entry(key.clone()) {
            btree_map::Entry::Occupied(mut known) => known.get_mut().restore(&kept),
            btree_map::Entry::Vacant(unknown) => {
                unknown.insert(Versions::first(kept));
                true
            }
        }
    }

    /// Tells whether that changes anything.
    fn apply_service(&mut self, name: ObjectName, service: ServiceSpec, origin: Origin) -> bool {
        if let Some(before) = self.services.get(&name)
            && before.value.external_name() != service.external_name()
        {
            self.remove_service(&name);
        }
        match service.exposed() {
            Some(_) => self.exposed.insert(name.clone()),
            None => self.exposed.remove(&name),
        };
        if let Some(external) = service.name_to_look_up() {
            self.services_of.insert((external.clone(), name.clone()));
        }
        store(&mut self.services, name, service, origin)
    }

    /// Tells whether there was one.
    fn remove_service(&mut self, name: &ObjectName) -> bool {
        let Some(service) = self.services.remove(name) else {
            return false;
        };
        self.exposed.remove(name);
        if let Some(external) = service.value.name_to_look_up() {
            (self.services_of).remove(&(external.clone(), name.clone()));
        }
        true
    }

    fn looked_up(&mut self, name: DomainName, answer: &Answer) -> Effect {
        let before = self.resolutions.get(&name);
        let after = before.cloned().unwrap_or_default().after(answer);
        let (moved, told) = match before {
            Some(before) => (
                !before.has_same_addresses(&after),
                before.trouble != after.trouble,
            ),
            None => (true, true),
        };
        let effect = self.effect_of_name(&name, moved, told);
        self.resolutions.insert(name, after);
        effect
    }

    fn forget(&mut self, name: &DomainName) -> Effect {
        let known = self.resolutions.remove(name).is_some();
        self.effect_of_name(name, known, known)
    }

    /// What is made of a name may differ: the endpoints of its Services, or what is said of them.
    fn effect_of_name(&self, name: &DomainName, moved: bool, told: bool) -> Effect {
        let first = (name.clone(), ObjectName::new("", ""));
        let services = self.services_of.range(first..);
        let services = services.take_while(|(it, _)| it == name);
        let mut effect = Effect::default();
        for (_, service) in services {
            if moved {
                effect.endpoints.insert(service.clone());
            }
            if told {
                effect.objects.insert(service.key(Kind::Service));
            }
        }
        effect
    }

    fn keys_fetched(&mut self, url: Arc<str>, fetched: Fetched, renewal: Renewal) -> Effect {
        let before = self.keys.get(&url).cloned().unwrap_or_default();
        let after = before.clone().after(fetched, renewal);
        match before == after {
            true => Effect::default(),
            false => {
                self.keys.insert(Arc::clone(&url), after);
                Effect::on_keys(url)
            }
        }
    }

    fn apply_slice(&mut self, name: ObjectName, slice: Slice, origin: Origin) -> Effect {
        let before = self.slices.get(&name);
        if before.is_some_and(|known| known.value == slice && known.origin == origin) {
            return Effect::default();
        }
        let mut effect = Effect::on(name.key(Kind::EndpointSlice));
        let service = slice.service.clone();
        if before.is_some_and(|before| before.value.service != slice.service) {
            effect = effect.and(self.remove_slice(&name));
        }
        // Where it names none, it is of interest to nobody, and the report says so.
        if let Some(service) = service {
            effect.endpoints.insert(service.clone());
            self.slices_of.insert((service, name.clone()));
        }
        let value = slice;
        let stored = Stored { value, origin };
        self.slices.insert(name, Box::new(stored));
        effect
    }

    fn remove_slice(&mut self, name: &ObjectName) -> Effect {
        let Some(slice) = self.slices.remove(name) else {
            return Effect::default();
        };
        let mut effect = Effect::on(name.key(Kind::EndpointSlice));
        if let Some(service) = slice.value.service {
            effect.endpoints.insert(service.clone());
            self.slices_of.remove(&(service, name.clone()));
        }
        effect
    }

    /// Tells whether that changes anything.
    fn apply_secret(
        &mut self,
        name: ObjectName,
        newest: Result<Arc<secret::Parsed>, secret::SecretFault>,
        entries: Option<Arc<Entries>>,
        origin: Origin,
    ) -> bool {
        let before = self.secrets.get(&name);
        let last_good = match &newest {
            Ok(_) => None,
            Err(_) => before.and_then(|before| before.value.serving().ok().cloned()),
        };
        let state = SecretState {
            newest,
            last_good,
            entries,
        };
        let same =
            before.is_some_and(|before| before.value.same(&state) && before.origin == origin);
        if same {
            return false;
        }
        self.turn = self
            .turn
            .min(state.turn_after(self.now).unwrap_or(i64::MAX));
        self.secrets.insert(
            name,
            Stored {
                value: state,
                origin,
            },
        );
        true
    }

    /// Slices that name no Service.
    fn strays(&self) -> impl Iterator<Item = &ObjectName> {
        let strays = self.slices.iter();
        let strays = strays.filter(|(_, stored)| stored.value.service.is_none());
        strays.map(|(name, _)| name)
    }

    /// Every object of which versions are drafts, of the kinds that make rules, of Filters or of
    /// BackendPolicies.
    fn drafts(&self, kind: Kind) -> &BTreeMap<Key, Versions> {
        match kind {
            Kind::BackendPolicy => &self.backend_policies,
            Kind::Filter => &self.filters,
            _ => &self.routes,
        }
    }

    fn drafts_mut(&mut self, kind: Kind) -> &mut BTreeMap<Key, Versions> {
        match kind {
            Kind::BackendPolicy => &mut self.backend_policies,
            Kind::Filter => &mut self.filters,
            _ => &mut self.routes,
        }
    }

    /// The versions of a Filter that could be decoded at least once, for those who compile it.
    pub(crate) fn filter_versions(&self, name: &ObjectName) -> Option<&Versions> {
        self.filters.get(&name.key(Kind::Filter))
    }

    /// The versions of a BackendPolicy that could be decoded at least once.
    pub(crate) fn backend_policy_versions(&self, name: &ObjectName) -> Option<&Versions> {
        self.backend_policies.get(&name.key(Kind::BackendPolicy))
    }

    /// The permission to use a Filter of this name.
    pub(crate) fn filter(
        &self,
        settings: &Settings,
        from: Referrer<'_>,
        name: &ObjectName,
    ) -> Result<Permitted, Refused> {
        self.grants.permit(settings, from, Kind::Filter, name)
    }

    /// An object that makes rules and that could be decoded at least once.
    pub(crate) fn route(&self, key: &Key) -> Option<&Versions> {
        self.routes.get(key)
    }

    /// The objects of a namespace that make rules and could be decoded at least once.
    pub(crate) fn routes_in(&self, namespace: &str) -> impl Iterator<Item = &Key> {
        Kind::ALL.into_iter().flat_map(move |kind| {
            let first = objects::key(kind, namespace, "");
            let rest = self.routes.range(first.clone()..).map(|(key, _)| key);
            rest.take_while(move |key| key.kind == kind && key.namespace == first.namespace)
        })
    }

    /// That an object is another installation's, where it is.
    pub(crate) fn finding_if_not_ours(
        &self,
        settings: &Settings,
        draft: &Draft,
    ) -> Option<Finding> {
        let (field, why) = self.why_not_ours(settings, draft)?;
        let message = format!("ignored: {why}");
        Some(Finding::info(Reason::NotOurs, field, message))
    }

    /// Why an object is another installation's, where it is, and the field that says so.
    pub(crate) fn why_not_ours(
        &self,
        settings: &Settings,
        draft: &Draft,
    ) -> Option<(&'static str, String)> {
        let namespace = &draft.key().namespace;
        let (field, why) = match &draft.class {
            _ if !settings.watches(namespace) => {
                let why = format!("namespace {namespace} is not watched");
                ("metadata.namespace", Some(why))
            }
            ClassReference::Name(class) => {
                ("spec.ingressClassName", settings.why_not(class.as_deref()))
            }
            ClassReference::IngressClass(class) => {
                let why = self.classes.why_not(class.as_deref(), settings);
                ("spec.ingressClassName", why)
            }
            // Whose its parents are is found out when it is attached to them.
            ClassReference::Parents if settings.gateway.is_some() => return None,
            ClassReference::Parents => {
                let why = "the settings do not have the Gateway API served by this installation";
                ("spec.parentRefs", Some(why.to_owned()))
            }
        };
        why.map(|why| (field, why))
    }

    /// The labels of a namespace; `None` where it is not known.
    pub(crate) fn labels(&self, namespace: &Arc<str>) -> Option<&Labels> {
        self.namespaces.get(namespace)
    }

    /// Whether the settings let the namespace of an object have what a filter of it needs.
    pub(crate) fn may_have(&self, settings: &Settings, object: &Key, supply: &Supply) -> bool {
        supply.url().is_none_or(|url| {
            let labels = self.labels(&object.namespace);
            let refusal = settings.issuers.refusal(&object.namespace, labels, url);
            refusal.is_none()
        })
    }

    /// Every object of ours of which versions are drafts, whose newest version is bad, with its `metadata.uid`
    /// and the last good version, where one is known. None of those that come from files.
    pub(crate) fn bad_routes(
        &self,
        settings: &Settings,
    ) -> impl Iterator<Item = (&Key, &str, Option<&Arc<Draft>>)> {
        self.last_good.bad().filter_map(|(key, uid)| {
            let Some(versions) = self.drafts(key.kind).get(key) else {
                return Some((key, uid, None));
            };
            let serving = Some(versions.serving()).filter(|it| it.is_good());
            let is_ours = self
                .finding_if_not_ours(settings, &versions.newest)
                .is_none();
            is_ours.then_some((key, uid, serving))
        })
    }

    /// Whether a version was taken as one that was kept.
    pub(crate) fn keeps(&self, object: &Object) -> bool {
        let metadata = object.metadata();
        let uid = metadata.uid.as_deref().unwrap_or_default();
        (self.last_good).has(&object.key(), uid, metadata.generation)
    }

    /// What serves in place of the newest version of an object that makes rules, or of a Secret;
    /// `None`: that version is good, or there is none.
    pub(crate) fn fallback(&self, key: &Key) -> Option<Fallback> {
        let (is_bad, last_good) = match key.kind {
            Kind::Secret => {
                let state = self.secrets.get(&key.object);
                let state = state.map(|stored| &stored.value);
                let is_bad = state.is_some_and(|it| it.newest.is_err());
                let serves = state.is_some_and(|it| it.serving().is_ok());
                (is_bad, serves.then_some(Fallback::LastGood(None)))
            }
            _ => {
                let versions = self.drafts(key.kind).get(key);
                let is_bad = versions.is_some_and(|it| !it.newest.is_good());
                let good = versions.map(Versions::serving);
                let good = good.filter(|it| it.is_good());
                (is_bad, good.map(|it| Fallback::LastGood(it.generation())))
            }
        };
        let is_bad = is_bad || self.rejected.contains_key(key);
        is_bad.then(|| last_good.unwrap_or(Fallback::Nothing))
    }

    /// The Service of this name, if the referrer may use it, and the permission.
    pub(crate) fn service(
        &self,
        settings: &Settings,
        from: Referrer<'_>,
        name: &ObjectName,
    ) -> Result<(Permitted, &ServiceSpec), Refused> {
        let service = self.grants.permit(settings, from, Kind::Service, name)?;
        let spec = self.spec(&service).ok_or(Refused::Missing)?;
        Ok((service, spec))
    }

    /// Whether a BackendPolicy says what the endpoints of a port of a Service speak.
    pub(crate) fn is_protocol_told(
        &self,
        settings: &Settings,
        service: &ObjectName,
        port: &str,
    ) -> bool {
        // Asked of the few ports alone that say what is not known.
        self.backend_policies.values().any(|versions| {
            let draft = versions.serving();
            let Some(said) = backendpolicy::policy_of(draft).filter(|_| draft.is_good()) else {
                return false;
            };
            let mut targets = said.targets.iter();
            said.policy.connection.protocol.is_some()
                && targets.any(|target| {
                    target.service == *service && target.port.as_deref().is_none_or(|it| it == port)
                })
                && self.why_not_ours(settings, draft).is_none()
        })
    }

    /// Whether what a Service says of any of its ports is not known.
    pub(crate) fn has_unknown_protocol(&self, settings: &Settings, service: &ObjectName) -> bool {
        let found = self.service(settings, Referrer::Settings, service);
        found.is_ok_and(|(_, spec)| spec.ports.iter().any(|port| port.scheme().is_none()))
    }

    /// The Secret of this name, if the referrer may use it.
    pub(crate) fn secret(
        &self,
        settings: &Settings,
        from: Referrer<'_>,
        name: &ObjectName,
    ) -> Result<&SecretState, Refused> {
        let secret = self.grants.permit(settings, from, Kind::Secret, name)?;
        let stored = self.secrets.get(secret.name()).ok_or(Refused::Missing)?;
        Ok(&stored.value)
    }

    /// What the Secret of this name holds for filters, if the referrer may use it. `None`: it is a
    /// certificate.
    pub(crate) fn entries(
        &self,
        settings: &Settings,
        from: Referrer<'_>,
        name: &ObjectName,
    ) -> Result<Option<&Entries>, Refused> {
        let secret = self.secret(settings, from, name)?;
        Ok(secret.entries.as_deref())
    }

    /// Whether a Secret is a certificate; `None`: there is none of that name.
    pub(crate) fn is_certificate(&self, name: &ObjectName) -> Option<bool> {
        let stored = self.secrets.get(name)?;
        Some(stored.value.entries.is_none())
    }

    /// Every Secret that a filter or a BackendPolicy of ours names, but for certificates, some of them more than
    /// once.
    pub(crate) fn secrets_by_name(&self, settings: &Settings) -> impl Iterator<Item = &ObjectName> {
        let all = self.routes.values().chain(self.filters.values());
        let all = all.chain(self.backend_policies.values());
        let naming = all.filter(|it| it.secrets_by_name().next().is_some());
        let ours = naming.filter(move |it| self.is_ours(settings, it));
        ours.flat_map(Versions::secrets_by_name)
    }

    /// Every ConfigMap that a filter of ours names, some of them more than once.
    fn config_maps_of_filters(&self, settings: &Settings) -> impl Iterator<Item = ObjectName> {
        let all = self.routes.values().chain(self.filters.values());
        let naming = all.filter(|it| it.supplies().next().is_some());
        let ours = naming.filter(move |it| self.is_ours(settings, it));
        ours.flat_map(Versions::supplies)
            .filter_map(Supply::config_map)
    }

    /// Whether this installation is the one that an object is for: what others name is not ours to read.
    fn is_ours(&self, settings: &Settings, versions: &Versions) -> bool {
        self.why_not_ours(settings, &versions.newest).is_none()
    }

    /// Whether a Gateway is of a class of ours, and in a namespace that is watched.
    pub(crate) fn is_our_gateway(&self, settings: &Settings, gateway: &GatewayVersion) -> bool {
        let class = self.gateway_class(&gateway.spec.gateway.gateway_class_name);
        let class = class.map(|it| &it.spec.controller_name);
        let ours = settings.gateway.as_ref().map(|it| &it.controller);
        settings.watches(&gateway.key().namespace) && class.is_some() && class == ours
    }

    /// The GatewayClass of a name.
    pub(crate) fn gateway_class(&self, name: &str) -> Option<&Version<GatewayClassSpec>> {
        self.gateway_api.class(name)
    }

    /// Every Gateway, ours or not.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = &GatewayVersion> {
        self.gateway_api.gateways()
    }

    /// The ListenerSets that name a Gateway, by name.
    pub(crate) fn listener_sets_of<'w>(
        &'w self,
        gateway: &'w Key,
    ) -> impl Iterator<Item = &'w Version<ListenerSetSpec>> {
        self.gateway_api.sets_of(&gateway.object)
    }

    /// The policies that are for a Service, by name.
    pub(crate) fn policies_of(
        &self,
        service: &ObjectName,
    ) -> impl Iterator<Item = &Version<BackendTlsPolicySpec>> {
        self.gateway_api.policies_of(service)
    }

    /// The names of the policies of a namespace.
    pub(crate) fn policies_in<'w>(
        &'w self,
        namespace: &'w str,
    ) -> impl Iterator<Item = &'w ObjectName> {
        self.gateway_api.policies_in(namespace)
    }

    /// The policy of a name.
    pub(crate) fn policy(&self, name: &ObjectName) -> Option<&Version<BackendTlsPolicySpec>> {
        self.gateway_api.policy(name)
    }

    /// The XBackendTrafficPolicies that are for a Service, by name.
    pub(crate) fn traffic_policies_of(
        &self,
        service: &ObjectName,
    ) -> impl Iterator<Item = &Version<BackendTrafficPolicySpec>> {
        self.gateway_api.traffic_policies_of(service)
    }

    /// The XBackendTrafficPolicy of a name.
    pub(crate) fn traffic_policy(
        &self,
        name: &ObjectName,
    ) -> Option<&Version<BackendTrafficPolicySpec>> {
        self.gateway_api.traffic_policy(name)
    }

    /// The authorities of a ConfigMap, if the referrer may use it.
    pub(crate) fn authorities(
        &self,
        settings: &Settings,
        from: Referrer<'_>,
        name: &ObjectName,
    ) -> Result<&Authorities, Refused> {
        let map = self.config_map(settings, from, name)?;
        Ok(&map.authorities)
    }

    /// What is kept of a ConfigMap, if the referrer may use it.
    pub(crate) fn config_map(
        &self,
        settings: &Settings,
        from: Referrer<'_>,
        name: &ObjectName,
    ) -> Result<&configmap::Kept, Refused> {
        let map = self.grants.permit(settings, from, Kind::ConfigMap, name)?;
        self.gateway_api
            .config_map(map.name())
            .ok_or(Refused::Missing)
    }

    /// Where clients reach this installation.
    pub(crate) fn addresses(&self, settings: &Settings) -> Arc<[Address]> {
        match &settings.publish {
            Publish::Nothing => Arc::default(),
            Publish::Service { namespace, name } => {
                let stored = self
                    .services
                    .get(&ObjectName::new(namespace.as_str(), name.as_str()));
                stored.map_or_else(Arc::default, |it| it.value.addresses.as_ref().into())
            }
            Publish::Addresses(all) => all.iter().map(|it| Address::of(it)).collect(),
        }
    }

    /// The Services of a namespace that an installation has made for Gateways: what Ferrix reads of its own.
    pub(crate) fn exposed_in<'w, 'i>(
        &'w self,
        (namespace, installation): (&'i str, &'i str),
    ) -> impl Iterator<Item = (&'w ObjectName, &'w Exposed)> + use<'w, 'i> {
        let names = self.exposed.range(ObjectName::new(namespace, "")..);
        let names = names.take_while(move |name| *name.namespace == *namespace);
        let all = names.filter_map(|name| {
            let stored = self.services.get(name)?;
            Some((name, stored.value.exposed()?))
        });
        all.filter(move |(_, exposed)| *exposed.installation == *installation)
    }

    /// What there is in the place of the Service that an installation makes for a Gateway.
    pub(crate) fn found(&self, installation: &str, service: &ObjectName) -> Found<'_> {
        let stored = self.services.get(service);
        let exposed = stored.and_then(|it| it.value.exposed());
        match exposed.filter(|it| *it.installation == *installation) {
            Some(exposed) => Found::Ours(exposed),
            None if stored.is_some() => Found::Foreign,
            None => Found::Nothing,
        }
    }

    /// A Service, for who may use it.
    pub(crate) fn spec(&self, service: &Permitted) -> Option<&ServiceSpec> {
        let stored = self.services.get(service.name())?;
        Some(&stored.value)
    }

    /// Whether the newest version of an object, of those that could be decoded, is of use by itself.
    pub(crate) fn is_good(&self, key: &Key) -> bool {
        let secret = || self.secrets.get(&key.object);
        match key.kind {
            Kind::BackendPolicy
            | Kind::Filter
            | Kind::GrpcRoute
            | Kind::HttpRoute
            | Kind::Ingress
            | Kind::IngressRoute
            | Kind::TcpRoute
            | Kind::TlsRoute
            | Kind::UdpRoute => {
                let versions = self.drafts(key.kind).get(key);
                versions.is_none_or(|it| it.newest.is_good())
            }
            Kind::Secret => secret().is_none_or(|it| it.value.newest.is_ok()),
            Kind::BackendTlsPolicy
            | Kind::XBackendTrafficPolicy
            | Kind::ConfigMap
            | Kind::EndpointSlice
            | Kind::Gateway
            | Kind::GatewayClass
            | Kind::IngressClass
            | Kind::ListenerSet
            | Kind::Namespace
            | Kind::ReferenceGrant
            | Kind::Service => true,
        }
    }

    /// Whether any version was seen of an object of a kind that has bad ones.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.drafts(key.kind).contains_key(key)
            || self.rejected.contains_key(key)
            || key.kind == Kind::Secret && self.secrets.contains_key(&key.object)
    }

    /// Takes over what was found elsewhere than in objects in another world, as what was found last outlives
    /// failures.
    pub(crate) fn inherit_finds(&mut self, other: &World) {
        self.resolutions.clone_from(&other.resolutions);
        self.keys.clone_from(&other.keys);
    }

    /// What is known of the keys at a URL; `None` before they were fetched.
    pub(crate) fn keys_at(&self, url: &str) -> Option<&KnownKeys> {
        self.keys.get(url)
    }

    /// What is known of the keys at each URL.
    pub(crate) fn all_keys(&self) -> impl Iterator<Item = (&Arc<str>, &KnownKeys)> {
        self.keys.iter()
    }

    /// What was found of a name; `None` before it was looked up.
    pub(crate) fn resolution(&self, name: &DomainName) -> Option<&Resolution> {
        self.resolutions.get(name)
    }

    /// What was found of each name.
    pub(crate) fn resolutions(&self) -> impl Iterator<Item = (&DomainName, &Resolution)> {
        self.resolutions.iter()
    }

    /// The slices of a Service, by name, for who may use it.
    pub(crate) fn slices<'w>(
        &'w self,
        service: &'w Permitted,
    ) -> impl Iterator<Item = &'w Slice> + 'w {
        let names = self.slice_names(service.name());
        names.filter_map(|name| Some(&self.slices.get(name)?.value))
    }

    /// A slice, for who may use the Service that it names; for everybody where it names none.
    pub(crate) fn slice_of(
        &self,
        service: Option<&Permitted>,
        slice: &ObjectName,
    ) -> Option<&Slice> {
        let stored = self.slices.get(slice)?;
        let named = stored.value.service.as_ref();
        (named == service.map(Permitted::name)).then_some(&stored.value)
    }

    /// The Service that a slice names.
    pub(crate) fn service_of(&self, slice: &ObjectName) -> Option<&ObjectName> {
        self.slices.get(slice)?.value.service.as_ref()
    }

    /// The slices of all Services of a namespace, with those: what Ferrix reads of its own.
    pub(crate) fn slices_in<'w>(
        &'w self,
        namespace: &'w str,
    ) -> impl Iterator<Item = (&'w ObjectName, &'w Slice)> + 'w {
        let first = (ObjectName::new(namespace, ""), ObjectName::new("", ""));
        let slices = self.slices_of.range(first..);
        let slices = slices.take_while(move |(service, _)| *service.namespace == *namespace);
        slices.filter_map(|(service, slice)| Some((service, &self.slices.get(slice)?.value)))
    }

    /// The slices of a Service, by name.
    pub(crate) fn slice_names<'w>(
        &'w self,
        service: &'w ObjectName,
    ) -> impl Iterator<Item = &'w ObjectName> + 'w {
        let first = (service.clone(), ObjectName::new("", ""));
        let slices = self.slices_of.range(first..);
        let slices = slices.take_while(move |(it, _)| it == service);
        slices.map(|(_, slice)| slice)
    }

    /// What there is to say about a Secret, whoever uses it.
    pub(crate) fn secret_findings(&self, name: &ObjectName) -> Vec<Finding> {
        let stored = self.secrets.get(name);
        stored.map_or_else(Vec::new, |stored| stored.value.findings(self.now))
    }

    /// The time that validity is measured by, in seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    /// Why the newest version of an object could not be decoded, where it could not.
    pub(crate) fn rejection(&self, key: &Key) -> Option<(&Origin, &DecodeError)> {
        let rejected = self.rejected.get(key);
        rejected.map(|(origin, error)| (origin, error))
    }

    /// Every object of a kind that there is, good or not.
    pub(crate) fn keys(&self, kind: Kind) -> BTreeSet<Key> {
        let mut keys: BTreeSet<Key> = (self.rejected.keys())
            .filter(|key| key.kind == kind)
            .cloned()
            .collect();
        let key = |name: &ObjectName| name.key(kind);
        match kind {
            Kind::EndpointSlice => keys.extend(self.slices.keys().map(key)),
            Kind::IngressClass => {
                let classes = self.classes.names();
                keys.extend(classes.map(|name| objects::key(kind, "", name)));
            }
            Kind::BackendPolicy
            | Kind::Filter
            | Kind::GrpcRoute
            | Kind::HttpRoute
            | Kind::Ingress
            | Kind::IngressRoute
            | Kind::TcpRoute
            | Kind::TlsRoute
            | Kind::UdpRoute => {
                let drafts = self.drafts(kind).keys();
                keys.extend(drafts.filter(|key| key.kind == kind).cloned());
            }
            Kind::Namespace => {
                let namespaces = self.namespaces.keys();
                keys.extend(namespaces.map(|name| objects::key(kind, "", name)));
            }
            Kind::ReferenceGrant => keys.extend(self.grants.keys()),
            Kind::Secret => keys.extend(self.secrets.keys().map(key)),
            Kind::BackendTlsPolicy
            | Kind::XBackendTrafficPolicy
            | Kind::ConfigMap
            | Kind::Gateway
            | Kind::GatewayClass
            | Kind::ListenerSet => keys.extend(self.gateway_api.keys(kind)),
            Kind::Service => keys.extend(self.services.keys().map(key)),
        }
        keys
    }

    /// Every namespace with an object of ours that names a Secret of TLS, some of them more than once.
    pub(crate) fn namespaces_with_tls(
        &self,
        settings: &Settings,
    ) -> impl Iterator<Item = Arc<str>> {
        let routes =
            (self.routes.iter()).filter(move |(_, it)| it.want_tls() && self.is_ours(settings, it));
        let of_routes = routes.map(|(key, _)| Arc::clone(&key.namespace));
        let is_ours = move |gateway: &GatewayVersion| self.is_our_gateway(settings, gateway);
        let of_gateways = self.gateway_api.namespaces_of_secrets(is_ours);
        let of_policies = self.namespaces_of_policies(settings, |named| named.client.is_some());
        of_routes.chain(of_gateways).chain(of_policies)
    }

    /// Every namespace with a ConfigMap that an object of ours names for what is in it, some of them more than
    /// once.
    pub(crate) fn namespaces_with_config_maps(
        &self,
        settings: &Settings,
    ) -> impl Iterator<Item = Arc<str>> {
        let of_filters = self.config_maps_of_filters(settings);
        let of_filters = of_filters.map(|map| Arc::clone(&map.namespace));
        let is_ours = move |gateway: &GatewayVersion| self.is_our_gateway(settings, gateway);
        let of_gateways = self.gateway_api.namespaces_of_authorities(is_ours);
        let is_map = |(_, key): &(_, Key)| key.kind == Kind::ConfigMap;
        let names = move |named: &NamedByTls| named.authorities.iter().any(is_map);
        let of_policies = self.namespaces_of_policies(settings, names);
        of_gateways.chain(of_filters).chain(of_policies)
    }

    /// Every namespace with a BackendPolicy of ours that names such objects.
    fn namespaces_of_policies(
        &self,
        settings: &Settings,
        names: impl Fn(&NamedByTls) -> bool,
    ) -> impl Iterator<Item = Arc<str>> {
        let policies = self.backend_policies.iter();
        let naming = policies
            .filter(move |(_, it)| it.named_by_tls().any(&names) && self.is_ours(settings, it));
        naming.map(|(key, _)| Arc::clone(&key.namespace))
    }

    /// What decoding found about an object, where it found anything.
    pub(crate) fn notes_of(&self, key: &Key) -> Option<&[Finding]> {
        self.notes.get(key).map(|(_, findings)| &**findings)
    }

    /// What was found about files.
    pub(crate) fn remarks(&self) -> impl Iterator<Item = (&Arc<Path>, &Finding)> {
        self.remarks
            .iter()
            .flat_map(|(path, findings)| findings.iter().map(move |finding| (path, finding)))
    }

    /// Where an object comes from.
    pub(crate) fn origin(&self, key: &Key) -> Origin {
        let name = key.object.clone();
        let origin = match key.kind {
            Kind::EndpointSlice => self.slices.get(&name).map(|stored| &stored.origin),
            Kind::Secret => self.secrets.get(&name).map(|stored| &stored.origin),
            Kind::Service => self.services.get(&name).map(|stored| &stored.origin),
            Kind::BackendPolicy
            | Kind::Filter
            | Kind::GrpcRoute
            | Kind::HttpRoute
            | Kind::Ingress
            | Kind::IngressRoute
            | Kind::TcpRoute
            | Kind::TlsRoute
            | Kind::UdpRoute => {
                let versions = self.drafts(key.kind).get(key);
                versions.map(|versions| &versions.newest.origin)
            }
            Kind::BackendTlsPolicy
            | Kind::XBackendTrafficPolicy
            | Kind::ConfigMap
            | Kind::Gateway
            | Kind::GatewayClass
            | Kind::ListenerSet => self.gateway_api.origin(key),
            // Nothing of these is located.
            Kind::IngressClass | Kind::Namespace | Kind::ReferenceGrant => None,
        };
        origin
            .or_else(|| self.notes.get(key).map(|(origin, _)| origin))
            .cloned()
            .unwrap_or_default()
    }
}

/// Stores a value, and tells whether that changes anything.
fn store<T: PartialEq>(
    stored: &mut HashMap<ObjectName, Box<Stored<T>>>,
    name: ObjectName,
    value: T,
    origin: Origin,
) -> bool {
    let newest = Stored { value, origin };
    let before = stored.get(&name);
    let changed = before.is_none_or(|it| it.value != newest.value || it.origin != newest.origin);
    if changed {
        stored.insert(name, Box::new(newest));
    }
    changed
}
