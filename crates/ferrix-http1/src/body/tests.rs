use http::HeaderMap;

use super::*;

/// What a body was, and the bytes that were left after it.
#[derive(Debug, PartialEq)]
struct Decoded {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    rest: Vec<u8>,
}

/// Decodes all pieces that are there. `None`: more has to be read.
fn pump(
    decoder: &mut Decoder,
    read: &mut BytesMut,
    data: &mut Vec<u8>,
) -> Result<Option<Option<HeaderMap>>, BodyError> {
    loop {
        match decoder.decode(read)? {
            Some(Piece::Data(piece)) => {
                assert!(!piece.is_empty());
                data.extend_from_slice(&piece);
            }
            Some(Piece::End(trailers)) => return Ok(Some(trailers)),
            None => return Ok(None),
        }
    }
}

/// Decodes bytes that arrive in these parts, and then the end of the connection.
fn decode<'p>(
    framing: Framing,
    parts: impl IntoIterator<Item = &'p [u8]>,
) -> Result<Decoded, BodyError> {
    let mut decoder = Decoder::new(framing);
    let (mut read, mut data) = (BytesMut::new(), Vec::new());
    let mut end = None;
    for part in parts {
        read.extend_from_slice(part);
        if end.is_none() {
            end = pump(&mut decoder, &mut read, &mut data)?;
        }
    }
    if end.is_none() {
        decoder.end()?;
        assert_eq!(decoder.decode(&mut read), Ok(Some(Piece::End(None))));
    }
    assert!(decoder.is_done());
    Ok(Decoded {
        data,
        trailers: end.flatten(),
        rest: read.to_vec(),
    })
}

/// Decodes bytes cut in two at every place, and in pieces of every size; all ways must agree.
fn decode_anyhow(framing: Framing, bytes: &[u8]) -> Result<Decoded, BodyError> {
    let whole = decode(framing, [bytes]);
    for cut in 0..=bytes.len() {
        let (before, after) = bytes.split_at(cut);
        let shown = bytes.escape_ascii();
        assert_eq!(
            decode(framing, [before, after]),
            whole,
            "{shown} cut at {cut}"
        );
    }
    for size in 1..=bytes.len() {
        let shown = bytes.escape_ascii();
        assert_eq!(
            decode(framing, bytes.chunks(size)),
            whole,
            "{shown} by {size}"
        );
    }
    whole
}

/// What comes after a body in these tests.
const NEXT: &[u8] = b"\r\nGET / HTTP/1.1\r\n\r\n";

fn body(data: &[u8], rest: &[u8]) -> Result<Decoded, BodyError> {
    Ok(Decoded {
        data: data.to_vec(),
        trailers: None,
        rest: rest.to_vec(),
    })
}

#[test]
fn no_body() {
    let mut decoder = Decoder::new(Framing::Empty);
    assert!(decoder.is_done());
    assert_eq!(decoder.remaining(), Some(0));
    assert_eq!(decoder.end(), Ok(()));
    assert_eq!(decode_anyhow(Framing::Empty, NEXT), body(b"", NEXT));
    let end = decoder.decode(&mut BytesMut::new());
    assert_eq!(end, Ok(Some(Piece::End(None))));
}

#[test]
fn a_body_with_a_length() {
    let bytes = [b"0\r\n\r\n\xff\0", NEXT].concat();
    for length in 1..=bytes.len() {
        let (data, rest) = bytes.split_at(length);
        let decoded = decode_anyhow(Framing::Length(length as u64), &bytes);
        assert_eq!(decoded, body(data, rest));
    }
    let long = Framing::Length(bytes.len() as u64 + 1);
    assert_eq!(decode_anyhow(long, &bytes), Err(BodyError::Truncated));
    let longest = Framing::Length(u64::MAX);
    assert_eq!(decode_anyhow(longest, &bytes), Err(BodyError::Truncated));
}

