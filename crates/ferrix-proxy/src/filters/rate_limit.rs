//! Rate limits at work.

use ferrix_table::filters::{
    limit_key::Counted,
    rate_limit::{RateLimit, Scope},
};

use crate::{
    Engine, clock,
    failure::{Failure, Quota},
};

/// Refuses a request that is one too many.
pub(crate) fn check(
    limit: &RateLimit,
    counted: Counted<'_>,
    engine: &Engine,
) -> Result<(), Failure> {
    let (state, rate) = (limit.state.get(), limit.rate);
    let (key, now) = (engine.digests.of(counted), clock::nanoseconds());
    let taken = match limit.scope {
        Scope::Replica => state.take(rate, key, now),
        Scope::Cluster => state.take_share(rate, key, engine.peers.replicas(), now),
    };
    let Err(exceeded) = taken else {
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
