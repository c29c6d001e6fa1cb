//! The objects that are watched, and where they come from.

use std::{fmt, path::Path, sync::Arc};

use ferrix_api::{IngressRoute, ReferenceGrant};
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Secret, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Serialize, Serializer};

use crate::{names::shared, yaml::Lines};

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// `discovery.k8s.io/v1`.
    EndpointSlice,
    /// `ferrix.com/v1`.
    IngressRoute,
    /// `v1`.
    Namespace,
    /// `gateway.networking.k8s.io/v1` and `v1beta1`.
    ReferenceGrant,
    /// `v1`; only those of type `kubernetes.io/tls` are of use.
    Secret,
    /// `v1`.
    Service,
}

/// What identifies an object. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for a [`Kind::Namespace`].
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// The name of a namespaced object whose kind is known. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// A watched object.
#[derive(Clone, Debug)]
pub enum Object {
    /// Which endpoints a Service has.
    EndpointSlice(Arc<EndpointSlice>),
    /// Rules for a host.
    IngressRoute(Arc<IngressRoute>),
    /// A namespace.
    Namespace(Arc<Namespace>),
    /// Consent to references from other namespaces.
    ReferenceGrant(Arc<ReferenceGrant>),
    /// A certificate and its key.
    Secret(Arc<Secret>),
    /// Ports with names.
    Service(Arc<Service>),
}

/// Where an object comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The API server.
    #[default]
    Api,
    /// A document of a file.
    File {
        /// The file, as the user named its folder.
        path: Arc<Path>,
        /// The lines of its fields, and before them that of the document itself.
        lines: Lines,
    },
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; 6] = [
        Self::EndpointSlice,
        Self::IngressRoute,
        Self::Namespace,
        Self::ReferenceGrant,
        Self::Secret,
        Self::Service,
    ];

    /// As manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndpointSlice => "EndpointSlice",
            Self::IngressRoute => "IngressRoute",
            Self::Namespace => "Namespace",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::Secret => "Secret",
            Self::Service => "Service",
        }
    }

    /// The API group; empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::EndpointSlice => "discovery.k8s.io",
            Self::IngressRoute => "ferrix.com",
            Self::ReferenceGrant => ferrix_api::referencegrant::GROUP,
            Self::Namespace | Self::Secret | Self::Service => "",
        }
    }

    /// The versions that are understood, the newest first.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Self::ReferenceGrant => &ferrix_api::referencegrant::VERSIONS,
            _ => &["v1"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Key {
    /// The key of an object of this kind.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: shared(namespace),
            name: shared(name),
        }
    }

    /// Its name, without the kind.
    pub fn object_name(&self) -> ObjectName {
        ObjectName {
            namespace: Arc::clone(&self.namespace),
            name: Arc::clone(&self.name),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => write!(f, "{} {}", self.kind, self.name),
            false => write!(f, "{} {}/{}", self.kind, self.namespace, self.name),
        }
    }
}

impl ObjectName {
    /// A name from its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: shared(namespace),
            name: shared(name),
        }
    }

    /// The key of the object of this kind and name.
    pub fn key(&self, kind: Kind) -> Key {
        Key {
            kind,
            namespace: Arc::clone(&self.namespace),
            name: Arc::clone(&self.name),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::IngressRoute(_) => Kind::IngressRoute,
            Self::Namespace(_) => Kind::Namespace,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::Secret(_) => Kind::Secret,
            Self::Service(_) => Kind::Service,
        }
    }

    /// Its metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::EndpointSlice(object) => &object.metadata,
            Self::IngressRoute(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
            Self::ReferenceGrant(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
        }
    }

    /// What identifies it. A namespaced object without a namespace is in `default`.
    pub fn key(&self) -> Key {
        let kind = self.kind();
        let metadata = self.metadata();
        let namespace = match kind {
            Kind::Namespace => "",
            _ => metadata.namespace.as_deref().unwrap_or("default"),
        };
        Key::new(
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
            Self::File { lines, .. } => Some(lines.of(field)),
        }
    }
}

/// `FILE:LINE`, or `API server`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api => f.write_str("API server"),
            Self::File { path, lines } => write!(f, "{}:{}", path.display(), lines.line()),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
