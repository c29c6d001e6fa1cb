//! Cross-origin resource sharing: which origins may read responses.

use std::fmt;

/// Which origins may read responses (Gateway API, `HTTPCORSFilter`; the Fetch standard, section 3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins that may read responses.
    pub allow_origins: Box<[OriginPattern]>,
    /// Methods, as they are told to clients.
    pub allow_methods: Listed,
    /// Names of request header fields.
    pub allow_headers: Listed,
    /// Names of response header fields.
    pub expose_headers: Listed,
    /// Whether requests may have credentials.
    pub allow_credentials: bool,
    /// How long a client keeps the answer to a preflight request, in seconds.
    pub max_age: u32,
}

/// Names that are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// `*`: all.
    All,
    /// These, as the value of a header field. Empty: none but those that are always allowed.
    These(Box<str>),
}

/// An origin that is allowed, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPattern {
    /// `*`: every origin.
    Any,
    /// An origin in the form in which clients send it: in lower case, without the scheme's default port.
    Exact(Box<str>),
    /// Every origin that begins and ends with these, with at least one byte between them: a `*` in the
    /// host.
    Wildcard {
        /// Up to the `*`: `https://`, or more.
        prefix: Box<str>,
        /// From the `*` on: such as `.example.com` or `.example.com:8443`.
        suffix: Box<str>,
    },
}

/// None.
impl Default for Listed {
    fn default() -> Self {
        Listed::These(Box::default())
    }
}

/// The origins.
impl fmt::Display for Cors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins: Vec<_> = self
            .allow_origins
            .iter()
            .map(OriginPattern::to_string)
            .collect();
        f.write_str(&origins.join(", "))
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginPattern::Any => f.write_str("*"),
            OriginPattern::Exact(origin) => f.write_str(origin),
            OriginPattern::Wildcard { prefix, suffix } => write!(f, "{prefix}*{suffix}"),
        }
    }
}
