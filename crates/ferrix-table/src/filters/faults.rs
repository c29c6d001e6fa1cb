//! Faults on purpose.

use std::{fmt, time::Duration};

/// Faults that requests are given on purpose. Which requests have one is left to chance, for each of the
/// two by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// How long some wait.
    pub delay: Option<(Duration, Percent)>,
    /// The status with which some fail, from 400 to 599. Those that wait do so first.
    pub abort: Option<(u16, Percent)>,
}

/// So many of a hundred; no more than those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u8);

/// `wait 2s in 10 %, 503 in 5 %`.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delay = (self.delay).map(|(delay, share)| format!("wait {delay:?} in {share}"));
        let abort = (self.abort).map(|(status, share)| format!("{status} in {share}"));
        let parts: Vec<_> = delay.into_iter().chain(abort).collect();
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}
