//! Caches, as they are written.

use std::time::Duration;

use bytesize::ByteSize;
use ferrix_api::ingressroute::filter;
use ferrix_table::filters::{
    cache::{Cache, CacheTerms},
    lasting::{FilterId, Lasting},
};

use super::{Faults, policy};
use crate::report::Reason;

const MAX_BYTES: ByteSize = ByteSize::mib(64);

const MAX_OBJECT_BYTES: ByteSize = ByteSize::mib(1);

/// `purge`: what the object says at [`PURGE`].
pub(super) fn compile(
    written: &filter::Cache,
    field: &str,
    id: FilterId,
    purge: Option<&str>,
    faults: &mut Faults,
) -> Cache {
    let mut size = |text: &Option<String>, name: &str, absent: ByteSize| match text {
        None => absent.as_u64(),
        Some(text) => size(text, &format!("{field}.{name}"), faults),
    };
    let max_bytes = size(&written.max_bytes, "maxBytes", MAX_BYTES);
    let max_object_bytes = size(
        &written.max_object_bytes,
        "maxObjectBytes",
        MAX_OBJECT_BYTES,
    );
    if max_object_bytes > max_bytes {
        let message = "is more than `maxBytes` have room for";
        faults.add(
            Reason::InvalidSpec,
            format!("{field}.maxObjectBytes"),
            message,
        );
    }
    let mut duration = |text: &Option<String>, name: &str| {
        let text = text.as_deref();
        let read = text.and_then(|it| policy::duration(it, &format!("{field}.{name}"), faults));
        read.unwrap_or(Duration::ZERO)
    };
    let terms = CacheTerms {
        max_object_bytes,
        default_ttl: duration(&written.default_ttl, "defaultTtl"),
        stale_while_revalidate: duration(&written.stale_while_revalidate, "staleWhileRevalidate"),
        stale_if_error: duration(&written.stale_if_error, "staleIfError"),
    };
    let names = written.key_headers.iter().flatten();
    Cache {
        max_bytes,
        terms,
        key_headers: names.map(|it| it.to_ascii_lowercase().into()).collect(),
        purge: purge.map(Into::into),
        state: Lasting::new(id),
    }
}

fn size(text: &str, field: &str, faults: &mut Faults) -> u64 {
    let bytes = text.parse().map_or(0, |size: ByteSize| size.as_u64());
    if bytes == 0 {
        let message =
            format!("`{text}` is no size; expected such as `64MiB` or `512KiB`, and not 0");
        faults.add(Reason::InvalidSpec, field, message);
    }
    bytes
}
