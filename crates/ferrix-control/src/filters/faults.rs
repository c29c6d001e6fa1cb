//! Faults on purpose, as they are written.

use std::time::Duration;

use ferrix_api::ingressroute::filter;
use ferrix_table::filters::faults::{Faults, Percent};

use super::policy;
use crate::report::Reason;

/// The longest delay.
const LONGEST: Duration = Duration::from_secs(300);

pub(super) fn compile(written: &filter::Faults, field: &str, faults: &mut super::Faults) -> Faults {
    if written.delay.is_none() && written.abort.is_none() {
        let message = "expected `delay`, `abort` or both";
        faults.add(Reason::InvalidSpec, field, message);
    }
    let delay = written.delay.as_ref().map(|delay| {
        let of_duration = format!("{field}.delay.duration");
        let duration = policy::duration(&delay.duration, &of_duration, faults);
        if duration.is_some_and(|it| it > LONGEST) {
            let message = "expected five minutes at most";
            faults.add(Reason::InvalidSpec, of_duration, message);
        }
        let share = percent(delay.percent, &format!("{field}.delay"), faults);
        (duration.unwrap_or_default(), share)
    });
    let abort = written.abort.as_ref().map(|abort| {
        if !(400..=599).contains(&abort.status) {
            let message = format!(
                "{} is no status of a failure; expected 400 to 599",
                abort.status
            );
            let field = format!("{field}.abort.status");
            faults.add(Reason::InvalidSpec, field, message);
        }
        let share = percent(abort.percent, &format!("{field}.abort"), faults);
        (abort.status, share)
    });
    Faults { delay, abort }
}

fn percent(written: u32, field: &str, faults: &mut super::Faults) -> Percent {
    match u8::try_from(written) {
        Ok(percent) if percent <= 100 => Percent(percent),
        _ => {
            let message = format!("{written} of 100 requests are no share; expected 0 to 100");
            faults.add(Reason::InvalidSpec, format!("{field}.percent"), message);
            Percent(0)
        }
    }
}
