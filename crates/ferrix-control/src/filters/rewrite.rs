//! Rewrites, as they are written.

use ferrix_api::gateway::UrlRewrite;
use ferrix_table::{filters::rewrite::Rewrite, host};

use super::{Faults, path_change};
use crate::report::Reason;

pub(super) fn compile(
    written: &UrlRewrite,
    field: &str,
    prefix: Option<&str>,
    faults: &mut Faults,
) -> Rewrite {
    let path = written.path.as_ref();
    let name = written.hostname.as_deref();
    Rewrite {
        host: name.and_then(|name| host(name, &format!("{field}.hostname"), faults)),
        path: path
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
