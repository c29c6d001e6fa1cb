//! What became of an object that makes rules: the facts that its conditions and its entry in the
//! report are made from, whatever its kind.

use std::{
    borrow::Cow,
    fmt::Write,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use ferrix_api::gateway::ParentReference;
use ferrix_table::{entry_points::EntryPoints, ids::EntryPointIndex, rules::HostPattern};

use crate::{
    document::DecodeError,
    draft::Draft,
    entry_points,
    objects::{Key, ObjectName, Origin},
    rare::Rare,
    report::{Condition, ConditionType, Entry, Finding, Reason, Serving, Severity},
};

/// The longest message of a condition, which the API server bounds at 32 KiB.
const MAX_MESSAGE: usize = 8 * 1024;

/// What became of an object that makes rules.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) key: Key,
    /// Where the newest version comes from.
    pub(crate) origin: Origin,
    /// The generation of the newest version.
    pub(crate) observed_generation: Option<i64>,
    /// Shared by those of which the same is to be said: by nearly all that are good.
    pub(crate) facts: Arc<Facts>,
}

/// What became of an object, but for which one it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Facts {
    /// Which version serves, if it has any rules.
    pub(crate) serving: Serving,
    /// How many rules it has in the table.
    pub(crate) rules: usize,
    /// How many of those never serve.
    pub(crate) shadowed: usize,
    /// Whether some of them forward nowhere, as a Service cannot be used.
    pub(crate) unresolved: bool,
    /// What clients get on secure entry points whose certificate is missing, in a sentence.
    pub(crate) without_certificate: Option<String>,
    /// What of the rules gets 503, as there is no endpoint: each a sentence.
    pub(crate) without_endpoints: Vec<String>,
    /// Every entry point that some of them are served on.
    pub(crate) entry_points: Box<[EntryPointIndex]>,
    /// The Filters that its rules name, whether they exist or not, each once.
    pub(crate) filters: Rare<FilterUse>,
    /// The hosts that its namespace may not have: it is not served for them.
    pub(crate) refused_hosts: Rare<HostPattern>,
    /// What became of it at each of its parents that is ours; of kinds that have parents.
    pub(crate) parents: Box<[ParentOutcome]>,
    /// Whether something was asked for that is not done.
    pub(crate) left_out: bool,
    /// Problems of a newest version that does not serve, or serves only in part.
    pub(crate) faults: Rare<Finding>,
    /// Whether some rules of that version are good all the same.
    pub(crate) is_good_in_part: bool,
    /// What there is to say about the version that serves.
    pub(crate) findings: Vec<Finding>,
    /// It is another installation's: nothing of it is served, and it gets no conditions.
    pub(crate) not_ours: bool,
}

/// A Filter that an object names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FilterUse {
    pub(crate) filter: ObjectName,
    /// Whether it may: otherwise nobody there is told of it.
    pub(crate) permitted: bool,
    /// Whether it is attached above the rules of the object, and not only named by them.
    pub(crate) attached: bool,
}

/// What became of a route at one of its parents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ParentOutcome {
    pub(crate) parent: ParentReference,
    /// Why it is not attached, where it is not.
    pub(crate) refused: Option<(Reason, String)>,
}

impl Outcome {
    /// Nothing of a draft is served, and nothing is wrong.
    pub(crate) fn nothing(draft: &Draft) -> Self {
        Self {
            key: draft.key().clone(),
            origin: draft.origin.clone(),
            observed_generation: draft.generation(),
            facts: Arc::new(Facts::nothing()),
        }
    }

    /// The outcome of an object of which no version was ever decoded.
    pub(crate) fn undecodable(key: &Key, origin: &Origin, error: &DecodeError) -> Self {
        let mut outcome = Self::nothing(&Draft::undecodable(key, origin.clone()));
        outcome.observed_generation = error.generation;
        outcome.faults = rejections(origin, error);
        outcome
    }

    /// Adds a finding about the version that serves.
    pub(crate) fn remark(&mut self, finding: Finding) {
        let finding = match self.serving {
            Serving::Newest => finding.located(&self.origin),
            // The lines are those of another version.
            Serving::LastGood { .. } | Serving::Nothing => finding,
        };
        self.findings.push(finding);
    }

