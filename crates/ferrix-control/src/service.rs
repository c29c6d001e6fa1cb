//! `Service`: from a reference to the addresses behind it.
//!
//! The store keeps of both only what is read here. A cluster has many more Services than routes,
//! and most changes of a Service are none to us.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ferrix_api::ingressroute::{Port, Scheme as RouteScheme, ServiceRef};
use ferrix_table::{
    ids::ServiceIndex,
    services::{Endpoint, Protocol, Scheme, Service, ServiceId, Services},
};
use k8s_openapi::api::core::v1 as core;
use rustls_pki_types::ServerName;

use crate::{
    endpointslice::{SERVICE_NAME_LABEL, Use, refusal},
    names::shared,
    objects::{Kind, ObjectName},
    referencegrant::{self, Referrer, Refused},
    report::{Finding, Reason},
    settings::Settings,
    world::World,
};

/// What of a Service is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceSpec {
    ports: Box<[ServicePort]>,
    /// The name that a Service of type ExternalName stands for.
    external_name: Option<Box<str>>,
    /// The address family that the Service prefers, where it has one.
    family: Option<Family>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ServicePort {
    /// Empty where the only port has no name.
    name: Arc<str>,
    number: u16,
    protocol: Arc<str>,
    app_protocol: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Ipv4,
    Ipv6,
}

/// What a route says of a Service that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) service: ObjectName,
    pub(crate) weight: Option<u32>,
    port: Port,
    scheme: Option<RouteScheme>,
    server_name: Option<Box<str>>,
}

/// A port of a Service that some rule forwards to, and how it is spoken to.
///
/// Only [`resolve`] makes one, from a Service that the referrer may use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Backend {
    service: ObjectName,
    port: u16,
    scheme: Scheme,
    server_name: Option<Box<str>>,
    /// The name of the port, by which slices know it.
    port_name: Arc<str>,
    external: Option<IpAddr>,
}

impl Backend {
    /// The Service that it is a port of.
    pub(crate) fn service(&self) -> &ObjectName {
        &self.service
    }
}

/// What the services of a table are made from: every backend that some rule refers to, and the
/// index of its service, which stays as long as there is such a rule.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    /// In order, so that those of one identity are neighbours.
    of_service: HashMap<ObjectName, Vec<Placed>>,
    /// Indices below `end` that have no backend.
    free: Vec<ServiceIndex>,
    end: ServiceIndex,
}

/// A backend, and where its service is.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) backend: Arc<Backend>,
    pub(crate) index: ServiceIndex,
    /// How many references there are.
    references: usize,
}

impl Backends {
    /// The backends of one Service; empty where no rule forwards to it.
    pub(crate) fn of_service(&self, name: &ObjectName) -> &[Placed] {
        self.of_service.get(name).map_or(&[], Vec::as_slice)
    }

    /// The index of a backend that is referred to.
    pub(crate) fn index(&self, backend: &Backend) -> Option<ServiceIndex> {
        let placed = self.of_service(&backend.service);
        let place = placed
            .binary_search_by(|it| (*it.backend).cmp(backend))
            .ok()?;
        Some(placed[place].index)
    }

    /// Takes note of a reference. Tells whether it is the first to its backend.
    pub(crate) fn refer(&mut self, backend: &Arc<Backend>) -> bool {
        // Nearly all have one backend.
        let placed = (self.of_service.entry(backend.service.clone()))
            .or_insert_with(|| Vec::with_capacity(1));
        match placed.binary_search_by(|it| (*it.backend).cmp(backend)) {
            Ok(place) => {
                placed[place].references += 1;
                false
            }
            Err(place) => {
                let index = self.free.pop().unwrap_or_else(|| {
                    self.end += 1;
                    self.end - 1
                });
                placed.insert(
                    place,
                    Placed {
                        backend: Arc::clone(backend),
                        index,
                        references: 1,
                    },
                );
                true
            }
        }
    }

    /// Forgets a reference. Gives back the index of the backend if it was the last to it.
    pub(crate) fn forget(&mut self, backend: &Backend) -> Option<ServiceIndex> {
        let placed = self.of_service.get_mut(&backend.service)?;
        let place = placed
            .binary_search_by(|it| (*it.backend).cmp(backend))
            .ok()?;
        placed[place].references -= 1;
        if placed[place].references > 0 {
            return None;
        }
        let index = placed.remove(place).index;
        if placed.is_empty() {
            self.of_service.remove(&backend.service);
        }
        self.free.push(index);
        Some(index)
    }
}

