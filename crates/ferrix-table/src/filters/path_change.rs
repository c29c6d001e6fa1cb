//! Changes of paths, for rewrites and redirects.

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
