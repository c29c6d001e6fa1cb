//! A change as a line of text, and back; and which of many lines are still needed. Pure.
//!
//! ```text
//!  VERB SUBJECT JSON
//!
//!  good IngressRoute/default/api {"apiVersion":"ferrix.com/v1",…}
//!  bad Secret/default/api {…}                         of no use by itself: what was good before serves
//!  undecodable IngressRoute/default/api {"faults":[…],…}
//!  good kept/IngressRoute/default/api/UID {…}         as others had kept it, since it was the last good one
//!  gone Service/default/api null
//!  good name/example.org ["192.0.2.1"]
//!  good keys/https://id.example.org/jwks.json "{\"keys\": […]}"
//!  good progress {"":7}
//!  good time 1764244800
//! ```
//!
//! All lines, in their order, make the world that they were written of. Those that are needed do so as
//! well.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use ferrix_table::filters::jwt::{KeySet, Renewal};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::super::progress::Progress;
use crate::{
    configmap,
    document::{DecodeError, Fault},
    external_name::{Answer, DomainName, Failure, Resolution},
    gateway_service,
    issuer_keys::{FetchedKeys, KnownKeys},
    objects::{self, Key, Kind, Object, Origin},
    secret,
    world::{Change, Effect, World},
};

/// In the place of a kind, for the addresses of a name.
const NAME: &str = "name";

/// The same for the keys at a URL.
const KEYS: &str = "keys";

/// Before the subject of an object and its `metadata.uid`, for a version of it that others have kept.
const KEPT: &str = "kept";

/// The subject that tells how far the watches had come.
const PROGRESS: &str = "progress";

/// The subject that tells when the lines before it were true.
const TIME: &str = "time";

/// A part of manifests that `kubectl apply` keeps for itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a line says of its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    /// A version that can be used.
    Good,
    /// A version that was decoded, and that is of no use by itself.
    Bad,
    /// A version that could not be decoded.
    Undecodable,
    /// It is not there any more.
    Gone,
}

/// A line, in its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'t> {
    verb: Verb,
    pub(super) subject: &'t str,
    body: &'t str,
}

/// What a line means.
#[derive(Debug)]
pub(super) enum Meaning {
    /// A change of the world.
    Change(Box<Change>),
    /// How far the watches had come.
    Progress(Progress),
    /// When the lines before it were true.
    Time(Timestamp),
}

/// What is kept of an object that could not be decoded.
#[derive(Deserialize, Serialize)]
struct Undecodable {
    uid: Option<Box<str>>,
    generation: Option<i64>,
    /// Field and message of each.
    faults: Vec<(String, String)>,
    bug: bool,
}

/// What is to be written of a change. It gets the form of a line later, on another thread.
#[derive(Debug)]
pub struct Record {
    verb: Verb,
    subject: String,
    body: Body,
}

/// What a line says of its subject besides the verb.
#[derive(Debug)]
enum Body {
    Nothing,
    Object(Object),
    Undecodable(DecodeError),
    Addresses(Vec<IpAddr>),
    Keys(Arc<KeySet>),
    Progress(Progress),
    Time(Timestamp),
}

impl Record {
    /// Of a change that a world has just taken in, with this effect; `None` where it makes no difference,
    /// or does not outlive the process.
    pub fn new(change: &Change, effect: &Effect, world: &World) -> Option<Self> {
        match change {
            // It may come to serve only later.
            Change::Keep(object) => {
                let uid = object.metadata().uid.as_deref()?;
                let subject = subject_of_kept(&object.key(), uid)?;
                let taken = world.keeps(object);
                taken.then(|| Self::good(subject, Body::Object(object.clone())))
            }
            Change::Discard { key, uid } => subject_of_kept(key, uid).map(Self::gone),
            _ if effect.is_empty() => None,
            Change::Apply { object, .. } => {
                let key = object.key();
                // A bug may keep it from being used.
                Self::of_rejection(&key, world)
                    .or_else(|| Some(Self::of_object(&key, object, world)))
            }
            Change::Reject { key, .. } => Self::of_rejection(key, world),
            Change::Remove(key) => Some(Self::gone(subject(key))),
            Change::RemoveSecret { name, .. } => Some(Self::gone(subject(&name.key(Kind::Secret)))),
            Change::LookedUp { name, .. } => Self::of_name(name, world.resolution(name)?),
            Change::Forget(name) => Some(Self::gone(subject_of_name(name))),
            Change::KeysFetched { url, .. } => Self::of_keys(url, world.keys_at(url)?),
            Change::ForgetKeys(url) => Some(Self::gone(subject_of_keys(url))),
            Change::KeepsRetries(_)
            | Change::Refused(_)
            | Change::Remark { .. }
            | Change::Unwritten(_)
            | Change::Withhold { .. } => None,
        }
    }