/// Keeps what is read of a Service.
pub(crate) fn compile(service: &core::Service) -> ServiceSpec {
    let Some(spec) = &service.spec else {
        return ServiceSpec::default();
    };
    let port = |port: &core::ServicePort| {
        Some(ServicePort {
            name: shared(port.name.as_deref().unwrap_or_default()),
            number: u16::try_from(port.port)
                .ok()
                .filter(|number| *number != 0)?,
            protocol: shared(port.protocol.as_deref().unwrap_or("TCP")),
            app_protocol: port.app_protocol.as_deref().map(Into::into),
        })
    };
    let external = spec.type_.as_deref() == Some("ExternalName");
    let family = spec.ip_families.as_deref().and_then(<[_]>::first);
    ServiceSpec {
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
        external_name: external.then(|| spec.external_name.as_deref().unwrap_or_default().into()),
        family: family.and_then(|family| match family.as_str() {
            "IPv4" => Some(Family::Ipv4),
            "IPv6" => Some(Family::Ipv6),
            _ => None,
        }),
    }
}

/// Follows a reference of a route in `namespace` to a port of a Service.
pub(crate) fn resolve(
    world: &World,
    settings: &Settings,
    namespace: &str,
    reference: &Reference,
    field: &dyn fmt::Display,
) -> Result<Backend, Finding> {
    let name = &reference.service;
    let refuse = |reason, field: String, message: String| Finding::problem(reason, field, message);
    let from = Referrer::IngressRoute { namespace };
    let spec = referencegrant::service(world, settings, from, name).map_err(|refused| {
        let (reason, message) = match refused {
            Refused::Missing => (
                Reason::ServiceNotFound,
                match world.rejection(&name.key(Kind::Service)) {
                    Some(_) => format!("Service {name} cannot be read"),
                    None => format!("Service {name} does not exist"),
                },
            ),
            Refused::Unwatched => (
                Reason::ServiceNotFound,
                format!("Service {name} is in a namespace that is not watched"),
            ),
            Refused::Forbidden => (
                Reason::NotPermitted,
                format!(
                    "Service {name} is in another namespace, and no ReferenceGrant there lets \
                     IngressRoutes of namespace {namespace} refer to it"
                ),
            ),
        };
        refuse(reason, field.to_string(), message)
    })?;
    let port = spec.port(&reference.port).ok_or_else(|| {
        let message = match &*spec.ports {
            [] => format!("Service {name} has no port {}; it has none", reference.port),
            ports => {
                let ports: Vec<_> = ports.iter().map(ServicePort::to_string).collect();
                format!(
                    "Service {name} has no port {}; it has {}",
                    reference.port,
                    ports.join(", ")
                )
            }
        };
        refuse(Reason::PortNotFound, format!("{field}.port"), message)
    })?;
    if &*port.protocol != "TCP" {
        let message = format!(
            "port {} of Service {name} is {}, not TCP",
            port, port.protocol
        );
        return Err(refuse(
            Reason::ServiceNotUsable,
            format!("{field}.port"),
            message,
        ));
    }
    let external = match &spec.external_name {
        None => None,
        Some(external) => Some(
            external_address(settings, name, external)
                .map_err(|message| refuse(Reason::ServiceNotUsable, field.to_string(), message))?,
        ),
    };
    let scheme = match reference.scheme {
        Some(scheme) => scheme_of_route(scheme),
        None => port.scheme().unwrap_or(Scheme::Http),
    };
    Ok(Backend {
        service: name.clone(),
        port: port.number,
        scheme,
        server_name: (reference.server_name.clone()).filter(|_| scheme == Scheme::Https),
        port_name: Arc::clone(&port.name),
        external,
    })
}

impl Reference {
    /// What is kept of a reference of a route in `namespace`.
    pub(crate) fn new(reference: &ServiceRef, namespace: &str) -> Self {
        let namespace = reference.namespace.as_deref().unwrap_or(namespace);
        Self {
            service: ObjectName::new(namespace, &reference.name),
            weight: reference.weight,
            port: reference.port.clone(),
            scheme: reference.scheme,
            server_name: reference.server_name.as_deref().map(Into::into),
        }
    }
}

