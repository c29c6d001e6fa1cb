//! The settings file: text to checked [`Settings`], or one error that says where and what.
//!
//! ```text
//!  text ─► YAML value ─► sections (serde) ─► checks across keys ─► Settings
//!              │               │                    │
//!              └───────────────┴────────────────────┴─► Error {file, line, key, message}
//! ```
//!
//! The value is read by serde in a second step, because only a value keeps exact paths, and a
//! message that names the path and what belongs there is what a person needs at three at night.
//! [`keys::KEYS`] says in words what each key expects; the tests hold it equal to what serde accepts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// Which ports nothing of the settings may have where Gateways have Services.
pub use ferrix_control::gateway_service::TARGET_PORTS;
use ferrix_control::settings::{GATEWAY_CONTROLLER, HostPolicy, IssuerPolicy};
use ferrix_proxy::settings as proxy;
use ipnet::IpNet;
use serde::Deserialize;

mod check;
mod fault;
pub mod keys;
mod locate;
mod read;

pub use ferrix_proxy::settings::EntryPoint;

/// Everything that Ferrix can be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The sockets that traffic comes in by, at least one.
    pub entry_points: Vec<EntryPoint>,
    /// Where objects come from.
    pub source: Source,
    /// Which namespaces may have which hosts.
    pub hosts: HostPolicy,
    /// Which namespaces may have which issuers asked.
    pub issuers: IssuerPolicy,
    /// Filters of namespaces, and whose Filters attach themselves to anything.
    pub filters: Filters,
    /// How the Gateway API is served.
    pub gateway: Gateway,
    /// The page for operators and probes.
    pub admin: Admin,
    /// What Ferrix says about itself.
    pub log: Log,
    /// What Ferrix says about each request.
    pub access_log: AccessLog,
    /// What secure entry points present to clients that no route has a certificate for.
    pub default_certificate: Option<DefaultCertificate>,
    /// The data plane.
    pub proxy: proxy::Settings,
}

/// Where objects come from, and which of them count.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// A folder of Kubernetes manifests.
    pub files: Option<Files>,
    /// A Kubernetes API server. Not beside `files`.
    pub kubernetes: Option<Kubernetes>,
    /// Only objects of these namespaces count; absent: of all.
    pub namespaces: Option<BTreeSet<String>>,
    /// Only routes of this class count; absent: routes of class `ferrix` and those without any.
    pub ingress_class: Option<String>,
    /// Whether a Service of type `ExternalName` is followed to where its author likes.
    pub allow_external_name: bool,
}

/// A folder of Kubernetes manifests, watched for changes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The folder.
    pub path: PathBuf,
}

/// A Kubernetes API server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// A kubeconfig file; absent: the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// Whose Secrets of type `kubernetes.io/tls` are watched. Others are one by one, where filters name them.
    pub secrets: Secrets,
    /// The folder of the snapshot that the next process in the pod serves where the API server does not
    /// answer it; absent: there is none.
    pub snapshot_folder: Option<PathBuf>,
    /// The Service by which clients reach Ferrix, as `NAMESPACE/NAME`: its addresses are written into the
    /// statuses of Ingresses.
    pub publish_service: Option<String>,
    /// These instead: IP addresses, and names that are looked up.
    pub publish_addresses: Vec<String>,
}

/// Whose Secrets are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secrets {
    /// Those of namespaces with a route that uses TLS.
    #[default]
    Namespaces,
    /// Those of the whole cluster.
    Cluster,
}

/// Filters of namespaces, and whose Filters attach themselves to anything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    /// The namespace whose Filters may attach themselves to anything; absent: that of the pod, or `ferrix`.
    pub namespace: Option<String>,
    /// Those that all requests for a namespace pass.
    pub namespaces: Vec<NamespaceFilters>,
}

/// Filters that all requests for some namespaces pass.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceFilters {
    /// The names of these; `*` is every namespace.
    pub namespaces: BTreeSet<String>,
    /// The Filters, each as `NAMESPACE/NAME`.
    pub filters: Vec<String>,
}

/// How the Gateway API is served.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// The controller that a GatewayClass of this installation names.
    pub controller: String,
    /// Networks of which each Gateway gets an address of its own, which Ferrix binds. None: Gateways are
    /// served by the entry points, by their ports.
    pub addresses: Vec<IpNet>,
    /// The Services of Gateways; absent: they have none. Not beside `addresses`.
    pub services: Option<GatewayServices>,
}

