//! Sockets that entry points share, and what is no HTTP: TLS that passes through, bytes, datagrams.

use std::net::{Ipv4Addr, SocketAddr};

use ferrix_table::{
    entry_points::{EntryPoint, Protocol},
    rules::HostPattern,
};

mod client_certificates;
mod gateways;
mod hosts;
mod tcp;
mod tls;
mod udp;

/// The index of the first listener of a test, after the entry points that the gateway starts with.
const FIRST: u16 = 2;

/// One on a port of this machine, for a host as the Gateway API writes it, or `*` for any.
fn listener(name: &str, protocol: Protocol, port: u16, host: &str) -> EntryPoint {
    EntryPoint {
        host: match host {
            "*" => HostPattern::Any,
            host => HostPattern::parse_gateway(host).unwrap(),
        },
        address: local(port),
        ..EntryPoint::new(name, protocol)
    }
}

/// What the gateway starts with, and these.
fn with(listeners: &[EntryPoint]) -> Vec<EntryPoint> {
    let mut all = vec![EntryPoint::http("web"), EntryPoint::https("websecure")];
    all.extend_from_slice(listeners);
    all
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A request for a path of a host.
fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}
