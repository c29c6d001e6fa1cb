//! Text to tokens: white space and comments dropped, string literals decoded.
//!
//! The lexical grammar is Go's, cut down to what a rule can contain. Tokens are made on demand,
//! so that the first fault of the text is the one reported.

use std::fmt;

use crate::error::Problem;

/// A token and the bytes of the text it came from.
#[derive(Debug)]
pub(crate) struct Token<'t> {
    pub(crate) kind: Kind<'t>,
    pub(crate) at: usize,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Kind<'t> {
    /// A run of letters, digits and underscores.
    Word(&'t str),
    String(Literal),
    Open,
    Close,
    Comma,
    /// Go lets a call end in `...`, so Traefik does; it means nothing.
    Ellipsis,
    And,
    Or,
    Not,
    End,
}

/// The value of a string literal. Escapes can make bytes that are not UTF-8.
#[derive(Debug, PartialEq)]
pub(crate) struct Literal {
    pub(crate) value: Vec<u8>,
    /// Whether the value stands in the text byte for byte, right after the opening quote.
    pub(crate) verbatim: bool,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("unexpected {}", Shown(*.0))]
    Character(char),
    #[error("a single `{0}` is not an operator; did you mean `{0}{0}`?")]
    HalfOperator(char),
    #[error("strings do not stand in {} quotes", if *.0 == '\'' { "single" } else { "typographic" })]
    Quote(char),
    #[error("the string that begins here has no closing backtick")]
    UnclosedRaw,
    #[error("the string that begins here has no closing quote on its line")]
    UnclosedQuoted,
    #[error("the comment that begins here has no closing `*/`")]
    UnclosedComment,
    #[error("after a backslash, {} means nothing in a quoted string", Shown(*.0))]
    UnknownEscape(char),
    #[error("`\\{introducer}` needs {digits} {base} digits")]
    ShortEscape {
        introducer: char,
        digits: usize,
        base: &'static str,
    },
    #[error("the escape sequence does not name a character")]
    NotACharacter,
}

impl Error {
    fn help(&self) -> &'static str {
        match self {
            Error::Character(_) => {
                "outside of strings a rule has matchers, `&&`, `||`, `!` and parentheses"
            }
            Error::HalfOperator(_) => "the operators are `&&`, `||` and `!`",
            Error::Quote(_) => "write the string in backticks, or in straight double quotes",
            Error::UnclosedRaw => "a string in backticks ends at the next backtick",
            Error::UnclosedQuoted => "a string in double quotes ends at the next `\"` of its line",
            Error::UnclosedComment => "a comment is `/* … */`, or `//` to the end of the line",
            Error::UnknownEscape(_) => {
                "the escapes are \\a \\b \\f \\n \\r \\t \\v \\\\ \\\" \\xHH \\uHHHH \\UHHHHHHHH \
                 and three octal digits; in backticks a backslash is itself"
            }
            Error::ShortEscape { .. } => "in backticks a backslash is itself",
            Error::NotACharacter => {
                "octal escapes end at \\377; \\u and \\U name Unicode characters, no surrogates"
            }
        }
    }
}

