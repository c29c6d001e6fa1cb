//! A document to a type, and what is wrong with it otherwise: what all kinds have in common.

use std::{borrow::Cow, collections::HashSet, fmt, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    guard::Bug,
    objects::Key,
    rare::Rare,
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

/// Reads a kind that may have more fields than we know, and of which nothing is compiled.
pub(crate) fn read<T: DeserializeOwned>(
    value: &Value,
    strictness: Strictness,
) -> Result<Read<T>, Vec<Fault>> {
    read_and_compile(value, strictness, |_| Rare::default())
}

/// The same. Where it is no good object, the `faults` are said as well that come to light when it is compiled.
pub(crate) fn read_and_compile<T: DeserializeOwned>(
    value: &Value,
    strictness: Strictness,
    faults: impl FnOnce(&T) -> Rare<Finding>,
) -> Result<Read<T>, Vec<Fault>> {
    let mut reading = Reading::new(value, &take_out);
    let (object, unknown_fields) = reading.rest(strictness).unzip();
    let read = reading.end(object, faults)?;
    Ok(Read {
        unknown_fields: unknown_fields.unwrap_or_default(),
        ..read
    })
}

/// Reads a kind of which we know every field: another can only be a mistake. Where it is no good object, the
/// `faults` are said as well that come to light when it is compiled.
pub(crate) fn read_known<T: DeserializeOwned>(
    value: &Value,
    strictness: Strictness,
    faults: impl FnOnce(&T) -> Rare<Finding>,
) -> Result<Read<T>, Vec<Fault>> {
    let mut reading = Reading::new(value, &take_out);
    let object = reading.rest_of_known(strictness);
    reading.end(object, faults)
}

/// How often a document is read before nobody looks for more.
const MAX_READS: usize = 64;

/// A document that is read in spite of what is wrong with it, so that no fault hides another: what a
/// fault is about is repaired in a copy, and that is read on.
pub(crate) struct Reading<'v> {
    left: Cow<'v, Value>,
    repair: Repair<'v>,
    /// Fields whose values are not the author's any more. By their steps, as all of these.
    repaired: HashSet<String>,
    /// Fields that are taken out, and what holds them; and what holds one that says what it is.
    incomplete: HashSet<String>,
    /// All that is wrong.
    faults: Vec<Fault>,
}

/// Changes a document so that a field of it is not at fault any more.
pub(crate) type Repair<'r> = &'r dyn Fn(&mut Value, &str) -> Repaired;

/// What became of a field that was at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repaired {
    /// What its author wrote there is there still, or was nothing that anybody reads.
    Kept,
    /// Something else is there, which is not the author's.
    Replaced,
    /// Nothing is there: what holds it may miss it.
    TakenOut,
}

impl<'v> Reading<'v> {
    pub(crate) fn new(value: &'v Value, repair: Repair<'v>) -> Self {
        Self {
            left: Cow::Borrowed(value),
            repair,
            repaired: HashSet::new(),
            incomplete: HashSet::new(),
            faults: Vec::new(),
        }
    }

    /// Takes note of something that is wrong, and repairs it.
    pub(crate) fn refuse(&mut self, fault: Fault) {
        let repaired = (self.repair)(self.left.to_mut(), &fault.field);
        let field = fault.field.clone();
        self.remark(fault);
        let steps = steps(&field);
        match (repaired, steps.split_last()) {
            (Repaired::TakenOut, _) => self.incomplete.extend(holders(&steps)),
            // What the fields beside it mean is not known any more.
            (Repaired::Replaced, Some((&("group" | "kind" | "type"), holder))) => {
                self.incomplete.insert(holder.join("."));
            }
            _ => {}
        }
        if repaired != Repaired::Kept {
            self.repaired.insert(steps.join("."));
        }
    }

    /// Takes note of something that is wrong and keeps nobody from reading on, unless it only comes of a
    /// repair: what that was about is noted already.
    pub(crate) fn remark(&mut self, fault: Fault) {
        if !self.follows(&fault.field) {
            self.faults.push(fault);
        }
    }

    /// What is left of an object of which we know every field; `None` where nothing is.
    pub(crate) fn rest_of_known<T: DeserializeOwned>(
        &mut self,
        strictness: Strictness,
    ) -> Option<T> {
        let (object, mut unknown) = self.rest(strictness)?;
        // A schema may have found them before.
        let known: HashSet<&str> = self.faults.iter().map(|it| &*it.field).collect();
        unknown.retain(|field| !known.contains(&**field));
        for field in unknown {
            let message = "unknown field".to_owned();
            self.remark(Fault { field, message });
        }
        Some(object)
    }

    /// The object, unless anything is wrong: then all that is, with the `faults` of what is left of it.
    pub(crate) fn end<T>(
        mut self,
        object: Option<T>,
        faults: impl FnOnce(&T) -> Rare<Finding>,
    ) -> Result<Read<T>, Vec<Fault>> {
        match object {
            Some(object) if self.faults.is_empty() => {
                return Ok(Read {
                    object: Arc::new(object),
                    unknown_fields: Vec::new(),
                });
            }
            Some(object) => {
                for finding in faults(&object) {
                    self.remark(Fault {
                        field: finding.field,
                        message: finding.message,
                    });
                }
            }
            None => {}
        }
        Err(self.faults)
    }

    /// What is left of an object, and its fields that nobody reads; `None` where nothing is left.
    fn rest<T: DeserializeOwned>(&mut self, strictness: Strictness) -> Option<(T, Vec<String>)> {
        for _ in 0..MAX_READS {
            let mut unknown = Vec::new();
            match typed(&self.left, &mut unknown) {
                Ok(object) => {
                    match strictness {
                        // Types whose kind is known do not read it again.
                        Strictness::File => {
                            unknown.retain(|field| field != "apiVersion" && field != "kind");
                        }
                        Strictness::Api => unknown.clear(),
                    }
                    return Some((object, unknown));
                }
                Err(fault) => {
                    let whole = fault.field.is_empty();
                    self.refuse(fault);
                    if whole {
                        break;
                    }
                }
            }
        }
        None
    }

    /// Whether a fault in a field may only come of a repair.
    fn follows(&self, field: &str) -> bool {
        let steps = steps(field);
        self.incomplete.contains(&steps.join("."))
            || holders(&steps).any(|holder| self.repaired.contains(&holder))
    }
}

/// A field, and all that holds it, by their steps.
fn holders(steps: &[&str]) -> impl Iterator<Item = String> {
    (0..=steps.len()).map(|count| steps[..count].join("."))
}

/// The repair of a kind whose schema nobody knows: the value of a field is taken out.
pub(crate) fn take_out(value: &mut Value, field: &str) -> Repaired {
    take_out_at(value, &steps(field));
    Repaired::TakenOut
}

/// Takes out the value of a field. An item of a list becomes an empty mapping, so that those behind it
/// keep their places. Where there is no such value, that is what was wrong, and what should have it goes.
fn take_out_at(value: &mut Value, steps: &[&str]) {
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
        take_out_at(value, above);
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
    let noted = serde_ignored::Deserializer::new(tracked, &mut note);
    // Erased, because each of the many types would be compiled against all three layers.
    let mut erased = <dyn erased_serde::Deserializer<'_>>::erase(noted);
    let result = T::deserialize(&mut erased as &mut dyn erased_serde::Deserializer<'_>);
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

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "{}: {}", self.field, self.message),
        }
    }
}
