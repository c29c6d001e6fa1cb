//! What the access log has of requests, as it is written.

use ferrix_api::ingressroute::filter;
use ferrix_table::filters::access_log::AccessLog;

use super::{Faults, is_token};
use crate::report::Reason;

pub(super) fn compile(written: &filter::AccessLog, field: &str, faults: &mut Faults) -> AccessLog {
    let filter::AccessLog {
        enabled,
        request_headers,
        response_headers,
    } = written;
    if !enabled {
        if !request_headers.is_empty() || !response_headers.is_empty() {
            let message = "names fields, and there is no line to have them";
            faults.add(Reason::InvalidSpec, field, message);
        }
        return AccessLog::Off;
    }
    let mut names = |names: &[String], name: &str| -> Box<[Box<str>]> {
        for (at, it) in names.iter().enumerate().filter(|(_, it)| !is_token(it)) {
            let message = format!("`{it}` is no name of a header");
            faults.add(
                Reason::InvalidSpec,
                format!("{field}.{name}[{at}]"),
                message,
            );
        }
        let names = names.iter().map(|it| it.to_ascii_lowercase().into());
        names.collect()
    };
    AccessLog::With {
        request: names(request_headers, "requestHeaders"),
        response: names(response_headers, "responseHeaders"),
    }
}
