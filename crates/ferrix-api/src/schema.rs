//! What the API server checks before it stores an object, for manifests that never meet one.
//!
//! Reads the same structural schema that the CRD holds, so that a folder of files and a cluster
//! refuse the same manifests. Only the keywords that our schema uses are known. The CEL rules of
//! the CRD, and what a parser judges with a reason, are checked again, for every source, where objects
//! are compiled.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::{crd, pattern};

/// Where a value breaks the schema, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Violation {
    /// Such as `spec.route.rules[0].service.port`; empty for the object itself.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// Checks an IngressRoute against the schema of its CRD: types, bounds, required fields, and
/// unknown fields. `metadata` is not looked at. Violations come in the schema's order.
pub fn check_ingressroute(object: &Value) -> Vec<Violation> {
    static SCHEMA: LazyLock<Value> = LazyLock::new(crd::ingressroute_schema);
    let mut violations = Vec::new();
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        for checked_elsewhere in ["apiVersion", "kind", "metadata", "status"] {
            fields.remove(checked_elsewhere);
        }
    }
    check(&SCHEMA, &object, "", &mut violations);
    violations
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
        // Numbers out of range are refused where they are read.
        if let Some(text) = value.as_str()
            && let Some(problem) = unfit(schema, text)
        {
            refuse(problem);
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
    for required in schema["required"].as_array().into_iter().flatten() {
        if let Some(required) = required.as_str()
            && !fields.contains_key(required)
        {
            violations.push(Violation {
                path: join(path, required),
                message: "is missing".to_owned(),
            });
        }
    }
    for (name, value) in fields {
        let Some(schema) = properties.get(name) else {
            let known: Vec<_> = properties.keys().map(|name| format!("`{name}`")).collect();
            violations.push(Violation {
                path: join(path, name),
                message: format!("unknown field, expected {}", one_of(&known)),
            });
            continue;
        };
        // The API server drops a null where the schema does not speak of it.
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
        let violations = check_ingressroute(&object);
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
                "spec.route.rules[0].match: unknown field, expected `matches`, `priority`, \
                 `service` or `services`",
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