#[test]
fn a_body_with_a_length_is_done_with_its_last_byte() {
    let mut decoder = Decoder::new(Framing::Length(5));
    let mut read = BytesMut::from("abc");
    assert_eq!(decoder.remaining(), Some(5));
    assert_eq!(
        decoder.decode(&mut read),
        Ok(Some(Piece::Data("abc".into())))
    );
    assert_eq!(decoder.remaining(), Some(2));
    assert!(!decoder.is_done());
    assert_eq!(decoder.decode(&mut read), Ok(None));
    assert_eq!(decoder.end(), Err(BodyError::Truncated));
    read.extend_from_slice(b"defg");
    assert_eq!(
        decoder.decode(&mut read),
        Ok(Some(Piece::Data("de".into())))
    );
    assert!(decoder.is_done());
    assert_eq!(decoder.remaining(), Some(0));
    assert_eq!(read, "fg");
}

#[test]
fn a_body_of_length_0_is_done_before_anything_comes() {
    let mut decoder = Decoder::new(Framing::Length(0));
    assert!(decoder.is_done());
    assert_eq!(decoder.end(), Ok(()));
    assert_eq!(decode_anyhow(Framing::Length(0), NEXT), body(b"", NEXT));
}

#[test]
fn a_body_until_the_connection_ends() {
    let mut decoder = Decoder::new(Framing::UntilClose);
    assert_eq!(decoder.remaining(), None);
    assert!(!decoder.is_done());
    assert_eq!(decoder.decode(&mut BytesMut::new()), Ok(None));
    assert_eq!(decode_anyhow(Framing::UntilClose, b""), body(b"", b""));
    assert_eq!(decode_anyhow(Framing::UntilClose, NEXT), body(NEXT, b""));
}

