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
    let parents = outcome.parents.iter().map(|parent| ParentVerdict {
        parent: parent.parent.clone(),
        conditions: [accepted(outcome, parent), resolved.clone()].into(),
    });
    Verdict::Route(parents.collect())
}

fn accepted(outcome: &Outcome, parent: &ParentOutcome) -> Condition {
    if let Some((reason, message)) = &parent.refused {
        return Condition::new("Accepted", false, reason.as_str(), message.clone());
    }
    if let Some(fault) = outcome.faults.first() {
        let mut message = joined(outcome.faults.iter());
        if matches!(outcome.serving, Serving::LastGood { .. }) {
            message.push_str("\nThe last good version is served.");
        }
        let reason = match fault.reason {
            Reason::InternalError => "Pending",
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
    let message: Cow<'static, str> = match warnings.is_empty() {
        true => "The route is accepted.".into(),
        false => format!("The route is accepted.\n{warnings}").into(),
    };
    Condition::new("Accepted", true, "Accepted", message)
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
        // The specification has none for filters of other groups.
        Reason::FilterNotFound | Reason::FilterNotUsable => first.reason.as_str(),
        _ => "BackendNotFound",
    };
    let message = joined(problems);
    Condition::new("ResolvedRefs", false, reason, message)
}
