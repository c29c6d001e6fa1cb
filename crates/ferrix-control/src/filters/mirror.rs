//! Mirrors, as they are written.

use ferrix_api::gateway::RequestMirror;
use ferrix_table::filters::mirror::Mirror;

use super::{DraftService, Faults};
use crate::report::Reason;

pub(super) fn compile(
    written: &RequestMirror,
    field: &str,
    service: DraftService,
    faults: &mut Faults,
) -> Mirror<DraftService> {
    let (numerator, denominator) = match (written.percent, &written.fraction) {
        (None, None) => (1, 1),
        (Some(percent), None) => (percent, 100),
        (None, Some(fraction)) => (fraction.numerator, fraction.denominator),
        (Some(_), Some(_)) => {
            let message = "give `percent` or `fraction`, not both";
            faults.add(Reason::InvalidSpec, field, message);
            (1, 1)
        }
    };
    if denominator == 0 || numerator > denominator {
        let message = format!(
            "{numerator} of {denominator} requests are no share; expected from none to all"
        );
        let name = if written.percent.is_some() {
            "percent"
        } else {
            "fraction"
        };
        faults.add(Reason::InvalidSpec, format!("{field}.{name}"), message);
    }
    Mirror {
        service,
        denominator,
        numerator,
    }
}
