use super::*;

type Field = (&'static [u8], &'static [u8]);

fn request(bytes: &[u8]) -> (RequestHead, usize) {
    RequestHead::parse(bytes).unwrap().unwrap()
}

fn response(bytes: &[u8]) -> (ResponseHead, usize) {
    ResponseHead::parse(bytes).unwrap().unwrap()
}

fn owned(fields: &Fields) -> Vec<(Vec<u8>, Vec<u8>)> {
    let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
    fields.iter().map(owned).collect()
}

#[track_caller]
fn assert_fields(fields: &Fields, expected: &[Field]) {
    assert_eq!(fields.iter().collect::<Vec<_>>(), expected, "{fields:?}");
}

/// A request, and what it says.
struct Request {
    bytes: &'static [u8],
    method: &'static str,
    target: &'static [u8],
    version: Version,
    fields: &'static [Field],
}

const REQUESTS: &[Request] = &[
    Request {
        bytes: b"GET / HTTP/1.1\r\n\r\n",
        method: "GET",
        target: b"/",
        version: Version::HTTP_11,
        fields: &[],
    },
    // Spellings are kept, spaces around values are not, those inside are.
    Request {
        bytes: b"POST /a?b=%20#c HTTP/1.0\r\nHoST:  a.b \r\nx-Y:\t1  2\t \r\nEmpty:\r\nBlank: \t \r\n\r\n",
        method: "POST",
        target: b"/a?b=%20#c",
        version: Version::HTTP_10,
        fields: &[
            (b"HoST", b"a.b"),
            (b"x-Y", b"1  2"),
            (b"Empty", b""),
            (b"Blank", b""),
        ],
    },
    Request {
        bytes: b"PUT * HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n",
        method: "PUT",
        target: b"*",
        version: Version::HTTP_11,
        fields: &[(b"A", b"1"), (b"B", b"2")],
    },
    // Empty lines before a request are skipped (RFC 9112, section 2.2).
    Request {
        bytes: b"\r\n\r\n\r\nDELETE http://a:80/b HTTP/1.1\r\nA: 1\r\na: 2\r\nA: 1\r\n\r\n",
        method: "DELETE",
        target: b"http://a:80/b",
        version: Version::HTTP_11,
        fields: &[(b"A", b"1"), (b"a", b"2"), (b"A", b"1")],
    },
    // Any token is a method and a name, and any text a value.
    Request {
        bytes: b"!#$%&'*+-.^_`|~aZ9 /\xc3\xa9 HTTP/1.1\r\n!#$%&'*+-.^_`|~aZ9: \xff\x80 \x21~\r\n\r\n",
        method: "!#$%&'*+-.^_`|~aZ9",
        target: b"/\xc3\xa9",
        version: Version::HTTP_11,
        fields: &[(b"!#$%&'*+-.^_`|~aZ9", b"\xff\x80 !~")],
    },
    // What is not UTF-8 is percent-encoded, with all of the target.
    Request {
        bytes: b"\r\nGET /caf\xe9/\xc3\xa9?\xff#\x80 HTTP/1.1\r\nA: \xff\r\n\r\n",
        method: "GET",
        target: b"/caf%E9/%C3%A9?%FF#%80",
        version: Version::HTTP_11,
        fields: &[(b"A", b"\xff")],
    },
    Request {
        bytes: b"get a:b HTTP/1.1\r\nA:b:c\r\n\r\n",
        method: "get",
        target: b"a:b",
        version: Version::HTTP_11,
        fields: &[(b"A", b"b:c")],
    },
];

#[test]
fn requests_are_parsed() {
    for case in REQUESTS {
        let (head, length) = request(case.bytes);
        assert_eq!(head.method.as_str(), case.method);
        assert_eq!(head.target(), case.target);
        assert_eq!(head.version, case.version);
        assert_fields(&head.fields, case.fields);
        assert_eq!(length, case.bytes.len());
    }
    assert_eq!(REQUESTS.len(), 7);
}

#[test]
fn a_cut_request_is_not_there_yet() {
    let mut cuts = 0;
    for case in REQUESTS {
        for cut in 0..case.bytes.len() {
            let parsed = RequestHead::parse(&case.bytes[..cut]).unwrap();
            assert!(parsed.is_none(), "{:?}", case.bytes[..cut].escape_ascii());
            cuts += 1;
        }
    }
    let lengths = REQUESTS.iter().map(|case| case.bytes.len());
    assert_eq!(cuts, lengths.sum::<usize>());
}

