//! Limits of bodies at work: what is announced is judged here, what comes by the relay.

use ferrix_http1::Framing;
use ferrix_table::filters::body_size::BodySize;

use super::Applied;
use crate::failure::Failure;

/// Refuses a body that is announced to be too long, and limits what will come of another. Of several limits
/// the smallest counts.
pub(crate) fn check(limit: &BodySize, body: Framing, applied: &mut Applied) -> Result<(), Failure> {
    let before = applied.body_bytes.filter(|limit| *limit > 0);
    applied.body_bytes = Some(before.map_or(limit.max, |before| before.min(limit.max)));
    match body {
        Framing::Length(length) if length > limit.max => Err(Failure::BodyTooLarge),
        _ => Ok(()),
    }
}
