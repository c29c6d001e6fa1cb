//! The one canonical path of a request.
//!
//! A request is matched, authorised, logged and forwarded by the same bytes, which [`canonical`]
//! makes once from the request target as received, and again from whatever a rewrite produced.
//! Spellings that RFC 3986 (section 6.2.2) holds equal become equal. Spellings that servers
//! disagree about, so that a protected path could pass for a public one, are refused:
//!
//! | spelling | becomes |
//! |---|---|
//! | `/%61dmin`, `/%7e` | `/admin`, `/~`: unreserved characters are decoded |
//! | `/%c3%a4`, `/ä`, `/a\|b` | `/%C3%A4`, `/%C3%A4`, `/a%7Cb`: everything else is encoded, in upper case |
//! | `//a///b` | `/a/b` |
//! | `/a/./b/../c`, `/a/%2e%2e/c` | `/a/c`, `/c` |
//! | `/..`, `/a/../../b` | refused: climbing above the root is never an accident |
//! | `/a%2Fb`, `/a%5Cb` | kept: applications use them (RabbitMQ's `/api/queues/%2F`); [`PathOptions`] can refuse them |
//! | `/%2Fadmin`, `/%5Cadmin` | refused: `/admin` for servers that decode slashes and merge them |
//! | `/a%2F..%2Fb`, `/..%5Cb` | refused: a dot segment for servers that decode slashes |
//! | `/a/..;x/b`, `/;x/b` | refused: a dot segment, or nothing, for servers that strip parameters |
//! | `\`, `#`, space, NUL and controls, `%00`, `%0a`, `%`, `%4` | refused |
//!
//! The query is forwarded as received, but for bytes that no URI may hold, which are encoded.

use std::borrow::Cow;

/// What an operator may choose about paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathOptions {
    /// Take `//` for `/`. On unless an application gives empty segments a meaning.
    pub merge_slashes: bool,
    /// Refuse every `%2F` and `%5C`, for applications that decode them before they authorise.
    pub refuse_encoded_slashes: bool,
}

impl Default for PathOptions {
    fn default() -> Self {
        PathOptions {
            merge_slashes: true,
            refuse_encoded_slashes: false,
        }
    }
}

/// A request target of which there is no second spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalTarget<'a> {
    /// What is forwarded and logged; ASCII. Borrowed where the client sent it so.
    pub path_and_query: Cow<'a, str>,
    /// What rules match: the path with every percent-encoding decoded but those of reserved
    /// characters (`: / ? # [ ] @ ! $ & ' ( ) * + , ; = %`) and of bytes that are not UTF-8.
    pub routing_path: Cow<'a, str>,
}

impl CanonicalTarget<'_> {
    /// The path as forwarded.
    pub fn path(&self) -> &str {
        match self.path_and_query.split_once('?') {
            Some((path, _)) => path,
            None => &self.path_and_query,
        }
    }

    /// The query without its question mark. Empty where there is none.
    pub fn query(&self) -> &str {
        match self.path_and_query.split_once('?') {
            Some((_, query)) => query,
            None => "",
        }
    }

    /// The same, free of the buffer that it was read from.
    pub fn into_owned(self) -> CanonicalTarget<'static> {
        CanonicalTarget {
            path_and_query: Cow::Owned(self.path_and_query.into_owned()),
            routing_path: Cow::Owned(self.routing_path.into_owned()),
        }
    }
}

/// Why a request target is refused. The answer is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Also the empty target and `*`, which only OPTIONS may ask for: see to it before.
    #[error("the path does not begin with a slash")]
    Relative,
    /// NUL, another control byte or DEL, in the path or in the query.
    #[error("the target holds the control byte 0x{0:02X}")]
    Control(u8),
    /// The same in disguise: `%00`, `%0A`.
    #[error("the path holds an encoded control byte, %{0:02X}")]
    EncodedControl(u8),
    /// Some servers take it for a slash.
    #[error("the path holds a backslash")]
    Backslash,
    /// A client never sends its fragment.
    #[error("the target holds a fragment (`#`)")]
    Fragment,
    /// It ends a target in HTTP/1.
    #[error("the target holds a space")]
    Space,
    /// A `%` that two hexadecimal digits do not follow.
    #[error("the path holds a `%` without two hexadecimal digits")]
    Escape,
    /// More `..` than there are segments before it.
    #[error("the path climbs above the root")]
    AboveRoot,
    /// `..%2F` and the like.
    #[error("the path holds a dot segment behind an encoded slash or backslash")]
    EncodedDotSegment,
    /// `/%2Fa`: the first segment is empty once it is decoded, and all after it another path.
    #[error("the path begins with an encoded slash or backslash")]
    EncodedRoot,
    /// `..;x` and the like; also `/;x/`, which vanishes.
    #[error("a path segment is empty or a dot segment once its parameters are removed")]
    Parameters,
    /// Only with [`PathOptions::refuse_encoded_slashes`].
    #[error("the path holds an encoded slash or backslash, which this entry point refuses")]
    EncodedSlash,
}

