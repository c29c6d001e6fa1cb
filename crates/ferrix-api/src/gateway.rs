//! The kinds of the Gateway API, a file each: every field that its release 1.6 defines, of both channels.
//!
//! The types are our own so that one serves all versions of a kind, which have the same fields, and so
//! that nothing of the Gateway API needs to be installed for other kinds to work. Enumerations are texts,
//! as a release to come may have more values: one that is not known then costs one object, and not the
//! watch of its kind. What the API server fills in where a field is absent is filled in here as well, so
//! that a file means what the object would mean that is made of it.
//!
//! The definitions are those of <https://gateway-api.sigs.k8s.io/reference/spec/>.

mod backendtlspolicy;
mod backendtrafficpolicy;
mod filter;
#[expect(
    clippy::module_inception,
    reason = "one kind of the Gateway API is named as all of it"
)]
mod gateway;
mod gatewayclass;
mod grpcroute;
mod httproute;
mod listener;
mod listenerset;
mod parent;
mod reference;
mod session;
mod stream;

use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

pub use self::{
    backendtlspolicy::{
        BackendTlsPolicySpec, BackendTlsValidation, PolicyAncestorStatus, PolicyStatus,
        PolicyTargetReference, SubjectAltName,
    },
    backendtrafficpolicy::{
        BackendTrafficPolicySpec, EXPERIMENTAL_GROUP, LocalTargetReference, RequestRate,
        RetryBudgetDetails, RetryConstraint,
    },
    filter::{
        CorsFilter, ExternalAuth, ForwardBody, Fraction, GrpcAuth, HeaderChanges, HttpAuth,
        HttpHeader, HttpRouteFilter, PathModifier, RequestMirror, RequestRedirect, UrlRewrite,
    },
    gateway::{
        AllowedListeners, FrontendTls, FrontendTlsConfig, FrontendTlsOfPort, FrontendValidation,
        GatewayAddress, GatewayBackendTls, GatewayInfrastructure, GatewaySpec, GatewayStatus,
        GatewayTls, ListenerNamespaces,
    },
    gatewayclass::{GatewayClassSpec, GatewayClassStatus, SupportedFeature},
    grpcroute::{GrpcMethodMatch, GrpcRouteMatch, GrpcRouteRule, GrpcRouteSpec},
    httproute::{
        HeaderMatch, HttpPathMatch, HttpRouteMatch, HttpRouteRule, HttpRouteSpec, QueryParamMatch,
        Retry, Timeouts,
    },
    listener::{AllowedRoutes, Listener, ListenerStatus, ListenerTls, RouteKind, RouteNamespaces},
    listenerset::{ListenerSetSpec, ListenerSetStatus},
    parent::{ParentReference, RouteParentStatus, RouteStatus},
    reference::{
        BackendReference, LocalReference, MirrorReference, ObjectReference, ParametersReference,
        SecretReference,
    },
    session::{CookieConfig, SessionPersistence},
    stream::{StreamRouteRule, StreamRouteSpec, TlsRouteSpec},
};

/// The group of all kinds of the Gateway API that are in the standard channel.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// An object of a kind of the Gateway API.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource<Spec, Status> {
    /// `gateway.networking.k8s.io/v1`, or another version of the kind.
    #[serde(default)]
    pub api_version: String,
    /// Such as `HTTPRoute`.
    #[serde(default)]
    pub kind: String,
    /// Its name, and all that Kubernetes knows of any object.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What its author asks for.
    pub spec: Spec,
    /// What controllers say became of it.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// `BackendTLSPolicy`: how the endpoints of a Service are known over TLS.
pub type BackendTlsPolicy = Resource<BackendTlsPolicySpec, PolicyStatus>;
/// `XBackendTrafficPolicy`: which requests to a Service are sent once more, and which stay together.
pub type BackendTrafficPolicy = Resource<BackendTrafficPolicySpec, PolicyStatus>;
/// `Gateway`: where requests come in.
pub type Gateway = Resource<GatewaySpec, GatewayStatus>;
/// `GatewayClass`: which controller serves a Gateway.
pub type GatewayClass = Resource<GatewayClassSpec, GatewayClassStatus>;
/// `GRPCRoute`: which calls of gRPC, and who answers them.
pub type GrpcRoute = Resource<GrpcRouteSpec, RouteStatus>;
/// `HTTPRoute`: which requests, and who answers them.
pub type HttpRoute = Resource<HttpRouteSpec, RouteStatus>;
/// `ListenerSet`: more listeners for a Gateway, perhaps of another namespace.
pub type ListenerSet = Resource<ListenerSetSpec, ListenerSetStatus>;
/// `TCPRoute`: who takes the connections of a port.
pub type TcpRoute = Resource<StreamRouteSpec, RouteStatus>;
/// `TLSRoute`: who takes the connections that ask for a name.
pub type TlsRoute = Resource<TlsRouteSpec, RouteStatus>;
/// `UDPRoute`: who takes the datagrams of a port.
pub type UdpRoute = Resource<StreamRouteSpec, RouteStatus>;

/// What an absent group of a reference to a Gateway, or of a kind of route, means.
fn gateway_group() -> String {
    GROUP.to_owned()
}

#[cfg(test)]
mod tests;