/// What is wrong with a reference, whatever there is in the world.
pub(crate) fn check_reference(reference: &ServiceRef) -> Option<(&'static str, String)> {
    let server_name = reference.server_name.as_deref()?;
    match ServerName::try_from(server_name) {
        Ok(_) => None,
        Err(_) => Some((".serverName", format!("`{server_name}` is no host name"))),
    }
}

/// Whether `serverName` is of no use, because TLS is not spoken.
pub(crate) fn ignores_server_name(reference: &Reference, backend: &Backend) -> bool {
    reference.server_name.is_some() && backend.scheme != Scheme::Https
}

fn scheme_of_route(scheme: RouteScheme) -> Scheme {
    match scheme {
        RouteScheme::Http => Scheme::Http,
        RouteScheme::Https => Scheme::Https,
        RouteScheme::H2c => Scheme::H2c,
    }
}

fn external_address(
    settings: &Settings,
    name: &ObjectName,
    external: &str,
) -> Result<IpAddr, String> {
    if !settings.allow_external_name {
        return Err(format!(
            "Service {name} is of type ExternalName, which the settings do not allow; name the \
             addresses in an EndpointSlice"
        ));
    }
    let address: IpAddr = external.parse().map_err(|_| {
        format!(
            "Service {name} stands for the name `{external}`; names are not looked up, only an \
             IP address can be used"
        )
    })?;
    match refusal(settings, address) {
        None => Ok(address.to_canonical()),
        Some(refusal) => Err(format!("Service {name} stands for {address}: {refusal}")),
    }
}

impl ServiceSpec {
    fn port(&self, port: &Port) -> Option<&ServicePort> {
        self.ports.iter().find(|it| match port {
            Port::Number(number) => it.number == *number,
            Port::Name(name) => *it.name == **name,
        })
    }
}

impl ServicePort {
    /// What `appProtocol` says, or Traefik's rule where it says nothing. `None`: it says what is
    /// not known.
    fn scheme(&self) -> Option<Scheme> {
        match self.app_protocol.as_deref() {
            None if self.number == 443 || self.name.starts_with("https") => Some(Scheme::Https),
            None => Some(Scheme::Http),
            Some("http" | "kubernetes.io/ws") => Some(Scheme::Http),
            Some("https" | "kubernetes.io/wss") => Some(Scheme::Https),
            Some("kubernetes.io/h2c" | "h2c" | "grpc") => Some(Scheme::H2c),
            Some(_) => None,
        }
    }
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.is_empty() {
            true => write!(f, "{}", self.number),
            false => write!(f, "{} (`{}`)", self.number, self.name),
        }
    }
}

/// The services of the table for all backends of one Service. Those of one identity count
/// together: with each other, and with what the table has of it.
pub(crate) fn table_services(
    world: &World,
    settings: &Settings,
    backends: &[Placed],
    table: &Services,
) -> Vec<Arc<Service>> {
    let known: Vec<&Arc<Service>> = (backends.iter())
        .filter_map(|placed| table.get(placed.index as usize))
        .collect();
    let mut services: Vec<Arc<Service>> = Vec::with_capacity(backends.len());
    for Placed { backend, .. } in backends {
        let mut service = table_service(world, settings, backend);
        let same = |it: &&Arc<Service>| it.id == service.id;
        // Two that differ in nothing but the server name are neighbours in this order.
        if let Some(other) = services
            .last()
            .filter(same)
            .or(known.iter().copied().find(same))
        {
            service.state = Arc::clone(&other.state);
        }
        services.push(Arc::new(service));
    }
    services
}

/// One service of the table, with the endpoints that there are now.
fn table_service(world: &World, settings: &Settings, backend: &Backend) -> Service {
    let Backend {
        service,
        port,
        scheme,
        ..
    } = backend;
    Service {
        id: ServiceId {
            namespace: Arc::clone(&service.namespace),
            name: Arc::clone(&service.name),
            port: *port,
            scheme: *scheme,
        },
        protocol: match scheme {
            Scheme::Http => Protocol::Http1,
            Scheme::H2c => Protocol::Http2,
            Scheme::Https => Protocol::Tls {
                server_name: backend.server_name.clone().unwrap_or_else(|| {
                    format!("{}.{}.svc", service.name, service.namespace).into()
                }),
            },
        },
        endpoints: addresses(world, settings, backend)
            .into_iter()
            .map(|address| Endpoint {
                address,
                state: Arc::default(),
            })
            .collect(),
        state: Arc::default(),
    }
}

