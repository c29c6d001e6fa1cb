use http::{Method, Version};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;

const ALL: [ContentEncoding; 3] = ContentEncoding::ALL;

fn chosen(offered: &[ContentEncoding], lines: &[&str]) -> &'static str {
    let mut fields = Fields::default();
    for line in lines {
        fields.append("Accept-Encoding", line.as_bytes());
    }
    negotiate(offered, &fields).map_or("identity", ContentEncoding::name)
}

#[test]
fn the_encoding_is_the_one_that_the_client_likes_best() {
    let cases: [(&[&str], &str); 22] = [
        (&[], "identity"),
        (&[""], "identity"),
        (&["gzip"], "gzip"),
        (&["x-gzip"], "gzip"),
        (&["GZIP ; Q=0.5"], "gzip"),
        (&["gzip, deflate, br, zstd"], "zstd"),
        (&["gzip, deflate, br"], "br"),
        (&["gzip", "br"], "br"),
        (&["gzip;q=1.0, br;q=0.9"], "gzip"),
        (&["gzip;q=0"], "identity"),
        (&["gzip;q=0.000, br;q=0.001"], "br"),
        (&["*"], "zstd"),
        (&["*;q=0"], "identity"),
        (&["*, zstd;q=0"], "br"),
        (&["identity, gzip;q=0.5"], "identity"),
        (&["identity, gzip"], "gzip"),
        (&["identity;q=0, gzip;q=0.1"], "gzip"),
        (&["identity;q=0"], "identity"),
        (&["gzip;q=1.001"], "identity"),
        (&["gzip;q=0.0001"], "identity"),
        (&["gzip;level=9"], "identity"),
        (&["deflate, compress"], "identity"),
    ];
    for (lines, expected) in cases {
        assert_eq!(chosen(&ALL, lines), expected, "{lines:?}");
    }
    assert_eq!(cases.len(), 22);
    let few = [ContentEncoding::Gzip, ContentEncoding::Zstd];
    assert_eq!(chosen(&few, &["br, zstd, gzip"]), "gzip");
    assert_eq!(chosen(&few, &["br"]), "identity");
}

/// What a client says: of each name at most once, with a weight in hundredths.
type Said = Vec<(&'static str, Option<u16>)>;

fn said() -> impl Strategy<Value = Said> {
    let names = ["zstd", "br", "gzip", "identity", "*", "deflate"];
    let weight = option::of(prop_oneof![Just(0_u16), Just(100), 1_u16..100]);
    vec((select(names.to_vec()), weight), 0..6).prop_map(|mut said: Said| {
        let mut seen = Vec::new();
        said.retain(|(name, _)| {
            !seen.contains(name) && {
                seen.push(*name);
                true
            }
        });
        said
    })
}

/// The rule of the RFC, word by word: the weight of a coding that is named, or that of `*`, or none;
/// identity may always be taken, but is liked only as much as is said of it.
fn model(offered: &[ContentEncoding], said: &Said) -> &'static str {
    let of = |name: &str| said.iter().find(|(it, _)| *it == name);
    let weight = |it: Option<&(&str, Option<u16>)>| it.map(|(_, weight)| weight.unwrap_or(100));
    let star = weight(of("*")).unwrap_or(0);
    let mut liked: Vec<(u16, usize, &str)> = Vec::new();
    for (place, encoding) in offered.iter().enumerate() {
        let liking = weight(of(encoding.name())).unwrap_or(star);
        if liking > 0 {
            liked.push((100 - liking, place, encoding.name()));
        }
    }
    let plain = weight(of("identity")).unwrap_or(0);
    liked.push((100 - plain, offered.len(), "identity"));
    liked.sort_unstable();
    liked[0].2
}

proptest! {
    #[test]
    fn negotiation_follows_the_rule(
        said in said(),
        offered in Just(ALL.to_vec()).prop_shuffle(),
        few in 0..=3_usize,
        lines in 1..3_usize,
    ) {
        let offered = &offered[..few];
        let text = |(name, weight): &(&str, Option<u16>)| match weight {
            None => (*name).to_owned(),
            Some(100) => format!("{name} ;q=1"),
            Some(weight) => format!("{name}; Q=0.{weight:02}"),
        };
        let elements: Vec<_> = said.iter().map(text).collect();
        let size = elements.len().div_ceil(lines).max(1);
        let mut all: Vec<_> = elements.chunks(size).map(|it| it.join(" , ")).collect();
        if all.is_empty() {
            all.push(String::new());
        }
        let lines: Vec<_> = all.iter().map(String::as_str).collect();
        prop_assert_eq!(chosen(offered, &lines), model(offered, &said), "{:?}", lines);
    }

    /// No text makes it panic, or choose what is not offered.
    #[test]
    fn any_text_is_read(text in "[ -~]{0,40}") {
        let chosen = chosen(&ALL[1..], &[&text]);
        prop_assert_ne!(chosen, "zstd");
    }
}

fn compression() -> Compression {
    Compression {
        encodings: ALL.into(),
        min_bytes: 100,
        content_types: Box::default(),
    }
}

fn response(status: u16, lines: &[(&str, &str)]) -> ResponseHead {
    let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
    for (name, value) in lines {
        head.fields.append(name, value.as_bytes());
    }
    head
}

fn asked(lines: &[(&str, &str)]) -> Asked {
    let mut head = RequestHead::new(Method::GET, b"/", Version::HTTP_11);
    for (name, value) in lines {
        head.fields.append(name, value.as_bytes());
    }
    Asked::of(&compression(), &head)
}

