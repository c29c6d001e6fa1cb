//! What the data plane can be told. Every timeout, size and count has a default that is safe at
//! the edge of a cluster; zero means "no limit" where a limit may be lifted.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;
use ferrix_table::canonical_network;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

mod bounds;

pub use bounds::{BOUNDS, Bound, OutOfBounds};

/// One listening socket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryPoint {
    /// The name that routes use. Unique.
    pub name: String,
    /// The address to listen on; every interface by default, IPv4 and IPv6.
    #[serde(default = "any_address")]
    pub address: IpAddr,
    /// The TCP port; 0 lets the system choose one.
    pub port: u16,
    /// The port by which clients reach it, which Gateways ask for; without one, `port`.
    #[serde(default)]
    pub exposed_port: Option<u16>,
    /// Whether TLS ends here.
    #[serde(default)]
    pub secure: bool,
    /// Connections from these networks start with a PROXY protocol header, version 1 or 2, which
    /// names the real client. Others may not send one.
    #[serde(default, deserialize_with = "canonical_networks")]
    pub proxy_protocol: Vec<IpNet>,
    /// The Filters that all requests pass first, each as `NAMESPACE/NAME`. The control plane makes them
    /// part of the rules that are served here.
    #[serde(default)]
    pub filters: Vec<String>,
}

impl EntryPoint {
    /// Address and port.
    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

/// As the table has it.
impl From<&EntryPoint> for ferrix_table::table::EntryPoint {
    fn from(settings: &EntryPoint) -> Self {
        Self {
            address: settings.socket_address(),
            exposed_port: settings.exposed_port,
            proxy_protocol: settings.proxy_protocol.as_slice().into(),
            ..match settings.secure {
                true => Self::https(&settings.name),
                false => Self::http(&settings.name),
            }
        }
    }
}

fn any_address() -> IpAddr {
    IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

/// Networks that addresses are looked for in: these are in canonical form.
fn canonical_networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let networks = Vec::deserialize(deserializer)?;
    Ok(networks.into_iter().map(canonical_network).collect())
}

/// Everything but the entry points.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Threads and the end of the process.
    pub server: Server,
    /// Sizes and counts.
    pub limits: Limits,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// HTTP/2 towards clients.
    pub http2: Http2,
    /// TLS towards clients.
    pub tls: Tls,
    /// Request targets.
    pub paths: Paths,
    /// Header fields with a doubtful name or value.
    pub headers: Headers,
    /// Forwarding headers.
    pub forwarded: Forwarded,
    /// Connections to backends.
    pub upstream: Upstream,
    /// Other replicas, with which limits are counted together.
    pub replicas: Option<Replicas>,
    /// Whether servers that routes name by URLs may have loopback addresses: only where whoever writes
    /// routes has the machine as well.
    #[serde(skip)]
    pub loopback_servers: bool,
}

/// Other replicas, with which limits are counted together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replicas {
    /// Where this one listens for the others, by UDP.
    pub address: SocketAddr,
    /// The addresses of all replicas, or names that stand for them, each with a port.
    pub peers: Vec<String>,
    /// A file with what all replicas know and nobody else does.
    pub key_file: PathBuf,
}

/// Threads and the end of the process.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Worker threads for traffic; 0: as many as the CPU limit of the process allows.
    pub threads: usize,
    /// The `Server` header of responses that Ferrix makes itself; empty: none. Responses of
    /// backends keep theirs.
    pub name: String,
    /// After SIGTERM: how long connections are still accepted while not ready, so that the
    /// endpoints of this pod can be forgotten everywhere.
    #[serde(with = "humantime_serde")]
    pub drain_delay: Duration,
    /// After the delay: how long requests in flight may take to end.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    /// Where bodies of requests are stored that do not stay in memory. Absent: the folder that the system
    /// has for temporary files.
    pub temporary_folder: Option<std::path::PathBuf>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            threads: 0,
            name: "ferrix".into(),
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(20),
            temporary_folder: None,
        }
    }
}

/// Sizes and counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a request's header section, request line included: 431 above. Over HTTP/2, as it
    /// would be in HTTP/1.
    pub header_bytes: ByteSize,
    /// Fields of a request's header section: 431 above. All pieces of a cookie count as one.
    pub header_count: usize,
    /// Bytes of the request target: 414 above.
    pub uri_bytes: ByteSize,
    /// Bytes of a request body: 413 above; 0: no limit.
    pub body_bytes: ByteSize,
    /// Open client connections; beyond it new ones wait in the listen queue. 0: no limit of its
    /// own. The program lowers it to what file descriptors allow.
    pub connections: usize,
    /// Open connections of one client address; beyond it new ones are closed. 0: no limit. Absent: half
    /// of `connections`, so that no address takes them all.
    pub connections_per_client: Option<usize>,
    /// Requests of one client address that are served at once, over all its connections: 429 above. 0: no
    /// limit. Absent: as many as there may be connections of it, so that HTTP/2, which has many on one,
    /// allows no more than HTTP/1.
    pub requests_per_client: Option<usize>,
    /// Client addresses that exchange datagrams with an entry point for UDP at once: beyond it, those of
    /// others are dropped.
    pub udp_sessions: usize,
    /// Requests on one connection before it is closed. 0: no limit.
    pub requests_per_connection: u64,
    /// Bytes of all bodies that wait in the process for peers that do not take them: above it, new
    /// requests get 503. 0, and absent where the program sets nothing: no limit.
    pub buffered_bytes: Option<ByteSize>,
    /// Bytes a second that a request body of announced length has to come at, while the client is
    /// waited for and after `timeouts.body_grace`: 408 below. 0: it may be as slow as it likes.
    pub body_rate: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: ByteSize::kib(32),
            header_count: 200,
            uri_bytes: ByteSize::kib(16),
            body_bytes: ByteSize(0),
            connections: 50_000,
            connections_per_client: None,
            requests_per_client: None,
            udp_sessions: 4096,
            requests_per_connection: 10_000,
            buffered_bytes: None,
            body_rate: ByteSize::b(240),
        }
    }
}

