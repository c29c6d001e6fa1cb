//! Where credentials are in requests, and the headers that tell services whose they are.

use ferrix_api::ingressroute::filter;
use ferrix_table::filters::api_key::CredentialPlace;

use super::{Faults, header_changes, is_token};
use crate::report::Reason;

/// The one place that is written in a field. `None`: there is none, or are several.
pub(super) fn place(
    written: &filter::CredentialPlace,
    field: &str,
    faults: &mut Faults,
) -> Option<CredentialPlace> {
    let filter::CredentialPlace {
        header,
        query,
        cookie,
    } = written;
    let (of, name, place): (_, _, fn(Box<str>) -> _) = match (header, query, cookie) {
        (Some(name), None, None) => ("header", name, CredentialPlace::Header),
        (None, Some(name), None) => ("query", name, CredentialPlace::Query),
        (None, None, Some(name)) => ("cookie", name, CredentialPlace::Cookie),
        _ => {
            let message = "expected exactly one of `header`, `query` and `cookie`";
            faults.add(Reason::InvalidSpec, field, message);
            return None;
        }
    };
    if !is_token(name) {
        let message = format!("`{name}` is no name of a {of}");
        faults.add(Reason::InvalidSpec, format!("{field}.{of}"), message);
    }
    Some(place(name.as_str().into()))
}

/// A header that tells a service whose credentials came.
pub(super) fn header(name: Option<&str>, field: &str, faults: &mut Faults) -> Option<Box<str>> {
    let name = name?;
    if name.eq_ignore_ascii_case("authorization") {
        let message = "`Authorization` is for the credentials themselves";
        faults.add(Reason::InvalidSpec, field, message);
    }
    header_changes::check(name, field, &mut Vec::new(), faults);
    Some(name.into())
}

/// The same beside others, which tell something else.
pub(super) fn another_header<'h>(
    name: &str,
    mut before: impl Iterator<Item = &'h str>,
    field: &str,
    faults: &mut Faults,
) {
    if before.any(|it| it.eq_ignore_ascii_case(name)) {
        let message = format!("`{name}` is named more than once");
        faults.add(Reason::InvalidSpec, field, message);
    }
    header(Some(name), field, faults);
}
