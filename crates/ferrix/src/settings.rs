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
//! [`KEYS`] says in words what each key expects; the tests hold it equal to what serde accepts.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use ferrix_proxy::settings as proxy;
use serde::{
    Deserialize,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_path_to_error::Segment;
use serde_yaml_ng::Value;

pub use ferrix_proxy::settings::EntryPoint;

/// Everything that Ferrix can be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The sockets that traffic comes in by, at least one.
    pub entry_points: Vec<EntryPoint>,
    /// Where objects come from.
    pub source: Source,
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
        secure,
        proxy_protocol: Vec::new(),
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
        parse(text).map_err(|mut error| {
            error.file = Some(file.into());
            error
        })
    }

    /// What holds between keys. A parsed file has been checked; settings made by a program are
    /// checked when it starts.
    pub fn check(&self) -> Result<(), Error> {
        check(self).map_err(|(path, message)| Error {
            file: None,
            line: None,
            key: render(&path),
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
        }
        if let Some(DefaultCertificate::Files { certificate, key }) = &mut self.default_certificate
        {
            paths.push(certificate);
            paths.push(key);
        }
        paths.extend(&mut self.access_log.path);
        paths.extend(&mut self.proxy.upstream.tls.authorities);
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

/// What each key of the file expects, in words. `[]` stands for every element of a list.
pub const KEYS: &[(&str, &str)] = &[
    ("", MAPPING),
    ("entry_points", "a list of entry points"),
    ("entry_points[]", "a mapping with name and port"),
    ("entry_points[].name", NAME),
    ("entry_points[].address", "an IP address such as 0.0.0.0"),
    ("entry_points[].port", "a number from 0 to 65535"),
    ("entry_points[].secure", BOOLEAN),
    ("entry_points[].proxy_protocol", "a list of networks"),
    ("entry_points[].proxy_protocol[]", NETWORK),
    ("source", "a mapping with files or kubernetes"),
    ("source.namespaces", "a list of namespaces"),
    ("source.namespaces[]", "the name of a namespace"),
    ("source.ingress_class", "the name of a class"),
    ("source.allow_external_name", BOOLEAN),
    ("source.files", "a mapping with path"),
    ("source.files.path", "the path of a folder"),
    ("source.kubernetes", MAPPING),
    ("source.kubernetes.kubeconfig", "the path of a file"),
    ("admin", MAPPING),
    (
        "admin.address",
        "an address and port such as 127.0.0.1:6192",
    ),
    ("log", MAPPING),
    ("log.level", "error, warn, info, debug or trace"),
    ("log.format", "text or json"),
    ("access_log", MAPPING),
    ("access_log.format", "off, text or json"),
    ("access_log.path", "the path of a file"),
    ("access_log.buffer", POSITIVE),
    ("server", MAPPING),
    ("server.threads", "a number from 0 to 1024"),
    ("server.name", "a text that can stand in a header"),
    ("server.drain_delay", DURATION),
    ("server.drain_timeout", DURATION),
    ("limits", MAPPING),
    ("limits.header_bytes", SIZE),
    ("limits.header_count", POSITIVE),
    ("limits.uri_bytes", SIZE),
    ("limits.body_bytes", SIZE),
    ("limits.connections", COUNT),
    ("limits.connections_per_client", COUNT),
    ("limits.requests_per_connection", COUNT),
    ("timeouts", MAPPING),
    ("timeouts.header", DURATION),
    ("timeouts.tls_handshake", DURATION),
    ("timeouts.keep_alive", DURATION),
    ("timeouts.body", DURATION),
    ("timeouts.write", DURATION),
    ("timeouts.connect", DURATION),
    ("timeouts.response", DURATION),
    ("timeouts.upgraded", DURATION),
    ("http2", MAPPING),
    ("http2.streams", POSITIVE),
    ("http2.stream_window", SIZE),
    ("http2.connection_window", SIZE),
    ("http2.header_list", SIZE),
    ("http2.reset_streams", COUNT),
    ("tls", MAPPING),
    ("tls.minimum_version", "\"1.2\" or \"1.3\" (with quotes)"),
    ("tls.tickets", BOOLEAN),
    (
        "tls.default_certificate",
        "a mapping with secret, or with certificate_file and key_file",
    ),
    ("tls.default_certificate.secret", "NAMESPACE/NAME"),
    (
        "tls.default_certificate.certificate_file",
        "the path of a PEM file",
    ),
    ("tls.default_certificate.key_file", "the path of a PEM file"),
    ("paths", MAPPING),
    ("paths.merge_slashes", BOOLEAN),
    ("paths.refuse_encoded_slashes", BOOLEAN),
    ("forwarded", MAPPING),
    ("forwarded.trusted", "a list of networks"),
    ("forwarded.trusted[]", NETWORK),
    ("upstream", MAPPING),
    ("upstream.idle_connections", COUNT),
    ("upstream.idle_timeout", DURATION),
    ("upstream.attempts", POSITIVE),
    ("upstream.tls", MAPPING),
    ("upstream.tls.verify", BOOLEAN),
    ("upstream.tls.authorities", "the path of a PEM file"),
];

const MAPPING: &str = "a mapping";
const NAME: &str = "a name of letters, digits, - and _, at most 63 long";
const BOOLEAN: &str = "true or false";
const NETWORK: &str = "a network such as 10.0.0.0/8 or 2001:db8::/32";
const POSITIVE: &str = "a number above 0";
const COUNT: &str = "a number, 0 or above";
const DURATION: &str = "a duration such as 500ms, 10s or 1h";
const SIZE: &str = "a size such as 64KiB, or a number of bytes";

/// The file as serde sees it: every section by itself, because a flattened one loses its paths.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sections {
    entry_points: Option<Vec<EntryPoint>>,
    source: Source,
    admin: Admin,
    log: Log,
    access_log: AccessLog,
    server: proxy::Server,
    limits: proxy::Limits,
    timeouts: proxy::Timeouts,
    http2: proxy::Http2,
    tls: Tls,
    paths: proxy::Paths,
    forwarded: proxy::Forwarded,
    upstream: proxy::Upstream,
}

/// The proxy's section and the default certificate, which the control plane reads.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Tls {
    minimum_version: Option<proxy::TlsVersion>,
    tickets: Option<bool>,
    default_certificate: Option<RawCertificate>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawCertificate {
    secret: Option<String>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

/// One step from a mapping or a list to what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

type Fault = (Vec<Step>, String);

fn parse(text: &str) -> Result<Settings, Error> {
    let mut value: Value = serde_yaml_ng::from_str(text).map_err(not_yaml)?;
    drop_nulls(&mut value);
    if value.is_null() {
        value = Value::Mapping(Default::default());
    }
    serde_path_to_error::deserialize::<_, Sections>(&value)
        .map_err(|error| explain(&value, &error))
        .and_then(assemble)
        .and_then(|settings| check(&settings).map(|()| settings))
        .map_err(|(path, message)| Error {
            file: None,
            line: locate(text, &path),
            key: render(&path),
            message,
        })
}

fn not_yaml(error: serde_yaml_ng::Error) -> Error {
    let mut message = error.to_string();
    // The place has a field of its own.
    if let Some(start) = message.find(" at line ") {
        message.truncate(start);
    }
    let message = match message.split_once("duplicate entry with key ") {
        Some((_, key)) => format!("the key {key} stands twice in one mapping"),
        None => format!("this is not YAML: {message}"),
    };
    Error {
        file: None,
        line: error.location().map(|location| location.line()),
        key: String::new(),
        message,
    }
}

/// A key without a value means its default: so a section whose keys are all commented out is fine.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Mapping(mapping) => {
            mapping.retain(|_, value| !value.is_null());
            mapping.values_mut().for_each(drop_nulls);
        }
        Value::Sequence(sequence) => sequence.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Puts serde's words into those of a person.
fn explain(value: &Value, error: &serde_path_to_error::Error<serde_yaml_ng::Error>) -> Fault {
    let mut path: Vec<Step> = error
        .path()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect();
    let message = error.inner().to_string();
    if let Some((unknown, known)) = unknown_field(&message) {
        if path.last() != Some(&Step::Key(unknown.into())) {
            path.push(Step::Key(unknown.into()));
        }
        let advice = match nearest(unknown, &known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("the keys here are {}", known.join(", ")),
        };
        return (path, format!("unknown key {unknown:?}; {advice}"));
    }
    if let Some(missing) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next())
    {
        let of = match pattern(&path).as_str() {
            "entry_points[]" => "every entry point has one",
            _ => "it has no default",
        };
        return (path, format!("missing key {missing:?}; {of}"));
    }
    if message.contains("field identifier") {
        return (path, "expected words as keys".into());
    }
    let wanted = pattern(&path);
    let message = match KEYS.iter().find(|(key, _)| *key == wanted) {
        Some((_, expected)) => format!("expected {expected}, found {}", found(value, &path)),
        None => message,
    };
    (path, message)
}

