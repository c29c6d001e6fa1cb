//! Rate limits at work.

use ferrix_table::filters::{limit_key::Counted, rate_limit::RateLimit};

use crate::{
    clock,
    failure::{Failure, Quota},
};

/// Refuses a request that is one too many.
pub(crate) fn check(limit: &RateLimit, counted: Counted<'_>) -> Result<(), Failure> {
    let state = limit.state.get();
    let Err(exceeded) = state.take(limit.rate, counted, clock::nanoseconds()) else {
        return Ok(());
    };
    if limit.dry_run {
        state.would_refuse.add(1);
        return Ok(());
    }
    state.refused.add(1);
    Err(Failure::RateLimited(Box::new(Quota {
        by: limit.by.as_str(),
        requests: limit.requests,
        per: limit.per,
        retry_after: exceeded.retry_after,
        whole_after: exceeded.whole_after,
    })))
}
