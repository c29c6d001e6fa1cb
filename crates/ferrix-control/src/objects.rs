//! The objects that are watched, and where they come from.

use std::{fmt, path::Path, sync::Arc};

use ferrix_api::{
    BackendPolicy, Filter, IngressRoute, ReferenceGrant,
    gateway::{
        self, BackendTlsPolicy, BackendTrafficPolicy, Gateway, GatewayClass, GrpcRoute, HttpRoute,
        ListenerSet, TcpRoute, TlsRoute, UdpRoute,
    },
};
pub use ferrix_table::object::{Key, Kind, ObjectName};
use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Namespace, Secret, Service},
        discovery::v1::EndpointSlice,
        networking::v1::{Ingress, IngressClass},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Serialize, Serializer};

use crate::{names::shared_name, yaml::Lines};

/// A watched object.
#[derive(Clone, Debug)]
pub enum Object {
    /// Where requests of Services go.
    BackendPolicy(Arc<BackendPolicy>),
    /// How the endpoints of a Service are known over TLS.
    BackendTlsPolicy(Arc<BackendTlsPolicy>),
    /// Authorities that certificates are verified by.
    ConfigMap(Arc<ConfigMap>),
    /// Which endpoints a Service has.
    EndpointSlice(Arc<EndpointSlice>),
    /// Filters under a name.
    Filter(Arc<Filter>),
    /// Rules for calls of gRPC, of the Gateway API.
    GrpcRoute(Arc<GrpcRoute>),
    /// Listeners that routes of the Gateway API attach to.
    Gateway(Arc<Gateway>),
    /// Which controller serves a Gateway.
    GatewayClass(Arc<GatewayClass>),
    /// Rules for requests, of the Gateway API.
    HttpRoute(Arc<HttpRoute>),
    /// Rules for hosts.
    Ingress(Arc<Ingress>),
    /// Which installation serves an Ingress.
    IngressClass(Arc<IngressClass>),
    /// Rules for a host.
    IngressRoute(Arc<IngressRoute>),
    /// More listeners for a Gateway.
    ListenerSet(Arc<ListenerSet>),
    /// A namespace.
    Namespace(Arc<Namespace>),
    /// Consent to references from other namespaces.
    ReferenceGrant(Arc<ReferenceGrant>),
    /// A certificate and its key.
    Secret(Arc<Secret>),
    /// Ports with names.
    Service(Arc<Service>),
    /// Rules for connections of a port, of the Gateway API.
    TcpRoute(Arc<TcpRoute>),
    /// Rules for connections by the name that they ask for, of the Gateway API.
    TlsRoute(Arc<TlsRoute>),
    /// Rules for datagrams of a port, of the Gateway API.
    UdpRoute(Arc<UdpRoute>),
    /// Which requests to a Service are sent once more, and which stay together, of the Gateway API.
    XBackendTrafficPolicy(Arc<BackendTrafficPolicy>),
}

/// Where an object comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The API server.
    #[default]
    Api,
    /// A document of a file. Behind a pointer, as this stands beside every object, and a cluster has
    /// many more of them than files.
    File(Arc<FileOrigin>),
}

/// A document of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct FileOrigin {
    /// The file, as the user named its folder.
    pub path: Arc<Path>,
    /// The lines of its fields, and before them that of the document itself.
    pub lines: Lines,
}

/// The API group of a kind; empty for the core group.
pub fn group(kind: Kind) -> &'static str {
    match kind {
        Kind::EndpointSlice => "discovery.k8s.io",
        Kind::Ingress | Kind::IngressClass => "networking.k8s.io",
        Kind::BackendPolicy | Kind::Filter | Kind::IngressRoute => "ferrix.com",
        Kind::XBackendTrafficPolicy => gateway::EXPERIMENTAL_GROUP,
        Kind::BackendTlsPolicy
        | Kind::GrpcRoute
        | Kind::Gateway
        | Kind::GatewayClass
        | Kind::HttpRoute
        | Kind::ListenerSet
        | Kind::ReferenceGrant
        | Kind::TcpRoute
        | Kind::TlsRoute
        | Kind::UdpRoute => gateway::GROUP,
        Kind::ConfigMap | Kind::Namespace | Kind::Secret | Kind::Service => "",
    }
}

