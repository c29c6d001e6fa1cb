//! Limits of concurrency at work.

use ferrix_table::filters::{
    concurrency::{Concurrency, UnderWay},
    limit_key::{Counted, LimitKey},
};

use crate::{Engine, failure::Failure};

/// Counts a request for as long as what this returns is kept, or refuses one that is too many. Where a
/// route as a whole has too many, no client can help it.
pub(crate) fn begin(
    limit: &Concurrency,
    counted: Counted<'_>,
    engine: &Engine,
) -> Result<UnderWay, Failure> {
    let state = limit.state.get();
    let begun = state.begin(limit.requests, engine.digests.of(counted));
    begun.ok_or_else(|| {
        state.refused.add(1);
        match limit.by {
            LimitKey::Route => Failure::RouteBusy,
            _ => Failure::TooManyRequests,
        }
    })
}
