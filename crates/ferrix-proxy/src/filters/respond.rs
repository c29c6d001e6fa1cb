//! Answers that a rule gives itself.

use std::sync::Arc;

use bytes::Bytes;
use ferrix_http1::ResponseHead;
use ferrix_table::filters::respond::Respond;
use http::StatusCode;

/// The answer to a request. Its body is not copied.
pub(crate) fn answer(respond: &Respond) -> (ResponseHead, Bytes) {
    let status = StatusCode::from_u16(respond.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut head = ResponseHead::new(status);
    for field in &respond.fields {
        head.fields.append(&field.name, field.value.as_bytes());
    }
    (head, Bytes::from_owner(Arc::clone(&respond.body)))
}
