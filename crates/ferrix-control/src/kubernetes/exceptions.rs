//! What serves on a replica in place of bad objects: what one replica tells the others, and where it
//! differs from what another serves.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    fallback::{Fallback, Fallbacks},
    objects::{self, Key, Kind, ObjectName},
};

/// A replica tells of no more objects: its Lease is written whenever a route changes.
const MAX_OBJECTS: usize = 100;

/// The version of what replicas tell.
const VERSION: u32 = 1;

/// What serves on a replica in place of bad objects. Of an object that is not named nothing is known
/// but that it may be good: releases before did not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Exceptions {
    objects: BTreeMap<Key, Fallback>,
    /// Whether there are more.
    more: bool,
}

/// How another replica serves a route otherwise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exception {
    /// Of a route that was edited badly no good version is known there.
    NoLastGood,
    /// Another version of the route, by its generation.
    LastGood(Option<i64>),
    /// This version, which is good here, is a bad one there.
    Bad,
    /// Of a Secret that is of no use now no certificate is known there.
    NoCertificate(ObjectName),
    /// The last good certificate of a Secret, which is not known here.
    Certificate(ObjectName),
    /// Of a Filter that is bad no good version is known there.
    NoFilter(ObjectName),
    /// Another version of a Filter.
    Filter(ObjectName),
    /// Of a BackendPolicy that is bad no good version is known there.
    NoPolicy(ObjectName),
    /// Another version of a BackendPolicy.
    Policy(ObjectName),
    /// So many objects are bad there that this one may be left out.
    Unknown,
    /// It was started with other settings, without an entry point of this name, or with another of it.
    OtherSettings(Box<str>),
}

/// As a replica's Lease has it. Replicas of neighbouring releases read it of each other.
#[derive(Deserialize, Serialize)]
struct Told {
    version: u32,
    #[serde(default)]
    objects: Vec<ToldObject>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldObject {
    /// `KIND/NAMESPACE/NAME`.
    object: String,
    /// Whether its last good version serves.
    #[serde(default)]
    last_good: bool,
    /// That of the last good version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<i64>,
}

impl Exceptions {
    pub(super) fn new(fallbacks: &Fallbacks) -> Self {
        let objects = fallbacks.objects();
        let more = objects.len() > MAX_OBJECTS;
        Self {
            objects: objects.into_iter().take(MAX_OBJECTS).collect(),
            more,
        }
    }

    /// As a Lease has it. What is not there, or is there in a way that this release does not know, means
    /// that nothing is known to differ.
    pub(super) fn read(told: Option<&str>) -> Self {
        let told = told.and_then(|told| serde_json::from_str::<Told>(told).ok());
        let Some(told) = told.filter(|told| told.version == VERSION) else {
            return Self::default();
        };
        Self {
            objects: told.objects.iter().filter_map(ToldObject::read).collect(),
            more: told.more,
        }
    }

    /// For a Lease; `None`: there is nothing to tell.
    pub(super) fn write(&self) -> Option<String> {
        if self.objects.is_empty() {
            return None;
        }
        let told = Told {
            version: VERSION,
            objects: self.objects.iter().map(ToldObject::new).collect(),
            more: self.more,
        };
        // Texts, numbers and lists of them always have a form in JSON.
        Some(serde_json::to_string(&told).unwrap_or_default())
    }

    /// The objects that another tells otherwise of.
    pub(super) fn differing<'e>(&'e self, other: &'e Exceptions) -> impl Iterator<Item = &'e Key> {
        let all = self.objects.keys().chain(other.objects.keys());
        all.filter(|key| self.objects.get(key) != other.objects.get(key))
    }

    /// What serves there otherwise of a route that depends on these `bad` objects here, each with what
    /// serves here in its place.
    pub(super) fn to(&self, route: &Key, bad: &[(Key, Fallback)]) -> Option<Exception> {
        let is_good = bad.iter().all(|(key, _)| key != route);
        if is_good && self.objects.contains_key(route) {
            return Some(Exception::Bad);
        }
        bad.iter().find_map(|(key, here)| self.about(key, *here))
    }

