//! Rules from the fields of an object: a match of the Gateway API's routes, or a path of an
//! Ingress.
//!
//! Expressions match a whole path or value here, as those of the API's implementations do (Envoy's
//! and linkerd's among them); the API leaves it open. In the rule language they are searched for.

use http::Method;

use crate::{
    expression::Expression,
    matcher::{FieldName, Matcher},
    regexp::{self, Budget, Extent, Regexp},
};

/// Conditions on a request, all of which hold. The default has none. See
/// [`Rule::of`](crate::Rule::of).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Compared with [`Request::path`](crate::Request::path).
    pub path: Option<PathMatch>,
    /// Compared byte for byte (RFC 9110, section 9.1).
    pub method: Option<Method>,
    /// Names in any case, each with what one of the field's lines has. Of names that the Gateway
    /// API ignores because they stand twice, nothing is known here.
    pub headers: Vec<(String, ValueMatch)>,
    /// Names as they are when decoded, each with what one parameter of that name has.
    pub query: Vec<(String, ValueMatch)>,
}

/// A condition on the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// This path.
    Exact(String),
    /// This path and what lies below it, whole segments alone: `/foo` takes `/foo`, `/foo/` and
    /// `/foo/bar`, and not `/foobar`. A slash at its end says nothing, so that `/` takes every
    /// path.
    Prefix(String),
    /// The paths that begin with these bytes, at a segment's end or not.
    Beginning(String),
    /// An expression that the whole path matches.
    Regexp(String),
}

/// A condition on the value of a header field or a query parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    /// This value.
    Exact(String),
    /// An expression that the whole value matches.
    Regexp(String),
}

/// Why fields are no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// It could match nothing.
    #[error("the path `{0}` does not begin with `/`; write it with one")]
    Path(String),
    /// No request has such a field.
    #[error("`{0}` is no name of a header field; write for example `X-Version`")]
    Header(String),
    /// It is not RE2's syntax, or too large.
    #[error("the regular expression `{expression}` is refused at byte {at}: {why}; {help}")]
    Regexp {
        /// As it was given.
        expression: String,
        /// Where the fault shows, from 0.
        at: usize,
        /// What is wrong.
        why: String,
        /// What would be valid.
        help: &'static str,
    },
}

impl Match {
    /// All conditions as one. `None`: every request fulfils them.
    pub(crate) fn expression(&self) -> Result<Option<Expression>, MatchError> {
        let mut budget = Budget::default();
        let mut matchers = Vec::new();
        if let Some(path) = &self.path {
            matchers.extend(path.matcher(&mut budget)?);
        }
        if let Some(method) = &self.method {
            matchers.push(Matcher::Method(method.as_str().into()));
        }
        for (name, value) in &self.headers {
            matchers.push(header(name, value, &mut budget)?);
        }
        for (name, value) in &self.query {
            matchers.push(parameter(name, value, &mut budget)?);
        }
        let parts: Vec<_> = matchers.into_iter().map(Expression::from).collect();
        Ok((!parts.is_empty()).then(|| Expression::all(parts)))
    }
}

impl PathMatch {
    /// `None`: every path.
    fn matcher(&self, budget: &mut Budget) -> Result<Option<Matcher>, MatchError> {
        Ok(match self {
            PathMatch::Exact(path) => Some(Matcher::Path(checked(path)?)),
            PathMatch::Beginning(path) => Some(Matcher::PathPrefix(checked(path)?)),
            PathMatch::Regexp(source) => Some(Matcher::PathRegexp(regexp(source, budget)?)),
            PathMatch::Prefix(path) => match checked(path)?.trim_end_matches('/') {
                "" => None,
                prefix => Some(Matcher::SegmentPrefix(prefix.into())),
            },
        })
    }
}

fn checked(path: &str) -> Result<Box<str>, MatchError> {
    match path.starts_with('/') {
        true => Ok(path.into()),
        false => Err(MatchError::Path(path.to_owned())),
    }
}

fn header(name: &str, value: &ValueMatch, budget: &mut Budget) -> Result<Matcher, MatchError> {
    let field = FieldName::new(name.as_bytes());
    let field = field.ok_or_else(|| MatchError::Header(name.to_owned()))?;
    Ok(match value {
        ValueMatch::Exact(value) => Matcher::Header(field, value.as_bytes().into()),
        ValueMatch::Regexp(source) => Matcher::HeaderRegexp(field, regexp(source, budget)?),
    })
}

fn parameter(name: &str, value: &ValueMatch, budget: &mut Budget) -> Result<Matcher, MatchError> {
    let name = name.as_bytes().into();
    Ok(match value {
        ValueMatch::Exact(value) => Matcher::Query(name, value.as_bytes().into()),
        ValueMatch::Regexp(source) => Matcher::QueryRegexp(name, regexp(source, budget)?),
    })
}

fn regexp(source: &str, budget: &mut Budget) -> Result<Regexp, MatchError> {
    let refused = |regexp::Error { at, kind }| MatchError::Regexp {
        expression: source.to_owned(),
        at,
        why: kind.to_string(),
        help: kind.help(),
    };
    Regexp::new(source, Extent::Whole, budget).map_err(refused)
}
