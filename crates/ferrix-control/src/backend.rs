//! A backend: from a reference to a port of a Service to the addresses behind it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ferrix_api::ingressroute::Port;
use ferrix_table::{
    backend_policy::BackendPolicy,
    balancing::Near,
    ids::ServiceIndex,
    services::{Endpoint, Protocol, Scheme, Service, ServiceId, Services},
    verification::{Authorities, ClientCertificate, Prepared, Verification},
};

use crate::{
    backendtlspolicy,
    draft::BackendReference,
    endpointslice::{SERVICE_NAME_LABEL, SliceEndpoint, SlicePort, Use},
    external_name::{DomainName, ExternalName, Resolution},
    objects::{Key, Kind, ObjectName},
    referencegrant::{Permitted, Referrer, Refused},
    report::{Finding, Reason},
    service::{self, Family, ServicePort, ServiceSpec},
    settings::Settings,
    world::World,
    zones::OwnZone,
};

/// How many findings about the addresses of one name are told.
const MAX_NAME_FINDINGS: usize = 8;

/// A port of a Service that some rule forwards to, and how it is spoken to.
///
/// Only [`resolve`] makes one, of a Service that the referrer may use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Backend {
    service: Permitted,
    port: u16,
    scheme: Scheme,
    /// Whether the route says so itself, and no policy may say otherwise.
    is_said: bool,
    /// The name that is asked for, where TLS is spoken.
    server_name: Option<Box<str>>,
    /// What a policy says of its certificates, and what is presented to it.
    verification: Option<Arc<Verification>>,
    addresses: AddressSource,
}

/// Where the addresses of a backend come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum AddressSource {
    /// EndpointSlices, which know the port by this name.
    Slices { port_name: Arc<str> },
    /// DNS.
    Name(DomainName),
    /// The Service itself.
    Address(IpAddr),
}

impl Backend {
    /// The Service that it is a port of.
    pub(crate) fn service(&self) -> &ObjectName {
        self.service.name()
    }

    /// Whether a reference may have come to it.
    pub(crate) fn is_of(&self, reference: &BackendReference) -> bool {
        let has_port = match reference.port {
            Port::Number(number) => number == self.port,
            Port::Name(_) => true,
        };
        has_port
            && reference.service == *self.service()
            && reference.server_name == self.server_name
            && reference.scheme.is_none_or(|scheme| scheme == self.scheme)
    }

    /// The permission to use that Service.
    pub(crate) fn permitted(&self) -> &Permitted {
        &self.service
    }

    /// The same where it is presented a certificate.
    fn presented(mut self, client: &ClientCertificate) -> Self {
        let policy = self.verification.as_deref();
        let verification = Verification {
            server_name: policy.map_or_else(|| server_name(&self), |it| it.server_name.clone()),
            authorities: policy.map_or(Authorities::OfSettings, |it| it.authorities.clone()),
            names: policy.map_or_else(Box::default, |it| it.names.clone()),
            client: Some(client.clone()),
            prepared: Prepared::default(),
        };
        self.verification = Some(Arc::new(verification));
        self
    }

    /// The name that has to be looked up for it.
    pub(crate) fn external_name(&self) -> Option<&DomainName> {
        match &self.addresses {
            AddressSource::Name(name) => Some(name),
            AddressSource::Slices { .. } | AddressSource::Address(_) => None,
        }
    }
}

/// What the services of a table are made from: every backend that some rule refers to, and the
/// index of its service, which stays as long as there is such a rule.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    /// In order, so that those of one identity are neighbours. Nearly all have one, and a `Vec` would take
    /// another 8 bytes for each, twice of which are spare in a map.
    of_service: HashMap<ObjectName, Box<[Placed]>>,
    /// The names that have to be looked up, and how many backends need each.
    names: BTreeMap<DomainName, usize>,
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
    references: u32,
}

impl Backends {
    /// The backends of one Service; empty where no rule forwards to it.
    pub(crate) fn of_service(&self, name: &ObjectName) -> &[Placed] {
        self.of_service.get(name).map_or(&[], |placed| placed)
    }

