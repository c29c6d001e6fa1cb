//! Tokens to expression.
//!
//! ```text
//! rule    = and { "||" and }
//! and     = unary { "&&" unary }
//! unary   = { "!" } ( "(" rule ")" | matcher )
//! matcher = name "(" string { "," string } [ "..." ] [ "," ] ")"
//! ```
//!
//! Whether an expression is negated is known before it is read, and handed down: so `!` arrives
//! at the leaves in one pass. Only parentheses recurse, to a bounded depth.

use crate::{
    MAX_TEXT,
    error::Problem,
    expression::{Expression, Leaf},
    matcher::{Argument, Matcher, SPECS, Spec},
    regexp::Budget,
    token::{Kind, Lexer, Token},
};

/// How deep parentheses may nest. It bounds the stack of everything that walks an expression.
const MAX_DEPTH: usize = 128;

pub(crate) fn parse(text: &str) -> Result<Expression, Problem> {
    if text.len() > MAX_TEXT {
        return Err(problem(MAX_TEXT, Error::TooLong));
    }
    let mut lexer = Lexer::new(text);
    let next = lexer.next()?;
    if next.kind == Kind::End {
        return Err(problem(0, Error::Empty));
    }
    let mut parser = Parser {
        lexer,
        next,
        depth: 0,
        budget: Budget::default(),
    };
    let expression = parser.rule(false)?;
    match &parser.next.kind {
        Kind::End => Ok(expression),
        Kind::Close => Err(parser.unexpected(Error::Unopened)),
        found => {
            let found = found.to_string();
            Err(parser.unexpected(Error::NoOperator {
                end: "the end of the rule",
                found,
            }))
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the rule is longer than {MAX_TEXT} bytes")]
    TooLong,
    #[error("the rule is empty")]
    Empty,
    #[error("parentheses nest deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("expected a matcher, found {0}")]
    NoMatcher(String),
    #[error("expected `&&`, `||` or {end}, found {found}")]
    NoOperator { end: &'static str, found: String },
    #[error("the parenthesis that opens here is not closed: found {0}")]
    Unclosed(String),
    #[error("this parenthesis closes nothing")]
    Unopened,
    #[error("unknown matcher `{name}`{}", did_you_mean(name))]
    UnknownMatcher { name: String },
    #[error("`{}` needs its arguments in parentheses, found {found}", spec.name)]
    NoArguments { spec: &'static Spec, found: String },
    #[error("expected a string as an argument of `{}`, found {found}", spec.name)]
    NoString { spec: &'static Spec, found: String },
    #[error("expected `,` or `)` after an argument of `{}`, found {found}", spec.name)]
    NoComma { spec: &'static Spec, found: String },
    #[error("`{}` takes {}, not {count}", spec.name, spec.arity())]
    Arity { spec: &'static Spec, count: usize },
}

impl Error {
    fn help(&self) -> String {
        match self {
            Error::TooLong => "split the rule into several".into(),
            Error::Empty => "write a matcher, for example Host(`example.com`)".into(),
            Error::TooDeep => "`a && (b && c)` is `a && b && c`".into(),
            Error::UnknownMatcher { name } if name.eq_ignore_ascii_case("not") => {
                "write `!` for not".into()
            }
            Error::NoMatcher(_) | Error::UnknownMatcher { .. } => {
                let names: Vec<_> = SPECS.iter().map(|spec| spec.name).collect();
                format!("the matchers are {}", names.join(", "))
            }
            Error::NoOperator { found, .. } => match found.to_ascii_lowercase().as_str() {
                "`and`" => "write `&&` for and".into(),
                "`or`" => "write `||` for or".into(),
                _ => "join matchers by `&&` or `||`".into(),
            },
            Error::Unclosed(_) => "add the missing `)`".into(),
            Error::Unopened => "remove it, or add the missing `(`".into(),
            Error::NoArguments { spec, .. } | Error::NoComma { spec, .. } => spec.usage(),
            Error::NoString { spec, .. } => {
                format!("{}, in backticks or double quotes", spec.usage())
            }
            Error::Arity { spec, count } if spec.is_list_of_one(*count) => {
                let name = spec.name;
                format!("for several values write {name}(…) || {name}(…)")
            }
            Error::Arity { spec, .. } => spec.usage(),
        }
    }
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    next: Token<'t>,
    depth: usize,
    budget: Budget,
}

impl<'t> Parser<'t> {
    fn rule(&mut self, negated: bool) -> Result<Expression, Problem> {
        let mut parts = vec![self.and(negated)?];
        while self.next.kind == Kind::Or {
            self.advance()?;
            parts.push(self.and(negated)?);
        }
        Ok(if negated {
            Expression::all(parts)
        } else {
            Expression::any(parts)
        })
    }

    fn and(&mut self, negated: bool) -> Result<Expression, Problem> {
        let mut parts = vec![self.unary(negated)?];
        while self.next.kind == Kind::And {
            self.advance()?;
            parts.push(self.unary(negated)?);
        }
        Ok(if negated {
            Expression::any(parts)
        } else {
            Expression::all(parts)
        })
    }

    fn unary(&mut self, mut negated: bool) -> Result<Expression, Problem> {
        while self.next.kind == Kind::Not {
            self.advance()?;
            negated = !negated;
        }
        match self.next.kind {
            Kind::Open => self.parenthesis(negated),
            Kind::Word(name) => {
                let matcher = self.matcher(name)?;
                Ok(Expression::Leaf(Leaf { matcher, negated }))
            }
            _ => {
                let found = self.next.kind.to_string();
                Err(self.unexpected(Error::NoMatcher(found)))
            }
        }
    }

    fn parenthesis(&mut self, negated: bool) -> Result<Expression, Problem> {
        let open = self.advance()?;
        if self.depth == MAX_DEPTH {
            return Err(problem(open.at, Error::TooDeep));
        }
        self.depth += 1;
        let inner = self.rule(negated)?;
        self.depth -= 1;
        match &self.next.kind {
            Kind::Close => self.advance()?,
            Kind::End => {
                return Err(problem(
                    open.at,
                    Error::Unclosed(self.next.kind.to_string()),
                ));
            }
            // The fault is this token: the parenthesis may well be closed further on.
            found => {
                let found = found.to_string();
                return Err(self.unexpected(Error::NoOperator { end: "`)`", found }));
            }
        };
        Ok(inner)
    }

    fn matcher(&mut self, name: &str) -> Result<Matcher, Problem> {
        let at = self.next.at;
        let spec = Matcher::spec(name).ok_or_else(|| {
            problem(
                at,
                Error::UnknownMatcher {
                    name: name.chars().take(40).collect(),
                },
            )
        })?;
        self.advance()?;
        if self.next.kind != Kind::Open {
            let found = self.next.kind.to_string();
            return Err(self.unexpected(Error::NoArguments { spec, found }));
        }
        let open = self.advance()?;
        let arguments = self.arguments(spec, open.at)?;
        let count = arguments.len();
        if !spec.takes(count) {
            // Point at the first argument too many, or at the place of the one that is missing.
            let at = arguments
                .get(spec.most())
                .map_or(self.next.at, |surplus| surplus.at);
            return Err(problem(at, Error::Arity { spec, count }));
        }
        let matcher = spec.build(&mut self.budget, &arguments)?;
        self.advance()?;
        Ok(matcher)
    }

    /// The arguments up to the closing parenthesis, which stays the next token.
    fn arguments(&mut self, spec: &'static Spec, open: usize) -> Result<Vec<Argument>, Problem> {
        let mut arguments = Vec::new();
        while self.next.kind != Kind::Close {
            let at = self.next.at;
            let literal = match &mut self.next.kind {
                Kind::String(literal) => literal,
                found => {
                    let found = found.to_string();
                    return Err(problem(at, Error::NoString { spec, found }));
                }
            };
            let value = std::mem::take(&mut literal.value);
            arguments.push(Argument {
                value,
                at,
                verbatim: literal.verbatim,
            });
            self.advance()?;

            let last = self.next.kind == Kind::Ellipsis;
            if last {
                self.advance()?;
            }
            let comma = self.next.kind == Kind::Comma;
            if comma {
                self.advance()?;
            }
            match &self.next.kind {
                Kind::Close => {}
                Kind::End => {
                    return Err(problem(open, Error::Unclosed(self.next.kind.to_string())));
                }
                _ if comma && !last => {}
                found => {
                    let found = found.to_string();
                    return Err(self.unexpected(Error::NoComma { spec, found }));
                }
            }
        }
        Ok(arguments)
    }

    /// Takes the next token and reads the one after it.
    fn advance(&mut self) -> Result<Token<'t>, Problem> {
        let following = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, following))
    }

    fn unexpected(&self, error: Error) -> Problem {
        problem(self.next.at, error)
    }
}

fn problem(at: usize, error: Error) -> Problem {
    Problem::new(at, &error, error.help())
}

/// The end of the message about an unknown matcher: the name that was probably meant.
fn did_you_mean(name: &str) -> String {
    let written = name.to_ascii_lowercase();
    let nearest = SPECS
        .iter()
        .map(|spec| {
            (
                strsim::levenshtein(&written, &spec.name.to_ascii_lowercase()),
                spec.name,
            )
        })
        .min();
    match nearest {
        Some((edits, known)) if edits <= 2 && 2 * edits <= written.len() => {
            format!("; did you mean `{known}`?")
        }
        _ => String::new(),
    }
}
