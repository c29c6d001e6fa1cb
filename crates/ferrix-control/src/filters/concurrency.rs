//! Limits of concurrency, as they are written.

use ferrix_api::ingressroute::filter;
use ferrix_table::filters::{
    concurrency::Concurrency,
    lasting::{FilterId, Lasting},
};

use super::{Faults, limit_key};
use crate::report::Reason;

pub(super) fn compile(
    written: &filter::Concurrency,
    field: &str,
    id: FilterId,
    faults: &mut Faults,
) -> Concurrency {
    if written.requests == 0 {
        let message = "expected at least 1";
        faults.add(Reason::InvalidSpec, format!("{field}.requests"), message);
    }
    Concurrency {
        requests: written.requests,
        by: limit_key::compile(written.by.as_ref(), field, faults),
        state: Lasting::new(id),
    }
}
