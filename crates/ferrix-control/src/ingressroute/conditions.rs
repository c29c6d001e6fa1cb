//! What is told to the author of a route.

use std::{borrow::Cow, fmt::Write, sync::Arc};

use super::{Draft, entry_points};
use crate::{
    report::{Condition, ConditionType, Entry, Finding, Reason, Serving, Severity},
    settings::Settings,
};

/// The longest message of a condition, which the API server bounds at 32 KiB.
const MAX_MESSAGE: usize = 8 * 1024;

impl Draft {
    /// What the report says of it.
    pub(crate) fn entry(&self, settings: &Settings) -> Entry {
        let conditions = match self.not_ours {
            true => Arc::default(),
            false => self.conditions(settings),
        };
        let mut findings = [&*self.faults, &*self.findings].concat();
        // Stable: among equals, the order of the spec.
        findings.sort_by_key(|finding| finding.severity);
        let serving = match self.rules == 0 {
            true => Serving::Nothing,
            false => self.serving,
        };
        Entry {
            key: self.key.clone(),
            origin: self.origin.clone(),
            observed_generation: self.observed_generation,
            serving,
            entry_points: match self.rules == 0 {
                true => Arc::default(),
                false => entry_points::each_name(settings, &self.entry_points)
                    .map(str::to_owned)
                    .collect(),
            },
            conditions,
            findings,
        }
    }

    fn conditions(&self, settings: &Settings) -> Arc<[Condition]> {
        let conditions = [
            self.accepted(settings),
            self.resolved_refs(),
            self.programmed(settings),
        ];
        let observed_generation = self.observed_generation;
        conditions
            .into_iter()
            .map(|condition| Condition {
                observed_generation,
                ..condition
            })
            .collect()
    }

    fn accepted(&self, settings: &Settings) -> Condition {
        let mut problems = self.problems(ConditionType::Accepted).peekable();
        let Some(first) = problems.peek() else {
            let warnings = self.findings.iter().filter(|finding| {
                finding.severity == Severity::Warning && finding.reason.condition().is_none()
            });
            let mut message = Cow::Borrowed("The spec is accepted.");
            for warning in warnings {
                let _ = write!(message.to_mut(), "\nNote: {warning}");
            }
            return Condition::new(Reason::Accepted, true, message);
        };
        let reason = first.reason;
        let mut message = join(problems);
        if !self.faults.is_empty() {
            message.push('\n');
            message.push_str(&self.what_serves(settings));
        }
        Condition::new(reason, false, message)
    }

    fn resolved_refs(&self) -> Condition {
        let mut problems = self.problems(ConditionType::ResolvedRefs).peekable();
        match problems.peek() {
            None => {
                let message = "Every object that the spec names was found.";
                Condition::new(Reason::ResolvedRefs, true, message)
            }
            Some(first) => {
                let reason = first.reason;
                let mut message = join(problems);
                if self.unresolved {
                    message.push_str("\nRequests that need it get 500.");
                }
                Condition::new(reason, false, message)
            }
        }
    }

    fn programmed(&self, settings: &Settings) -> Condition {
        let message = self.what_serves(settings);
        let reason = match self.serving {
            _ if self.shadowed == self.rules => Reason::NotProgrammed,
            Serving::LastGood { .. } | Serving::Nothing => Reason::LastGoodServed,
            Serving::Newest if self.left_out || !self.faults.is_empty() => Reason::PartlyProgrammed,
            Serving::Newest => Reason::Programmed,
        };
        Condition::new(reason, reason == Reason::Programmed, message)
    }

    fn what_serves(&self, settings: &Settings) -> Cow<'static, str> {
        if self.rules == 0 {
            return "Nothing of it is served.".into();
        }
        if self.shadowed == self.rules {
            return "None of its rules ever serves: others come first.".into();
        }
        let names = entry_points::names(settings, &self.entry_points);
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

    fn problems(&self, condition: ConditionType) -> impl Iterator<Item = &Finding> {
        self.faults
            .iter()
            .chain(&self.findings)
            .filter(move |finding| {
                finding.severity == Severity::Problem
                    && finding.reason.condition() == Some(condition)
            })
    }
}

fn join<'f>(findings: impl Iterator<Item = &'f Finding>) -> String {
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
