//! `BackendPolicy`: where requests of Services go, and how.
//!
//! What the schema cannot say is reported in `status.conditions`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ingressroute::filter::{ClientKey, StatusRange},
    pattern,
};

/// `spec` of a `BackendPolicy`: how requests of its Services are shared among endpoints.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema,
)]
#[kube(
    group = "ferrix.com",
    version = "v1",
    kind = "BackendPolicy",
    plural = "backendpolicies",
    namespaced,
    status = "BackendPolicyStatus",
    derive = "PartialEq",
    shortname = "fbp",
    doc = "Where requests of Services go: how they are shared among endpoints.",
    printcolumn = r#"{"name": "Ready", "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status",
        "description": "Whether requests go where the spec asks for"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status",
        "description": "Whether everything in the spec could be used"}"#,
    printcolumn = r#"{"name": "Replicas", "type": "string", "jsonPath": ".status.replicas",
        "description": "How many replicas of how many serve it; follows within a minute or so"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BackendPolicySpec {
    /// The class of the installation that this is for, where several share a cluster. Absent: the
    /// installation without a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ingress_class_name: Option<String>,

    /// The Services that it is for, of its own namespace, or ports of theirs. Of several policies for one port
    /// those that name it come first, and then the oldest.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<ServiceReference>,

    /// Which endpoint has a request. Absent: each in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancing: Option<Balancing>,

    /// Which endpoints are left out for a while. Absent: those that connections fail to, as always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,

    /// Whether requests of one client stay with the endpoint that answered the first of them. Of one Service
    /// alone. Absent: no, unless a rule says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,

    /// How many requests each replica sends at once, and by how many connections. Absent: as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,

    /// How long things may take, where a rule does not say so. Absent: as the settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,

    /// Asks a second endpoint where the first takes long. Absent: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedging: Option<Hedging>,

    /// How connections to endpoints are made, and how long they are kept. Absent: as ports and the settings
    /// say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
}

/// A Service that a `BackendPolicy` is for, or one of its ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReference {
    /// Empty: that of Services.
    #[schemars(length(max = 253))]
    pub group: String,

    /// `Service`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// The name of the Service.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The name of a port of the Service, which no policy for the whole Service is for then. Absent: the whole
    /// Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// Which endpoint has a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Balancing {
    /// How an endpoint is chosen. Absent: `RoundRobin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,

    /// Of `ConsistentHash`: requests with the same of this go to the same endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<HashKey>,

    /// Of `ConsistentHash`: an endpoint that works on so many percent of the mean of all gets no more.
    /// Absent: there is no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 101, max = 1000), extend("format" = "int32"))]
    pub max_load: Option<u16>,

    /// The time in which an endpoint that is new, or back, comes to its whole share. Not with
    /// `ConsistentHash`. Absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub slow_start: Option<String>,

    /// Endpoints of the zone that a replica is in come first. Not with `ConsistentHash`. Absent: zones do not
    /// matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<Zones>,
}

/// That endpoints of the zone that a replica is in come first, as far as that gives each of them no more than its
/// share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Zones {
    /// Where fewer than so many percent of the endpoints of the zone are neither left out nor impossible to
    /// connect to, zones do not matter. Absent: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100), extend("format" = "int32"))]
    pub min_percent: Option<u8>,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Algorithm {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Of two at random, the one that works on fewer requests.
    LeastRequests,
    /// Of two at random, the one that is likely to answer sooner: by how long it took to answer of late,
    /// and how many requests it works on.
    Latency,
    /// The same for all requests with the same key, on every replica.
    ConsistentHash,
}

/// What requests of one endpoint have in common. Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct HashKey {
    /// The client, as `ClientIP` knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientKey>,
    /// The value of a header. Requests without it have an endpoint each in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub header: Option<String>,
    /// The value of a cookie. Requests without it have an endpoint each in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub cookie: Option<String>,
    /// The value of a query parameter. Requests without it have an endpoint each in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub query: Option<String>,
}

