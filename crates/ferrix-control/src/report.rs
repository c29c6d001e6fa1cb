//! What is told to the people who wrote the objects.
//!
//! A [`Finding`] is one thing that is worth saying. The conditions of an object are made from its
//! findings, and so is what `ferrix check` prints: they cannot disagree.

use std::{borrow::Cow, fmt, path::Path, sync::Arc};

use ferrix_table::rules::HostPattern;
use k8s_openapi::jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{
    fallback::Fallbacks,
    objects::{Key, ObjectName, Origin},
    rare::Rare,
    status::Address,
    verdict::Verdict,
};

/// What came of every object: of every IngressRoute, and of other objects that need a word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    #[serde(serialize_with = "shared")]
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) remarks: Vec<Remark>,
    /// Where clients reach Ferrix, for the statuses that say so.
    #[serde(skip)]
    pub(crate) addresses: Arc<[Address]>,
    /// Where the API server has not listed all that there is since the start, and what an earlier process
    /// had seen is served: until when that was followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<Timestamp>,
    /// What serves in place of bad objects. The entries of routes say so in words.
    #[serde(skip)]
    pub(crate) fallbacks: Arc<Fallbacks>,
}

/// What came of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The object.
    #[serde(flatten)]
    pub key: Key,
    /// Where its newest version comes from.
    pub origin: Origin,
    /// `metadata.generation` of the newest version; `None` where the source has none.
    pub observed_generation: Option<i64>,
    /// Which version serves. Only for objects that have conditions.
    pub serving: Serving,
    /// The entry points that serve it, in the order of the settings.
    #[serde(serialize_with = "list")]
    pub entry_points: Arc<[String]>,
    /// Those of [`ConditionType::ALL`], in this order, for an object that makes rules, or a Filter, that is
    /// ours; empty for anything else.
    #[serde(serialize_with = "list")]
    pub conditions: Arc<[Condition]>,
    /// The hosts that it asks for and may not have, by the settings: it is not served for them.
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "texts")]
    pub refused_hosts: Rare<HostPattern>,
    /// What the status says, of a Filter or an object of the Gateway API that is ours.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "told")]
    pub verdict: Option<Arc<Verdict>>,
    /// The Filters that are attached above its rules.
    #[serde(skip)]
    pub(crate) attached: Rare<ObjectName>,
    /// All there is to say, the most important first.
    pub findings: Rare<Finding>,
}

/// Which version of an object serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Serving {
    /// None.
    Nothing,
    /// The newest.
    Newest,
    /// The last version that was good, because the newest is not.
    LastGood {
        /// Its generation; `None` where the source has none.
        generation: Option<i64>,
    },
}

/// A condition, but for the time of its last change, which only a writer can know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which condition.
    #[serde(rename = "type")]
    pub condition: ConditionType,
    /// `True` or `False`; never unknown.
    #[serde(serialize_with = "true_or_false")]
    pub status: bool,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, and what to do, for people.
    pub message: Cow<'static, str>,
    /// The generation that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The conditions that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ConditionType {
    /// Sums up: everything that the others say is true, and there are endpoints, so that requests get
    /// the answers that the spec asks for.
    Ready,
    /// Everything in the spec could be used.
    Accepted,
    /// Every object that the spec names was found and may be used.
    ResolvedRefs,
    /// The newest version is served, on every entry point that it is meant for.
    Programmed,
    /// False where any certificate of an endpoint will do. Only BackendPolicies have it, and only then: it is
    /// no fault.
    Verified,
}

/// One thing worth saying about an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is, for programs.
    pub reason: Reason,
    /// The field that it is about; empty for the object as a whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// The line of the field, for objects from files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What it is and what to do, for people. May have several lines.
    pub message: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something is not done that was asked for. `ferrix check` fails.
    Problem,
    /// What was asked for is done, and yet may not be what was meant.
    Warning,
    /// Good to know.
    Info,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Why a condition is what it is, or what a finding is about. The set is closed: programs
        /// may rely on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),+];

            /// As conditions and events write it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Reason::$name => stringify!($name),)+
                }
            }
        }
    };
}

