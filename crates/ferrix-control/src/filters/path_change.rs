//! Changes of paths, as they are written.

use ferrix_api::{
    gateway::PathModifier,
    ingressroute::filter::{self, RegexMatch},
};
use ferrix_rule::{Substitution, SubstitutionError};
use ferrix_table::{
    filters::path_change::PathChange,
    path::{self, PathOptions},
};

use super::Faults;
use crate::report::Reason;

/// A change of a path, of either form.
#[derive(Clone, Copy, Debug)]
pub(super) enum Written<'w> {
    OfGateway(&'w PathModifier),
    OfRoute(&'w filter::PathChange),
}

impl Written<'_> {
    /// Whether there are paths that it leaves alone; see [`PathChange::is_conditional`].
    pub(super) fn is_conditional(self) -> bool {
        match self {
            Written::OfGateway(_) => false,
            Written::OfRoute(change) => {
                matches!(change.kind.as_str(), "ReplaceRegexMatch" | "StripPrefix")
            }
        }
    }
}

/// `None`: it is wrong.
pub(super) fn compile(
    written: Written<'_>,
    field: &str,
    prefix: Option<&str>,
    faults: &mut Faults,
) -> Option<PathChange> {
    match written {
        Written::OfGateway(modifier) => of_gateway(modifier, field, prefix, faults),
        Written::OfRoute(change) => of_route(change, field, prefix, faults),
    }
}

fn of_gateway(
    written: &PathModifier,
    field: &str,
    prefix: Option<&str>,
    faults: &mut Faults,
) -> Option<PathChange> {
    let (full, part) = (&written.replace_full_path, &written.replace_prefix_match);
    match (written.kind.as_str(), full, part) {
        ("ReplaceFullPath", Some(path), None) => full_path(path, field, faults),
        ("ReplacePrefixMatch", None, Some(replacement)) => {
            prefix_match(replacement, field, prefix, faults)
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

fn of_route(
    written: &filter::PathChange,
    field: &str,
    prefix: Option<&str>,
    faults: &mut Faults,
) -> Option<PathChange> {
    let filter::PathChange {
        kind,
        replace_full_path,
        replace_prefix_match,
        replace_regex_match,
        strip_prefix,
        add_prefix,
    } = written;
    let given = [
        ("replaceFullPath", replace_full_path.is_some()),
        ("replacePrefixMatch", replace_prefix_match.is_some()),
        ("replaceRegexMatch", replace_regex_match.is_some()),
        ("stripPrefix", strip_prefix.is_some()),
        ("addPrefix", add_prefix.is_some()),
    ];
    let name = match kind.as_str() {
        "ReplaceFullPath" => "replaceFullPath",
        "ReplacePrefixMatch" => "replacePrefixMatch",
        "ReplaceRegexMatch" => "replaceRegexMatch",
        "StripPrefix" => "stripPrefix",
        "AddPrefix" => "addPrefix",
        other => {
            let message = format!(
                "`{other}` is unknown; expected ReplaceFullPath, ReplacePrefixMatch, \
                 ReplaceRegexMatch, StripPrefix or AddPrefix"
            );
            faults.add(Reason::UnsupportedValue, format!("{field}.type"), message);
            return None;
        }
    };
    if let Some((other, _)) = given.iter().find(|(it, given)| *given && *it != name) {
        let message = format!("expected `{name}`, as `type` says, and no `{other}`");
        faults.add(Reason::InvalidSpec, field, message);
        return None;
    }
    let change = match kind.as_str() {
        "ReplaceFullPath" => {
            (replace_full_path.as_ref()).map(|path| full_path(path, field, faults))
        }
        "ReplacePrefixMatch" => (replace_prefix_match.as_ref())
            .map(|replacement| prefix_match(replacement, field, prefix, faults)),
        "ReplaceRegexMatch" => {
            (replace_regex_match.as_ref()).map(|it| regex_match(it, field, faults))
        }
        "StripPrefix" => (strip_prefix.as_ref()).map(|it| stripped(it, field, faults)),
        _ => (add_prefix.as_ref()).map(|prefix| {
            let field = format!("{field}.addPrefix");
            segments(prefix, &field, faults).map(PathChange::Add)
        }),
    };
    if change.is_none() {
        let message = format!("expected `{name}`, as `type` says");
        faults.add(Reason::InvalidSpec, field, message);
    }
    change.flatten()
}

fn full_path(path: &str, field: &str, faults: &mut Faults) -> Option<PathChange> {
    let field = format!("{field}.replaceFullPath");
    canonical(path, &field, faults).map(PathChange::Full)
}

fn prefix_match(
    replacement: &str,
    field: &str,
    prefix: Option<&str>,
    faults: &mut Faults,
) -> Option<PathChange> {
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

fn regex_match(written: &RegexMatch, field: &str, faults: &mut Faults) -> Option<PathChange> {
    let field = format!("{field}.replaceRegexMatch");
    let RegexMatch {
        pattern,
        substitution,
    } = written;
    match Substitution::new(pattern, substitution) {
        Ok(compiled) if compiled.texts().all(is_part_of_path) => {
            return Some(PathChange::Regex(Box::new(compiled)));
        }
        Ok(_) => {
            let message = format!(
                "`{substitution}` makes no path; expected characters as a URL has them in its path, \
                 others percent-encoded"
            );
            faults.add(
                Reason::InvalidSpec,
                format!("{field}.substitution"),
                message,
            );
        }
        Err(error) => {
            let part = match error {
                SubstitutionError::Dollar => "substitution",
                SubstitutionError::Pattern { .. } | SubstitutionError::Group(_) => "pattern",
            };
            let field = format!("{field}.{part}");
            faults.add(Reason::InvalidSpec, field, error.to_string());
        }
    }
    None
}

/// Whether a text can be a part of a canonical path.
fn is_part_of_path(text: &str) -> bool {
    let never = b"?#\\\"<>^`{|}";
    let fits = |byte: u8| byte.is_ascii_graphic() && !never.contains(&byte);
    text.bytes().all(fits)
}

fn stripped(prefixes: &[String], field: &str, faults: &mut Faults) -> Option<PathChange> {
    let mut compiled = Vec::with_capacity(prefixes.len());
    for (at, prefix) in prefixes.iter().enumerate() {
        let field = format!("{field}.stripPrefix[{at}]");
        if let Some(prefix) = segments(prefix, &field, faults) {
            // As it is matched.
            let target = path::canonical(&*prefix, &PathOptions::default()).ok()?;
            compiled.push(target.routing_path.into());
        }
    }
    Some(PathChange::Strip(compiled.into()))
}

/// A path of one segment or more, without a slash at its end.
fn segments(path: &str, field: &str, faults: &mut Faults) -> Option<Box<str>> {
    match path.trim_end_matches('/') {
        "" => {
            let message = format!("`{path}` has no segment; expected such as `/api`");
            faults.add(Reason::InvalidSpec, field, message);
            None
        }
        path => canonical(path, field, faults),
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
