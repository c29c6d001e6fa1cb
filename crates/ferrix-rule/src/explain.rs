//! Why a rule does not take a request, in words.

use std::fmt::{self, Display, Formatter, Write};

use crate::{
    expression::{Expression, Leaf},
    matcher::{FieldName, Matcher},
    print::{Form, Shown},
    request::Request,
};

/// How many alternatives one sentence lists, and how many characters of the request it quotes.
const MOST_ALTERNATIVES: usize = 8;
const MOST_CHARACTERS: usize = 200;

/// A sentence about the matchers that failed. Of conditions joined by `&&` it names the first that
/// failed, of those joined by `||` every one.
pub(crate) fn mismatch(
    expression: &Expression,
    form: Form,
    request: &Request<'_>,
) -> Option<String> {
    match expression {
        Expression::Leaf(leaf) if leaf.matches(request) => None,
        Expression::Leaf(leaf) => {
            let fault = Fault {
                leaf,
                form,
                request,
            };
            Some(fault.to_string())
        }
        Expression::All(parts) => parts.iter().find_map(|part| mismatch(part, form, request)),
        Expression::Any(parts) => {
            if expression.matches(request) {
                return None;
            }
            let faults: Vec<_> = parts
                .iter()
                .take(MOST_ALTERNATIVES)
                .filter_map(|part| mismatch(part, form, request))
                .collect();
            let mut sentence = faults.join("; ");
            if let more @ 1.. = parts.len().saturating_sub(MOST_ALTERNATIVES) {
                let _ = write!(sentence, "; nor do {more} other alternatives match");
            }
            Some(sentence)
        }
    }
}

/// A leaf which does not hold, how it is shown, and the request.
struct Fault<'f, 'r> {
    leaf: &'f Leaf,
    form: Form,
    request: &'f Request<'r>,
}

impl Display for Fault<'_, '_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Fault {
            leaf,
            form,
            request,
        } = *self;
        let verb = match &leaf.matcher {
            _ if leaf.negated => "refuses",
            Matcher::Host(_) | Matcher::Path(_) | Matcher::Method(_) => "is not",
            Matcher::PathPrefix(_) | Matcher::SegmentPrefix(_) => "does not begin",
            Matcher::Header(..) | Matcher::Query(..) => "is not in",
            Matcher::ClientIp(_) => "does not contain",
            Matcher::HostRegexp(_)
            | Matcher::PathRegexp(_)
            | Matcher::HeaderRegexp(..)
            | Matcher::QueryRegexp(..) => "does not match",
        };
        write!(f, "{} ", Shown(leaf, form))?;
        match &leaf.matcher {
            Matcher::Host(_) | Matcher::HostRegexp(_) => match request.host {
                "" => absent(f, leaf, "a host"),
                host => write!(f, "{verb} the host {}", Quoted(host)),
            },
            Matcher::Path(_)
            | Matcher::PathPrefix(_)
            | Matcher::SegmentPrefix(_)
            | Matcher::PathRegexp(_) => {
                write!(f, "{verb} the path {}", Quoted(request.path))
            }
            Matcher::Method(_) => {
                write!(f, "{verb} the method {}", Quoted(request.method.as_str()))
            }
            Matcher::Header(name, _) | Matcher::HeaderRegexp(name, _) => {
                let Some(values) = header_values(name, request) else {
                    let name = String::from_utf8_lossy(&name.written()).into_owned();
                    return absent(f, leaf, &format!("the header {}", Quoted(&name)));
                };
                write!(f, "{verb} the header's values: {}", Quoted(&values))
            }
            Matcher::Query(..) | Matcher::QueryRegexp(..) => match request.query {
                "" => absent(f, leaf, "a query"),
                query => write!(f, "{verb} the query {}", Quoted(query)),
            },
            Matcher::ClientIp(_) => {
                write!(
                    f,
                    "{verb} the client address {}",
                    request.client.to_canonical()
                )
            }
        }
    }
}

fn absent(f: &mut Formatter<'_>, leaf: &Leaf, what: &str) -> fmt::Result {
    if leaf.negated {
        write!(f, "refuses a request without {what}")
    } else {
        write!(f, "needs {what}, and the request has none")
    }
}

/// The values of a header as text, if there is one.
fn header_values(name: &FieldName, request: &Request<'_>) -> Option<String> {
    let mut values = Vec::new();
    name.any(request, |value| {
        values.push(String::from_utf8_lossy(value).into_owned());
        false
    });
    if values.is_empty() {
        None
    } else {
        Some(values.join(", "))
    }
}

/// Text of a request, cut to a bound and without control characters.
struct Quoted<'q>(&'q str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars().take(MOST_CHARACTERS) {
            match character {
                control if control.is_control() => write!(f, "{}", control.escape_default())?,
                other => f.write_char(other)?,
            }
        }
        let cut = self.0.chars().nth(MOST_CHARACTERS).is_some();
        f.write_str(if cut { "…" } else { "" })
    }
}
