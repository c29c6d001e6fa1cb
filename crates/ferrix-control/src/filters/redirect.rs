//! Redirects, as they are written.

use ferrix_api::{
    gateway::RequestRedirect,
    ingressroute::filter::{self, Www},
};
use ferrix_table::filters::redirect::{Redirect, RedirectHost, RedirectScheme};

use super::{Faults, path_change, rewrite};
use crate::report::Reason;

/// A redirect, of either form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'w> {
    scheme: Option<&'w str>,
    hostname: Option<&'w str>,
    www: Option<Www>,
    path: Option<path_change::Written<'w>>,
    port: Option<u16>,
    status_code: u16,
}

impl<'w> From<&'w RequestRedirect> for Written<'w> {
    fn from(written: &'w RequestRedirect) -> Self {
        Self {
            scheme: written.scheme.as_deref(),
            hostname: written.hostname.as_deref(),
            www: None,
            path: (written.path.as_ref()).map(path_change::Written::OfGateway),
            port: written.port,
            status_code: written.status_code,
        }
    }
}

impl<'w> From<&'w filter::Redirect> for Written<'w> {
    fn from(written: &'w filter::Redirect) -> Self {
        Self {
            scheme: written.scheme.as_deref(),
            hostname: written.hostname.as_deref(),
            www: written.www,
            path: (written.path.as_ref()).map(path_change::Written::OfRoute),
            port: written.port,
            status_code: written.status_code,
        }
    }
}

impl Written<'_> {
    /// See [`Redirect::is_conditional`].
    pub(super) fn is_conditional(&self) -> bool {
        self.www.is_some() || self.path.is_some_and(path_change::Written::is_conditional)
    }
}

pub(super) fn compile(
    written: Written<'_>,
    field: &str,
    prefix: Option<&str>,
    faults: &mut Faults,
) -> Redirect {
    let scheme = written.scheme.and_then(|scheme| match scheme {
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
    Redirect {
        scheme,
        host: host(written, field, faults),
        port: written.port,
        path: (written.path)
            .and_then(|path| path_change::compile(path, &format!("{field}.path"), prefix, faults)),
        status: written.status_code,
    }
}

fn host(written: Written<'_>, field: &str, faults: &mut Faults) -> Option<RedirectHost> {
    match (written.hostname, written.www) {
        (None, None) => None,
        (None, Some(Www::Add)) => Some(RedirectHost::WithWww),
        (None, Some(Www::Strip)) => Some(RedirectHost::WithoutWww),
        (Some(name), None) => {
            let host = rewrite::host(name, &format!("{field}.hostname"), faults);
            host.map(RedirectHost::To)
        }
        (Some(_), Some(_)) => {
            let message = "give `hostname` or `www`, not both";
            faults.add(Reason::InvalidSpec, field, message);
            None
        }
    }
}
