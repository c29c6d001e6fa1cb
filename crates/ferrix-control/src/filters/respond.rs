//! Answers that a rule gives itself, as they are written.

use ferrix_api::ingressroute::filter;
use ferrix_table::filters::{header_changes::Field, respond::Respond};

use super::{Faults, header_changes};
use crate::report::Reason;

/// What a body is that nobody says more about.
const TEXT: &str = "text/plain; charset=utf-8";

/// The name of the field that says what a body is.
pub(super) const CONTENT_TYPE: &str = "Content-Type";

pub(super) fn compile(written: &filter::Respond, field: &str, faults: &mut Faults) -> Respond {
    let status = written.status;
    if !(200..=599).contains(&status) {
        let message = format!("{status} is no status of an answer; expected 200 to 599");
        faults.add(Reason::InvalidSpec, format!("{field}.status"), message);
    }
    let body = written.body.as_deref().unwrap_or_default();
    if !body.is_empty() && matches!(status, 204 | 205 | 304) {
        let message = format!("an answer with the status {status} has no body");
        faults.add(Reason::InvalidSpec, format!("{field}.body"), message);
    }
    let kind = match (&written.content_type, body.is_empty()) {
        (None, true) => None,
        (Some(_), true) => {
            let message = "says what the body is, and there is none";
            faults.add(Reason::InvalidSpec, format!("{field}.contentType"), message);
            None
        }
        (kind, false) => Some(content_type(kind.as_deref(), field, faults)),
    };
    // One of the other fields may say nothing else.
    let mut names: Vec<String> = kind.iter().map(|it| it.name.to_ascii_lowercase()).collect();
    let headers = format!("{field}.headers");
    let more = header_changes::fields(&written.headers, &headers, &mut names, faults);
    Respond {
        status,
        body: body.as_bytes().into(),
        fields: kind.into_iter().chain(more).collect(),
    }
}

/// The field that says what a body is.
pub(super) fn content_type(written: Option<&str>, field: &str, faults: &mut Faults) -> Field {
    let kind = written.unwrap_or(TEXT);
    if !is_media_type(kind) {
        let message = format!("`{kind}` is no media type; expected such as `text/html`");
        faults.add(Reason::InvalidSpec, format!("{field}.contentType"), message);
    }
    Field {
        name: CONTENT_TYPE.into(),
        value: kind.into(),
    }
}

/// As far as it matters: two names, and nothing that could end the line (RFC 9110, section 8.3.1).
fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let names = essence.split_once('/');
    names.is_some_and(|(kind, subtype)| super::is_token(kind) && super::is_token(subtype))
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}
