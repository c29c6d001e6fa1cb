//! What the API server checks before it stores an object, for manifests that never meet one.
//!
//! Reads the same structural schema that the CRD holds, so that a folder of files and a cluster
//! refuse the same manifests. Only the keywords that our schema uses are known. The CEL rules of
//! the CRD, and what a parser judges with a reason, are checked again, for every source, where objects
//! are compiled.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::{Filter, IngressRoute, crd, pattern};

/// Where a value breaks the schema, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Violation {
    /// Such as `spec.route.rules[0].service.port`; empty for the object itself.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// What became of a field that was at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// Another value is there, which fits the schema.
    Replaced,
    /// Only what was missing in its value has come to it.
    Completed,
    /// The field is gone, as the schema does not know it.
    Removed,
}

/// What the API server is told to check of a kind of ours.
#[derive(Debug)]
pub struct KindSchema(LazyLock<Value>);

/// That of an IngressRoute.
pub static INGRESSROUTE: KindSchema = KindSchema(LazyLock::new(crd::schema::<IngressRoute>));

/// That of a Filter.
pub static FILTER: KindSchema = KindSchema(LazyLock::new(crd::schema::<Filter>));

impl KindSchema {
    /// Checks an object: types, bounds, required fields, and unknown fields. `metadata` is not looked at.
    /// Violations come in the schema's order.
    pub fn check(&self, object: &Value) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            for checked_elsewhere in ["apiVersion", "kind", "metadata", "status"] {
                fields.remove(checked_elsewhere);
            }
        }
        check(&self.0, &object, "", &mut violations);
        violations
    }

    /// Changes a field of an object, by the path of a [`Violation`] or of what holds a missing field, so
    /// that its type and its bounds are those of the schema, and whatever else is wrong can be found.
    /// Lists that are too long stay as they are.
    pub fn mend(&self, object: &mut Value, path: &str) -> Mended {
        let steps = path.split(['.', '[', ']']);
        let steps: Vec<_> = steps.filter(|step| !step.is_empty()).collect();
        mend(&self.0, object, &steps)
    }
}

fn mend(schema: &Value, value: &mut Value, steps: &[&str]) -> Mended {
    let Some((step, below)) = steps.split_first() else {
        return fit(schema, value);
    };
    match value {
        Value::Object(fields) => {
            let Some(schema) = schema["properties"].get(step) else {
                fields.remove(*step);
                return Mended::Removed;
            };
            match fields.get_mut(*step).filter(|value| !value.is_null()) {
                Some(value) => mend(schema, value, below),
                None => {
                    fields.insert((*step).to_owned(), least(schema));
                    Mended::Replaced
                }
            }
        }
        Value::Array(items) => {
            let item = step.parse().ok();
            match item.and_then(|place: usize| items.get_mut(place)) {
                Some(item) => mend(&schema["items"], item, below),
                None => Mended::Removed,
            }
        }
        _ => fit(schema, value),
    }
}

/// Makes a value fit: the first of the fields that a mapping lacks comes to it, or another value takes its
/// place.
fn fit(schema: &Value, value: &mut Value) -> Mended {
    match value {
        Value::Object(fields) if schema["type"] == "object" => {
            let first = missing(schema, fields).next();
            if let Some(name) = first {
                fields.insert(name.to_owned(), least(&schema["properties"][name]));
            }
            Mended::Completed
        }
        Value::Array(items) if schema["type"] == "array" && !items.is_empty() => Mended::Completed,
        _ => {
            *value = least(schema);
            Mended::Replaced
        }
    }
}

/// The least value that fits.
fn least(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    if let Some(least) = schema["minimum"].as_f64() {
        // Every number of our schema is a whole one.
        return Value::from(least.ceil() as i64);
    }
    match schema["type"].as_str() {
        // It has every form that a text has to have here.
        Some("string") => Value::from("a"),
        Some("integer" | "number") => Value::from(0),
        Some("boolean") => Value::Bool(false),
        Some("array") => Value::Array(vec![least(&schema["items"])]),
        Some("object") => {
            let fields = required(schema).map(|name| {
                let least = least(&schema["properties"][name]);
                (name.to_owned(), least)
            });
            Value::Object(fields.collect())
        }
        _ => Value::Null,
    }
}

