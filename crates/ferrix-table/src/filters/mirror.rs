//! Mirrors: copies of requests for another service, whose answers nobody waits for.

use std::fmt;

use super::Reference;

/// Copies of requests for another service (Gateway API, `HTTPRequestMirrorFilter`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror<S = Reference> {
    /// Where copies go; where it leads nowhere, there are none.
    pub service: S,
    /// Of so many requests…
    pub denominator: u32,
    /// …so many are copied; no more than those.
    pub numerator: u32,
}

impl<S> Mirror<S> {
    pub(crate) fn with_service<T>(&self, service: impl FnOnce(&S) -> T) -> Mirror<T> {
        Mirror {
            service: service(&self.service),
            denominator: self.denominator,
            numerator: self.numerator,
        }
    }
}

/// `1 of 2 requests to default/api:80`.
impl<S: fmt::Display> fmt::Display for Mirror<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mirror {
            service,
            denominator,
            numerator,
        } = self;
        match numerator == denominator {
            true => write!(f, "every request to {service}"),
            false => write!(f, "{numerator} of {denominator} requests to {service}"),
        }
    }
}
