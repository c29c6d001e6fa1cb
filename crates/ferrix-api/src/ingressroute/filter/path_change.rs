//! Other paths, for rewrites and redirects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Another path: what an HTTPRoute can say (`HTTPPathModifier`), and more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathChange {
    /// `ReplaceFullPath`, `ReplacePrefixMatch`, `ReplaceRegexMatch`, `StripPrefix` or `AddPrefix`. The
    /// field of that name says more.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = [
        "ReplaceFullPath", "ReplacePrefixMatch", "ReplaceRegexMatch", "StripPrefix", "AddPrefix"
    ]))]
    pub kind: String,
    /// Of `ReplaceFullPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub replace_full_path: Option<String>,
    /// Of `ReplacePrefixMatch`: in place of what a `PathPrefix` matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub replace_prefix_match: Option<String>,
    /// Of `ReplaceRegexMatch`: in place of what a regular expression matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_regex_match: Option<RegexMatch>,
    /// Of `StripPrefix`: the first of these that a path begins with, by whole segments, is taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 2, max = 1024)))]
    pub strip_prefix: Option<Vec<String>>,
    /// Of `AddPrefix`: comes before the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1024))]
    pub add_prefix: Option<String>,
}

/// What a regular expression matches, and what takes its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegexMatch {
    /// A regular expression of RE2's syntax, as `PathRegexp` has it. It is searched for in the path as it
    /// is forwarded.
    #[schemars(length(min = 1, max = 1024))]
    pub pattern: String,
    /// What takes the place of each match. `$1`, `${1}` and `${name}` stand for groups of the pattern,
    /// `$$` for a dollar sign.
    #[schemars(length(max = 1024))]
    pub substitution: String,
}
