//! Header sections of responses with what no field may have, and with it taken out.
//!
//! Backends are not to be reformed by their clients: a control character in a value, or one field
//! with an impossible name, is no reason to lose the whole response. This is only tried on what
//! the parser refuses, so that others pay nothing for it.

use http::HeaderName;

/// What a response had that no field may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A control character in the value of this field, which is kept: a recipient may do so
    /// within a value (RFC 9110, section 5.5). Never CR, LF or NUL.
    ControlCharacter(Box<str>),
    /// A name that is no token (RFC 9110, section 5.6.2), escaped, or its beginning. The field was
    /// dropped.
    Name(Box<str>),
}

/// Names are told up to this many bytes.
const LONGEST_NAME: usize = 64;

/// A header section that can be parsed.
pub(crate) struct Mended {
    /// The lines that are left, as they were sent.
    pub(crate) text: Vec<u8>,
    /// The same, with a question mark in the place of each control character.
    pub(crate) shown: Vec<u8>,
    /// How long the header section was.
    pub(crate) length: usize,
    /// What was found.
    pub(crate) oddities: Vec<Oddity>,
}

/// Nothing can be made of a header section.
pub(crate) struct Hopeless;

impl Mended {
    /// Takes what begins `bytes`. `None`: it has not come to its end.
    pub(crate) fn new(bytes: &[u8]) -> Result<Option<Self>, Hopeless> {
        let mut mended = Self {
            text: Vec::with_capacity(bytes.len()),
            shown: Vec::with_capacity(bytes.len()),
            length: 0,
            oddities: Vec::new(),
        };
        let mut started = false;
        // The field that a folded line goes on with; one that was dropped has no name.
        let mut field = None;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(content) = line.strip_suffix(b"\n") else {
                return Ok(None);
            };
            let content = content.strip_suffix(b"\r").unwrap_or(content);
            mended.length += line.len();
            if content.is_empty() {
                mended.keep(line, line.to_vec());
                if started {
                    return match mended.oddities.is_empty() {
                        true => Err(Hopeless),
                        false => Ok(Some(mended)),
                    };
                }
            } else if !started {
                started = true;
                mended.keep(line, line.to_vec());
            } else {
                if !content.starts_with(b" ") && !content.starts_with(b"\t") {
                    field = Some(mended.judge(content)?);
                }
                if let Some(name) = field.ok_or(Hopeless)? {
                    mended.mask(name, line, content)?;
                }
            }
        }
        Ok(None)
    }

    /// The name of the field that a line begins. `None`: it is dropped.
    fn judge<'a>(&mut self, line: &'a [u8]) -> Result<Option<&'a [u8]>, Hopeless> {
        let colon = line.iter().position(|byte| *byte == b':');
        let name = line[..colon.ok_or(Hopeless)?].trim_ascii_end();
        if HeaderName::from_bytes(name).is_ok() {
            return Ok(Some(name));
        }
        if holds_end(line) || looks_like_framing(name) {
            return Err(Hopeless);
        }
        self.oddities.push(Oddity::Name(escaped(name)));
        Ok(None)
    }

    /// Keeps a line, and shows it without its control characters.
    fn mask(&mut self, name: &[u8], line: &[u8], content: &[u8]) -> Result<(), Hopeless> {
        if holds_end(content) {
            return Err(Hopeless);
        }
        let odd = |byte: &u8| byte.is_ascii_control() && !b"\t\r\n".contains(byte);
        if line.iter().any(odd) {
            self.oddities.push(Oddity::ControlCharacter(escaped(name)));
        }
        let shown = |byte: &u8| if odd(byte) { b'?' } else { *byte };
        self.keep(line, line.iter().map(shown).collect());
        Ok(())
    }

    fn keep(&mut self, line: &[u8], shown: Vec<u8>) {
        self.text.extend_from_slice(line);
        self.shown.extend_from_slice(&shown);
    }
}

/// Whether a line holds what ends a line, or a text, for somebody.
fn holds_end(line: &[u8]) -> bool {
    line.contains(&b'\r') || line.contains(&0)
}

/// Whether somebody could read a name as that of a field that frames.
fn looks_like_framing(name: &[u8]) -> bool {
    let letters = name.iter().filter(|byte| byte.is_ascii_alphabetic());
    let letters: Vec<_> = letters.map(u8::to_ascii_lowercase).collect();
    letters == b"transferencoding" || letters == b"contentlength"
}

fn escaped(name: &[u8]) -> Box<str> {
    let name = &name[..name.len().min(LONGEST_NAME)];
    name.escape_ascii().to_string().into()
}
