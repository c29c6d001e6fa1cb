//! Changes of paths, as they are written.

use ferrix_api::gateway::PathModifier;
use ferrix_table::{
    filters::path_change::PathChange,
    path::{self, PathOptions},
};

use super::Faults;
use crate::report::Reason;

/// `None`: it is wrong.
pub(super) fn compile(
    written: &PathModifier,
    field: &str,
    prefix: Option<&str>,
    faults: &mut Faults,
) -> Option<PathChange> {
    let (full, part) = (&written.replace_full_path, &written.replace_prefix_match);
    match (written.kind.as_str(), full, part) {
        ("ReplaceFullPath", Some(full), None) => {
            let field = format!("{field}.replaceFullPath");
            canonical(full, &field, faults).map(PathChange::Full)
        }
        ("ReplacePrefixMatch", None, Some(replacement)) => {
            let field = format!("{field}.replacePrefixMatch");
            let Some(prefix) = prefix else {
                let message = "expected a rule that matches one path, by its prefix (`PathPrefix`)";
                faults.add(Reason::UnsupportedValue, field, message);
                return None;
            };
            Some(PathChange::Prefix {
                matched: prefix.trim_end_matches('/').into(),
                replacement: match replacement.trim_end_matches('/') {
                    "" => Box::default(),
                    replacement => canonical(replacement, &field, faults)?,
                },
            })
        }
        ("ReplaceFullPath" | "ReplacePrefixMatch", ..) => {
            let message = "expected `replaceFullPath` or `replacePrefixMatch`, as `type` says";
            faults.add(Reason::InvalidSpec, field, message);
            None
        }
        (other, ..) => {
            let message =
                format!("`{other}` is unknown; expected ReplaceFullPath or ReplacePrefixMatch");
            faults.add(Reason::UnsupportedValue, format!("{field}.type"), message);
            None
        }
    }
}

/// A path in the form in which requests have it.
pub(super) fn canonical(path: &str, field: &str, faults: &mut Faults) -> Option<Box<str>> {
    let refused = match path::canonical(path, &PathOptions::default()) {
        Ok(canonical) if !path.contains('?') => return Some(canonical.path().into()),
        Ok(_) => "a path has no `?`".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("`{path}` is no path: {refused}; expected such as `/api`");
    faults.add(Reason::InvalidSpec, field, message);
    None
}
