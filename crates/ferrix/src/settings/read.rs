//! Text to [`Settings`]: YAML, then serde, with faults that name the path of the key.

use std::path::PathBuf;

use ferrix_control::settings::{HostPolicy, IssuerPolicy};
use ferrix_proxy::settings as proxy;
use serde::Deserialize;
use serde_path_to_error::Segment;
use serde_yaml_ng::Value;

use super::{
    AccessLog, Admin, DefaultCertificate, EntryPoint, Error, Filters, Gateway, Log, Settings,
    Source,
    check::check,
    fault::{Fault, Step, path, pattern, render},
    keys::KEYS,
    locate::locate,
};

/// The file as serde sees it. The sections of the proxy are fields here, and not one flattened
/// struct: serde's errors within a flattened one do not name the path.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Sections {
    entry_points: Option<Vec<EntryPoint>>,
    source: Source,
    hosts: HostPolicy,
    issuers: IssuerPolicy,
    filters: Filters,
    gateway: Gateway,
    admin: Admin,
    log: Log,
    access_log: AccessLog,
    server: proxy::Server,
    limits: proxy::Limits,
    timeouts: proxy::Timeouts,
    http2: proxy::Http2,
    tls: Tls,
    paths: proxy::Paths,
    headers: proxy::Headers,
    forwarded: proxy::Forwarded,
    upstream: proxy::Upstream,
    replicas: Option<proxy::Replicas>,
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

pub(super) fn parse(text: &str) -> Result<Settings, Error> {
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
    // The error has a field of its own for the line.
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

/// A key without a value means its default: so a section whose keys are all commented out is fine. Labels,
/// and what stands in a Service, are no keys of ours, and to leave one out would select more.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Mapping(mapping) => {
            mapping.retain(|_, value| !value.is_null());
            let keys = mapping
                .iter_mut()
                .filter(|(key, _)| *key != "labels" && *key != "spec");
            keys.for_each(|(_, value)| drop_nulls(value));
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
            "hosts.allowed[]" | "issuers.allowed[]" | "filters.namespaces[]" => {
                "every element has some"
            }
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
        .map(|name| (strsim::levenshtein(&unknown, &plain(name)), *name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.len())
        .min()
        .map(|(_, name)| name)
}

/// What stands at `path`, short enough for a message.
pub(super) fn found(value: &Value, path: &[Step]) -> String {
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

fn assemble(sections: Sections) -> Result<Settings, Fault> {
    let defaults = Settings::default();
    let tls = defaults.proxy.tls;
    let limits = sections.limits;
    Ok(Settings {
        entry_points: sections.entry_points.unwrap_or(defaults.entry_points),
        source: sections.source,
        hosts: sections.hosts,
        issuers: sections.issuers,
        filters: sections.filters,
        gateway: sections.gateway,
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
            timeouts: sections.timeouts,
            http2: sections.http2.for_limits(&limits),
            limits,
            tls: proxy::Tls {
                minimum_version: sections.tls.minimum_version.unwrap_or(tls.minimum_version),
                tickets: sections.tls.tickets.unwrap_or(tls.tickets),
            },
            paths: sections.paths,
            headers: sections.headers,
            forwarded: sections.forwarded,
            upstream: sections.upstream,
            replicas: sections.replicas,
            // The program knows: it depends on where routes come from.
            loopback_servers: false,
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
