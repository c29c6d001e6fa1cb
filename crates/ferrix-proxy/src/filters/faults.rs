//! Faults on purpose: which of them a request gets.

use std::time::Duration;

use ferrix_table::filters::faults::{Faults, Percent};

/// How long the request is to wait, if it is.
pub(crate) fn delay(faults: &Faults) -> Option<Duration> {
    let (delay, share) = faults.delay?;
    is_hit(share).then_some(delay)
}

/// The status that it is to fail with, if it is.
pub(crate) fn abort(faults: &Faults) -> Option<u16> {
    let (status, share) = faults.abort?;
    is_hit(share).then_some(status)
}

fn is_hit(Percent(percent): Percent) -> bool {
    fastrand::u8(..100) < percent
}
