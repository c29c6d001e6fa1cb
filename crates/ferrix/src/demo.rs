//! `ferrix demo`: a folder of manifests with backends that answer, on one machine.

use std::{collections::BTreeMap, io, net::SocketAddr};

use ferrix_rule::{HostConstraint, PathConstraint};
use ferrix_table::{
    Request, Table,
    ids::EntryPointIndex,
    rules::{HostPattern, Rule},
    services::Protocol,
};
use http::{HeaderMap, Method};

use crate::echo::Echo;

/// A backend that cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("a backend for {service} cannot listen on {address}: {error}")]
pub struct Error {
    service: String,
    address: SocketAddr,
    error: io::Error,
}

/// Starts an echo backend on every loopback endpoint that the table names, and returns where and
/// for which service. Needs a runtime, in which they live.
pub async fn start_backends(table: &Table) -> Result<BTreeMap<SocketAddr, String>, Error> {
    let mut backends = BTreeMap::new();
    for service in &*table.services {
        let plain = matches!(service.protocol, Protocol::Http1 | Protocol::Http2);
        for endpoint in service.endpoints.iter().filter(|_| plain) {
            let address = endpoint.address;
            if !address.ip().to_canonical().is_loopback() || backends.contains_key(&address) {
                continue;
            }
            let name = format!("{} at {address}", service.id);
            let echo = Echo::bind(address, &name).await.map_err(|error| Error {
                service: service.id.to_string(),
                address,
                error,
            })?;
            tokio::spawn(echo.serve(std::future::pending()));
            backends.insert(address, service.id.to_string());
        }
    }
    Ok(backends)
}

/// A `curl` command for every rule that a simple request reaches, first rule first.
pub fn commands(table: &Table, addresses: &[(String, SocketAddr)]) -> Vec<String> {
    (table.rules.iter())
        .filter_map(|rule| {
            let index = *rule.entry_points.first()?;
            let entry_point = table.entry_points.get(index)?;
            let mut addresses = addresses.iter();
            let (_, address) = addresses.find(|(name, _)| **name == *entry_point.name)?;
            let (host, path) = example(table, rule, index)?;
            Some(curl(&host, &path, address.port(), entry_point.is_secure()))
        })
        .collect()
}

/// Host and path of a GET that this rule wins, if its conditions are simple enough to guess one.
fn example(table: &Table, rule: &Rule, entry_point: EntryPointIndex) -> Option<(String, String)> {
    let constraints = rule.matches.as_ref().map(|rule| rule.constraints());
    let constraint = constraints
        .as_ref()
        .and_then(|it| it.hosts.as_ref()?.first());
    let host = match (&rule.host, constraint) {
        (HostPattern::Exact(host), _) => host.to_string(),
        (_, Some(HostConstraint::Exact(host))) => host.clone(),
        (HostPattern::Wildcard(suffix) | HostPattern::Below(suffix), _) => format!("demo.{suffix}"),
        (_, Some(HostConstraint::Wildcard(suffix))) => format!("demo.{suffix}"),
        (HostPattern::Any, None) => "localhost".into(),
    };
    let constraint = constraints
        .as_ref()
        .and_then(|it| it.paths.as_ref()?.first());
    let path = match constraint {
        Some(PathConstraint::Exact(path) | PathConstraint::Prefix(path)) => path.clone(),
        None => "/".into(),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~*".contains(c);
    let headers = HeaderMap::new();
    let request = Request {
        method: &Method::GET,
        host: &host,
        path: &path,
        query: "",
        headers: &headers,
        client: SocketAddr::from(([127, 0, 0, 1], 0)).ip(),
    };
    let winner = table.rules.lookup(entry_point, &request)?;
    (std::ptr::eq(winner, rule) && path.chars().all(plain)).then_some((host, path))
}

fn curl(host: &str, path: &str, port: u16, secure: bool) -> String {
    match secure {
        false => format!("curl -H 'Host: {host}' http://127.0.0.1:{port}{path}"),
        true => {
            format!("curl -k --resolve {host}:{port}:127.0.0.1 https://{host}:{port}{path}")
        }
    }
}