/// The Service that each Gateway gets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayServices {
    /// Annotations of each.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The `spec` of each, but for its ports.
    pub spec: serde_json::Map<String, serde_json::Value>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            controller: GATEWAY_CONTROLLER.to_owned(),
            addresses: Vec::new(),
            services: None,
        }
    }
}

/// The page for operators and probes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where it listens. It has no authentication: keep it away from clients.
    pub address: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6192),
        }
    }
}

/// What Ferrix says about itself, on the standard error stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// A level of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Something is lost.
    Error,
    /// Something needs a person, soon.
    Warn,
    /// What changed.
    #[default]
    Info,
    /// Why it changed.
    Debug,
    /// Every step.
    Trace,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object on a line.
    Json,
}

/// What Ferrix says about each request.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// How a line looks, and whether there is any.
    pub format: AccessLogFormat,
    /// The file to append to; absent: standard output.
    pub path: Option<PathBuf>,
    /// Records that may wait for the writer. Beyond it records are dropped and counted.
    pub buffer: usize,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            format: AccessLogFormat::Off,
            path: None,
            buffer: 16_384,
        }
    }
}

/// How a line of the access log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLogFormat {
    /// No access log.
    #[default]
    Off,
    /// The combined format that many tools read, with route and backend after it.
    Text,
    /// One JSON object on a line.
    Json,
}

/// Where the default certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultCertificate {
    /// A Secret of type `kubernetes.io/tls`.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A chain and its key in PEM files.
    Files {
        /// The leaf, then its issuers.
        certificate: PathBuf,
        /// The private key of the leaf.
        key: PathBuf,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            entry_points: vec![
                entry_point("web", 6190, false),
                entry_point("websecure", 6191, true),
            ],
            source: Source::default(),
            hosts: HostPolicy::default(),
            issuers: IssuerPolicy::default(),
            filters: Filters::default(),
            gateway: Gateway::default(),
            admin: Admin::default(),
            log: Log::default(),
            access_log: AccessLog::default(),
            default_certificate: None,
            proxy: proxy::Settings::default(),
        }
    }
}

fn entry_point(name: &str, port: u16, secure: bool) -> EntryPoint {
    EntryPoint {
        name: name.into(),
        address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        port,
        exposed_port: None,
        secure,
        proxy_protocol: Vec::new(),
        filters: Vec::new(),
    }
}

impl Settings {
    /// Reads and checks a settings file. Relative paths in it start from its folder.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(file).map_err(|error| Error {
            file: Some(file.display().to_string()),
            line: None,
            key: String::new(),
            message: format!("cannot be read: {error}"),
        })?;
        let mut settings = Self::parse(&file.display().to_string(), &text)?;
        settings.anchor(file.parent().unwrap_or(Path::new("")));
        Ok(settings)
    }

    /// Checks the text of a settings file; `file` is only for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        read::parse(text).map_err(|mut error| {
            error.file = Some(file.into());
            error
        })
    }

    /// What holds between keys. A parsed file has been checked; settings made by a program are
    /// checked when it starts.
    pub fn check(&self) -> Result<(), Error> {
        check::check(self).map_err(|(path, message)| Error {
            file: None,
            line: None,
            key: fault::render(&path),
            message,
        })
    }

    /// Makes relative paths start from `folder`.
    fn anchor(&mut self, folder: &Path) {
        let mut paths = Vec::new();
        if let Some(files) = &mut self.source.files {
            paths.push(&mut files.path);
        }
        if let Some(kubernetes) = &mut self.source.kubernetes {
            paths.extend(&mut kubernetes.kubeconfig);
            paths.extend(&mut kubernetes.snapshot_folder);
        }
        if let Some(DefaultCertificate::Files { certificate, key }) = &mut self.default_certificate
        {
            paths.push(certificate);
            paths.push(key);
        }
        paths.extend(&mut self.access_log.path);
        paths.extend(&mut self.proxy.upstream.tls.authorities);
        if let Some(replicas) = &mut self.proxy.replicas {
            paths.push(&mut replicas.key_file);
        }
        for path in paths {
            *path = folder.join(&*path);
        }
    }
}

/// What is wrong with the settings. Only the first fault is told: the next may follow from it.
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    /// As it was named.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<usize>,
    /// The path of the key, such as `entry_points[0].port`; empty for the whole file.
    pub key: String,
    /// What was expected, and what was found.
    pub message: String,
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file.as_deref().unwrap_or("settings"))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

#[cfg(test)]
mod tests;
