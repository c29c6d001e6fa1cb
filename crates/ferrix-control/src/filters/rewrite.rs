//! Rewrites, as they are written.

use ferrix_api::{gateway::UrlRewrite, ingressroute::filter};
use ferrix_table::{filters::rewrite::Rewrite, host};

use super::{Faults, path_change};
use crate::report::Reason;

/// A rewrite, of either form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'w> {
    hostname: Option<&'w str>,
    path: Option<path_change::Written<'w>>,
}

impl<'w> From<&'w UrlRewrite> for Written<'w> {
    fn from(written: &'w UrlRewrite) -> Self {
        Self {
            hostname: written.hostname.as_deref(),
            path: (written.path.as_ref()).map(path_change::Written::OfGateway),
        }
    }
}

impl<'w> From<&'w filter::Rewrite> for Written<'w> {
    fn from(written: &'w filter::Rewrite) -> Self {
        Self {
            hostname: written.hostname.as_deref(),
            path: (written.path.as_ref()).map(path_change::Written::OfRoute),
        }
    }
}

pub(super) fn compile(
    written: Written<'_>,
    field: &str,
    prefix: Option<&str>,
    faults: &mut Faults,
) -> Rewrite {
    Rewrite {
        host: (written.hostname).and_then(|name| host(name, &format!("{field}.hostname"), faults)),
        path: (written.path)
            .and_then(|path| path_change::compile(path, &format!("{field}.path"), prefix, faults)),
    }
}

/// A name without wildcard and port, in canonical form.
pub(super) fn host(name: &str, field: &str, faults: &mut Faults) -> Option<Box<str>> {
    let refused = match host::canonical(name) {
        Ok(canonical) if canonical.port.is_none() && !name.contains('*') => {
            return Some(canonical.host.into());
        }
        Ok(_) => "it has a port or a wildcard".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("`{name}` is no host: {refused}; expected such as `example.com`");
    faults.add(Reason::InvalidSpec, field, message);
    None
}
