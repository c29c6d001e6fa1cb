//! Compression, as it is written.

use ferrix_api::ingressroute::filter;
use ferrix_table::filters::compression::{Compression, ContentEncoding};

use super::Faults;
use crate::report::Reason;

/// Shorter bodies are not worth the work: a packet has room for more.
const MIN_BYTES: u32 = 1024;

/// Kinds of media types of which most are compressed.
const MOSTLY_COMPRESSED: [&str; 5] = ["application/*", "audio/*", "font/*", "image/*", "video/*"];

/// Common media types whose bodies are compressed.
const COMPRESSED: [&str; 14] = [
    "application/gzip",
    "application/x-7z-compressed",
    "application/x-gzip",
    "application/zip",
    "application/zstd",
    "audio/mpeg",
    "font/woff",
    "font/woff2",
    "image/avif",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "video/mp4",
];

pub(super) fn compile(
    written: &filter::Compression,
    field: &str,
    faults: &mut Faults,
) -> Compression {
    Compression {
        encodings: match &written.encodings {
            None => ContentEncoding::ALL.into(),
            Some(encodings) => self::encodings(encodings, &format!("{field}.encodings"), faults),
        },
        min_bytes: written.min_bytes.unwrap_or(MIN_BYTES),
        content_types: content_types(
            written.content_types.as_deref().unwrap_or_default(),
            &format!("{field}.contentTypes"),
            faults,
        ),
    }
}

fn encodings(
    written: &[filter::ContentEncoding],
    field: &str,
    faults: &mut Faults,
) -> Box<[ContentEncoding]> {
    let encoding = |encoding: &filter::ContentEncoding| match encoding {
        filter::ContentEncoding::Zstd => ContentEncoding::Zstd,
        filter::ContentEncoding::Brotli => ContentEncoding::Brotli,
        filter::ContentEncoding::Gzip => ContentEncoding::Gzip,
    };
    let encodings: Box<[_]> = written.iter().map(encoding).collect();
    for (at, encoding) in encodings.iter().enumerate() {
        if encodings[..at].contains(encoding) {
            let message = format!("`{}` stands there twice", encoding.name());
            faults.add(Reason::InvalidSpec, format!("{field}[{at}]"), message);
        }
    }
    encodings
}

fn content_types(written: &[String], field: &str, faults: &mut Faults) -> Box<[Box<str>]> {
    let types: Box<[Box<str>]> = written
        .iter()
        .map(|it| it.to_ascii_lowercase().into())
        .collect();
    for (at, range) in types.iter().enumerate() {
        let message = match &**range {
            range if COMPRESSED.contains(&range) => format!("`{range}` is compressed already"),
            range if MOSTLY_COMPRESSED.contains(&range) => {
                format!("most of `{range}` is compressed already; name the types that are not")
            }
            _ => continue,
        };
        faults.add(Reason::InvalidSpec, format!("{field}[{at}]"), message);
    }
    types
}