/// The canonical form of a target in origin form (RFC 9112, section 3.2.1), as received.
///
/// Idempotent: the canonical form of a canonical form is itself. Allocates only where something
/// changes or the routing path differs from the path.
pub fn canonical<'a, T>(
    target: &'a T,
    options: &PathOptions,
) -> Result<CanonicalTarget<'a>, PathError>
where
    T: AsRef<[u8]> + ?Sized,
{
    let target = target.as_ref();
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    };
    let path = canonical_path(path, options)?;
    let query = query.map(canonical_query).transpose()?;
    let path_and_query = match (&path, &query) {
        (_, None) => path.clone(),
        (Cow::Borrowed(_), Some(Cow::Borrowed(_))) => String::from_utf8_lossy(target),
        (_, Some(query)) => Cow::Owned(format!("{path}?{query}")),
    };
    Ok(CanonicalTarget {
        path_and_query,
        routing_path: routing_path(path),
    })
}

fn canonical_path<'a>(path: &'a [u8], options: &PathOptions) -> Result<Cow<'a, str>, PathError> {
    if is_canonical_path(path, options) {
        // Nothing is lossy here: what is canonical is ASCII.
        return Ok(String::from_utf8_lossy(path));
    }
    let rewritten = rewrite_path(path, options)?;
    Ok(match std::str::from_utf8(path) {
        Ok(path) if path == rewritten => Cow::Borrowed(path),
        _ => Cow::Owned(rewritten),
    })
}

/// Whether the path is certainly canonical, as nearly all are. `false` means only that it takes a
/// closer look to know.
fn is_canonical_path(path: &[u8], options: &PathOptions) -> bool {
    let mut rest = path;
    if rest.first() != Some(&b'/') {
        return false;
    }
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'/' if needs_a_look(after, options) => return false,
            b'%' => match escaped(after) {
                Some(byte) if is_settled(byte) && after[..2].iter().all(is_upper_hex) => {
                    &after[2..]
                }
                _ => return false,
            },
            byte if is_path_byte(*byte) => after,
            _ => return false,
        };
    }
    true
}

/// Whether the segment that `rest` begins with could vanish or be refused.
fn needs_a_look(rest: &[u8], options: &PathOptions) -> bool {
    let dots = rest.iter().take_while(|byte| **byte == b'.').count();
    match (dots, rest.get(dots)) {
        (0, None) => false,
        (0, Some(b'/')) => options.merge_slashes,
        (0, Some(b'%')) => rest.starts_with(b"%3B"),
        (0..=2, None | Some(b'/' | b';' | b'%')) => true,
        _ => false,
    }
}

/// Whether `%XX` for this byte stays as it is in a path, and is no slash in disguise.
fn is_settled(byte: u8) -> bool {
    !is_unreserved(byte) && !byte.is_ascii_control() && byte != b'/' && byte != b'\\'
}

fn rewrite_path(path: &[u8], options: &PathOptions) -> Result<String, PathError> {
    let (b'/', segments) = path.split_first().ok_or(PathError::Relative)? else {
        return Err(PathError::Relative);
    };
    let mut output = String::with_capacity(path.len() + 16);
    let mut segments = segments.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let start = output.len();
        let last = segments.peek().is_none();
        output.push('/');
        push_segment(&mut output, segment)?;
        let cut = match &output[start + 1..] {
            "" if options.merge_slashes && !last => Some(start),
            "" => None,
            "." => Some(start),
            ".." => Some(output[..start].rfind('/').ok_or(PathError::AboveRoot)?),
            segment => {
                let leading = output[..start].bytes().all(|byte| byte == b'/');
                if leading && is_encoded_root(segment) {
                    return Err(PathError::EncodedRoot);
                }
                check_segment(segment, last, options)?;
                None
            }
        };
        if let Some(cut) = cut {
            output.truncate(cut);
            // What ends in a dot segment names a folder.
            if last {
                output.push('/');
            }
        }
    }
    Ok(output)
}

/// Adds a segment with every character in its one spelling.
fn push_segment(output: &mut String, segment: &[u8]) -> Result<(), PathError> {
    let mut rest = segment;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match *byte {
            b'%' => {
                let byte = escaped(after).ok_or(PathError::Escape)?;
                rest = &after[2..];
                if byte.is_ascii_control() {
                    return Err(PathError::EncodedControl(byte));
                } else if is_unreserved(byte) {
                    output.push(char::from(byte));
                } else {
                    push_escape(output, byte);
                }
            }
            b'\\' => return Err(PathError::Backslash),
            byte if is_path_byte(byte) => output.push(char::from(byte)),
            byte => {
                refuse_in_target(byte)?;
                push_escape(output, byte);
            }
        }
    }
    Ok(())
}

