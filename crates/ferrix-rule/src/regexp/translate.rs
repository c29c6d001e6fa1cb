//! Go's regular expression syntax to that of the `regex` crate.
//!
//! Every atom is written so that it stands for itself, whatever is around it: literals escaped,
//! flags applied (`(?i:a)`), classes spelt out. What only a search for positions can see, that is
//! names, captures and laziness, is kept for substitutions alone: a rule asks whether there is a match,
//! not where.
//!
//! The traps between the two, each with a case in the tests: `\d \w \s \b` are ASCII in Go;
//! `&&`, `--`, `~~` and `[` in a class are literals; `{` is a literal unless it begins a whole
//! repetition, and `{,n}` is none; flags in the middle reach to the end of their group; `\Q…\E`,
//! `\C`, octal escapes and `\z` exist or not.

use super::{Error, ErrorKind, class, error};

/// How deep groups may nest.
pub(super) const MAX_DEPTH: usize = 100;

/// The largest count in `{n,m}`.
pub(super) const MAX_REPEAT: u32 = 1000;

/// An expression in the syntax of the `regex` crate.
pub(super) struct Translated {
    pub(super) pattern: String,
    /// How many Unicode properties it names, which are large tables.
    pub(super) properties: usize,
}

/// What is kept of an expression beside which texts it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Nothing,
    /// Where it matches: groups, their names, and which of several matches is taken.
    Positions,
}

pub(super) fn translate(pattern: &str, kept: Kept) -> Result<Translated, Error> {
    let mut translator = Translator {
        pattern,
        positions: kept == Kept::Positions,
        at: 0,
        out: String::with_capacity(2 * pattern.len()),
        flags: Flags::default(),
        groups: Vec::new(),
        last: None,
    };
    while translator.peek().is_some() {
        translator.step()?;
    }
    match translator.groups.first() {
        Some(open) => Err(error(open.at, ErrorKind::UnclosedGroup)),
        None => {
            let pattern = translator.out;
            // Nothing else is written so: the brace of a literal is escaped.
            let properties = pattern.matches(r"\p{").count() + pattern.matches(r"\P{").count();
            Ok(Translated {
                pattern,
                properties,
            })
        }
    }
}

/// The flags in force.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) fold_case: bool,
    multi_line: bool,
    dot_all: bool,
    /// Repetitions are lazy, and those with a `?` behind them are not.
    swap_greed: bool,
}

/// A group that is open: where it opens in the pattern and in the output, and the flags outside.
struct Group {
    at: usize,
    start: usize,
    flags: Flags,
}

/// What a repetition would apply to.
#[derive(Clone, Copy)]
struct Atom {
    /// Where it begins in the output. It reaches to the output's end.
    start: usize,
    repeated: bool,
    /// Whether the next character, if it is a repetition, would directly follow another one. Go
    /// refuses `a**`, but takes `a*(?i)*`.
    closed: bool,
}

pub(super) struct Translator<'p> {
    pattern: &'p str,
    /// See [`Kept::Positions`].
    positions: bool,
    at: usize,
    out: String,
    flags: Flags,
    groups: Vec<Group>,
    last: Option<Atom>,
}