    /// Of the addresses of a name, where there are any.
    pub(super) fn of_name(name: &DomainName, resolution: &Resolution) -> Option<Self> {
        let addresses = resolution.in_turn().collect();
        let body = Body::Addresses(addresses);
        (!resolution.is_empty()).then(|| Self::good(subject_of_name(name), body))
    }

    /// Of the keys at a URL, where there are any.
    pub(super) fn of_keys(url: &str, known: &KnownKeys) -> Option<Self> {
        let keys = Arc::clone(&known.last.as_ref()?.keys);
        Some(Self::good(subject_of_keys(url), Body::Keys(keys)))
    }

    /// Of how far the watches have come.
    pub(super) fn of_progress(progress: &Progress) -> Self {
        Self::good(PROGRESS.to_owned(), Body::Progress(progress.clone()))
    }

    /// That all before it is true by now.
    pub(super) fn of_time(time: Timestamp) -> Self {
        Self::good(TIME.to_owned(), Body::Time(time))
    }

    /// Its line, with the end of it. No text of JSON has one, and no subject a space.
    pub fn line(&self) -> String {
        let Self {
            verb,
            subject,
            body,
        } = self;
        // Texts, numbers, lists and maps with texts for keys always have a form in JSON.
        let body = body.json().unwrap_or_default();
        format!("{verb} {subject} {body}\n")
    }

    fn of_object(key: &Key, object: &Object, world: &World) -> Self {
        Self {
            verb: match world.is_good(key) {
                true => Verb::Good,
                false => Verb::Bad,
            },
            subject: subject(key),
            body: Body::Object(object.clone()),
        }
    }

    fn of_rejection(key: &Key, world: &World) -> Option<Self> {
        let (_, error) = world.rejection(key)?;
        Some(Self {
            verb: Verb::Undecodable,
            subject: subject(key),
            body: Body::Undecodable(error.clone()),
        })
    }

    fn good(subject: String, body: Body) -> Self {
        Self {
            verb: Verb::Good,
            subject,
            body,
        }
    }

    fn gone(subject: String) -> Self {
        Self {
            verb: Verb::Gone,
            subject,
            body: Body::Nothing,
        }
    }
}

impl Body {
    fn json(&self) -> serde_json::Result<Value> {
        match self {
            Self::Nothing => Ok(Value::Null),
            Self::Object(object) => reduced(object),
            Self::Undecodable(error) => serde_json::to_value(Undecodable::of(error)),
            Self::Addresses(addresses) => serde_json::to_value(addresses),
            Self::Keys(keys) => Ok((&*keys.text).into()),
            Self::Progress(progress) => serde_json::to_value(progress),
            Self::Time(time) => Ok(time.as_second().into()),
        }
    }
}

impl Undecodable {
    fn of(error: &DecodeError) -> Self {
        let faults = error.faults.iter();
        Self {
            uid: error.uid.clone(),
            generation: error.generation,
            faults: (faults.map(|it| (it.field.clone(), it.message.clone()))).collect(),
            bug: error.bug,
        }
    }

    fn error(self, key: &Key) -> DecodeError {
        let faults = self.faults.into_iter();
        DecodeError {
            key: Some(key.clone()),
            uid: self.uid,
            generation: self.generation,
            faults: (faults.map(|(field, message)| Fault { field, message })).collect(),
            bug: self.bug,
        }
    }
}

/// The change that a line tells of; `None` where it tells of none, or of something else.
pub fn change_of(line: &str) -> Option<Change> {
    match Line::parse(line)?.meaning()? {
        Meaning::Change(change) => Some(*change),
        Meaning::Progress(_) | Meaning::Time(_) => None,
    }
}

/// Those of some lines that make the same world as all of them, in their order.
pub fn needed<'t>(lines: &[&'t str]) -> Vec<&'t str> {
    let mut needed = Needed::default();
    for line in lines {
        if let Some(line) = Line::parse(line) {
            needed.note(&line);
        }
    }
    let places = needed.places().into_iter();
    places
        .filter_map(|place| lines.get(place as usize).copied())
        .collect()
}

/// What stands for an object.
pub(super) fn subject(key: &Key) -> String {
    format!("{}/{}/{}", key.kind, key.namespace, key.name)
}