#[test]
fn what_follows_a_request_is_not_part_of_it() {
    let follows: &[&[u8]] = &[
        b"G",
        b"\r\n",
        b"\n",
        b" a: b\r\n\r\n",
        b"\0\xff",
        b"A: 1\r\n\r\n",
    ];
    for case in REQUESTS {
        for follow in follows {
            let (head, length) = request(&[case.bytes, follow].concat());
            assert_eq!(length, case.bytes.len());
            assert_eq!(head.target(), case.target);
            assert_fields(&head.fields, case.fields);
        }
    }
    assert_eq!(REQUESTS.len() * follows.len(), 42);
}

#[test]
fn malformed_requests_are_refused() {
    use httparse::Error::{HeaderName, HeaderValue, NewLine, Token, Version};
    let cases: &[(&[u8], httparse::Error)] = &[
        (b" GET / HTTP/1.1\r\n\r\n", Token),
        (b"G(T / HTTP/1.1\r\n\r\n", Token),
        (b"G\xc3\xa9T / HTTP/1.1\r\n\r\n", Token),
        (b"GET\t/ HTTP/1.1\r\n\r\n", Token),
        (b"GET\r\n\r\n", Token),
        (b"\xff / HTTP/1.1\r\n\r\n", Token),
        // Targets: empty, without a version, with a control byte, with long spellings of ASCII.
        (b"GET  HTTP/1.1\r\n\r\n", Token),
        (b"GET  / HTTP/1.1\r\n\r\n", Token),
        (b"GET /\r\n\r\n", Token),
        (b"GET /\ta HTTP/1.1\r\n\r\n", Token),
        (b"GET /\0 HTTP/1.1\r\n\r\n", Token),
        (b"GET /\x7f HTTP/1.1\r\n\r\n", Token),
        (b"GET /\xff\x7f HTTP/1.1\r\n\r\n", Token),
        (b"GET /\xc0\xaf HTTP/1.1\r\n\r\n", Token),
        (b"GET /\xff\xe0\x80\xaf HTTP/1.1\r\n\r\n", Token),
        (b"GET /\xf0\x80\x80\xaf HTTP/1.1\r\n\r\n", Token),
        // Versions.
        (b"GET / a HTTP/1.1\r\n\r\n", Version),
        (b"GET /  HTTP/1.1\r\n\r\n", Version),
        (b"GET / HTTP/1.2\r\n\r\n", Version),
        (b"GET / HTTP/2.0\r\n\r\n", Version),
        (b"GET / HTTP/0.9\r\n\r\n", Version),
        (b"GET / http/1.1\r\n\r\n", Version),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Version),
        (b"GET / HTTP/1.1 \r\n\r\n", NewLine),
        (b"GET / HTTP/1.1\r\r\n\r\n", NewLine),
        (b"GET / HTTP/1.10\r\n\r\n", NewLine),
        // Names: with a space before the colon, empty, folded, without colon (RFC 9112, section 5).
        (b"GET / HTTP/1.1\r\nA : 1\r\n\r\n", HeaderName),
        (b"GET / HTTP/1.1\r\nA\t: 1\r\n\r\n", HeaderName),
        (b"GET / HTTP/1.1\r\n: 1\r\n\r\n", HeaderName),
        (b"GET / HTTP/1.1\r\n A: 1\r\n\r\n", HeaderName),
        (b"GET / HTTP/1.1\r\nA: 1\r\n 2\r\n\r\n", HeaderName),
        (b"GET / HTTP/1.1\r\nA: 1\r\n\t2\r\n\r\n", HeaderName),
        (b"GET / HTTP/1.1\r\nA\r\n\r\n", HeaderName),
        (b"GET / HTTP/1.1\r\nA B: 1\r\n\r\n", HeaderName),
        (b"GET / HTTP/1.1\r\n\xe9: 1\r\n\r\n", HeaderName),
        (b"GET / HTTP/1.1\r\nA\0: 1\r\n\r\n", HeaderName),
        // Values: with control bytes, CR among them.
        (b"GET / HTTP/1.1\r\nA: \0\r\n\r\n", HeaderValue),
        (b"GET / HTTP/1.1\r\nA: 1\x0b\r\n\r\n", HeaderValue),
        (b"GET / HTTP/1.1\r\nA: \x7f\r\n\r\n", HeaderValue),
        (b"GET / HTTP/1.1\r\nA: 1\rB: 2\r\n\r\n", HeaderValue),
        (b"GET / HTTP/1.1\r\nA:\rB: 2\r\n\r\n", HeaderValue),
        (b"GET / HTTP/1.1\r\nA: 1\r\r\n\r\n", HeaderValue),
        (b"GET / HTTP/1.1\r\nA: 1\r\n\r\r\n", NewLine),
        (b"\rGET / HTTP/1.1\r\n\r\n", NewLine),
    ];
    for (bytes, expected) in cases {
        let parsed = RequestHead::parse(bytes).map(|head| head.is_some());
        let shown = bytes.escape_ascii();
        assert_eq!(parsed, Err(HeadError::Malformed(*expected)), "{shown}");
    }
    assert_eq!(cases.len(), 44);
}