/// The names in serde's message about a field that is not there.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let mut quoted = rest.split('`').step_by(2);
    Some((
        quoted.next()?,
        quoted.filter(|name| !name.is_empty()).collect(),
    ))
}

/// The known key that was most likely meant.
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let unknown = plain(unknown);
    known
        .iter()
        .map(|name| (distance(&unknown, &plain(name)), *name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.len())
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

/// What stands at `path`, short enough for a message.
fn found(value: &Value, path: &[Step]) -> String {
    let value = path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key.as_str()),
        Step::Index(index) => value.get(index),
    });
    match value {
        None | Some(Value::Null) => "nothing".into(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Number(value)) => value.to_string(),
        Some(Value::String(value)) if value.chars().count() > 60 => {
            format!("{:?}…", value.chars().take(60).collect::<String>())
        }
        Some(Value::String(value)) => format!("{value:?}"),
        Some(Value::Sequence(_)) => "a list".into(),
        Some(Value::Mapping(_)) => "a mapping".into(),
        Some(Value::Tagged(tagged)) => format!("a value with the tag {}", tagged.tag),
    }
}

/// `entry_points[0].port`.
fn render(path: &[Step]) -> String {
    write_path(path, |index| format!("[{index}]"))
}

/// `entry_points[].port`, as in [`KEYS`].
fn pattern(path: &[Step]) -> String {
    write_path(path, |_| "[]".into())
}

