use super::*;

/// Paths, in Huffman's code as well.
const PATHS_CODED: [(&str, &[u8], bool); 7] = [
    (
        "/public#/admin",
        b"\x62\xBB\x63\xA0\xC4\xFF\xA6\x07\x25\x26\xAB",
        true,
    ),
    ("/x?y#z", b"\x63\xCF\xF9\xEB\xFE\xBD\xFF", true),
    ("/#", b"\x63\xFE\xBF", true),
    // With ones in a row that are no number sign.
    (
        "/a?b=(c)z?",
        b"\x60\x7F\xE4\x70\x7F\x44\xFE\xFD\xFF\x9F",
        false,
    ),
    ("/>>>", b"\x63\xFE\xFF\xEF\xFE\xFF", false),
    ("/zz(z(", b"\x63\xDF\xBF\xEB\xDF\xF5", false),
    (
        "/index.html?a=b&c=d",
        b"\x60\xD5\x48\x5F\x2B\xCE\x9A\x68\xFF\x07\x04\x7F\x04\x82\x4F",
        false,
    ),
];

const GET: &[u8] = b"\x82";

/// A representation, and a text behind it.
fn literal(representation: &[u8], coded: bool, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    let flag = if coded { 0x80 } else { 0 };
    [representation, &[flag | length], value].concat()
}

#[test]
fn a_path_is_found_however_it_is_written() {
    let forms: [&[u8]; 8] = [
        b"\x44",
        b"\x45",
        b"\x04",
        b"\x14",
        b"\x00\x05:path",
        b"\x40\x05:path",
        b"\x00\x84\xB9\x58\xD3\x3F",
        // After a change of the table's size.
        b"\x3F\xE1\x1F\x04",
    ];
    let mut ran = 0;
    for form in forms {
        for (path, coded, expected) in PATHS_CODED {
            let (plain, coded) = (
                literal(form, false, path.as_bytes()),
                literal(form, true, coded),
            );
            for path_field in [plain, coded] {
                let block = [GET, b"\x86\xC1", &path_field, b"\xC0\x50\x01#"].concat();
                assert_eq!(holds_fragment(&block), expected, "{path} {form:?}");
                // Of one that is cut short nothing is known but what is there.
                for end in 0..block.len() {
                    assert!(!holds_fragment(&block[..end]) || expected);
                }
                ran += 1;
            }
        }
    }
    assert_eq!(ran, 8 * 7 * 2);
}

#[test]
fn number_signs_elsewhere_are_none_of_a_path() {
    // Nor does a path come behind other fields.
    let late = [
        literal(b"\x0F\x24", false, b"/"),
        literal(b"\x04", false, b"/#"),
    ];
    let cases = [
        ("nothing", Vec::new()),
        ("another path, by index", b"\x82\x84\x87".to_vec()),
        ("an authority", literal(b"\x41", false, b"a#b")),
        ("a referer", literal(b"\x0F\x24", false, b"/#")),
        ("a new name", literal(b"\x00\x03x-a", false, b"/#")),
        ("a name of before", literal(b"\x7E", false, b"/#")),
        (
            "a name with a colon",
            literal(b"\x00\x06:paths", false, b"/#"),
        ),
        (
            "a length that is none",
            b"\x04\x7F\xFF\xFF\xFF\xFF\xFF/#".to_vec(),
        ),
        (
            "an index that is none",
            b"\xFF\xFF\xFF\xFF\xFF\xFF".to_vec(),
        ),
        ("a path behind a referer", late.concat()),
    ];
    for (what, block) in &cases {
        assert!(!holds_fragment(block), "{what}");
    }
    assert_eq!(cases.len(), 10);
}

/// A frame with a part of a block: its flags, and its payload.
type Frame = (u8, Vec<u8>);

/// Whether frames, each in pieces of this size, tell of a fragment at their end.
fn told(frames: &[Frame], size: usize) -> bool {
    let mut block = HeaderBlock::default();
    let mut found = Vec::new();
    for (place, (flags, payload)) in frames.iter().enumerate() {
        block.begin(*flags, place > 0);
        let mut pieces = payload.chunks(size).peekable();
        if pieces.peek().is_none() {
            found.push(block.add(&[], true));
        }
        while let Some(piece) = pieces.next() {
            found.push(block.add(piece, pieces.peek().is_none()));
        }
    }
    assert!(block.parts.is_empty(), "nothing is kept");
    let last = found.pop().unwrap();
    assert!(!found.contains(&true));
    last
}

#[test]
fn blocks_are_put_together() {
    let mut ran = 0;
    for (path, expected) in [("/public#/admin", true), ("/public/admin", false)] {
        let path_field = literal(b"\x04", false, path.as_bytes());
        let block = [GET, &path_field, b"\x86"].concat();
        let (one, other) = block.split_at(9);
        let padded = [&[3][..], &block, b"\x04#\0"].concat();
        let both = [&[2][..], b"\0\0\0\0\x10", one, b"##"].concat();
        let cases: [&[Frame]; 6] = [
            &[(END_HEADERS, block.clone())],
            &[(0, one.to_vec()), (END_HEADERS, other.to_vec())],
            &[
                (0, Vec::new()),
                (0, block.clone()),
                (END_HEADERS, Vec::new()),
            ],
            &[(END_HEADERS | PADDED, padded)],
            &[(PADDED | PRIORITY, both), (END_HEADERS, other.to_vec())],
            // With flags that `CONTINUATION` does not have.
            &[(0, one.to_vec()), (0xFF, other.to_vec())],
        ];
        for frames in cases {
            for size in [1, 2, 7, 100] {
                assert_eq!(told(frames, size), expected, "{frames:?} {size}");
                ran += 1;
            }
        }
    }
    assert_eq!(ran, 2 * 6 * 4);
    // What is malformed is for the crate to refuse.
    for payload in [Vec::new(), vec![200, 1], vec![0; 3]] {
        assert!(!told(&[(END_HEADERS | PADDED | PRIORITY, payload)], 1));
    }
}

#[test]
fn no_more_of_a_block_is_kept_than_a_path_may_have() {
    let mut block = HeaderBlock::default();
    block.begin(0, false);
    assert!(!block.add(&literal(b"\x04", false, b"/#"), false));
    for _ in 0..100 {
        assert!(!block.add(&[0xC0; 1000], false));
        assert!(block.parts.len() <= KEPT);
    }
    assert_eq!(block.parts.len(), KEPT);
    assert!(!block.add(&[], true));
    block.begin(END_HEADERS, true);
    assert!(block.add(b"\xC0", true));
    assert_eq!(block.parts.capacity(), 0);
}
