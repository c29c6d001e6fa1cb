//! Limits of bodies.

use std::fmt;

/// How long the body of a request may be. The settings do not count then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodySize {
    /// In bytes; not 0.
    pub max: u64,
}

/// `1000 bytes at most`.
impl fmt::Display for BodySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at most", self.max)
    }
}
