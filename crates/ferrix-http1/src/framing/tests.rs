use http::StatusCode;

use super::*;

/// The values of a field, one for each line.
type Lines = &'static [&'static [u8]];

const MAX: &[u8] = b"18446744073709551615";

fn fields(lines: &[(&str, &[u8])]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in lines {
        fields.append(name, value);
    }
    fields
}

/// The lines of `Transfer-Encoding` and those of `Content-Length`.
fn message(codings: &[&[u8]], lengths: &[&[u8]]) -> Fields {
    let mut fields = fields(&[("Host", b"a"), ("Length", b"3"), ("TE", b"chunked")]);
    for coding in codings {
        fields.append("transfer-Encoding", coding);
    }
    for length in lengths {
        fields.append("content-Length", length);
    }
    fields
}

fn request(version: Version, fields: Fields) -> Result<Framing, FramingError> {
    let mut head = RequestHead::new(Method::POST, b"/", version);
    head.fields = fields;
    request_framing(&head)
}

fn response(status: u16, method: &Method, fields: Fields) -> Result<Framing, FramingError> {
    let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
    head.fields = fields;
    response_framing(&head, method)
}

/// Lines of `Content-Length`, and what they say.
const LENGTHS: &[(Lines, Option<Option<u64>>)] = &[
    (&[], Some(None)),
    (&[b"0"], Some(Some(0))),
    (&[b"7"], Some(Some(7))),
    (&[b"007"], Some(Some(7))),
    (&[MAX], Some(Some(u64::MAX))),
    (&[b"018446744073709551615"], Some(Some(u64::MAX))),
    // The same, several times.
    (&[b"7", b"7"], Some(Some(7))),
    (&[b"7", b"07", b"7"], Some(Some(7))),
    (&[b"7, 7"], Some(Some(7))),
    (&[b"7,7\t,\t7"], Some(Some(7))),
    (&[b"7", b"7, 7"], Some(Some(7))),
    // Different ones.
    (&[b"7", b"8"], None),
    (&[b"8", b"7"], None),
    (&[b"0", b"7"], None),
    (&[b"7, 8"], None),
    (&[b"7, 7", b"8"], None),
    // No numbers.
    (&[b""], None),
    (&[b","], None),
    (&[b"7,"], None),
    (&[b",7"], None),
    (&[b"7", b""], None),
    (&[b"", b"7"], None),
    (&[b"+7"], None),
    (&[b"-7"], None),
    (&[b"-0"], None),
    (&[b"7.0"], None),
    (&[b"7 7"], None),
    (&[b"7;7"], None),
    (&[b"0x7"], None),
    (&[b"a"], None),
    (&[b"1_0"], None),
    (&[b"1e1"], None),
    (&[b"\"7\""], None),
    (&[b"\xb2"], None),
    (&["٣".as_bytes()], None),
    // Too large.
    (&[b"18446744073709551616"], None),
    (&[b"28446744073709551615"], None),
    (&[b"184467440737095516150"], None),
    (&[b"7", b"18446744073709551623"], None),
];

#[test]
fn lengths_are_read() {
    for (lines, expected) in LENGTHS {
        let length = content_length(&message(&[], lines));
        let expected = expected.ok_or(FramingError::ContentLength);
        assert_eq!(length, expected, "{lines:?}");
    }
    assert_eq!(LENGTHS.len(), 39);
}

/// How a message with this length is framed, if one without any is framed so.
fn by_length(length: Option<Option<u64>>, without: Framing) -> Result<Framing, FramingError> {
    Ok(match length.ok_or(FramingError::ContentLength)? {
        None => without,
        Some(0) => Framing::Empty,
        Some(length) => Framing::Length(length),
    })
}

#[test]
fn without_a_coding_the_length_frames() {
    for (lines, length) in LENGTHS {
        for version in [Version::HTTP_10, Version::HTTP_11] {
            let framing = request(version, message(&[], lines));
            assert_eq!(framing, by_length(*length, Framing::Empty), "{lines:?}");
        }
        for status in [200, 205, 206, 299, 301, 400, 404, 500, 999] {
            let framing = response(status, &Method::GET, message(&[], lines));
            let expected = by_length(*length, Framing::UntilClose);
            assert_eq!(framing, expected, "{status} {lines:?}");
        }
    }
}

