//! Expressions and matchers to canonical text, or to words.
//!
//! In text, matchers have their own spelling, strings stand in backticks where they can, and there
//! are no more parentheses than the grammar needs. Words are for rules that nobody wrote as text:
//! no parser takes them, so that nobody copies into the language what it has no word for.

use std::{
    borrow::Cow,
    fmt::{self, Display, Formatter, Write},
};

use crate::{
    expression::{Expression, Leaf},
    matcher::{FieldName, HostPattern, Matcher},
};

/// How a rule is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// In the rule language.
    Text,
    /// ``path prefix `/api`, method `GET` ``.
    Words,
}

/// Something as it is shown in a form.
pub(crate) struct Shown<'s, T>(pub(crate) &'s T, pub(crate) Form);

impl Display for Shown<'_, Expression> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Shown(expression, form) = *self;
        let (parts, operator) = match (expression, form) {
            (Expression::Leaf(leaf), _) => return Shown(leaf, form).fmt(f),
            (Expression::All(parts), Form::Text) => (parts, " && "),
            (Expression::Any(parts), Form::Text) => (parts, " || "),
            (Expression::All(parts), Form::Words) => (parts, ", "),
            (Expression::Any(parts), Form::Words) => (parts, " or "),
        };
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                f.write_str(operator)?;
            }
            let shown = Shown(part, form);
            match (expression, part) {
                (Expression::All(_), Expression::Any(_)) => write!(f, "({shown})")?,
                _ => shown.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl Display for Shown<'_, Leaf> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Shown(Leaf { matcher, negated }, form) = *self;
        match (negated, form) {
            (false, _) => {}
            (true, Form::Text) => f.write_str("!")?,
            (true, Form::Words) => f.write_str("not ")?,
        }
        match form {
            Form::Text => in_text(matcher, f),
            Form::Words => in_words(matcher, f),
        }
    }
}

fn in_text(matcher: &Matcher, f: &mut Formatter<'_>) -> fmt::Result {
    match matcher {
        Matcher::Host(pattern) => write!(f, "Host({})", text(&pattern.written())),
        Matcher::HostRegexp(regexp) => write!(f, "HostRegexp({})", text(regexp.as_str())),
        Matcher::Path(path) => write!(f, "Path({})", text(path)),
        Matcher::PathPrefix(prefix) => write!(f, "PathPrefix({})", text(prefix)),
        // Not of the language, so that no rule that was written has it.
        Matcher::SegmentPrefix(_) => in_words(matcher, f),
        Matcher::PathRegexp(regexp) => write!(f, "PathRegexp({})", text(regexp.as_str())),
        Matcher::Method(method) => write!(f, "Method({})", text(method)),
        Matcher::Header(name, value) => {
            write!(f, "Header({}, {})", String(&name.written()), String(value))
        }
        Matcher::HeaderRegexp(name, regexp) => {
            let (name, regexp) = (name.written(), text(regexp.as_str()));
            write!(f, "HeaderRegexp({}, {regexp})", String(&name))
        }
        Matcher::Query(key, value) if value.is_empty() => write!(f, "Query({})", String(key)),
        Matcher::Query(key, value) => write!(f, "Query({}, {})", String(key), String(value)),
        Matcher::QueryRegexp(key, regexp) => {
            write!(f, "QueryRegexp({}, {})", String(key), text(regexp.as_str()))
        }
        Matcher::ClientIp(net) if net.prefix_len() == net.max_prefix_len() => {
            write!(f, "ClientIP(`{}`)", net.addr())
        }
        Matcher::ClientIp(net) => write!(f, "ClientIP(`{net}`)"),
    }
}

/// A noun, so that a sentence can go on with what it does: ``path `/a` is not the path /b``.
fn in_words(matcher: &Matcher, f: &mut Formatter<'_>) -> fmt::Result {
    match matcher {
        Matcher::Host(pattern) => write!(f, "host {}", text(&pattern.written())),
        Matcher::HostRegexp(regexp) => write!(f, "host expression {}", text(regexp.as_str())),
        Matcher::Path(path) => write!(f, "path {}", text(path)),
        Matcher::PathPrefix(prefix) => write!(f, "path beginning {}", text(prefix)),
        Matcher::SegmentPrefix(prefix) => write!(f, "path prefix {}", text(prefix)),
        Matcher::PathRegexp(regexp) => write!(f, "path expression {}", text(regexp.as_str())),
        Matcher::Method(method) => write!(f, "method {}", text(method)),
        Matcher::Header(name, value) => {
            let (name, value) = (name.written(), String(value));
            write!(f, "value {value} of header {}", String(&name))
        }
        Matcher::HeaderRegexp(name, regexp) => {
            let (name, regexp) = (name.written(), text(regexp.as_str()));
            write!(f, "expression {regexp} of header {}", String(&name))
        }
        Matcher::Query(key, value) => {
            let (key, value) = (String(key), String(value));
            write!(f, "value {value} of query parameter {key}")
        }
        Matcher::QueryRegexp(key, regexp) => {
            let (key, regexp) = (String(key), text(regexp.as_str()));
            write!(f, "expression {regexp} of query parameter {key}")
        }
        Matcher::ClientIp(net) => write!(f, "client address `{net}`"),
    }
}

impl HostPattern {
    fn written(&self) -> Cow<'_, str> {
        let host = match self {
            HostPattern::Any => return Cow::Borrowed("*"),
            HostPattern::Wildcard(parent) => Cow::Owned(format!("*.{parent}")),
            HostPattern::Exact(host) => Cow::Borrowed(&**host),
        };
        // One dot at the end is dropped when it is read back, which here makes another pattern.
        let dotted = matches!(&*host, "" | "*") || host.ends_with('.');
        if dotted {
            Cow::Owned(format!("{host}."))
        } else {
            host
        }
    }
}

impl FieldName {
    /// The name as people write it: `X-Forwarded-For`.
    pub(crate) fn written(&self) -> Cow<'_, [u8]> {
        let name = match self {
            FieldName::Field(name) => name.as_str().as_bytes(),
            FieldName::Never(name) => return Cow::Borrowed(name),
        };
        let mut word_starts = true;
        let written = name.iter().map(|byte| {
            let shown = if word_starts {
                byte.to_ascii_uppercase()
            } else {
                *byte
            };
            word_starts = *byte == b'-';
            shown
        });
        Cow::Owned(written.collect())
    }
}

fn text(value: &str) -> String<'_> {
    String(value.as_bytes())
}

/// A string literal: raw if it can be, else quoted with the escapes it needs.
struct String<'s>(&'s [u8]);

impl Display for String<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Ok(text) = str::from_utf8(self.0)
            && !text.contains(['`', '\r'])
        {
            return write!(f, "`{text}`");
        }
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '"' => f.write_str("\\\"")?,
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    other => f.write_char(other)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('"')
    }
}
