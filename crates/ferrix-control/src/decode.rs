//! A document to an object.

use std::sync::Arc;

use ferrix_api::schema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    objects::{self, Key, Kind, Object},
    report::{Finding, Reason},
};

/// How much a document is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// A file: nobody else has checked it. Schema and unknown fields are errors in our own kinds;
    /// in those of Kubernetes, unknown fields are remarks, because Kubernetes may be newer.
    File,
    /// The API server: it has checked the schema and dropped unknown fields, perhaps by an older
    /// or newer CRD than ours.
    Api,
}

/// What a document is.
#[derive(Debug)]
pub enum Decoded {
    /// An object of a watched kind.
    Object {
        /// The object.
        object: Object,
        /// Fields that nobody reads.
        unknown_fields: Vec<String>,
    },
    /// A kind that is not watched, by its name.
    Ignored(String),
}

/// A document of a watched kind that is no object of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct DecodeError {
    /// The object, where that much could be read.
    pub key: Option<Key>,
    /// Its `metadata.generation`, where that much could be read.
    pub generation: Option<i64>,
    /// What is wrong, at least one.
    pub faults: Vec<Fault>,
}

impl DecodeError {
    /// Its faults as findings.
    pub(crate) fn findings(&self) -> impl Iterator<Item = Finding> {
        self.faults
            .iter()
            .map(|fault| Finding::problem(Reason::InvalidObject, &*fault.field, &*fault.message))
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Such as `spec.route.rules[0].matches`; empty for the object itself.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.field.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "{}: {}", self.field, self.message),
        }
    }
}

/// Whether the document is a list of objects, such as `kubectl get -o yaml` prints.
pub fn is_list(value: &Value) -> bool {
    let kind = value["kind"].as_str().unwrap_or_default();
    value["items"].is_array()
        && kind.strip_suffix("List").is_some_and(|kind| {
            kind.is_empty() || Kind::ALL.iter().any(|known| known.as_str() == kind)
        })
}

/// Reads one document.
pub fn decode(value: &Value, strictness: Strictness) -> Result<Decoded, DecodeError> {
    let kind = match kind(value)? {
        Ok(kind) => kind,
        Err(ignored) => return Ok(Decoded::Ignored(ignored)),
    };
    let key = key(kind, value).map_err(|fault| DecodeError {
        key: None,
        generation: None,
        faults: vec![fault],
    })?;
    let refuse = |faults| DecodeError {
        key: Some(key.clone()),
        generation: value["metadata"]["generation"].as_i64(),
        faults,
    };
    version(kind, value).map_err(|fault| refuse(vec![fault]))?;
    let mut unknown_fields = Vec::new();
    if kind == Kind::IngressRoute && strictness == Strictness::File {
        let violations = schema::check_ingressroute(value);
        if !violations.is_empty() {
            let fault = |violation: schema::Violation| Fault {
                field: violation.path,
                message: violation.message,
            };
            return Err(refuse(violations.into_iter().map(fault).collect()));
        }
    }
    let unknown = &mut unknown_fields;
    let object = match kind {
        Kind::EndpointSlice => typed(value, unknown).map(|it| Object::EndpointSlice(Arc::new(it))),
        Kind::IngressRoute => typed(value, unknown).map(|it| Object::IngressRoute(Arc::new(it))),
        Kind::Namespace => typed(value, unknown).map(|it| Object::Namespace(Arc::new(it))),
        Kind::ReferenceGrant => {
            typed(value, unknown).map(|it| Object::ReferenceGrant(Arc::new(it)))
        }
        Kind::Service => typed(value, unknown).map(|it| Object::Service(Arc::new(it))),
        Kind::Secret => match typed(value, unknown) {
            Ok(secret) => Ok(Object::Secret(Arc::new(secret))),
            // What serde found is left out: it may be the key.
            Err(fault) => Err(Fault {
                field: fault.field,
                message: "is not what a Secret has there (the value is not shown)".to_owned(),
            }),
        },
    };
    let object = object.map_err(|fault| refuse(vec![fault]))?;
    if strictness == Strictness::Api {
        unknown_fields.clear();
    }
    // Types whose kind is known do not read it again.
    unknown_fields.retain(|field| field != "apiVersion" && field != "kind");
    let ours = matches!(kind, Kind::IngressRoute | Kind::ReferenceGrant);
    if ours && !unknown_fields.is_empty() {
        let fault = |field| Fault {
            field,
            message: "unknown field".to_owned(),
        };
        return Err(refuse(unknown_fields.into_iter().map(fault).collect()));
    }
    Ok(Decoded::Object {
        object,
        unknown_fields,
    })
}

