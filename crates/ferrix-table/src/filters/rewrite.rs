//! Rewrites of requests: what a backend sees instead of what the client asked for.

use std::fmt;

use super::path_change::PathChange;

/// What a backend sees instead of what the client asked for (Gateway API, `HTTPURLRewriteFilter`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The `Host` of the request, in canonical form. `None`: the client's.
    pub host: Option<Box<str>>,
    /// `None`: the client's path.
    pub path: Option<PathChange>,
}

/// `host example.com, path /new in place of /old`.
impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_ref().map(|host| format!("host {host}"));
        let path = self.path.as_ref().map(PathChange::to_string);
        let parts: Vec<_> = host.into_iter().chain(path).collect();
        f.write_str(&parts.join(", "))
    }
}
