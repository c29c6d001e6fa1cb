//! What the access log has of requests.

use std::fmt;

/// What the access log has of requests, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nothing.
    Off,
    /// These fields besides what it has of all.
    With {
        /// Names of fields of requests, in lower case.
        request: Box<[Box<str>]>,
        /// Names of fields of responses, in lower case.
        response: Box<[Box<str>]>,
    },
}

/// `none`, or `with x-tenant of requests, x-cache of responses`.
impl fmt::Display for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AccessLog::With { request, response } = self else {
            return f.write_str("none");
        };
        let kinds = [(request, "requests"), (response, "responses")];
        let kinds = kinds.into_iter().filter(|(names, _)| !names.is_empty());
        let kinds: Vec<_> = kinds
            .map(|(names, of)| format!("{} of {of}", names.join(", ")))
            .collect();
        match kinds.is_empty() {
            true => f.write_str("as of others"),
            false => write!(f, "with {}", kinds.join(", ")),
        }
    }
}
