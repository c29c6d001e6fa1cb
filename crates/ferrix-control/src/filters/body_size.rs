//! Limits of bodies, as they are written.

use bytesize::ByteSize;
use ferrix_api::ingressroute::filter;
use ferrix_table::filters::body_size::BodySize;

use super::Faults;
use crate::report::Reason;

pub(super) fn compile(written: &filter::BodySize, field: &str, faults: &mut Faults) -> BodySize {
    let max = written
        .max
        .parse()
        .map_or(0, |size: ByteSize| size.as_u64());
    if max == 0 {
        let message = format!(
            "`{}` is no size; expected such as `10MB` or `512KiB`, and not 0",
            written.max
        );
        faults.add(Reason::InvalidSpec, format!("{field}.max"), message);
    }
    BodySize { max }
}
