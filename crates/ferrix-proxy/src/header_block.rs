//! Header blocks of a client's HTTP/2 connection (RFC 7541), looked through for what the `h2` crate takes out
//! of a request without a word: the fragment of its `:path`.
//!
//! No client sends one (RFC 9110, section 4.2.5). Over HTTP/1 it is refused, as servers disagree on what is
//! asked for: `/public#/../admin`.

use std::ops::Range;

/// Flags of `HEADERS`, the first of them of `CONTINUATION` as well (RFC 9113, sections 6.2 and 6.10).
pub(crate) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// Of a block in several parts no more is kept than this: longer paths are none for the `http` crate.
const KEPT: usize = 64 * 1024;

/// The block that comes.
#[derive(Debug, Default)]
pub(crate) struct HeaderBlock {
    /// Of the frame that carries it.
    flags: u8,
    /// What has come of it, where that was not all at once.
    parts: Vec<u8>,
    /// Where the payload of the frame begins in these.
    start: usize,
}

impl HeaderBlock {
    /// A frame with these flags begins, the first of the block unless it `continues` it.
    pub(crate) fn begin(&mut self, flags: u8, continues: bool) {
        self.flags = match continues {
            true => flags & END_HEADERS,
            false => flags,
        };
        if !continues {
            self.parts.clear();
        }
        self.start = self.parts.len();
    }

    /// A part of the payload of the frame comes, the last one if it `ends` it. Returns whether that ended a
    /// block with a fragment.
    pub(crate) fn add(&mut self, part: &[u8], ends: bool) -> bool {
        // As nearly all come.
        if ends && self.parts.is_empty() {
            let block = &part[contents(self.flags, part)];
            if self.flags & END_HEADERS != 0 {
                return holds_fragment(block);
            }
            self.parts.extend_from_slice(block);
            return false;
        }
        self.put_together(part, ends)
    }

    #[cold]
    fn put_together(&mut self, part: &[u8], ends: bool) -> bool {
        let room = KEPT.saturating_sub(self.parts.len());
        self.parts.extend_from_slice(&part[..part.len().min(room)]);
        if !ends {
            return false;
        }
        let contents = contents(self.flags, &self.parts[self.start..]);
        self.parts.truncate(self.start + contents.end);
        self.parts.drain(self.start..self.start + contents.start);
        let whole = self.flags & END_HEADERS != 0;
        whole && holds_fragment(&std::mem::take(&mut self.parts))
    }
}

/// Where in the payload of a frame its part of the block is. Nowhere, if it is malformed.
fn contents(flags: u8, payload: &[u8]) -> Range<usize> {
    let (mut start, mut end) = (0, payload.len());
    if flags & PADDED != 0 {
        let padding = payload.first().copied().unwrap_or_default();
        (start, end) = (1, end.saturating_sub(padding.into()));
    }
    if flags & PRIORITY != 0 {
        start += 5;
    }
    match start <= end {
        true => start..end,
        false => 0..0,
    }
}

/// Whether a request's block has a path with a fragment. Fields like `:path` come before all others (RFC 9113,
/// section 8.3). What refers to an earlier block is not looked up.
fn holds_fragment(block: &[u8]) -> bool {
    let mut rest = block;
    while let Some((field, after)) = field(rest) {
        match field {
            Field::Path(path) if path.holds_fragment() => return true,
            Field::Regular => return false,
            Field::Path(_) | Field::Other => rest = after,
        }
    }
    false
}

/// What is known of a field by its representation alone.
enum Field<'b> {
    /// A `:path` that is written out.
    Path(Text<'b>),
    /// One that no field like `:path` follows.
    Regular,
    /// One of which that is not known.
    Other,
}

/// Entries of the static table (RFC 7541, appendix A): those of `:path`, and those with other names than
/// `:path` and its like. Above them is what earlier blocks have written.
const PATHS: Range<usize> = 4..6;
const REGULAR: Range<usize> = 15..62;

/// The first field of a block (RFC 7541, section 6), and what follows it. `None`: there is none, or it is
/// malformed.
#[inline]
fn field(block: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (prefix, literal) = match block.first()? {
        0x80.. => (7, false),
        0x40.. => (6, true),
        // The size of the table.
        0x20.. => (5, false),
        _ => (4, true),
    };
    let (index, rest) = integer(block, prefix)?;
    if REGULAR.contains(&index) && (literal || prefix == 7) {
        return Some((Field::Regular, rest));
    }
    if !literal {
        return Some((Field::Other, rest));
    }
    let (is_path, rest) = match index {
        0 => {
            let (name, rest) = text(rest)?;
            (name.is_path(), rest)
        }
        index => (PATHS.contains(&index), rest),
    };
    let (value, rest) = text(rest)?;
    let field = match is_path {
        true => Field::Path(value),
        false => Field::Other,
    };
    Some((field, rest))
}

/// A number that begins with some bits of a byte (RFC 7541, section 5.1), and what follows it.
#[inline]
fn integer(block: &[u8], prefix: u32) -> Option<(usize, &[u8])> {
    let (first, mut rest) = block.split_first()?;
    let most = (1 << prefix) - 1;
    let mut number = usize::from(*first) & most;
    if number < most {
        return Some((number, rest));
    }
    // More bytes than these no number here has.
    for place in 0..4 {
        let (byte, after) = rest.split_first()?;
        rest = after;
        number += usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((number, rest));
        }
    }
    None
}

/// A name or a value as it is written (RFC 7541, section 5.2).
struct Text<'b> {
    /// Whether it is in Huffman's code.
    coded: bool,
    bytes: &'b [u8],
}

#[inline]
fn text(block: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let coded = block.first()? & 0x80 != 0;
    let (length, rest) = integer(block, 7)?;
    let (bytes, rest) = rest.split_at_checked(length)?;
    Some((Text { coded, bytes }, rest))
}

impl Text<'_> {
    fn is_path(&self) -> bool {
        self.bytes
            == match self.coded {
                true => &b"\xB9\x58\xD3\x3F"[..],
                false => b":path",
            }
    }

    #[inline]
    fn holds_fragment(&self) -> bool {
        match self.coded {
            false => self.bytes.contains(&b'#'),
            // Its word begins with nine ones, as few bytes follow one another.
            true => {
                let ones = |pair: &[u8]| pair[0].trailing_ones() + pair[1].leading_ones();
                self.bytes.windows(2).any(|pair| ones(pair) >= 9)
                    && has_word_of_fragment(self.bytes)
            }
        }
    }
}

/// How many words of each length in bits Huffman's code has (RFC 7541, appendix B). It is a canonical one:
/// those of a length are consecutive numbers, and follow from those that are shorter.
const WORDS: [u32; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 4,
];

/// The number sign's is the first word of 12 bits.
const LENGTH_OF_FRAGMENT: usize = 12;

#[cold]
fn has_word_of_fragment(bytes: &[u8]) -> bool {
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |place| u32::from(byte >> place & 1)));
    // The word so far, and the first one that is as long.
    let (mut word, mut length, mut first) = (0, 0, 0);
    for bit in bits {
        (word, length) = (word << 1 | bit, length + 1);
        let Some(words) = WORDS.get(length) else {
            return false;
        };
        if word - first >= *words {
            first = (first + words) << 1;
            continue;
        }
        if length == LENGTH_OF_FRAGMENT && word == first {
            return true;
        }
        (word, length, first) = (0, 0, 0);
    }
    false
}

#[cfg(test)]
mod tests;
