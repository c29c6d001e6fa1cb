//! What is told to the author of a BackendPolicy.

use std::borrow::Cow;

use crate::{
    outcome::Outcome,
    own_status,
    report::{Condition, ConditionType, Reason, Serving},
};

/// Those of every kind of our own, and one more only where it is false.
pub(crate) fn conditions(outcome: &Outcome) -> Vec<Condition> {
    let mut all = own_status::conditions(outcome, what_serves(outcome));
    all.extend(not_verified(outcome));
    all
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
