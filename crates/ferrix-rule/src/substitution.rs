//! Another text in place of what a regular expression matches.
//!
//! The expression has the syntax of those in rules. The template has that of Go's `Regexp.Expand`, which
//! Traefik's users know: `$1`, `${1}` and `${name}` stand for what a group has matched, and `$$` for a
//! dollar sign. It is read once and for all: what a group has matched is text, whatever it looks like.

use crate::regexp::{self, Regexp};

/// An expression, and what takes the place of each of its matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitution {
    regexp: Regexp,
    template: Template,
}

/// Why a pattern and a template are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubstitutionError {
    /// It is not RE2's syntax, or too large.
    #[error("the regular expression is refused at byte {at}: {why}; {help}")]
    Pattern {
        /// Where the fault shows, from 0.
        at: usize,
        /// What is wrong.
        why: String,
        /// What would be valid.
        help: &'static str,
    },
    /// A group that the pattern does not have.
    #[error("the pattern has no group `{0}`; where text follows a group, write `${{1}}text`")]
    Group(String),
    /// A dollar sign that stands for nothing.
    #[error("a `$` stands before no group; write `$$` for the character")]
    Dollar,
}

/// A text became longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what takes the place of it is too long")]
pub struct TooLong;

/// What takes the place of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template {
    source: Box<str>,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    /// What the group of this number has matched; nothing where it took no part.
    Group(usize),
}

impl Substitution {
    /// Reads both.
    ///
    /// # Errors
    /// [`SubstitutionError`]
    pub fn new(pattern: &str, template: &str) -> Result<Substitution, SubstitutionError> {
        let refused = |regexp::Error { at, kind }| SubstitutionError::Pattern {
            at,
            why: kind.to_string(),
            help: kind.help(),
        };
        let regexp = Regexp::with_positions(pattern).map_err(refused)?;
        let template = Template::new(template, &regexp)?;
        Ok(Substitution { regexp, template })
    }

    /// The expression as it was written.
    pub fn pattern(&self) -> &str {
        self.regexp.as_str()
    }

    /// The template as it was written.
    pub fn template(&self) -> &str {
        &self.template.source
    }

    /// The texts of the template that stand for themselves.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.template.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(&**text),
            Part::Group(_) => None,
        })
    }

    /// The text with every match replaced, from left to right. `None`: there is no match.
    ///
    /// ```
    /// use ferrix_rule::Substitution;
    ///
    /// let moved = Substitution::new("^/users/([0-9]+)", "/people/$1")?;
    /// assert_eq!(moved.apply("/users/7/name", 100), Ok(Some("/people/7/name".to_owned())));
    /// assert_eq!(moved.apply("/users/me", 100), Ok(None));
    /// # Ok::<(), ferrix_rule::SubstitutionError>(())
    /// ```
    ///
    /// # Errors
    /// It would be longer than `longest` bytes.
    pub fn apply(&self, text: &str, longest: usize) -> Result<Option<String>, TooLong> {
        let mut replaced = Bounded {
            text: String::new(),
            longest,
        };
        let mut behind = None;
        for captures in self.regexp.matches(text) {
            let Some(whole) = captures.get(0) else {
                continue;
            };
            replaced.push(&text[behind.unwrap_or(0)..whole.start()])?;
            for part in &self.template.parts {
                replaced.push(match part {
                    Part::Text(text) => text,
                    Part::Group(group) => captures.get(*group).map_or("", |it| it.as_str()),
                })?;
            }
            behind = Some(whole.end());
        }
        let Some(behind) = behind else {
            return Ok(None);
        };
        replaced.push(&text[behind..])?;
        Ok(Some(replaced.text))
    }
}

struct Bounded {
    text: String,
    longest: usize,
}

impl Bounded {
    fn push(&mut self, text: &str) -> Result<(), TooLong> {
        if self.text.len() + text.len() > self.longest {
            return Err(TooLong);
        }
        self.text.push_str(text);
        Ok(())
    }
}

