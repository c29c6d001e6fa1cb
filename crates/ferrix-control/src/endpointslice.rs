//! `EndpointSlice`: the addresses of a Service, and which of them may be used.

use std::{cell::RefCell, net::IpAddr, sync::Arc};

use k8s_openapi::api::discovery::v1 as discovery;
use serde_json::Value;

use crate::{
    document::{self, Fault, Read, Strictness},
    names::{Known, shared, shared_list, shared_name},
    objects::ObjectName,
    report::{Finding, Reason},
    settings::Settings,
};

/// The label by which an EndpointSlice names its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// How many of the endpoints that are left out are named one by one.
const REFUSED_ENDPOINTS_NAMED: usize = 8;

thread_local! {
    static PORTS: RefCell<Known<Arc<[SlicePort]>>> = RefCell::default();
}

/// What of an EndpointSlice is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The Service that it belongs to; `None` where it names none.
    pub(crate) service: Option<ObjectName>,
    /// Shared, as those of most slices are the same.
    pub(crate) ports: Arc<[SlicePort]>,
    pub(crate) endpoints: Box<[SliceEndpoint]>,
    rest: Option<Box<SliceRest>>,
}

/// What many slices have nothing of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SliceRest {
    /// The zones of its endpoints.
    zones: Vec<Arc<str>>,
    findings: Vec<SliceFault>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SlicePort {
    /// The name of the Service's port; empty for its only one.
    pub(crate) name: Arc<str>,
    pub(crate) number: u16,
    /// Whether it takes datagrams.
    pub(crate) datagrams: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceEndpoint {
    pub(crate) place: u32,
    pub(crate) address: IpAddr,
    pub(crate) use_: Use,
    /// The place of its zone among those of the slice, from 1. 0: it has none.
    zone: u8,
}

/// When an endpoint may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    Ready,
    /// Serving while it terminates: better than nothing.
    LastResort,
    Never,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SliceFault {
    field: Box<str>,
    message: Box<str>,
}

/// Reads a document.
pub(crate) fn decode(
    value: &Value,
    strictness: Strictness,
) -> Result<Read<discovery::EndpointSlice>, Vec<Fault>> {
    document::read(value, strictness)
}

/// Keeps what is read of an EndpointSlice.
pub(crate) fn compile(slice: &discovery::EndpointSlice) -> Slice {
    let mut findings = Vec::new();
    let mut fault = |field: String, message: String| {
        findings.push(SliceFault {
            field: field.into(),
            message: message.into(),
        });
    };
    let namespace = slice.metadata.namespace.as_deref().unwrap_or("default");
    let labels = slice.metadata.labels.as_ref();
    let service = labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL));
    if service.is_none() {
        fault(
            "metadata.labels".to_owned(),
            format!("no label `{SERVICE_NAME_LABEL}` names the Service, so that nobody uses it"),
        );
    }
    let mut ports = Vec::new();
    for (place, port) in slice.ports.iter().flatten().enumerate() {
        let datagrams = match port.protocol.as_deref().unwrap_or("TCP") {
            "TCP" => false,
            "UDP" => true,
            _ => continue,
        };
        match port.port.and_then(|number| u16::try_from(number).ok()) {
            Some(number) if number != 0 => ports.push(SlicePort {
                name: shared(port.name.as_deref().unwrap_or_default()),
                number,
                datagrams,
            }),
            _ => fault(
                format!("ports[{place}].port"),
                "expected a port number from 1 to 65535".to_owned(),
            ),
        }
    }
    let addresses = matches!(&*slice.address_type, "IPv4" | "IPv6");
    if !addresses {
        fault(
            "addressType".to_owned(),
            format!(
                "`{}` is not supported; expected `IPv4` or `IPv6`",
                slice.address_type
            ),
        );
    }
    let mut endpoints = Vec::new();
    let mut zones: Vec<Arc<str>> = Vec::new();
    let listed = slice
        .endpoints
        .iter()
        .flatten()
        .enumerate()
        .filter(|_| addresses);
    for (place, endpoint) in listed {
        // As kube-proxy does: no meaning is defined for a second address.
        let Some(address) = endpoint.addresses.first() else {
            continue;
        };
        match address.parse::<IpAddr>() {
            Ok(address) => endpoints.push(SliceEndpoint {
                place: u32::try_from(place).unwrap_or(u32::MAX),
                address: address.to_canonical(),
                use_: Use::of(endpoint.conditions.as_ref()),
                zone: zone(endpoint).map_or(0, |zone| place_of(zone, &mut zones)),
            }),
            Err(_) => fault(
                format!("endpoints[{place}].addresses[0]"),
                format!("`{address}` is no IP address"),
            ),
        }
        if endpoint.addresses.len() > 1 {
            fault(
                format!("endpoints[{place}].addresses"),
                "only the first address is used, as everywhere in Kubernetes; give each address \
                 an endpoint of its own"
                    .to_owned(),
            );
        }
    }
    Slice {
        service: service.map(|service| shared_name(namespace, service)),
        ports: shared_list(&PORTS, ports),
        endpoints: endpoints.into(),
        rest: (!zones.is_empty() || !findings.is_empty())
            .then(|| Box::new(SliceRest { zones, findings })),
    }
}

