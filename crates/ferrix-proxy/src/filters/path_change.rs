//! Changes of paths. What comes of one is canonical again, or the request is refused.

use std::borrow::Cow;

use ferrix_table::{
    filters::path_change::PathChange,
    path::{self, CanonicalTarget, PathOptions},
};

use crate::failure::Failure;

/// The target that takes the place of a canonical one; the query stays. `*` has no path, and a path
/// that the prefix does not cover by whole segments is left alone.
pub(super) fn changed<'t>(
    change: &PathChange,
    target: &'t [u8],
    options: &PathOptions,
) -> Result<Cow<'t, str>, Failure> {
    let before = String::from_utf8_lossy(target);
    if !before.starts_with('/') {
        return Ok(before);
    }
    let canonical = path::canonical(target, options).map_err(refused)?;
    let path = match change {
        PathChange::Full(path) => Some(path.to_string()),
        PathChange::Prefix {
            matched,
            replacement,
        } => behind(matched, &canonical).map(|rest| format!("{replacement}{rest}")),
    };
    let Some(path) = path else {
        return Ok(before);
    };
    let path = if path.is_empty() { "/" } else { &path };
    let changed = match canonical.query() {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    };
    // Two canonical paths, one behind the other, are one; whatever is not could climb.
    let again = path::canonical(&changed, options).map_err(refused)?;
    match again.path_and_query == changed {
        true => Ok(Cow::Owned(changed)),
        false => Err(Failure::BadRequest(
            "the rewritten path is not canonical".into(),
        )),
    }
}

fn refused(error: path::PathError) -> Failure {
    Failure::BadRequest(error.to_string().into())
}

/// What follows a prefix of whole segments, as it is forwarded: from a slash on, or nothing.
fn behind<'c>(prefix: &str, target: &'c CanonicalTarget<'_>) -> Option<&'c str> {
    let matched = target.routing_path.strip_prefix(prefix)?;
    if !matched.is_empty() && !matched.starts_with('/') {
        return None;
    }
    // No slash of the path that is forwarded is missing in the one that is matched, nor added.
    let segments = prefix.matches('/').count();
    let path = target.path();
    let mut slashes = path.match_indices('/').skip(segments);
    Some(slashes.next().map_or("", |(at, _)| &path[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(prefix: &str, replacement: &str, target: &str) -> Result<String, Failure> {
        let change = PathChange::Prefix {
            matched: prefix.into(),
            replacement: replacement.into(),
        };
        let options = PathOptions::default();
        changed(&change, target.as_bytes(), &options).map(Cow::into_owned)
    }

    /// The table of `HTTPPathModifier`, and more.
    #[test]
    fn prefixes() {
        let cases = [
            ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
            ("/foo", "/xyz", "/foo", "/xyz"),
            ("/foo", "/xyz", "/foo/", "/xyz/"),
            ("/foo", "", "/foo/bar", "/bar"),
            ("/foo", "", "/foo/", "/"),
            ("/foo", "", "/foo", "/"),
            ("", "/xyz", "/", "/xyz/"),
            ("", "/xyz", "/a/b", "/xyz/a/b"),
            ("/foo", "/xyz", "/foo?a=/foo", "/xyz?a=/foo"),
            ("/a/b", "/c", "/a/b/d?x", "/c/d?x"),
            ("/foo", "/xyz", "/foobar", "/foobar"),
            ("/foo", "/xyz", "/other", "/other"),
            ("/f o", "/xyz", "/f%20o/b%20c", "/xyz/b%20c"),
            ("/ä", "/x", "/%C3%A4/%C3%A4", "/x/%C3%A4"),
            ("/a", "/x", "/a/b%2Fc", "/x/b%2Fc"),
            ("/a", "/x", "*", "*"),
        ];
        for (prefix, replacement, target, expected) in cases {
            let case = format!("{prefix} {replacement} {target}");
            assert_eq!(
                replaced(prefix, replacement, target).as_deref(),
                Ok(expected),
                "{case}"
            );
        }
        assert_eq!(cases.len(), 16);
    }

    #[test]
    fn nothing_climbs_out() {
        let cases = [
            ("/a", "/x", "/a/../b"),
            ("/a", "/x", "/a/..;x/b"),
            ("/a", "/x", "/a/..%2Fb"),
            ("/a", "", "/a/%2Fb"),
            ("/a", "", "/a/%5Cb"),
            ("/a", "/x/..", "/a/b"),
            ("/a", "//x", "/a/b"),
        ];
        for (prefix, replacement, target) in cases {
            let replaced = replaced(prefix, replacement, target);
            // A request that climbs out of the prefix is not the rule's, and is left alone.
            let left = replaced.as_deref() == Ok(target);
            assert!(replaced.is_err() || left, "{target}: {replaced:?}");
            let expected = target == "/a/../b";
            assert_eq!(left, expected, "{target}: {replaced:?}");
        }
        assert_eq!(cases.len(), 7);
    }

    #[test]
    fn full_paths_keep_the_query() {
        let change = PathChange::Full("/one".into());
        let options = PathOptions::default();
        let cases = [("/", "/one"), ("/a/b?c=d", "/one?c=d"), ("*", "*")];
        for (target, expected) in cases {
            let path = changed(&change, target.as_bytes(), &options);
            assert_eq!(path.as_deref(), Ok(expected), "{target}");
        }
        assert_eq!(cases.len(), 3);
    }
}
