//! What tells objects apart.

use std::{fmt, ops::Deref, sync::Arc};

use serde::{Serialize, Serializer};

/// The kinds of objects that a configuration is made of, by name alone: what they hold is nothing to
/// a table. In the order of the alphabet, which is the one that reports list them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Where requests of Services go.
    BackendPolicy,
    /// How the endpoints of a Service are known over TLS.
    BackendTlsPolicy,
    /// Authorities that certificates are verified by.
    ConfigMap,
    /// The addresses of a Service.
    EndpointSlice,
    /// Filters under a name.
    Filter,
    /// Rules for calls of gRPC, of the Gateway API.
    GrpcRoute,
    /// Listeners that routes of the Gateway API attach to.
    Gateway,
    /// Which controller serves a Gateway.
    GatewayClass,
    /// Rules for requests, of the Gateway API.
    HttpRoute,
    /// Rules for hosts, in the form that every Kubernetes knows.
    Ingress,
    /// Which installation serves an Ingress.
    IngressClass,
    /// Rules for a host, in our own form.
    IngressRoute,
    /// More listeners for a Gateway.
    ListenerSet,
    /// What other objects are in.
    Namespace,
    /// Consent to references from other namespaces.
    ReferenceGrant,
    /// A certificate and its key.
    Secret,
    /// What rules forward to.
    Service,
    /// Rules for connections of a port, of the Gateway API.
    TcpRoute,
    /// Rules for connections by the name that they ask for, of the Gateway API.
    TlsRoute,
    /// Rules for datagrams of a port, of the Gateway API.
    UdpRoute,
    /// Which requests to a Service are sent once more, and which stay together, of the Gateway API.
    XBackendTrafficPolicy,
}

/// What identifies an object: two of one name and of different kinds have nothing to do with each
/// other. Cheap to clone. In order by kind, then namespace, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, which is empty for a kind that is in none ([`Kind::is_namespaced`]), and its name.
    pub object: ObjectName,
}

/// The name of an object whose kind goes without saying. Cheap to clone, and no larger than a pointer:
/// it stands in many places for each object. In order by namespace, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(Arc<NamespacedName>);

/// The parts of a name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName {
    /// The namespace. The same few stand in the names of all objects.
    pub namespace: Arc<str>,
    /// The name within the namespace.
    pub name: Box<str>,
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; 21] = [
        Self::BackendPolicy,
        Self::BackendTlsPolicy,
        Self::ConfigMap,
        Self::EndpointSlice,
        Self::Filter,
        Self::GrpcRoute,
        Self::Gateway,
        Self::GatewayClass,
        Self::HttpRoute,
        Self::Ingress,
        Self::IngressClass,
        Self::IngressRoute,
        Self::ListenerSet,
        Self::Namespace,
        Self::ReferenceGrant,
        Self::Secret,
        Self::Service,
        Self::TcpRoute,
        Self::TlsRoute,
        Self::UdpRoute,
        Self::XBackendTrafficPolicy,
    ];

    /// Whether its objects are in namespaces.
    pub fn is_namespaced(self) -> bool {
        !matches!(
            self,
            Self::GatewayClass | Self::IngressClass | Self::Namespace
        )
    }

    /// As manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackendPolicy => "BackendPolicy",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::ConfigMap => "ConfigMap",
            Self::EndpointSlice => "EndpointSlice",
            Self::Filter => "Filter",
            Self::GrpcRoute => "GRPCRoute",
            Self::Gateway => "Gateway",
            Self::GatewayClass => "GatewayClass",
            Self::HttpRoute => "HTTPRoute",
            Self::Ingress => "Ingress",
            Self::IngressClass => "IngressClass",
            Self::IngressRoute => "IngressRoute",
            Self::ListenerSet => "ListenerSet",
            Self::Namespace => "Namespace",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::Secret => "Secret",
            Self::Service => "Service",
            Self::TcpRoute => "TCPRoute",
            Self::TlsRoute => "TLSRoute",
            Self::UdpRoute => "UDPRoute",
            Self::XBackendTrafficPolicy => "XBackendTrafficPolicy",
        }
    }

    /// Several objects of the kind, as people say it.
    pub fn plural(self) -> String {
        let name = self.as_str();
        match name.strip_suffix("cy") {
            Some(stem) => format!("{stem}cies"),
            None if name.ends_with('s') => format!("{name}es"),
            None => format!("{name}s"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl ObjectName {
    /// A name from its parts.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Box<str>>) -> Self {
        Self(Arc::new(NamespacedName {
            namespace: namespace.into(),
            name: name.into(),
        }))
    }

    /// The key of the object of this kind and name.
    pub fn key(&self, kind: Kind) -> Key {
        Key {
            kind,
            object: self.clone(),
        }
    }

    /// Whether this copy is not the only one.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Deref for ObjectName {
    type Target = NamespacedName;

    fn deref(&self) -> &NamespacedName {
        &self.0
    }
}

/// `NAMESPACE/NAME`.
impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Deref for Key {
    type Target = NamespacedName;

    fn deref(&self) -> &NamespacedName {
        &self.object
    }
}

impl Key {
    /// The key of an object of this kind.
    pub fn new(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            object: ObjectName::new(namespace, name),
        }
    }

    /// What decides between routes that nothing else tells apart, whatever their kinds: the
    /// namespace, then the name, and the kind only then. The lesser comes first.
    pub fn rank(&self) -> (&str, &str, &'static str) {
        (&self.namespace, &self.name, self.kind.as_str())
    }
}

/// `KIND NAMESPACE/NAME`, or `KIND NAME` without a namespace.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => write!(f, "{} {}", self.kind, self.name),
            false => write!(f, "{} {}/{}", self.kind, self.namespace, self.name),
        }
    }
}

/// Its parts as fields; no namespace where there is none.
impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'k> {
            kind: Kind,
            #[serde(skip_serializing_if = "str::is_empty")]
            namespace: &'k str,
            name: &'k str,
        }
        Fields {
            kind: self.kind,
            namespace: &self.namespace,
            name: &self.name,
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_in_the_order_of_the_alphabet() {
        let names = Kind::ALL.map(Kind::as_str);
        assert!(names.is_sorted(), "{names:?}");
        assert!(Kind::ALL.is_sorted());
    }

    #[test]
    fn several_objects_of_a_kind() {
        let cases = [
            (Kind::BackendTlsPolicy, "BackendTLSPolicies"),
            (Kind::GatewayClass, "GatewayClasses"),
            (Kind::Gateway, "Gateways"),
            (Kind::Ingress, "Ingresses"),
            (Kind::HttpRoute, "HTTPRoutes"),
        ];
        for (kind, expected) in cases {
            assert_eq!(kind.plural(), expected);
        }
    }

    #[test]
    fn keys_of_one_name_and_different_kinds_differ() {
        for kind in Kind::ALL {
            for other in Kind::ALL {
                let (one, two) = (Key::new(kind, "a", "b"), Key::new(other, "a", "b"));
                assert_eq!(one == two, kind == other, "{one}, {two}");
                assert_eq!(one.rank() == two.rank(), kind == other, "{one}, {two}");
            }
        }
    }
}