    fn about(&self, key: &Key, here: Fallback) -> Option<Exception> {
        let name = || key.object.clone();
        let Some(there) = self.objects.get(key) else {
            let last = self.objects.keys().next_back();
            let left_out = self.more && last.is_some_and(|last| last < key);
            return left_out.then_some(Exception::Unknown);
        };
        match (key.kind, there) {
            (_, there) if *there == here => None,
            (Kind::BackendPolicy, Fallback::Nothing) => Some(Exception::NoPolicy(name())),
            (Kind::BackendPolicy, Fallback::LastGood(_)) => Some(Exception::Policy(name())),
            (Kind::Filter, Fallback::Nothing) => Some(Exception::NoFilter(name())),
            (Kind::Filter, Fallback::LastGood(_)) => Some(Exception::Filter(name())),
            (Kind::Secret, Fallback::Nothing) => Some(Exception::NoCertificate(name())),
            (Kind::Secret, Fallback::LastGood(_)) => Some(Exception::Certificate(name())),
            (_, Fallback::Nothing) => Some(Exception::NoLastGood),
            (_, Fallback::LastGood(generation)) => Some(Exception::LastGood(*generation)),
        }
    }
}

impl ToldObject {
    fn new((key, fallback): (&Key, &Fallback)) -> Self {
        let Key { kind, object } = key;
        let (last_good, generation) = match fallback {
            Fallback::LastGood(generation) => (true, *generation),
            Fallback::Nothing => (false, None),
        };
        Self {
            object: format!("{kind}/{object}"),
            last_good,
            generation,
        }
    }

    /// `None`: a kind that this release does not know.
    fn read(&self) -> Option<(Key, Fallback)> {
        let mut parts = self.object.splitn(3, '/');
        let kind = parts.next()?;
        let kind = Kind::ALL.into_iter().find(|it| it.as_str() == kind)?;
        let key = objects::key(kind, parts.next()?, parts.next()?);
        let fallback = match self.last_good {
            true => Fallback::LastGood(self.generation),
            false => Fallback::Nothing,
        };
        Some((key, fallback))
    }
}

/// For people, after the names of replicas.
impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLastGood => f.write_str("no good version of it is known there"),
            Self::LastGood(Some(generation)) => {
                write!(f, "generation {generation} is served there")
            }
            Self::LastGood(None) => f.write_str("an older version is served there"),
            Self::Bad => f.write_str("this generation is taken for a bad one there"),
            Self::NoCertificate(secret) => {
                write!(f, "no certificate of Secret {secret} is known there")
            }
            Self::Certificate(secret) => write!(
                f,
                "the last good certificate of Secret {secret} is presented there"
            ),
            Self::NoFilter(filter) => {
                write!(f, "no good version of Filter {filter} is known there")
            }
            Self::Filter(filter) => {
                write!(
                    f,
                    "requests pass through another version of Filter {filter} there"
                )
            }
            Self::NoPolicy(policy) => {
                write!(
                    f,
                    "no good version of BackendPolicy {policy} is known there"
                )
            }
            Self::Policy(policy) => {
                write!(
                    f,
                    "another version of BackendPolicy {policy} is in force there"
                )
            }
            Self::Unknown => f.write_str("too many objects are bad there to tell of this one"),
            Self::OtherSettings(entry_point) => write!(
                f,
                "started with other settings, without the entry point {entry_point} as it is here; \
                 restart it"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str) -> Key {
        objects::key(Kind::IngressRoute, "default", name)
    }

    fn secret() -> Key {
        objects::key(Kind::Secret, "default", "tls")
    }

    fn exceptions(objects: &[(Key, Fallback)]) -> Exceptions {
        let mut fallbacks = Fallbacks::default();
        for (place, object) in objects.iter().enumerate() {
            fallbacks.set(&route(&format!("user {place:03}")), vec![object.clone()]);
        }
        Exceptions::new(&fallbacks)
    }

    const FIRST: Fallback = Fallback::LastGood(Some(1));
    const PRESENTED: Fallback = Fallback::LastGood(None);