/// The zone whose requests are meant for an endpoint: as the cluster hints, else the one that it is in.
fn zone(endpoint: &discovery::Endpoint) -> Option<&str> {
    let hints = endpoint.hints.as_ref();
    let hinted = hints.and_then(|hints| hints.for_zones.as_ref()?.first());
    let hinted = hinted.map(|zone| zone.name.as_str());
    let zone = hinted.or(endpoint.zone.as_deref());
    zone.filter(|zone| !zone.is_empty())
}

/// The place of a zone among all, from 1. 0: there are too many.
fn place_of(zone: &str, zones: &mut Vec<Arc<str>>) -> u8 {
    let known = zones.iter().position(|it| **it == *zone);
    let place = known.unwrap_or_else(|| {
        zones.push(shared(zone));
        zones.len() - 1
    });
    u8::try_from(place + 1).unwrap_or(0)
}

impl Slice {
    /// The zone of an endpoint of this slice.
    pub(crate) fn zone(&self, endpoint: &SliceEndpoint) -> Option<&Arc<str>> {
        let zones = &self.rest.as_ref()?.zones;
        zones.get(usize::from(endpoint.zone).checked_sub(1)?)
    }
}

impl Use {
    /// Absent conditions are what the API says of them: ready, serving, not terminating.
    fn of(conditions: Option<&discovery::EndpointConditions>) -> Self {
        let condition = |get: fn(&discovery::EndpointConditions) -> Option<bool>, absent: bool| {
            conditions.and_then(get).unwrap_or(absent)
        };
        let terminating = condition(|it| it.terminating, false);
        if condition(|it| it.ready, true) {
            Self::Ready
        } else if terminating && condition(|it| it.serving, true) {
            Self::LastResort
        } else {
            Self::Never
        }
    }
}

/// What there is to say about a slice. Not whether it is used by anyone.
pub(crate) fn findings(settings: &Settings, slice: &Slice) -> Vec<Finding> {
    let faults = slice
        .rest
        .iter()
        .flat_map(|rest| &rest.findings)
        .map(|fault| Finding::warning(Reason::EndpointNotUsed, &*fault.field, &*fault.message));
    let refused = slice.endpoints.iter().filter_map(|endpoint| {
        let refusal = settings.refusal(endpoint.address)?;
        Some(Finding::problem(
            Reason::EndpointNotUsed,
            format!("endpoints[{}].addresses[0]", endpoint.place),
            format!("{} is left out: {refusal}", endpoint.address),
        ))
    });
    let mut findings: Vec<_> = faults.chain(refused).collect();
    if findings.len() > REFUSED_ENDPOINTS_NAMED {
        let more = findings.len() - REFUSED_ENDPOINTS_NAMED;
        findings.truncate(REFUSED_ENDPOINTS_NAMED);
        let message = format!("{more} more are left out");
        findings.push(Finding::problem(
            Reason::EndpointNotUsed,
            "endpoints",
            message,
        ));
    }
    findings
}