    /// What the report says of it, with the conditions of its kind.
    pub(crate) fn entry(&self, entry_points: &EntryPoints, conditions: Vec<Condition>) -> Entry {
        let mut findings = [&*self.faults, &*self.findings].concat();
        // Stable: among equals, the order of the spec.
        findings.sort_by_key(|finding| finding.severity);
        let observed_generation = self.observed_generation;
        let conditions = conditions.into_iter().map(|condition| Condition {
            observed_generation,
            ..condition
        });
        let serves = self.rules > 0;
        Entry {
            key: self.key.clone(),
            origin: self.origin.clone(),
            observed_generation,
            serving: match serves {
                true => self.serving,
                false => Serving::Nothing,
            },
            entry_points: match serves {
                true => entry_points::each_name(entry_points, &self.entry_points)
                    .map(str::to_owned)
                    .collect(),
                false => Arc::default(),
            },
            conditions: conditions.collect(),
            refused_hosts: self.refused_hosts.clone(),
            verdict: None,
            attached: self.attached(),
            findings: findings.into(),
        }
    }

    /// The Filters that are attached above its rules.
    fn attached(&self) -> Rare<ObjectName> {
        let attached = self.filters.iter().filter(|it| it.attached);
        attached.map(|it| it.filter.clone()).collect()
    }

    /// Whether the references of the newest version were looked for, at least of what is good of it.
    pub(crate) fn is_newest(&self) -> bool {
        self.serving == Serving::Newest
    }

    /// The problems that make a condition false, the first first.
    pub(crate) fn problems(&self, condition: ConditionType) -> impl Iterator<Item = &Finding> {
        let findings = self.faults.iter().chain(&self.findings);
        findings.filter(move |finding| {
            finding.severity == Severity::Problem && finding.reason.condition() == Some(condition)
        })
    }

    /// Which version is served, and where, for people.
    pub(crate) fn what_serves(&self, entry_points: &EntryPoints) -> Cow<'static, str> {
        if self.rules == 0 {
            return "Nothing of it is served.".into();
        }
        if self.shadowed == self.rules {
            return "None of its rules ever serves: others come first.".into();
        }
        let names = entry_points::names(entry_points, &self.entry_points);
        let message = match self.serving {
            Serving::LastGood {
                generation: Some(generation),
            } => format!("The last good version, generation {generation}, is served on {names}."),
            Serving::LastGood { generation: None } | Serving::Nothing => {
                format!("The last good version is served on {names}.")
            }
            Serving::Newest if !self.faults.is_empty() => {
                format!("What is good of it is served on {names}.")
            }
            Serving::Newest if self.left_out => format!("Part of it is served on {names}."),
            Serving::Newest => format!("Served on {names}."),
        };
        message.into()
    }
}

impl Deref for Outcome {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl DerefMut for Outcome {
    fn deref_mut(&mut self) -> &mut Facts {
        Arc::make_mut(&mut self.facts)
    }
}

impl Facts {
    /// Nothing is served, and nothing is wrong.
    fn nothing() -> Self {
        Self {
            serving: Serving::Nothing,
            rules: 0,
            shadowed: 0,
            unresolved: false,
            without_certificate: None,
            without_endpoints: Vec::new(),
            entry_points: Box::default(),
            filters: Rare::default(),
            refused_hosts: Rare::default(),
            parents: Box::default(),
            left_out: false,
            faults: Rare::default(),
            is_good_in_part: false,
            findings: Vec::new(),
            not_ours: false,
        }
    }
}

/// Why a version could not be decoded.
pub(crate) fn rejections(origin: &Origin, error: &DecodeError) -> Rare<Finding> {
    error
        .findings()
        .map(|finding| finding.located(origin))
        .collect()
}

/// Findings as the message of a condition.
pub(crate) fn joined<'f>(findings: impl Iterator<Item = &'f Finding>) -> String {
    let mut text = String::new();
    for finding in findings {
        if text.len() > MAX_MESSAGE {
            text.push_str("\n…");
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = write!(text, "{finding}");
    }
    text
}