const GZIP: [(&str, &str); 1] = [("Accept-Encoding", "gzip")];
const TEXT: (&str, &str) = ("Content-Type", "text/plain");

#[test]
fn what_is_compressed_and_what_varies() {
    let length = Some(100);
    type Case<'c> = (u16, &'c [(&'c str, &'c str)], Option<u64>, bool);
    let cases: [Case<'_>; 20] = [
        (200, &[TEXT], length, true),
        (200, &[TEXT], None, true),
        (404, &[TEXT], length, true),
        (200, &[TEXT], Some(99), false),
        (200, &[TEXT], Some(0), false),
        (200, &[], length, false),
        (200, &[("Content-Type", "image/png")], length, false),
        (200, &[("Content-Type", "application/grpc")], None, false),
        (101, &[TEXT], None, false),
        (103, &[TEXT], None, false),
        (204, &[TEXT], None, false),
        (205, &[TEXT], None, false),
        (206, &[TEXT], length, false),
        (304, &[TEXT], None, false),
        (416, &[TEXT, ("Content-Range", "bytes */7")], length, false),
        (200, &[TEXT, ("Content-Encoding", "br")], length, false),
        (
            200,
            &[TEXT, ("Content-Encoding", "identity")],
            length,
            false,
        ),
        (
            200,
            &[TEXT, ("Cache-Control", "public, No-Transform")],
            length,
            false,
        ),
        (200, &[TEXT, ("Cache-Control", "no-store")], length, true),
        (200, &[("Content-Type", "text/event-stream")], None, true),
    ];
    for (status, lines, length, expected) in cases {
        for (client, encoding) in [(&GZIP[..], Some(ContentEncoding::Gzip)), (&[], None)] {
            let mut head = response(status, lines);
            let found = on_response(&compression(), asked(client), &mut head, length);
            assert_eq!(found, encoding.filter(|_| expected), "{status} {lines:?}");
            assert_eq!(head.fields.contains("vary"), expected, "{status} {lines:?}");
        }
    }
    assert_eq!(cases.len(), 20);
}

#[test]
fn the_header_section_is_that_of_another_body() {
    let lines = [
        TEXT,
        ("Content-Length", "100"),
        ("Accept-Ranges", "bytes"),
        ("Repr-Digest", "sha-256=:x:"),
        ("ETag", "\"v1\""),
        ("Vary", "Cookie"),
    ];
    let mut head = response(200, &lines);
    on_response(&compression(), asked(&GZIP), &mut head, Some(100));
    let left: Vec<_> = head
        .fields
        .iter()
        .map(|(name, value)| [name, b": ", value].concat())
        .collect();
    let expected: [&[u8]; 5] = [
        b"Content-Type: text/plain",
        b"Vary: Cookie",
        b"Vary: Accept-Encoding",
        b"ETag: W/\"v1\"",
        b"Content-Encoding: gzip",
    ];
    assert_eq!(left, expected);
    for said in ["accept-encoding, cookie", "*"] {
        let mut head = response(200, &[TEXT, ("Vary", said), ("ETag", "W/\"v1\"")]);
        on_response(&compression(), asked(&GZIP), &mut head, None);
        assert_eq!(head.fields.get_all("vary").count(), 1, "{said}");
        assert_eq!(head.fields.get("etag"), Some(&b"W/\"v1\""[..]));
    }
}

#[test]
fn a_304_has_the_tag_that_the_client_knows() {
    let cases = [
        ("W/\"v1\"", "W/\"v1\"", true),
        ("\"v0\", W/\"v1\"", "W/\"v1\"", true),
        ("\"v1\"", "\"v1\"", false),
    ];
    for (client, tag, varies) in cases {
        let mut head = response(304, &[("ETag", "\"v1\"")]);
        let asked = asked(&[GZIP[0], ("If-None-Match", client)]);
        assert_eq!(on_response(&compression(), asked, &mut head, None), None);
        assert_eq!(head.fields.get("etag"), Some(tag.as_bytes()), "{client}");
        assert_eq!(head.fields.contains("vary"), varies, "{client}");
    }
    assert_eq!(cases.len(), 3);
}

#[test]
fn conditions_name_the_tags_of_the_backend() {
    let cases: [(&[&str], &[&str]); 5] = [
        (&["W/\"v1\""], &["\"v1\""]),
        (
            &["\"v0\" ,W/\"v1\"", "W/\"v2\""],
            &["\"v0\" ,\"v1\", \"v2\""],
        ),
        (&["\"v1\""], &["\"v1\""]),
        (&["\"W/\", \"a,W/\"", "*"], &["\"W/\", \"a,W/\"", "*"]),
        (&[], &[]),
    ];
    for (sent, expected) in cases {
        let mut head = RequestHead::new(Method::PUT, b"/", Version::HTTP_11);
        for line in sent {
            head.fields.append("If-Match", line.as_bytes());
        }
        head.fields.append("If-None-Match", b"W/\"v1\"");
        on_request(&mut head);
        let expected: Vec<_> = expected.iter().map(|it| it.as_bytes()).collect();
        assert_eq!(
            head.fields.get_all("if-match").collect::<Vec<_>>(),
            expected
        );
        assert_eq!(head.fields.get("if-none-match"), Some(&b"W/\"v1\""[..]));
    }
    assert_eq!(cases.len(), 5);
}
