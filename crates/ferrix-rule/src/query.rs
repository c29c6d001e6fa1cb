//! The query of a request, read as `application/x-www-form-urlencoded`.
//!
//! The rules are those of Go's `url.ParseQuery` after Traefik has made every `;` an `&`: `+` is a
//! space, `%XX` a byte, and a pair with a malformed escape, in its key or its value, is not there.
//! Nothing is collected: the query is walked for each matcher, and compared while it is decoded.

use crate::regexp::Regexp;

/// How long a decoded value may be to be matched by a regular expression without allocating.
const STACK: usize = 512;

/// Whether some pair has this key and this value.
pub(crate) fn has(query: &str, key: &[u8], value: &[u8]) -> bool {
    pairs(query).any(|(k, v)| decodes_to(k, key) && decodes_to(v, value))
}

/// Whether some pair has this key and a value that the expression matches.
pub(crate) fn has_match(query: &str, key: &[u8], regexp: &Regexp) -> bool {
    pairs(query).any(|(k, v)| decodes_to(k, key) && decoded_match(v, regexp))
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split(['&', ';'])
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn decodes_to(encoded: &str, plain: &[u8]) -> bool {
    let mut decoded = Decode(encoded.as_bytes());
    plain.iter().all(|byte| decoded.next() == Some(Ok(*byte))) && decoded.next().is_none()
}

fn decoded_match(encoded: &str, regexp: &Regexp) -> bool {
    if !encoded.contains(['%', '+']) {
        return regexp.is_match(encoded);
    }
    // Decoding never lengthens, so the buffer is large enough where the encoded value fits.
    let mut stack = [0; STACK];
    let mut heap;
    let buffer: &mut [u8] = if encoded.len() <= STACK {
        &mut stack
    } else {
        heap = vec![0; encoded.len()];
        &mut heap
    };
    let mut length = 0;
    for byte in Decode(encoded.as_bytes()) {
        let Ok(byte) = byte else {
            return false;
        };
        buffer[length] = byte;
        length += 1;
    }
    regexp.is_match_bytes(&buffer[..length])
}

/// The bytes that an encoded key or value stands for.
struct Decode<'q>(&'q [u8]);

#[derive(Debug, PartialEq)]
struct Malformed;

impl Iterator for Decode<'_> {
    type Item = Result<u8, Malformed>;

    fn next(&mut self) -> Option<Result<u8, Malformed>> {
        let (byte, rest) = match self.0 {
            [] => return None,
            [b'%', high, low, rest @ ..] => (hex(*high, *low), rest),
            [b'%', rest @ ..] => (None, rest),
            [b'+', rest @ ..] => (Some(b' '), rest),
            [byte, rest @ ..] => (Some(*byte), rest),
        };
        self.0 = rest;
        Some(byte.ok_or(Malformed))
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}