reasons! {
    /// Requests get the answers that the spec asks for.
    Ready,
    /// Everything in the spec could be used.
    Accepted,
    /// The object does not fit its schema.
    InvalidObject,
    /// Fields of the spec contradict each other.
    InvalidSpec,
    /// The host is no host.
    InvalidHost,
    /// The settings keep the host from the namespace.
    HostNotAllowed,
    /// A rule does not parse.
    InvalidRule,
    /// An entry point is named that the settings do not have.
    UnknownEntryPoint,
    /// No entry point fits.
    NoEntryPoint,
    /// A secure entry point has no certificate to present.
    NoCertificate,
    /// Filters of one list exclude each other.
    IncompatibleFilters,
    /// A Gateway or a listener is not served as it asks.
    ListenersNotValid,
    /// A parent has no listener of the name or port that a route asks for.
    NoMatchingParent,
    /// No listener of a parent takes routes of this kind and namespace.
    NotAllowedByListeners,
    /// A route has no host in common with any listener of a parent.
    NoMatchingListenerHostname,
    /// A field has a value that cannot be served.
    UnsupportedValue,
    /// Another rule, or another route's certificate, comes first.
    Conflicted,
    /// A bug of Ferrix, which the object brings to light.
    InternalError,
    /// Every object that the spec names was found and may be used.
    ResolvedRefs,
    /// A Service does not exist.
    ServiceNotFound,
    /// A Service does not have the port.
    PortNotFound,
    /// A Service cannot be forwarded to.
    ServiceNotUsable,
    /// A port of a Service speaks what is not known, and the route may not take it for something else.
    UnsupportedProtocol,
    /// No ReferenceGrant allows a reference to another namespace.
    NotPermitted,
    /// A reference names a kind that cannot be used there.
    InvalidKind,
    /// A Filter does not exist, or is another installation's.
    FilterNotFound,
    /// A Filter is bad, and no good version of it is known, or it does not do what a rule needs it for.
    FilterNotUsable,
    /// A Filter that was attached is gone: requests go on without it.
    FilterLost,
    /// A Secret does not exist.
    SecretNotFound,
    /// A ConfigMap does not exist.
    ConfigMapNotFound,
    /// A Secret holds no certificate that can be presented, or an object none of an authority.
    InvalidCertificate,
    /// A Secret does not hold what a filter needs of it, or not all of that can be used.
    InvalidSecret,
    /// A ConfigMap does not hold what a filter needs of it, or not all of that can be used.
    InvalidConfigMap,
    /// The keys at a URL cannot be fetched, and never were.
    KeysNotFetched,
    /// The newest version is served.
    Programmed,
    /// Part of the newest version is served.
    PartlyProgrammed,
    /// The last good version is served in place of the newest.
    LastGoodServed,
    /// Nothing is served.
    NotProgrammed,
    /// Some replica does not serve it yet.
    Pending,
    /// Any certificate of an endpoint will do.
    NotVerified,
    /// A certificate is named where none is used.
    CertificateNotUsed,
    /// A certificate is presented outside its time.
    CertificateOutOfDate,
    /// A certificate is presented for a host that it does not name.
    CertificateForOtherNames,
    /// A Service has no endpoint that takes requests.
    NoEndpoints,
    /// An endpoint is left out.
    EndpointNotUsed,
    /// The name that a Service stands for is looked up in vain: the addresses found last serve on.
    LookupFailed,
    /// The name that a Service stands for has not been looked up: `ferrix check` looks none up.
    NotLookedUp,
    /// The keys at a URL are fetched in vain: those that were fetched last serve on. Or some of them cannot be
    /// used.
    FetchFailed,
    /// The keys at a URL have not been fetched: `ferrix check` fetches none.
    NotFetched,
    /// The settings keep a namespace from having an issuer asked.
    IssuerNotAllowed,
    /// Users log in, and no rule takes those that come back.
    CallbackNotServed,
    /// A rule, or a part of one, that no request can match.
    NeverMatches,
    /// Rules of two namespaces can match the same requests, and one comes first.
    Overlaps,
    /// A field that nobody reads.
    UnknownField,
    /// An application protocol that is not known.
    UnknownProtocol,
    /// A field that has no effect here.
    NoEffect,
    /// Objects that are served can no longer be seen: what was seen last serves on.
    NoLongerSeen,
    /// The object belongs to someone else: another class, or a namespace that is not watched.
    NotOurs,
    /// Another installation of the same class has written the status.
    OtherInstallation,
    /// The same object is in two places.
    Duplicate,
    /// A file or a document cannot be read.
    Unreadable,
    /// A kind that is not watched.
    UnknownKind,
}

