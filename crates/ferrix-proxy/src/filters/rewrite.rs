//! Rewrites: what a backend sees instead of what the client asked for.

use ferrix_http1::RequestHead;
use ferrix_table::filters::{path_change::PathChange, rewrite::Rewrite};

use super::{Arrival, path_change};
use crate::failure::Failure;

/// What applications make links with that a prefix was taken away from.
const X_FORWARDED_PREFIX: &str = "X-Forwarded-Prefix";

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
        if matches!(change, PathChange::Strip(_)) && target.as_bytes() != head.target() {
            let before = String::from_utf8_lossy(head.target()).into_owned();
            let prefix = path_change::taken_away(&before, &target);
            head.fields.append(X_FORWARDED_PREFIX, prefix.as_bytes());
        }
        head.set_target(target.as_bytes());
    }
    Ok(())
}