/// The versions of a kind that are understood, the newest first.
pub fn versions(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::BackendTlsPolicy => &["v1", "v1alpha3"],
        Kind::XBackendTrafficPolicy => &["v1alpha1"],
        Kind::Gateway | Kind::GatewayClass | Kind::HttpRoute => &["v1", "v1beta1"],
        Kind::GrpcRoute | Kind::TcpRoute | Kind::UdpRoute => &["v1", "v1alpha2"],
        Kind::ReferenceGrant => &ferrix_api::referencegrant::VERSIONS,
        Kind::TlsRoute => &["v1", "v1alpha3", "v1alpha2"],
        _ => &["v1"],
    }
}

/// `apiVersion` of a kind, as manifests write it.
pub fn api_version(kind: Kind, version: &str) -> String {
    match group(kind) {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    }
}

/// The key of an object of this kind.
pub(crate) fn key(kind: Kind, namespace: &str, name: &str) -> Key {
    shared_name(namespace, name).key(kind)
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::BackendPolicy(_) => Kind::BackendPolicy,
            Self::BackendTlsPolicy(_) => Kind::BackendTlsPolicy,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Filter(_) => Kind::Filter,
            Self::GrpcRoute(_) => Kind::GrpcRoute,
            Self::Gateway(_) => Kind::Gateway,
            Self::GatewayClass(_) => Kind::GatewayClass,
            Self::HttpRoute(_) => Kind::HttpRoute,
            Self::Ingress(_) => Kind::Ingress,
            Self::IngressClass(_) => Kind::IngressClass,
            Self::IngressRoute(_) => Kind::IngressRoute,
            Self::ListenerSet(_) => Kind::ListenerSet,
            Self::Namespace(_) => Kind::Namespace,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::Secret(_) => Kind::Secret,
            Self::Service(_) => Kind::Service,
            Self::TcpRoute(_) => Kind::TcpRoute,
            Self::TlsRoute(_) => Kind::TlsRoute,
            Self::UdpRoute(_) => Kind::UdpRoute,
            Self::XBackendTrafficPolicy(_) => Kind::XBackendTrafficPolicy,
        }
    }

    /// Its metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::BackendPolicy(object) => &object.metadata,
            Self::BackendTlsPolicy(object) => &object.metadata,
            Self::ConfigMap(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Filter(object) => &object.metadata,
            Self::GrpcRoute(object) => &object.metadata,
            Self::Gateway(object) => &object.metadata,
            Self::GatewayClass(object) => &object.metadata,
            Self::HttpRoute(object) => &object.metadata,
            Self::Ingress(object) => &object.metadata,
            Self::IngressClass(object) => &object.metadata,
            Self::IngressRoute(object) => &object.metadata,
            Self::ListenerSet(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
            Self::ReferenceGrant(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::TcpRoute(object) => &object.metadata,
            Self::TlsRoute(object) => &object.metadata,
            Self::UdpRoute(object) => &object.metadata,
            Self::XBackendTrafficPolicy(object) => &object.metadata,
        }
    }

    /// What identifies it. A namespaced object without a namespace is in `default`.
    pub fn key(&self) -> Key {
        let kind = self.kind();
        let metadata = self.metadata();
        let namespace = match kind.is_namespaced() {
            false => "",
            true => metadata.namespace.as_deref().unwrap_or("default"),
        };
        key(
            kind,
            namespace,
            metadata.name.as_deref().unwrap_or_default(),
        )
    }
}

impl Origin {
    /// The line of a field, or of what is nearest above it; `None` for objects of the API server.
    pub fn line_of(&self, field: &str) -> Option<u32> {
        match self {
            Self::Api => None,
            Self::File(it) => Some(it.lines.of(field)),
        }
    }
}

/// `FILE:LINE`, or `API server`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api => f.write_str("API server"),
            Self::File(it) => {
                write!(f, "{}:{}", it.path.display(), it.lines.line())
            }
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
