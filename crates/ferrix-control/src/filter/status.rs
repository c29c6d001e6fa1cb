//! What is told to the author of a Filter.

use std::borrow::Cow;

use crate::{
    outcome::Outcome,
    own_status,
    report::{Condition, Serving},
};

/// Those of every kind of our own.
pub(crate) fn conditions(outcome: &Outcome) -> Vec<Condition> {
    own_status::conditions(outcome, what_serves(outcome))
}

/// What rules that name it do, for people.
fn what_serves(outcome: &Outcome) -> Cow<'static, str> {
    match outcome.serving {
        _ if outcome.rules == 0 => {
            "Rules that name it answer 500, and it is attached to nothing.".into()
        }
        Serving::LastGood {
            generation: Some(generation),
        } => {
            format!("Requests pass through the last good version, generation {generation}.").into()
        }
        Serving::LastGood { generation: None } | Serving::Nothing => {
            "Requests pass through the last good version.".into()
        }
        Serving::Newest => {
            "Requests pass through it where rules name it and where it is attached.".into()
        }
    }
}
