//! Checks that no type makes: bounds of numbers, and what two keys together cannot be.

use std::net::{IpAddr, SocketAddr};

use ferrix_control::settings::HostGrant;
use ferrix_proxy::settings::Bound;

use super::{
    Kubernetes, Settings, TARGET_PORTS,
    fault::{Fault, path},
    keys::{FILTER, GRANT, NAME, NAMESPACE},
};

/// The bounded numbers beside those of the data plane. Memory for the queue of the access log is
/// taken as it fills: a million records are about a gigabyte.
pub(super) const BOUNDS: &[Bound<Settings>] =
    &[Bound::count("access_log.buffer", 1, 1_000_000, |it| {
        it.access_log.buffer
    })];

fn check_publish(kubernetes: &Kubernetes) -> Result<(), Fault> {
    let Some(service) = &kubernetes.publish_service else {
        return Ok(());
    };
    let fault = |message: String| Err((path("source.kubernetes.publish_service"), message));
    if !kubernetes.publish_addresses.is_empty() {
        return fault("expected this or publish_addresses, found both".into());
    }
    let parts: Vec<_> = service.split('/').collect();
    match parts[..] {
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => Ok(()),
        _ => fault(format!("expected NAMESPACE/NAME, found {service:?}")),
    }
}

/// The first fault, with the path of its key.
pub(super) fn check(settings: &Settings) -> Result<(), Fault> {
    let fault = |key: &str, message: String| Err((path(key), message));

    let controller = &settings.gateway.controller;
    if !controller
        .split_once('/')
        .is_some_and(|(domain, name)| !domain.is_empty() && !name.is_empty())
    {
        return fault(
            "gateway.controller",
            format!("expected DOMAIN/NAME, found {controller:?}"),
        );
    }
    check_gateway_services(settings)?;
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
        if entry_point.exposed_port == Some(0) {
            let message = "expected a number from 1 to 65535, found 0".into();
            return fault(&key("exposed_port"), message);
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

    if let Some(kubernetes) = &settings.source.kubernetes {
        check_publish(kubernetes)?;
    }
    let every_host = "every namespace may have every host";
    check_grants(settings, "hosts", &settings.hosts.allowed, every_host)?;
    let every_issuer = "every namespace may have every issuer asked";
    check_grants(settings, "issuers", &settings.issuers.allowed, every_issuer)?;
    check_filters(settings)?;

    let proxy = &settings.proxy;
    let bounds = BOUNDS.iter().try_for_each(|bound| bound.check(settings));
    if let Err(error) = bounds.and_then(|()| proxy.check()) {
        let message = format!("expected {}, found {}", error.expected, error.found);
        return fault(error.key, message);
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
    Ok(())
}

fn check_gateway_services(settings: &Settings) -> Result<(), Fault> {
    let gateway = &settings.gateway;
    let Some(services) = &gateway.services else {
        return Ok(());
    };
    let fault = |key: &str, message: String| Err((path(key), message));
    if !gateway.addresses.is_empty() {
        return fault(
            "gateway",
            "expected one of addresses and services, found both".into(),
        );
    }
    if settings.source.namespaces.is_some() {
        let message = "Gateways are served where all namespaces are watched; take this out, or \
                       source.namespaces";
        return fault("gateway.services", message.into());
    }
    let selector = services.spec.get("selector").and_then(|it| it.as_object());
    if selector.is_none_or(|selector| selector.is_empty()) {
        let message =
            "expected a mapping with a selector, the labels of the pods of this installation";
        return fault("gateway.services.spec", message.into());
    }
    if services.spec.contains_key("ports") {
        let message = "expected a mapping without ports: those are the ports of the Gateway";
        return fault("gateway.services.spec", message.into());
    }
    let entry_points = settings.entry_points.iter().enumerate();
    let mut ports = entry_points
        .map(|(index, it)| (format!("entry_points[{index}].port"), it.port))
        .chain([("admin.address".to_owned(), settings.admin.address.port())])
        .chain(
            (settings.proxy.replicas.iter())
                .map(|it| ("replicas.address".to_owned(), it.address.port())),
        );
    match ports.find(|(_, port)| TARGET_PORTS.contains(port)) {
        None => Ok(()),
        Some((key, port)) => fault(
            &key,
            format!(
                "port {port} is one of {} to {}, which are for Gateways where gateway.services is given",
                TARGET_PORTS.start(),
                TARGET_PORTS.end(),
            ),
        ),
    }
}

/// `otherwise`: what holds without the list.
fn check_grants(
    settings: &Settings,
    section: &str,
    allowed: &Option<Vec<HostGrant>>,
    otherwise: &str,
) -> Result<(), Fault> {
    let fault = |key: String, message: String| Err((path(&key), message));

    let Some(allowed) = allowed else {
        return Ok(());
    };
    if allowed.is_empty() {
        let message = format!("expected at least one element; without the key {otherwise}");
        return fault(format!("{section}.allowed"), message);
    }
    let source = &settings.source;
    for (index, grant) in allowed.iter().enumerate() {
        let key = |key: &str| format!("{section}.allowed[{index}]{key}");
        if grant.namespaces.is_empty() && grant.labels.is_empty() {
            let message = format!("expected {GRANT}; every namespace is namespaces: [\"*\"]");
            return fault(key(""), message);
        }
        if let Some(name) = grant.namespaces.iter().find(|name| !may_be_namespace(name)) {
            let message = format!("expected {NAMESPACE}, found {name:?}");
            return fault(key(".namespaces"), message);
        }
        if grant.hosts.is_empty() {
            return fault(key(".hosts"), "expected at least one host".into());
        }
        if !grant.labels.is_empty() && source.kubernetes.is_some() && source.namespaces.is_some() {
            let message = "labels of namespaces are not seen where source.namespaces names those \
                           that are watched; name them in namespaces here as well";
            return fault(key(".labels"), message.into());
        }
    }
    Ok(())
}

fn check_filters(settings: &Settings) -> Result<(), Fault> {
    let fault = |key: String, message: String| Err((path(&key), message));

    for (index, entry_point) in settings.entry_points.iter().enumerate() {
        if let Some(name) = not_a_filter(&entry_point.filters) {
            let key = format!("entry_points[{index}].filters");
            return fault(key, format!("expected {FILTER}, found {name:?}"));
        }
    }
    for (index, element) in settings.filters.namespaces.iter().enumerate() {
        let key = |key: &str| format!("filters.namespaces[{index}].{key}");
        if let Some(name) = element.namespaces.iter().find(|it| !may_be_namespace(it)) {
            let message = format!("expected {NAMESPACE}, found {name:?}");
            return fault(key("namespaces"), message);
        }
        if let Some(name) = not_a_filter(&element.filters) {
            return fault(key("filters"), format!("expected {FILTER}, found {name:?}"));
        }
    }
    Ok(())
}

/// The first text that names no Filter.
fn not_a_filter(names: &[String]) -> Option<&String> {
    let is_filter = |name: &str| {
        let parts = name.split_once('/');
        parts.is_some_and(|(namespace, name)| {
            namespace != "*"
                && may_be_namespace(namespace)
                && !name.is_empty()
                && !name.contains('/')
        })
    };
    names.iter().find(|name| !is_filter(name))
}

/// Whether a namespace can have this name, or it stands for all.
fn may_be_namespace(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name == "*" || (!name.is_empty() && name.len() <= 63 && name.chars().all(plain))
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
