//! Regular expressions in Go's syntax, run by the `regex` crate.
//!
//! Both engines descend from RE2: they take time in proportion to the text and never backtrack.
//! Their syntaxes differ in ways that would change what a rule means, so `translate` writes every
//! expression anew in terms that mean the same to `regex`, or refuses it.

mod class;
mod example;
mod translate;

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
};

use regex::{Captures, Regex, RegexBuilder};

use example::{Repeated, example};
use translate::{Kept, translate};

/// Classes of size for compiled expressions, in bytes: the engine does not tell the size, only
/// whether an expression fits. The largest class is the limit of one expression.
const SIZES: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];

/// What the expressions of one rule may take together, in bytes, each counted as its class.
const RULE_LIMIT: usize = 4 << 20;

/// What a Unicode property takes before anything is compiled.
const PROPERTY_SIZE: usize = 8 << 10;

/// The cache of automaton states that a thread may fill for an expression, in bytes.
const CACHE_LIMIT: usize = 1 << 20;

/// How deep the translated expression may nest. The translation adds groups of its own to those
/// that were written.
const NEST_LIMIT: u32 = 250;

/// An expression with what it is to match.
///
/// Two are equal when they were written the same and are to match the same.
#[derive(Clone, Debug)]
pub(crate) struct Regexp {
    source: Box<str>,
    extent: Extent,
    regex: Regex,
}

/// What of a text an expression is to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Extent {
    /// A part of it, anywhere.
    Part,
    /// All of it.
    Whole,
}

/// An expression that is refused, and the byte of it where that shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    pub(crate) at: usize,
    pub(crate) kind: ErrorKind,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ErrorKind {
    #[error("the group that opens here is not closed")]
    UnclosedGroup,
    #[error("this parenthesis closes no group")]
    UnopenedGroup,
    #[error("`(?` is not followed by flags, `:` or a name in angle brackets")]
    UnknownGroup,
    #[error("a group's name is letters, digits and `_` in angle brackets")]
    GroupName,
    #[error("groups nest deeper than {} levels", translate::MAX_DEPTH)]
    TooDeep,
    #[error("nothing stands before this repetition")]
    NothingToRepeat,
    #[error("this repeats a repetition")]
    NestedRepeat,
    #[error(
        "a repeat count is at most {}, and not less than the one before it",
        translate::MAX_REPEAT
    )]
    RepeatCount,
    #[error("the class that opens here is not closed")]
    UnclosedClass,
    #[error("this range is backwards")]
    BackwardsRange,
    #[error("this is not the name of a character class")]
    UnknownClass,
    #[error("this is not an escape sequence")]
    UnknownEscape,
    #[error("this escape sequence names a surrogate, which is not a character")]
    Surrogate,
    #[error("it takes more than {} KiB once compiled", SIZES[2] >> 10)]
    TooLarge,
    #[error("what the rule has up to here takes more than {} KiB once compiled", RULE_LIMIT >> 10)]
    TooLargeTogether,
    #[error("the engine refuses it: {0}")]
    Engine(String),
}

fn error(at: usize, kind: ErrorKind) -> Error {
    Error { at, kind }
}

impl ErrorKind {
    pub(crate) fn help(&self) -> &'static str {
        match self {
            ErrorKind::UnclosedGroup => "add the missing `)`, or write `\\(` for the character",
            ErrorKind::UnopenedGroup => "write `\\)` for the character",
            ErrorKind::UnknownGroup => {
                "the flags are i, m, s and U; there is no look-ahead and no look-behind"
            }
            ErrorKind::GroupName => "write `(?P<name>…)`, or `(…)`: the name has no use here",
            ErrorKind::TooDeep => "take away groups that change nothing",
            ErrorKind::NothingToRepeat => "write `\\*`, `\\+` or `\\?` for the character",
            ErrorKind::NestedRepeat => "put the inner repetition in a group: `(?:…)`",
            ErrorKind::RepeatCount => "`*` and `+` have no such bound",
            ErrorKind::UnclosedClass => "add the missing `]`, or write `\\[` for the character",
            ErrorKind::BackwardsRange => "write the lower character first, or `\\-` for a hyphen",
            ErrorKind::UnknownClass => {
                "there are `[:alpha:]` and its like, `\\pL`, `\\p{Lu}` and `\\p{Greek}`"
            }
            ErrorKind::UnknownEscape => {
                "the syntax is RE2's: `\\.` for a dot, `\\d \\w \\s \\b \\A \\z`, `\\x{1F600}`; \
                 there are no back-references"
            }
            ErrorKind::Surrogate => "leave it out: it can match nothing",
            ErrorKind::TooLargeTogether => "write fewer or simpler expressions, or several rules",
            ErrorKind::TooLarge | ErrorKind::Engine(_) => "write a simpler expression",
        }
    }
}