impl Template {
    fn new(source: &str, regexp: &Regexp) -> Result<Template, SubstitutionError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            let (reference, behind) = Reference::split_from(after)?;
            rest = behind;
            match reference {
                Reference::Dollar => text.push('$'),
                Reference::Group(name) => {
                    let group = regexp.group(name);
                    let group = group.ok_or_else(|| SubstitutionError::Group(name.to_owned()))?;
                    parts.extend(Part::text(&mut text));
                    parts.push(Part::Group(group));
                }
            }
        }
        text.push_str(rest);
        parts.extend(Part::text(&mut text));
        Ok(Template {
            source: source.into(),
            parts: parts.into(),
        })
    }
}

impl Part {
    /// The text up to here, if there is any.
    fn text(text: &mut String) -> Option<Part> {
        let text = std::mem::take(text);
        (!text.is_empty()).then(|| Part::Text(text.into()))
    }
}

/// What a dollar sign begins.
enum Reference<'t> {
    Dollar,
    /// By its number or its name.
    Group(&'t str),
}

impl<'t> Reference<'t> {
    /// What follows a dollar sign: what it stands before, and the rest. Without braces a name is as long
    /// as it can be, as in Go.
    fn split_from(after: &'t str) -> Result<(Self, &'t str), SubstitutionError> {
        if let Some(rest) = after.strip_prefix('$') {
            return Ok((Self::Dollar, rest));
        }
        let (name, rest) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or(SubstitutionError::Dollar)?,
            None => {
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                let length = after.bytes().take_while(|byte| is_name(*byte)).count();
                after.split_at(length)
            }
        };
        match name.is_empty() {
            true => Err(SubstitutionError::Dollar),
            false => Ok((Self::Group(name), rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(pattern: &str, template: &str, text: &str) -> Option<String> {
        let substitution = Substitution::new(pattern, template).unwrap();
        substitution.apply(text, 1000).unwrap()
    }

    #[test]
    fn what_was_matched_is_never_a_template() {
        let cases = [
            ("^/a/(.*)$", "/b/$1", "/a/$1", "/b/$1"),
            ("^/a/(.*)$", "/b/$1", "/a/${host}", "/b/${host}"),
            ("^/a/(.*)$", "/b/$1/$1", "/a/$$", "/b/$$/$$"),
            ("^/a/(?P<rest>.*)$", "/b/${rest}$$1", "/a/$2", "/b/$2$1"),
            ("(.)/(.)", "$2/$1", "a/$1", "$/a1"),
        ];
        for (pattern, template, text, expected) in cases {
            let replaced = replaced(pattern, template, text);
            assert_eq!(replaced.as_deref(), Some(expected), "{template} {text}");
        }
        assert_eq!(cases.len(), 5);
    }

    #[test]
    fn faults_say_what_would_be_valid() {
        let cases = [
            (
                "(",
                "",
                "refused at byte 0: the group that opens here is not closed",
            ),
            ("(a)", "$2", "no group `2`"),
            (
                "(a)",
                "$1x",
                "no group `1x`; where text follows a group, write `${1}text`",
            ),
            ("(?P<a>a)", "${b}", "no group `b`"),
            ("(a)", "$", "write `$$`"),
            ("(a)", "${1", "write `$$`"),
            ("(a)", "$-", "write `$$`"),
            ("a{1000}{1000}", "", "repeats a repetition"),
            ("((a{100}){100}){100}", "", "takes more than 1024 KiB"),
        ];
        for (pattern, template, expected) in cases {
            let error = Substitution::new(pattern, template)
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{pattern} {template}: {error}");
        }
        assert_eq!(cases.len(), 9);
    }

    #[test]
    fn results_are_bounded() {
        let twice = Substitution::new("a", "bb").unwrap();
        assert_eq!(twice.apply("aaa", 6), Ok(Some("bbbbbb".to_owned())));
        assert_eq!(twice.apply("aaa", 5), Err(TooLong));
        assert_eq!(twice.apply("aac", 5), Ok(Some("bbbbc".to_owned())));
        assert_eq!(twice.apply("aacc", 5), Err(TooLong));
        assert_eq!(twice.apply("c", 0), Ok(None));
        let everywhere = Substitution::new("", "0123456789").unwrap();
        assert_eq!(everywhere.apply(&"x".repeat(1000), 5000), Err(TooLong));
    }

    #[test]
    fn only_texts_stand_for_themselves() {
        let substitution = Substitution::new("(a)(b)", "/x$1$2$$y").unwrap();
        let texts: Vec<_> = substitution.texts().collect();
        assert_eq!(texts, ["/x", "$y"]);
    }
}
