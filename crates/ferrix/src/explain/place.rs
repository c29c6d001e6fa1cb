//! Where a request comes in: at an entry point of the settings, or at a listener of a Gateway.

use std::net::IpAddr;

use ferrix_table::{
    Table,
    entry_points::EntryPoint,
    host,
    ids::EntryPointIndex,
    sockets::{Layer, Protocol},
};

use super::{Error, Question};
use crate::Settings;

/// The entry point that a question names, or the one that fits its URL best.
pub(super) fn find(
    settings: &Settings,
    table: &Table,
    question: &Question,
) -> Result<EntryPointIndex, Error> {
    let all = &table.entry_points;
    if let Some(name) = &question.entry_point {
        return all.find(name).ok_or_else(|| Error::EntryPoint {
            name: name.clone(),
            known: all
                .iter()
                .map(|(_, it)| &*it.name)
                .collect::<Vec<_>>()
                .join(", "),
        });
    }
    let authority = host::canonical(&question.url.authority).ok();
    let port = authority.as_ref().and_then(|it| it.port);
    let host = authority.as_ref().map_or("", |it| &*it.host);
    let address: Option<IpAddr> = host.parse().ok();
    let secure = question.url.secure;
    let fitting = || all.iter().filter(|(_, it)| fits(it, secure));
    let serves = |index: EntryPointIndex| {
        let mut rules = table.rules.iter();
        rules.any(|rule| rule.host.takes(host) && rule.entry_points.contains(&index))
    };
    let by_port = fitting().filter(|(_, it)| port.is_some_and(|port| has_port(it, port)));
    // Of several that fit alike the first: those of the settings come before listeners.
    let by_port = by_port.min_by_key(|(index, it)| {
        let is_there = address == Some(it.address.ip());
        (!is_there, !serves(*index))
    });
    if let Some((index, _)) = by_port {
        return Ok(index);
    }
    let of_settings = |it: &EntryPoint| {
        settings
            .entry_points
            .iter()
            .any(|own| *own.name == *it.name)
    };
    let is_here = fitting().any(|(index, it)| of_settings(it) && serves(index));
    // Which bytes are meant, no URL says without a port.
    let found = fitting().filter(|(_, it)| it.protocol != Protocol::Tcp);
    let found = found.min_by_key(|(index, it)| match (of_settings(it), is_here) {
        (false, false) if serves(*index) => 0,
        (true, _) => 1,
        (false, _) => 2,
    });
    let (index, _) = found.ok_or(Error::Scheme(secure))?;
    Ok(index)
}

/// The entry point of the same socket that this host is for; `None`: there is none.
pub(super) fn of_host(
    table: &Table,
    index: EntryPointIndex,
    host: &str,
) -> Option<EntryPointIndex> {
    match table.entry_points.socket_of(index) {
        Some((socket, _)) => table.entry_points.choose(socket, host),
        None => Some(index),
    }
}

/// Whether what a URL asks for is read there.
fn fits(entry_point: &EntryPoint, secure: bool) -> bool {
    match entry_point.protocol.layer() {
        Layer::Http | Layer::Tcp => !secure,
        Layer::Tls => secure,
        Layer::Udp => false,
    }
}

/// Whether clients reach it by a port.
fn has_port(entry_point: &EntryPoint, port: u16) -> bool {
    entry_point.address.port() == port || entry_point.exposed_port == Some(port)
}