impl Translator<'_> {
    fn step(&mut self) -> Result<(), Error> {
        let at = self.at;
        let Some(next) = self.take() else {
            return Ok(());
        };
        match next {
            '(' if self.eat("?") => self.special_group(at)?,
            '(' if self.positions => self.open_group(at, "(", self.flags)?,
            '(' => self.open_group(at, "(?:", self.flags)?,
            ')' => self.close_group(at)?,
            '|' => {
                self.out.push('|');
                self.last = None;
            }
            '^' => self.atom(if self.flags.multi_line {
                "(?m:^)"
            } else {
                r"(?:\A)"
            }),
            '$' => self.atom(if self.flags.multi_line {
                "(?m:$)"
            } else {
                r"(?:\z)"
            }),
            '.' => self.atom(if self.flags.dot_all { "(?s:.)" } else { "." }),
            '[' => self.class(at)?,
            '*' => self.repeat(at, "*")?,
            '+' => self.repeat(at, "+")?,
            '?' => self.repeat(at, "?")?,
            '{' => self.braces(at)?,
            '\\' => self.escape(at)?,
            literal => self.literal(literal),
        }
        Ok(())
    }

    fn atom(&mut self, text: &str) {
        self.last = Some(Atom {
            start: self.out.len(),
            repeated: false,
            closed: false,
        });
        self.out.push_str(text);
    }

    /// An atom that means more where case is ignored.
    fn folding_atom(&mut self, text: &str) {
        if self.flags.fold_case {
            self.atom(&format!("(?i:{text})"));
        } else {
            self.atom(text);
        }
    }

    fn literal(&mut self, character: char) {
        let text = regex::escape(character.encode_utf8(&mut [0; 4]));
        if character.is_ascii() && !character.is_ascii_alphabetic() {
            self.atom(&text);
        } else {
            self.folding_atom(&text);
        }
    }

    fn open_group(&mut self, at: usize, opening: &str, inner: Flags) -> Result<(), Error> {
        if self.groups.len() == MAX_DEPTH {
            return Err(error(at, ErrorKind::TooDeep));
        }
        self.groups.push(Group {
            at,
            start: self.out.len(),
            flags: self.flags,
        });
        self.out.push_str(opening);
        self.flags = inner;
        self.last = None;
        Ok(())
    }

    fn close_group(&mut self, at: usize) -> Result<(), Error> {
        let group = self
            .groups
            .pop()
            .ok_or_else(|| error(at, ErrorKind::UnopenedGroup))?;
        self.out.push(')');
        self.flags = group.flags;
        self.last = Some(Atom {
            start: group.start,
            repeated: false,
            closed: false,
        });
        Ok(())
    }

    /// What follows `(?`: a name, or flags for a group of their own or for the rest of this one.
    fn special_group(&mut self, at: usize) -> Result<(), Error> {
        let looks_behind = self.rest().starts_with("<=") || self.rest().starts_with("<!");
        if self.eat("P<") || !looks_behind && self.eat("<") {
            let name_at = self.at;
            let rest = self.rest();
            let name = rest.split_once('>').map_or("", |(name, _)| name);
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(error(name_at, ErrorKind::GroupName));
            }
            let opening = match self.positions {
                true => format!("(?P<{name}>"),
                false => "(?:".to_owned(),
            };
            self.at += name.len() + ">".len();
            return self.open_group(at, &opening, self.flags);
        }

        let mut flags = self.flags;
        let mut on = true;
        // A minus sign needs a flag after it.
        let mut complete = true;
        loop {
            let next = self.take();
            match next {
                Some('i') => flags.fold_case = on,
                Some('m') => flags.multi_line = on,
                Some('s') => flags.dot_all = on,
                Some('U') => flags.swap_greed = on,
                Some('-') if on => on = false,
                Some(':') if complete => return self.open_group(at, "(?:", flags),
                Some(')') if complete => {
                    self.flags = flags;
                    self.between_atoms();
                    return Ok(());
                }
                _ => return Err(error(at, ErrorKind::UnknownGroup)),
            }
            complete = next != Some('-');
        }
    }

    /// Notes that something other than an atom was read, such as `(?i)`: the last atom may then be
    /// repeated, even if it was before.
    fn between_atoms(&mut self) {
        if let Some(atom) = &mut self.last {
            atom.closed = false;
        }
    }

    fn repeat(&mut self, at: usize, operator: &str) -> Result<(), Error> {
        let lazy = self.eat("?") != self.flags.swap_greed;
        let atom = match &mut self.last {
            None => return Err(error(at, ErrorKind::NothingToRepeat)),
            Some(atom) if atom.closed => return Err(error(at, ErrorKind::NestedRepeat)),
            Some(atom) => atom,
        };
        if atom.repeated {
            self.out.insert_str(atom.start, "(?:");
            self.out.push(')');
        }
        atom.repeated = true;
        atom.closed = true;
        self.out.push_str(operator);
        // Lazy or eager, there is a match or there is none.
        if lazy && self.positions {
            self.out.push('?');
        }
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; else the brace is a literal.
    fn braces(&mut self, at: usize) -> Result<(), Error> {
        let Some((least, most, length)) = counts(self.rest()) else {
            self.literal('{');
            return Ok(());
        };
        let most_or_least = most.unwrap_or(least);
        if least > MAX_REPEAT || most_or_least > MAX_REPEAT || least > most_or_least {
            return Err(error(at, ErrorKind::RepeatCount));
        }
        let operator = self.pattern[at..=at + length].to_owned();
        self.at += length;
        self.repeat(at, &operator)
    }

    fn class(&mut self, at: usize) -> Result<(), Error> {
        let (class, length) = class::bracketed(&self.pattern[at..]).map_err(|e| e.after(at))?;
        self.at = at + length;
        self.folding_atom(&class);
        Ok(())
    }

    fn escape(&mut self, at: usize) -> Result<(), Error> {
        let rest = &self.pattern[at..];
        match rest.as_bytes().get(1) {
            Some(b'A') => self.assertion(r"(?:\A)"),
            Some(b'z') => self.assertion(r"(?:\z)"),
            Some(b'b') => self.assertion(r"(?-u:\b)"),
            Some(b'B') => self.assertion(r"(?-u:\B)"),
            Some(b'Q') => self.quotation(),
            _ => {
                if let Some((class, length)) = class::escaped(rest).map_err(|e| e.after(at))? {
                    self.at = at + length;
                    self.folding_atom(&class);
                } else {
                    let (code, length) = class::character(rest).map_err(|e| e.after(at))?;
                    let character =
                        char::from_u32(code).ok_or_else(|| error(at, ErrorKind::Surrogate))?;
                    self.at = at + length;
                    self.literal(character);
                }
            }
        }
        Ok(())
    }

    fn assertion(&mut self, text: &str) {
        self.at += 1;
        self.atom(text);
    }

    /// Reads `\Q…`, whose text up to `\E` or the end is literal. A repetition after it applies to the
    /// last character.
    fn quotation(&mut self) {
        self.at += "Q".len();
        let rest = self.rest();
        let (quoted, length) = match rest.split_once(r"\E") {
            Some((quoted, _)) => (quoted, quoted.len() + r"\E".len()),
            None => (rest, rest.len()),
        };
        let quoted = quoted.to_owned();
        self.at += length;
        self.between_atoms();
        for character in quoted.chars() {
            self.literal(character);
        }
    }

    fn rest(&self) -> &str {
        &self.pattern[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }
}

/// The counts of a repetition after its opening brace, and its length with the closing one.
fn counts(text: &str) -> Option<(u32, Option<u32>, usize)> {
    let length = text.find(|c: char| !c.is_ascii_digit() && c != ',')?;
    if !text[length..].starts_with('}') {
        return None;
    }
    let (least, most) = match text[..length].split_once(',') {
        None => (count(&text[..length])?, Some(count(&text[..length])?)),
        Some((least, "")) => (count(least)?, None),
        Some((least, most)) => (count(least)?, Some(count(most)?)),
    };
    Some((least, most, length + "}".len()))
}

/// A number without leading zeros; a huge one is as good as any that is too large.
fn count(digits: &str) -> Option<u32> {
    let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let canonical = digits.len() == 1 || !digits.starts_with('0');
    (number && canonical).then(|| digits.parse().unwrap_or(u32::MAX))
}

impl Error {
    /// The same error in a text that has so many bytes more in front.
    fn after(self, bytes: usize) -> Error {
        Error {
            at: self.at + bytes,
            ..self
        }
    }
}