/// Which endpoints are left out for a while, beyond those that connections fail to. Each replica judges for
/// itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Leaves out who answers badly, as the requests of clients show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejection: Option<Ejection>,

    /// Leaves out who does not pass checks, which each replica makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,

    /// Where fewer than so many percent of the endpoints are left, nobody is left out: those few could
    /// not bear it. 0: however few. Absent: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("format" = "int32"))]
    pub panic_threshold: Option<u8>,
}

/// Who answers badly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ejection {
    /// Statuses that are bad, and ranges of them, such as `500-599`. 502 and 504 stand for no answer, and
    /// for none in time, too. Absent: `500-599`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub statuses: Vec<StatusRange>,

    /// So many bad answers one after another. Absent: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000), extend("format" = "int32"))]
    pub failures: Option<u16>,

    /// How long an endpoint is left out at first; then one request tries it, and where that fails it is
    /// twice as long, up to ten times this. Absent: `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub time: Option<String>,

    /// No more than so many percent of the endpoints are left out for this at once. Absent: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100), extend("format" = "int32"))]
    pub max_percent: Option<u8>,
}

/// A check of each endpoint, with exactly one of `http`, `grpc` and `tcp`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// A request by HTTP, as the Service is spoken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,

    /// A call of the gRPC Health Checking Protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcCheck>,

    /// A connection by TCP, and no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpCheck>,

    /// The port of the endpoint that is checked. Absent: the one that requests go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: Option<u16>,

    /// Between one check and the next. Absent: `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub interval: Option<String>,

    /// How long a check may take. Absent: `2s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub timeout: Option<String>,

    /// So many checks have to fail one after another. Absent: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100), extend("format" = "int32"))]
    pub failures: Option<u16>,

    /// So many have to pass one after another, for an endpoint to be back. Absent: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100), extend("format" = "int32"))]
    pub successes: Option<u16>,
}

/// A check by HTTP: a status from 200 to 399 passes, as it does for a kubelet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct HttpCheck {
    /// What is asked for, by GET. Absent: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub path: Option<String>,

    /// The host that is named. Absent: the address of the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
}

/// A check by gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct GrpcCheck {
    /// The service that is asked about. Absent: the server as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service: Option<String>,
}

/// A check by TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct TcpCheck {}

/// Requests of one client to one endpoint, with exactly one of `cookie` and `header`. Where the endpoint is
/// gone, cannot be connected to, or is left out, another takes its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Session {
    /// A cookie tells which it is. It names neither the Service nor the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<SessionCookie>,

    /// A header tells which it is, which clients send as they have got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub header: Option<String>,

    /// A time such as `1h`, after which a session ends however much it is used. Absent: it lasts as long as
    /// the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub lasts: Option<String>,
}

/// The cookie of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct SessionCookie {
    /// Its name. Absent: one that follows from the name of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub name: Option<String>,

    /// Whether clients keep it until the session ends, and not until they close. Needs `lasts`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub permanent: bool,
}

/// How many requests each replica sends at once, and by how many connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Limits {
    /// So many requests of a Service are under way at once. Absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), extend("format" = "int32"))]
    pub requests: Option<u32>,

    /// So many more wait for their turn, in the order in which they came; all others get 503 at once. Absent:
    /// 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000), extend("format" = "int32"))]
    pub pending: Option<u32>,

    /// How long a request waits for its turn before it gets 503. Absent: `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub wait: Option<String>,

    /// How many requests may be sent once more at once. Absent: as many as rules ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<RetryBudget>,

    /// So many connections to each endpoint are open at once. Whoever needs another waits for one that ends,
    /// for no longer than connecting may take, and gets 503 then. Absent:
    /// `upstream.connections_per_endpoint` of the settings, above which it is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), extend("format" = "int32"))]
    pub connections: Option<u32>,
}

