//! Character classes: brackets, escapes such as `\d`, and Unicode properties.
//!
//! A class is written anew in brackets, every member of it a range of escaped characters, a nested
//! class or a property, so that no character has a meaning of its own there.

use std::fmt::Write;

use regex::RegexBuilder;

use super::{Error, ErrorKind, error};

/// The class at the front of a text, which begins with `[`; and its length there.
pub(super) fn bracketed(text: &str) -> Result<(String, usize), Error> {
    let mut members = String::new();
    let negated = text[1..].starts_with('^');
    let first = if negated { 2 } else { 1 };
    let mut at = first;
    loop {
        let rest = &text[at..];
        // A closing bracket that comes first is a member.
        if rest.starts_with(']') && at > first {
            break;
        }
        if rest.is_empty() {
            return Err(error(0, ErrorKind::UnclosedClass));
        }
        let (member, length) = match member(rest) {
            Ok(found) => found,
            Err(Error { at: inner, kind }) => return Err(error(at + inner, kind)),
        };
        members.push_str(&member);
        at += length;
    }

    let class = match (members.as_str(), negated) {
        // All the members were surrogates.
        ("", false) => NOTHING.to_owned(),
        ("", true) => format!("[{EVERYTHING}]"),
        (members, false) => format!("[{members}]"),
        (members, true) => format!("[^{members}]"),
    };
    Ok((class, at + "]".len()))
}

const EVERYTHING: &str = r"\x{0}-\x{10FFFF}";
const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";

/// One member of a class: a named class, an escaped class, a character or a range of them.
fn member(text: &str) -> Result<(String, usize), Error> {
    if let Some(found) = named(text)? {
        return Ok(found);
    }
    if let Some(found) = escaped(text)? {
        return Ok(found);
    }
    let (low, mut length) = character(text)?;
    let mut high = low;
    let after = &text[length..];
    if after.starts_with('-') && after.len() > 1 && !after.starts_with("-]") {
        let at = length + 1;
        let (end, end_length) = character(&after[1..]).map_err(|e| error(at + e.at, e.kind))?;
        high = end;
        length = at + end_length;
    }
    if high < low {
        return Err(error(0, ErrorKind::BackwardsRange));
    }
    Ok((range(low, high), length))
}

/// A range without the surrogates, which Go lets it name: they are in no text.
fn range(low: u32, high: u32) -> String {
    let low = if (0xD800..0xE000).contains(&low) {
        0xE000
    } else {
        low
    };
    let high = if (0xD800..0xE000).contains(&high) {
        0xD7FF
    } else {
        high
    };
    let mut text = String::new();
    if low <= high {
        let _ = write!(text, r"\x{{{low:x}}}-\x{{{high:x}}}");
    }
    text
}

/// A class such as `[:alpha:]` or `[:^alpha:]`, in brackets of its own.
fn named(text: &str) -> Result<Option<(String, usize)>, Error> {
    let Some((name, _)) = text
        .strip_prefix("[:")
        .and_then(|rest| rest.split_once(":]"))
    else {
        return Ok(None);
    };
    let length = name.len() + "[::]".len();
    let (negation, name) = match name.strip_prefix('^') {
        Some(name) => ("^", name),
        None => ("", name),
    };
    let members = match name {
        "alnum" => "0-9A-Za-z",
        "alpha" => "A-Za-z",
        "ascii" => r"\x{0}-\x{7f}",
        "blank" => r"\t\x{20}",
        "cntrl" => r"\x{0}-\x{1f}\x{7f}",
        "digit" => "0-9",
        "graph" => r"\x{21}-\x{7e}",
        "lower" => "a-z",
        "print" => r"\x{20}-\x{7e}",
        "punct" => r"\x{21}-\x{2f}\x{3a}-\x{40}\x{5b}-\x{60}\x{7b}-\x{7e}",
        "space" => r"\t-\r\x{20}",
        "upper" => "A-Z",
        "word" => "0-9A-Za-z_",
        "xdigit" => "0-9A-Fa-f",
        _ => return Err(error(0, ErrorKind::UnknownClass)),
    };
    Ok(Some((format!("[{negation}{members}]"), length)))
}