#[test]
fn lines_of_a_request_end_in_cr_and_lf() {
    let whole = b"\r\nGET / HTTP/1.1\r\nA: 1\r\nB:\r\nC: 2\r\n\r\n";
    let mut cases = 0;
    for place in 0..whole.len() {
        if whole[place] == b'\r' {
            let bytes = [&whole[..place], &whole[place + 1..]].concat();
            let parsed = RequestHead::parse(&bytes).map(|head| head.is_some());
            assert_eq!(parsed, Err(HeadError::LineFeed), "{}", bytes.escape_ascii());
            cases += 1;
        }
    }
    assert_eq!(cases, 6);
    for bytes in [
        &b"GET / HTTP/1.1\n\n"[..],
        b"GET / HTTP/1.1\n\r\n",
        b"GET / HTTP/1.1\r\n\n",
    ] {
        let parsed = RequestHead::parse(bytes).map(|head| head.is_some());
        assert_eq!(parsed, Err(HeadError::LineFeed), "{}", bytes.escape_ascii());
    }
}

#[test]
fn long_texts_are_checked_to_their_ends() {
    // What checks many bytes at once has to find a bad one at any place.
    for place in 0..80 {
        let mut text = [b'a'; 80];
        text[place] = 0x7f;
        let target = [b"GET /", &text[..], b" HTTP/1.1\r\n\r\n"].concat();
        let name = [b"GET / HTTP/1.1\r\n", &text[..], b": 1\r\n\r\n"].concat();
        let value = [b"GET / HTTP/1.1\r\nA: ", &text[..], b"\r\n\r\n"].concat();
        for bytes in [target, name, value] {
            assert!(
                RequestHead::parse(&bytes).is_err(),
                "{}",
                bytes.escape_ascii()
            );
        }
    }
}

#[test]
fn a_header_section_has_at_most_256_fields() {
    let section = |first: &str, fields: usize| {
        let lines: String = (0..fields)
            .map(|field| format!("a{field}: {field}\r\n"))
            .collect();
        format!("{first}\r\n{lines}\r\n").into_bytes()
    };
    let (head, _) = request(&section("GET / HTTP/1.1", 256));
    assert_eq!(head.fields.len(), 256);
    assert_eq!(head.fields.get("a255"), Some(&b"255"[..]));
    let (head, _) = response(&section("HTTP/1.1 200 OK", 256));
    assert_eq!(head.fields.len(), 256);
    let error = RequestHead::parse(&section("GET / HTTP/1.1", 257)).unwrap_err();
    assert_eq!(error, HeadError::TooManyFields);
    let error = ResponseHead::parse(&section("HTTP/1.1 200 OK", 257)).unwrap_err();
    assert_eq!(error, HeadError::TooManyFields);
}

#[test]
fn requests_are_written() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        (
            b"\r\nGET /a HTTP/1.1\r\nA:1\r\nb:\t2 \r\nC:\r\n\r\n",
            b"GET /a HTTP/1.1\r\nA: 1\r\nb: 2\r\nC: \r\n\r\n",
        ),
    ];
    for (read, expected) in cases {
        let mut out = BytesMut::from("before ");
        request(read).0.write(&mut out);
        assert_eq!(out, [b"before ", *expected].concat());
    }
    assert_eq!(cases.len(), 2);
}

