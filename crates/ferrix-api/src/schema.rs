//! What the API server checks before it stores an object, for manifests that never meet one.
//!
//! The structural schema of a CRD is a JSON Schema but for some words of Kubernetes, which are translated:
//! so a folder of files and a cluster refuse the same manifests. The CEL rules of the CRD, and what a
//! parser judges with a reason, are checked again, for every source, where objects are compiled.

use std::{fmt, sync::LazyLock};

use jsonschema::{
    Draft, PatternOptions, ValidationError, Validator, error::ValidationErrorKind,
    paths::LocationSegment,
};
use serde_json::{Value, json};

use crate::{BackendPolicy, Filter, IngressRoute, crd, pattern};

mod mend;

pub use mend::Mended;

/// Where a value breaks the schema, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Violation {
    /// Such as `spec.route.rules[0].service.port`; empty for the object itself.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// What the API server is told to check of a kind of ours.
pub struct KindSchema {
    schema: Value,
    validator: Validator,
}

/// That of an IngressRoute.
pub static INGRESSROUTE: LazyLock<KindSchema> =
    LazyLock::new(|| KindSchema::new(crd::schema::<IngressRoute>()));

/// That of a Filter.
pub static FILTER: LazyLock<KindSchema> =
    LazyLock::new(|| KindSchema::new(crd::schema::<Filter>()));

/// That of a BackendPolicy.
pub static BACKENDPOLICY: LazyLock<KindSchema> =
    LazyLock::new(|| KindSchema::new(crd::schema::<BackendPolicy>()));

/// Fields that every object has, and that are checked elsewhere.
const CHECKED_ELSEWHERE: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];

/// What is parsed where objects are compiled: there the user learns more than that it does not fit.
const PARSED: [&str; 2] = [pattern::HOST, pattern::SERVER_NAME];

impl KindSchema {
    /// A structural schema, as a CRD of ours has it.
    ///
    /// # Panics
    /// Where it is none.
    pub fn new(mut schema: Value) -> Self {
        translate(&mut schema);
        // OpenAPI 3.0 stands on this draft: a bound is exclusive by a boolean, and 1.0 is no integer.
        let options = jsonschema::options()
            .with_draft(Draft::Draft4)
            .with_pattern_options(PatternOptions::regex())
            .should_validate_formats(false);
        let validator = options.build(&schema);
        let validator = validator.expect("a structural schema of ours is a JSON Schema");
        Self { schema, validator }
    }

    /// Whether the API server takes a value, by the schema alone.
    pub fn admits(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// Checks `spec` and what is beside it: types, bounds, required fields, and unknown fields. Of the
    /// same value only the first violation is told.
    pub fn check(&self, object: &Value) -> Vec<Violation> {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.retain(|name, _| !CHECKED_ELSEWHERE.contains(&&**name));
        }
        drop_nulls(&mut object);
        let mut violations: Vec<Violation> = Vec::new();
        for error in self.validator.iter_errors(&object) {
            let is_type = matches!(error.kind(), ValidationErrorKind::Type { .. });
            for violation in self.violations(&error) {
                match violations.last_mut() {
                    // Whatever else is said of it follows from that.
                    Some(last) if last.path == violation.path && is_type => *last = violation,
                    Some(last) if last.path == violation.path => {}
                    _ => violations.push(violation),
                }
            }
        }
        violations
    }

    /// Changes a field, by the path of a [`Violation`] or of what holds a missing field, so that its type
    /// and its bounds are those of the schema, and whatever else is wrong can be found. Lists that are too
    /// long stay as they are.
    pub fn mend(&self, object: &mut Value, path: &str) -> Mended {
        mend::mend(&self.schema, object, path)
    }

