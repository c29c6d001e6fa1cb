//! What is told to the author of a BackendPolicy.

use std::borrow::Cow;

use ferrix_api::backendpolicy::BackendPolicyStatus;
use serde_json::Value;

use crate::{
    ingressroute::status::{accepted, resolved_refs},
    outcome::Outcome,
    report::{Condition, ConditionType, Reason, Serving},
    status::{Status, Writer},
};

/// Those of [`ConditionType::ALL`], in this order, the last one only where it is false.
pub(crate) fn conditions(outcome: &Outcome) -> Vec<Condition> {
    let parts = [
        accepted(outcome, || what_serves(outcome)),
        resolved_refs(outcome),
        programmed(outcome),
    ];
    let wrong = parts.iter().find(|condition| !condition.status);
    let ready = match wrong {
        Some(wrong) => wrong.summed_up(),
        None => {
            let message = what_serves(outcome);
            Condition::new(ConditionType::Ready, Reason::Ready, true, message)
        }
    };
    let all = [ready].into_iter().chain(parts);
    all.chain(not_verified(outcome)).collect()
}

/// That any certificate of an endpoint will do, where that is so. It is what was asked for, and so no fault.
fn not_verified(outcome: &Outcome) -> Option<Condition> {
    let mut findings = outcome.findings.iter();
    let is_told = findings.any(|it| it.reason == Reason::NotVerified);
    is_told.then(|| {
        let message = "Any certificate of an endpoint will do: nobody knows who it is.";
        Condition::new(ConditionType::Verified, Reason::NotVerified, false, message)
    })
}

fn programmed(outcome: &Outcome) -> Condition {
    let reason = match outcome.serving {
        _ if outcome.rules == 0 => Reason::NotProgrammed,
        Serving::LastGood { .. } | Serving::Nothing => Reason::LastGoodServed,
        Serving::Newest if outcome.left_out => Reason::PartlyProgrammed,
        Serving::Newest => Reason::Programmed,
    };
    let status = reason == Reason::Programmed;
    let message = what_serves(outcome);
    Condition::new(ConditionType::Programmed, reason, status, message)
}

/// What becomes of requests of its Services, for people.
fn what_serves(outcome: &Outcome) -> Cow<'static, str> {
    match outcome.serving {
        _ if outcome.rules == 0 => "It is in force for no Service.".into(),
        Serving::LastGood {
            generation: Some(generation),
        } => format!("The last good version, generation {generation}, is in force.").into(),
        Serving::LastGood { generation: None } | Serving::Nothing => {
            "The last good version is in force.".into()
        }
        Serving::Newest if outcome.left_out => "It is in force for some of its Services.".into(),
        Serving::Newest => "It is in force.".into(),
    }
}

/// The form that a status has in the object.
pub(crate) fn write(status: &Status, _: &Writer<'_>) -> Value {
    let Status {
        installation,
        replicas,
        conditions,
        services,
        ..
    } = status.clone();
    let status = BackendPolicyStatus {
        replicas,
        services,
        conditions,
        installation,
    };
    // Texts, numbers and lists of them always have a form in JSON.
    serde_json::to_value(status).unwrap_or_default()
}

/// The status that an object has. One that does not fit counts as none.
pub(crate) fn read(status: &Value, _: &Writer<'_>) -> Status {
    let status: BackendPolicyStatus = serde_json::from_value(status.clone()).unwrap_or_default();
    Status {
        installation: status.installation,
        replicas: status.replicas,
        conditions: status.conditions,
        services: status.services,
        ..Status::default()
    }
}