#[test]
fn a_target_is_replaced() {
    let (mut head, _) = request(b"GET /old HTTP/1.1\r\nA: 1\r\n\r\n");
    head.set_target(b"/longer-than-before");
    head.fields.append("B", b"2");
    assert_eq!(head.target(), b"/longer-than-before");
    head.set_target(b"*");
    let mut out = BytesMut::new();
    head.write(&mut out);
    assert_eq!(out, "GET * HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n");
}

#[test]
fn requests_are_made() {
    let mut head = RequestHead::new(Method::PUT, b"/a", Version::HTTP_2);
    assert_eq!(head.version, Version::HTTP_2);
    head.fields.append("Host", b"a");
    let mut out = BytesMut::new();
    head.write(&mut out);
    assert_eq!(out, "PUT /a HTTP/1.1\r\nHost: a\r\n\r\n");
}

/// A response, and what it says.
struct Response {
    bytes: &'static [u8],
    status: u16,
    reason: &'static [u8],
    version: Version,
    fields: &'static [Field],
}

const RESPONSES: &[Response] = &[
    Response {
        bytes: b"HTTP/1.1 200 OK\r\n\r\n",
        status: 200,
        reason: b"OK",
        version: Version::HTTP_11,
        fields: &[],
    },
    Response {
        bytes: b"HTTP/1.0 999  No \t such \r\nA: 1\r\n\r\n",
        status: 999,
        reason: b" No \t such ",
        version: Version::HTTP_10,
        fields: &[(b"A", b"1")],
    },
    // No reason, with and without its space.
    Response {
        bytes: b"HTTP/1.1 100\r\nA: 1\n\n",
        status: 100,
        reason: b"",
        version: Version::HTTP_11,
        fields: &[(b"A", b"1")],
    },
    Response {
        bytes: b"\r\nHTTP/1.1 503 \n\r\n",
        status: 503,
        reason: b"",
        version: Version::HTTP_11,
        fields: &[],
    },
    // A reason that is not ASCII has no meaning to anybody.
    Response {
        bytes: b"HTTP/1.1 200 \xe9t\xe9\r\nA: \xe9\r\n\r\n",
        status: 200,
        reason: b"",
        version: Version::HTTP_11,
        fields: &[(b"A", b"\xe9")],
    },
    // Folded lines are joined with spaces (RFC 9112, section 5.2).
    Response {
        bytes:
            b"HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n\t3\nB:\r\n  4\r\nC: 5\n 6\r\n \r\nD:\r\n \r\n\r\n",
        status: 200,
        reason: b"OK",
        version: Version::HTTP_11,
        fields: &[
            (b"A", b"1   2  \t3"),
            (b"B", b"4"),
            (b"C", b"5  6"),
            (b"D", b""),
        ],
    },
    // Spaces before a colon are taken out (RFC 9112, section 5.1).
    Response {
        bytes: b"HTTP/1.1 200 OK\r\nA : 1\r\nB \t:2\r\n\r\n",
        status: 200,
        reason: b"OK",
        version: Version::HTTP_11,
        fields: &[(b"A", b"1"), (b"B", b"2")],
    },
];

#[test]
fn responses_are_parsed() {
    for case in RESPONSES {
        let (head, length) = response(case.bytes);
        assert_eq!(head.status.as_u16(), case.status);
        assert_eq!(head.reason(), case.reason);
        assert_eq!(head.version, case.version);
        assert_fields(&head.fields, case.fields);
        assert_eq!(length, case.bytes.len());
    }
    assert_eq!(RESPONSES.len(), 7);
}

#[test]
fn a_cut_response_is_not_there_yet() {
    let mut cuts = 0;
    for case in RESPONSES {
        for cut in 0..case.bytes.len() {
            let parsed = ResponseHead::parse(&case.bytes[..cut]).unwrap();
            assert!(parsed.is_none(), "{:?}", case.bytes[..cut].escape_ascii());
            cuts += 1;
        }
    }
    let lengths = RESPONSES.iter().map(|case| case.bytes.len());
    assert_eq!(cuts, lengths.sum::<usize>());
}

#[test]
fn what_follows_a_response_is_not_part_of_it() {
    let follows: &[&[u8]] = &[
        b"H",
        b"\r\n",
        b" folded: no\r\n",
        b"\0\xff",
        b"A: 1\r\n\r\n",
    ];
    for case in RESPONSES {
        for follow in follows {
            let (head, length) = response(&[case.bytes, follow].concat());
            assert_eq!(length, case.bytes.len());
            assert_fields(&head.fields, case.fields);
        }
    }
    assert_eq!(RESPONSES.len() * follows.len(), 35);
}

