//! Expressions and matchers to canonical text.
//!
//! Matchers have their own spelling, strings stand in backticks where they can, and there are no
//! more parentheses than the grammar needs.

use std::{
    borrow::Cow,
    fmt::{self, Display, Formatter, Write},
};

use crate::{
    expression::{Expression, Leaf},
    matcher::{FieldName, HostPattern, Matcher},
};

impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (parts, operator) = match self {
            Expression::Leaf(leaf) => return leaf.fmt(f),
            Expression::All(parts) => (parts, " && "),
            Expression::Any(parts) => (parts, " || "),
        };
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                f.write_str(operator)?;
            }
            match (self, part) {
                (Expression::All(_), Expression::Any(_)) => write!(f, "({part})")?,
                _ => part.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl Display for Leaf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.negated { "!" } else { "" }, self.matcher)
    }
}

impl Display for Matcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Matcher::Host(pattern) => write!(f, "Host({})", text(&pattern.written())),
            Matcher::HostRegexp(regexp) => write!(f, "HostRegexp({})", text(regexp.as_str())),
            Matcher::Path(path) => write!(f, "Path({})", text(path)),
            Matcher::PathPrefix(prefix) => write!(f, "PathPrefix({})", text(prefix)),
            Matcher::PathRegexp(regexp) => write!(f, "PathRegexp({})", text(regexp.as_str())),
            Matcher::Method(method) => write!(f, "Method({})", text(method)),
            Matcher::Header(name, value) => {
                write!(f, "Header({}, {})", String(&name.written()), String(value))
            }
            Matcher::HeaderRegexp(name, regexp) => {
                write!(
                    f,
                    "HeaderRegexp({}, {})",
                    String(&name.written()),
                    text(regexp.as_str())
                )
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