    /// What an error of the library comes to, in words for whoever wrote the manifest.
    fn violations(&self, error: &ValidationError<'_>) -> Vec<Violation> {
        let path = path_of(error);
        let keyword = error.schema_path().as_str().rsplit_once('/');
        let schema = keyword.and_then(|(holder, _)| self.schema.pointer(holder));
        let schema = schema.unwrap_or(&Value::Null);
        match error.kind() {
            ValidationErrorKind::Required { property } => vec![Violation {
                path: join(&path, property.as_str().unwrap_or_default()),
                message: "is missing".to_owned(),
            }],
            ValidationErrorKind::Pattern { pattern } if PARSED.contains(&&**pattern) => Vec::new(),
            // Of what there has to be exactly one, the same.
            ValidationErrorKind::MinProperties { .. }
            | ValidationErrorKind::MaxProperties { .. } => Vec::new(),
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known = schema["properties"].as_object().into_iter().flatten();
                let known: Vec<_> = known.map(|(name, _)| format!("`{name}`")).collect();
                let unknown = |name: &String| Violation {
                    path: join(&path, name),
                    message: format!("unknown field, expected {}", one_of(&known)),
                };
                unexpected.iter().map(unknown).collect()
            }
            _ => vec![Violation {
                path,
                message: message(schema, error),
            }],
        }
    }
}

impl fmt::Debug for KindSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KindSchema").finish_non_exhaustive()
    }
}

/// Makes a JSON Schema of a structural one: <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>.
fn translate(schema: &mut Value) {
    let Some(words) = schema.as_object_mut() else {
        return;
    };
    if words.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        words.insert("type".to_owned(), json!(["integer", "string"]));
    }
    if words.contains_key("properties") {
        // What the API server drops is a mistake of whoever wrote it.
        words.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if let Some(Value::Object(properties)) = words.get_mut("properties") {
        properties.values_mut().for_each(translate);
    }
    if let Some(items) = words.get_mut("items") {
        translate(items);
    }
}

/// The API server drops a null where the schema does not speak of it; where it does, nothing is meant.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// What is wrong with a value whose schema is this.
fn message(schema: &Value, error: &ValidationError<'_>) -> String {
    let value = error.instance();
    let form = schema["pattern"].as_str().unwrap_or_default();
    match error.kind() {
        ValidationErrorKind::Type { .. } => {
            format!("expected {}, found {}", a(&schema["type"]), found(value))
        }
        ValidationErrorKind::Enum { options } => {
            let allowed = options.as_array().into_iter().flatten();
            let allowed = allowed.filter_map(Value::as_str);
            let allowed: Vec<_> = allowed.map(|name| format!("`{name}`")).collect();
            format!("expected {}, found {}", one_of(&allowed), found(value))
        }
        // A port is a number or a text.
        ValidationErrorKind::Minimum { .. } | ValidationErrorKind::Maximum { .. }
            if !form.is_empty() =>
        {
            format!("is {value}; expected {}", pattern::meaning(form))
        }
        ValidationErrorKind::Minimum { limit } => {
            format!("is {value}; the least is {}", number(limit))
        }
        ValidationErrorKind::Maximum { limit } => {
            format!("is {value}; the most is {}", number(limit))
        }
        ValidationErrorKind::MinLength { .. } if value.as_str() == Some("") => {
            "must not be empty".to_owned()
        }
        ValidationErrorKind::MinLength { limit } => {
            format!("has {} characters; the least is {limit}", length(value))
        }
        ValidationErrorKind::MaxLength { limit } => {
            format!("has {} characters; the most is {limit}", length(value))
        }
        ValidationErrorKind::MinItems { limit } => {
            format!("has {} items; the least is {limit}", length(value))
        }
        ValidationErrorKind::MaxItems { limit } => {
            format!("has {} items; the most is {limit}", length(value))
        }
        ValidationErrorKind::Pattern { pattern } => {
            let text = value.as_str().unwrap_or_default();
            format!("is `{text}`; expected {}", pattern::meaning(pattern))
        }
        _ => error.to_string(),
    }
}

/// `spec.route.rules[0]`, as people write it.
fn path_of(error: &ValidationError<'_>) -> String {
    let mut path = String::new();
    for segment in error.instance_path() {
        path = match segment {
            LocationSegment::Property(name) => join(&path, &name),
            LocationSegment::Index(place) => format!("{path}[{place}]"),
        };
    }
    path
}

