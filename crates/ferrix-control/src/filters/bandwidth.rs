//! Limits of bandwidth, as they are written.

use bytesize::ByteSize;
use ferrix_api::ingressroute::filter;
use ferrix_table::filters::{
    bandwidth::{Bandwidth, ByteRate, LEAST},
    lasting::{FilterId, Lasting},
};

use super::{Faults, limit_key};
use crate::report::Reason;

pub(super) fn compile(
    written: &filter::Bandwidth,
    field: &str,
    id: FilterId,
    faults: &mut Faults,
) -> Bandwidth {
    let filter::Bandwidth {
        request,
        response,
        by,
    } = written;
    if request.is_none() && response.is_none() {
        let message = "expected `request`, `response` or both";
        faults.add(Reason::InvalidSpec, field, message);
    }
    let mut rate = |written: &Option<filter::ByteRate>, name: &str| {
        let written = written.as_ref()?;
        Some(rate(written, &format!("{field}.{name}"), faults))
    };
    let (request, response) = (rate(request, "request"), rate(response, "response"));
    let by = by.as_ref();
    Bandwidth {
        request,
        response,
        by: by.map(|by| limit_key::compile(Some(by), field, faults)),
        state: Lasting::new(of_rates(id, request, response)),
    }
}

fn rate(written: &filter::ByteRate, field: &str, faults: &mut Faults) -> ByteRate {
    let mut size = |text: &str, name: &str| {
        let size: Result<ByteSize, _> = text.parse();
        let size = size.map(|it| it.as_u64()).ok();
        if size.is_none() {
            let message = format!("`{text}` is no size; expected such as `1MB` or `512KiB`");
            faults.add(Reason::InvalidSpec, format!("{field}.{name}"), message);
        }
        size
    };
    let burst = written.burst.as_deref();
    let burst = burst.and_then(|text| size(text, "burst")).unwrap_or(0);
    let bytes_per_second = size(&written.bytes_per_second, "bytesPerSecond");
    if bytes_per_second.is_some_and(|it| it < LEAST) {
        let message = "expected at least `1KB`";
        let field = format!("{field}.bytesPerSecond");
        faults.add(Reason::InvalidSpec, field, message);
    }
    ByteRate::new(bytes_per_second.unwrap_or(LEAST), burst)
}

/// What passes is counted by the time that it takes: at another rate it is counted anew.
fn of_rates(id: FilterId, request: Option<ByteRate>, response: Option<ByteRate>) -> FilterId {
    let number = |rate: Option<ByteRate>| rate.map_or(0, |it| it.bytes_per_second);
    let rates = format!("{}, {}", number(request), number(response));
    FilterId {
        place: format!("{} of {rates}", id.place).into(),
        ..id
    }
}
