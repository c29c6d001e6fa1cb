use super::*;
use crate::RequestHead;

const LINES: &[(&str, &[u8])] = &[
    ("Host", b"a"),
    ("Via", b"1"),
    ("x-a", b""),
    ("VIA", b"2"),
    ("via", b"\xff 3"),
    ("Vi", b"4"),
    ("Via-", b"5"),
];

fn fields() -> Fields {
    let mut fields = Fields::with_text(b"not a field", LINES.len());
    for (name, value) in LINES {
        fields.append(name, value);
    }
    fields
}

fn names(fields: &Fields) -> Vec<&str> {
    let name = |(name, _)| std::str::from_utf8(name).unwrap();
    fields.iter().map(name).collect()
}

#[test]
fn order_and_spelling_are_kept() {
    let lines: Vec<(&[u8], &[u8])> = LINES
        .iter()
        .map(|(name, value)| (name.as_bytes(), *value))
        .collect();
    assert_eq!(fields().iter().collect::<Vec<_>>(), lines);
    assert_eq!(fields().len(), 7);
    assert!(!fields().is_empty());
    assert!(Fields::default().is_empty());
    assert_eq!(Fields::default().len(), 0);
}

#[test]
fn values_are_found_in_any_spelling() {
    let fields = fields();
    let cases: &[(&str, &[&[u8]])] = &[
        ("host", &[b"a"]),
        ("HOST", &[b"a"]),
        ("vIa", &[b"1", b"2", b"\xff 3"]),
        ("X-A", &[b""]),
        ("vi", &[b"4"]),
        ("via-", &[b"5"]),
        ("not", &[]),
        ("hos", &[]),
        ("", &[]),
    ];
    for (name, values) in cases {
        assert_eq!(fields.get_all(name).collect::<Vec<_>>(), *values, "{name}");
        assert_eq!(fields.get(name), values.first().copied(), "{name}");
        assert_eq!(fields.contains(name), !values.is_empty(), "{name}");
    }
    assert_eq!(cases.len(), 9);
}

#[test]
fn a_removed_field_is_gone_in_all_spellings() {
    let mut fields = fields();
    fields.remove("viA");
    assert_eq!(names(&fields), ["Host", "x-a", "Vi", "Via-"]);
    fields.remove("unknown");
    assert_eq!(fields.len(), 4);
    fields.append("Via", b"9");
    assert_eq!(fields.get("via"), Some(&b"9"[..]));
}

#[test]
fn a_set_field_replaces_all_lines_of_its_name() {
    let mut fields = fields();
    fields.set("viA", b"9");
    assert_eq!(names(&fields), ["Host", "x-a", "Vi", "Via-", "viA"]);
    assert_eq!(fields.get_all("via").collect::<Vec<_>>(), [b"9"]);
    fields.set("New", b"");
    assert_eq!(fields.get("new"), Some(&b""[..]));
}

#[test]
fn fields_are_kept_by_name_and_value() {
    let mut fields = fields();
    let mut seen = 0;
    fields.retain(|name, value| {
        seen += 1;
        name != b"Host" && value != b"2"
    });
    assert_eq!(seen, 7);
    assert_eq!(names(&fields), ["Via", "x-a", "via", "Vi", "Via-"]);
    fields.retain(|_, _| false);
    assert!(fields.is_empty());
}

#[test]
fn written_fields_end_with_an_empty_line() {
    let mut out = BytesMut::new();
    Fields::default().write(&mut out);
    assert_eq!(out, "\r\n");
    fields().write(&mut out);
    let expected: &[u8] =
        b"\r\nHost: a\r\nVia: 1\r\nx-a: \r\nVIA: 2\r\nvia: \xff 3\r\nVi: 4\r\nVia-: 5\r\n\r\n";
    assert_eq!(out, expected);
    assert!(fields().size() + 2 >= expected.len() - 2);
}

#[test]
fn a_map_has_the_same_fields() {
    let map = fields().into_map();
    let values = |name: &str| {
        let values = map.get_all(name).iter();
        values.map(HeaderValue::as_bytes).collect::<Vec<_>>()
    };
    assert_eq!(map.len(), 7);
    assert_eq!(map.keys_len(), 5);
    assert_eq!(values("via"), [&b"1"[..], b"2", b"\xff 3"]);
    assert_eq!(values("x-a"), [b""]);
    assert_eq!(values("via-"), [b"5"]);
}

#[test]
fn a_map_is_taken_over() {
    let mut map = HeaderMap::new();
    map.append("B", HeaderValue::from_static("1"));
    map.append("a", HeaderValue::from_static("2"));
    map.append("b", HeaderValue::from_static("3"));
    let mut fields = Fields::default();
    fields.append("First", b"0");
    fields.extend(&map);
    assert_eq!(names(&fields), ["First", "b", "b", "a"]);
    assert_eq!(fields.into_map().get_all("b").iter().count(), 2);
}

#[test]
fn debugging_shows_lines() {
    let mut fields = Fields::default();
    fields.append("A", b"1\xff");
    assert_eq!(format!("{fields:?}"), "{\"A\": \"1\u{fffd}\"}");
}

/// Lines are copied together where they stand together in the text as they are written: whatever was
/// read, taken out and added, each comes once, in order, and in one form.
#[test]
fn lines_are_written_alike_however_they_stand() {
    let sections = [
        "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n",
        "A:1\r\nB: 2 \r\nC:  3\r\nD: 4\r\n",
        "A: \r\nB:\r\nC: 3\t\r\nD: 4\r\n",
    ];
    let mut ran = 0;
    for section in sections {
        for taken_out in 0..16_u8 {
            let text = format!("GET / HTTP/1.1\r\n{section}\r\n");
            let (mut head, _) = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
            head.fields
                .retain(|name, _| taken_out >> (name[0] - b'A') & 1 == 0);
            head.set_target(b"/between");
            head.fields.append("E", b"");
            head.fields.append("F", b"6");
            head.fields.retain(|name, _| name != b"E");
            head.fields.append("G", b"7");
            let mut expected = Vec::new();
            for (name, value) in head.fields.iter() {
                expected.extend([name, b": ", value, b"\r\n"].concat());
            }
            expected.extend(b"\r\n");
            let mut out = BytesMut::new();
            head.fields.write(&mut out);
            assert_eq!(out, expected, "{text} {taken_out:b}");
            ran += 1;
        }
    }
    assert_eq!(ran, 3 * 16);
}
