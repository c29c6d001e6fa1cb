//! Where credentials are in requests, and the headers that tell services whose they are.

use ferrix_table::filters::api_key::CredentialPlace;

use super::{Faults, header_changes, is_token};
use crate::report::Reason;

/// The one place of a header, a parameter of the query and a cookie. `None`: there is none, or are several.
pub(super) fn place(
    [header, query, cookie]: [&Option<String>; 3],
    field: &str,
    faults: &mut Faults,
) -> Option<CredentialPlace> {
    let named = |of, name: &Option<String>, place: fn(Box<str>) -> CredentialPlace| {
        let name = name.as_deref()?;
        Some((of, name.to_owned(), place(name.into())))
    };
    let all = [
        named("header", header, CredentialPlace::Header),
        named("query", query, CredentialPlace::Query),
        named("cookie", cookie, CredentialPlace::Cookie),
    ];
    let mut all = all.into_iter().flatten();
    let (Some((of, name, place)), None) = (all.next(), all.next()) else {
        return None;
    };
    if !is_token(&name) {
        let message = format!("`{name}` is no name of a {of}");
        faults.add(Reason::InvalidSpec, format!("{field}.{of}"), message);
    }
    Some(place)
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
