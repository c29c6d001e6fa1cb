//! A document to a type, and what is wrong with it otherwise: what all kinds have in common.

use std::{fmt, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    guard::Bug,
    objects::Key,
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

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Such as `spec.route.rules[0].matches`; empty for the object itself.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// A document of a watched kind that is no object of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct DecodeError {
    /// The object, where that much could be read.
    pub key: Option<Key>,
    /// Its `metadata.uid`, where that much could be read.
    pub uid: Option<Box<str>>,
    /// Its `metadata.generation`, where that much could be read.
    pub generation: Option<i64>,
    /// What is wrong, at least one.
    pub faults: Vec<Fault>,
    /// Whether it is no fault of the object, but a bug of Ferrix.
    pub bug: bool,
}

impl DecodeError {
    /// Its faults as findings.
    pub(crate) fn findings(&self) -> impl Iterator<Item = Finding> {
        let reason = match self.bug {
            true => Reason::InternalError,
            false => Reason::InvalidObject,
        };
        self.faults
            .iter()
            .map(move |fault| Finding::problem(reason, &*fault.field, &*fault.message))
    }

    /// A bug of ours came to light.
    pub(crate) fn bug(key: &Key, uid: Option<&str>, generation: Option<i64>) -> Self {
        Self {
            key: Some(key.clone()),
            uid: uid.map(Into::into),
            generation,
            faults: vec![Fault {
                field: String::new(),
                message: Bug::MESSAGE.to_owned(),
            }],
            bug: true,
        }
    }
}

/// What a document holds.
#[derive(Debug)]
pub(crate) struct Read<T> {
    pub(crate) object: Arc<T>,
    /// Fields that nobody reads. None from the API server.
    pub(crate) unknown_fields: Vec<String>,
}

/// Reads a kind that may have more fields than we know.
pub(crate) fn read<T: DeserializeOwned>(
    value: &Value,
    strictness: Strictness,
) -> Result<Read<T>, Vec<Fault>> {
    let mut unknown_fields = Vec::new();
    let object = typed(value, &mut unknown_fields).map_err(|fault| match strictness {
        Strictness::File => rest::<T>(value, vec![fault]).1,
        Strictness::Api => vec![fault],
    })?;
    match strictness {
        // Types whose kind is known do not read it again.
        Strictness::File => unknown_fields.retain(|field| field != "apiVersion" && field != "kind"),
        Strictness::Api => unknown_fields.clear(),
    }
    Ok(Read {
        object: Arc::new(object),
        unknown_fields,
    })
}

/// Reads a kind of which we know every field: another can only be a mistake.
pub(crate) fn read_known<T: DeserializeOwned>(
    value: &Value,
    strictness: Strictness,
) -> Result<Read<T>, Vec<Fault>> {
    let read = read(value, strictness)?;
    if read.unknown_fields.is_empty() {
        return Ok(read);
    }
    let fault = |field| Fault {
        field,
        message: "unknown field".to_owned(),
    };
    Err(read.unknown_fields.into_iter().map(fault).collect())
}

/// How often a document is read before nobody looks for more.
const MAX_READS: usize = 64;

/// Reads what is left of a document without what these faults are about, so that none hides another.
/// Gives all that is wrong in the end, and the object, as far as there is one.
pub(crate) fn rest<T: DeserializeOwned>(
    value: &Value,
    mut faults: Vec<Fault>,
) -> (Option<T>, Vec<Fault>) {
    let mut left = value.clone();
    for fault in &faults {
        take_out(&mut left, &steps(&fault.field));
    }
    for _ in 0..MAX_READS {
        match typed(&left, &mut Vec::new()) {
            Ok(object) => return (Some(object), faults),
            Err(fault) if fault.field.is_empty() => break,
            Err(fault) => {
                take_out(&mut left, &steps(&fault.field));
                // What is missing now may only be what was taken out.
                if !faults.iter().any(|it| it.is_near(&fault.field)) {
                    faults.push(fault);
                }
            }
        }
    }
    (None, faults)
}

/// Takes out the value of a field. An item of a list becomes an empty mapping, so that those behind it
/// keep their places. Where there is no such value, that is what was wrong, and what should have it goes.
fn take_out(value: &mut Value, steps: &[&str]) {
    let Some((last, above)) = steps.split_last() else {
        return;
    };
    let holder = above
        .iter()
        .try_fold(&mut *value, |value, step| match value {
            Value::Object(fields) => fields.get_mut(*step),
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
            _ => None,
        });
    let known = match holder {
        Some(Value::Object(fields)) => fields.remove(*last).is_some(),
        Some(Value::Array(items)) => {
            let item = last
                .parse()
                .ok()
                .and_then(|place: usize| items.get_mut(place));
            item.is_some_and(|item| !std::mem::replace(item, Value::Object(Map::new())).is_null())
        }
        _ => false,
    };
    if !known {
        take_out(value, above);
    }
}

fn steps(field: &str) -> Vec<&str> {
    let steps = field.split(['.', '[', ']']);
    steps.filter(|step| !step.is_empty()).collect()
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

impl Fault {
    /// Whether it is about a field, or what holds that, or what is in it.
    pub(crate) fn is_near(&self, field: &str) -> bool {
        let (ours, theirs) = (steps(&self.field), steps(field));
        ours.iter().zip(&theirs).all(|(one, other)| one == other)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "{}: {}", self.field, self.message),
        }
    }
}
