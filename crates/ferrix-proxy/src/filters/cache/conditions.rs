//! Conditions of requests, on what is kept (RFC 9110, section 13).

use ferrix_http1::{Fields, ResponseHead, tokens};
use http::StatusCode;

use super::freshness::date;

/// Whether a client has the response already, as far as it says so: then it is answered with 304.
pub(super) fn has_it(request: &Fields, head: &ResponseHead) -> bool {
    if head.status != StatusCode::OK {
        return false;
    }
    let fields = &head.fields;
    if request.contains("if-none-match") {
        // The date does not count beside it.
        let mut tags = request.get_all("if-none-match").flat_map(tokens);
        let own = fields.get("etag").map(opaque);
        return tags.any(|tag| tag == b"*" || own == Some(opaque(tag)));
    }
    let (since, modified) = (
        request.get("if-modified-since"),
        fields.get("last-modified"),
    );
    match (since.and_then(date), modified.and_then(date)) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// A tag for weak comparison (RFC 9110, section 8.8.3.2).
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The 304 in the place of a response: what it says of caching, and nothing of its body.
pub(super) fn not_modified(stored: &ResponseHead) -> ResponseHead {
    let mut head = ResponseHead::new(StatusCode::NOT_MODIFIED);
    for (name, value) in stored.fields.iter() {
        let of_body = name.len() > 8 && name[..8].eq_ignore_ascii_case(b"content-");
        let location = name.eq_ignore_ascii_case(b"content-location");
        if let Ok(name) = std::str::from_utf8(name)
            && (!of_body || location)
        {
            head.fields.append(name, value);
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_has_it_is_told_so() {
        let date = |second: u64| {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(second);
            httpdate::fmt_http_date(time)
        };
        let (early, late) = (date(1_000_000_000), date(1_000_000_060));
        let cases: [(&[(&str, &str)], bool); 12] = [
            (&[], false),
            (&[("If-None-Match", "\"v1\"")], true),
            (&[("If-None-Match", "W/\"v1\"")], true),
            (&[("If-None-Match", "\"v0\", \"v1\"")], true),
            (
                &[("If-None-Match", "\"v0\""), ("If-None-Match", "\"v1\"")],
                true,
            ),
            (&[("If-None-Match", "*")], true),
            (&[("If-None-Match", "\"v2\"")], false),
            (&[("If-None-Match", "v1")], false),
            (&[("If-Modified-Since", &late)], true),
            (&[("If-Modified-Since", &early)], false),
            (&[("If-Modified-Since", "yesterday")], false),
            (
                &[("If-None-Match", "\"v2\""), ("If-Modified-Since", &late)],
                false,
            ),
        ];
        let mut head = ResponseHead::new(StatusCode::OK);
        for (name, value) in [
            ("ETag", "\"v1\""),
            ("Last-Modified", &late),
            ("Content-Type", "a/b"),
        ] {
            head.fields.append(name, value.as_bytes());
        }
        for (lines, expected) in cases {
            let mut request = Fields::default();
            for (name, value) in lines {
                request.append(name, value.as_bytes());
            }
            assert_eq!(has_it(&request, &head), expected, "{lines:?}");
        }
        assert_eq!(cases.len(), 12);
        let short = not_modified(&head);
        assert_eq!(short.fields.len(), 2);
        assert!(!short.fields.contains("content-type"));
    }
}
