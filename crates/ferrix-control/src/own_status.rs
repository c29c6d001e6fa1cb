//! Conditions of our own, as the report has them of every kind that makes rules, and statuses of our own kinds; and
//! the form of these. Each kind's file has the words for what serves.

use std::{borrow::Cow, fmt::Write};

use ferrix_api::{backendpolicy::ServiceEndpoints, filter::UsedBy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    outcome::{Outcome, joined},
    report::{Condition, ConditionType, Reason, Serving, Severity},
    status::{Status, Writer},
};

/// Those of every kind, in the order of [`ConditionType::ALL`]. `what_serves`: in a sentence.
pub(crate) fn conditions(outcome: &Outcome, what_serves: Cow<'static, str>) -> Vec<Condition> {
    let parts = [
        accepted(outcome, &what_serves),
        resolved_refs(outcome),
        programmed(outcome, what_serves.clone()),
    ];
    let ready = ready(outcome, &parts, what_serves);
    [ready].into_iter().chain(parts).collect()
}

/// Whether requests get the answers that the spec asks for.
fn ready(outcome: &Outcome, parts: &[Condition], what_serves: Cow<'static, str>) -> Condition {
    if let Some(wrong) = parts.iter().find(|condition| !condition.status) {
        return wrong.summed_up();
    }
    let (reason, message) = match &outcome.without_endpoints[..] {
        [] => (Reason::Ready, what_serves),
        sentences => (Reason::NoEndpoints, sentences.join("\n").into()),
    };
    let status = reason == Reason::Ready;
    Condition::new(ConditionType::Ready, reason, status, message)
}

/// Whether everything in the spec could be used.
fn accepted(outcome: &Outcome, what_serves: &str) -> Condition {
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
        message.push_str(what_serves);
    }
    Condition::new(ConditionType::Accepted, reason, false, message)
}

/// Whether every object that the spec names was found and may be used.
fn resolved_refs(outcome: &Outcome) -> Condition {
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

/// Whether the newest version serves, and all of it.
fn programmed(outcome: &Outcome, what_serves: Cow<'static, str>) -> Condition {
    let reason = match outcome.serving {
        _ if outcome.shadowed == outcome.rules => Reason::NotProgrammed,
        Serving::LastGood { .. } | Serving::Nothing => Reason::LastGoodServed,
        Serving::Newest if outcome.left_out || !outcome.faults.is_empty() => {
            Reason::PartlyProgrammed
        }
        Serving::Newest => Reason::Programmed,
    };
    let status = reason == Reason::Programmed;
    Condition::new(ConditionType::Programmed, reason, status, what_serves)
}

/// A status in an object of any of the kinds, as the types of `ferrix_api` describe it. What its kind does not
/// have is never there.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    installation: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    entry_points: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replicas: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<v1::Condition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_by: Option<UsedBy>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    services: Vec<ServiceEndpoints>,
}

/// The form that a status has in the object.
pub(crate) fn write(status: &Status, _: &Writer<'_>) -> Value {
    let Status {
        installation,
        entry_points,
        replicas,
        conditions,
        used_by,
        services,
        ..
    } = status.clone();
    let written = Written {
        installation,
        entry_points,
        replicas,
        conditions,
        used_by,
        services,
    };
    // Texts, numbers and lists of them always have a form in JSON.
    serde_json::to_value(written).unwrap_or_default()
}

/// The status that an object has. One that does not fit counts as none, so that it is replaced by one that does.
pub(crate) fn read(status: &Value, _: &Writer<'_>) -> Status {
    let Written {
        installation,
        entry_points,
        replicas,
        conditions,
        used_by,
        services,
    } = serde_json::from_value(status.clone()).unwrap_or_default();
    Status {
        installation,
        entry_points,
        replicas,
        conditions,
        used_by,
        services,
        ..Status::default()
    }
}

#[cfg(test)]
mod tests {
    use ferrix_api::{
        backendpolicy::BackendPolicyStatus, filter::FilterStatus, ingressroute::IngressRouteStatus,
    };
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::status::timeless;

    /// What is written of a kind reads as its type, and as it was.
    fn assert_fits<T: DeserializeOwned + Serialize>(status: Status) {
        let writer = Writer {
            installation: None,
            controller: "",
        };
        let status = Status {
            installation: Some("ferrix/ferrix".to_owned()),
            replicas: Some("2/2".to_owned()),
            conditions: vec![timeless(("Ready", true), "Ready", String::new(), Some(1))],
            ..status
        };
        let written = write(&status, &writer);
        let typed: T = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), written);
        assert_eq!(read(&written, &writer), status);
    }

    #[test]
    fn statuses_are_as_their_types_have_them() {
        assert_fits::<IngressRouteStatus>(Status {
            entry_points: vec!["web".to_owned()],
            ..Status::default()
        });
        assert_fits::<FilterStatus>(Status {
            used_by: Some(UsedBy {
                count: 1,
                routes: vec!["IngressRoute default/a".to_owned()],
            }),
            ..Status::default()
        });
        assert_fits::<BackendPolicyStatus>(Status {
            services: vec![ServiceEndpoints {
                service: "api".to_owned(),
                endpoints: 3,
                healthy: 2,
                ejected: 1,
                ..ServiceEndpoints::default()
            }],
            ..Status::default()
        });
    }
}