fn join(path: &str, field: &str) -> String {
    match path.is_empty() {
        true => field.to_owned(),
        false => format!("{path}.{field}"),
    }
}

/// A type of the schema, with its article.
fn a(type_name: &Value) -> &'static str {
    match type_name.as_str() {
        Some("string") => "a text",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        Some("array") => "a list",
        Some(_) => "a mapping",
        None => "a number or a name",
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::String(text) if text.chars().count() > 40 => "a text".to_owned(),
        Value::String(text) => format!("`{text}`"),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
    }
}

fn one_of(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [name] => name.clone(),
        [names @ .., last] => format!("{} or {last}", names.join(", ")),
    }
}

/// A bound: schemas have whole numbers as `1.0`, too.
fn number(limit: &Value) -> String {
    limit.as_f64().unwrap_or(f64::NAN).to_string()
}

/// How many characters or items there are.
fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn violations(spec: Value) -> Vec<String> {
        let object = json!({
            "apiVersion": "ferrix.com/v1", "kind": "IngressRoute",
            "metadata": { "name": "a" }, "spec": spec,
        });
        let violations = INGRESSROUTE.check(&object);
        violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_the_path_and_what_was_expected() {
        let service = json!({ "name": "a", "port": 80 });
        let spec = |rule: Value| json!({ "route": { "rules": [rule] } });
        assert_eq!(violations(spec(json!({ "service": service }))), [""; 0]);
        for (spec, expected) in [
            (json!({}), "spec.route: is missing"),
            (json!({ "route": {} }), "spec.route.rules: is missing"),
            (
                json!({ "route": [] }),
                "spec.route: expected a mapping, found a list",
            ),
            (
                json!({ "route": { "rules": [] } }),
                "spec.route.rules: has 0 items; the least is 1",
            ),
            (
                spec(json!({ "match": "x", "service": service })),
                "spec.route.rules[0].match: unknown field, expected `dryRun`, `filters`, `matches`, \
                 `priority`, `retry`, `service`, `services`, `timeouts` or `without`",
            ),
            (
                spec(json!({ "service": { "name": "a", "port": true } })),
                "spec.route.rules[0].service.port: expected a number or a name, found `true`",
            ),
            (
                spec(json!({ "service": { "name": "a", "port": "65536" } })),
                "spec.route.rules[0].service.port: is `65536`; expected a port number from 1 to \
                 65535, or a port name",
            ),
            (
                spec(json!({ "service": { "name": "a", "port": 65536 } })),
                "spec.route.rules[0].service.port: is 65536; expected a port number from 1 to \
                 65535, or a port name",
            ),
            (
                spec(json!({ "service": { "name": "a", "port": null } })),
                "spec.route.rules[0].service.port: is missing",
            ),
            (
                spec(json!({ "service": { "name": "My_Api", "port": 80 } })),
                "spec.route.rules[0].service.name: is `My_Api`; expected a-z, 0-9, `-` and `.`, \
                 with a letter or digit at both ends",
            ),
            (
                spec(json!({ "service": { "name": "", "port": 80 } })),
                "spec.route.rules[0].service.name: must not be empty",
            ),
            (
                spec(json!({ "service": { "name": "a", "port": 80, "scheme": "ftp" } })),
                "spec.route.rules[0].service.scheme: expected `http`, `https` or `h2c`, \
                 found `ftp`",
            ),
            (
                spec(json!({ "services": [{ "name": "a", "port": 80, "weight": -1 }] })),
                "spec.route.rules[0].services[0].weight: is -1; the least is 0",
            ),
            (
                spec(json!({ "priority": "high", "service": service })),
                "spec.route.rules[0].priority: expected a whole number, found `high`",
            ),
        ] {
            assert_eq!(violations(spec.clone()), [expected], "{spec}");
        }
    }
}
