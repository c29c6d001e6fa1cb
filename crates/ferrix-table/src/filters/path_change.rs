//! Changes of paths, for rewrites and redirects.

use std::fmt;

/// What becomes of a path (Gateway API, `HTTPPathModifier`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// Another path takes its place. The query stays.
    Full(Box<str>),
    /// The prefix that the rule matches is replaced.
    Prefix {
        /// What the rule matches, without a `/` at its end: empty for `/`.
        matched: Box<str>,
        /// What takes its place, without a `/` at its end: empty for `/`.
        replacement: Box<str>,
    },
}

/// `path /new`, or `path /new in place of /old`.
impl fmt::Display for PathChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_root = |path: &str| if path.is_empty() { "/" } else { path }.to_owned();
        match self {
            PathChange::Full(path) => write!(f, "path {path}"),
            PathChange::Prefix {
                matched,
                replacement,
            } => write!(
                f,
                "path {} in place of {}",
                or_root(replacement),
                or_root(matched)
            ),
        }
    }
}
