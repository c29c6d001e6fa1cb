//! From a checked request to the service that answers it.

use std::sync::Arc;

use ferrix_table::{
    Request, Table,
    ids::{EntryPointIndex, ServiceIndex},
    rules::{Action, Destination, Rule, Split},
    services::Service,
};

use crate::failure::Failure;

/// Whether a connection made for `server_name` may carry a request for `host`: only where one
/// certificate is presented for both, or none for either (RFC 9110, section 7.4; RFC 9113, section
/// 9.1.1). A client that sent no name is not held to one.
pub(crate) fn check_authority(
    table: &Table,
    entry_point: EntryPointIndex,
    server_name: Option<&str>,
    host: &str,
) -> Result<(), Failure> {
    let shares = |name: &str| {
        let certificates = &table.certificates;
        name == host || certificates.share_connection(entry_point, name, host)
    };
    match server_name.is_none_or(shares) {
        true => Ok(()),
        false => Err(Failure::Misdirected),
    }
}

/// The rule that serves a request.
pub(crate) fn find<'t>(
    table: &'t Table,
    entry_point: EntryPointIndex,
    request: &Request<'_>,
) -> Result<&'t Rule, Failure> {
    table
        .rules
        .lookup(entry_point, request)
        .ok_or(Failure::NoRoute)
}

/// The destinations that share the requests of a rule.
pub(crate) fn split(rule: &Rule) -> Result<&Split, Failure> {
    match &rule.action {
        Action::Forward(split) => Ok(split),
        Action::Unavailable => Err(Failure::NoEndpoint),
        Action::Answered | Action::Unresolved(_) => Err(Failure::Unresolved),
    }
}

/// The service of a destination, with its index.
pub(crate) fn service<'t>(
    table: &'t Table,
    destination: &Destination,
) -> Result<(ServiceIndex, &'t Arc<Service>), Failure> {
    let Ok(index) = destination.service else {
        return Err(Failure::Unresolved);
    };
    let service = table.service(index).ok_or(Failure::Unresolved)?;
    Ok((index, service))
}
