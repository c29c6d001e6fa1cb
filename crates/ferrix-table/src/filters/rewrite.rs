//! Rewrites of requests: what a backend sees instead of what the client asked for.

use super::path_change::PathChange;

/// What a backend sees instead of what the client asked for (Gateway API, `HTTPURLRewriteFilter`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The `Host` of the request, in canonical form. `None`: the client's.
    pub host: Option<Box<str>>,
    /// `None`: the client's path.
    pub path: Option<PathChange>,
}