#[test]
fn malformed_responses_are_refused() {
    use httparse::Error::{HeaderName, HeaderValue, NewLine, Version};
    let malformed = HeadError::Malformed;
    let status = malformed(httparse::Error::Status);
    let cases: &[(&[u8], HeadError)] = &[
        (b"HTTP/1.1 20 OK\r\n\r\n", status),
        (b"HTTP/1.1 2000 OK\r\n\r\n", status),
        (b"HTTP/1.1 +20 OK\r\n\r\n", status),
        (b"HTTP/1.1  200 OK\r\n\r\n", status),
        (b"HTTP/1.1 OK\r\n\r\n", status),
        (b"HTTP/1.1 200\tOK\r\n\r\n", status),
        (b"HTTP/1.1 200 O\0K\r\n\r\n", status),
        (b"HTTP/1.1 200 O\rK\r\n\r\n", status),
        (b"HTTP/1.1 200 O\x7fK\r\n\r\n", status),
        (b"HTTP/1.1 200\r\r\n\r\n", status),
        (b"HTTP/1.1 000 OK\r\n\r\n", HeadError::Status),
        (b"HTTP/1.1 099 OK\r\n\r\n", HeadError::Status),
        (b" HTTP/1.1 200 OK\r\n\r\n", malformed(Version)),
        (b"HTTP/1.1\t200 OK\r\n\r\n", malformed(Version)),
        (b"HTTP/2.0 200 OK\r\n\r\n", malformed(Version)),
        (b"HTTP/1.2 200 OK\r\n\r\n", malformed(Version)),
        (b"http/1.1 200 OK\r\n\r\n", malformed(Version)),
        (b"ICY 200 OK\r\n\r\n", malformed(Version)),
        // A fold needs a line before it.
        (b"HTTP/1.1 200 OK\r\n A: 1\r\n\r\n", malformed(HeaderName)),
        (b"HTTP/1.1 200 OK\r\n\tA: 1\r\n\r\n", malformed(HeaderName)),
        (b"HTTP/1.1 200 OK\r\nA\r\n\r\n", malformed(HeaderName)),
        (b"HTTP/1.1 200 OK\r\n : 1\r\n\r\n", malformed(HeaderName)),
        // What cannot be mended.
        (
            b"HTTP/1.1 200 OK\r\nA B: 1\r\nC\r\n\r\n",
            malformed(HeaderName),
        ),
        (
            b"HTTP/1.1 200 OK\r\nA B: 1\0\r\n\r\n",
            malformed(HeaderName),
        ),
        (
            b"HTTP/1.1 200 OK\r\nA B: 1\rC: 2\r\n\r\n",
            malformed(HeaderName),
        ),
        (b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", malformed(HeaderValue)),
        (
            b"HTTP/1.1 200 OK\r\nTransfer Encoding: chunked\r\n\r\n",
            malformed(HeaderName),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length\x0b: 5\r\n\r\n",
            malformed(HeaderName),
        ),
        (
            b"HTTP/1.1 200 OK\r\n folded\r\nA B: 1\r\n\r\n",
            malformed(HeaderName),
        ),
        // At once, not only where the header section ends.
        (
            b"HTTP/1.1 200 OK\r\nA: \x01\r\nB: \0\r\n",
            malformed(HeaderValue),
        ),
        (
            b"HTTP/1.1 200 OK\r\nA: 1\rB: 2\r\n\r\n",
            malformed(HeaderValue),
        ),
        (
            b"HTTP/1.1 200 OK\r\nA: 1\r\r\n 2\r\n\r\n",
            malformed(HeaderValue),
        ),
        (
            b"HTTP/1.1 200 OK\r\nA: 1\r\n \0\r\n\r\n",
            malformed(HeaderValue),
        ),
        (b"HTTP/1.1 200 OK\r\nA: 1\r\n\rB", malformed(NewLine)),
    ];
    for (bytes, expected) in cases {
        let parsed = ResponseHead::parse(bytes).map(|head| head.is_some());
        assert_eq!(parsed, Err(*expected), "{}", bytes.escape_ascii());
    }
    assert_eq!(cases.len(), 34);
}

#[test]
fn oddities_of_responses_are_mended() {
    use Oddity::{ControlCharacter, Name};
    let cases: &[(&[u8], &[Field], &[Oddity])] = &[
        (
            b"A: 1\x01\x1b[2m\x7f\r\nB: 2",
            &[(b"A", b"1\x01\x1b[2m\x7f"), (b"B", b"2")],
            &[ControlCharacter("A".into())],
        ),
        (
            b"A:\r\n 1\x08\r\n\t2\r\nB : \x01",
            &[(b"A", b"1\x08  \t2"), (b"B", b"\x01")],
            &[ControlCharacter("A".into()), ControlCharacter("B".into())],
        ),
        (
            b"A B: 1\r\nC: 2\r\n: 3\r\nD(E): 4\r\n folded\r\n\xe9: 5\r\nF: 6",
            &[(b"C", b"2"), (b"F", b"6")],
            &[
                Name("A B".into()),
                Name("".into()),
                Name("D(E)".into()),
                Name("\\xe9".into()),
            ],
        ),
    ];
    for (lines, expected, oddities) in cases {
        let bytes = [b"HTTP/1.1 200 F\xc3\xa9\r\n", *lines, b"\r\n\r\n"].concat();
        let (head, length) = response(&[&bytes[..], b"rest"].concat());
        assert_eq!(length, bytes.len());
        assert_fields(&head.fields, expected);
        let names = |oddity: &Oddity| match oddity {
            ControlCharacter(name) | Name(name) => name.clone(),
        };
        assert_eq!(
            head.oddities.iter().map(names).collect::<Vec<_>>(),
            oddities.iter().map(names).collect::<Vec<_>>()
        );
        for cut in 0..bytes.len() {
            assert!(ResponseHead::parse(&bytes[..cut]).unwrap().is_none());
        }
    }
    assert_eq!(cases.len(), 3);
}

#[test]
fn responses_are_written() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"HTTP/1.0 200 Fine\r\n\r\n", b"HTTP/1.1 200 Fine\r\n\r\n"),
        (b"HTTP/1.1 200\r\n\r\n", b"HTTP/1.1 200 \r\n\r\n"),
        (
            b"HTTP/1.1 299 OK\nA :1\n 2\nB: 3\n\n",
            b"HTTP/1.1 299 OK\r\nA: 1  2\r\nB: 3\r\n\r\n",
        ),
    ];
    for (read, expected) in cases {
        let mut out = BytesMut::from("before ");
        response(read).0.write(&mut out);
        assert_eq!(out, [b"before ", *expected].concat());
    }
    assert_eq!(cases.len(), 3);
}