    #[test]
    fn what_a_replica_tells_another_reads() {
        assert_eq!(exceptions(&[]).write(), None);
        let told = exceptions(&[
            (route("bad"), Fallback::Nothing),
            (route("edited"), FIRST),
            (secret(), PRESENTED),
        ]);
        let text = told.write().unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"objects":[{"object":"IngressRoute/default/bad","lastGood":false},{"object":"IngressRoute/default/edited","lastGood":true,"generation":1},{"object":"Secret/default/tls","lastGood":true}]}"#
        );
        assert_eq!(Exceptions::read(Some(&text)), told);
    }

    /// A release before tells nothing; one to come may tell more, or in another way.
    #[test]
    fn neighbouring_releases_understand_each_other() {
        let known = exceptions(&[(route("r"), Fallback::Nothing)]);
        let cases = [
            (None, Exceptions::default()),
            (Some("nonsense"), Exceptions::default()),
            (Some("{}"), Exceptions::default()),
            (
                Some(r#"{"version":2,"objects":[{"object":"IngressRoute/default/r"}]}"#),
                Exceptions::default(),
            ),
            (
                Some(r#"{"version":2,"objects":"as one to come has it"}"#),
                Exceptions::default(),
            ),
            (Some(r#"{"version":1}"#), Exceptions::default()),
            (
                Some(
                    r#"{"version":1,"new":1,"objects":[{"object":"IngressRoute/default/r","why":""},{"object":"NewKind/default/r"},{"object":"odd"}]}"#,
                ),
                known,
            ),
        ];
        for (told, expected) in cases {
            assert_eq!(Exceptions::read(told), expected, "{told:?}");
        }
    }

    #[test]
    fn what_is_served_otherwise_elsewhere() {
        let name = secret().object;
        let nothing = Fallback::Nothing;
        let cases = [
            // Here, there, and what that comes to.
            (vec![], vec![], None),
            (vec![(route("r"), FIRST)], vec![(route("r"), FIRST)], None),
            // It does not tell, or has not taken the bad version up yet.
            (vec![(route("r"), FIRST)], vec![], None),
            (
                vec![(route("r"), FIRST)],
                vec![(route("r"), nothing)],
                Some(Exception::NoLastGood),
            ),
            (
                vec![(route("r"), FIRST)],
                vec![(route("r"), Fallback::LastGood(Some(3)))],
                Some(Exception::LastGood(Some(3))),
            ),
            (
                vec![(route("r"), nothing)],
                vec![(route("r"), FIRST)],
                Some(Exception::LastGood(Some(1))),
            ),
            (
                vec![(route("r"), nothing)],
                vec![(route("r"), nothing)],
                None,
            ),
            // It judges otherwise.
            (vec![], vec![(route("r"), FIRST)], Some(Exception::Bad)),
            (
                vec![(secret(), PRESENTED)],
                vec![(route("r"), FIRST)],
                Some(Exception::Bad),
            ),
            (vec![], vec![(route("other"), FIRST)], None),
            (
                vec![(secret(), PRESENTED)],
                vec![(secret(), nothing)],
                Some(Exception::NoCertificate(name.clone())),
            ),
            (
                vec![(secret(), nothing)],
                vec![(secret(), PRESENTED)],
                Some(Exception::Certificate(name)),
            ),
            (
                vec![(secret(), PRESENTED)],
                vec![(secret(), PRESENTED)],
                None,
            ),
        ];
        let mut ran = 0;
        for (here, there, expected) in cases {
            let told = exceptions(&there);
            assert_eq!(told.to(&route("r"), &here), expected, "{here:?} {there:?}");
            ran += 1;
        }
        assert_eq!(ran, 13);
    }

    #[test]
    fn whoever_has_too_many_bad_objects_says_so() {
        let numbered = |number: usize| (route(&format!("r{number:03}")), Fallback::Nothing);
        let many: Vec<_> = (0..=MAX_OBJECTS).map(numbered).collect();
        let told = Exceptions::read(exceptions(&many).write().as_deref());
        assert!(exceptions(&many).write().unwrap().len() < 16 * 1024);
        let to = |name: &str| told.to(&route(name), &[(route(name), FIRST)]);
        assert_eq!(to("r099"), Some(Exception::NoLastGood));
        assert_eq!(to("r100"), Some(Exception::Unknown));
        // It comes before others that are named, and is not.
        assert_eq!(to("a"), None);
    }
}