/// Lines of `Transfer-Encoding`, and whether `chunked` comes last.
const CODINGS: &[(Lines, bool)] = &[
    (&[b"chunked"], true),
    (&[b"Chunked"], true),
    (&[b"CHUNKED"], true),
    (&[b"gzip, chunked"], true),
    (&[b"gzip,\tchunked"], true),
    (&[b"gzip", b"chunked"], true),
    (&[b"identity, chunked"], true),
    (&[b"chunked", b"chunked"], true),
    (&[b""], false),
    (&[b","], false),
    (&[b"chunked,"], false),
    (&[b"chunked", b""], false),
    (&[b"chunked", b"identity"], false),
    (&[b"chunked, gzip"], false),
    (&[b"identity"], false),
    (&[b"gzip"], false),
    (&[b"xchunked"], false),
    (&[b"chunkedx"], false),
    (&[b"chunked chunked"], false),
    (&[b"chunked;q=1"], false),
    (&[b"\"chunked\""], false),
    (&[b"chunk"], false),
];

#[test]
fn a_coding_frames_whatever_the_length_is() {
    for (lines, chunked) in CODINGS {
        for (lengths, _) in LENGTHS {
            let fields = || message(lines, lengths);
            let for_request = match chunked {
                true => Ok(Framing::Chunked),
                false => Err(FramingError::TransferEncoding),
            };
            assert_eq!(
                request(Version::HTTP_11, fields()),
                for_request,
                "{lines:?}"
            );
            let refused = Err(FramingError::TransferEncoding);
            assert_eq!(request(Version::HTTP_10, fields()), refused, "{lines:?}");
        }
    }
    assert_eq!(CODINGS.len(), 22);
}

/// Codings of a response do not go on, so that a body must not need them.
#[test]
fn a_response_has_no_coding_but_chunked() {
    let cases: &[(Lines, Option<Framing>)] = &[
        (&[b"chunked"], Some(Framing::Chunked)),
        (&[b"CHUNKED"], Some(Framing::Chunked)),
        // Others read these in another way.
        (&[b"chunked,"], None),
        (&[b",chunked"], None),
        (&[b"", b"chunked"], None),
        (&[b"identity, chunked"], None),
        (&[b"chunked", b"identity"], None),
        (&[b"identity"], Some(Framing::UntilClose)),
        (&[b""], Some(Framing::UntilClose)),
        (&[b"gzip, chunked"], None),
        (&[b"gzip", b"chunked"], None),
        (&[b"chunked, gzip"], None),
        (&[b"chunked, chunked"], None),
        (&[b"chunked", b"chunked"], None),
        (&[b"gzip"], None),
        (&[b"xchunked"], None),
        (&[b"chunked;q=1"], None),
        (&[b"\"chunked\""], None),
    ];
    for (lines, expected) in cases {
        for (lengths, _) in LENGTHS {
            for status in [200, 404] {
                let framing = response(status, &Method::GET, message(lines, lengths));
                let expected = expected.ok_or(FramingError::TransferEncoding);
                assert_eq!(framing, expected, "{lines:?}");
            }
        }
    }
    assert_eq!(cases.len(), 18);
}

/// A blank behind the value is no part of it (RFC 9110, section 5.5), but `chunked ` is another
/// word for some readers.
#[test]
fn nothing_stands_behind_the_coding_of_a_request() {
    let cases = [
        ("Transfer-Encoding: chunked", true),
        ("transfer-encoding:\t chunked", true),
        ("X: y \r\nTransfer-Encoding: chunked\r\nZ: \t", true),
        ("Transfer-Encoding: chunked ", false),
        ("Transfer-Encoding: chunked\t", false),
        ("TRANSFER-ENCODING:chunked \t \r\nX: y", false),
        ("Transfer-Encoding: gzip, chunked ", false),
        (
            "Transfer-Encoding: gzip \r\nTransfer-Encoding: chunked",
            false,
        ),
    ];
    for (fields, accepted) in cases {
        let request = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n");
        let (head, _) = RequestHead::parse(request.as_bytes()).unwrap().unwrap();
        assert_eq!(request_framing(&head).is_ok(), accepted, "{fields:?}");
        let response = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
        let (head, _) = ResponseHead::parse(response.as_bytes()).unwrap().unwrap();
        let framing = response_framing(&head, &Method::GET);
        assert_eq!(framing.is_ok(), !fields.contains("gzip"), "{fields:?}");
    }
    assert_eq!(cases.len(), 8);
}

