//! Conditions joined by `&&`, `||` and `!`.

use crate::{matcher::Matcher, request::Request};

/// A condition on requests.
///
/// `!` stands at the leaves only: the parser moves it there by De Morgan's laws. A list in a list
/// of its own kind is flattened. So an expression has one form, whatever parentheses were written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Expression {
    Leaf(Leaf),
    /// Two or more conditions, every one of which holds.
    All(Vec<Expression>),
    /// Two or more conditions, at least one of which holds.
    Any(Vec<Expression>),
}

/// A matcher, or its opposite.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leaf {
    pub(crate) matcher: Matcher,
    pub(crate) negated: bool,
}

impl Expression {
    /// All of the parts. A single part is itself.
    pub(crate) fn all(parts: Vec<Expression>) -> Expression {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Expression::All(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        alone(flat).unwrap_or_else(Expression::All)
    }

    /// Any of the parts. A single part is itself.
    pub(crate) fn any(parts: Vec<Expression>) -> Expression {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Expression::Any(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        alone(flat).unwrap_or_else(Expression::Any)
    }

    pub(crate) fn matches(&self, request: &Request<'_>) -> bool {
        match self {
            Expression::Leaf(leaf) => leaf.matches(request),
            Expression::All(parts) => parts.iter().all(|part| part.matches(request)),
            Expression::Any(parts) => parts.iter().any(|part| part.matches(request)),
        }
    }
}

impl From<Matcher> for Expression {
    fn from(matcher: Matcher) -> Expression {
        Expression::Leaf(Leaf {
            matcher,
            negated: false,
        })
    }
}

impl Leaf {
    pub(crate) fn matches(&self, request: &Request<'_>) -> bool {
        self.matcher.matches(request) != self.negated
    }
}

fn alone(mut parts: Vec<Expression>) -> Result<Expression, Vec<Expression>> {
    match parts.pop() {
        Some(part) if parts.is_empty() => Ok(part),
        Some(part) => {
            parts.push(part);
            Err(parts)
        }
        None => Err(parts),
    }
}
