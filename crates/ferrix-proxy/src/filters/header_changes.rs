//! Changes of header fields, of requests and of responses.

use ferrix_http1::Fields;
use ferrix_table::filters::header_changes::HeaderChanges;

/// Makes the changes. No name has two kinds of them, so that their order does not matter.
pub(super) fn apply(changes: &HeaderChanges, fields: &mut Fields) {
    for name in &changes.remove {
        fields.remove(name);
    }
    for field in &changes.set {
        fields.set(&field.name, field.value.as_bytes());
    }
    for field in &changes.add {
        fields.append(&field.name, field.value.as_bytes());
    }
}