impl Limits {
    /// Open connections of one client address; 0: no limit.
    pub fn connections_per_client(&self) -> usize {
        let half = self.connections.div_ceil(2);
        self.connections_per_client.unwrap_or(half)
    }

    /// Requests of one client address that are served at once; 0: no limit.
    pub fn requests_per_client(&self) -> usize {
        let default = || self.connections_per_client();
        self.requests_per_client.unwrap_or_else(default)
    }
}

/// How long each step may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// From the first byte of a request to the end of its header section: 408 after.
    #[serde(with = "humantime_serde")]
    pub header: Duration,
    /// The whole TLS handshake, and the PROXY protocol header.
    #[serde(with = "humantime_serde")]
    pub tls_handshake: Duration,
    /// A connection without a request.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
    /// Between two pieces of a request body: 408 after.
    #[serde(with = "humantime_serde")]
    pub body: Duration,
    /// A request body may be slower than `limits.body_rate` for so long.
    #[serde(with = "humantime_serde")]
    pub body_grace: Duration,
    /// A client that takes nothing of what there is for it.
    #[serde(with = "humantime_serde")]
    pub write: Duration,
    /// Connecting to an endpoint, TLS included, and before that waiting until there may be another
    /// connection.
    #[serde(with = "humantime_serde")]
    pub connect: Duration,
    /// Between two pieces of a response, and before its first: 504 after. 0: no limit. Upgraded
    /// connections use `upgraded` instead.
    #[serde(with = "humantime_serde")]
    pub response: Duration,
    /// An upgraded connection, or one for bytes alone, on which nothing moves.
    #[serde(with = "humantime_serde")]
    pub upgraded: Duration,
    /// Between two datagrams of a client and its endpoint: another endpoint may be chosen after.
    #[serde(with = "humantime_serde")]
    pub udp: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            tls_handshake: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            body: Duration::from_secs(60),
            body_grace: Duration::from_secs(30),
            write: Duration::from_secs(60),
            connect: Duration::from_secs(5),
            response: Duration::from_secs(60),
            upgraded: Duration::from_secs(3600),
            udp: Duration::from_secs(60),
        }
    }
}

/// HTTP/2 towards clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http2 {
    /// Streams open at once on a connection.
    pub streams: u32,
    /// Flow control window of a stream, for request bodies.
    pub stream_window: ByteSize,
    /// Flow control window of a connection, for request bodies.
    pub connection_window: ByteSize,
    /// `SETTINGS_MAX_HEADER_LIST_SIZE`: decoded header section of a request, in the way of HTTP/2,
    /// which counts 32 bytes more for each field. `limits.header_bytes` is obeyed besides.
    pub header_list: ByteSize,
    /// `limits.header_bytes` for all requests together that are open at once on a connection: beyond
    /// it a request is refused, unless it is alone, so that the client repeats it. 0: no limit.
    pub request_headers: ByteSize,
    /// A connection that starts so many streams within a second and resets most of them is
    /// closed. So is one that makes Ferrix reset so many, by errors or by opening more than
    /// `streams`; and one whose client leaves so many before their answer, and most of all, may go
    /// on only with the streams that it has. 0: never.
    pub reset_streams: u64,
    /// A connection that sends so many frames more within ten seconds than requests and their
    /// responses need is closed. 0: never.
    pub control_frames: u64,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            streams: 100,
            stream_window: ByteSize::kib(64),
            connection_window: ByteSize::mib(1),
            header_list: ByteSize::kib(40),
            request_headers: ByteSize::mib(1),
            reset_streams: 500,
            control_frames: 10_000,
        }
    }
}

impl Http2 {
    /// The same for these limits: where `header_list` is the default, a header section that HTTP/1
    /// may have fits.
    pub fn for_limits(self, limits: &Limits) -> Self {
        let default = Self::default().header_list;
        let fields = limits.header_count.min(ferrix_http1::MAX_FIELDS) as u64;
        let fitting = ByteSize(limits.header_bytes.as_u64() + FIELD_OVERHEAD * fields);
        match self.header_list == default {
            true => Self {
                header_list: default.max(fitting),
                ..self
            },
            false => self,
        }
    }
}