#[test]
fn codings_are_ascii() {
    let cases: &[Lines] = &[
        &[b"\xff, chunked"],
        &[b"\xff", b"chunked"],
        &[b"gzip;a=\"\xe9\", chunked"],
        &[b"chunked\xa0"],
        &[b"chunked", b"\xe9"],
        &[b"chun\xe2\x84\xaaed"],
    ];
    for lines in cases {
        let refused = Err(FramingError::TransferEncoding);
        let framing = request(Version::HTTP_11, message(lines, &[]));
        assert_eq!(framing, refused, "{lines:?}");
        for (method, status) in [(Method::GET, 200), (Method::HEAD, 200), (Method::GET, 304)] {
            let framing = response(status, &method, message(lines, &[b"7"]));
            assert_eq!(framing, refused, "{lines:?}");
        }
    }
    assert_eq!(cases.len(), 6);
}

#[test]
fn some_responses_have_no_body() {
    let cases = [
        (Method::GET, 100),
        (Method::GET, 102),
        (Method::POST, 103),
        (Method::GET, 199),
        (Method::GET, 204),
        (Method::PUT, 304),
        (Method::HEAD, 200),
        (Method::HEAD, 404),
        (Method::HEAD, 304),
    ];
    for (method, status) in &cases {
        for (codings, _) in CODINGS {
            let framing = response(*status, method, message(codings, &[b"7"]));
            assert_eq!(framing, Ok(Framing::Empty), "{method} {status}");
        }
        for (lengths, length) in LENGTHS {
            let framing = response(*status, method, message(&[], lengths));
            let expected = length.map(|_| Framing::Empty);
            assert_eq!(framing.ok(), expected, "{method} {status} {lengths:?}");
        }
    }
    assert_eq!(cases.len(), 9);
}

#[test]
fn another_protocol_follows_101() {
    let cases: &[(Lines, Lines)] = &[
        (&[], &[]),
        (&[], &[b"0"]),
        (&[], &[b"7"]),
        (&[b"chunked"], &[]),
    ];
    for (codings, lengths) in cases {
        for method in [Method::GET, Method::HEAD] {
            let framing = response(101, &method, message(codings, lengths));
            assert_eq!(framing, Ok(Framing::UntilClose));
        }
    }
    assert_eq!(cases.len(), 4);
}

#[test]
fn connections_are_kept() {
    let cases: &[(Lines, bool, bool)] = &[
        // HTTP/1.0, HTTP/1.1.
        (&[], false, true),
        (&[b""], false, true),
        (&[b"keep-alive"], true, true),
        (&[b"Keep-Alive"], true, true),
        (&[b"close"], false, false),
        (&[b"CLOSE"], false, false),
        (&[b"close, keep-alive"], false, false),
        (&[b"keep-alive, close"], false, false),
        (&[b"keep-alive", b"close"], false, false),
        (&[b"close", b"keep-alive"], false, false),
        (&[b"upgrade,\tkeep-alive ,"], true, true),
        (&[b",,close"], false, false),
        (&[b"closed"], false, true),
        (&[b"keep-alive-not"], false, true),
        (&[b"close keep-alive"], false, true),
        (&[b"upgrade"], false, true),
    ];
    for (lines, old, new) in cases {
        let lines: Vec<_> = lines.iter().map(|value| ("cOnnection", *value)).collect();
        let fields = fields(&lines);
        assert_eq!(keeps_alive(Version::HTTP_10, &fields), *old, "{fields:?}");
        assert_eq!(keeps_alive(Version::HTTP_11, &fields), *new, "{fields:?}");
    }
    assert_eq!(cases.len(), 16);
}

#[test]
fn a_coding_in_http_1_0_ends_the_connection() {
    for coding in [&b"chunked"[..], b"gzip, chunked", b"identity", b""] {
        let fields = fields(&[("Connection", b"keep-alive"), ("transfer-Encoding", coding)]);
        assert!(!keeps_alive(Version::HTTP_10, &fields), "{fields:?}");
        assert!(keeps_alive(Version::HTTP_11, &fields), "{fields:?}");
        let mut both = fields.clone();
        both.append("content-length", b"5");
        assert!(!keeps_alive(Version::HTTP_11, &both), "{both:?}");
        assert!(keeps_alive(Version::HTTP_11, &fields), "{fields:?}");
    }
}

#[test]
fn lists_are_split() {
    let cases: &[(&[u8], &[&[u8]])] = &[
        (b"", &[b""]),
        (b"a", &[b"a"]),
        (b" a b\t,c ,, d", &[b"a b", b"c", b"", b"d"]),
        (b",", &[b"", b""]),
    ];
    for (value, elements) in cases {
        assert_eq!(tokens(value).collect::<Vec<_>>(), *elements);
    }
    assert_eq!(cases.len(), 4);
}