/// The addresses that take requests now, in order, each once.
fn addresses(world: &World, settings: &Settings, backend: &Backend) -> Vec<SocketAddr> {
    if let Some(address) = backend.external {
        return vec![SocketAddr::new(address, backend.port)];
    }
    let mut found: Vec<(Use, SocketAddr)> = Vec::new();
    for slice in world.slices(backend) {
        for port in slice
            .ports
            .iter()
            .filter(|port| port.name == backend.port_name)
        {
            let usable = slice.endpoints.iter().filter(|endpoint| {
                endpoint.use_ != Use::Never && refusal(settings, endpoint.address).is_none()
            });
            found.extend(usable.map(|it| (it.use_, SocketAddr::new(it.address, port.number))));
        }
    }
    found.sort_unstable();
    // Ready ones come first: they decide whether the others are needed.
    if let Some((best, _)) = found.first().copied() {
        found.retain(|(use_, _)| *use_ == best);
    }
    found.dedup();
    // The same pods have an address in each family. One is enough: the one that the Service
    // prefers, as long as it leads anywhere.
    if let Some(family) = world.spec(backend).and_then(|spec| spec.family)
        && found
            .iter()
            .any(|(_, address)| Family::of(address) == family)
    {
        found.retain(|(_, address)| Family::of(address) == family);
    }
    found.into_iter().map(|(_, address)| address).collect()
}

impl Family {
    fn of(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::Ipv4,
            SocketAddr::V6(_) => Self::Ipv6,
        }
    }
}

/// Whether two services forward to the same endpoints in the same way.
pub(crate) fn same(one: &Service, other: &Service) -> bool {
    let addresses = |service: &Service| service.endpoints.iter().map(|it| it.address).collect();
    let (here, there): (Vec<_>, Vec<_>) = (addresses(one), addresses(other));
    one.id == other.id && one.protocol == other.protocol && here == there
}

/// What there is to say about a Service that rules forward to: `backends` are all those of it,
/// and `services` what they became.
pub(crate) fn findings(world: &World, backends: &[Placed], services: &Services) -> Vec<Finding> {
    let Some(any) = backends.first() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if let Some(spec) = world.spec(&any.backend) {
        for (place, port) in spec.ports.iter().enumerate() {
            let used = (backends.iter()).any(|placed| placed.backend.port == port.number);
            if let Some(unknown) = port.app_protocol.as_deref()
                && used
                && port.scheme().is_none()
            {
                findings.push(Finding::warning(
                    Reason::UnknownProtocol,
                    format!("spec.ports[{place}].appProtocol"),
                    format!(
                        "`{unknown}` is not known and is taken for `http`; known are `http`, \
                         `https`, `h2c`, `grpc`, `kubernetes.io/h2c`, `kubernetes.io/ws` and \
                         `kubernetes.io/wss`"
                    ),
                ));
            }
        }
    }
    let mut named = Vec::new();
    for Placed { backend, index, .. } in backends {
        let service = services.get(*index as usize);
        let empty = service.is_none_or(|service| service.endpoints.is_empty());
        if empty && !named.contains(&backend.port) {
            named.push(backend.port);
            findings.push(Finding::warning(
                Reason::NoEndpoints,
                "",
                format!(
                    "no endpoint for port {} takes requests: {}; requests get 503",
                    backend.port,
                    why_none(world, backend)
                ),
            ));
        }
    }
    findings
}

fn why_none(world: &World, backend: &Backend) -> String {
    let Backend {
        service, port_name, ..
    } = backend;
    let mut slices = 0;
    let mut with_port = 0;
    let mut endpoints = 0;
    for slice in world.slices(backend) {
        slices += 1;
        if slice.ports.iter().any(|port| port.name == *port_name) {
            with_port += 1;
            endpoints += slice.endpoints.len();
        }
    }
    let name = &service.name;
    match (slices, with_port, endpoints) {
        (0, ..) => format!("no EndpointSlice has the label `{SERVICE_NAME_LABEL}: {name}`"),
        (_, 0, _) => match port_name.is_empty() {
            true => "no EndpointSlice of it has a port without a name".to_owned(),
            false => format!("no EndpointSlice of it has a port named `{port_name}`"),
        },
        (_, _, 0) => "its EndpointSlices are empty".to_owned(),
        (_, _, 1) => "its only endpoint is not ready, or may not be used".to_owned(),
        (_, _, count) => format!("none of its {count} endpoints is ready and may be used"),
    }
}
