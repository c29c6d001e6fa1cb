//! One listener by itself, with what it names.

use std::sync::Arc;

use ferrix_api::gateway as api;
use ferrix_table::{
    entry_points::{EntryPoint, Protocol},
    rules::HostPattern,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Fault, frontend::Frontend, placement::Place};
use crate::{
    label_selector,
    names::{shared, shared_name},
    objects::{self, Key, Kind},
    referencegrant::{Referrer, Refused},
    secret::Parsed,
    settings::Settings,
    verdict::Condition,
    world::World,
};

/// A listener, and where it is served.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) port: u16,
    pub(crate) host: HostPattern,
    /// The kinds of routes that may attach.
    pub(crate) kinds: Box<[Kind]>,
    pub(crate) namespaces: NamespaceSet,
    /// Whether routes can attach.
    pub(crate) accepted: bool,
    pub(crate) conditions: Box<[Condition]>,
    pub(super) certificates: Box<[Arc<Parsed>]>,
    /// Entry points of its own; none where it is not served.
    pub(super) entry_points: Box<[EntryPoint]>,
    /// An entry point of the settings that serves it instead.
    pub(super) adopted: Option<Arc<str>>,
    /// Whether it is to have an entry point as soon as its Service has its port.
    pub(super) is_promised: bool,
}

/// Namespaces, as listeners and Gateways choose them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NamespaceSet {
    None,
    All,
    /// That of the object itself.
    Same(Arc<str>),
    Selector(Box<LabelSelector>),
}

/// A listener before it is known where it is served.
pub(super) struct Checked<'l> {
    pub(super) spec: &'l api::Listener,
    pub(super) protocol: Result<Protocol, Fault>,
    pub(super) host: Result<HostPattern, Fault>,
    pub(super) kinds: Box<[Kind]>,
    pub(super) certificates: Box<[Arc<Parsed>]>,
    /// What of its references leads nowhere.
    pub(super) unresolved: Option<Fault>,
    /// Why no client could be verified.
    pub(super) unverifiable: Option<Fault>,
}

impl Listener {
    /// The names of the entry points that serve it.
    pub(crate) fn served_by(&self) -> impl Iterator<Item = &str> {
        let own = self.entry_points.iter().map(|it| &*it.name);
        own.chain(self.adopted.as_deref())
    }

    /// Whether routes of a namespace may attach.
    pub(crate) fn admits(&self, world: &World, namespace: &Arc<str>) -> bool {
        self.namespaces.has(world, namespace)
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.port == other.port
            && self.host == other.host
            && self.kinds == other.kinds
            && self.namespaces == other.namespaces
            && self.accepted == other.accepted
            && self.conditions == other.conditions
            && self.entry_points == other.entry_points
            && self.adopted == other.adopted
            && self.is_promised == other.is_promised
            && self.certificates.len() == other.certificates.len()
            && (self.certificates.iter().zip(&other.certificates))
                .all(|(one, other)| one.presents_the_same(other))
    }
}

impl NamespaceSet {
    /// What an object of a namespace chooses by `from`. One that is not known chooses none.
    pub(super) fn new(
        from: &str,
        selector: Option<&LabelSelector>,
        namespace: &Arc<str>,
    ) -> NamespaceSet {
        match (from, selector) {
            ("All", _) => Self::All,
            ("Same", _) => Self::Same(Arc::clone(namespace)),
            ("Selector", Some(selector)) => Self::Selector(Box::new(selector.clone())),
            _ => Self::None,
        }
    }

    pub(super) fn has(&self, world: &World, namespace: &Arc<str>) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Same(own) => own == namespace,
            Self::Selector(selector) => {
                let labels = world.labels(namespace);
                labels.is_some_and(|it| label_selector::takes(selector, it) == Some(true))
            }
        }
    }
}