const CHUNKED: &[(&[u8], &[u8])] = &[
    (b"0\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"1\r\na\r\n2\r\nbc\r\n00\r\n\r\n", b"abc"),
    (
        b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
        b"01234567890123456789",
    ),
    (
        b"0000000000000003\r\n\r\n0\r\n0000000000000000\r\n\r\n",
        b"\r\n0",
    ),
    (
        b"1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
        b"abcdefghijklmnopqrstuvwxyz",
    ),
    // Extensions say nothing to us (RFC 9112, section 7.1.1).
    (b"3;a\r\nabc\r\n0;b=c\r\n\r\n", b"abc"),
    (b"3;\r\nabc\r\n0;;\r\n\r\n", b"abc"),
    (b"3 ; a=\"b\tc\xff;\" \r\nabc\r\n0\t;\r\n\r\n", b"abc"),
    // Spaces behind a size, which some servers send.
    (b"3  \r\nabc\r\n0\t\r\n\r\n", b"abc"),
];

#[test]
fn a_body_in_chunks() {
    for (bytes, data) in CHUNKED {
        for rest in [&b""[..], b"\0", b"0", NEXT] {
            let bytes = [*bytes, rest].concat();
            assert_eq!(decode_anyhow(Framing::Chunked, &bytes), body(data, rest));
        }
    }
    assert_eq!(CHUNKED.len(), 10);
}

#[test]
fn a_body_in_chunks_may_not_be_cut_short() {
    let mut cuts = 0;
    for (bytes, _) in CHUNKED {
        for cut in 0..bytes.len() {
            let decoded = decode(Framing::Chunked, [&bytes[..cut]]);
            assert_eq!(
                decoded,
                Err(BodyError::Truncated),
                "{}",
                bytes[..cut].escape_ascii()
            );
            cuts += 1;
        }
    }
    let lengths = CHUNKED.iter().map(|(bytes, _)| bytes.len());
    assert_eq!(cuts, lengths.sum::<usize>());
}

#[test]
fn the_size_of_a_chunk_is_not_known_as_remaining() {
    let mut decoder = Decoder::new(Framing::Chunked);
    let mut read = BytesMut::from("5\r\nab");
    assert_eq!(decoder.remaining(), None);
    assert_eq!(
        decoder.decode(&mut read),
        Ok(Some(Piece::Data("ab".into())))
    );
    assert_eq!(decoder.remaining(), None);
    assert!(!decoder.is_done());
}

#[test]
fn bad_chunks_are_refused() {
    use BodyError::{ChunkEnd, ChunkSize, Truncated};
    let cases: &[(&[u8], BodyError)] = &[
        (b"\r\n", ChunkSize),
        (b"\n", ChunkSize),
        (b";a\r\n", ChunkSize),
        (b" 3\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"\t3\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"+3\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"-3\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"0x3\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"g\r\n", ChunkSize),
        (b"3g\r\n", ChunkSize),
        (b"3 a\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"3 3\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"3,a\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"3_\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"\xef\xbc\x93\r\nabc\r\n0\r\n\r\n", ChunkSize),
        // 17 digits, however small the number is.
        (b"00000000000000003\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"10000000000000003\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n", Truncated),
        // LF and CR alone (CVE-2024-1135 and others).
        (b"3\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"3;a\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"3\r\nabc\r\n0\n\r\n", ChunkSize),
        (b"3\r\rabc\r\n0\r\n\r\n", ChunkSize),
        (b"3\r\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"3;a\rb\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"3;\0\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"3;\x7f\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"3\x0b\r\nabc\r\n0\r\n\r\n", ChunkSize),
        (b"3\x0c;\r\nabc\r\n0\r\n\r\n", ChunkSize),
        // Chunks that are longer or shorter than they say.
        (b"3\r\nabcd\r\n0\r\n\r\n", ChunkEnd),
        (b"3\r\nab\r\n0\r\n\r\n", ChunkEnd),
        (b"3\r\nabcd\n0\r\n\r\n", ChunkEnd),
        (b"3\r\nabc0\r\n\r\n", ChunkEnd),
        (b"3\r\nabc\n0\r\n\r\n", ChunkEnd),
        (b"3\r\nabc\r0\r\n\r\n", ChunkEnd),
        (b"3\r\nabc\r\r\n0\r\n\r\n", ChunkEnd),
        (b"3\r\nabc\r\n\r\n0\r\n\r\n", ChunkSize),
    ];
    for (bytes, expected) in cases {
        let decoded = decode_anyhow(Framing::Chunked, bytes);
        assert_eq!(decoded, Err(*expected), "{}", bytes.escape_ascii());
    }
    assert_eq!(cases.len(), 37);
}

/// Text behind a chunk's size, and whether it is what the grammar allows.
const EXTENSIONS: &[(&[u8], bool)] = &[
    (b"", true),
    (b";a", true),
    (b";a=b", true),
    (b" ; a = b", true),
    (b"\t;\ta\t=\tb", true),
    (b";a;b=c;d", true),
    (b";a=\"b c;,\xff\"", true),
    (b";a=\"\\\"b\"; c", true),
    (b";a=\"\"", true),
    // Bare semicolons.
    (b";", false),
    (b";;", false),
    (b";a;", false),
    (b"; ", false),
    // Spaces that separate nothing.
    (b" ", false),
    (b"\t", false),
    (b";a ", false),
    (b";a=b ", false),
    (b";a=\"b\" ", false),
    // No tokens.
    (b";a b", false),
    (b";a=b c", false),
    (b";bad[=x", false),
    (b";a=[", false),
    (b";a=", false),
    (b";=b", false),
    (b";a=b=c", false),
    (b";a=\"b", false),
    (b";a=\"b\"c", false),
    (b";a=\"b\\\"", false),
    (b";\"a\"", false),
    (b";\xc3\xa9", false),
];

#[test]
fn extensions_of_clients_are_read_to_the_letter() {
    for (text, fits) in EXTENSIONS {
        for size in ["3", "0"] {
            let line = [size.as_bytes(), *text, b"\r\n"].concat();
            for (mut decoder, fits) in [
                (Decoder::strict(Framing::Chunked), *fits),
                (Decoder::new(Framing::Chunked), true),
            ] {
                let mut read = BytesMut::from(&line[..]);
                let decoded = decoder.decode(&mut read);
                let shown = line.escape_ascii();
                assert_eq!(decoded.is_ok(), fits, "{shown}: {decoded:?}");
            }
        }
    }
    assert_eq!(EXTENSIONS.len(), 30);
}

#[test]
fn a_chunk_line_has_at_most_4096_bytes() {
    for (length, fits) in [(4095, true), (4096, true), (4097, false), (9000, false)] {
        let line = format!("1;{}\r\n", "a".repeat(length - 4));
        let bytes = [line.as_bytes(), b"x\r\n0\r\n\r\n"].concat();
        let expected = match fits {
            true => body(b"x", b""),
            false => Err(BodyError::ChunkSize),
        };
        for size in [1, 7, 4095, 4096, 4097, bytes.len()] {
            let decoded = decode(Framing::Chunked, bytes.chunks(size));
            assert_eq!(decoded, expected, "{length} by {size}");
        }
    }
}

#[test]
fn an_endless_chunk_line_is_refused_before_its_end() {
    let mut decoder = Decoder::new(Framing::Chunked);
    let mut read = BytesMut::from(&b"0".repeat(4095)[..]);
    assert_eq!(decoder.decode(&mut read), Ok(None));
    read.extend_from_slice(b"0");
    assert_eq!(decoder.decode(&mut read), Err(BodyError::ChunkSize));
}

#[test]
fn trailers() {
    let bytes = b"2\r\nab\r\n0\r\nA:  1 \r\nb:\r\na: \xff2\r\n\r\nrest";
    let decoded = decode_anyhow(Framing::Chunked, bytes).unwrap();
    assert_eq!(
        (&decoded.data[..], &decoded.rest[..]),
        (&b"ab"[..], &b"rest"[..])
    );
    let trailers = decoded.trailers.unwrap();
    assert_eq!(trailers.len(), 3);
    let values: Vec<_> = trailers.get_all("a").iter().collect();
    assert_eq!(values, [&b"1"[..], b"\xff2"]);
    assert_eq!(trailers["b"], "");
    for cut in 0..bytes.len() - 4 {
        let cut = decode(Framing::Chunked, [&bytes[..cut]]);
        assert_eq!(cut, Err(BodyError::Truncated));
    }
}

#[test]
fn bad_trailers_are_refused() {
    let cases: &[&[u8]] = &[
        b"A\r\n\r\n",
        b"A : 1\r\n\r\n",
        b" A: 1\r\n\r\n",
        b": 1\r\n\r\n",
        b"A: 1\r\n 2\r\n\r\n",
        b"A: \0\r\n\r\n",
        b"A: 1\rB: 2\r\n\r\n",
        b"\r\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        // LF alone.
        b"\n",
        b"\nGET / HTTP/1.1\r\n\r\n",
        b"A: 1\n\r\n",
        b"A: 1\r\n\n",
        b"A: 1\r\nB:\n\r\n",
        b"A: 1\n\n",
    ];
    for trailers in cases {
        let bytes = [b"0\r\n", *trailers].concat();
        let decoded = decode_anyhow(Framing::Chunked, &bytes);
        assert_eq!(
            decoded,
            Err(BodyError::Trailers),
            "{}",
            trailers.escape_ascii()
        );
    }
    assert_eq!(cases.len(), 15);
}

#[test]
fn trailers_have_at_most_16_kib_and_256_fields() {
    let section = |length: usize| format!("A: {}\r\n\r\n", "a".repeat(length - 7));
    let fields = |count: usize| "A: 1\r\n".repeat(count) + "\r\n";
    let cases = [
        (section(16 * 1024 - 1), true),
        (section(16 * 1024), true),
        (section(16 * 1024 + 1), false),
        (section(20_000), false),
        (fields(256), true),
        (fields(257), false),
    ];
    for (section, fits) in &cases {
        let bytes = ["0\r\n", section].concat();
        for size in [1000, 16 * 1024, 16 * 1024 + 3, bytes.len()] {
            let decoded = decode(Framing::Chunked, bytes.as_bytes().chunks(size));
            let decoded = decoded.map(|decoded| decoded.rest);
            let expected = match fits {
                true => Ok(Vec::new()),
                false => Err(BodyError::Trailers),
            };
            assert_eq!(decoded, expected, "{} by {size}", section.len());
        }
    }
    assert_eq!(cases.len(), 6);
}

#[test]
fn endless_trailers_are_refused_before_their_end() {
    let mut decoder = Decoder::new(Framing::Chunked);
    let mut read = BytesMut::from(&[b"0\r\nA: ", &b"1".repeat(16 * 1024 - 4)[..]].concat()[..]);
    assert_eq!(decoder.decode(&mut read), Ok(None));
    read.extend_from_slice(b"1");
    assert_eq!(decoder.decode(&mut read), Err(BodyError::Trailers));
}
