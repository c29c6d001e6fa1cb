//! Compression of responses.

use std::fmt;

/// Compresses the bodies of responses, for clients that take it (RFC 9110, section 12.5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// What there is to choose from: of several that a client likes as well, the first.
    pub encodings: Box<[ContentEncoding]>,
    /// Shorter bodies stay as they are, where their length is known.
    pub min_bytes: u32,
    /// Media types whose bodies are compressed, in lower case: `type/subtype`, `type/*`, or `+suffix` for
    /// all that end in it. Empty: [`COMPRESSED_TYPES`].
    pub content_types: Box<[Box<str>]>,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEncoding {
    /// Zstandard (RFC 8878).
    Zstd,
    /// Brotli (RFC 7932).
    Brotli,
    /// Gzip (RFC 1952).
    Gzip,
}

/// Media types that compression pays for, unless others are named.
pub const COMPRESSED_TYPES: [&str; 15] = [
    "text/*",
    "+json",
    "+xml",
    "+text",
    "application/json",
    "application/javascript",
    "application/x-javascript",
    "application/xml",
    "application/x-ndjson",
    "application/wasm",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/x-icon",
];

/// With `+proto` and the like, or `-web`, behind it.
const GRPC: &[u8] = b"application/grpc";

impl ContentEncoding {
    /// All, in the order in which they are preferred unless another is said.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Its name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

impl Compression {
    /// Whether bodies of a media type, with its parameters, are compressed. Those of gRPC never are: it has
    /// a compression of its own, for each message.
    pub fn takes(&self, content_type: &[u8]) -> bool {
        let end = content_type.iter().position(|byte| *byte == b';');
        let essence = content_type[..end.unwrap_or(content_type.len())].trim_ascii();
        if essence
            .get(..GRPC.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
        {
            return false;
        }
        match self.content_types.is_empty() {
            true => COMPRESSED_TYPES.iter().any(|range| is_in(essence, range)),
            false => self.content_types.iter().any(|range| is_in(essence, range)),
        }
    }
}

/// Whether a media type without parameters is one of a range.
fn is_in(essence: &[u8], range: &str) -> bool {
    let range = range.as_bytes();
    let part = match range {
        [b'+', ..] => essence
            .len()
            .checked_sub(range.len())
            .map(|from| &essence[from..]),
        [.., b'*'] => essence.get(..range.len() - 1),
        _ => Some(essence),
    };
    let range = range.strip_suffix(b"*").unwrap_or(range);
    part.is_some_and(|part| part.eq_ignore_ascii_case(range))
}

/// The encodings, and what is compressed.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.encodings.iter().map(|it| it.name()).collect();
        write!(f, "{}, from {} bytes on", names.join(", "), self.min_bytes)?;
        match self.content_types.is_empty() {
            true => Ok(()),
            false => write!(f, ", of {}", self.content_types.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_and_ranges() {
        let compression = |types: &[&str]| Compression {
            encodings: ContentEncoding::ALL.into(),
            min_bytes: 0,
            content_types: types.iter().map(|it| Box::from(*it)).collect(),
        };
        let cases: [(&[&str], &str, bool); 15] = [
            (&[], "text/html; charset=utf-8", true),
            (&[], "TEXT/HTML", true),
            (&[], "application/problem+json", true),
            (&[], "image/svg+xml ;x", true),
            (&[], "application/grpc", false),
            (&[], "application/grpc+json", false),
            (&[], "image/png", false),
            (&[], "font/woff2", false),
            (&[], "text", false),
            (&[], "", false),
            (&["application/x-own"], "application/x-own", true),
            (&["application/x-own"], "application/x-owner", false),
            (&["application/x-own"], "text/html", false),
            (&["application/*"], "application/json", true),
            (&["+json"], "json", false),
        ];
        for (types, content_type, expected) in cases {
            let taken = compression(types).takes(content_type.as_bytes());
            assert_eq!(taken, expected, "{types:?} {content_type}");
        }
        assert_eq!(cases.len(), 15);
    }

    #[test]
    fn what_it_does_in_words() {
        let compression = Compression {
            encodings: [ContentEncoding::Brotli, ContentEncoding::Gzip].into(),
            min_bytes: 512,
            content_types: ["text/*".into(), "+json".into()].into(),
        };
        let text = "br, gzip, from 512 bytes on, of text/*, +json";
        assert_eq!(compression.to_string(), text);
    }
}
