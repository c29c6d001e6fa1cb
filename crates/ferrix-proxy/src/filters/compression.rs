//! Which responses are compressed, how, and what their header section says then (RFC 9110, sections 8.4,
//! 8.8.3 and 12.5.3).

use std::borrow::Cow;

use ferrix_http1::{Fields, RequestHead, ResponseHead, tokens};
use ferrix_table::filters::compression::{Compression, ContentEncoding};
use http::StatusCode;

/// What compression has to know of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// What the client likes best. `None`: the body as it is.
    encoding: Option<ContentEncoding>,
    /// Whether the client has a response whose tag may have been made weak here.
    has_weak_tag: bool,
}

impl Asked {
    pub(super) fn of(compression: &Compression, head: &RequestHead) -> Self {
        let mut tags = head.fields.get_all("if-none-match");
        Self {
            encoding: negotiate(&compression.encodings, &head.fields),
            has_weak_tag: tags.any(|tags| tags.windows(2).any(|it| it == b"W/")),
        }
    }
}

/// Gives conditions on tags the form that the backend knows: a tag that was made weak here would match
/// nothing in `If-Match`, which compares strongly (RFC 9110, section 13.1.1). `If-None-Match` does not.
pub(super) fn on_request(head: &mut RequestHead) {
    let conditions = head.fields.get_all("if-match");
    if let Cow::Owned(strong) = strong(&conditions.collect::<Vec<_>>().join(&b", "[..])) {
        head.fields.set("If-Match", &strong);
    }
}

/// A list of tags without the sign of weak ones.
fn strong(tags: &[u8]) -> Cow<'_, [u8]> {
    let mut strong = Vec::with_capacity(tags.len());
    let mut quoted = false;
    let mut rest = tags;
    while let [byte, after @ ..] = rest {
        match (quoted, after) {
            (false, [b'/', tag @ ..]) if *byte == b'W' => rest = tag,
            _ => {
                quoted ^= *byte == b'"';
                strong.push(*byte);
                rest = after;
            }
        }
    }
    match strong.len() == tags.len() {
        true => Cow::Borrowed(tags),
        false => Cow::Owned(strong),
    }
}

/// Decides whether the body of a response is compressed, and lets its header section say so. `length`:
/// that of the body, where it is known; to HEAD, of the body that GET would have had.
pub(super) fn on_response(
    compression: &Compression,
    asked: Asked,
    head: &mut ResponseHead,
    length: Option<u64>,
) -> Option<ContentEncoding> {
    if head.status == StatusCode::NOT_MODIFIED {
        // It has the tag of the response that it stands for.
        if asked.has_weak_tag && weaken_tag(&mut head.fields) {
            vary(&mut head.fields);
        }
        return None;
    }
    if !may_be_compressed(compression, head, length) {
        return None;
    }
    // Also where this client gets the body as it is.
    vary(&mut head.fields);
    let encoding = asked.encoding?;
    let fields = &mut head.fields;
    for name in OF_PLAIN_BODY {
        fields.remove(name);
    }
    weaken_tag(fields);
    fields.append("Content-Encoding", encoding.name().as_bytes());
    Some(encoding)
}

/// Fields that are wrong of a body that is compressed: its length, its parts and its digests (RFC 9110,
/// sections 8.6 and 14.3; RFC 9530).
const OF_PLAIN_BODY: [&str; 6] = [
    "content-length",
    "accept-ranges",
    "content-digest",
    "repr-digest",
    "digest",
    "content-md5",
];

/// Whether some client might get the response compressed.
fn may_be_compressed(compression: &Compression, head: &ResponseHead, length: Option<u64>) -> bool {
    let fields = &head.fields;
    let long = length.is_none_or(|length| length > 0 && length >= compression.min_bytes.into());
    long && !matches!(head.status.as_u16(), 100..=199 | 204..=206 | 304)
        && !fields.contains("content-encoding")
        && !fields.contains("content-range")
        && fields
            .get("content-type")
            .is_some_and(|content_type| compression.takes(content_type))
        && !is_fixed(fields)
}

