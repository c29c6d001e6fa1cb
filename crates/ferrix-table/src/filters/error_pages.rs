//! Pages in place of failures.

use std::{fmt, ops::RangeInclusive, sync::Arc};

use super::{Reference, header_changes::Field};

/// A page in place of the bodies of failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPages<S = Reference> {
    /// Of which statuses; each from 400 to 599.
    pub statuses: Box<[RangeInclusive<u16>]>,
    /// The status that takes the place of these. `None`: it stays, as it always does where 401 or 403 is
    /// among them: who may not pass is told so.
    pub status: Option<u16>,
    /// The page.
    pub page: Page<S>,
}

/// Where a page comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page<S = Reference> {
    /// It is here.
    Here {
        /// Its bytes.
        body: Arc<[u8]>,
        /// The field that says what it is.
        content_type: Field,
    },
    /// Another service has it.
    Service {
        /// Which one.
        service: S,
        /// What stands between the places of its path that have the status.
        path: Box<[Box<str>]>,
    },
}

impl<S> ErrorPages<S> {
    /// Whether it is for a status.
    pub fn are_for(&self, status: u16) -> bool {
        self.statuses.iter().any(|range| range.contains(&status))
    }

    /// The service that has the page.
    pub fn service(&self) -> Option<&S> {
        match &self.page {
            Page::Here { .. } => None,
            Page::Service { service, .. } => Some(service),
        }
    }

    pub(crate) fn with_service<T>(&self, new: impl FnOnce(&S) -> T) -> ErrorPages<T> {
        ErrorPages {
            statuses: self.statuses.clone(),
            status: self.status,
            page: match &self.page {
                Page::Here { body, content_type } => Page::Here {
                    body: Arc::clone(body),
                    content_type: content_type.clone(),
                },
                Page::Service { service, path } => Page::Service {
                    service: new(service),
                    path: path.clone(),
                },
            },
        }
    }
}

/// `404, 500-599: /{status}.html of default/pages:80, as 200`.
impl<S: fmt::Display> fmt::Display for ErrorPages<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |range: &RangeInclusive<u16>| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        let ranges: Vec<_> = self.statuses.iter().map(range).collect();
        write!(f, "{}: ", ranges.join(", "))?;
        match &self.page {
            Page::Here { body, content_type } => {
                write!(f, "{} bytes of {}", body.len(), content_type.value)?;
            }
            Page::Service { service, path } => {
                write!(f, "{} of {service}", path.join("{status}"))?;
            }
        }
        match self.status {
            Some(status) => write!(f, ", as {status}"),
            None => Ok(()),
        }
    }
}
