use proptest::prelude::*;

use super::*;

const KEEP_EMPTY: PathOptions = PathOptions {
    merge_slashes: false,
    refuse_encoded_slashes: false,
};

const STRICT: PathOptions = PathOptions {
    merge_slashes: true,
    refuse_encoded_slashes: true,
};

#[test]
fn canonical_spelling() {
    // What is received, what is forwarded, what is matched.
    for (target, forwarded, matched) in [
        ("/", "/", "/"),
        ("/admin", "/admin", "/admin"),
        ("/a/b/?x=1", "/a/b/?x=1", "/a/b/"),
        ("/a?", "/a?", "/a"),
        ("/a?b?c=/../%zz", "/a?b?c=/../%zz", "/a"),
        // Unreserved characters.
        ("/%61dmin", "/admin", "/admin"),
        ("/%7Euser/%2Dx%5F", "/~user/-x_", "/~user/-x_"),
        // Everything else, in upper case.
        ("/a%2fb", "/a%2Fb", "/a%2Fb"),
        ("/foo%20bar", "/foo%20bar", "/foo bar"),
        ("/%7b%7c%7D", "/%7B%7C%7D", "/{|}"),
        ("/{|}^`\"<>", "/%7B%7C%7D%5E%60%22%3C%3E", "/{|}^`\"<>"),
        ("/%3A%3f%23%40%25", "/%3A%3F%23%40%25", "/%3A%3F%23%40%25"),
        ("/:@!$&'()*+,;=[]", "/:@!$&'()*+,;=[]", "/:@!$&'()*+,;=[]"),
        ("/%252e%252e/x", "/%252e%252e/x", "/%252e%252e/x"),
        // Beyond ASCII.
        ("/%c3%a4", "/%C3%A4", "/ä"),
        ("/ä", "/%C3%A4", "/ä"),
        ("/%E2%82", "/%E2%82", "/%E2%82"),
        ("/%C3%28", "/%C3%28", "/%C3%28"),
        ("/%c0%ae%c0%ae/x", "/%C0%AE%C0%AE/x", "/%C0%AE%C0%AE/x"),
        ("/a%FFä", "/a%FF%C3%A4", "/a%FFä"),
        // Slashes.
        ("//admin", "/admin", "/admin"),
        ("/a///b//", "/a/b/", "/a/b/"),
        // Dot segments.
        ("/./admin", "/admin", "/admin"),
        ("/a/../admin", "/admin", "/admin"),
        ("/a/%2e%2E/admin", "/admin", "/admin"),
        ("/a/.%2e", "/", "/"),
        ("/a/b/..", "/a/", "/a/"),
        ("/a/b/.", "/a/b/", "/a/b/"),
        ("/a//../b", "/b", "/b"),
        // Not dot segments.
        ("/api../admin", "/api../admin", "/api../admin"),
        ("/...", "/...", "/..."),
        ("/.well-known/x", "/.well-known/x", "/.well-known/x"),
        ("/..a/.b/c.", "/..a/.b/c.", "/..a/.b/c."),
        // Encoded slashes that only name things.
        (
            "/api/queues/%2F/q",
            "/api/queues/%2F/q",
            "/api/queues/%2F/q",
        ),
        (
            "/get/http%3A%2F%2Fx",
            "/get/http%3A%2F%2Fx",
            "/get/http%3A%2F%2Fx",
        ),
        ("/admin%2f", "/admin%2F", "/admin%2F"),
        ("/a%5cb", "/a%5Cb", "/a\\b"),
        ("/a%2F..b", "/a%2F..b", "/a%2F..b"),
        ("/a%2F%2Fb", "/a%2F%2Fb", "/a%2F%2Fb"),
        ("/a/%5cb", "/a/%5Cb", "/a/\\b"),
        ("/%252Fadmin", "/%252Fadmin", "/%252Fadmin"),
        ("/a?b=/%2Fadmin", "/a?b=/%2Fadmin", "/a"),
        // Parameters that only describe things.
        ("/a;x=1/b", "/a;x=1/b", "/a;x=1/b"),
        ("/;jsessionid=1", "/;jsessionid=1", "/;jsessionid=1"),
        ("/a..;x/b", "/a..;x/b", "/a..;x/b"),
        // Queries.
        ("/?q=ä\"<>", "/?q=%C3%A4%22%3C%3E", "/"),
        ("/a?x=\\&y=%00", "/a?x=\\&y=%00", "/a"),
    ] {
        let canonical = canonical(target, &PathOptions::default()).expect(target);
        assert_eq!(
            canonical.path_and_query, forwarded,
            "forwarded for {target}"
        );
        assert_eq!(canonical.routing_path, matched, "matched for {target}");
        let same = target == forwarded;
        let borrowed = matches!(canonical.path_and_query, Cow::Borrowed(_));
        assert_eq!(borrowed, same, "borrowed for {target}");
    }
}