/// The watched kind, or the name of one that is not.
fn kind(value: &Value) -> Result<Result<Kind, String>, DecodeError> {
    let refuse = |field: &str, message: &str| DecodeError {
        key: None,
        generation: None,
        faults: vec![Fault {
            field: field.to_owned(),
            message: message.to_owned(),
        }],
    };
    if !value.is_object() {
        return Err(refuse(
            "",
            "expected a Kubernetes object with `apiVersion`, `kind` and `metadata`",
        ));
    }
    let Some(kind) = value["kind"].as_str() else {
        return Err(refuse(
            "kind",
            "is missing; expected such as `IngressRoute`",
        ));
    };
    let Some(api_version) = value["apiVersion"].as_str() else {
        return Err(refuse(
            "apiVersion",
            "is missing; expected such as `ferrix.com/v1`",
        ));
    };
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let watched = Kind::ALL
        .into_iter()
        .find(|it| it.as_str() == kind && objects::group(*it) == group);
    match watched {
        Some(kind) => Ok(Ok(kind)),
        // Nothing else is in our group: this can only be a mistake.
        None if group == objects::group(Kind::IngressRoute) => Err(refuse(
            "kind",
            &format!("`{kind}` is not a kind of {group}; expected `IngressRoute`"),
        )),
        None if kind == Kind::IngressRoute.as_str() && group.is_empty() => Err(refuse(
            "apiVersion",
            &format!("is `{api_version}`; expected `ferrix.com/v1`"),
        )),
        None => Ok(Err(format!("{kind} ({api_version})"))),
    }
}

fn version(kind: Kind, value: &Value) -> Result<(), Fault> {
    let api_version = value["apiVersion"].as_str().unwrap_or_default();
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let versions = objects::versions(kind);
    if versions.contains(&version) {
        return Ok(());
    }
    let expected = objects::api_version(kind, versions[0]);
    Err(Fault {
        field: "apiVersion".to_owned(),
        message: format!("is `{api_version}`; expected `{expected}`"),
    })
}

fn key(kind: Kind, value: &Value) -> Result<Key, Fault> {
    let metadata = &value["metadata"];
    let text = |field: &str| match &metadata[field] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.as_str())),
        other => Err(Fault {
            field: format!("metadata.{field}"),
            message: format!("expected a text, found `{other}`"),
        }),
    };
    let Some(name) = text("name")? else {
        return Err(Fault {
            field: "metadata.name".to_owned(),
            message: "is missing".to_owned(),
        });
    };
    let namespace = match kind {
        Kind::Namespace => "",
        _ => text("namespace")?.unwrap_or("default"),
    };
    if !is_subdomain(name) {
        return Err(Fault {
            field: "metadata.name".to_owned(),
            message: format!(
                "`{name}` is no name: expected at most 253 of a-z, 0-9, `-` and `.`, with a \
                 letter or digit at both ends"
            ),
        });
    }
    if kind != Kind::Namespace && !is_label(namespace) {
        return Err(Fault {
            field: "metadata.namespace".to_owned(),
            message: format!(
                "`{namespace}` is no namespace: expected at most 63 of a-z, 0-9 and `-`, with a \
                 letter or digit at both ends"
            ),
        });
    }
    Ok(objects::key(kind, namespace, name))
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(has_the_letters_of_a_label)
}

fn is_label(label: &str) -> bool {
    label.len() <= 63 && has_the_letters_of_a_label(label)
}

fn has_the_letters_of_a_label(label: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    label.bytes().next().is_some_and(alphanumeric)
        && label.bytes().next_back().is_some_and(alphanumeric)
        && label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
}

/// Reads a type, and notes the fields that it did not take.
fn typed<T: DeserializeOwned>(value: &Value, unknown: &mut Vec<String>) -> Result<T, Fault> {
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(field_of(&path.to_string()));
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    let result = T::deserialize(serde_ignored::Deserializer::new(tracked, &mut note));
    result.map_err(|error| {
        let field = track.path().to_string();
        Fault {
            field: match field.as_str() {
                "." => String::new(),
                _ => field,
            },
            message: error.to_string(),
        }
    })
}

/// `spec.?.ports.0.name` as people write it: `spec.ports[0].name`.
fn field_of(path: &str) -> String {
    let mut field = String::new();
    for step in path.split('.').filter(|step| *step != "?") {
        match step.parse::<usize>() {
            Ok(place) => field.push_str(&format!("[{place}]")),
            Err(_) if field.is_empty() => field.push_str(step),
            Err(_) => {
                field.push('.');
                field.push_str(step);
            }
        }
    }
    field
}

#[cfg(test)]
mod tests;
