//! The forms that texts of a route have, as regular expressions for the schema.
//!
//! Go and Rust read them alike. None refuses what Ferrix takes. Those of names refuse what no object
//! and no entry point can be called.

/// A host, after `*.` or not, or an IPv6 address in brackets: no scheme, no port, no path.
pub const HOST: &str = r"^((\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\])$";

/// A host name or an IP address, as a certificate has it.
pub const SERVER_NAME: &str = r"^([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|[0-9A-Fa-f:.]+)$";

/// An entry point of the settings.
pub const ENTRY_POINT: &str = r"^[A-Za-z0-9_-]+$";

/// A namespace: a DNS label (RFC 1123).
pub const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// An object: a DNS subdomain (RFC 1123).
pub const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// An object of the own namespace, or of another: `NAME`, or `NAMESPACE/NAME`.
pub const OBJECT_NAME: &str = concat!(
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?",
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
);

/// A port as a text: a number from 1 to 65535, or a DNS label that is not all digits.
pub const PORT: &str = concat!(
    r"^(0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])",
    r"|[0-9]*[a-z]([-a-z0-9]*[a-z0-9])?|[0-9]+-[-a-z0-9]*[a-z0-9])$",
);

/// A name of a header field, or of a method: a token (RFC 9110, section 5.6.2).
pub const TOKEN: &str = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

/// A duration of the Gateway API (GEP-2257).
pub const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Media types (RFC 9110, section 8.3.1): one, all of a kind (`text/*`), or all with a suffix (`+json`).
pub const MEDIA_RANGE: &str =
    r"^([A-Za-z0-9!#$&^_.+-]+/([A-Za-z0-9!#$&^_.+-]+|\*)|\+[A-Za-z0-9]+)$";

/// A size as the settings have it: a number, with a unit or without.
pub const SIZE: &str = r"^[0-9]+(\.[0-9]+)? ?([kKmMgGtT]i?)?[bB]?$";

/// A status of a failure, or a range of them.
pub const STATUS_RANGE: &str = "^[45][0-9]{2}(-[45][0-9]{2})?$";

/// A URL of HTTP without user and fragment.
pub const HTTP_URL: &str = r"^https?://[^/?#@\s]+([/?][^#\s]*)?$";
/// The URL of an issuer of tokens (OpenID Connect Core 1.0, section 1.2).
pub const ISSUER: &str = r"^https?://[^/?#@ ]+(/[^?# ]*)?$";

/// What each of them stands for, in words.
const MEANINGS: [(&str, &str); 14] = [
    (HOST, "a host such as `example.com` or `*.example.com`"),
    (SERVER_NAME, "a host name"),
    (ENTRY_POINT, "letters, digits, `-` and `_`"),
    (
        LABEL,
        "a-z, 0-9 and `-`, with a letter or digit at both ends",
    ),
    (
        SUBDOMAIN,
        "a-z, 0-9, `-` and `.`, with a letter or digit at both ends",
    ),
    (OBJECT_NAME, "`NAME` or `NAMESPACE/NAME`"),
    (PORT, "a port number from 1 to 65535, or a port name"),
    (TOKEN, "a name of letters, digits and `-`"),
    (DURATION, "a duration such as `10s`, `1m30s` or `250ms`"),
    (
        MEDIA_RANGE,
        "a media type such as `text/html`, `text/*` or `+json`",
    ),
    (SIZE, "a size such as `10MB` or `512KiB`"),
    (
        STATUS_RANGE,
        "a status from 400 to 599, or a range such as `500-599`",
    ),
    (HTTP_URL, "a URL such as `https://id.example.com/jwks.json`"),
    (ISSUER, "a URL such as `https://id.example.com`"),
];

/// What a text of this form is, in words.
pub(crate) fn meaning(pattern: &str) -> &'static str {
    let known = MEANINGS.into_iter().find(|(it, _)| *it == pattern);
    known.map_or("another form", |(_, meaning)| meaning)
}