    /// The index of a backend that is referred to.
    pub(crate) fn index(&self, backend: &Backend) -> Option<ServiceIndex> {
        let placed = self.of_service(backend.service());
        let place = placed
            .binary_search_by(|it| (*it.backend).cmp(backend))
            .ok()?;
        Some(placed[place].index)
    }

    /// The names that have to be looked up, in order.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &DomainName> {
        self.names.keys()
    }

    /// Takes note of a reference. Tells whether it is the first to its backend.
    pub(crate) fn refer(&mut self, backend: &Arc<Backend>) -> bool {
        let placed = self.of_service.entry(backend.service().clone());
        let placed = placed.or_default();
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
                let new = Placed {
                    backend: Arc::clone(backend),
                    index,
                    references: 1,
                };
                let mut more = std::mem::take(placed).into_vec();
                more.insert(place, new);
                *placed = more.into();
                if let Some(name) = backend.external_name() {
                    *self.names.entry(name.clone()).or_default() += 1;
                }
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
        let mut others = std::mem::take(placed).into_vec();
        let index = others.remove(place).index;
        match others.is_empty() {
            true => drop(self.of_service.remove(backend.service())),
            false => *placed = others.into(),
        }
        self.free.push(index);
        if let Some(name) = backend.external_name()
            && let Some(backends) = self.names.get_mut(name)
        {
            *backends -= 1;
            if *backends == 0 {
                self.names.remove(name);
            }
        }
        Some(index)
    }
}

/// Follows a reference of an object to a port of a Service, which is presented the certificate of a `client`
/// where TLS is spoken.
pub(crate) fn resolve(
    world: &World,
    settings: &Settings,
    from: &Key,
    reference: &BackendReference,
    client: Option<&ClientCertificate>,
) -> Result<Backend, Finding> {
    let (name, field) = (&reference.service, reference.field);
    let found = world.service(settings, Referrer::Object(from), name);
    let (service, spec) = found.map_err(|refused| not_found(world, from, reference, refused))?;
    let external = spec.external_name();
    let external = external.map(|external| external_source(settings, name, external));
    let external = external.transpose().map_err(|message| {
        Finding::problem(Reason::ServiceNotUsable, field.to_string(), message)
    })?;
    let port = port(spec, reference)?;
    let suggested = || match reference.default_scheme {
        Some(default) => Some(port.scheme_or(default)),
        None => port.scheme(),
    };
    let scheme = reference.scheme.or_else(suggested).unwrap_or(Scheme::Http);
    let verification = verification(world, settings, reference, &port)?;
    if port.scheme().is_none()
        && matches!(from.kind, Kind::GrpcRoute | Kind::HttpRoute)
        && verification.is_none()
        && !world.is_protocol_told(settings, name, &port.name)
    {
        return Err(unsupported_protocol(from, reference, &port));
    }
    let scheme = match verification {
        Some(_) => Scheme::Https,
        None => scheme,
    };
    let backend = Backend {
        service,
        port: port.number,
        scheme,
        is_said: reference.scheme.is_some() || verification.is_some(),
        server_name: reference.server_name.clone(),
        verification,
        addresses: external.unwrap_or_else(|| AddressSource::Slices {
            port_name: Arc::clone(&port.name),
        }),
    };
    Ok(match client {
        Some(client) if scheme == Scheme::Https => backend.presented(client),
        _ => backend,
    })
}

/// What the policy of a port says, which is that of routes of the Gateway API alone.
fn verification(
    world: &World,
    settings: &Settings,
    reference: &BackendReference,
    port: &ServicePort,
) -> Result<Option<Arc<Verification>>, Finding> {
    // Bytes are handed on as they are.
    let is_raw = matches!(reference.scheme, Some(Scheme::Tcp | Scheme::Udp));
    if is_raw || reference.default_scheme.is_none() {
        return Ok(None);
    }
    let Some(policy) = backendtlspolicy::of_port(world, &reference.service, &port.name) else {
        return Ok(None);
    };
    let checked = backendtlspolicy::check(world, settings, policy);
    checked.verification.map(Some).map_err(|fault| {
        let message = format!(
            "{} says how Service {} is known, and cannot be used: {}",
            policy.key(),
            reference.service,
            fault.message
        );
        let field = reference.field.to_string();
        Finding::problem(Reason::ServiceNotUsable, field, message)
    })
}

