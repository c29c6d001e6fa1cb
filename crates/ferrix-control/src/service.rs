//! `Service`: its ports, and the name that it may stand for.
//!
//! The store keeps only what is read here. A cluster has many more Services than routes, and most
//! changes of a Service are none to us.

use std::{borrow::Cow, cell::RefCell, fmt, net::SocketAddr, sync::Arc};

use ferrix_api::ingressroute::Port;
use ferrix_table::services::Scheme;
use k8s_openapi::api::core::v1 as core;
use serde_json::Value;

use crate::{
    document::{self, Fault, Read, Strictness},
    external_name::{DomainName, ExternalName},
    gateway_service::{self, Exposed},
    names::{Known, shared, shared_list},
    rare::Rare,
    status::Address,
};

thread_local! {
    static PORTS: RefCell<Known<Arc<[ServicePort]>>> = RefCell::default();
}

/// What of a Service is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceSpec {
    /// Shared, as those of most Services are the same.
    pub(crate) ports: Arc<[ServicePort]>,
    /// `None`: it is as nearly all are.
    pub(crate) special: Option<Box<Special>>,
    /// The address family that the Service prefers, where it has one.
    pub(crate) family: Option<Family>,
    /// Where it is reached from outside: what its load balancer has, else its external addresses.
    pub(crate) addresses: Rare<Address>,
}

/// What few Services are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// Of type ExternalName: what it stands for.
    ExternalName(ExternalName),
    /// Made by an installation for a Gateway.
    Exposed(Exposed),
}

/// What `appProtocol` of a port may be.
pub(crate) const APP_PROTOCOLS: &str = "`http`, `https`, `h2c`, `grpc`, `kubernetes.io/h2c`, \
                                        `kubernetes.io/ws` and `kubernetes.io/wss`";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServicePort {
    /// Empty where the only port has no name.
    pub(crate) name: Arc<str>,
    pub(crate) number: u16,
    pub(crate) protocol: Arc<str>,
    pub(crate) app_protocol: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

/// Reads a document.
pub(crate) fn decode(
    value: &Value,
    strictness: Strictness,
) -> Result<Read<core::Service>, Vec<Fault>> {
    document::read(value, strictness)
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
    let balancer = balancer(service);
    let special = match spec.type_.as_deref() == Some("ExternalName") {
        true => {
            let name = spec.external_name.as_deref().unwrap_or_default();
            Some(Special::ExternalName(ExternalName::parse(name)))
        }
        false => gateway_service::read(service, &balancer).map(Special::Exposed),
    };
    let family = spec.ip_families.as_deref().and_then(<[_]>::first);
    ServiceSpec {
        ports: shared_list(&PORTS, spec.ports.iter().flatten().filter_map(port)),
        special: special.map(Box::new),
        family: family.and_then(|family| match family.as_str() {
            "IPv4" => Some(Family::Ipv4),
            "IPv6" => Some(Family::Ipv6),
            _ => None,
        }),
        addresses: match balancer.is_empty() {
            true => external_addresses(spec),
            false => balancer,
        },
    }
}

/// What the load balancer of a Service has.
fn balancer(service: &core::Service) -> Rare<Address> {
    let status = service.status.as_ref();
    let balancer = status.and_then(|it| it.load_balancer.as_ref()?.ingress.as_deref());
    let balancer = balancer.unwrap_or_default().iter();
    let of_balancer = balancer.filter_map(|it| match (&it.ip, &it.hostname) {
        (Some(ip), _) => Some(Address::Ip(ip.as_str().into())),
        (None, name) => Some(Address::Hostname(name.as_deref()?.into())),
    });
    of_balancer.collect()
}

fn external_addresses(spec: &core::ServiceSpec) -> Rare<Address> {
    let all = spec.external_ips.iter().flatten();
    all.map(|ip| Address::Ip(ip.as_str().into())).collect()
}

impl ServiceSpec {
    /// What a Service of type ExternalName stands for.
    pub(crate) fn external_name(&self) -> Option<&ExternalName> {
        match self.special.as_deref()? {
            Special::ExternalName(name) => Some(name),
            Special::Exposed(_) => None,
        }
    }

    /// What an installation has made for a Gateway.
    pub(crate) fn exposed(&self) -> Option<&Exposed> {
        match self.special.as_deref()? {
            Special::Exposed(exposed) => Some(exposed),
            Special::ExternalName(_) => None,
        }
    }

    /// The name that it stands for, where that is a name.
    pub(crate) fn name_to_look_up(&self) -> Option<&DomainName> {
        self.external_name()?.name()
    }

    /// The port that a reference means, of several that of this protocol. A Service of type ExternalName needs none: it has every
    /// number then.
    pub(crate) fn port(&self, port: &Port, protocol: &str) -> Option<Cow<'_, ServicePort>> {
        if let (Port::Number(number), Some(_), []) = (port, self.external_name(), &*self.ports) {
            return Some(Cow::Owned(ServicePort {
                name: Arc::default(),
                number: *number,
                protocol: shared("TCP"),
                app_protocol: None,
            }));
        }
        let is_named = |it: &&ServicePort| match port {
            Port::Number(number) => it.number == *number,
            Port::Name(name) => *it.name == **name,
        };
        // TCP and UDP may have the same number.
        let mut named = self.ports.iter().filter(is_named);
        let first = named.next();
        let fits = |it: &&ServicePort| *it.protocol == *protocol;
        let port = first.filter(fits).or_else(|| named.find(fits)).or(first);
        port.map(Cow::Borrowed)
    }
}

impl ServicePort {
    /// What `appProtocol` says, or `default` where it says nothing that is known.
    pub(crate) fn scheme_or(&self, default: Scheme) -> Scheme {
        let said = self.app_protocol.as_ref().and_then(|_| self.scheme());
        said.unwrap_or(default)
    }

    /// What `appProtocol` says, or Traefik's rule where it says nothing. `None`: it says what is
    /// not known.
    pub(crate) fn scheme(&self) -> Option<Scheme> {
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

impl Family {
    pub(crate) fn of(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::Ipv4,
            SocketAddr::V6(_) => Self::Ipv6,
        }
    }
}
