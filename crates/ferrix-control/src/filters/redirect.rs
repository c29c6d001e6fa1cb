//! Redirects, as they are written.

use ferrix_api::gateway::RequestRedirect;
use ferrix_table::filters::redirect::{Redirect, RedirectScheme};

use super::{Faults, path_change, rewrite};
use crate::report::Reason;

pub(super) fn compile(
    written: &RequestRedirect,
    field: &str,
    prefix: Option<&str>,
    faults: &mut Faults,
) -> Redirect {
    let scheme = written.scheme.as_deref();
    let scheme = scheme.and_then(|scheme| match scheme {
        "http" => Some(RedirectScheme::Http),
        "https" => Some(RedirectScheme::Https),
        other => {
            let message = format!("`{other}` is unknown; expected http or https");
            faults.add(Reason::UnsupportedValue, format!("{field}.scheme"), message);
            None
        }
    });
    if written.port == Some(0) {
        let message = "expected a port from 1 to 65535";
        faults.add(Reason::InvalidSpec, format!("{field}.port"), message);
    }
    if !matches!(written.status_code, 301 | 302 | 303 | 307 | 308) {
        let status = written.status_code;
        let message =
            format!("{status} is no status to redirect with; expected 301, 302, 303, 307 or 308");
        faults.add(
            Reason::UnsupportedValue,
            format!("{field}.statusCode"),
            message,
        );
    }
    let host = written.hostname.as_deref();
    let path = written.path.as_ref();
    Redirect {
        scheme,
        host: host.and_then(|host| rewrite::host(host, &format!("{field}.hostname"), faults)),
        port: written.port,
        path: path
            .and_then(|path| path_change::compile(path, &format!("{field}.path"), prefix, faults)),
        status: written.status_code,
    }
}
