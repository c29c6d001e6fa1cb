//! What the operator decides: the part of the settings that objects are compiled against.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ferrix_table::{certificates::Certificate, refused_address, table::EntryPoint};
use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::{
    names::{label, shared_name},
    objects::ObjectName,
};

pub use crate::{
    host_policy::{HostGrant, HostPolicy, HostSet},
    issuer_policy::IssuerPolicy,
};

/// The class of routes without `ingressClassName`, for installations without a class.
pub const DEFAULT_CLASS: &str = "ferrix";

/// The controller of an IngressClass of ours, for installations without a class; those with one add
/// `-CLASS`.
pub const INGRESS_CONTROLLER: &str = "ferrix.com/ingress-controller";

/// What the operator decides.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The listening sockets, in the order of the settings file: their place is their index.
    pub entry_points: Vec<EntryPoint>,
    /// Presented on secure entry points where no route claims the name.
    pub default_certificate: Option<DefaultCertificate>,
    /// Only routes of this class are served. `None`: routes without a class, and those of
    /// [`DEFAULT_CLASS`].
    pub ingress_class: Option<String>,
    /// Only objects of these namespaces are seen. `None`: all.
    pub namespaces: Option<BTreeSet<String>>,
    /// Which namespaces may have which hosts.
    pub hosts: HostPolicy,
    /// Which namespaces may have which issuers asked.
    pub issuers: IssuerPolicy,
    /// Where clients reach this installation, for the statuses of kinds that say so.
    pub publish: Publish,
    /// Whether Services of type ExternalName may be used.
    pub allow_external_name: bool,
    /// Whether replicas tell each other what limits they count together.
    pub shares_limits: bool,
    /// Whether endpoints may have loopback addresses. In a cluster that would let whoever writes
    /// an EndpointSlice reach what listens on the proxy's own host.
    pub allow_loopback_endpoints: bool,
    /// How the Gateway API is served; `None`: it is not.
    pub gateway: Option<GatewaySettings>,
    /// Filters from above.
    pub filters: FilterSettings,
    /// The pod that this process is; `None`: it is none.
    pub pod: Option<Pod>,
}

/// Where a pod is found among the endpoints of Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its address.
    pub address: IpAddr,
}

/// Filters that requests pass unasked, and who may add to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterSettings {
    /// The namespace whose Filters may attach themselves to anything; `None`: none may.
    pub namespace: Option<String>,
    /// Those of entry points, by the names of these.
    pub entry_points: BTreeMap<String, Vec<ObjectName>>,
    /// Those of namespaces, in this order.
    pub namespaces: Vec<NamespaceFilters>,
}

/// Filters that all requests for some namespaces pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceFilters {
    /// The names of these; `*` is every namespace.
    pub namespaces: BTreeSet<String>,
    /// The Filters.
    pub filters: Vec<ObjectName>,
}

impl FilterSettings {
    /// Whether any are named.
    pub(crate) fn name_any(&self) -> bool {
        !self.entry_points.is_empty() || !self.namespaces.is_empty()
    }

    /// Whether Filters of a namespace may attach themselves to anything.
    pub(crate) fn trusts(&self, namespace: &str) -> bool {
        self.namespace.as_deref() == Some(namespace)
    }

    /// Those of an entry point.
    pub(crate) fn of_entry_point(&self, name: &str) -> impl Iterator<Item = &ObjectName> {
        self.entry_points.get(name).into_iter().flatten()
    }

    /// Those of a namespace.
    pub(crate) fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &ObjectName> {
        let selects = move |it: &&NamespaceFilters| {
            it.namespaces.contains(namespace) || it.namespaces.contains("*")
        };
        let selected = self.namespaces.iter().filter(selects);
        selected.flat_map(|it| &it.filters)
    }
}

/// The controller of GatewayClasses of ours, unless the settings name another.
pub const GATEWAY_CONTROLLER: &str = "ferrix.com/gateway-controller";

/// How the Gateway API is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    /// The controller that a GatewayClass of this installation names.
    pub controller: String,
    /// Where Gateways are reached.
    pub reach: GatewayReach,
    /// The ports by which clients reach entry points of the settings, by name, where these are not their
    /// own.
    pub exposed_ports: BTreeMap<String, u16>,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            controller: GATEWAY_CONTROLLER.to_owned(),
            reach: GatewayReach::default(),
            exposed_ports: BTreeMap::new(),
        }
    }
}

