//! Answers that a rule gives itself.

use std::{fmt, sync::Arc};

use super::header_changes::Field;

/// An answer to every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Respond {
    /// From 200 to 599.
    pub status: u16,
    /// Empty where the status allows none (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5).
    pub body: Arc<[u8]>,
    /// Header fields, that of the body's type among them.
    pub fields: Box<[Field]>,
}

/// `503, 12 bytes of text/plain`: the status and what there is of a body.
impl fmt::Display for Respond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        let is_kind = |field: &&Field| field.name.eq_ignore_ascii_case("content-type");
        match (self.body.len(), self.fields.iter().find(is_kind)) {
            (0, _) => Ok(()),
            (bytes, Some(kind)) => write!(f, ", {bytes} bytes of {}", kind.value),
            (bytes, None) => write!(f, ", {bytes} bytes"),
        }
    }
}