impl Reason {
    /// The condition that a problem with this reason makes false.
    pub fn condition(self) -> Option<ConditionType> {
        use Reason::*;
        match self {
            Ready => Some(ConditionType::Ready),
            Accepted
            | InvalidObject
            | InvalidSpec
            | InvalidHost
            | HostNotAllowed
            | InvalidRule
            | UnknownEntryPoint
            | NoEntryPoint
            | NoCertificate
            | ListenersNotValid
            | NoMatchingParent
            | NotAllowedByListeners
            | NoMatchingListenerHostname
            | UnsupportedValue
            | IncompatibleFilters
            | Conflicted
            | InternalError => Some(ConditionType::Accepted),
            ResolvedRefs | ServiceNotFound | PortNotFound | ServiceNotUsable
            | UnsupportedProtocol | NotPermitted | InvalidKind | FilterNotFound
            | FilterNotUsable | SecretNotFound | ConfigMapNotFound | InvalidCertificate
            | InvalidSecret | InvalidConfigMap | KeysNotFetched | IssuerNotAllowed => {
                Some(ConditionType::ResolvedRefs)
            }
            Programmed | PartlyProgrammed | LastGoodServed | NotProgrammed | Pending => {
                Some(ConditionType::Programmed)
            }
            NotVerified
            | CertificateNotUsed
            | CertificateOutOfDate
            | CertificateForOtherNames
            | NoEndpoints
            | EndpointNotUsed
            | LookupFailed
            | NotLookedUp
            | FetchFailed
            | NotFetched
            | FilterLost
            | CallbackNotServed
            | NeverMatches
            | Overlaps
            | UnknownField
            | UnknownProtocol
            | NoEffect
            | NoLongerSeen
            | NotOurs
            | OtherInstallation
            | Duplicate
            | Unreadable
            | UnknownKind => None,
        }
    }
}

/// A finding about a file rather than an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// The file.
    #[serde(serialize_with = "path_text")]
    pub path: Arc<Path>,
    /// What about it.
    #[serde(flatten)]
    pub finding: Finding,
}

/// A finding with its place, ready to print: `FILE:LINE: OBJECT: FIELD: MESSAGE`.
#[derive(Clone, Copy, Debug)]
pub struct Located<'r> {
    /// The object; `None` for a remark about a file.
    pub key: Option<&'r Key>,
    /// The finding.
    pub finding: &'r Finding,
    place: Place<'r>,
}

#[derive(Clone, Copy, Debug)]
enum Place<'r> {
    Origin(&'r Origin),
    File(&'r Path),
}

impl Report {
    /// What came of each object, by key.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// What was found about files rather than objects, by path.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Where the API server has not listed all that there is since the start, and what an earlier process
    /// in the same pod had seen is served: until when that had followed the objects.
    pub fn snapshot(&self) -> Option<Timestamp> {
        self.snapshot
    }

    /// Whether another report says the same of every object and file.
    pub(crate) fn tells_the_same(&self, other: &Self) -> bool {
        let Self {
            entries,
            remarks,
            addresses,
            fallbacks,
            snapshot: _,
        } = self;
        *entries == other.entries
            && *remarks == other.remarks
            && *addresses == other.addresses
            && *fallbacks == other.fallbacks
    }

    /// What came of one object.
    pub fn get(&self, key: &Key) -> Option<&Arc<Entry>> {
        let place = self
            .entries
            .binary_search_by(|entry| entry.key.cmp(key))
            .ok()?;
        Some(&self.entries[place])
    }

    /// Puts entries in the place of those of the same objects, or takes them out. Tells whether
    /// that changes anything.
    pub(crate) fn update(&mut self, news: Vec<(Key, Option<Arc<Entry>>)>) -> bool {
        if self.entries.is_empty() {
            self.entries = news.into_iter().filter_map(|(_, entry)| entry).collect();
            self.entries.sort_by(|one, other| one.key.cmp(&other.key));
            self.entries.dedup();
            // Collecting has reused the room of what is larger.
            self.entries.shrink_to_fit();
            return !self.entries.is_empty();
        }
        let mut changed = false;
        for (key, entry) in news {
            changed |= self.replace(&key, entry);
        }
        changed
    }

    fn replace(&mut self, key: &Key, entry: Option<Arc<Entry>>) -> bool {
        let place = self.entries.binary_search_by(|entry| entry.key.cmp(key));
        match (place, entry) {
            (Ok(place), Some(entry)) if self.entries[place] == entry => return false,
            (Ok(place), Some(entry)) => self.entries[place] = entry,
            (Ok(place), None) => drop(self.entries.remove(place)),
            (Err(place), Some(entry)) => self.entries.insert(place, entry),
            (Err(_), None) => return false,
        }
        true
    }

    /// Everything that was found: files first, then objects by key.
    pub fn findings(&self) -> impl Iterator<Item = Located<'_>> {
        let remarks = self.remarks.iter().map(|remark| Located {
            key: None,
            finding: &remark.finding,
            place: Place::File(&remark.path),
        });
        let entries = self.entries.iter().flat_map(|entry| {
            entry.findings.iter().map(|finding| Located {
                key: Some(&entry.key),
                finding,
                place: Place::Origin(&entry.origin),
            })
        });
        remarks.chain(entries)
    }

    /// What makes `ferrix check` fail.
    pub fn problems(&self) -> impl Iterator<Item = Located<'_>> {
        self.findings()
            .filter(|located| located.finding.severity == Severity::Problem)
    }
}

