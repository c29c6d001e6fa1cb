//! What holds for all messages.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::BytesMut;
use ferrix_http1::{BodyError, Decoder, Fields, Framing, Piece, RequestHead, ResponseHead};
use http::{Method, StatusCode, Version};
use proptest::{collection::vec, prelude::*, sample::select};

type Line = (String, Vec<u8>);

const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}";

/// Without spaces at its ends, which no reader keeps.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let inner = prop_oneof![Just(b'\t'), 0x20_u8..=0x7e, 0x80_u8..=0xff];
    vec(inner, 0..40).prop_map(|value| value.trim_ascii().to_vec())
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    vec((TOKEN, value()), 0..20)
}

fn add(fields: &mut Fields, lines: &[Line]) {
    for (name, value) in lines {
        fields.append(name, value);
    }
}

fn owned(fields: &Fields) -> Vec<Line> {
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    let owned = |(name, value): (&[u8], &[u8])| (text(name), value.to_vec());
    fields.iter().map(owned).collect()
}

/// Bytes that are nearly messages.
fn nearly(first: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let parts: &[&[u8]] = &[
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"A: 1\r\n",
        b"b:2\r\n",
        b"C :3\r\n",
        b" folded\r\n",
        b"d:\r\n",
        b"/",
        b"\0",
        b"\x7f",
        b"\xff",
        b"\xc3\xa9",
        b"e",
        b"HTTP/1.1",
        b"0\r\n",
        b"5\r\n",
        b"5;a\r\n",
        b"hello\r\n",
        b"ffffffffffffffff",
    ];
    let line = prop_oneof![4 => Just(first.as_bytes()), 1 => Just(&b""[..])];
    let parts = vec(select(parts), 0..12);
    (line, parts).prop_map(|(line, parts)| [line, &parts.concat()].concat())
}

/// A request's first line and its fields, read line by line. `None`: cut short or refused.
fn model(bytes: &[u8]) -> Option<(Vec<u8>, Vec<Line>, usize)> {
    let mut at = 0;
    let mut line = || {
        let length = bytes[at..].iter().position(|byte| *byte == b'\n')?;
        let line = &bytes[at..at + length];
        at += length + 1;
        line.strip_suffix(b"\r")
    };
    let mut first = line()?;
    while first.is_empty() {
        first = line()?;
    }
    let words: Vec<_> = first.split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.0" | b"HTTP/1.1"] = words[..] else {
        return None;
    };
    let is_utf8 = std::str::from_utf8(target).is_ok();
    if !is_utf8 && target.windows(2).any(is_overlong) {
        return None;
    }
    let encode = |byte: &u8| match is_utf8 || byte.is_ascii() {
        true => vec![*byte],
        false => format!("%{byte:02X}").into_bytes(),
    };
    let encoded: Vec<_> = target.iter().flat_map(encode).collect();
    let visible = |byte: &u8| *byte > b' ' && *byte != 0x7f;
    if !is_token(method) || target.is_empty() || !target.iter().all(visible) {
        return None;
    }
    let mut fields = Vec::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            let first = [method, b" ", &encoded, b" ", words[2]].concat();
            return Some((first, fields, at));
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let text = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
        if !is_token(name) || !value.iter().all(text) {
            return None;
        }
        let name = String::from_utf8(name.to_vec()).unwrap();
        fields.push((name, value.trim_ascii().to_vec()));
    }
}

/// Whether two bytes begin a longer spelling of a character than UTF-8 has.
fn is_overlong(pair: &[u8]) -> bool {
    match pair[0] {
        0xc0 | 0xc1 => (0x80..=0xbf).contains(&pair[1]),
        0xe0 => (0x80..=0x9f).contains(&pair[1]),
        0xf0 => (0x80..=0x8f).contains(&pair[1]),
        _ => false,
    }
}

fn is_token(bytes: &[u8]) -> bool {
    let symbol = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(symbol)
}

/// All pieces of a body, and what is left of the bytes. `None` for an end: more has to be read.
fn decode(
    framing: Framing,
    parts: &[&[u8]],
) -> Result<(Vec<u8>, Option<Piece>, BytesMut), BodyError> {
    let mut decoder = Decoder::new(framing);
    let (mut read, mut data, mut end) = (BytesMut::new(), Vec::new(), None);
    for part in parts {
        read.extend_from_slice(part);
        while end.is_none() {
            let before = read.len();
            match decoder.decode(&mut read)? {
                Some(Piece::Data(piece)) => {
                    assert!(!piece.is_empty() && read.len() + piece.len() <= before);
                    data.extend_from_slice(&piece);
                }
                Some(piece) => end = Some(piece),
                None => break,
            }
        }
    }
    Ok((data, end, read))
}