/// How many requests may be sent once more at once, so that retries do not bring down who is about to fail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct RetryBudget {
    /// So many percent of the requests that are under way.
    #[schemars(range(min = 0, max = 100), extend("format" = "int32"))]
    pub percent: u8,

    /// So many in any case. Absent: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000), extend("format" = "int32"))]
    pub least: Option<u32>,
}

/// How long things may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// To connect to an endpoint, TLS included, and to wait for a connection that is free. Absent:
    /// `timeouts.connect` of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub connect: Option<String>,

    /// How long an endpoint may be silent, before its answer and within. `0s`: for ever. Absent:
    /// `timeouts.response` of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub response: Option<String>,

    /// How long an endpoint may be silent once its answer has begun, and how long nothing may pass in either
    /// direction of a connection for bytes, or of one that was upgraded. `0s`: for ever. Absent: `response`;
    /// of connections `timeouts.upgraded` of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub idle: Option<String>,

    /// From the header section of a request to the end of its response. `0s`: no limit. A rule that says
    /// so itself comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub request: Option<String>,

    /// One attempt: from its first byte to the end of the response. `0s`: no limit. A rule that says so
    /// itself comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub backend_request: Option<String>,
}

/// A second attempt beside a first one that takes long: whichever is answered first answers the request, and the
/// other is given up. Of requests without a body that may be done twice, such as those by `GET`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Hedging {
    /// How long an endpoint may take to begin its answer before another is asked as well.
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub delay: String,
}

/// How connections to endpoints are made, and how long they are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// What endpoints speak. A route that says so itself (`scheme`) comes first. Absent: what `appProtocol`
    /// of the port says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<BackendProtocol>,

    /// How endpoints are known over TLS, and know Ferrix; TLS is spoken then. Absent: as the settings say,
    /// where TLS is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,

    /// Sockets. Absent: `upstream.tcp` of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Tcp>,

    /// Tells endpoints the client, in a header before anything else. Each request has a connection of its
    /// own then. Not for UDP. Absent: they are told nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,

    /// How old a connection may become: what is under way on it then ends, and no more begins. Absent: any
    /// age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub max_age: Option<String>,

    /// How long a connection is kept that carries no request. `0s`: not at all. Absent:
    /// `upstream.idle_timeout` of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub idle_timeout: Option<String>,
}

/// What endpoints speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum BackendProtocol {
    /// HTTP/1.1 in plain text.
    #[serde(rename = "HTTP1")]
    Http1,
    /// HTTP/2 in plain text.
    #[serde(rename = "H2C")]
    H2c,
    /// TLS, and in it HTTP/2 or HTTP/1.1, whichever the endpoint chooses.
    #[serde(rename = "HTTPS")]
    Https,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// A binary header.
    V2,
}

/// How endpoints are known over TLS, and know Ferrix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendTls {
    /// The name that is asked for, and that the certificate has to have where `subjectAltNames` says nothing.
    /// A route that says so itself (`serverName`) comes first. Absent: `NAME.NAMESPACE.svc`, of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SERVER_NAME))]
    pub server_name: Option<String>,

    /// ConfigMaps and Secrets of the same namespace with the authorities that certificates have to come from, in
    /// the entry `ca.crt`. Absent: those of `wellKnownCACertificates`.
    #[serde(
        default,
        rename = "caCertificateRefs",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<AuthoritiesReference>,

    /// `System`: the authorities of the system. Absent: those of the settings.
    #[serde(
        default,
        rename = "wellKnownCACertificates",
        skip_serializing_if = "Option::is_none"
    )]
    pub well_known_ca_certificates: Option<WellKnownAuthorities>,

    /// Names of which a certificate has to have one. With `caCertificateRefs` or `wellKnownCACertificates`.
    /// Absent: `serverName`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub subject_alt_names: Vec<SubjectAltName>,

    /// The certificate that Ferrix presents to endpoints that ask for one. Absent: that of the Gateway of a
    /// route, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<CertificateReference>,

    /// Whether any certificate will do: nobody knows then who the endpoint is. The status says so. Absent:
    /// false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
}