/// What stands for a version that others have kept. `None`: nothing that the API server calls a uid.
fn subject_of_kept(key: &Key, uid: &str) -> Option<String> {
    let is_word = uid
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'/');
    is_word.then(|| format!("{KEPT}/{}/{uid}", subject(key)))
}

fn subject_of_name(name: &DomainName) -> String {
    format!("{NAME}/{name}")
}

/// No URL that keys are fetched from has a space.
fn subject_of_keys(url: &str) -> String {
    format!("{KEYS}/{url}")
}

/// An object, as far as anything is made of it.
fn reduced(object: &Object) -> serde_json::Result<Value> {
    let mut value = match object {
        Object::BackendPolicy(it) => serde_json::to_value(&**it),
        Object::BackendTlsPolicy(it) => serde_json::to_value(&**it),
        Object::XBackendTrafficPolicy(it) => serde_json::to_value(&**it),
        Object::ConfigMap(it) => serde_json::to_value(&**it),
        Object::EndpointSlice(it) => serde_json::to_value(&**it),
        Object::Filter(it) => serde_json::to_value(&**it),
        Object::GrpcRoute(it) => serde_json::to_value(&**it),
        Object::Gateway(it) => serde_json::to_value(&**it),
        Object::GatewayClass(it) => serde_json::to_value(&**it),
        Object::HttpRoute(it) => serde_json::to_value(&**it),
        Object::Ingress(it) => serde_json::to_value(&**it),
        Object::IngressClass(it) => serde_json::to_value(&**it),
        Object::IngressRoute(it) => serde_json::to_value(&**it),
        Object::ListenerSet(it) => serde_json::to_value(&**it),
        Object::Namespace(it) => serde_json::to_value(&**it),
        Object::ReferenceGrant(it) => serde_json::to_value(&**it),
        Object::Secret(it) => serde_json::to_value(&**it),
        Object::Service(it) => serde_json::to_value(&**it),
        Object::TcpRoute(it) => serde_json::to_value(&**it),
        Object::TlsRoute(it) => serde_json::to_value(&**it),
        Object::UdpRoute(it) => serde_json::to_value(&**it),
    }?;
    match object {
        // A Gateway keeps the addresses that it has had.
        Object::Gateway(_) => {
            if let Some(status) = value.get_mut("status") {
                take_out(status, &["conditions", "listeners"]);
            }
        }
        // The Service of one has those that it has.
        Object::Service(service) if gateway_service::is_of_gateway(service) => {}
        _ => take_out(&mut value, &["status"]),
    }
    if let Some(metadata) = value.get_mut("metadata") {
        let rest = ["managedFields", "ownerReferences", "resourceVersion"];
        take_out(metadata, &rest);
        if let Some(annotations) = metadata.get_mut("annotations") {
            take_out(annotations, &[LAST_APPLIED]);
        }
    }
    match object {
        Object::EndpointSlice(_) => {
            let endpoints = value.get_mut("endpoints").and_then(Value::as_array_mut);
            for endpoint in endpoints.into_iter().flatten() {
                take_out(endpoint, &["nodeName", "targetRef"]);
            }
        }
        Object::ConfigMap(_) => {
            take_out(&mut value, &["binaryData"]);
            if let Some(Value::Object(entries)) = value.get_mut("data") {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                entries.retain(|name, value| configmap::is_kept(name, &text(value)));
            }
        }
        Object::Secret(secret) if secret::entries(secret).is_none() => {
            if let Some(Value::Object(entries)) = value.get_mut("data") {
                entries.retain(|name, _| matches!(&**name, "tls.crt" | "tls.key"));
            }
        }
        _ => {}
    }
    Ok(value)
}

fn take_out(value: &mut Value, fields: &[&str]) {
    if let Value::Object(all) = value {
        for field in fields {
            all.remove(*field);
        }
    }
}