fn write_path(path: &[Step], index: impl Fn(usize) -> String) -> String {
    path.iter().fold(String::new(), |text, step| match step {
        Step::Key(key) if text.is_empty() => key.clone(),
        Step::Key(key) => format!("{text}.{key}"),
        Step::Index(position) => text + &index(*position),
    })
}

/// `path!["entry_points"; 0; "port"]` without the noise: keys and indices from one text.
fn path(text: &str) -> Vec<Step> {
    text.split(['.', '['])
        .map(|part| match part.strip_suffix(']').map(str::parse) {
            Some(Ok(index)) => Step::Index(index),
            _ => Step::Key(part.into()),
        })
        .collect()
}

fn assemble(sections: Sections) -> Result<Settings, Fault> {
    let defaults = Settings::default();
    let tls = defaults.proxy.tls;
    Ok(Settings {
        entry_points: sections.entry_points.unwrap_or(defaults.entry_points),
        source: sections.source,
        admin: sections.admin,
        log: sections.log,
        access_log: sections.access_log,
        default_certificate: sections
            .tls
            .default_certificate
            .map(default_certificate)
            .transpose()?,
        proxy: proxy::Settings {
            server: sections.server,
            limits: sections.limits,
            timeouts: sections.timeouts,
            http2: sections.http2,
            tls: proxy::Tls {
                minimum_version: sections.tls.minimum_version.unwrap_or(tls.minimum_version),
                tickets: sections.tls.tickets.unwrap_or(tls.tickets),
            },
            paths: sections.paths,
            forwarded: sections.forwarded,
            upstream: sections.upstream,
        },
    })
}

fn default_certificate(raw: RawCertificate) -> Result<DefaultCertificate, Fault> {
    match raw {
        RawCertificate {
            secret: Some(secret),
            certificate_file: None,
            key_file: None,
        } => match secret.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(DefaultCertificate::Secret {
                    namespace: namespace.into(),
                    name: name.into(),
                })
            }
            _ => Err((
                path("tls.default_certificate.secret"),
                format!("expected NAMESPACE/NAME, found {secret:?}"),
            )),
        },
        RawCertificate {
            secret: None,
            certificate_file: Some(certificate),
            key_file: Some(key),
        } => Ok(DefaultCertificate::Files { certificate, key }),
        _ => Err((
            path("tls.default_certificate"),
            "expected either secret, or certificate_file and key_file".into(),
        )),
    }
}

