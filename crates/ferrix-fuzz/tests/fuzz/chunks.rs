//! Bodies, as the codec takes them apart.

use bytes::BytesMut;
use ferrix_fuzz::Corpus;
use ferrix_http1::{BodyError, Decoder, Framing, Piece};

const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "0\r\n\r\n",
    "0\r\n",
    "5\r\nhello\r\n",
    "5;a=b\r\n",
    "5 \r\n",
    "+5\r\n",
    "0x5\r\n",
    "ffffffffffffffff\r\n",
    "10000000000000000\r\n",
    "A: 1\r\n",
    "A : 1\r\n",
    " folded\r\n",
    ";",
    "\0",
    "-1\r\n",
    "00000000000000000005\r\n",
];

#[test]
fn chunks() {
    fuzz!(Corpus::read("chunks", WORDS), property);
}

fn property(bytes: &[u8]) {
    let framings = [
        Framing::Chunked,
        Framing::Length(7),
        Framing::UntilClose,
        Framing::Empty,
    ];
    for framing in framings {
        let whole = decode(framing, [bytes]);
        let halves = bytes.split_at(bytes.len() / 2);
        assert_eq!(decode(framing, [halves.0, halves.1]), whole, "{framing:?}");
        // The empty piece is all that there is of an empty input.
        let single = decode(framing, bytes.chunks(1).chain([&b""[..]]));
        assert_eq!(single, whole, "{framing:?}");
        if let Ok((data, _, left)) = whole {
            assert!(data.len() + left.len() <= bytes.len());
            assert!(bytes.ends_with(&left));
        }
    }
}

/// All data of a body, its end if it came, and what is left of the bytes.
fn decode<'b>(
    framing: Framing,
    parts: impl IntoIterator<Item = &'b [u8]>,
) -> Result<(Vec<u8>, Option<Piece>, BytesMut), BodyError> {
    let mut decoder = Decoder::new(framing);
    let (mut read, mut data, mut end) = (BytesMut::new(), Vec::new(), None);
    for part in parts {
        read.extend_from_slice(part);
        while end.is_none() {
            match decoder.decode(&mut read)? {
                Some(Piece::Data(piece)) => {
                    assert!(!piece.is_empty());
                    data.extend_from_slice(&piece);
                }
                Some(piece) => end = Some(piece),
                None => break,
            }
        }
    }
    Ok((data, end, read))
}
