//! Changes of header fields.

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