#[test]
fn responses_are_made() {
    let cases = [(204, "HTTP/1.1 204 No Content"), (299, "HTTP/1.1 299 ")];
    for (status, line) in cases {
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        assert_eq!(head.version, Version::HTTP_11);
        head.fields.append("A", b"1");
        let mut out = BytesMut::new();
        head.write(&mut out);
        assert_eq!(out, format!("{line}\r\nA: 1\r\n\r\n"));
    }
}

#[test]
fn a_status_may_be_changed() {
    let (mut head, _) = response(b"HTTP/1.1 101 Switching Protocols\r\nA: 1\r\n\r\n");
    let before = owned(&head.fields);
    head.status = StatusCode::OK;
    let mut out = BytesMut::new();
    head.write(&mut out);
    assert_eq!(owned(&response(&out).0.fields), before);
    assert_eq!(response(&out).0.status, StatusCode::OK);
}

#[test]
fn what_was_replaced_is_given_back() {
    let text = b"GET /a HTTP/1.1\r\nA: 1\r\nB: 2\r\nA: 3\r\n\r\n";
    let (mut head, _) = RequestHead::parse(text).unwrap().unwrap();
    head.set_target(b"/b");
    head.fields.set("A", &[b'x'; 10_000]);
    head.fields.set("A", b"4");
    let written = |head: &RequestHead| {
        let mut out = BytesMut::new();
        head.write(&mut out);
        out
    };
    let before = written(&head);
    assert!(head.size() > 10_000);
    head.shrink();
    assert_eq!(written(&head), before);
    assert_eq!(head.size(), before.len());
    assert_eq!(
        (head.target(), head.fields.get("b")),
        (&b"/b"[..], Some(&b"2"[..]))
    );
}
