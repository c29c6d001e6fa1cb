//! Changes of header fields, as they are written.

use ferrix_api::gateway::{self, HttpHeader};
use ferrix_table::filters::header_changes::{Field, HeaderChanges};

use super::{Faults, is_token};
use crate::report::Reason;

/// Fields that frame a message, are about one connection, or say what a request is for: to change one
/// would make another message of it. The host is for `urlRewrite`.
const PROTECTED: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn compile(
    written: &gateway::HeaderChanges,
    field: &str,
    faults: &mut Faults,
) -> HeaderChanges {
    let mut names: Vec<String> = Vec::new();
    let set = fields(&written.set, &format!("{field}.set"), &mut names, faults);
    let add = fields(&written.add, &format!("{field}.add"), &mut names, faults);
    let mut remove = Vec::with_capacity(written.remove.len());
    for (at, name) in written.remove.iter().enumerate() {
        check(name, &format!("{field}.remove[{at}]"), &mut names, faults);
        remove.push(name.as_str().into());
    }
    HeaderChanges {
        set,
        add,
        remove: remove.into(),
    }
}

/// Fields of names that are not among these yet.
pub(super) fn fields(
    written: &[HttpHeader],
    field: &str,
    names: &mut Vec<String>,
    faults: &mut Faults,
) -> Box<[Field]> {
    let mut fields = Vec::with_capacity(written.len());
    for (at, HttpHeader { name, value }) in written.iter().enumerate() {
        check(name, &format!("{field}[{at}].name"), names, faults);
        let value = value.trim_matches([' ', '\t']);
        if !value
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
        {
            let message = "expected a value of printable ASCII characters";
            faults.add(Reason::InvalidSpec, format!("{field}[{at}].value"), message);
        }
        fields.push(Field {
            name: name.as_str().into(),
            value: value.into(),
        });
    }
    fields.into()
}

/// A name may have one change, whatever its case.
pub(super) fn check(name: &str, field: &str, names: &mut Vec<String>, faults: &mut Faults) {
    let lower = name.to_ascii_lowercase();
    let message = match () {
        () if !is_token(name) => format!("`{name}` is no name of a header"),
        () if lower == "host" => {
            "the host is changed by `urlRewrite.hostname`, not by its header".to_owned()
        }
        () if PROTECTED.contains(&&*lower) => {
            format!("`{name}` frames messages or is about one connection: it cannot be changed")
        }
        () if names.contains(&lower) => format!("`{name}` is named more than once"),
        () => {
            names.push(lower);
            return;
        }
    };
    faults.add(Reason::InvalidSpec, field, message);
}
