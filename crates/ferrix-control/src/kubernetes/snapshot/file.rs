//! The form of the file: whose it is, and lines in compressed blocks, each with a checksum.
//!
//! ```text
//!  ferrix snapshot 1 by 0.1.0 of ferrix/ferrix in pod UID
//!  LENGTH CHECKSUM CHECKSUM-OF-BOTH DEFLATED-LINES
//!  LENGTH CHECKSUM CHECKSUM-OF-BOTH DEFLATED-LINES
//!  …
//! ```
//!
//! Numbers have 32 bits, the least significant first. Whoever is killed while it writes leaves a last
//! block that is too short, and everything before it can be read. That is told from a file that is
//! broken, which is of no use: what would be missing from it may be anything.

use std::io::{self, Read, Write};

use flate2::{Compression, Crc, read::DeflateDecoder, write::DeflateEncoder};

/// The version of this form, and of the lines.
const FORM: u32 = 1;

/// Of a block, before what is deflated.
const HEAD: usize = 12;

/// The most that a block may have, deflated or not. One is written when it has a small part of this, or
/// with one object, which no API server takes of this size.
const MOST: u64 = 64 << 20;

/// Why a snapshot is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// The system says no.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Another process would write it.
    #[error("it is of another pod, installation or version of Ferrix")]
    Foreign,
    /// A checksum is wrong, or what it is of makes no sense.
    #[error("it is broken")]
    Broken,
    /// It does not say when it was true.
    #[error("it has no whole block")]
    Empty,
}

/// The first line of a snapshot that may be used by whoever writes the same.
pub(super) fn first_line(installation: &str, pod: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("ferrix snapshot {FORM} by {version} of {installation} in pod {pod}\n")
}

/// A block of some lines.
pub(super) fn block(lines: &str) -> io::Result<Vec<u8>> {
    let mut deflater = DeflateEncoder::new(vec![0_u8; HEAD], Compression::default());
    deflater.write_all(lines.as_bytes())?;
    let mut block = deflater.finish()?;
    let deflated = &block[HEAD..];
    let length = u32::try_from(deflated.len()).map_err(io::Error::other)?;
    let numbers = [length, checksum(deflated)].map(u32::to_le_bytes).concat();
    block[..8].copy_from_slice(&numbers);
    block[8..HEAD].copy_from_slice(&checksum(&numbers).to_le_bytes());
    Ok(block)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut checksum = Crc::new();
    checksum.update(bytes);
    checksum.sum()
}

/// The blocks of a file, one after the other.
#[derive(Debug)]
pub(super) struct Blocks<R>(R);

impl<R: Read> Blocks<R> {
    /// Those of a file that begins with this line.
    pub(super) fn new(mut file: R, first_line: &str) -> Result<Self, Unusable> {
        let found = some(&mut file, first_line.len() as u64)?;
        match found == first_line.as_bytes() {
            true => Ok(Self(file)),
            false => Err(Unusable::Foreign),
        }
    }

    /// The lines of the next block; `None` where there is none that is whole.
    pub(super) fn next(&mut self) -> Result<Option<String>, Unusable> {
        let head = some(&mut self.0, HEAD as u64)?;
        let Ok(head) = <[u8; HEAD]>::try_from(head) else {
            return Ok(None);
        };
        let [length, of_lines, of_head] = numbers(head);
        if checksum(&head[..8]) != of_head || u64::from(length) > MOST {
            return Err(Unusable::Broken);
        }
        let deflated = some(&mut self.0, length.into())?;
        if deflated.len() < length as usize {
            return Ok(None);
        }
        if checksum(&deflated) != of_lines {
            return Err(Unusable::Broken);
        }
        let mut lines = String::new();
        let mut inflated = DeflateDecoder::new(&*deflated).take(MOST);
        match inflated.read_to_string(&mut lines) {
            Ok(_) => Ok(Some(lines)),
            Err(_) => Err(Unusable::Broken),
        }
    }
}

