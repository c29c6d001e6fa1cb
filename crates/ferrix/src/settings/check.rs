//! What holds between keys, and what a type cannot say.

use std::net::{IpAddr, SocketAddr};

use super::{
    Settings,
    fault::{Fault, path},
    keys::NAME,
};

/// The first fault, with the path of its key.
pub(super) fn check(settings: &Settings) -> Result<(), Fault> {
    let fault = |key: &str, message: String| Err((path(key), message));

    if settings.entry_points.is_empty() {
        return fault(
            "entry_points",
            "expected at least one entry point; without the key there are web on 6190 and \
             websecure on 6191"
                .into(),
        );
    }
    for (index, entry_point) in settings.entry_points.iter().enumerate() {
        let key = |key: &str| format!("entry_points[{index}].{key}");
        let name = &entry_point.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
            return fault(&key("name"), format!("expected {NAME}, found {name:?}"));
        }
        for (earlier, other) in settings.entry_points[..index].iter().enumerate() {
            if other.name == *name {
                return fault(
                    &key("name"),
                    format!("{name:?} is the name of entry_points[{earlier}] already"),
                );
            }
            if overlap(entry_point.socket_address(), other.socket_address()) {
                return fault(
                    &key("port"),
                    format!(
                        "port {} is taken by entry_points[{earlier}] ({}) already",
                        entry_point.port, other.name,
                    ),
                );
            }
        }
        if overlap(entry_point.socket_address(), settings.admin.address) {
            return fault(
                &key("port"),
                format!(
                    "port {} is taken by admin.address already",
                    entry_point.port
                ),
            );
        }
    }
    if settings.source.files.is_some() && settings.source.kubernetes.is_some() {
        return fault(
            "source",
            "expected one of files and kubernetes, found both".into(),
        );
    }

    let proxy = &settings.proxy;
    let zero = [
        ("access_log.buffer", settings.access_log.buffer == 0),
        (
            "limits.header_bytes",
            proxy.limits.header_bytes.as_u64() == 0,
        ),
        ("limits.header_count", proxy.limits.header_count == 0),
        ("limits.uri_bytes", proxy.limits.uri_bytes.as_u64() == 0),
        ("timeouts.header", proxy.timeouts.header.is_zero()),
        (
            "timeouts.tls_handshake",
            proxy.timeouts.tls_handshake.is_zero(),
        ),
        ("timeouts.keep_alive", proxy.timeouts.keep_alive.is_zero()),
        ("timeouts.body", proxy.timeouts.body.is_zero()),
        ("timeouts.write", proxy.timeouts.write.is_zero()),
        ("timeouts.connect", proxy.timeouts.connect.is_zero()),
        ("timeouts.upgraded", proxy.timeouts.upgraded.is_zero()),
        ("http2.streams", proxy.http2.streams == 0),
        ("http2.header_list", proxy.http2.header_list.as_u64() == 0),
        ("upstream.attempts", proxy.upstream.attempts == 0),
    ];
    if let Some((key, _)) = zero.iter().find(|(_, zero)| *zero) {
        return fault(
            key,
            "expected more than 0: this limit cannot be lifted".into(),
        );
    }
    if proxy.server.threads > 1024 {
        return fault(
            "server.threads",
            format!(
                "expected a number from 0 to 1024, found {}",
                proxy.server.threads
            ),
        );
    }
    if http::HeaderValue::from_str(&proxy.server.name).is_err() {
        return fault(
            "server.name",
            format!(
                "expected a text that can stand in a header, found {:?}",
                proxy.server.name
            ),
        );
    }
    if proxy.limits.uri_bytes > proxy.limits.header_bytes {
        return fault(
            "limits.uri_bytes",
            format!(
                "expected at most limits.header_bytes ({}), which the request line is part of, \
                 found {}",
                proxy.limits.header_bytes, proxy.limits.uri_bytes,
            ),
        );
    }
    // Section 6.9 of RFC 9113.
    let largest_window = (1 << 31) - 1;
    for (key, window) in [
        ("http2.stream_window", proxy.http2.stream_window),
        ("http2.connection_window", proxy.http2.connection_window),
    ] {
        if !(65_535..=largest_window).contains(&window.as_u64()) {
            return fault(
                key,
                format!(
                    "expected from 65535 to {largest_window} bytes, found {}",
                    window.as_u64()
                ),
            );
        }
    }
    Ok(())
}

/// Whether one process cannot listen on both.
fn overlap(left: SocketAddr, right: SocketAddr) -> bool {
    let (a, b) = (left.ip(), right.ip());
    // A socket on [::] takes IPv4 as well.
    let covers = |wide: IpAddr, narrow: IpAddr| match wide {
        IpAddr::V6(wide) => wide.is_unspecified(),
        IpAddr::V4(wide) => wide.is_unspecified() && narrow.is_ipv4(),
    };
    left.port() != 0 && left.port() == right.port() && (a == b || covers(a, b) || covers(b, a))
}