#[test]
fn refused() {
    for (target, error) in [
        ("", PathError::Relative),
        ("*", PathError::Relative),
        ("admin", PathError::Relative),
        ("?x", PathError::Relative),
        ("%2Fadmin", PathError::Relative),
        ("http://example.com/", PathError::Relative),
        ("/a\0", PathError::Control(0)),
        ("/a\n", PathError::Control(b'\n')),
        ("/a\x7F", PathError::Control(0x7F)),
        ("/a?\0", PathError::Control(0)),
        ("/a?ä\r", PathError::Control(b'\r')),
        ("/admin%00", PathError::EncodedControl(0)),
        ("/%0d%0aX:1", PathError::EncodedControl(b'\r')),
        ("/%7f", PathError::EncodedControl(0x7F)),
        ("/a\\..\\admin", PathError::Backslash),
        ("/a#b", PathError::Fragment),
        ("/a?b#c", PathError::Fragment),
        ("/a b", PathError::Space),
        ("/a?b c", PathError::Space),
        ("/%", PathError::Escape),
        ("/%4", PathError::Escape),
        ("/%zz", PathError::Escape),
        ("/%4?1", PathError::Escape),
        ("/%+1", PathError::Escape),
        ("/%u002e", PathError::Escape),
        ("/..", PathError::AboveRoot),
        ("/../admin", PathError::AboveRoot),
        ("/a/../../admin", PathError::AboveRoot),
        ("/%2e%2e/admin", PathError::AboveRoot),
        ("/a%2f..%2fadmin", PathError::EncodedDotSegment),
        ("/..%2f", PathError::EncodedDotSegment),
        ("/a/%2e%2e%2fadmin", PathError::EncodedDotSegment),
        ("/a/..%5cadmin", PathError::EncodedDotSegment),
        ("/a/b%5C..", PathError::EncodedDotSegment),
        ("/.%2Fadmin", PathError::EncodedDotSegment),
        ("/a%2F..;x%2Fb", PathError::EncodedDotSegment),
        // What would begin with an empty segment, which servers merge away.
        ("/%2Fadmin", PathError::EncodedRoot),
        ("/%2f", PathError::EncodedRoot),
        ("/%5cadmin", PathError::EncodedRoot),
        ("/%2F%2Fadmin", PathError::EncodedRoot),
        ("/%2F/admin", PathError::EncodedRoot),
        ("//%2Fadmin", PathError::EncodedRoot),
        ("/./%2Fadmin", PathError::EncodedRoot),
        ("/a/../%2Fadmin", PathError::EncodedRoot),
        ("/%2Fa/../admin", PathError::EncodedRoot),
        ("/%2F..%2Fadmin", PathError::EncodedRoot),
        ("/a/..;/admin", PathError::Parameters),
        ("/a/..;x=1/admin", PathError::Parameters),
        ("/a/.;x", PathError::Parameters),
        ("/a/%2e%2e%3bx/b", PathError::Parameters),
        ("/;x/admin", PathError::Parameters),
        ("/%3Bx/admin", PathError::Parameters),
    ] {
        let result = canonical(target, &PathOptions::default());
        assert_eq!(result, Err(error), "{target}");
    }
}

#[test]
fn options() {
    for (target, options, expected) in [
        ("/a//b/", KEEP_EMPTY, Ok("/a//b/")),
        ("/a//../b", KEEP_EMPTY, Ok("/a/b")),
        ("/a/..//b", KEEP_EMPTY, Ok("//b")),
        ("/a//%2Fb", KEEP_EMPTY, Ok("/a//%2Fb")),
        ("//%2Fb", KEEP_EMPTY, Err(PathError::EncodedRoot)),
        ("//..", KEEP_EMPTY, Ok("/")),
        ("/..", KEEP_EMPTY, Err(PathError::AboveRoot)),
        ("/a%2Fb", STRICT, Err(PathError::EncodedSlash)),
        ("/a%5cb", STRICT, Err(PathError::EncodedSlash)),
        ("/a%2F", STRICT, Err(PathError::EncodedSlash)),
        ("/a?b=%2F", STRICT, Ok("/a?b=%2F")),
        ("/a%252Fb", STRICT, Ok("/a%252Fb")),
    ] {
        let result = canonical(target, &options).map(|it| it.path_and_query.into_owned());
        assert_eq!(result, expected.map(str::to_owned), "{target}");
    }
}