impl<'l> Checked<'l> {
    /// Checks a listener of an object.
    pub(super) fn new(
        world: &World,
        settings: &Settings,
        owner: &Key,
        spec: &'l api::Listener,
        frontend: &Frontend,
    ) -> Self {
        let protocol = protocol(spec);
        let (kinds, mut unresolved) = match &protocol {
            Ok(protocol) => kinds(spec, *protocol),
            Err(_) => (Box::default(), None),
        };
        let mut certificates: Box<[_]> = Box::default();
        let mut unverifiable = None;
        if protocol.as_ref().is_ok_and(|it| it.ends_tls()) {
            let (found, fault) = self::certificates(world, settings, owner, spec);
            certificates = found;
            unresolved = unresolved.or(fault);
        }
        if protocol.as_ref().is_ok_and(|it| it.is_secure()) {
            unresolved = unresolved.or(frontend.unresolved.clone());
            unverifiable.clone_from(&frontend.unverifiable);
        }
        Self {
            spec,
            host: match &protocol {
                Ok(Protocol::Tcp | Protocol::Udp) | Err(_) => Ok(HostPattern::Any),
                Ok(_) => host(spec),
            },
            protocol,
            kinds,
            certificates,
            unresolved,
            unverifiable,
        }
    }

    /// Whether there is something to present, where that is needed.
    pub(super) fn can_present(&self) -> bool {
        let ends_tls = self.protocol.as_ref().is_ok_and(|it| it.ends_tls());
        !ends_tls || !self.certificates.is_empty()
    }
}

fn protocol(spec: &api::Listener) -> Result<Protocol, Fault> {
    let mode = spec.tls.as_ref().map(|tls| tls.mode.as_str());
    let unsupported = |message| Fault {
        reason: "UnsupportedProtocol",
        message,
    };
    match (spec.protocol.as_str(), mode) {
        ("HTTP", _) => Ok(Protocol::Http),
        ("HTTPS", None | Some("Terminate")) => Ok(Protocol::Https),
        ("TLS", Some("Passthrough")) => Ok(Protocol::TlsPassthrough),
        ("TLS", None | Some("Terminate")) => Ok(Protocol::TlsTerminate),
        ("TCP", _) => Ok(Protocol::Tcp),
        ("UDP", _) => Ok(Protocol::Udp),
        (protocol @ ("HTTPS" | "TLS"), Some(mode)) => Err(Fault {
            reason: "UnsupportedValue",
            message: format!("There is no mode `{mode}` of TLS for {protocol}."),
        }),
        (other, _) => Err(unsupported(format!(
            "Protocol `{other}` is not known; expected `HTTP`, `HTTPS`, `TLS`, `TCP` or `UDP`."
        ))),
    }
}

fn host(spec: &api::Listener) -> Result<HostPattern, Fault> {
    match spec.hostname.as_deref() {
        None | Some("") => Ok(HostPattern::Any),
        Some(name) => HostPattern::parse_gateway(name).map_err(|error| Fault {
            reason: "UnsupportedValue",
            message: format!("`{name}` is no hostname: {error}."),
        }),
    }
}

/// The kinds of routes that a protocol is for.
fn suitable(protocol: Protocol) -> &'static [Kind] {
    match protocol {
        Protocol::Http | Protocol::Https => &[Kind::HttpRoute, Kind::GrpcRoute],
        Protocol::TlsPassthrough | Protocol::TlsTerminate => &[Kind::TlsRoute],
        Protocol::Tcp => &[Kind::TcpRoute],
        Protocol::Udp => &[Kind::UdpRoute],
    }
}