impl Verb {
    const ALL: [Self; 4] = [Self::Good, Self::Bad, Self::Undecodable, Self::Gone];

    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Undecodable => "undecodable",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'t> Line<'t> {
    /// `None`: no such line is ever written.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let mut parts = text.trim_end_matches('\n').splitn(3, ' ');
        let (verb, subject, body) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            verb: Verb::ALL.into_iter().find(|it| it.as_str() == verb)?,
            subject,
            body,
        })
    }

    /// Whether it holds a version that can be used.
    pub(super) fn is_good(&self) -> bool {
        self.verb == Verb::Good
    }

    /// The subject of the object that it is about, also where it is a version that others have kept.
    pub(super) fn object(&self) -> &'t str {
        let kept = self.kept().and_then(|kept| kept.rsplit_once('/'));
        kept.map_or(self.subject, |(object, _)| object)
    }

    /// Of a version that others have kept, what stands for it.
    fn kept(&self) -> Option<&'t str> {
        self.subject.strip_prefix(KEPT)?.strip_prefix('/')
    }

    /// What it means; `None`: no such line is ever written.
    pub(super) fn meaning(&self) -> Option<Meaning> {
        match self.subject {
            PROGRESS => Some(Meaning::Progress(self.read()?)),
            TIME => Some(Meaning::Time(Timestamp::from_second(self.read()?).ok()?)),
            subject => {
                let change = match subject.split_once('/')? {
                    (NAME, name) => self.change_of_name(DomainName::parse(name)?)?,
                    (KEYS, url) => self.change_of_keys(url)?,
                    (KEPT, version) => self.change_of_kept(version)?,
                    (kind, name) => self.change_of_object(key(kind, name)?)?,
                };
                Some(Meaning::Change(Box::new(change)))
            }
        }
    }

    fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.body).ok()
    }

    fn change_of_object(&self, key: Key) -> Option<Change> {
        let origin = Origin::Api;
        match self.verb {
            Verb::Gone => Some(Change::Remove(key)),
            Verb::Undecodable => {
                let error = self.read::<Undecodable>()?.error(&key);
                Some(Change::Reject { key, origin, error })
            }
            Verb::Good | Verb::Bad => {
                let object = self.read_object(key.kind)?;
                (object.key() == key).then_some(Change::Apply {
                    object,
                    origin,
                    notes: Vec::new(),
                })
            }
        }
    }

    fn change_of_kept(&self, version: &str) -> Option<Change> {
        let (object, uid) = version.rsplit_once('/')?;
        let (kind, name) = object.split_once('/')?;
        let key = key(kind, name)?;
        if self.verb == Verb::Gone {
            let uid = uid.into();
            return Some(Change::Discard { key, uid });
        }
        let object = self.read_object(key.kind)?;
        let is_it = object.key() == key && object.metadata().uid.as_deref() == Some(uid);
        is_it.then_some(Change::Keep(object))
    }

    /// It was decoded before, so that nothing is to be said of what is wrong with it.
    fn read_object(&self, kind: Kind) -> Option<Object> {
        Some(match kind {
            Kind::BackendPolicy => Object::BackendPolicy(Arc::new(self.read()?)),
            Kind::BackendTlsPolicy => Object::BackendTlsPolicy(Arc::new(self.read()?)),
            Kind::XBackendTrafficPolicy => Object::XBackendTrafficPolicy(Arc::new(self.read()?)),
            Kind::ConfigMap => Object::ConfigMap(Arc::new(self.read()?)),
            Kind::EndpointSlice => Object::EndpointSlice(Arc::new(self.read()?)),
            Kind::Filter => Object::Filter(Arc::new(self.read()?)),
            Kind::GrpcRoute => Object::GrpcRoute(Arc::new(self.read()?)),
            Kind::Gateway => Object::Gateway(Arc::new(self.read()?)),
            Kind::GatewayClass => Object::GatewayClass(Arc::new(self.read()?)),
            Kind::HttpRoute => Object::HttpRoute(Arc::new(self.read()?)),
            Kind::Ingress => Object::Ingress(Arc::new(self.read()?)),
            Kind::IngressClass => Object::IngressClass(Arc::new(self.read()?)),
            Kind::IngressRoute => Object::IngressRoute(Arc::new(self.read()?)),
            Kind::ListenerSet => Object::ListenerSet(Arc::new(self.read()?)),
            Kind::Namespace => Object::Namespace(Arc::new(self.read()?)),
            Kind::ReferenceGrant => Object::ReferenceGrant(Arc::new(self.read()?)),
            Kind::Secret => Object::Secret(Arc::new(self.read()?)),
            Kind::Service => Object::Service(Arc::new(self.read()?)),
            Kind::TcpRoute => Object::TcpRoute(Arc::new(self.read()?)),
            Kind::TlsRoute => Object::TlsRoute(Arc::new(self.read()?)),
            Kind::UdpRoute => Object::UdpRoute(Arc::new(self.read()?)),
        })
    }

    fn change_of_name(&self, name: DomainName) -> Option<Change> {
        if self.verb == Verb::Gone {
            return Some(Change::Forget(name));
        }
        let addresses: Vec<IpAddr> = self.read()?;
        let (ipv4, ipv6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
        let records = |found: Vec<IpAddr>| match found.is_empty() {
            true => Err(Failure::NoAddresses),
            false => Ok(found),
        };
        let answer = Answer {
            ipv4: records(ipv4),
            ipv6: records(ipv6),
        };
        Some(Change::LookedUp { name, answer })
    }

    fn change_of_keys(&self, url: &str) -> Option<Change> {
        if self.verb == Verb::Gone {
            return Some(Change::ForgetKeys(url.into()));
        }
        let text: String = self.read()?;
        Some(Change::KeysFetched {
            url: url.into(),
            fetched: Ok(FetchedKeys::parse(&text).ok()?),
            // They are fetched anew as soon as anybody names them.
            renewal: Renewal::default(),
        })
    }
}