/// Such a backend is invalid to a route of the Gateway API (`HTTPBackendRef`).
fn unsupported_protocol(from: &Key, reference: &BackendReference, port: &ServicePort) -> Finding {
    let message = format!(
        "port {port} of Service {} has the appProtocol `{}`, which is not known, so that no {} can use it; \
         known are {}",
        reference.service,
        port.app_protocol.as_deref().unwrap_or_default(),
        from.kind,
        service::APP_PROTOCOLS
    );
    let field = reference.field.to_string();
    Finding::problem(Reason::UnsupportedProtocol, field, message)
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
            why_forbidden(world, from, Kind::Service, name),
        ),
    };
    Finding::problem(reason, reference.field.to_string(), message)
}

/// Why an object may not refer to that of this name in another namespace.
pub(crate) fn why_forbidden(world: &World, from: &Key, kind: Kind, name: &ObjectName) -> String {
    let unseen = match world.withheld(Kind::ReferenceGrant, &name.namespace) {
        Some(reason) => format!("; ReferenceGrants cannot be seen: {reason}"),
        None => String::new(),
    };
    format!(
        "{kind} {name} is in another namespace, and no ReferenceGrant there lets {} of namespace {} \
         refer to it{unseen}",
        from.kind.plural(),
        from.namespace,
    )
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
) -> Result<Cow<'s, ServicePort>, Finding> {
    let (name, wanted) = (&reference.service, &reference.port);
    let refuse = |reason, message: String| {
        Finding::problem(reason, format!("{}.port", reference.field), message)
    };
    let protocol = match reference.scheme {
        Some(Scheme::Udp) => "UDP",
        _ => "TCP",
    };
    let Some(port) = spec.port(wanted, protocol) else {
        let message = match &*spec.ports {
            [] if spec.external_name().is_some() => format!(
                "Service {name} has no port {wanted}; it has none, so that any number can be given \
                 here, but no name"
            ),
            [] => format!("Service {name} has no port {wanted}; it has none"),
            ports => {
                let ports: Vec<_> = ports.iter().map(ServicePort::to_string).collect();
                let ports = ports.join(", ");
                format!("Service {name} has no port {wanted}; it has {ports}")
            }
        };
        return Err(refuse(Reason::PortNotFound, message));
    };
    if &*port.protocol != protocol {
        let message = format!(
            "port {port} of Service {name} is {}, not {protocol}",
            port.protocol
        );
        return Err(refuse(Reason::ServiceNotUsable, message));
    }
    Ok(port)
}

fn external_source(
    settings: &Settings,
    name: &ObjectName,
    external: &ExternalName,
) -> Result<AddressSource, String> {
    if !settings.allow_external_name {
        return Err(format!(
            "Service {name} is of type ExternalName, which the settings do not allow; name the \
             addresses in an EndpointSlice"
        ));
    }
    match external {
        ExternalName::Name(external) => Ok(AddressSource::Name(external.clone())),
        ExternalName::Address(address) => match settings.refusal(*address) {
            None => Ok(AddressSource::Address(*address)),
            Some(refusal) => Err(format!("Service {name} stands for {address}: {refusal}")),
        },
        ExternalName::Invalid(text) => Err(format!(
            "Service {name} stands for `{text}`, which is neither the name of a host nor an IP \
             address"
        )),
    }
}