/// Reads tokens off the text.
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Lexer<'t> {
        // As Go does, ignore a byte order mark, which editors add.
        let at = if text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        Lexer { text, at }
    }

    pub(crate) fn next(&mut self) -> Result<Token<'t>, Problem> {
        self.skip_blanks()?;
        let at = self.at;
        let Some(first) = self.rest().chars().next() else {
            return Ok(Token {
                kind: Kind::End,
                at,
            });
        };
        let kind = match first {
            '`' => self.raw_string()?,
            '"' => self.quoted_string()?,
            '_' => self.word(),
            letter if letter.is_alphanumeric() => self.word(),
            '(' => self.symbol("(", Kind::Open),
            ')' => self.symbol(")", Kind::Close),
            ',' => self.symbol(",", Kind::Comma),
            '!' => self.symbol("!", Kind::Not),
            '&' if self.rest().starts_with("&&") => self.symbol("&&", Kind::And),
            '|' if self.rest().starts_with("||") => self.symbol("||", Kind::Or),
            '.' if self.rest().starts_with("...") => self.symbol("...", Kind::Ellipsis),
            '&' | '|' => return Err(problem(at, Error::HalfOperator(first))),
            '\'' | '‘' | '’' | '“' | '”' => return Err(problem(at, Error::Quote(first))),
            other => return Err(problem(at, Error::Character(other))),
        };
        Ok(Token { kind, at })
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) -> Result<(), Problem> {
        loop {
            let rest = self.rest();
            let blank = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.at += rest.len() - blank.len();
            if blank.starts_with("//") {
                self.at += blank.find('\n').unwrap_or(blank.len());
            } else if let Some(comment) = blank.strip_prefix("/*") {
                let length = comment
                    .find("*/")
                    .ok_or_else(|| problem(self.at, Error::UnclosedComment))?;
                self.at += length + "/**/".len();
            } else {
                return Ok(());
            }
        }
    }

    fn symbol(&mut self, text: &str, kind: Kind<'t>) -> Kind<'t> {
        self.at += text.len();
        kind
    }

    fn word(&mut self) -> Kind<'t> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        self.at += end;
        Kind::Word(&rest[..end])
    }

    fn raw_string(&mut self) -> Result<Kind<'t>, Problem> {
        let body = &self.rest()[1..];
        let length = body
            .find('`')
            .ok_or_else(|| problem(self.at, Error::UnclosedRaw))?;
        self.at += length + "``".len();
        // Go drops carriage returns, so that a rule means the same with either line ending.
        let mut value = body.as_bytes()[..length].to_vec();
        value.retain(|byte| *byte != b'\r');
        let verbatim = value.len() == length;
        Ok(Kind::String(Literal { value, verbatim }))
    }

    fn quoted_string(&mut self) -> Result<Kind<'t>, Problem> {
        let start = self.at;
        self.at += 1;
        let mut value = Vec::new();
        let mut verbatim = true;
        loop {
            let rest = self.rest();
            let plain = rest.find(['"', '\\', '\n']).unwrap_or(rest.len());
            value.extend_from_slice(&rest.as_bytes()[..plain]);
            self.at += plain;
            match rest.as_bytes().get(plain) {
                Some(b'"') => break,
                Some(b'\\') => self.escape(&mut value)?,
                _ => return Err(problem(start, Error::UnclosedQuoted)),
            }
            verbatim = false;
        }
        self.at += 1;
        Ok(Kind::String(Literal { value, verbatim }))
    }

    /// Decodes the escape sequence that begins here, by the rules of Go's quoted strings.
    fn escape(&mut self, value: &mut Vec<u8>) -> Result<(), Problem> {
        let at = self.at;
        let Some(introducer) = self.rest()[1..].chars().next() else {
            // The backslash is the last of the text, so the string has no end either.
            return Err(problem(at, Error::UnclosedQuoted));
        };
        self.at += 1 + introducer.len_utf8();
        let byte = match introducer {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 0x0b,
            '\\' => b'\\',
            '"' => b'"',
            '0'..='7' => {
                // The first digit is part of the number.
                self.at -= 1;
                let code = self.digits(introducer, 3, 8)?;
                u8::try_from(code).map_err(|_| problem(at, Error::NotACharacter))?
            }
            // Two hexadecimal digits are a byte.
            'x' => self.digits(introducer, 2, 16)? as u8,
            'u' | 'U' => {
                let code = self.digits(introducer, if introducer == 'u' { 4 } else { 8 }, 16)?;
                let character =
                    char::from_u32(code).ok_or_else(|| problem(at, Error::NotACharacter))?;
                value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            other => return Err(problem(at, Error::UnknownEscape(other))),
        };
        value.push(byte);
        Ok(())
    }

    fn digits(&mut self, introducer: char, count: usize, radix: u32) -> Result<u32, Problem> {
        let digits = self.rest().get(..count).unwrap_or_default();
        let all = digits.len() == count && digits.chars().all(|c| c.is_digit(radix));
        let number = if all {
            u32::from_str_radix(digits, radix).ok()
        } else {
            None
        };
        let number = number.ok_or_else(|| {
            let base = if radix == 8 { "octal" } else { "hexadecimal" };
            problem(
                self.at,
                Error::ShortEscape {
                    introducer,
                    digits: count,
                    base,
                },
            )
        })?;
        self.at += count;
        Ok(number)
    }
}

fn problem(at: usize, error: Error) -> Problem {
    Problem::new(at, &error, error.help())
}

/// A character as a message shows it: by name where it has no glyph.
struct Shown(char);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            c if c.is_control() || c.is_whitespace() => write!(f, "character U+{:04X}", c as u32),
            c => write!(f, "character `{c}`"),
        }
    }
}

/// A token as a message shows it.
impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A word can be as long as the text.
            Kind::Word(word) if word.chars().count() > 40 => f.write_str("a long word"),
            Kind::Word(word) => write!(f, "`{word}`"),
            Kind::String(_) => f.write_str("a string"),
            Kind::Open => f.write_str("`(`"),
            Kind::Close => f.write_str("`)`"),
            Kind::Comma => f.write_str("`,`"),
            Kind::Ellipsis => f.write_str("`...`"),
            Kind::And => f.write_str("`&&`"),
            Kind::Or => f.write_str("`||`"),
            Kind::Not => f.write_str("`!`"),
            Kind::End => f.write_str("the end of the rule"),
        }
    }
}
