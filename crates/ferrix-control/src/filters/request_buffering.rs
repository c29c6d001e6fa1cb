//! Bodies that are read before requests go on, as it is written.

use bytesize::ByteSize;
use ferrix_api::ingressroute::filter;
use ferrix_table::filters::request_buffering::RequestBuffering;

use super::Faults;
use crate::report::Reason;

/// The longest body, unless it is said.
const MAX: u64 = 10 << 20;

/// What is kept in memory, unless it is said.
const MEMORY: u64 = 64 << 10;

/// No more of one body is kept in memory.
const MOST_IN_MEMORY: u64 = 16 << 20;

pub(super) fn compile(
    written: &filter::RequestBuffering,
    field: &str,
    faults: &mut Faults,
) -> RequestBuffering {
    let mut size = |text: &Option<String>, name: &str, default: u64| {
        let Some(text) = text else {
            return default;
        };
        let size: Result<ByteSize, _> = text.parse();
        size.map(|it| it.as_u64()).unwrap_or_else(|_| {
            let message = format!("`{text}` is no size; expected such as `10MB` or `512KiB`");
            faults.add(Reason::InvalidSpec, format!("{field}.{name}"), message);
            default
        })
    };
    let max_bytes = size(&written.max_bytes, "maxBytes", MAX);
    let memory_bytes = size(&written.memory_bytes, "memoryBytes", MEMORY);
    if max_bytes == 0 {
        let message = "expected more than 0";
        faults.add(Reason::InvalidSpec, format!("{field}.maxBytes"), message);
    }
    if memory_bytes > MOST_IN_MEMORY {
        let message = "expected at most 16MiB: every request may take as much";
        faults.add(Reason::InvalidSpec, format!("{field}.memoryBytes"), message);
    }
    RequestBuffering {
        max_bytes,
        memory_bytes,
    }
}
