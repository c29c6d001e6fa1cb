//! What is put in place of a value that breaks the schema, so that whatever else is wrong can be found.

use serde_json::{Map, Value};

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

pub(super) fn mend(schema: &Value, object: &mut Value, path: &str) -> Mended {
    let steps = path.split(['.', '[', ']']);
    let steps: Vec<_> = steps.filter(|step| !step.is_empty()).collect();
    mend_at(schema, object, &steps)
}

fn mend_at(schema: &Value, value: &mut Value, steps: &[&str]) -> Mended {
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
                Some(value) => mend_at(schema, value, below),
                None => {
                    fields.insert((*step).to_owned(), least(schema));
                    Mended::Replaced
                }
            }
        }
        Value::Array(items) => {
            let item = step.parse().ok();
            match item.and_then(|place: usize| items.get_mut(place)) {
                Some(item) => mend_at(&schema["items"], item, below),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::INGRESSROUTE, *};

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
