//! A document of a kind of our own, whose schema we know.

use ferrix_api::schema::{KindSchema, Mended};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    document::{self, Fault, Read, Reading, Repaired, Strictness},
    rare::Rare,
    report::Finding,
};

/// Reads a document. Where it is no good object, all that is wrong with it by itself is said: what breaks
/// the schema, and the `faults` that come to light when it is compiled.
pub(crate) fn decode<T: DeserializeOwned>(
    value: &Value,
    strictness: Strictness,
    schema: &KindSchema,
    faults: impl FnOnce(&T) -> Rare<Finding>,
) -> Result<Read<T>, Vec<Fault>> {
    let repair = |value: &mut Value, field: &str| repair(schema, value, field);
    let mut reading = Reading::new(value, &repair);
    if strictness == Strictness::File {
        for violation in schema.check(value) {
            reading.refuse(Fault {
                field: violation.path,
                message: violation.message,
            });
        }
    }
    let object = reading.rest_of_known(strictness);
    reading.end(object, faults)
}

/// Of what the schema does not speak of, nothing has to be there.
fn repair(schema: &KindSchema, value: &mut Value, field: &str) -> Repaired {
    let in_schema = field == "spec" || field.starts_with("spec.");
    match in_schema.then(|| schema.mend(value, field)) {
        None => document::take_out(value, field),
        Some(Mended::Replaced) => Repaired::Replaced,
        Some(Mended::Completed | Mended::Removed) => Repaired::Kept,
    }
}