/// Where Gateways are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GatewayReach {
    /// Where entry points of the settings are, by their ports.
    #[default]
    EntryPoints,
    /// Each at an address of its own, from these networks.
    Pool(Vec<IpNet>),
    /// Each by a Service of its own.
    Services(GatewayServices),
}

/// The Services of Gateways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayServices {
    /// Where they are: the namespace of the installation. `None`: nobody makes any, and none is waited for,
    /// as where objects come from a folder.
    pub namespace: Option<String>,
    /// On each of them.
    pub annotations: BTreeMap<String, String>,
    /// The `spec` of each, but for its ports.
    pub spec: Map<String, Value>,
}

impl GatewaySettings {
    /// The port by which clients reach an entry point of the settings.
    pub(crate) fn exposed_port(&self, entry_point: &EntryPoint) -> u16 {
        let exposed = self.exposed_ports.get(&*entry_point.name);
        exposed.copied().unwrap_or(entry_point.address.port())
    }
}

/// Where clients reach an installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// Nobody says.
    #[default]
    Nothing,
    /// Where this Service is reached.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// There: IP addresses, and names that are looked up.
    Addresses(Vec<String>),
}

/// Where the default certificate comes from.
#[derive(Clone, Debug)]
pub enum DefaultCertificate {
    /// A Secret of type `kubernetes.io/tls`.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Files that the binary has read: see [`crate::secret::certificate`].
    Loaded(Arc<Certificate>),
}

impl Settings {
    /// These entry points; everything else as in a cluster, with nothing optional allowed.
    pub fn new(entry_points: Vec<EntryPoint>) -> Self {
        Self {
            entry_points,
            ..Self::default()
        }
    }

    /// Why an address is never connected to, where it is not.
    pub(crate) fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        refused_address::refusal(address, self.allow_loopback_endpoints)
    }

    /// The same for a folder of files, where loopback endpoints are the rule.
    pub fn for_files(entry_points: Vec<EntryPoint>) -> Self {
        Self {
            allow_loopback_endpoints: true,
            ..Self::new(entry_points)
        }
    }

    /// The Secret of the default certificate, where there is one.
    pub(crate) fn default_secret(&self) -> Option<ObjectName> {
        match self.default_certificate.as_ref()? {
            DefaultCertificate::Secret { namespace, name } => Some(shared_name(namespace, name)),
            DefaultCertificate::Loaded(_) => None,
        }
    }

    /// Whether objects of the namespace are seen.
    pub(crate) fn watches(&self, namespace: &str) -> bool {
        match &self.namespaces {
            Some(namespaces) => namespaces.contains(namespace),
            None => true,
        }
    }

    /// The class of this installation.
    pub(crate) fn class(&self) -> &str {
        self.ingress_class.as_deref().unwrap_or(DEFAULT_CLASS)
    }

    /// The name of this installation in its namespace: `ferrix`, or `ferrix-CLASS`.
    pub(crate) fn installation(&self) -> String {
        match &self.ingress_class {
            None => "ferrix".to_owned(),
            Some(class) => label(&format!("ferrix-{class}")),
        }
    }

    /// How Gateways have Services of their own, where they do.
    pub(crate) fn gateway_services(&self) -> Option<&GatewayServices> {
        match &self.gateway.as_ref()?.reach {
            GatewayReach::Services(services) => Some(services),
            GatewayReach::EntryPoints | GatewayReach::Pool(_) => None,
        }
    }

    /// Why routes of a class are another installation's, where they are.
    pub(crate) fn why_not(&self, class: Option<&str>) -> Option<String> {
        match class {
            None if self.ingress_class.is_none() => None,
            None => Some("a route without a class is another installation's".to_owned()),
            Some(class) if class == self.class() => None,
            Some(class) => Some(format!("class `{class}` is another installation's")),
        }
    }

    /// The controller that a GatewayClass of this installation names.
    pub(crate) fn gateway_controller(&self) -> &str {
        let gateway = self.gateway.as_ref();
        gateway.map_or(GATEWAY_CONTROLLER, |it| &it.controller)
    }

    /// The controller that an IngressClass of this installation names.
    pub(crate) fn ingress_controller(&self) -> String {
        match &self.ingress_class {
            None => INGRESS_CONTROLLER.to_owned(),
            Some(class) => format!("{INGRESS_CONTROLLER}-{class}"),
        }
    }
}