/// A ConfigMap or a Secret with authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct AuthoritiesReference {
    /// `ConfigMap`, or `Secret` of another type than `kubernetes.io/tls`. Absent: `ConfigMap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,

    /// The name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Authorities that need no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum WellKnownAuthorities {
    /// Those of the system.
    System,
}

/// A Secret of type `kubernetes.io/tls`, of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct CertificateReference {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A name of a certificate. Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct SubjectAltName {
    /// A host, or a wildcard that the certificate has as such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub hostname: Option<String>,

    /// A URI, as the certificate has it, such as a SPIFFE ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub uri: Option<String>,
}

/// Sockets to endpoints, on Linux.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tcp {
    /// How long a connection may be still before the system asks whether the endpoint is there, in whole
    /// seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub keep_alive_idle: Option<String>,

    /// Between two such questions, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub keep_alive_interval: Option<String>,

    /// Questions without an answer before the connection is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 127), extend("format" = "int32"))]
    pub keep_alive_probes: Option<u8>,

    /// How long data may wait to be acknowledged before the connection is given up. `0s`: as long as the
    /// system likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::DURATION))]
    pub user_timeout: Option<String>,
}

/// What became of a `BackendPolicy`. Ferrix writes it; nobody else should.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendPolicyStatus {
    /// How many replicas of how many serve this generation, such as `2/2`. It follows when replicas
    /// have come or gone, within a minute or so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<String>,

    /// How the endpoints of each Service are that it is in force for, some seconds after that has changed. Each
    /// replica judges for itself: what is told is the worst. No more than 100 Services are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 100),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["service"])
    )]
    pub services: Vec<ServiceEndpoints>,

    /// `Ready`: the others are true, so that requests go where the spec asks for. `Accepted`: everything
    /// in the spec could be used, and no older policy is for one of the Services. `ResolvedRefs`: every
    /// object that it names was found. `Programmed`: every replica serves this generation. `Verified` is
    /// `False` where any certificate of an endpoint will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The installation that wrote this: the namespace and the name of the Lease that says which of its
    /// replicas writes, such as `ferrix/ferrix`. No other installation writes over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<String>,
}

/// How the endpoints of a Service are: addresses and ports, each of which counts once, by the worst that is true
/// of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub struct ServiceEndpoints {
    /// The name of the Service.
    #[schemars(length(max = 253))]
    pub service: String,

    /// How many there are.
    #[schemars(range(min = 0), extend("format" = "int32"))]
    pub endpoints: u32,

    /// Of these have their share of the requests, on the replica with the fewest.
    #[schemars(range(min = 0), extend("format" = "int32"))]
    pub healthy: u32,

    /// Come to their share by and by, on the replica with the most.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0), extend("format" = "int32"))]
    pub starting: u32,

    /// Cannot be connected to, in the same way.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0), extend("format" = "int32"))]
    pub failing: u32,

    /// Are left out for how they have answered, in the same way.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0), extend("format" = "int32"))]
    pub ejected: u32,

    /// Do not pass their checks, in the same way.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0), extend("format" = "int32"))]
    pub unhealthy: u32,

    /// Those that are neither healthy nor starting, the worst first, and no more than four.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub worst: Vec<BadEndpoint>,
}

/// An endpoint that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub struct BadEndpoint {
    /// Its address and port.
    #[schemars(length(max = 64))]
    pub endpoint: String,

    /// The worst that is true of it.
    pub state: BadState,

    /// On so many replicas.
    #[schemars(range(min = 1), extend("format" = "int32"))]
    pub replicas: u32,
}

/// Why an endpoint is left out, the worse the greater.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema,
)]
pub enum BadState {
    /// It cannot be connected to.
    Failing,
    /// For how it has answered.
    Ejected,
    /// It does not pass its checks.
    Unhealthy,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}
