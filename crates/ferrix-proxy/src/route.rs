//! From a checked request to the service that answers it.

use std::sync::Arc;

use ferrix_table::{
    Request, Table,
    ids::{EntryPointIndex, ServiceIndex},
    rules::{Action, Destination, Rule, Split},
    services::Service,
};

use crate::{client::ClientConnection, failure::Failure};

/// The entry point of a request for `host`, of those of the socket that its connection came in by.
///
/// # Errors
/// [`Failure::Misdirected`] where the connection was made for another, or for a name that another
/// certificate is presented for (RFC 9110, section 7.4; RFC 9113, section 9.1.1). A client that sent no
/// name is held to the entry point alone.
pub(crate) fn entry_point(
    table: &Table,
    connection: &ClientConnection,
    host: &str,
) -> Result<EntryPointIndex, Failure> {
    let choose = |host| {
        table
            .entry_points
            .choose_for_request(connection.socket, host)
    };
    let chosen = choose(host);
    if connection.secure {
        let name = connection.server_name.as_deref();
        let certificates = &table.certificates;
        let shares = |entry_point, name| certificates.share_connection(entry_point, name, host);
        let fits = match (name, chosen) {
            (Some(name), _) if name == host => true,
            (Some(name), Some(chosen)) => choose(name) == Some(chosen) && shares(chosen, name),
            (name, chosen) => choose(name.unwrap_or_default()) == chosen,
        };
        if !fits {
            return Err(Failure::Misdirected);
        }
    }
    chosen.ok_or(Failure::NoRoute)
}

/// The rule that serves a request, which is counted for dry runs as well.
pub(crate) fn find<'t>(
    table: &'t Table,
    entry_point: EntryPointIndex,
    request: &Request<'_>,
) -> Result<&'t Rule, Failure> {
    let rule = table.rules.lookup(entry_point, request);
    let dry_runs = table.rules.dry_runs(entry_point, request, rule);
    for dry_run in dry_runs.filter_map(|rule| rule.dry_run.as_deref()) {
        dry_run.get().add(1);
    }
    rule.ok_or(Failure::NoRoute)
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
