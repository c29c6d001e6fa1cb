//! How far a replica's watches have come: what one replica tells the others.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::objects::{Key, Kind};

/// How far the watches over objects that make rules have come. What is published holds at least that
/// much.
///
/// Replicas of neighbouring releases read it of each other. So IngressRoutes stand under the
/// namespace alone, as the first release wrote it, and what a release does not know is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress(BTreeMap<Watched, u64>);

/// How far what a replica serves has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) progress: Progress,
    /// Whether it serves what an earlier process in its pod had seen, as the API server has not listed all
    /// that there is since the start: it comes no further until then.
    pub(super) restored: bool,
}

/// What one watch is over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Watched {
    kind: Kind,
    /// Empty where all namespaces are watched at once.
    namespace: Box<str>,
}

impl Progress {
    /// A watch over a kind has come to a version; no namespace: that over all namespaces at once.
    pub(super) fn advance(&mut self, kind: Kind, namespace: Option<&str>, version: u64) {
        let namespace = namespace.unwrap_or_default().into();
        let known = self.0.entry(Watched { kind, namespace }).or_default();
        *known = version.max(*known);
    }

    /// Takes over what another knows of that is further.
    pub(super) fn merge(&mut self, other: &Progress) {
        for (watched, version) in &other.0 {
            self.advance(watched.kind, Some(&*watched.namespace), *version);
        }
    }

    /// Whether the watch that sees an object has come to a version.
    pub(super) fn reaches(&self, key: &Key, version: u64) -> bool {
        let at = |namespace: &str| {
            self.0.get(&Watched {
                kind: key.kind,
                namespace: namespace.into(),
            })
        };
        let reached = at("").or_else(|| at(&key.namespace));
        reached.is_some_and(|reached| *reached >= version)
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::IngressRoute => f.write_str(&self.namespace),
            kind => write!(f, "{kind}/{}", self.namespace),
        }
    }
}

impl Watched {
    /// `None`: a kind that this release does not know.
    fn parse(text: &str) -> Option<Self> {
        let (kind, namespace) = match text.split_once('/') {
            None => (Kind::IngressRoute, text),
            Some((kind, namespace)) => {
                let known = Kind::ALL.into_iter().find(|it| it.as_str() == kind);
                (known?, namespace)
            }
        };
        Some(Self {
            kind,
            namespace: namespace.into(),
        })
    }
}

impl Serialize for Progress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.0.iter();
        serializer.collect_map(entries.map(|(watched, version)| (watched.to_string(), version)))
    }
}

impl<'de> Deserialize<'de> for Progress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::<String, u64>::deserialize(deserializer)?.into_iter();
        let known = entries.filter_map(|(text, version)| Some((Watched::parse(&text)?, version)));
        Ok(Self(known.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects;

    #[test]
    fn what_a_replica_writes_another_reads() {
        let mut progress = Progress::default();
        progress.advance(Kind::IngressRoute, None, 7);
        progress.advance(Kind::IngressRoute, None, 5);
        progress.advance(Kind::Service, Some("a"), 9);
        let text = serde_json::to_string(&progress).unwrap();
        assert_eq!(text, r#"{"":7,"Service/a":9}"#);
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), progress);
        // As the release before writes it, and as one to come may.
        for (text, reached) in [
            (r#"{"":7}"#, true),
            (r#"{"default":7}"#, true),
            (r#"{"":7,"UnknownKind/":3}"#, true),
            (r#"{"other":7}"#, false),
            (r#"{"":6}"#, false),
            ("{}", false),
        ] {
            let progress: Progress = serde_json::from_str(text).unwrap();
            let key = objects::key(Kind::IngressRoute, "default", "r");
            assert_eq!(progress.reaches(&key, 7), reached, "{text}");
        }
    }

    #[test]
    fn one_kind_says_nothing_of_another() {
        let mut progress = Progress::default();
        progress.advance(Kind::IngressRoute, None, 7);
        let key = |kind| objects::key(kind, "default", "r");
        assert!(progress.reaches(&key(Kind::IngressRoute), 7));
        assert!(!progress.reaches(&key(Kind::Service), 7));
    }
}