/// The fields that have to be there and are not, in the schema's order. The API server drops a null where
/// the schema does not speak of it.
fn missing<'s>(schema: &'s Value, fields: &Map<String, Value>) -> impl Iterator<Item = &'s str> {
    required(schema).filter(|name| fields.get(*name).is_none_or(Value::is_null))
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    let required = schema["required"].as_array().into_iter().flatten();
    required.filter_map(Value::as_str)
}

/// What is parsed where objects are compiled: there the user learns more than that it does not fit.
const PARSED: [&str; 2] = [pattern::HOST, pattern::SERVER_NAME];

fn check(schema: &Value, value: &Value, path: &str, violations: &mut Vec<Violation>) {
    let mut refuse = |message: String| {
        violations.push(Violation {
            path: path.to_owned(),
            message,
        });
    };
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if schema["x-kubernetes-int-or-string"] == true {
        let port = match value {
            Value::Number(number) => number.is_i64() || number.is_u64(),
            Value::String(_) => true,
            _ => false,
        };
        if !port {
            refuse(format!(
                "expected a number or a name, found {}",
                found(value)
            ));
        }
        if let Some(text) = value.as_str()
            && let Some(problem) = unfit(schema, text)
        {
            refuse(problem);
        }
        if let Some(number) = value.as_f64()
            && outside(schema, "minimum", "maximum", number).is_some()
            && let Some(form) = schema["pattern"].as_str()
        {
            refuse(format!("is {value}; expected {}", pattern::meaning(form)));
        }
        return;
    }
    if let Some(expected) = schema["type"].as_str()
        && !has_type(value, expected)
    {
        refuse(format!("expected {}, found {}", a(expected), found(value)));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let allowed: Vec<_> = allowed
            .iter()
            .filter_map(Value::as_str)
            .map(|name| format!("`{name}`"))
            .collect();
        refuse(format!(
            "expected {}, found {}",
            one_of(&allowed),
            found(value)
        ));
        return;
    }
    match value {
        Value::String(text) => {
            let length = text.chars().count() as u64;
            if let Some(problem) = outside(schema, "minLength", "maxLength", length as f64) {
                refuse(match text.is_empty() {
                    true => "must not be empty".to_owned(),
                    false => format!("has {length} characters; {problem}"),
                });
            } else if let Some(problem) = unfit(schema, text) {
                refuse(problem);
            }
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            if let Some(problem) = outside(schema, "minimum", "maximum", number) {
                refuse(format!("is {number}; {problem}"));
            }
        }
        Value::Array(items) => {
            let count = items.len();
            if let Some(problem) = outside(schema, "minItems", "maxItems", count as f64) {
                refuse(format!("has {count} items; {problem}"));
            }
            for (place, item) in items.iter().enumerate() {
                check(
                    &schema["items"],
                    item,
                    &format!("{path}[{place}]"),
                    violations,
                );
            }
        }
        Value::Object(fields) => check_fields(schema, fields, path, violations),
        Value::Null | Value::Bool(_) => {}
    }
}

fn check_fields(
    schema: &Value,
    fields: &Map<String, Value>,
    path: &str,
    violations: &mut Vec<Violation>,
) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    violations.extend(missing(schema, fields).map(|name| Violation {
        path: join(path, name),
        message: "is missing".to_owned(),
    }));
    for (name, value) in fields {
        let Some(schema) = properties.get(name) else {
            let known: Vec<_> = properties.keys().map(|name| format!("`{name}`")).collect();
            violations.push(Violation {
                path: join(path, name),
                message: format!("unknown field, expected {}", one_of(&known)),
            });
            continue;
        };
        if !value.is_null() {
            check(schema, value, &join(path, name), violations);
        }
    }
}

