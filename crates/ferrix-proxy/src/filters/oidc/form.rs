//! Pairs of names and values, as queries and bodies of forms have them.

use super::super::credentials::{decoded, parameters};

/// Pairs as a query or a form (`application/x-www-form-urlencoded`).
pub(super) fn encoded(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter();
    let pairs = pairs.map(|(name, value)| format!("{name}={}", encoded_value(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A value, with whatever may mean something escaped.
pub(super) fn encoded_value(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A URL with more in its query.
pub(super) fn with_query(url: &str, pairs: &[(&str, &str)]) -> String {
    let between = match url.find('?') {
        None => "?",
        Some(place) if place + 1 == url.len() => "",
        Some(_) => "&",
    };
    format!("{url}{between}{}", encoded(pairs))
}

/// There are several values, of which nobody knows the one that counts, or one that is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// The value of a parameter of a query.
///
/// # Errors
/// [`Ambiguous`].
pub(super) fn parameter(target: &[u8], name: &str) -> Result<Option<String>, Ambiguous> {
    let mut values = parameters(target).filter(|(it, _)| *decoded(it) == *name.as_bytes());
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some((_, value)), None) => {
            let value = String::from_utf8(decoded(value).into_owned());
            value.map(Some).map_err(|_| Ambiguous)
        }
        _ => Err(Ambiguous),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_as_they_were() {
        let value = "a b&c=d+e%/?ä\u{1}~";
        let url = with_query("/callback", &[("x", "y"), ("state", value)]);
        assert_eq!(
            url,
            "/callback?x=y&state=a%20b%26c%3Dd%2Be%25%2F%3F%C3%A4%01~"
        );
        let state = parameter(url.as_bytes(), "state");
        assert_eq!(state.unwrap().as_deref(), Some(value));
        assert_eq!(parameter(url.as_bytes(), "code"), Ok(None));
        assert_eq!(parameter(b"/?code=a&code=b", "code"), Err(Ambiguous));
        assert_eq!(parameter(b"/?code=%FF", "code"), Err(Ambiguous));
        assert_eq!(
            with_query("https://a/?b=c", &[("d", "e")]),
            "https://a/?b=c&d=e"
        );
        assert_eq!(with_query("https://a/?", &[("d", "e")]), "https://a/?d=e");
    }
}
