//! Changes of paths. What comes of one is canonical again, or the request is refused.

use std::borrow::Cow;

use ferrix_table::{
    filters::path_change::PathChange,
    path::{self, CanonicalTarget, PathOptions},
};

use crate::failure::Failure;

/// The longest path that an expression makes, in bytes.
const LONGEST: usize = 64 * 1024;

/// The target that takes the place of a canonical one; the query stays. `*` has no path, and a path
/// that the change is not about is left alone: one that no prefix covers by whole segments, or that an
/// expression does not match.
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
        PathChange::Strip(prefixes) => {
            let mut rests = prefixes.iter().filter_map(|it| behind(it, &canonical));
            rests.next().map(str::to_owned)
        }
        PathChange::Add(prefix) => Some(format!("{prefix}{}", canonical.path())),
        PathChange::Regex(regex) => {
            let replaced = regex.apply(canonical.path(), LONGEST);
            replaced.map_err(|_| Failure::UriTooLong)?
        }
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

/// The prefix that a change has taken away from a path, of the target before and the one after.
pub(super) fn taken_away<'t>(before: &'t str, after: &str) -> &'t str {
    let (before, _) = before.split_once('?').unwrap_or((before, ""));
    let (after, _) = after.split_once('?').unwrap_or((after, ""));
    // Of the whole path, the root is left.
    before.strip_suffix(after).unwrap_or(before)
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
    use ferrix_rule::Substitution;

    use super::*;

    fn made(change: &PathChange, target: &str) -> Result<String, Failure> {
        let options = PathOptions::default();
        changed(change, target.as_bytes(), &options).map(Cow::into_owned)
    }

    fn replaced(prefix: &str, replacement: &str, target: &str) -> Result<String, Failure> {
        let change = PathChange::Prefix {
            matched: prefix.into(),
            replacement: replacement.into(),
        };
        made(&change, target)
    }

    fn regex(pattern: &str, template: &str) -> PathChange {
        PathChange::Regex(Box::new(Substitution::new(pattern, template).unwrap()))
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

    #[test]
    fn prefixes_that_come_and_go() {
        let strip =
            || PathChange::Strip(["/a".into(), "/b/c".into(), "/a/b".into(), "/ä".into()].into());
        let add = || PathChange::Add("/x/y".into());
        let cases = [
            (strip(), "/a/d", "/d", "/a"),
            (strip(), "/a", "/", "/a"),
            (strip(), "/a/", "/", "/a"),
            (strip(), "/a?q=/a", "/?q=/a", "/a"),
            // The first that fits.
            (strip(), "/a/b/c", "/b/c", "/a"),
            (strip(), "/b/c/d?e", "/d?e", "/b/c"),
            (strip(), "/%C3%A4/%C3%B6", "/%C3%B6", "/%C3%A4"),
            (strip(), "/ab", "/ab", ""),
            (strip(), "/b", "/b", ""),
            (strip(), "*", "*", ""),
            (add(), "/", "/x/y/", ""),
            (add(), "/a?b", "/x/y/a?b", ""),
            (add(), "*", "*", ""),
        ];
        for (change, target, expected, taken) in &cases {
            assert_eq!(
                made(change, target).as_deref(),
                Ok(*expected),
                "{change} {target}"
            );
            if !taken.is_empty() {
                assert_eq!(taken_away(target, expected), *taken, "{change} {target}");
            }
        }
        assert_eq!(cases.len(), 13);
    }

    #[test]
    fn expressions() {
        let cases = [
            (
                regex("^/users/([0-9]+)", "/people/$1"),
                "/users/7/x?y=/users/8",
                Ok("/people/7/x?y=/users/8"),
            ),
            (
                regex("^/users/([0-9]+)", "/people/$1"),
                "/users/me",
                Ok("/users/me"),
            ),
            (
                regex("^/(a|b)/(.*)$", "/$2/$1"),
                "/a/$1/${2}",
                Ok("/$1/$%7B2%7D/a"),
            ),
            (regex("^/(a|b)/(.*)$", "/$2/$1"), "/a/$1", Ok("/$1/a")),
            (regex("-", "_"), "/a-b-c", Ok("/a_b_c")),
            (regex("^/a/(.*)$", "/$1"), "/a/b%2Fc", Ok("/b%2Fc")),
            (regex("^/%C3%A4", "/a"), "/%C3%A4/%C3%A4", Ok("/a/%C3%A4")),
            (regex("^/a$", ""), "/a?b", Ok("/?b")),
            (regex(".*", "/all"), "*", Ok("*")),
            // What comes of it would mean something else, or is none.
            (regex("^/a/(.*)$", "/$1"), "/a/%2Fb", Err(())),
            (regex("^/a/(.*)$", "/$1"), "/a/%5Cb", Err(())),
            (regex("^/a/", ""), "/a/b", Err(())),
            (regex("b", "."), "/a/b/c", Err(())),
            (regex("[bc]", "."), "/a/bc/d", Err(())),
            (regex("b", ""), "/a/b/c", Err(())),
            (regex("%3B", ";"), "/a/..x%3B", Ok("/a/..x;")),
            (regex("x", ""), "/a/..x;/b", Err(())),
            (regex("2", "5C..%"), "/a%2Fb", Err(())),
            (regex("2", "25"), "/a%2Fb", Ok("/a%25Fb")),
        ];
        for (change, target, expected) in &cases {
            let made = made(change, target).map_err(|_| ());
            assert_eq!(made.as_deref(), expected.as_deref(), "{change} {target}");
        }
        assert_eq!(cases.len(), 19);
        let long = regex("", &"/x".repeat(500));
        let made = made(&long, &format!("/{}", "a".repeat(200)));
        assert_eq!(made, Err(Failure::UriTooLong));
    }
}
