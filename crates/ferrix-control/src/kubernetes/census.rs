//! Which replicas there are, what each tells of itself, and how many of them serve a route.
//!
//! Pure: no client, no clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::{Duration, Instant},
};

use ferrix_api::backendpolicy::ServiceEndpoints;
use ferrix_table::table::EntryPoint;
use serde::{Deserialize, Serialize};

use super::{
    endpoint_health::EndpointHealth,
    exceptions::{Exception, Exceptions},
    progress::Progress,
};
use crate::{
    fallback::Fallback,
    objects::{Key, Kind, ObjectName},
    report::Entry,
};

/// Routes are counted anew when replicas have neither come nor gone for so long. A rollout replaces
/// them one after the other, which is one change to whoever reads the count.
const SETTLING: Duration = Duration::from_secs(12);

/// However long replicas come and go, routes are counted anew so long after the first did.
const LONGEST_SETTLING: Duration = Duration::from_secs(60);

/// So many replicas are named for one reason.
const MAX_NAMES: usize = 3;

/// The version of what replicas tell of their settings.
const VERSION: u32 = 1;

/// What a replica has told of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Replica {
    pub(super) progress: Progress,
    pub(super) offer: Offer,
    /// Whether it serves what an earlier process in its pod had seen, as the API server has not listed all
    /// that there is since the start.
    pub(super) restored: bool,
    pub(super) exceptions: Exceptions,
    pub(super) endpoints: EndpointHealth,
}

/// The entry points of a replica, by name: whether each is secure. `None`: it has not said, and is
/// taken to have all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer(Option<BTreeMap<Box<str>, bool>>);

/// As a replica's Lease has it. Replicas of neighbouring releases read it of each other.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entry_points: Option<Vec<ToldEntryPoint>>,
}

#[derive(Deserialize, Serialize)]
struct ToldEntryPoint {
    name: Box<str>,
    #[serde(default)]
    secure: bool,
}

impl Offer {
    pub(super) fn new(entry_points: &[EntryPoint]) -> Self {
        let named = (entry_points.iter()).map(|it| ((&*it.name).into(), it.is_secure()));
        Self(Some(named.collect()))
    }

    /// As a Lease has it. What does not say anything, or says it in a way that this release does not
    /// know, means what it meant before replicas told of their entry points.
    pub(super) fn read(told: Option<&str>) -> Self {
        let told = told.and_then(|told| serde_json::from_str::<Told>(told).ok());
        let told = told.filter(|told| told.version == VERSION);
        let entry_points = told.and_then(|told| told.entry_points);
        let named = |entry_points: Vec<ToldEntryPoint>| {
            (entry_points.into_iter()).map(|it| (it.name, it.secure))
        };
        Self(entry_points.map(|it| named(it).collect()))
    }

    /// For a Lease.
    pub(super) fn write(&self) -> String {
        let entry_points = self.0.as_ref().map(|entry_points| {
            let all = entry_points.iter();
            all.map(|(name, secure)| ToldEntryPoint {
                name: name.clone(),
                secure: *secure,
            })
            .collect()
        });
        let told = Told {
            version: VERSION,
            entry_points,
        };
        // Texts, numbers and lists of them always have a form in JSON.
        serde_json::to_string(&told).unwrap_or_default()
    }

    /// Which of some entry points is missing, or is something else than `ours`. Those that are not among
    /// ours come with Gateways, which all replicas see.
    fn lacks<'n>(&self, names: &'n [String], ours: &Offer) -> Option<&'n str> {
        let theirs = self.0.as_ref()?;
        let of_ours = |name: &str| ours.0.as_ref().and_then(|it| it.get(name));
        let names = names.iter().map(String::as_str);
        let mut names = names.filter(|name| ours.0.is_none() || of_ours(name).is_some());
        names.find(|name| match (theirs.get(*name), of_ours(name)) {
            (None, _) => true,
            (Some(theirs), Some(ours)) => theirs != ours,
            (Some(_), None) => false,
        })
    }
}