/// The kinds of routes that may attach, and what of those that are named may not.
fn kinds(spec: &api::Listener, protocol: Protocol) -> (Box<[Kind]>, Option<Fault>) {
    let suitable = suitable(protocol);
    let named = &spec.allowed_routes.kinds;
    if named.is_empty() {
        return (suitable.into(), None);
    }
    let known = |named: &api::RouteKind| {
        let mut kinds = suitable.iter().copied();
        kinds.find(|kind| objects::group(*kind) == named.group && kind.as_str() == named.kind)
    };
    let mut kinds: Vec<Kind> = named.iter().filter_map(known).collect();
    kinds.dedup();
    let unknown = named.iter().find(|it| known(it).is_none());
    let fault = unknown.map(|unknown| Fault {
        reason: "InvalidRouteKinds",
        message: format!(
            "`{}` is no kind of route that a listener of protocol {} takes.",
            unknown.kind, spec.protocol
        ),
    });
    (kinds.into(), fault)
}

/// The certificates that can be presented, and what is wrong with the first that cannot.
fn certificates(
    world: &World,
    settings: &Settings,
    owner: &Key,
    spec: &api::Listener,
) -> (Box<[Arc<Parsed>]>, Option<Fault>) {
    let references = spec.tls.iter().flat_map(|tls| &tls.certificate_refs);
    let mut certificates = Vec::new();
    let mut fault = None;
    for reference in references {
        match certificate(world, settings, owner, reference) {
            Ok(parsed) => certificates.push(parsed),
            Err(other) => drop(fault.get_or_insert(other)),
        }
    }
    if certificates.is_empty() && fault.is_none() {
        fault = Some(Fault {
            reason: "InvalidCertificateRef",
            message: "Expected a Secret in `tls.certificateRefs`.".to_owned(),
        });
    }
    (certificates.into(), fault)
}

/// The certificate that a reference of an object names.
pub(super) fn certificate(
    world: &World,
    settings: &Settings,
    owner: &Key,
    reference: &api::SecretReference,
) -> Result<Arc<Parsed>, Fault> {
    let invalid = |message| Fault {
        reason: "InvalidCertificateRef",
        message,
    };
    let (group, kind) = (reference.group.as_str(), reference.kind.as_str());
    if !matches!((group, kind), ("" | "core", "Secret")) {
        return Err(invalid(format!(
            "Certificates are in Secrets, not in a {kind} of group `{group}`."
        )));
    }
    let namespace = reference.namespace.as_deref().unwrap_or(&owner.namespace);
    let name = shared_name(namespace, &reference.name);
    let state = world.secret(settings, Referrer::Object(owner), &name);
    let state = state.map_err(|refused| match refused {
        Refused::Forbidden => Fault {
            reason: "RefNotPermitted",
            message: format!("No ReferenceGrant of its namespace permits Secret {name}."),
        },
        Refused::Missing => invalid(format!("Secret {name} does not exist.")),
        Refused::Unwatched => invalid(format!("The namespace of Secret {name} is not watched.")),
    })?;
    let parsed = state.serving();
    let parsed = parsed.map_err(|why| invalid(format!("Secret {name} is of no use: {why}.")))?;
    Ok(Arc::clone(parsed))
}

impl Checked<'_> {
    /// The listener, where it is served by these.
    pub(super) fn finished(
        self,
        owner: &Key,
        accepted: bool,
        conditions: Box<[Condition]>,
        place: Option<Place>,
    ) -> Listener {
        let is_promised = matches!(place, Some(Place::Promised));
        let (entry_points, adopted) = match place {
            Some(Place::Own(own)) => (own, None),
            Some(Place::Adopted(name)) => (Box::default(), Some(name)),
            Some(Place::Promised) | None => (Box::default(), None),
        };
        let allowed = &self.spec.allowed_routes.namespaces;
        Listener {
            name: shared(&self.spec.name),
            port: self.spec.port,
            host: self.host.unwrap_or(HostPattern::Any),
            kinds: self.kinds,
            namespaces: NamespaceSet::new(
                &allowed.from,
                allowed.selector.as_ref(),
                &owner.namespace,
            ),
            accepted,
            conditions,
            certificates: self.certificates,
            entry_points,
            adopted,
            is_promised,
        }
    }
}