/// Refuses a segment that is one thing here and another for a server that decodes slashes or
/// strips parameters.
fn check_segment(segment: &str, last: bool, options: &PathOptions) -> Result<(), PathError> {
    let mut pieces = segment
        .split("%2F")
        .flat_map(|piece| piece.split("%5C"))
        .peekable();
    let mut divided = false;
    while let Some(piece) = pieces.next() {
        let ends_path = last && pieces.peek().is_none();
        divided |= pieces.peek().is_some();
        match without_parameters(piece) {
            "." | ".." if divided => return Err(PathError::EncodedDotSegment),
            "." | ".." => return Err(PathError::Parameters),
            "" if !piece.is_empty() && !ends_path => return Err(PathError::Parameters),
            _ => {}
        }
    }
    if divided && options.refuse_encoded_slashes {
        return Err(PathError::EncodedSlash);
    }
    Ok(())
}

/// Whether a segment begins with a slash for a server that decodes it.
fn is_encoded_root(segment: &str) -> bool {
    segment.starts_with("%2F") || segment.starts_with("%5C")
}

fn without_parameters(piece: &str) -> &str {
    let name = piece.split(';').next().unwrap_or_default();
    name.split("%3B").next().unwrap_or_default()
}

fn canonical_query(query: &[u8]) -> Result<Cow<'_, str>, PathError> {
    if query.iter().all(|byte| is_query_byte(*byte)) {
        return Ok(String::from_utf8_lossy(query));
    }
    let mut output = String::with_capacity(query.len() + 16);
    for &byte in query {
        refuse_in_target(byte)?;
        if is_query_byte(byte) {
            output.push(char::from(byte));
        } else {
            push_escape(&mut output, byte);
        }
    }
    Ok(Cow::Owned(output))
}

/// The bytes that make a target another message, or another target.
fn refuse_in_target(byte: u8) -> Result<(), PathError> {
    match byte {
        b' ' => Err(PathError::Space),
        b'#' => Err(PathError::Fragment),
        byte if byte.is_ascii_control() => Err(PathError::Control(byte)),
        _ => Ok(()),
    }
}

/// From the canonical path to the one that rules match.
fn routing_path(path: Cow<'_, str>) -> Cow<'_, str> {
    if !path.contains('%') {
        return path;
    }
    let mut output = String::with_capacity(path.len());
    for chunk in decode(path.as_bytes()).utf8_chunks() {
        output.push_str(chunk.valid());
        for byte in chunk.invalid() {
            push_escape(&mut output, *byte);
        }
    }
    if output == path {
        path
    } else {
        Cow::Owned(output)
    }
}

fn decode(path: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match escaped(after) {
            Some(decoded) if *byte == b'%' && !is_reserved(decoded) => {
                output.push(decoded);
                rest = &after[2..];
            }
            _ => output.push(*byte),
        }
    }
    output
}

/// The byte that two hexadecimal digits stand for.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

fn push_escape(output: &mut String, byte: u8) {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    output.push('%');
    output.push(HEX[usize::from(byte >> 4)]);
    output.push(HEX[usize::from(byte & 15)]);
}

fn is_upper_hex(digit: &u8) -> bool {
    matches!(digit, b'0'..=b'9' | b'A'..=b'F')
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986, section 2.2, and the percent sign.
fn is_reserved(byte: u8) -> bool {
    matches!(
        byte,
        b':' | b'/'
            | b'?'
            | b'#'
            | b'['
            | b']'
            | b'@'
            | b'!'
            | b'$'
            | b'&'
            | b'\''
            | b'('
            | b')'
            | b'*'
            | b'+'
            | b','
            | b';'
            | b'='
            | b'%'
    )
}

/// What may stand for itself in a canonical path. Brackets should not, by the letter of the RFC,
/// but an encoded bracket is another character, and clients do send them.
fn is_path_byte(byte: u8) -> bool {
    const ALLOWED: [bool; 256] = {
        let mut allowed = [false; 256];
        let plain = b"-._~!$&'()*+,;=:@/[]";
        let mut index = 0;
        while index < plain.len() {
            allowed[plain[index] as usize] = true;
            index += 1;
        }
        let mut byte = 0;
        while byte < 128 {
            allowed[byte] |= (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        allowed
    };
    ALLOWED[usize::from(byte)]
}

/// What may stand for itself in a query.
fn is_query_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>')
}

#[cfg(test)]
mod tests;
