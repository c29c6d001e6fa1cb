//! The fields of a header section, in the order and the spelling in which they came.

use std::{fmt, iter, mem};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Header fields in one piece of memory.
///
/// A request has about ten fields: looking through them is cheaper than hashing each. Names are
/// compared without regard to case (RFC 9110, section 5.1).
#[derive(Clone, Default)]
pub struct Fields {
    text: Vec<u8>,
    lines: Vec<Line>,
    /// One bit for each name that ever had a line, several names to a bit. Most questions are about
    /// fields that are not there, and are answered by a bit that is not set.
    names: u64,
}

#[derive(Clone, Copy)]
struct Line {
    name: Span,
    value: Span,
    /// Of the name.
    key: Key,
}

/// What of a name is compared first: its length, its first and its last letter in one number below 64, without
/// regard to case.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key(u8);

impl Key {
    /// Inlined, so that the key of a name that is known when the program is compiled is known as well.
    #[inline]
    fn of(name: &[u8]) -> Self {
        let letter = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(byte | 0x20));
        let sum = name.len() * 7 + letter(name.first()) + letter(name.last()) * 5;
        Self((sum % 64) as u8)
    }

    fn bit(self) -> u64 {
        1 << self.0
    }
}

impl Line {
    /// Whether the line stands in the text as it is written.
    fn is_whole(self, text: &[u8]) -> bool {
        self.value.start() == self.name.end() + 2
            && text[self.name.end()..].starts_with(b": ")
            && text[self.value.end()..].starts_with(b"\r\n")
    }

    fn write(self, text: &[u8], out: &mut BytesMut) {
        out.extend_from_slice(self.name.of(text));
        out.extend_from_slice(b": ");
        out.extend_from_slice(self.value.of(text));
        out.extend_from_slice(b"\r\n");
    }
}

/// A part of the text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let place = |at| u32::try_from(at).expect("a header section is shorter than 4 GiB");
        Self {
            start: place(start),
            end: place(end),
        }
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    pub(crate) fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }
}

impl Fields {
    /// None, in a text that may hold more than fields.
    pub(crate) fn with_text(text: &[u8], fields: usize) -> Self {
        let mut owned = Vec::with_capacity(text.len() + ROOM);
        owned.extend_from_slice(text);
        Self {
            text: owned,
            lines: Vec::with_capacity(fields + MORE_FIELDS),
            names: 0,
        }
    }

    /// Makes room for so many fields with names and values of so much text, and for what a proxy adds,
    /// and no more: header sections may be kept by the hundred.
    pub fn reserve(&mut self, text: usize, fields: usize) {
        self.text.reserve_exact(text + fields * LINE + ROOM);
        self.lines.reserve_exact(fields + MORE_FIELDS);
    }

    /// Makes a part of the text a field.
    pub(crate) fn push_line(&mut self, name: Span, value: Span) {
        let key = Key::of(name.of(&self.text));
        self.names |= key.bit();
        self.lines.push(Line { name, value, key });
    }

    /// A part of the text.
    pub(crate) fn text(&self, span: Span) -> &[u8] {
        span.of(&self.text)
    }

    /// Adds to the text.
    pub(crate) fn add_text(&mut self, text: &[u8]) -> Span {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        Span::new(start, self.text.len())
    }

    /// Leaves only the text of fields, and this before it.
    pub(crate) fn shrink_behind(&mut self, before: &[u8]) -> Span {
        let lengths = self.iter().map(|(name, value)| name.len() + value.len());
        let length = before.len() + lengths.sum::<usize>();
        let mut kept = Self::default();
        kept.reserve(length, self.len());
        let before = kept.add_text(before);
        for (name, value) in self.iter() {
            kept.add_line(name, value);
        }
        *self = kept;
        before
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// All fields: name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines
            .iter()
            .map(|line| (line.name.of(&self.text), line.value.of(&self.text)))
    }