/// What the expressions of a rule may still take. Without it, one rule could have hundreds that
/// are each just small enough, and stall whoever compiles the rules of many users.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Default for Budget {
    fn default() -> Budget {
        Budget(RULE_LIMIT)
    }
}

impl Regexp {
    pub(crate) fn new(source: &str, extent: Extent, budget: &mut Budget) -> Result<Regexp, Error> {
        Regexp::build(source, extent, Kept::Nothing, budget)
    }

    /// One that tells where it matches, and what its groups do.
    pub(crate) fn with_positions(source: &str) -> Result<Regexp, Error> {
        let mut budget = Budget::default();
        Regexp::build(source, Extent::Part, Kept::Positions, &mut budget)
    }

    fn build(
        source: &str,
        extent: Extent,
        kept: Kept,
        budget: &mut Budget,
    ) -> Result<Regexp, Error> {
        let failed = |kind| Error { at: 0, kind };
        let translated = translate(source, kept)?;
        let properties = translated.properties * PROPERTY_SIZE;
        // Translated first, so that no parenthesis of the source closes the group.
        let pattern = match extent {
            Extent::Part => translated.pattern,
            Extent::Whole => format!(r"\A(?:{})\z", translated.pattern),
        };
        for size in SIZES.into_iter().filter(|size| *size >= properties) {
            let left = budget
                .0
                .checked_sub(size)
                .ok_or(failed(ErrorKind::TooLargeTogether))?;
            match compile(&pattern, size) {
                Ok(regex) => {
                    budget.0 = left;
                    return Ok(Regexp {
                        source: source.into(),
                        extent,
                        regex,
                    });
                }
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(other) => return Err(failed(ErrorKind::Engine(last_line(&other)))),
            }
        }
        Err(failed(ErrorKind::TooLarge))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.source
    }

    /// Texts that the expression matches: the shortest that is found, and one with whatever may be
    /// left out. There may be none, as of one that looks around itself.
    pub(crate) fn examples(&self) -> Vec<String> {
        let Ok(expression) = regex_syntax::parse(self.regex.as_str()) else {
            return Vec::new();
        };
        let ways = [Repeated::Least, Repeated::Once];
        let texts = ways.map(|repeated| example(&expression, repeated));
        let mut texts: Vec<_> = texts.into_iter().flatten().collect();
        texts.dedup();
        texts.retain(|text| self.is_match(text));
        texts
    }

    /// What it matches, from left to right; see [`Regexp::with_positions`].
    pub(crate) fn matches<'r, 't>(
        &'r self,
        text: &'t str,
    ) -> impl Iterator<Item = Captures<'t>> + use<'r, 't> {
        self.regex.captures_iter(text)
    }

    /// The number of a group, by that or by its name; 0 is the whole match.
    pub(crate) fn group(&self, name: &str) -> Option<usize> {
        match name.parse::<usize>() {
            Ok(number) => (number < self.regex.captures_len()).then_some(number),
            Err(_) => self.regex.capture_names().position(|it| it == Some(name)),
        }
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Matches bytes as Go does: every byte that is not UTF-8 counts as one U+FFFD.
    pub(crate) fn is_match_bytes(&self, bytes: &[u8]) -> bool {
        self.is_match(&replaced(bytes))
    }
}

fn compile(pattern: &str, size: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(size)
        .dfa_size_limit(CACHE_LIMIT)
        .nest_limit(NEST_LIMIT)
        .build()
}

impl PartialEq for Regexp {
    fn eq(&self, other: &Regexp) -> bool {
        (&self.source, self.extent) == (&other.source, other.extent)
    }
}

impl Eq for Regexp {}

impl Hash for Regexp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.source, self.extent).hash(state);
    }
}

/// The standard library's lossy conversion would make one mark of a whole broken sequence.
fn replaced(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

/// The engine's errors are drawings of the translated text, but for their last line.
fn last_line(error: &regex::Error) -> String {
    let drawing = error.to_string();
    let last = drawing.lines().next_back().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}
