//! Rate limits, as they are written.

use std::time::Duration;

use ferrix_api::ingressroute::filter::{self, LimitScope};
use ferrix_table::filters::{
    lasting::{FilterId, Lasting},
    rate_limit::{
        RateLimit, Scope,
        gcra::{LONGEST, Rate},
    },
};

use super::{Faults, limit_key, policy};
use crate::report::Reason;

/// The time that requests are counted in, where nothing else is said.
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn compile(
    written: &filter::RateLimit,
    field: &str,
    id: FilterId,
    faults: &mut Faults,
) -> RateLimit {
    let per = written.per.as_deref();
    let per = per.and_then(|text| policy::duration(text, &format!("{field}.per"), faults));
    let per = per.unwrap_or(SECOND);
    if per.is_zero() || per > LONGEST {
        let message = "expected a millisecond at least and a day (`24h`) at most";
        faults.add(Reason::InvalidSpec, format!("{field}.per"), message);
    }
    let counts = [
        ("requests", Some(written.requests)),
        ("burst", written.burst),
    ];
    for (name, count) in counts {
        if count == Some(0) {
            let message = "expected at least 1";
            faults.add(Reason::InvalidSpec, format!("{field}.{name}"), message);
        }
    }
    let requests = written.requests;
    let burst = written.burst.unwrap_or(requests);
    RateLimit {
        requests,
        per,
        burst,
        rate: Rate::new(requests, per, burst),
        by: limit_key::compile(written.by.as_ref(), field, faults),
        scope: match written.scope {
            None | Some(LimitScope::Replica) => Scope::Replica,
            Some(LimitScope::Cluster) => Scope::Cluster,
        },
        dry_run: written.dry_run,
        state: Lasting::new(id),
    }
}
