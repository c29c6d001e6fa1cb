//! Fields that a rule adds to the access log.

use std::sync::{Arc, OnceLock};

use ferrix_http1::{Fields, RequestHead, ResponseHead};
use ferrix_table::filters::access_log::AccessLog;

use crate::access_log::MoreFields;

/// As much of a value is kept, in bytes.
const LONGEST: usize = 1024;

/// What is to be added to the line of one request.
pub(crate) struct Logged {
    filter: Arc<AccessLog>,
    request: Vec<(Box<str>, String)>,
    response: OnceLock<Vec<(Box<str>, String)>>,
}

impl Logged {
    /// Takes the fields of a request. `None`: none is asked for.
    pub(crate) fn of(filter: &Arc<AccessLog>, head: &RequestHead) -> Option<Self> {
        let AccessLog::With { request, .. } = &**filter else {
            return None;
        };
        Some(Self {
            filter: Arc::clone(filter),
            request: taken(request, &head.fields),
            response: OnceLock::new(),
        })
    }

    /// Takes the fields of the response. Of several, the first counts.
    pub(crate) fn respond(&self, head: &ResponseHead) {
        if let AccessLog::With { response, .. } = &*self.filter {
            self.response.get_or_init(|| taken(response, &head.fields));
        }
    }

    pub(crate) fn into_fields(self) -> MoreFields {
        MoreFields {
            request: self.request,
            response: self.response.into_inner().unwrap_or_default(),
        }
    }
}

/// The fields of these names that there are; several lines of one are joined (RFC 9110, section 5.3).
fn taken(names: &[Box<str>], fields: &Fields) -> Vec<(Box<str>, String)> {
    let mut taken = Vec::new();
    for name in names {
        let values: Vec<_> = fields.get_all(name).map(String::from_utf8_lossy).collect();
        if !values.is_empty() {
            let mut value = values.join(", ");
            value.truncate(value.floor_char_boundary(LONGEST));
            taken.push((name.clone(), value));
        }
    }
    taken
}