fn key(kind: &str, name: &str) -> Option<Key> {
    let kind = Kind::ALL.into_iter().find(|it| it.as_str() == kind)?;
    let (namespace, name) = name.split_once('/')?;
    Some(objects::key(kind, namespace, name))
}

/// Which lines make the same world as all that were noted.
#[derive(Debug, Default)]
pub(super) struct Needed {
    subjects: HashMap<Box<str>, Versions>,
    /// Versions that others have kept, each by what stands for it.
    kept: BTreeMap<Box<str>, Kept>,
    noted: u32,
}

/// The line of a version that others have kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    place: u32,
    /// They do no more, and it may serve all the same: for as long as its object is bad.
    discarded: bool,
}

/// The places of the lines about a subject that matter. They do in this order, because a version that
/// can be used ends all before it, and one that was decoded all before it that was not.
#[derive(Clone, Copy, Debug, Default)]
struct Versions {
    good: Option<u32>,
    bad: Option<u32>,
    undecodable: Option<u32>,
}

impl Needed {
    /// Takes note of the next line.
    pub(super) fn note(&mut self, line: &Line<'_>) {
        let place = self.noted;
        self.noted += 1;
        if let Some(kept) = line.kept() {
            return self.note_kept(line, kept, place);
        }
        if matches!(line.verb, Verb::Good | Verb::Gone) {
            self.forget_discarded(line.subject);
        }
        if line.verb == Verb::Gone {
            self.subjects.remove(line.subject);
            return;
        }
        let place = Some(place);
        let before = self.subjects.get(line.subject).copied().unwrap_or_default();
        let after = match line.verb {
            Verb::Bad => Versions {
                bad: place,
                undecodable: None,
                ..before
            },
            Verb::Undecodable => Versions {
                undecodable: place,
                ..before
            },
            Verb::Good | Verb::Gone => Versions {
                good: place,
                ..Versions::default()
            },
        };
        match self.subjects.get_mut(line.subject) {
            Some(known) => *known = after,
            None => drop(self.subjects.insert(line.subject.into(), after)),
        }
    }

    /// The same of a version that others have kept.
    fn note_kept(&mut self, line: &Line<'_>, version: &str, place: u32) {
        if line.verb != Verb::Gone {
            let discarded = false;
            self.kept.insert(version.into(), Kept { place, discarded });
            return;
        }
        let versions = self.subjects.get(line.object());
        let is_bad = versions.is_some_and(|it| it.bad.is_some() || it.undecodable.is_some());
        match self.kept.get_mut(version).filter(|_| is_bad) {
            Some(kept) => kept.discarded = true,
            None => drop(self.kept.remove(version)),
        }
    }

    /// An object is good again, or gone.
    fn forget_discarded(&mut self, object: &str) {
        if self.kept.is_empty() {
            return;
        }
        let first = format!("{object}/");
        let of_object = self.kept.range(Box::from(&*first)..);
        let of_object = of_object.take_while(|(version, _)| version.starts_with(&first));
        let discarded = of_object.filter(|(_, kept)| kept.discarded);
        let discarded: Vec<_> = discarded.map(|(version, _)| version.clone()).collect();
        for version in discarded {
            self.kept.remove(&version);
        }
    }

    /// Their places, ascending.
    pub(super) fn places(self) -> Vec<u32> {
        let versions = self.subjects.into_values();
        let places = versions.flat_map(|it| [it.good, it.bad, it.undecodable]);
        let kept = self.kept.into_values().map(|kept| kept.place);
        let mut places: Vec<u32> = places.flatten().chain(kept).collect();
        places.sort_unstable();
        places
    }
}
