//! What is told to the author of a rule that does not parse.
//!
//! The stages report a [`Problem`] at a byte of the text. Only here is it turned into a line,
//! a column and a picture of the place.

use std::fmt;

/// A rule that does not parse: where, why, and what would be valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Picture(self))]
#[non_exhaustive]
pub struct ParseError {
    /// What is wrong, in one line.
    pub message: String,
    /// What would be valid, in one line.
    pub help: String,
    /// The line of the rule's text, from 1.
    pub line: usize,
    /// The column in that line, in characters, from 1.
    pub column: usize,
    /// That line of the text.
    pub text: String,
}

/// A fault at a byte of the text.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) at: usize,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Problem {
    pub(crate) fn new(at: usize, message: impl fmt::Display, help: impl Into<String>) -> Problem {
        Problem {
            at,
            message: message.to_string(),
            help: help.into(),
        }
    }

    /// Finds the place in the text that was parsed.
    pub(crate) fn in_text(self, text: &str) -> ParseError {
        let at = text.floor_char_boundary(self.at);
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[at..]
            .find('\n')
            .map_or(text.len(), |newline| at + newline);
        ParseError {
            message: self.message,
            help: self.help,
            line: text[..start].matches('\n').count() + 1,
            column: text[start..at].chars().count() + 1,
            text: text[start..end].to_owned(),
        }
    }
}

/// The message, the line with a caret under the column, and the help.
struct Picture<'e>(&'e ParseError);

/// How much of a long line is shown around the caret, in characters: errors end up in the status
/// of an object, which has a bound.
const WINDOW: usize = 100;

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParseError {
            message,
            help,
            line,
            column,
            text,
        } = self.0;
        writeln!(f, "{message} (line {line}, column {column})")?;

        let skipped = (column - 1).saturating_sub(WINDOW / 2);
        let mark = if skipped > 0 { "… " } else { "" };
        let mut shown: String = text.chars().skip(skipped).take(WINDOW).collect();
        // A tab or a carriage return would put the caret under another column.
        shown = shown.replace(char::is_control, " ");
        if text.chars().nth(skipped + WINDOW).is_some() {
            shown.push_str(" …");
        }
        writeln!(f, "    {mark}{}", shown.trim_end())?;
        let indent = mark.chars().count() + column - 1 - skipped;
        write!(f, "    {:indent$}^\n{help}", "")
    }
}