/// The replicas, and whether they have just come or gone.
#[derive(Debug, Default)]
pub(super) struct Census {
    replicas: BTreeMap<Box<str>, Replica>,
    /// What this replica offers, which reports are made with.
    ours: Offer,
    /// The first and the last time that some came or went since the count was settled.
    changes: Option<(Instant, Instant)>,
}

impl Census {
    pub(super) fn new(ours: Offer) -> Self {
        Self {
            ours,
            ..Self::default()
        }
    }

    /// Takes in what replicas tell now. `None`: nothing is new; otherwise the bad objects that something
    /// else serves in place of, on some replica, and the policies with other endpoints.
    pub(super) fn take(
        &mut self,
        replicas: BTreeMap<Box<str>, Replica>,
        now: Instant,
    ) -> Option<BTreeSet<Key>> {
        if self.replicas == replicas {
            return None;
        }
        let differing = differing(&self.replicas, &replicas);
        let offers = (replicas.iter()).map(|(name, replica)| (name, &replica.offer));
        let before = (self.replicas.iter()).map(|(name, replica)| (name, &replica.offer));
        let settled = before.eq(offers);
        self.replicas = replicas;
        if !settled {
            let (first, _) = self.changes.unwrap_or((now, now));
            self.changes = Some((first, now));
        }
        Some(differing)
    }

    /// This replica begins to write: it has counted nothing yet.
    pub(super) fn begin(&mut self, now: Instant) {
        self.changes = Some((now, now));
    }

    /// When routes are counted anew; `None`: nothing has changed since they were.
    pub(super) fn settles(&self) -> Option<Instant> {
        let (first, last) = self.changes?;
        Some((last + SETTLING).min(first + LONGEST_SETTLING))
    }

    /// Whether it is time to count routes anew, once for all changes before.
    pub(super) fn has_settled(&mut self, now: Instant) -> bool {
        let settled = self.settles().is_some_and(|at| at <= now);
        if settled {
            self.changes = None;
        }
        settled
    }

    /// How the endpoints of a BackendPolicy's Services are on all replicas together.
    pub(super) fn endpoints(&self, policy: &ObjectName) -> Vec<ServiceEndpoints> {
        let told = self.replicas.values().map(|replica| &replica.endpoints);
        EndpointHealth::merged(told, policy)
    }

    /// How many replicas serve a route as the entry says, the newest version of which was seen first at
    /// `since`. It depends on these `bad` objects, each with what serves in its place.
    pub(super) fn count(&self, entry: &Entry, since: u64, bad: &[(Key, Fallback)]) -> Count {
        let key = &entry.key;
        let mut count = Count {
            serving: 0,
            total: self.replicas.len(),
            missing: None,
            exceptions: BTreeMap::new(),
        };
        for (name, replica) in &self.replicas {
            let reaches = replica.progress.reaches(key, since);
            let exception = match replica.offer.lacks(&entry.entry_points, &self.ours) {
                // Whatever it confirms.
                Some(entry_point) => Some(Exception::OtherSettings(entry_point.into())),
                None => replica.exceptions.to(key, bad).filter(|_| reaches),
            };
            if let Some(exception) = exception {
                let names = count.exceptions.entry(exception).or_default();
                names.push(name.clone());
            } else if reaches {
                count.serving += 1;
            } else if count.missing.is_none() {
                count.missing = Some(Missing {
                    replica: name.clone(),
                    restored: replica.restored,
                });
            }
        }
        count
    }
}

/// How many replicas serve a version.
#[derive(Debug)]
pub(super) struct Count {
    serving: usize,
    total: usize,
    /// One that has not confirmed it.
    missing: Option<Missing>,
    /// Those that serve something else, or not everywhere.
    exceptions: BTreeMap<Exception, Vec<Box<str>>>,
}

/// A replica that has not confirmed a version.
#[derive(Debug)]
struct Missing {
    replica: Box<str>,
    restored: bool,
}

impl Count {
    /// Whether every replica serves it.
    pub(super) fn is_whole(&self) -> bool {
        self.total > 0 && self.missing.is_none() && self.exceptions.is_empty()
    }