/// What each field of a header list counts beside its text (RFC 9113, section 6.5.2).
const FIELD_OVERHEAD: u64 = 32;

/// TLS towards clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The oldest version spoken.
    pub minimum_version: TlsVersion,
    /// Whether sessions can be resumed by tickets.
    pub tickets: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            minimum_version: TlsVersion::V1_2,
            tickets: true,
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Request targets.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// Whether `//` becomes `/`.
    pub merge_slashes: bool,
    /// Whether `%2F` and `%5C` are refused wherever they stand.
    pub refuse_encoded_slashes: bool,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            merge_slashes: true,
            refuse_encoded_slashes: false,
        }
    }
}

/// Header fields with a doubtful name or value.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Headers {
    /// Names with underscores in requests.
    pub underscores: Underscores,
    /// Responses with a control character in a value, or an impossible name.
    pub odd_responses: OddResponses,
}

/// What becomes of request fields with underscores in their names, which many servers cannot tell
/// from dashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Underscores {
    /// Those are dropped that a server could take for a field of framing, of one hop, or of
    /// forwarding.
    #[default]
    DropAliases,
    /// All are passed on.
    Allow,
    /// The request is answered with 400.
    Refuse,
}

/// What becomes of responses with fields that no response may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OddResponses {
    /// A control character in a value is passed on over HTTP/1; over HTTP/2, which cannot carry
    /// it, the field is dropped. A field with an impossible name is dropped.
    #[default]
    Mend,
    /// 502.
    Refuse,
}

/// Forwarding headers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Forwarded {
    /// Clients whose `X-Forwarded-*`, `Forwarded`, `X-Real-IP`, `X-Request-Id`, `X-Original-*` and
    /// `X-Rewrite-Url` are believed and extended: those that PROXY protocol names, where it is spoken. From
    /// all others these headers are removed.
    #[serde(deserialize_with = "canonical_networks")]
    pub trusted: Vec<IpNet>,
}

/// Connections to backends.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// Open connections to backends, in all. Beyond it idle ones are closed, or requests wait for one
    /// that ends: within `timeouts.connect`, then the answer is 503. 0: no limit of its own; the program sets what file
    /// descriptors allow.
    pub connections: usize,
    /// Open connections to one endpoint, which is one address of one service. 0: as above, half of
    /// what is allowed in all.
    pub connections_per_endpoint: usize,
    /// Idle connections kept for each endpoint, shared out among the threads.
    pub idle_connections: usize,
    /// How long an idle connection is kept. Keep it below what the backends allow, or they close
    /// a connection just as a request is sent on it.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Attempts for one request, the first included. Only what cannot have reached a backend, or
    /// may be repeated safely, is tried again.
    pub attempts: usize,
    /// Verification of backends that are spoken to by TLS.
    pub tls: UpstreamTls,
    /// Sockets to backends.
    pub tcp: UpstreamTcp,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            connections: 0,
            connections_per_endpoint: 0,
            idle_connections: 256,
            idle_timeout: Duration::from_secs(4),
            attempts: 3,
            tls: UpstreamTls::default(),
            tcp: UpstreamTcp::default(),
        }
    }
}

/// Verification of backends that are spoken to by TLS.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// Whether the backend's certificate must be valid for its server name.
    pub verify: bool,
    /// A PEM file of the authorities to trust, instead of the system's.
    pub authorities: Option<std::path::PathBuf>,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self {
            verify: true,
            authorities: None,
        }
    }
}

/// Sockets to backends.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTcp {
    /// How long a connection may be still before the system asks whether the backend is there.
    #[serde(with = "humantime_serde")]
    pub keep_alive_idle: Duration,
    /// Between two such questions.
    #[serde(with = "humantime_serde")]
    pub keep_alive_interval: Duration,
    /// Questions without an answer before the connection is given up.
    pub keep_alive_probes: usize,
    /// How long data may wait to be acknowledged before the connection is given up
    /// (`TCP_USER_TIMEOUT`); 0: as long as the system likes. Only on Linux.
    #[serde(with = "humantime_serde")]
    pub user_timeout: Duration,
    /// Addresses of this machine to connect from, one at random of the backend's family; none: the
    /// system chooses.
    pub source_addresses: Vec<IpAddr>,
    /// Whether the first data may leave with the connection's first packet (RFC 7413).
    pub fast_open: bool,
    /// `SO_RCVBUF`; 0: the system chooses and adapts.
    pub receive_buffer: ByteSize,
    /// The differentiated services code point of what is sent (RFC 2474), 0 to 63; 0 is the default
    /// of every system.
    pub dscp: u8,
}

impl Default for UpstreamTcp {
    fn default() -> Self {
        Self {
            keep_alive_idle: Duration::from_secs(15),
            keep_alive_interval: Duration::from_secs(5),
            keep_alive_probes: 9,
            user_timeout: Duration::from_secs(5),
            source_addresses: Vec::new(),
            fast_open: false,
            receive_buffer: ByteSize(0),
            dscp: 0,
        }
    }
}
