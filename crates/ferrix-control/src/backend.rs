//! A backend: from a reference to a port of a Service to the addresses behind it.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ferrix_table::{
    ids::ServiceIndex,
    services::{Endpoint, Protocol, Scheme, Service, ServiceId, Services},
};

use crate::{
    draft::BackendReference,
    endpointslice::{SERVICE_NAME_LABEL, Use, refusal},
    objects::{Key, Kind, ObjectName},
    referencegrant::{Permitted, Referrer, Refused},
    report::{Finding, Reason},
    service::{Family, ServicePort, ServiceSpec},
    settings::Settings,
    world::World,
};

/// A port of a Service that some rule forwards to, and how it is spoken to.
///
/// Only [`resolve`] makes one, of a Service that the referrer may use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Backend {
    service: Permitted,
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
        self.service.name()
    }

    /// The permission to use that Service.
    pub(crate) fn permitted(&self) -> &Permitted {
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
        let placed = self.of_service(backend.service());
        let place = placed
            .binary_search_by(|it| (*it.backend).cmp(backend))
            .ok()?;
        Some(placed[place].index)
    }

    /// Takes note of a reference. Tells whether it is the first to its backend.
    pub(crate) fn refer(&mut self, backend: &Arc<Backend>) -> bool {
        // Nearly all have one backend.
        let placed = (self.of_service.entry(backend.service().clone()))
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
        let placed = self.of_service.get_mut(backend.service())?;
        let place = placed
            .binary_search_by(|it| (*it.backend).cmp(backend))
            .ok()?;
        placed[place].references -= 1;
        if placed[place].references > 0 {
            return None;
        }
        let index = placed.remove(place).index;
        if placed.is_empty() {
            self.of_service.remove(backend.service());
        }
        self.free.push(index);
        Some(index)
    }
}

/// Follows a reference of an object to a port of a Service.
pub(crate) fn resolve(
    world: &World,
    settings: &Settings,
    from: &Key,
    reference: &BackendReference,
) -> Result<Backend, Finding> {
    let (name, field) = (&reference.service, reference.field);
    let found = world.service(settings, Referrer::Object(from), name);
    let (service, spec) = found.map_err(|refused| not_found(world, from, reference, refused))?;
    let port = port(spec, reference)?;
    let external = spec.external_name.as_deref();
    let external = external.map(|external| external_address(settings, name, external));
    let external = external.transpose().map_err(|message| {
        Finding::problem(Reason::ServiceNotUsable, field.to_string(), message)
    })?;
    let scheme = reference.scheme.or(port.scheme()).unwrap_or(Scheme::Http);
    Ok(Backend {
        service,
        port: port.number,
        scheme,
        server_name: (reference.server_name.clone()).filter(|_| scheme == Scheme::Https),
        port_name: Arc::clone(&port.name),
        external,
    })
}

fn not_found(world: &World, from: &Key, reference: &BackendReference, refused: Refused) -> Finding {
    let name = &reference.service;
    let (reason, message) = match refused {
        Refused::Missing => (
            Reason::ServiceNotFound,
            why_missing(world, Kind::Service, name),
        ),
        Refused::Unwatched => (
            Reason::ServiceNotFound,
            format!("Service {name} is in a namespace that is not watched"),
        ),
        Refused::Forbidden => (
            Reason::NotPermitted,
            format!(
                "Service {name} is in another namespace, and no ReferenceGrant there lets {}s of \
                 namespace {} refer to it{}",
                from.kind,
                from.namespace,
                match world.withheld(Kind::ReferenceGrant, &name.namespace) {
                    Some(reason) => format!("; ReferenceGrants cannot be seen: {reason}"),
                    None => String::new(),
                }
            ),
        ),
    };
    Finding::problem(reason, reference.field.to_string(), message)
}

/// Why there is no object of this name.
pub(crate) fn why_missing(world: &World, kind: Kind, name: &ObjectName) -> String {
    let rejection = world.rejection(&name.key(kind));
    match (rejection, world.withheld(kind, &name.namespace)) {
        (Some(_), _) => format!("{kind} {name} cannot be read"),
        (None, Some(reason)) => format!("{kind} {name} cannot be seen: {reason}"),
        (None, None) => format!("{kind} {name} does not exist"),
    }
}

fn port<'s>(
    spec: &'s ServiceSpec,
    reference: &BackendReference,
) -> Result<&'s ServicePort, Finding> {
    let (name, wanted) = (&reference.service, &reference.port);
    let refuse = |reason, message: String| {
        Finding::problem(reason, format!("{}.port", reference.field), message)
    };
    let Some(port) = spec.port(wanted) else {
        let message = match &*spec.ports {
            [] => format!("Service {name} has no port {wanted}; it has none"),
            ports => {
                let ports: Vec<_> = ports.iter().map(ServicePort::to_string).collect();
                let ports = ports.join(", ");
                format!("Service {name} has no port {wanted}; it has {ports}")
            }
        };
        return Err(refuse(Reason::PortNotFound, message));
    };
    if &*port.protocol != "TCP" {
        let message = format!(
            "port {port} of Service {name} is {}, not TCP",
            port.protocol
        );
        return Err(refuse(Reason::ServiceNotUsable, message));
    }
    Ok(port)
}

/// Whether `serverName` is of no use, because TLS is not spoken.
pub(crate) fn ignores_server_name(reference: &BackendReference, backend: &Backend) -> bool {
    reference.server_name.is_some() && backend.scheme != Scheme::Https
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
    let Backend { port, scheme, .. } = backend;
    let service = backend.service();
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
    for slice in world.slices(&backend.service) {
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
    if let Some(family) = world.spec(&backend.service).and_then(|spec| spec.family)
        && found
            .iter()
            .any(|(_, address)| Family::of(address) == family)
    {
        found.retain(|(_, address)| Family::of(address) == family);
    }
    found.into_iter().map(|(_, address)| address).collect()
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
    if let Some(spec) = world.spec(&any.backend.service) {
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
    let port_name = &backend.port_name;
    let mut slices = 0;
    let mut with_port = 0;
    let mut endpoints = 0;
    for slice in world.slices(&backend.service) {
        slices += 1;
        if slice.ports.iter().any(|port| port.name == *port_name) {
            with_port += 1;
            endpoints += slice.endpoints.len();
        }
    }
    let name = &backend.service().name;
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