/// So many bytes, or as many as there are.
fn some(file: &mut impl Read, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn numbers(head: [u8; HEAD]) -> [u32; 3] {
    let at = |place: usize| {
        let bytes = [
            head[place],
            head[place + 1],
            head[place + 2],
            head[place + 3],
        ];
        u32::from_le_bytes(bytes)
    };
    [at(0), at(4), at(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "ferrix snapshot of a test\n";

    /// The lines of three blocks, and the file that holds them.
    fn written() -> (Vec<String>, Vec<u8>) {
        let lines = |block: u32| (0..40).map(move |line| format!("block {block} line {line}\n"));
        let blocks: Vec<String> = (0..3).map(|it| lines(it).collect()).collect();
        let mut file = FIRST.as_bytes().to_vec();
        for lines in &blocks {
            file.extend(block(lines).unwrap());
        }
        (blocks, file)
    }

    fn read(file: &[u8]) -> Result<Vec<String>, Unusable> {
        let mut blocks = Blocks::new(file, FIRST)?;
        let mut all = Vec::new();
        while let Some(lines) = blocks.next()? {
            all.push(lines);
        }
        Ok(all)
    }

    #[test]
    fn what_is_written_is_read() {
        let (blocks, file) = written();
        assert_eq!(read(&file).unwrap(), blocks);
        assert_eq!(read(FIRST.as_bytes()).unwrap(), [""; 0]);
        let empty = [FIRST.as_bytes(), &block("").unwrap()].concat();
        assert_eq!(read(&empty).unwrap(), [""]);
    }

    #[test]
    fn whoever_is_killed_at_any_byte_leaves_the_blocks_before_it() {
        let (blocks, file) = written();
        let mut ends = vec![FIRST.len()];
        for lines in &blocks {
            ends.push(ends[ends.len() - 1] + block(lines).unwrap().len());
        }
        for length in 0..=file.len() {
            let found = read(&file[..length]);
            let whole = ends.iter().filter(|end| **end <= length).count();
            match whole.checked_sub(1) {
                None => assert!(matches!(found, Err(Unusable::Foreign)), "{length}"),
                Some(whole) => assert_eq!(found.unwrap(), blocks[..whole], "{length}"),
            }
        }
        assert_eq!(ends.last(), Some(&file.len()));
    }

    #[test]
    fn any_bit_that_is_not_as_it_was_is_noticed() {
        let (_, file) = written();
        let mut flipped = 0;
        for place in 0..file.len() {
            for bit in 0..8 {
                let mut file = file.clone();
                file[place] ^= 1 << bit;
                match read(&file) {
                    Err(Unusable::Foreign) => assert!(place < FIRST.len()),
                    Err(Unusable::Broken) => assert!(place >= FIRST.len()),
                    other => panic!("bit {bit} of byte {place}: {other:?}"),
                }
                flipped += 1;
            }
        }
        assert_eq!(flipped, file.len() * 8);
    }

    #[test]
    fn what_another_writes_is_foreign() {
        let ours = first_line("ferrix/ferrix", "one");
        let file = [ours.as_bytes(), &block("a\n").unwrap()].concat();
        let mut cases = 0;
        for (theirs, usable) in [
            (ours.clone(), true),
            (first_line("ferrix/ferrix", "two"), false),
            (first_line("ferrix/ferrix-internal", "one"), false),
            (ours.replacen('1', "2", 1), false),
            (ours.replacen("by ", "by 1", 1), false),
        ] {
            let found = Blocks::new(&*file, &theirs);
            assert_eq!(found.is_ok(), usable, "{theirs}");
            cases += 1;
        }
        assert_eq!(cases, 5);
        assert!(matches!(
            Blocks::new(&b""[..], &ours),
            Err(Unusable::Foreign)
        ));
    }

    /// Checksums that fit, over what is no text or does not inflate.
    #[test]
    fn nonsense_with_the_right_checksums_is_broken() {
        let with = |deflated: &[u8]| {
            let length = u32::try_from(deflated.len()).unwrap();
            let numbers = [length, checksum(deflated)].map(u32::to_le_bytes).concat();
            let of_head = checksum(&numbers).to_le_bytes();
            [FIRST.as_bytes(), &numbers, &of_head, deflated].concat()
        };
        let mut deflater = DeflateEncoder::new(Vec::new(), Compression::default());
        deflater.write_all(&[0xff, 0xfe]).unwrap();
        let no_text = deflater.finish().unwrap();
        for deflated in [&b"nonsense"[..], &no_text] {
            assert!(matches!(read(&with(deflated)), Err(Unusable::Broken)));
        }
    }
}