/// What holds between keys, and what a type cannot say.
fn check(settings: &Settings) -> Result<(), Fault> {
    let fault = |key: &str, message: String| Err((path(key), message));

    if settings.entry_points.is_empty() {
        return fault(
            "entry_points",
            "expected at least one entry point; without the key there are web on 6190 and \
             websecure on 6191"
                .into(),
        );
    }
    for (index, entry_point) in settings.entry_points.iter().enumerate() {
        let key = |key: &str| format!("entry_points[{index}].{key}");
        let name = &entry_point.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
            return fault(&key("name"), format!("expected {NAME}, found {name:?}"));
        }
        for (earlier, other) in settings.entry_points[..index].iter().enumerate() {
            if other.name == *name {
                return fault(
                    &key("name"),
                    format!("{name:?} is the name of entry_points[{earlier}] already"),
                );
            }
            if overlap(entry_point.socket_address(), other.socket_address()) {
                return fault(
                    &key("port"),
                    format!(
                        "port {} is taken by entry_points[{earlier}] ({}) already",
                        entry_point.port, other.name,
                    ),
                );
            }
        }
        if overlap(entry_point.socket_address(), settings.admin.address) {
            return fault(
                &key("port"),
                format!(
                    "port {} is taken by admin.address already",
                    entry_point.port
                ),
            );
        }
    }
    if settings.source.files.is_some() && settings.source.kubernetes.is_some() {
        return fault(
            "source",
            "expected one of files and kubernetes, found both".into(),
        );
    }

    let proxy = &settings.proxy;
    let zero = [
        ("access_log.buffer", settings.access_log.buffer == 0),
        (
            "limits.header_bytes",
            proxy.limits.header_bytes.as_u64() == 0,
        ),
        ("limits.header_count", proxy.limits.header_count == 0),
        ("limits.uri_bytes", proxy.limits.uri_bytes.as_u64() == 0),
        ("timeouts.header", proxy.timeouts.header.is_zero()),
        (
            "timeouts.tls_handshake",
            proxy.timeouts.tls_handshake.is_zero(),
        ),
        ("timeouts.keep_alive", proxy.timeouts.keep_alive.is_zero()),
        ("timeouts.body", proxy.timeouts.body.is_zero()),
        ("timeouts.write", proxy.timeouts.write.is_zero()),
        ("timeouts.connect", proxy.timeouts.connect.is_zero()),
        ("timeouts.upgraded", proxy.timeouts.upgraded.is_zero()),
        ("http2.streams", proxy.http2.streams == 0),
        ("http2.header_list", proxy.http2.header_list.as_u64() == 0),
        ("upstream.attempts", proxy.upstream.attempts == 0),
    ];
    if let Some((key, _)) = zero.iter().find(|(_, zero)| *zero) {
        return fault(
            key,
            "expected more than 0: this limit cannot be lifted".into(),
        );
    }
    if proxy.server.threads > 1024 {
        return fault(
            "server.threads",
            format!(
                "expected a number from 0 to 1024, found {}",
                proxy.server.threads
            ),
        );
    }
    if http::HeaderValue::from_str(&proxy.server.name).is_err() {
        return fault(
            "server.name",
            format!(
                "expected a text that can stand in a header, found {:?}",
                proxy.server.name
            ),
        );
    }
    if proxy.limits.uri_bytes > proxy.limits.header_bytes {
        return fault(
            "limits.uri_bytes",
            format!(
                "expected at most limits.header_bytes ({}), which the request line is part of, \
                 found {}",
                proxy.limits.header_bytes, proxy.limits.uri_bytes,
            ),
        );
    }
    // Section 6.9 of RFC 9113.
    let largest_window = (1 << 31) - 1;
    for (key, window) in [
        ("http2.stream_window", proxy.http2.stream_window),
        ("http2.connection_window", proxy.http2.connection_window),
    ] {
        if !(65_535..=largest_window).contains(&window.as_u64()) {
            return fault(
                key,
                format!(
                    "expected from 65535 to {largest_window} bytes, found {}",
                    window.as_u64()
                ),
            );
        }
    }
    Ok(())
}

/// Whether one process cannot listen on both.
fn overlap(left: SocketAddr, right: SocketAddr) -> bool {
    let (a, b) = (left.ip(), right.ip());
    // A socket on [::] takes IPv4 as well.
    let covers = |wide: IpAddr, narrow: IpAddr| match wide {
        IpAddr::V6(wide) => wide.is_unspecified(),
        IpAddr::V4(wide) => wide.is_unspecified() && narrow.is_ipv4(),
    };
    left.port() != 0 && left.port() == right.port() && (a == b || covers(a, b) || covers(b, a))
}

/// The line where `path` stands in `text`, or the closest thing above it.
fn locate(text: &str, path: &[Step]) -> Option<usize> {
    (0..=path.len()).rev().find_map(|length| {
        let found =
            Locate(&path[..length]).deserialize(serde_yaml_ng::Deserializer::from_str(text));
        // A walk that arrives stops there with an error, which carries the place.
        found.err()?.location().map(|location| location.line())
    })
}

/// Walks to a place in a document and fails there.
struct Locate<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for Locate<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Locate<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something else")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let [Step::Key(wanted), rest @ ..] = self.0 else {
            return Err(de::Error::custom("here"));
        };
        loop {
            let key = LocateKey {
                wanted,
                last: rest.is_empty(),
            };
            match map.next_key_seed(key)? {
                None => return Ok(()),
                Some(true) => return map.next_value_seed(Locate(rest)),
                Some(false) => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let [Step::Index(wanted), rest @ ..] = self.0 else {
            return Err(de::Error::custom("here"));
        };
        for _ in 0..*wanted {
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        seq.next_element_seed(Locate(rest)).map(drop)
    }
}

/// Says whether a key is the wanted one; fails on it where it is the end of the path.
struct LocateKey<'a> {
    wanted: &'a str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for LocateKey<'_> {
    type Value = bool;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for LocateKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<bool, E> {
        match key == self.wanted {
            true if self.last => Err(E::custom("here")),
            same => Ok(same),
        }
    }
}

#[cfg(test)]
mod tests;
