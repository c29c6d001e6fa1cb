//! Which requests a rule takes: written as text in the rule language, or given as the fields of an
//! object.
//!
//! ```text
//! text ─► token ─► parse ─┬─► matcher ─► regexp      one condition, its arguments checked
//! fields ─► request_match ┴─► expression             the conditions joined by && and ||
//!                                  ├─► matches, mismatch(request)
//!                                  ├─► constraints    hosts and paths, for an index
//!                                  ├─► never          what no request meets
//!                                  ├─► sample         requests that it takes
//!                                  └─► print          canonical text, or words
//! pattern, template ─► substitution ─► regexp     another text in place of what matches
//! ```
//!
//! Grammar and meaning of the text are those of Traefik v3, so that its users' rules keep their
//! meaning: a rule which Traefik accepts means the same here. Beyond that this parser is more
//! liberal (a line may begin with an operator), never different. What only other kinds of objects
//! ask for, such as a prefix of whole segments, has no text: see [`Match`].
//!
//! The crate is pure: no clock, no I/O, no lock that is waited for. Matching allocates nothing,
//! with two exceptions that [`Rule::matches`] names.

mod constraints;
mod error;
mod explain;
mod expression;
mod matcher;
mod never;
mod parse;
mod print;
mod query;
mod regexp;
mod request;
mod request_match;
mod sample;
mod substitution;
mod token;

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use expression::Expression;
use print::{Form, Shown};

pub use constraints::{Constraints, HostConstraint, PathConstraint};
pub use error::ParseError;
pub use matcher::{canonical_network, network};
pub use never::Literal;
pub use request::{Headers, Request};
pub use request_match::{Match, MatchError, PathMatch, ValueMatch};
pub use sample::Sample;
pub use substitution::{Substitution, SubstitutionError, TooLong};

/// The longest text that is parsed, in bytes.
///
/// It bounds what one object can cost everybody who shares the table with it.
pub const MAX_TEXT: usize = 16 * 1024;

/// A condition on requests.
///
/// Rules are equal when they ask for the same in the same order, however they came about.
///
/// ```
/// use ferrix_rule::Rule;
///
/// let rule = Rule::parse("Host(`example.com`) && !PathPrefix(`/private`)")?;
/// assert_eq!(rule, Rule::parse("(host(`Example.com.`)) && !(pathprefix(`/private`))")?);
/// # Ok::<(), ferrix_rule::ParseError>(())
/// ```
#[derive(Clone)]
pub struct Rule {
    inner: Arc<Inner>,
}

struct Inner {
    /// What a person is shown: the text as it was written, or words for a rule without one.
    shown: Box<str>,
    form: Form,
    expression: Expression,
}

impl Rule {
    /// Parses a rule.
    pub fn parse(text: &str) -> Result<Rule, ParseError> {
        let expression = parse::parse(text).map_err(|problem| problem.in_text(text))?;
        Ok(Rule::new(text.into(), Form::Text, expression))
    }

    /// The rule that takes what fulfils all conditions of a match. `None`: every request does.
    ///
    /// ```
    /// use ferrix_rule::{Match, PathMatch, Rule};
    ///
    /// let api = Match {
    ///     path: Some(PathMatch::Prefix("/api/".to_owned())),
    ///     ..Match::default()
    /// };
    /// let rule = Rule::of(&api)?.expect("it asks for a path");
    /// assert_eq!(rule.to_string(), "path prefix `/api`");
    /// # Ok::<(), ferrix_rule::MatchError>(())
    /// ```
    pub fn of(fields: &Match) -> Result<Option<Rule>, MatchError> {
        let expression = fields.expression()?;
        Ok(expression.map(|expression| {
            let words = Shown(&expression, Form::Words).to_string();
            Rule::new(words.into(), Form::Words, expression)
        }))
    }

    fn new(shown: Box<str>, form: Form, expression: Expression) -> Rule {
        Rule {
            inner: Arc::new(Inner {
                shown,
                form,
                expression,
            }),
        }
    }

    /// Whether the rule takes this request.
    ///
    /// This allocates nothing, but where a regular expression meets a query value that is
    /// escaped and long, or bytes that are not UTF-8. A regular expression also borrows scratch
    /// memory from a pool of its own: a bounded piece for each thread, filled as it is first used,
    /// and never waited for.
    pub fn matches(&self, request: &Request<'_>) -> bool {
        self.inner.expression.matches(request)
    }

    /// Why the rule does not take this request, as a sentence for a person; `None` if it does.
    ///
    /// The sentence names the matcher that failed and what the request had instead:
    /// ``Path(`/api`) is not the path /apx``.
    pub fn mismatch(&self, request: &Request<'_>) -> Option<String> {
        explain::mismatch(&self.inner.expression, self.inner.form, request)
    }

    /// The hosts and the paths outside which the rule cannot match.
    pub fn constraints(&self) -> Constraints {
        Constraints::of(&self.inner.expression)
    }

    /// What of the rule no request meets, each in a sentence for a person. A rule that parses may still
    /// contradict itself.
    pub fn never(&self) -> Vec<String> {
        never::sentences(&self.inner.expression, self.inner.form)
    }

    /// Whether it shows without a request that none fulfils both rules. `false` says nothing: regular
    /// expressions, for one, are not compared.
    pub fn excludes(&self, other: &Rule) -> bool {
        never::exclude(&self.inner.expression, &other.inner.expression)
    }

    /// Requests that the rule takes, as near to `start` as the search finds them: at most 16, and no two
    /// alike. There may be some where none is found.
    ///
    /// ```
    /// use ferrix_rule::{Rule, Sample};
    ///
    /// let rule = Rule::parse("PathRegexp(`^/v[0-9]+/`) && !Method(`GET`)")?;
    /// let samples = rule.samples(&Sample::of("example.com"));
    /// assert_eq!((samples[0].method.as_str(), &*samples[0].path), ("POST", "/v1/"));
    /// # Ok::<(), ferrix_rule::ParseError>(())
    /// ```
    pub fn samples(&self, start: &Sample) -> Vec<Sample> {
        sample::samples(&self.inner.expression, start)
    }

    /// Hosts and paths that requests are compared with, but for those under a `!`.
    pub fn literals(&self) -> Vec<Literal<'_>> {
        never::literals(&self.inner.expression)
    }

    /// The rule as its user wrote it, at most [`MAX_TEXT`] long; `None` for one that was not
    /// written as text.
    pub fn text(&self) -> Option<&str> {
        match self.inner.form {
            Form::Text => Some(&self.inner.shown),
            Form::Words => None,
        }
    }

    /// Whether this copy is not the only one.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }

    /// What a person is shown: the rule as its user wrote it, or in words that are no text of the
    /// rule language.
    pub fn shown(&self) -> &str {
        &self.inner.shown
    }
}

/// The canonical text, which parses to an equal rule (if it is not longer than [`MAX_TEXT`]). A
/// rule that was not written as text is in words, which do not parse.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.inner.expression, self.inner.form).fmt(f)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.shown()).finish()
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) || self.inner.expression == other.inner.expression
    }
}

impl Eq for Rule {}

impl Hash for Rule {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.expression.hash(state);
    }
}

impl std::str::FromStr for Rule {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Rule, ParseError> {
        Rule::parse(text)
    }
}