/// Every problem and warning, one after the other.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings()
            .filter(|located| located.finding.severity <= Severity::Warning)
            .try_for_each(|located| writeln!(f, "{located}"))
    }
}

impl Located<'_> {
    /// What it is printed with first: `FILE:LINE: `; empty for objects of the API server.
    pub fn place(&self) -> String {
        let path = match self.place {
            Place::File(path) => path,
            Place::Origin(Origin::File(origin)) => &origin.path,
            Place::Origin(Origin::Api) => return String::new(),
        };
        match self.finding.line {
            Some(line) => format!("{}:{line}: ", path.display()),
            None => format!("{}: ", path.display()),
        }
    }
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())?;
        if self.finding.severity != Severity::Problem {
            write!(f, "{}: ", self.finding.severity.as_str())?;
        }
        if let Some(key) = self.key {
            write!(f, "{key}: ")?;
        }
        let text = self.finding.to_string();
        for (place, line) in text.lines().enumerate() {
            match place {
                0 => f.write_str(line)?,
                _ => write!(f, "\n    {line}")?,
            }
        }
        Ok(())
    }
}

impl Severity {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl Finding {
    pub(crate) fn problem(
        reason: Reason,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Problem,
            reason,
            field: field.into(),
            line: None,
            message: message.into(),
        }
    }

    pub(crate) fn warning(
        reason: Reason,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::problem(reason, field, message)
        }
    }

    pub(crate) fn info(
        reason: Reason,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Info,
            ..Self::problem(reason, field, message)
        }
    }

    /// The same, at its line.
    pub(crate) fn located(mut self, origin: &Origin) -> Self {
        self.line = origin.line_of(&self.field);
        self
    }

    pub(crate) fn at_line(mut self, line: u32) -> Self {
        self.line = Some(line);
        self
    }
}

/// `FIELD: MESSAGE`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "{}: {}", self.field, self.message),
        }
    }
}

impl ConditionType {
    /// Every one there is.
    pub const ALL: [Self; 5] = [
        Self::Ready,
        Self::Accepted,
        Self::ResolvedRefs,
        Self::Programmed,
        Self::Verified,
    ];

    /// As objects write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Programmed => "Programmed",
            Self::Verified => "Verified",
        }
    }
}

impl Condition {
    pub(crate) fn new(
        condition: ConditionType,
        reason: Reason,
        status: bool,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            condition,
            status,
            reason,
            message: message.into(),
            observed_generation: None,
        }
    }

    /// `Ready`, where this condition is what keeps it from being true.
    pub(crate) fn summed_up(&self) -> Self {
        let what = self.condition.as_str();
        let why = self.message.lines().next().unwrap_or_default();
        let message = format!("{what} is False: {why}");
        Self::new(ConditionType::Ready, self.reason, false, message)
    }
}

impl Entry {
    /// An entry about an object that has no conditions.
    pub(crate) fn remarks(key: Key, origin: Origin, findings: Vec<Finding>) -> Self {
        Self {
            findings: findings
                .into_iter()
                .map(|finding| finding.located(&origin))
                .collect(),
            key,
            origin,
            observed_generation: None,
            serving: Serving::Nothing,
            entry_points: Arc::default(),
            conditions: Arc::default(),
            refused_hosts: Rare::default(),
            verdict: None,
            attached: Rare::default(),
        }
    }

    /// One of its conditions.
    pub fn condition(&self, condition: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|it| it.condition == condition)
    }
}

fn true_or_false<S: Serializer>(status: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match status {
        true => "True",
        false => "False",
    })
}

fn path_text<S: Serializer>(path: &Arc<Path>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

fn texts<S: Serializer>(hosts: &[HostPattern], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(hosts.iter().map(HostPattern::to_string))
}

fn told<S: Serializer>(verdict: &Option<Arc<Verdict>>, serializer: S) -> Result<S::Ok, S::Error> {
    verdict.as_deref().serialize(serializer)
}

fn list<T: Serialize, S: Serializer>(list: &Arc<[T]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(&**list)
}

fn shared<S: Serializer>(entries: &[Arc<Entry>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(entries.iter().map(|entry| &**entry))
}
