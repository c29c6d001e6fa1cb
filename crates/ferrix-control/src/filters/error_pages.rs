//! Pages in place of failures, as they are written.

use std::ops::RangeInclusive;

use ferrix_api::ingressroute::filter;
use ferrix_table::{
    filters::error_pages::{ErrorPages, Page},
    path::{self, PathOptions},
};

use super::{DraftService, Faults, respond};
use crate::report::Reason;

/// What stands for the status in a path.
pub(super) const STATUS: &str = "{status}";

/// `service`: the one that has the page, where one is named.
pub(super) fn compile(
    written: &filter::ErrorPages,
    field: &str,
    service: Option<DraftService>,
    faults: &mut Faults,
) -> ErrorPages<DraftService> {
    if written.statuses.is_empty() {
        let message = "expected at least one status";
        faults.add(Reason::InvalidSpec, format!("{field}.statuses"), message);
    }
    let statuses = statuses(&written.statuses, field, faults);
    if let Some(status) = written.status {
        let field = format!("{field}.status");
        let refuses = |it: &RangeInclusive<u16>| it.contains(&401) || it.contains(&403);
        if !(200..=599).contains(&status) {
            let message = format!("{status} is no status of a page; expected 200 to 599");
            faults.add(Reason::InvalidSpec, field, message);
        } else if matches!(status, 204 | 205 | 304) {
            let message = format!("an answer with the status {status} has no page");
            faults.add(Reason::InvalidSpec, field, message);
        } else if statuses.iter().any(refuses) {
            let message = "401 and 403 keep their status: who may not pass is told so";
            faults.add(Reason::UnsupportedValue, field, message);
        }
    }
    ErrorPages {
        statuses,
        status: written.status,
        page: page(written, field, service, faults),
    }
}

/// `statuses` of a field: those of failures.
pub(crate) fn statuses(
    written: &[filter::StatusRange],
    field: &str,
    faults: &mut Faults,
) -> Box<[RangeInclusive<u16>]> {
    let mut statuses = Vec::with_capacity(written.len());
    for (at, range) in written.iter().enumerate() {
        let (first, last) = (range.first, range.last);
        if first < 400 || last > 599 || first > last {
            let message =
                format!("`{range}` is no range of failures; expected such as 404 or `500-599`");
            let field = format!("{field}.statuses[{at}]");
            faults.add(Reason::InvalidSpec, field, message);
        }
        statuses.push(first..=last);
    }
    statuses.into()
}

fn page(
    written: &filter::ErrorPages,
    field: &str,
    service: Option<DraftService>,
    faults: &mut Faults,
) -> Page<DraftService> {
    let body = written.body.as_deref().unwrap_or_default();
    let kind = written.content_type.as_deref();
    match (service, &written.path) {
        (Some(service), path) => {
            if !body.is_empty() || kind.is_some() {
                let message = "give `body` or `backendRef`, not both";
                faults.add(Reason::InvalidSpec, field, message);
            }
            let path = path.as_deref().unwrap_or_default();
            Page::Service {
                service,
                path: pieces(path, &format!("{field}.path"), faults),
            }
        }
        (None, path) => {
            if body.is_empty() {
                let message = "expected a page: `body`, or `backendRef` and `path`";
                faults.add(Reason::InvalidSpec, field, message);
            } else if path.is_some() {
                let message = "is for the page of a `backendRef`, and there is none";
                faults.add(Reason::InvalidSpec, format!("{field}.path"), message);
            }
            Page::Here {
                body: body.as_bytes().into(),
                content_type: respond::content_type(kind, field, faults),
            }
        }
    }
}

/// What stands between the places that have the status.
fn pieces(path: &str, field: &str, faults: &mut Faults) -> Box<[Box<str>]> {
    let example = path.replace(STATUS, "404");
    let is_canonical = |canonical: path::CanonicalTarget<'_>| canonical.path_and_query == example;
    if !path::canonical(&example, &PathOptions::default()).is_ok_and(is_canonical) {
        let message = format!("`{path}` is no path of a page; expected such as `/{{status}}.html`");
        faults.add(Reason::InvalidSpec, field, message);
    }
    path.split(STATUS).map(Into::into).collect()
}