/// The services of the table for all backends of one Service. Those of one identity count
/// together: with each other, and with what the table has of it. `policy`: that of a port, by its name.
pub(crate) fn table_services(
    world: &World,
    settings: &Settings,
    policy: impl Fn(&str) -> Option<Arc<BackendPolicy>>,
    zone: Option<&OwnZone>,
    backends: &[Placed],
    table: &Services,
) -> Vec<Arc<Service>> {
    let known: Vec<&Arc<Service>> = (backends.iter())
        .filter_map(|placed| table.get(placed.index as usize))
        .collect();
    let mut services: Vec<Arc<Service>> = Vec::with_capacity(backends.len());
    for Placed { backend, .. } in backends {
        let policy = policy(port_name(world, backend));
        let mut service = table_service(world, settings, policy.as_ref(), zone, backend);
        let same = |it: &&Arc<Service>| it.id == service.id;
        let made = services.iter().find(same);
        if let Some(other) = made.or(known.iter().copied().find(same)) {
            service.count_with(other);
            // What was prepared of a verification is kept with it.
            if service.protocol == other.protocol {
                service.protocol = other.protocol.clone();
            }
        }
        services.push(Arc::new(service));
    }
    services
}

/// The name of the port of a backend; empty where it has none.
fn port_name<'w>(world: &'w World, backend: &'w Backend) -> &'w str {
    if let AddressSource::Slices { port_name } = &backend.addresses {
        return port_name;
    }
    let ports = world.spec(&backend.service).map(|spec| &spec.ports);
    let mut ports = ports.into_iter().flat_map(|ports| ports.iter());
    let port = ports.find(|port| port.number == backend.port);
    port.map_or("", |port| &port.name)
}

/// One service of the table, with the endpoints that there are now.
fn table_service(
    world: &World,
    settings: &Settings,
    policy: Option<&Arc<BackendPolicy>>,
    zone: Option<&OwnZone>,
    backend: &Backend,
) -> Service {
    let zone = zone.filter(|_| policy.is_some_and(|it| it.balancing.zones.is_some()));
    let mut addresses = addresses(world, settings, zone, backend);
    // Those of the own zone first, which are told by their number.
    addresses.sort_by_key(|(_, is_near)| !is_near);
    let near = addresses.iter().filter(|(_, is_near)| *is_near).count();
    let scheme = scheme(backend, policy);
    let name = backend.service();
    let service = Service {
        id: ServiceId {
            service: name.clone(),
            port: backend.port,
            scheme,
        },
        protocol: match scheme {
            Scheme::Http => Protocol::Http1,
            Scheme::H2c => Protocol::Http2,
            Scheme::Https => match known_by(backend, policy) {
                Some(verification) => Protocol::Verified(verification),
                None => Protocol::Tls {
                    server_name: server_name(backend),
                },
            },
            Scheme::Tcp => Protocol::Tcp,
            Scheme::Udp => Protocol::Udp,
        },
        endpoints: addresses
            .iter()
            .map(|(address, _)| Endpoint::new(*address))
            .collect(),
        policy: None,
        state: Arc::default(),
    };
    match policy {
        Some(policy) => {
            let mut service = service.with_policy(Arc::clone(policy));
            if let (Some(zone), Some(policy)) = (zone, &mut service.policy)
                && (1..addresses.len()).contains(&near)
            {
                policy.near = Some(Near {
                    endpoints: u32::try_from(near).unwrap_or(u32::MAX),
                    per_mille: zone.per_mille(near, addresses.len()),
                });
            }
            service
        }
        None => service,
    }
}

/// What is spoken to a backend: as the route says, or a BackendTLSPolicy; else as the policy of the Service
/// does, else as the port suggests.
fn scheme(backend: &Backend, policy: Option<&Arc<BackendPolicy>>) -> Scheme {
    let of_policy = policy.and_then(|policy| policy.connection.protocol);
    let of_policy = of_policy.filter(|_| !backend.is_said);
    of_policy.unwrap_or(backend.scheme)
}

