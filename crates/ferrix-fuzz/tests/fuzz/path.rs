//! Request targets: one canonical form, which no server reads as a way out of its folder.

use ferrix_fuzz::Corpus;
use ferrix_table::path::{PathOptions, canonical};

const WORDS: &[&str] = &[
    "/", "//", "/.", "/..", "/./", "/../", "%2f", "%2F", "%5c", "%2e", "%2E%2e", "%00", "%25",
    "%252e", ";", ";x", "..;", "?", "#", "\\", "%c3%a4", "ä", "%ff", "%", "%4", " ", "*",
];

#[test]
fn path() {
    fuzz!(Corpus::read("path", WORDS), property);
}

fn property(target: &[u8]) {
    for merge_slashes in [true, false] {
        for refuse_encoded_slashes in [true, false] {
            let options = PathOptions {
                merge_slashes,
                refuse_encoded_slashes,
            };
            let Ok(one) = canonical(target, &options) else {
                continue;
            };
            assert!(one.path_and_query.is_ascii());
            let again = canonical(one.path_and_query.as_bytes(), &options);
            assert_eq!(again.as_ref(), Ok(&one), "canonical is what stays as it is");
            within_the_root(one.path(), &options);
        }
    }
}

/// However a server behind reads it: as it is, with slashes decoded, or without parameters.
fn within_the_root(path: &str, options: &PathOptions) {
    assert!(path.starts_with('/'), "{path}");
    assert!(!options.merge_slashes || !path.contains("//"), "{path}");
    let decoded = path.replace("%2F", "/").replace("%5C", "/");
    assert!(!options.refuse_encoded_slashes || decoded == path, "{path}");
    let mut segments = decoded.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let name = segment.split(';').next().unwrap_or_default();
        let name = name.split("%3B").next().unwrap_or_default();
        assert!(![".", ".."].contains(&segment), "{path}");
        assert!(![".", ".."].contains(&name), "{path}");
        // At the end, parameters alone are those of a folder.
        assert!(!name.is_empty() || segment.is_empty() || last, "{path}");
    }
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
}