/// Two places where bytes are cut.
fn cut(bytes: &[u8], cuts: (usize, usize)) -> [&[u8]; 3] {
    let places = [cuts.0 % (bytes.len() + 1), cuts.1 % (bytes.len() + 1)];
    let (first, second) = (places[0].min(places[1]), places[0].max(places[1]));
    [&bytes[..first], &bytes[first..second], &bytes[second..]]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn written_requests_parse_to_themselves(
        method in TOKEN,
        target in "[!-~é]{1,30}",
        lines in lines(),
        rest in vec(any::<u8>(), 0..20),
    ) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut head = RequestHead::new(method.clone(), target.as_bytes(), Version::HTTP_11);
        add(&mut head.fields, &lines);
        let mut out = BytesMut::new();
        head.write(&mut out);
        let written = out.len();
        out.extend_from_slice(&rest);
        let (parsed, length) = RequestHead::parse(&out).unwrap().unwrap();
        prop_assert_eq!(length, written);
        prop_assert_eq!(&parsed.method, &method);
        prop_assert_eq!(parsed.target(), target.as_bytes());
        prop_assert_eq!(parsed.version, Version::HTTP_11);
        prop_assert_eq!(owned(&parsed.fields), lines);
        let mut again = BytesMut::new();
        parsed.write(&mut again);
        prop_assert_eq!(&again[..], &out[..written]);
    }

    #[test]
    fn written_responses_parse_to_themselves(status in 100_u16..1000, lines in lines()) {
        let status = StatusCode::from_u16(status).unwrap();
        let mut head = ResponseHead::new(status);
        add(&mut head.fields, &lines);
        let mut out = BytesMut::new();
        head.write(&mut out);
        let (parsed, length) = ResponseHead::parse(&out).unwrap().unwrap();
        prop_assert_eq!(length, out.len());
        prop_assert_eq!(parsed.status, status);
        prop_assert_eq!(parsed.reason(), head.reason());
        prop_assert_eq!(owned(&parsed.fields), lines);
    }

    #[test]
    fn a_map_has_all_fields(lines in lines()) {
        let mut fields = Fields::default();
        add(&mut fields, &lines);
        let map = fields.clone().into_map();
        prop_assert_eq!(map.len(), lines.len());
        for (name, _) in &lines {
            let values: Vec<_> = map.get_all(name).iter().map(|value| value.as_bytes()).collect();
            prop_assert_eq!(fields.get_all(name).collect::<Vec<_>>(), values);
        }
    }

    #[test]
    fn chunks_decode_however_they_are_cut(
        data in vec(vec(any::<u8>(), 1..50), 0..6),
        cuts in any::<(usize, usize)>(),
        rest in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        for chunk in &data {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes.extend_from_slice(&rest);
        let (decoded, end, left) = decode(Framing::Chunked, &cut(&bytes, cuts)).unwrap();
        prop_assert_eq!(decoded, data.concat());
        prop_assert_eq!(end, Some(Piece::End(None)));
        prop_assert_eq!(&left[..], &rest[..]);
    }

    #[test]
    fn a_length_takes_that_many_bytes(
        bytes in vec(any::<u8>(), 0..100),
        length in 0_usize..120,
        cuts in any::<(usize, usize)>(),
    ) {
        let framing = Framing::Length(length as u64);
        let (data, end, left) = decode(framing, &cut(&bytes, cuts)).unwrap();
        prop_assert_eq!(&data[..], &bytes[..length.min(bytes.len())]);
        prop_assert_eq!(&left[..], &bytes[data.len()..]);
        prop_assert_eq!(end.is_some(), bytes.len() >= length);
    }

    #[test]
    fn any_bytes_decode_alike_however_they_are_cut(
        bytes in prop_oneof![nearly("5\r\nhello\r\n0\r\n"), nearly("0\r\n"), vec(any::<u8>(), 0..60)],
        cuts in any::<(usize, usize)>(),
    ) {
        for framing in [Framing::Chunked, Framing::Length(7), Framing::UntilClose, Framing::Empty] {
            let whole = decode(framing, &[&bytes]);
            prop_assert_eq!(&decode(framing, &cut(&bytes, cuts)), &whole);
            if let Ok((data, _, left)) = whole {
                prop_assert!(data.len() + left.len() <= bytes.len());
                prop_assert!(bytes.ends_with(&left));
            }
        }
    }

    #[test]
    fn a_response_ends_where_it_ends(
        bytes in prop_oneof![nearly("HTTP/1.1 200 OK\r\n"), nearly("HTTP/1.1 200"), vec(any::<u8>(), 0..60)],
    ) {
        let Ok(Some((head, length))) = ResponseHead::parse(&bytes) else {
            return Ok(());
        };
        prop_assert!(length <= bytes.len());
        for end in 0..length {
            prop_assert!(ResponseHead::parse(&bytes[..end]).unwrap().is_none());
        }
        let (same, _) = ResponseHead::parse(&bytes[..length]).unwrap().unwrap();
        prop_assert_eq!(owned(&same.fields), owned(&head.fields));
        // What is passed on has no folds, and reads the same.
        let mut out = BytesMut::new();
        head.write(&mut out);
        let (again, written) = ResponseHead::parse(&out).unwrap().unwrap();
        prop_assert_eq!(written, out.len());
        prop_assert_eq!(owned(&again.fields), owned(&head.fields));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_what_their_lines_say(
        bytes in prop_oneof![nearly("GET /a HTTP/1.1\r\n"), nearly("GET /"), nearly("\r\n"), vec(any::<u8>(), 0..60)],
    ) {
        let parsed = RequestHead::parse(&bytes);
        let Some((first, lines, end)) = model(&bytes) else {
            prop_assert!(!matches!(parsed, Ok(Some(_))), "{:?}", parsed);
            return Ok(());
        };
        let (head, length) = parsed.unwrap().unwrap();
        let version = if head.version == Version::HTTP_10 { "1.0" } else { "1.1" };
        let words = [head.method.as_str().as_bytes(), b" ", head.target(), b" HTTP/", version.as_bytes()];
        prop_assert_eq!(words.concat(), first);
        prop_assert_eq!(owned(&head.fields), lines);
        prop_assert_eq!(length, end);
        for cut in 0..length {
            prop_assert!(RequestHead::parse(&bytes[..cut]).unwrap().is_none());
        }
    }
}