fn has_type(value: &Value, expected: &str) -> bool {
    match expected {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

fn a(type_name: &str) -> &'static str {
    match type_name {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "a mapping",
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

fn outside(schema: &Value, minimum: &str, maximum: &str, value: f64) -> Option<String> {
    let minimum = schema[minimum].as_f64().filter(|minimum| value < *minimum);
    let maximum = schema[maximum].as_f64().filter(|maximum| value > *maximum);
    minimum
        .map(|minimum| format!("the least is {minimum}"))
        .or_else(|| maximum.map(|maximum| format!("the most is {maximum}")))
}

/// How a text misses the form that it has to have.
fn unfit(schema: &Value, text: &str) -> Option<String> {
    let form = schema["pattern"].as_str()?;
    let misses = !PARSED.contains(&form) && !pattern::fits(form, text);
    misses.then(|| format!("is `{text}`; expected {}", pattern::meaning(form)))
}

fn join(path: &str, field: &str) -> String {
    match path.is_empty() {
        true => field.to_owned(),
        false => format!("{path}.{field}"),
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
                "spec.route.rules[0].match: unknown field, expected `filters`, `matches`, \
                 `priority`, `retry`, `service`, `services` or `timeouts`",
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
    /// Each violation is mended alone, and one after the other all are; what is right stays.
    #[test]
    fn what_is_mended_breaks_the_schema_no_more() {
        let service = json!({ "name": "a", "port": 80 });
        let spec = |rule: Value| json!({ "spec": { "route": { "host": "h", "rules": [rule] } } });
        let good = spec(json!({ "service": service }));
        let mut cases = 0;
        for (object, expected) in [
            (json!({}), Some(Mended::Replaced)),
            (json!({ "spec": 1 }), Some(Mended::Replaced)),
            (json!({ "spec": null }), Some(Mended::Replaced)),
            (json!({ "spec": {} }), Some(Mended::Replaced)),
            (json!({ "spec": { "route": [] } }), Some(Mended::Replaced)),
            (
                json!({ "spec": { "route": { "rules": [] } } }),
                Some(Mended::Replaced),
            ),
            (
                json!({ "spec": { "route": { "rules": [1] } } }),
                Some(Mended::Replaced),
            ),
            (spec(json!({ "services": [] })), Some(Mended::Replaced)),
            (spec(json!({ "services": 1 })), Some(Mended::Replaced)),
            (spec(json!({ "service": [] })), Some(Mended::Replaced)),
            (spec(json!({ "service": {} })), Some(Mended::Replaced)),
            (
                spec(json!({ "service": { "name": "a" } })),
                Some(Mended::Replaced),
            ),
            (
                spec(json!({ "service": { "name": "a", "port": 0 } })),
                Some(Mended::Replaced),
            ),
            (
                spec(json!({ "service": { "name": "a", "port": "A" } })),
                Some(Mended::Replaced),
            ),
            (
                spec(json!({ "service": { "name": "A", "port": 1 } })),
                Some(Mended::Replaced),
            ),
            (
                spec(json!({ "service": { "name": "a", "port": 1, "scheme": "x" } })),
                Some(Mended::Replaced),
            ),
            (
                spec(json!({ "service": { "name": "a", "port": 1, "weight": -1 } })),
                Some(Mended::Replaced),
            ),
            (
                spec(json!({ "service": service, "priority": "x" })),
                Some(Mended::Replaced),
            ),
            (
                spec(json!({ "service": service, "match": "x" })),
                Some(Mended::Removed),
            ),
            (good.clone(), None),
        ] {
            let mut mended = object.clone();
            for violation in INGRESSROUTE.check(&object) {
                let path = &violation.path;
                assert_eq!(
                    Some(INGRESSROUTE.mend(&mut mended, path)),
                    expected,
                    "{object}"
                );
                let left = INGRESSROUTE.check(&mended);
                assert!(left.iter().all(|it| it.path != *path), "{left:?}");
            }
            assert_eq!(INGRESSROUTE.check(&mended), [], "{object}");
            assert_eq!(object == mended, expected.is_none(), "{object}");
            cases += 1;
        }
        assert_eq!(cases, 20);
        // By what holds a missing field, as those know it who read it.
        let mut holder = spec(json!({ "service": { "port": 80 } }));
        let mended = INGRESSROUTE.mend(&mut holder, "spec.route.rules[0].service");
        assert_eq!((mended, holder), (Mended::Completed, good));
        // Whoever has too many rules is told what is wrong with them.
        let mut many = json!({ "spec": { "route": { "rules": vec![json!({}); 257] } } });
        let before = many.clone();
        assert_eq!(
            INGRESSROUTE.mend(&mut many, "spec.route.rules"),
            Mended::Completed
        );
        assert_eq!(many, before);
    }
}
