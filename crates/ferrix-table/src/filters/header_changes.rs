//! Changes of header fields.

use std::fmt;

/// Changes of header fields; those of one name have one kind of change (Gateway API,
/// `HTTPHeaderFilter`). None is about a field that frames a message or concerns one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Fields that take the place of all of their name.
    pub set: Box<[Field]>,
    /// Fields that come after those of their name.
    pub add: Box<[Field]>,
    /// Names of fields that are taken out.
    pub remove: Box<[Box<str>]>,
}

/// A header field, valid by RFC 9110, section 5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As it is written to HTTP/1; HTTP/2 has it in lower case.
    pub name: Box<str>,
    /// The value.
    pub value: Box<str>,
}

/// The names alone, as values may be secrets: `set X-A, X-B; remove X-C`.
impl fmt::Display for HeaderChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |fields: &[Field]| -> Vec<Box<str>> {
            fields.iter().map(|field| field.name.clone()).collect()
        };
        let kinds = [
            ("set", names(&self.set)),
            ("add", names(&self.add)),
            ("remove", self.remove.to_vec()),
        ];
        let kinds = kinds.into_iter().filter(|(_, names)| !names.is_empty());
        let kinds: Vec<_> = kinds
            .map(|(kind, names)| format!("{kind} {}", names.join(", ")))
            .collect();
        f.write_str(&kinds.join("; "))
    }
}
