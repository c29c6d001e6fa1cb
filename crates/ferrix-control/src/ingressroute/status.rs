//! What is told to the author of an IngressRoute.

use std::{borrow::Cow, fmt::Write};

use ferrix_api::ingressroute::IngressRouteStatus;
use ferrix_table::entry_points::EntryPoints;
use serde_json::Value;

use crate::{
    outcome::{Outcome, joined},
    report::{Condition, ConditionType, Reason, Serving, Severity},
    status::{Status, Writer},
};

/// `Accepted`, `ResolvedRefs` and `Programmed`, in this order.
pub(crate) fn conditions(outcome: &Outcome, entry_points: &EntryPoints) -> Vec<Condition> {
    vec![
        accepted(outcome, || outcome.what_serves(entry_points)),
        resolved_refs(outcome),
        programmed(outcome, entry_points),
    ]
}

/// Whether everything in the spec could be used. `what_serves`: in a sentence, where that is in question.
pub(crate) fn accepted(
    outcome: &Outcome,
    what_serves: impl FnOnce() -> Cow<'static, str>,
) -> Condition {
    let mut problems = outcome.problems(ConditionType::Accepted).peekable();
    let Some(first) = problems.peek() else {
        let warnings = outcome.findings.iter().filter(|finding| {
            finding.severity == Severity::Warning && finding.reason.condition().is_none()
        });
        let mut message = Cow::Borrowed("The spec is accepted.");
        for warning in warnings {
            let _ = write!(message.to_mut(), "\nNote: {warning}");
        }
        return Condition::new(ConditionType::Accepted, Reason::Accepted, true, message);
    };
    let reason = first.reason;
    let mut message = joined(problems);
    if !outcome.faults.is_empty() {
        message.push('\n');
        message.push_str(&what_serves());
    }
    Condition::new(ConditionType::Accepted, reason, false, message)
}

/// Whether every object that the spec names was found and may be used.
pub(crate) fn resolved_refs(outcome: &Outcome) -> Condition {
    let condition = |reason, status, message: String| {
        Condition::new(ConditionType::ResolvedRefs, reason, status, message)
    };
    let mut problems = outcome.problems(ConditionType::ResolvedRefs).peekable();
    let Some(first) = problems.peek() else {
        return match outcome.faults.first() {
            Some(fault) if !outcome.is_newest() => {
                let message = "What this version names was not looked for, as it cannot be used.";
                condition(fault.reason, false, message.to_owned())
            }
            Some(_) => {
                let message = "Every object that the good part of the spec names was found.";
                condition(Reason::ResolvedRefs, true, message.to_owned())
            }
            None => {
                let message = "Every object that the spec names was found.";
                condition(Reason::ResolvedRefs, true, message.to_owned())
            }
        };
    };
    let reason = first.reason;
    let mut message = joined(problems);
    if outcome.unresolved {
        message.push_str("\nRequests that need it get 500.");
    }
    if let Some(sentence) = &outcome.without_certificate {
        message.push('\n');
        message.push_str(sentence);
    }
    condition(reason, false, message)
}

fn programmed(outcome: &Outcome, entry_points: &EntryPoints) -> Condition {
    let reason = match outcome.serving {
        _ if outcome.shadowed == outcome.rules => Reason::NotProgrammed,
        Serving::LastGood { .. } | Serving::Nothing => Reason::LastGoodServed,
        Serving::Newest if outcome.left_out || !outcome.faults.is_empty() => {
            Reason::PartlyProgrammed
        }
        Serving::Newest => Reason::Programmed,
    };
    let message = outcome.what_serves(entry_points);
    let status = reason == Reason::Programmed;
    Condition::new(ConditionType::Programmed, reason, status, message)
}

/// The form that a status has in the object.
pub(crate) fn write(status: &Status, _: &Writer<'_>) -> Value {
    let Status {
        installation,
        entry_points,
        replicas,
        conditions,
        ..
    } = status.clone();
    let status = IngressRouteStatus {
        installation,
        entry_points,
        replicas,
        conditions,
    };
    // Texts, lists and maps with texts for keys always have a form in JSON.
    serde_json::to_value(status).unwrap_or_default()
}

/// The status that an object has. One that does not fit counts as none, so that it is replaced by
/// one that does.
pub(crate) fn read(status: &Value, _: &Writer<'_>) -> Status {
    let status = serde_json::from_value(status.clone());
    let status: IngressRouteStatus = status.unwrap_or_default();
    Status {
        installation: status.installation,
        entry_points: status.entry_points,
        replicas: status.replicas,
        conditions: status.conditions,
        ..Status::default()
    }
}