/// How a backend is known over TLS, where anybody says so. A BackendTLSPolicy comes before the policy of the
/// Service, and that before the Gateway, whose certificate is for backends in general.
fn known_by(backend: &Backend, policy: Option<&Arc<BackendPolicy>>) -> Option<Arc<Verification>> {
    let of_route = backend.verification.as_ref();
    let by_policy = of_route.is_some_and(|it| it.authorities != Authorities::OfSettings);
    let tls = policy.and_then(|policy| policy.connection.tls.as_deref());
    let Some(tls) = tls.filter(|_| !by_policy) else {
        return of_route.cloned();
    };
    let name = backend.server_name.clone().or(tls.server_name.clone());
    let client = of_route.and_then(|it| it.client.clone());
    Some(Arc::new(Verification {
        server_name: name.unwrap_or_else(|| server_name(backend)),
        authorities: tls.authorities.clone(),
        names: tls.names.clone(),
        client: tls.client.clone().or(client),
        prepared: Prepared::default(),
    }))
}

/// The name that the certificate of a backend has to have.
fn server_name(backend: &Backend) -> Box<str> {
    let service = backend.service();
    match (&backend.server_name, &backend.addresses) {
        (Some(name), _) => name.clone(),
        (None, AddressSource::Name(name)) => name.as_str().into(),
        (None, AddressSource::Address(address)) => address.to_string().into(),
        (None, AddressSource::Slices { .. }) => {
            format!("{}.{}.svc", service.name, service.namespace).into()
        }
    }
}

/// The addresses that take requests now, in a stable order, each once, and whether each is in this zone.
fn addresses(
    world: &World,
    settings: &Settings,
    zone: Option<&OwnZone>,
    backend: &Backend,
) -> Vec<(SocketAddr, bool)> {
    match &backend.addresses {
        AddressSource::Slices { port_name } => {
            let datagrams = backend.scheme == Scheme::Udp;
            let is_meant =
                |port: &&SlicePort| port.name == *port_name && port.datagrams == datagrams;
            slice_addresses(world, settings, &backend.service, is_meant, zone)
        }
        AddressSource::Name(name) => {
            let addresses = world.resolution(name).map(Resolution::in_turn);
            let usable = |address: &IpAddr| settings.refusal(*address).is_none();
            (addresses.into_iter().flatten().filter(usable))
                .map(|address| (SocketAddr::new(address, backend.port), false))
                .collect()
        }
        AddressSource::Address(address) => vec![(SocketAddr::new(*address, backend.port), false)],
    }
}

fn slice_addresses(
    world: &World,
    settings: &Settings,
    service: &Permitted,
    is_meant: impl Fn(&&SlicePort) -> bool,
    zone: Option<&OwnZone>,
) -> Vec<(SocketAddr, bool)> {
    let mut found: Vec<(Use, SocketAddr, bool)> = Vec::new();
    for slice in world.slices(service) {
        let is_near =
            |it: &SliceEndpoint| zone.is_some_and(|own| slice.zone(it) == Some(&own.name));
        for port in slice.ports.iter().filter(&is_meant) {
            let usable = slice.endpoints.iter().filter(|endpoint| {
                endpoint.use_ != Use::Never && settings.refusal(endpoint.address).is_none()
            });
            found.extend(usable.map(|it| {
                let address = SocketAddr::new(it.address, port.number);
                (it.use_, address, is_near(it))
            }));
        }
    }
    found.sort_unstable();
    // Ready ones come first: they decide whether the others are needed.
    if let Some((best, ..)) = found.first().copied() {
        found.retain(|(use_, ..)| *use_ == best);
    }
    found.dedup_by_key(|(_, address, _)| *address);
    // The same pods have an address in each family. One is enough: the one that the Service
    // prefers, as long as it leads anywhere.
    if let Some(family) = world.spec(service).and_then(|spec| spec.family)
        && found
            .iter()
            .any(|(_, address, _)| Family::of(address) == family)
    {
        found.retain(|(_, address, _)| Family::of(address) == family);
    }
    found
        .into_iter()
        .map(|(_, address, near)| (address, near))
        .collect()
}

/// Whether two services forward to the same endpoints in the same way, by the same policy.
pub(crate) fn same(one: &Service, other: &Service) -> bool {
    let addresses = |service: &Service| service.endpoints.iter().map(|it| it.address).collect();
    let (here, there): (Vec<_>, Vec<_>) = (addresses(one), addresses(other));
    one.id == other.id
        && one.protocol == other.protocol
        && one.policy == other.policy
        && here == there
}

