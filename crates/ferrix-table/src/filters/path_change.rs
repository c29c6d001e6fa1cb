//! Changes of paths, for rewrites and redirects.

use std::fmt;

use ferrix_rule::Substitution;

/// What becomes of a path (Gateway API, `HTTPPathModifier`, and more). The query stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// Another path takes its place.
    Full(Box<str>),
    /// The prefix that the rule matches is replaced.
    Prefix {
        /// What the rule matches, without a `/` at its end: empty for `/`.
        matched: Box<str>,
        /// What takes its place, without a `/` at its end: empty for `/`.
        replacement: Box<str>,
    },
    /// The first of these that it begins with, by whole segments, is taken away. In the form in which
    /// rules match paths, without a `/` at their ends, and none empty.
    Strip(Box<[Box<str>]>),
    /// This comes before it. Without a `/` at its end, and not empty.
    Add(Box<str>),
    /// What an expression matches is replaced.
    Regex(Box<Substitution>),
}

impl PathChange {
    /// Whether there are paths that it is not about, and leaves alone.
    pub fn is_conditional(&self) -> bool {
        match self {
            PathChange::Strip(_) | PathChange::Regex(_) => true,
            PathChange::Full(_) | PathChange::Prefix { .. } | PathChange::Add(_) => false,
        }
    }
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
            PathChange::Strip(prefixes) => write!(f, "path without {}", prefixes.join(", ")),
            PathChange::Add(prefix) => write!(f, "path behind {prefix}"),
            PathChange::Regex(regex) => {
                write!(
                    f,
                    "path {} in place of {}",
                    regex.template(),
                    regex.pattern()
                )
            }
        }
    }
}
