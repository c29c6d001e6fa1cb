//! The time, read seldom: for deadlines, which are seconds away.
//!
//! Each piece of progress moves a deadline, several times in a request, and to read the system's clock
//! each time costs a hundredth of the request.

use std::{cell::Cell, sync::LazyLock, time::Duration};

use tokio::time::Instant;

/// The clock is read anew after so many questions, however busy the thread is.
const QUESTIONS: u8 = 32;

thread_local! {
    /// When the clock was read, and how many more questions that answers.
    static READ: Cell<(Option<Instant>, u8)> = const { Cell::new((None, 0)) };
}

/// Reads the clock. A worker thread does so when it has waited, since it may have waited long.
pub(crate) fn read() -> Instant {
    let now = Instant::now();
    READ.set((Some(now), QUESTIONS));
    now
}

/// About now: never later than that, and earlier only by as long as the thread has been busy with a
/// few dozen pieces of work.
pub(crate) fn recent() -> Instant {
    match READ.get() {
        (Some(now), left @ 1..) => {
            READ.set((Some(now), left - 1));
            now
        }
        _ => read(),
    }
}

/// About now, in milliseconds since the process first asked.
pub(crate) fn milliseconds() -> u64 {
    u64::try_from(since_start().as_millis()).unwrap_or(u64::MAX)
}

/// About now, in nanoseconds since the process first asked: enough for five centuries.
pub(crate) fn nanoseconds() -> u64 {
    u64::try_from(since_start().as_nanos()).unwrap_or(u64::MAX)
}

fn since_start() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    recent().saturating_duration_since(*START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_again_after_some_questions() {
        let first = read();
        for _ in 0..QUESTIONS {
            assert_eq!(recent(), first);
        }
        assert!(recent() > first);
    }
}
