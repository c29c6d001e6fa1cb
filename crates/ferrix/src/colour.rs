//! Colours for people at a terminal.
//!
//! Texts have them always. [`for_stdout`] takes them out where they do not belong.

use std::{borrow::Cow, io};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};
use anstyle::{AnsiColor, Style};

/// What is wrong.
pub(crate) const WRONG: Style = AnsiColor::Red.on_default();
/// What may be wrong.
pub(crate) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
/// What is good to know.
pub(crate) const REMARK: Style = AnsiColor::Cyan.on_default();
/// What is as it should be.
pub(crate) const RIGHT: Style = AnsiColor::Green.on_default();
/// Where something is.
pub(crate) const PLACE: Style = Style::new().bold();

/// A text in a style, and nothing behind it.
pub(crate) fn in_style(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A text as it is to be written to standard output: with its colours where that is a terminal that
/// knows any and `NO_COLOR` is not set (<https://no-color.org>), or where `CLICOLOR_FORCE` is.
pub(crate) fn for_stdout(text: &str) -> Cow<'_, str> {
    match AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => strip_str(text).to_string().into(),
        _ => text.into(),
    }
}
