//! A connection that carries bytes of which nothing is known, but for the server name of TLS that passes
//! through: one service, chosen once, and both directions to their ends.

use std::sync::{Arc, LazyLock};

use ferrix_table::{
    Request, Table,
    ids::ServiceIndex,
    services::{Protocol, Service},
    table::SocketIndex,
};
use http::{HeaderMap, Method};

use crate::{
    Engine, address::Address, budget::Waiting, deadline::Deadline, failure::Failure, hash_key,
    io::Io, pool::Connection, proxy_protocol::Introduction, race::Race, relay::InFlight, route,
    tunnel,
};

/// What comes by a connection, or as datagrams from one address.
pub(crate) struct Arrival<'a> {
    pub(crate) socket: SocketIndex,
    /// The port that it really has.
    pub(crate) port: u16,
    pub(crate) client: Address,
    /// In canonical form; empty where none is known.
    pub(crate) server_name: &'a str,
}

/// Passes a client's bytes to a service that the rules choose, and what that sends back. Where there is
/// none the connection closes at once.
///
/// # Errors
/// Why there is no connection to a backend.
pub(crate) async fn serve(
    engine: &Engine,
    arrival: &Arrival<'_>,
    client: &mut Io,
) -> Result<(), Failure> {
    let table = engine.table.load();
    let (index, service) = choose(&table, arrival, &Protocol::Tcp)?;
    let service = Arc::clone(service);
    let introduction = service.policy.as_ref().and_then(|policy| {
        Introduction::of(policy, arrival.client, &table, arrival.socket, arrival.port)
    });
    // A connection may last for days; only its service has to.
    drop(table);
    let attempts = engine.settings.upstream.attempts;
    let mut race = Race::new(engine, &service, index, false, attempts);
    if let Some(policy) = &service.policy {
        race.ask(hash_key::asked(policy, None, Some(arrival.client.ip())));
        race.introduce(introduction);
    }
    let (endpoint, connection) = Box::pin(race.run(None)).await?;
    drop(race);
    let _in_flight = InFlight::new(&endpoint);
    let Connection::Http1 { mut wire, .. } = connection else {
        return Err(Failure::Upstream("it speaks HTTP/2 unasked".to_owned()));
    };
    let policy = service.policy.as_ref();
    let idle = policy.and_then(|policy| policy.timeouts.idle);
    let idle = idle.unwrap_or(engine.settings.timeouts.upgraded);
    let mut waiting = Waiting::new(&engine.counters.buffered_bytes);
    let mut deadline = Deadline::never();
    let tunnel = tunnel::run(client, &mut wire.io, &mut deadline, idle, &mut waiting);
    let (passed, end) = tunnel.await;
    let peer = &arrival.client;
    tracing::debug!(%peer, endpoint = %endpoint.address, ?passed, ?end, "connection ended");
    Ok(())
}

/// The service whose turn it is, with its index: of what the rules say of a request that has nothing but
/// a host.
///
/// # Errors
/// There is none that is spoken to by this protocol.
pub(crate) fn choose<'t>(
    table: &'t Table,
    arrival: &Arrival<'_>,
    protocol: &Protocol,
) -> Result<(ServiceIndex, &'t Arc<Service>), Failure> {
    static FIELDS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
    let Arrival {
        socket,
        server_name,
        ..
    } = *arrival;
    let entry_point = table.entry_points.choose(socket, server_name);
    let request = Request {
        method: &Method::CONNECT,
        host: server_name,
        path: "",
        query: "",
        headers: &*FIELDS,
        client: arrival.client.ip(),
    };
    let rule = route::find(table, entry_point.ok_or(Failure::NoRoute)?, &request)?;
    let destination = route::split(rule)?.choose();
    let (index, service) = route::service(table, destination)?;
    match service.protocol == *protocol {
        true => Ok((index, service)),
        // A route for requests, where the entry point has only just become one for bytes.
        false => Err(Failure::NoRoute),
    }
}
