//! Rewrites: what a backend sees instead of what the client asked for.

use ferrix_http1::RequestHead;
use ferrix_table::filters::rewrite::Rewrite;

use super::{Arrival, path_change};
use crate::failure::Failure;

/// Changes host and path of a request.
///
/// # Errors
/// [`Failure::BadRequest`]: the path that comes of it has no canonical form.
pub(super) fn apply(
    rewrite: &Rewrite,
    head: &mut RequestHead,
    arrival: &Arrival,
) -> Result<(), Failure> {
    if let Some(host) = &rewrite.host {
        head.fields.set("Host", host.as_bytes());
    }
    if let Some(change) = &rewrite.path {
        let target = path_change::changed(change, head.target(), &arrival.paths)?.into_owned();
        head.set_target(target.as_bytes());
    }
    Ok(())
}