    /// The values of a field, one for each line that has it.
    #[inline]
    pub fn get_all<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let mut from = self.may_have(name).then_some(0);
        iter::from_fn(move || {
            let (value, next) = self.next(name, Key::of(name.as_bytes()), from?)?;
            from = Some(next);
            Some(value)
        })
    }

    /// The value of the next line of this name, and where to go on behind it. Never inlined: a request asks
    /// for a dozen names, and code that is there once stays in the processor's caches.
    #[inline(never)]
    fn next(&self, name: &str, key: Key, from: usize) -> Option<(&[u8], usize)> {
        let mut lines = self.lines.iter().enumerate().skip(from);
        let (place, line) = lines.find(|(_, line)| {
            line.key == key && (line.name.of(&self.text)).eq_ignore_ascii_case(name.as_bytes())
        })?;
        Some((line.value.of(&self.text), place + 1))
    }

    /// Whether a field of this name may be there.
    #[inline]
    fn may_have(&self, name: &str) -> bool {
        self.names & Key::of(name.as_bytes()).bit() != 0
    }

    /// The first value of a field.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// Whether a field is there.
    #[inline]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether a line of this name had a space or a tab behind its value when it was read.
    pub(crate) fn has_blank_behind(&self, name: &str) -> bool {
        self.lines.iter().any(|line| {
            let behind = self.text.get(line.value.end as usize);
            matches!(behind, Some(b' ' | b'\t'))
                && line
                    .name
                    .of(&self.text)
                    .eq_ignore_ascii_case(name.as_bytes())
        })
    }

    /// Adds a field. Name and value must be valid (RFC 9110, section 5): what is added here is
    /// written as it is.
    pub fn append(&mut self, name: &str, value: &[u8]) {
        debug_assert!(HeaderName::from_bytes(name.as_bytes()).is_ok(), "{name}");
        debug_assert!(HeaderValue::from_bytes(value).is_ok(), "{value:?}");
        self.add_line(name.as_bytes(), value);
    }

    /// The text gets the whole line, so that [`Fields::write`] copies it in one piece with its
    /// neighbours.
    fn add_line(&mut self, name: &[u8], value: &[u8]) {
        self.text.reserve(name.len() + value.len() + LINE);
        let name = self.add_text(name);
        self.text.extend_from_slice(b": ");
        let value = self.add_text(value);
        self.text.extend_from_slice(b"\r\n");
        self.push_line(name, value);
    }

    /// Puts a field in the place of all lines of that name. See [`Fields::append`].
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.append(name, value);
    }

    /// Takes out all lines of a name.
    #[inline]
    pub fn remove(&mut self, name: &str) {
        if self.may_have(name) {
            self.retain(|other, _| !other.eq_ignore_ascii_case(name.as_bytes()));
        }
    }

    /// Keeps the fields that `keep` says yes to, given name and value.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let Self { text, lines, .. } = self;
        lines.retain(|line| keep(line.name.of(text), line.value.of(text)));
    }

    /// Writes the lines and the empty line that ends a header section.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        // Lines that follow one another in the text, as nearly all do.
        let mut run = 0..0;
        for line in &self.lines {
            if !line.is_whole(&self.text) {
                out.extend_from_slice(&self.text[mem::take(&mut run)]);
                line.write(&self.text, out);
                continue;
            }
            if line.name.start() != run.end {
                out.extend_from_slice(&self.text[run]);
                run = line.name.start()..0;
            }
            run.end = line.value.end() + 2;
        }
        out.extend_from_slice(&self.text[run]);
        out.extend_from_slice(b"\r\n");
    }

    /// How many bytes [`Fields::write`] writes at most, but for the empty line and unless lines were
    /// read that lack a blank or a CR.
    pub(crate) fn size(&self) -> usize {
        self.text.len()
    }

    /// The fields as HTTP/2 keeps them, values without copying. Pseudo-fields and connection
    /// fields are the caller's business.
    pub fn into_map(self) -> HeaderMap {
        let Self { text, lines, .. } = self;
        let text = Bytes::from(text);
        let mut map = HeaderMap::with_capacity(lines.len());
        for line in lines {
            let value = text.slice(line.value.start as usize..line.value.end as usize);
            let name = HeaderName::from_bytes(line.name.of(&text));
            // What a codec has read is valid, but for what only one version of HTTP can carry:
            // control characters in values (HTTP/1), quotation marks in names (the `h2` crate).
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(value)) {
                map.append(name, value);
            }
        }
        map
    }
}

/// Bytes that a proxy adds to a header section, about.
const ROOM: usize = 512;

/// Fields that it adds, about.
const MORE_FIELDS: usize = 8;

/// Bytes of a line beside its name and its value.
const LINE: usize = ": \r\n".len();

/// Names may be such as HTTP/1 cannot carry: the `h2` crate takes quotation marks.
impl<'a> Extend<(&'a HeaderName, &'a HeaderValue)> for Fields {
    fn extend<T>(&mut self, fields: T)
    where
        T: IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
    {
        for (name, value) in fields {
            self.add_line(name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        let lines = self.iter().map(|(name, value)| (text(name), text(value)));
        formatter.debug_map().entries(lines).finish()
    }
}

#[cfg(test)]
mod tests;