    /// Why not, for people.
    pub(super) fn pending(&self) -> String {
        let Self { serving, total, .. } = self;
        let why = match &self.missing {
            None if self.exceptions.is_empty() => {
                return "No replica has confirmed this generation yet.".to_owned();
            }
            None => ".".to_owned(),
            Some(Missing {
                replica,
                restored: false,
            }) => format!("; {replica} has not confirmed it."),
            Some(Missing {
                replica,
                restored: true,
            }) => format!(
                "; {replica} serves from a snapshot, as the API server has not listed every kind for \
                 it since it started."
            ),
        };
        let others = self.others();
        let space = if others.is_empty() { "" } else { " " };
        format!("{serving} of {total} replicas serve this generation{why}{space}{others}")
    }

    /// Which replicas serve something else than what is said of a version that is not programmed, for people;
    /// `None`: no one does.
    pub(super) fn exceptions(&self) -> Option<String> {
        let differ: usize = self.exceptions.values().map(Vec::len).sum();
        let same = self.total - differ;
        let (total, others) = (self.total, self.others());
        (differ > 0).then(|| format!("So it is on {same} of {total} replicas. {others}"))
    }

    fn others(&self) -> String {
        let mut text = String::new();
        for (exception, names) in &self.exceptions {
            let named = names[..names.len().min(MAX_NAMES)].join(", ");
            let more = match names.len().saturating_sub(MAX_NAMES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let space = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{space}Not on {named}{more}: {exception}.");
        }
        text
    }
}

/// `2/2`: how many of how many.
impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.serving, self.total)
    }
}

/// Bad objects that something else serves in place of than before, on some replica, and policies with other
/// endpoints.
fn differing(
    before: &BTreeMap<Box<str>, Replica>,
    after: &BTreeMap<Box<str>, Replica>,
) -> BTreeSet<Key> {
    let nothing = Replica::default();
    let mut differing = BTreeSet::new();
    for name in before.keys().chain(after.keys()) {
        let [before, after] = [before, after].map(|it| it.get(name).unwrap_or(&nothing));
        differing.extend(before.exceptions.differing(&after.exceptions).cloned());
        let policies = before.endpoints.differing(&after.endpoints);
        differing.extend(policies.map(|policy| policy.key(Kind::BackendPolicy)));
    }
    differing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry_points(all: &[(&str, bool)]) -> Offer {
        let entry_point = |(name, secure): &(&str, bool)| match secure {
            true => EntryPoint::https(name),
            false => EntryPoint::http(name),
        };
        Offer::new(&all.iter().map(entry_point).collect::<Vec<_>>())
    }

    #[test]
    fn what_a_replica_tells_of_itself_another_reads() {
        let offer = entry_points(&[("web", false), ("websecure", true)]);
        let text = offer.write();
        assert_eq!(
            text,
            r#"{"version":1,"entryPoints":[{"name":"web","secure":false},{"name":"websecure","secure":true}]}"#
        );
        assert_eq!(Offer::read(Some(&text)), offer);
    }

    /// An older replica tells nothing of its entry points; a newer one may tell it in another way, or
    /// more than this release knows.
    #[test]
    fn neighbouring_releases_understand_each_other() {
        let ours = entry_points(&[("web", false), ("extra", false)]);
        let names = ["web".to_owned(), "extra".to_owned()];
        let cases = [
            (None, None),
            (Some("nonsense"), None),
            (
                Some(r#"{"version":2,"entryPoints":[{"name":"web"}]}"#),
                None,
            ),
            (
                Some(r#"{"version":2,"entryPoints":"as one to come has it"}"#),
                None,
            ),
            (Some(r#"{"version":1}"#), None),
            (
                Some(r#"{"version":1,"entryPoints":[{"name":"web"}]}"#),
                Some("extra"),
            ),
            (
                Some(
                    r#"{"version":1,"entryPoints":[{"name":"web","port":1},{"name":"extra"}],"more":{}}"#,
                ),
                None,
            ),
            (
                Some(
                    r#"{"version":1,"entryPoints":[{"name":"web","secure":true},{"name":"extra"}]}"#,
                ),
                Some("web"),
            ),
        ];
        for (told, lacks) in cases {
            assert_eq!(Offer::read(told).lacks(&names, &ours), lacks, "{told:?}");
        }
    }
}