/// Whether nobody on the way may change the body (RFC 9111, section 5.2.2.6).
fn is_fixed(fields: &Fields) -> bool {
    let mut directives = fields.get_all("cache-control").flat_map(tokens);
    directives.any(|it| it.eq_ignore_ascii_case(b"no-transform"))
}

/// Tells caches that the response depends on what the client takes.
fn vary(fields: &mut Fields) {
    let is_said = |name: &[u8]| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding");
    if !fields.get_all("vary").flat_map(tokens).any(is_said) {
        fields.append("Vary", b"Accept-Encoding");
    }
}

/// Bytes that are not the same have no strong tag in common (RFC 9110, section 8.8.3.3). Returns whether
/// there was one.
fn weaken_tag(fields: &mut Fields) -> bool {
    match fields.get("etag") {
        Some(tag) if tag.starts_with(b"\"") => {
            let weak = [b"W/", tag].concat();
            fields.set("ETag", &weak);
            true
        }
        _ => false,
    }
}

/// What a client likes best of `offered`; of several equally good ones, the first. `None`: the body as it
/// is, also where that is not liked: there is nothing better.
///
/// A client that says nothing may take anything (RFC 9110, section 12.5.3). Those that say nothing take
/// nothing.
fn negotiate(offered: &[ContentEncoding], fields: &Fields) -> Option<ContentEncoding> {
    let mut lines = fields.get_all("accept-encoding").peekable();
    lines.peek()?;
    let weights = Weights::of(lines.flat_map(tokens));
    let mut best: Option<(ContentEncoding, u16)> = None;
    for encoding in offered {
        let weight = weights.coding(*encoding);
        if weight > best.map_or(0, |(_, most)| most) {
            best = Some((*encoding, weight));
        }
    }
    let (encoding, weight) = best?;
    (weight >= weights.identity).then_some(encoding)
}

/// How much a client likes each encoding, in thousandths; 0: not at all.
#[derive(Default)]
struct Weights {
    zstd: Option<u16>,
    brotli: Option<u16>,
    gzip: Option<u16>,
    /// Of those that are not named.
    others: u16,
    /// Of the body as it is. It may be taken without being named, but then anything else is better.
    identity: u16,
}

impl Weights {
    fn of<'f>(elements: impl Iterator<Item = &'f [u8]>) -> Self {
        let mut weights = Self::default();
        for element in elements {
            let (name, weight) = weighted(element);
            let name = name.to_ascii_lowercase();
            match &*name {
                b"zstd" => weights.zstd = Some(weight),
                b"br" => weights.brotli = Some(weight),
                // RFC 9110, section 8.4.1.3.
                b"gzip" | b"x-gzip" => weights.gzip = Some(weight),
                b"identity" => weights.identity = weight,
                b"*" => weights.others = weight,
                _ => {}
            }
        }
        weights
    }

    fn coding(&self, encoding: ContentEncoding) -> u16 {
        let named = match encoding {
            ContentEncoding::Zstd => self.zstd,
            ContentEncoding::Brotli => self.brotli,
            ContentEncoding::Gzip => self.gzip,
        };
        named.unwrap_or(self.others)
    }
}

/// A name and its weight in thousandths (RFC 9110, section 12.4.2). One that is malformed is 0.
fn weighted(element: &[u8]) -> (&[u8], u16) {
    let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let weight = match parts.next() {
        None => Some(1000),
        Some([b'q' | b'Q', b'=', value @ ..]) => thousandths(value),
        Some(_) => None,
    };
    (name, weight.unwrap_or(0))
}

fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = decimals.iter().chain([&b'0'; 3]).take(3);
    let decimals = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let weight = u16::from(whole - b'0') * 1000 + decimals;
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests;
