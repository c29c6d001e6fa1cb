//! What is told to the author of a route, for each of its parents.

use std::borrow::Cow;

use crate::{
    outcome::{Outcome, ParentOutcome, joined},
    report::{ConditionType, Finding, Reason, Serving, Severity},
    verdict::{Condition, ParentVerdict, Verdict},
};

/// What is told of a route.
pub(crate) fn verdict(outcome: &Outcome) -> Verdict {
    let resolved = resolved_refs(outcome);
    let parents = outcome.parents.iter().map(|parent| {
        let accepted = accepted(outcome, parent);
        // Only where it is accepted, and never false.
        let partial = partially_invalid(outcome).filter(|_| accepted.status);
        let conditions = [accepted, resolved.clone()].into_iter().chain(partial);
        ParentVerdict {
            parent: parent.parent.clone(),
            conditions: conditions.collect(),
        }
    });
    Verdict::Route(parents.collect())
}

/// That only some rules of the newest version are good, and what serves in its place: the others of it, or all of
/// the last version that was good (`RouteConditionPartiallyInvalid`).
fn partially_invalid(outcome: &Outcome) -> Option<Condition> {
    let is_ours = |it: &Finding| it.reason == Reason::InternalError;
    if !outcome.is_good_in_part || outcome.faults.iter().any(is_ours) {
        return None;
    }
    let done = match outcome.serving {
        Serving::Newest => "Dropped Rule",
        Serving::LastGood { .. } => "Fall Back",
        Serving::Nothing => return None,
    };
    let message = format!("{done}: {}", joined(outcome.faults.iter()));
    let (condition, reason) = ("PartiallyInvalid", "UnsupportedValue");
    Some(Condition::new(condition, true, reason, message))
}

fn accepted(outcome: &Outcome, parent: &ParentOutcome) -> Condition {
    if let Some((reason, message)) = &parent.refused {
        return Condition::new("Accepted", false, reason.as_str(), message.clone());
    }
    let is_partial = partially_invalid(outcome).is_some();
    if let Some(fault) = outcome.faults.first().filter(|_| !is_partial) {
        let mut message = joined(outcome.faults.iter());
        if matches!(outcome.serving, Serving::LastGood { .. }) {
            message.push_str("\nThe last good version is served.");
        }
        let reason = match fault.reason {
            Reason::InternalError => "Pending",
            Reason::IncompatibleFilters => "IncompatibleFilters",
            _ => "UnsupportedValue",
        };
        return Condition::new("Accepted", false, reason, message);
    }
    let refused = |it: &&Finding| it.reason == Reason::HostNotAllowed;
    let mut refused = outcome.findings.iter().filter(refused).peekable();
    if refused.peek().is_some() && outcome.rules == 0 {
        let reason = Reason::HostNotAllowed.as_str();
        return Condition::new("Accepted", false, reason, joined(refused));
    }
    let warnings = outcome.findings.iter().filter(|finding| {
        let concerns = finding.reason.condition() != Some(ConditionType::ResolvedRefs);
        finding.severity <= Severity::Warning && concerns && finding.field != "spec.parentRefs"
    });
    let warnings = joined(warnings);
    let (text, generation) = match outcome.serving {
        Serving::LastGood { generation } if is_partial => {
            ("The last good version is served.", generation)
        }
        _ if is_partial => ("What is good of the route is served.", None),
        _ => ("The route is accepted.", None),
    };
    let message: Cow<'static, str> = match warnings.is_empty() {
        true => text.into(),
        false => format!("{text}\n{warnings}").into(),
    };
    Condition {
        generation,
        ..Condition::new("Accepted", true, "Accepted", message)
    }
}

fn resolved_refs(outcome: &Outcome) -> Condition {
    let mut problems = outcome.problems(ConditionType::ResolvedRefs).peekable();
    let Some(first) = problems.peek() else {
        let message = "Every object that the route names was found.";
        return Condition::new("ResolvedRefs", true, "ResolvedRefs", message);
    };
    let reason = match first.reason {
        Reason::NotPermitted => "RefNotPermitted",
        Reason::InvalidKind => "InvalidKind",
        Reason::UnsupportedProtocol => "UnsupportedProtocol",
        // The specification has none for filters of other groups.
        Reason::FilterNotFound | Reason::FilterNotUsable => first.reason.as_str(),
        _ => "BackendNotFound",
    };
    let message = joined(problems);
    Condition::new("ResolvedRefs", false, reason, message)
}