#[test]
fn bytes_that_are_not_utf8() {
    let target: &[u8] = b"/a\xFF?\xC3\xA4\xFF";
    let canonical = canonical(target, &PathOptions::default()).unwrap();
    assert_eq!(canonical.path_and_query, "/a%FF?%C3%A4%FF");
    assert_eq!(canonical.routing_path, "/a%FF");
    assert_eq!(
        (canonical.path(), canonical.query()),
        ("/a%FF", "%C3%A4%FF")
    );
    assert_eq!(canonical.clone().into_owned(), canonical);
}

/// Targets made of what path handling trips over.
fn nasty() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"/",
        b"/",
        b"/",
        b"//",
        b".",
        b"..",
        b"%2e",
        b"%2E%2e",
        b"%2f",
        b"%5C",
        b"%3b",
        b";",
        b";x=1",
        b"a",
        b"admin",
        b"%61",
        b"%25",
        b"%20",
        b"?",
        b"%",
        b"%4",
        b"\\",
        b"#",
        b" ",
        b"\0",
        b"%00",
        b"%c3%a4",
        b"\xC3\xA4",
        b"\xFF",
        b"%FF",
        b"{",
        b"\"",
        b"[",
        b"...",
        b"*",
    ];
    let piece = prop_oneof![
        16 => proptest::sample::select(PIECES).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| {
        let mut target = pieces.concat();
        target.insert(0, b'/');
        target
    })
}

fn any_options() -> impl Strategy<Value = PathOptions> {
    (any::<bool>(), any::<bool>()).prop_map(|(merge_slashes, refuse_encoded_slashes)| PathOptions {
        merge_slashes,
        refuse_encoded_slashes,
    })
}

/// What a server makes of a path that decodes everything, splits at either slash, strips
/// parameters and takes out dot segments, the most dangerous reader behind us.
fn segments_for_a_careless_server(path: &str) -> Vec<String> {
    let decoded = String::from_utf8_lossy(&decode_all(path)).into_owned();
    let segments = decoded.split(['/', '\\']);
    let names = segments.map(|it| it.split(';').next().unwrap_or_default().to_owned());
    names.collect()
}

fn decode_all(path: &str) -> Vec<u8> {
    let mut output = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        (rest, output) = match escaped(after) {
            Some(decoded) if *byte == b'%' => (&after[2..], [output, vec![decoded]].concat()),
            _ => (after, [output, vec![*byte]].concat()),
        };
    }
    output
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn canonical_is_canonical(target in nasty(), options in any_options()) {
        let Ok(once) = canonical(&target, &options) else { return Ok(()) };
        prop_assert!(once.path_and_query.is_ascii());
        let twice = canonical(&*once.path_and_query, &options);
        prop_assert!(matches!(&twice, Ok(it) if matches!(it.path_and_query, Cow::Borrowed(_))));
        prop_assert_eq!(twice, Ok(once.clone()));
        // Whatever forwards it can parse it.
        let parsed: http::uri::PathAndQuery = once.path_and_query.parse().unwrap();
        prop_assert_eq!(parsed.as_str(), &once.path_and_query);
    }

    #[test]
    fn nothing_climbs(target in nasty(), options in any_options()) {
        let Ok(canonical) = canonical(&target, &options) else { return Ok(()) };
        for segment in segments_for_a_careless_server(canonical.path()) {
            prop_assert!(segment != "." && segment != "..", "{}", canonical.path());
        }
        prop_assert!(canonical.path().starts_with('/'));
        if options.merge_slashes {
            prop_assert!(!canonical.path().contains("//"));
            // A path that is not the root does not begin with an empty segment for anybody.
            let segments = segments_for_a_careless_server(canonical.path());
            prop_assert!(segments.len() == 2 || !segments[1].is_empty(), "{}", canonical.path());
        }
        if options.refuse_encoded_slashes {
            prop_assert!(!canonical.path().contains("%2F"));
            prop_assert!(!canonical.path().contains("%5C"));
        }
    }

    /// The path can be told from the routing path: no two paths that are forwarded differently
    /// are matched alike.
    #[test]
    fn routing_path_is_reversible(target in nasty(), options in any_options()) {
        let Ok(canonical) = canonical(&target, &options) else { return Ok(()) };
        let mut path = String::new();
        for byte in canonical.routing_path.bytes() {
            if byte == b'%' || is_path_byte(byte) {
                path.push(char::from(byte));
            } else {
                push_escape(&mut path, byte);
            }
        }
        prop_assert_eq!(path, canonical.path());
    }
}