/// What there is to say about a Service that rules forward to: `backends` are all those of it,
/// and `services` what they became.
pub(crate) fn findings(
    world: &World,
    settings: &Settings,
    backends: &[Placed],
    services: &Services,
) -> Vec<Finding> {
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
                        "`{unknown}` is not known and is taken for `http`; known are {}",
                        service::APP_PROTOCOLS
                    ),
                ));
            }
        }
    }
    let mut looked_up = BTreeSet::new();
    for Placed { backend, .. } in backends {
        if let Some(name) = backend.external_name()
            && looked_up.insert(name)
        {
            findings.extend(name_findings(world, settings, name));
        }
    }
    let mut named = Vec::new();
    for Placed { backend, index, .. } in backends {
        let service = services.get(*index as usize);
        let empty = service.is_none_or(|service| service.endpoints.is_empty());
        // What is yet to be looked up is no fault.
        let unknown = (backend.external_name()).is_some_and(|it| world.resolution(it).is_none());
        if empty && !unknown && !named.contains(&backend.port) {
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

/// What there is to say about a name that is looked up.
fn name_findings(world: &World, settings: &Settings, name: &DomainName) -> Vec<Finding> {
    const FIELD: &str = "spec.externalName";
    let Some(resolution) = world.resolution(name) else {
        let message = format!("`{name}` is looked up at run time; until then requests get 503");
        return vec![Finding::info(Reason::NotLookedUp, FIELD, message)];
    };
    let mut findings = Vec::new();
    if let Some(message) = lookup_trouble(resolution, name) {
        findings.push(Finding::warning(Reason::LookupFailed, FIELD, message));
    }
    for address in resolution.in_turn() {
        if let Some(refusal) = settings.refusal(address) {
            let message = format!("address {address} of `{name}` is left out: {refusal}");
            findings.push(Finding::problem(Reason::EndpointNotUsed, FIELD, message));
        }
    }
    findings.truncate(MAX_NAME_FINDINGS);
    findings
}

/// What there is to say where what was found last is all there is. Where that is nothing, there is no
/// endpoint, and that is said.
fn lookup_trouble(resolution: &Resolution, name: &DomainName) -> Option<String> {
    let failure = resolution.trouble.as_ref()?;
    let trouble = || {
        format!(
            "`{name}` is looked up in vain: {failure}; the addresses that were found last serve on"
        )
    };
    (!resolution.is_empty()).then(trouble)
}

/// What is wrong with the name that a backend stands for, for those who refer to it.
pub(crate) fn external_name_finding(
    world: &World,
    reference: &BackendReference,
    backend: &Backend,
) -> Option<Finding> {
    let name = backend.external_name()?;
    let message = lookup_trouble(world.resolution(name)?, name)?;
    let message = format!("Service {}: {message}", backend.service());
    let field = reference.field.to_string();
    Some(Finding::warning(Reason::LookupFailed, field, message))
}

/// Why a backend has no endpoint that takes requests.
pub(crate) fn why_none(world: &World, backend: &Backend) -> String {
    match &backend.addresses {
        AddressSource::Slices { port_name } => why_no_slice(world, &backend.service, port_name),
        AddressSource::Name(name) => match world.resolution(name) {
            None => format!("`{name}` has not been looked up yet"),
            Some(resolution) => match &resolution.trouble {
                Some(failure) if resolution.is_empty() => {
                    format!("`{name}` is looked up in vain: {failure}")
                }
                _ => format!("no address of `{name}` may be used"),
            },
        },
        // It was looked at when the backend was made.
        AddressSource::Address(address) => format!("{address} may not be used"),
    }
}

fn why_no_slice(world: &World, service: &Permitted, port_name: &Arc<str>) -> String {
    let mut slices = 0;
    let mut with_port = 0;
    let mut endpoints = 0;
    for slice in world.slices(service) {
        slices += 1;
        if slice.ports.iter().any(|port| port.name == *port_name) {
            with_port += 1;
            endpoints += slice.endpoints.len();
        }
    }
    let name = &service.name().name;
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