/// A class that is an escape: `\d`, `\pL`, `\P{Greek}` and their like.
pub(super) fn escaped(text: &str) -> Result<Option<(String, usize)>, Error> {
    let class = match text.get(..2) {
        Some(r"\d") => "[0-9]",
        Some(r"\D") => "[^0-9]",
        Some(r"\s") => r"[\t\n\f\r\x{20}]",
        Some(r"\S") => r"[^\t\n\f\r\x{20}]",
        Some(r"\w") => "[0-9A-Za-z_]",
        Some(r"\W") => "[^0-9A-Za-z_]",
        Some(r"\p") => return property(text, false).map(Some),
        Some(r"\P") => return property(text, true).map(Some),
        _ => return Ok(None),
    };
    Ok(Some((class.to_owned(), 2)))
}

/// A general category or a script: `\pL`, `\p{Lu}`, `\p{^Greek}`.
fn property(text: &str, negated: bool) -> Result<(String, usize), Error> {
    let unknown = || error(0, ErrorKind::UnknownClass);
    let rest = &text[2..];
    let (name, length) = match rest.strip_prefix('{') {
        Some(inner) => {
            let (name, _) = inner.split_once('}').ok_or_else(unknown)?;
            (name, name.len() + r"\p{}".len())
        }
        None => {
            let letter = rest.chars().next().ok_or_else(unknown)?;
            (&rest[..letter.len_utf8()], r"\p".len() + letter.len_utf8())
        }
    };
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (!negated, name),
        None => (negated, name),
    };
    // Only these characters are in a name, and none of them can end the property early.
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_- ".contains(&b))
    {
        return Err(unknown());
    }
    if name.eq_ignore_ascii_case("cs") || name.eq_ignore_ascii_case("surrogate") {
        let class = if negated {
            format!("[{EVERYTHING}]")
        } else {
            NOTHING.to_owned()
        };
        return Ok((class, length));
    }
    // The engine knows more kinds of properties under bare names; Go knows these two, in this order.
    let letter = if negated { 'P' } else { 'p' };
    ["gc", "sc"]
        .iter()
        .map(|kind| format!(r"\{letter}{{{kind}={name}}}"))
        .find(|class| is_known(class))
        .map(|class| (class, length))
        .ok_or_else(unknown)
}

/// Whether the engine knows a class. The trial has no room to compile it: a class that is known
/// fails for its size, which costs little, and one that is not fails for its name.
fn is_known(class: &str) -> bool {
    let trial = RegexBuilder::new(class).size_limit(0).build();
    matches!(trial, Ok(_) | Err(regex::Error::CompiledTooBig(_)))
}

/// A character, escaped or not: its code, which may be a surrogate's, and its length.
pub(super) fn character(text: &str) -> Result<(u32, usize), Error> {
    let unknown = || error(0, ErrorKind::UnknownEscape);
    let mut characters = text.chars();
    let first = characters.next().ok_or_else(unknown)?;
    if first != '\\' {
        return Ok((u32::from(first), first.len_utf8()));
    }
    let escaped = characters.next().ok_or_else(unknown)?;
    let code = match escaped {
        'a' => 0x07,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        'x' => return hexadecimal(text).ok_or_else(unknown),
        '0'..='7' => return octal(text).ok_or_else(unknown),
        mark if mark.is_ascii() && !mark.is_ascii_alphanumeric() => u32::from(mark),
        _ => return Err(unknown()),
    };
    Ok((code, 2))
}

/// `\xHH` or `\x{H…}`.
fn hexadecimal(text: &str) -> Option<(u32, usize)> {
    let rest = &text[2..];
    let (digits, length) = match rest.strip_prefix('{') {
        Some(inner) => {
            let (digits, _) = inner.split_once('}')?;
            (digits, digits.len() + r"\x{}".len())
        }
        None => (rest.get(..2)?, r"\xHH".len()),
    };
    let all = digits.bytes().all(|b| b.is_ascii_hexdigit());
    // Go allows any number of zeros in front.
    let significant = digits.trim_start_matches('0');
    let code = match significant {
        "" if !digits.is_empty() => 0,
        _ if all => u32::from_str_radix(significant, 16).ok()?,
        _ => return None,
    };
    (code <= u32::from(char::MAX)).then_some((code, length))
}

/// `\0`, `\12`, `\123`: up to three digits, but a single one other than zero would be a
/// back-reference.
fn octal(text: &str) -> Option<(u32, usize)> {
    let digits = text[1..]
        .bytes()
        .take(3)
        .take_while(|b| (b'0'..=b'7').contains(b))
        .count();
    let number = &text[1..=digits];
    if digits == 1 && number != "0" {
        return None;
    }
    Some((u32::from_str_radix(number, 8).ok()?, 1 + digits))
}
