//! Credentials in requests, and the fields that tell services whose they are.

use std::borrow::Cow;

use ferrix_http1::{Fields, RequestHead};
use ferrix_table::filters::api_key::CredentialPlace;
use http::HeaderMap;

use crate::session::cookies;

/// What a request has in the place of credentials.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'h> {
    Nothing,
    One(Cow<'h, [u8]>),
    /// Of which nobody knows the one that counts.
    Several,
}

/// Looks for credentials.
pub(crate) fn find<'h>(place: &'h CredentialPlace, head: &'h RequestHead) -> Found<'h> {
    match place {
        CredentialPlace::Header(name) => {
            let values = head.fields.get_all(name);
            Found::only(values.map(Cow::Borrowed))
        }
        CredentialPlace::Cookie(name) => {
            let values = cookies(&head.fields, name);
            Found::only(values.map(Cow::Borrowed))
        }
        CredentialPlace::Query(name) => {
            let values = parameters(head.target()).filter(|(it, _)| decoded(it) == name.as_bytes());
            Found::only(values.map(|(_, value)| decoded(value)))
        }
    }
}

impl<'h> Found<'h> {
    fn only(mut values: impl Iterator<Item = Cow<'h, [u8]>>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Self::Nothing,
            (Some(value), None) => Self::One(value),
            _ => Self::Several,
        }
    }
}

/// Takes credentials out of a request.
pub(crate) fn take_out(place: &CredentialPlace, head: &mut RequestHead) {
    match place {
        CredentialPlace::Header(name) => head.fields.remove(name),
        CredentialPlace::Cookie(name) => {
            take_out_cookies(&mut head.fields, |it| it == name.as_bytes());
        }
        CredentialPlace::Query(name) => {
            if let Some(target) = without_parameter(head.target(), name) {
                head.set_target(&target);
            }
        }
    }
}

/// A target without a parameter; `None`: it has none of that name.
pub(crate) fn without_parameter(target: &[u8], name: &str) -> Option<Vec<u8>> {
    let is_it = |(it, _): &(&[u8], &[u8])| decoded(it) == name.as_bytes();
    if !parameters(target).any(|it| is_it(&it)) {
        return None;
    }
    let path = target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default();
    let query = &target[path.len() + 1..];
    let kept = query
        .split(|byte| *byte == b'&')
        .filter(|pair| !is_it(&split(pair)));
    let kept: Vec<_> = kept.collect();
    Some(match kept.is_empty() {
        true => path.to_vec(),
        false => [path, &kept.join(&b'&')].join(&b'?'),
    })
}

/// The parameters of the query of a target, as they are written.
pub(crate) fn parameters(target: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let query = target.iter().position(|byte| *byte == b'?');
    let query = query.map_or(&[][..], |place| &target[place + 1..]);
    query.split(|byte| *byte == b'&').map(split)
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(place) => (&pair[..place], &pair[place + 1..]),
        None => (pair, &[]),
    }
}

/// A name or a value as forms write it (`application/x-www-form-urlencoded`).
pub(crate) fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        plain.push(match (byte, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                rest = &after[2..];
                (high * 16 + low) as u8
            }
            (b'+', ..) => b' ',
            _ => *byte,
        });
    }
    Cow::Owned(plain)
}

/// Takes the cookies of some names out of a request.
pub(crate) fn take_out_cookies(fields: &mut Fields, is_out: impl Fn(&[u8]) -> bool) {
    if !cookie_names(fields).any(&is_out) {
        return;
    }
    let kept = cookie_pairs(fields).filter(|pair| {
        let (name, _) = split(pair);
        !pair.is_empty() && !is_out(name)
    });
    let kept = kept.collect::<Vec<_>>().join(&b"; "[..]);
    match kept.is_empty() {
        true => fields.remove("cookie"),
        false => fields.set("Cookie", &kept),
    }
}

/// The names of all cookies of a request.
pub(crate) fn cookie_names(fields: &Fields) -> impl Iterator<Item = &[u8]> {
    cookie_pairs(fields).map(|pair| split(pair).0)
}

fn cookie_pairs(fields: &Fields) -> impl Iterator<Item = &[u8]> {
    let values = fields.get_all("cookie");
    let pairs = values.flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii)
}

/// Takes out what a client says of a field that only filters may say.
pub(crate) fn take_out_identity(name: &str, fields: &mut Fields) {
    fields.retain(|it, _| !is_spelling(it, name));
}

/// The same of trailers, which some backends put among the fields.
pub(crate) fn without_identity<'n>(
    names: impl Iterator<Item = &'n str>,
    mut trailers: HeaderMap,
) -> HeaderMap {
    for name in names {
        let spellings = trailers
            .keys()
            .filter(|it| is_spelling(it.as_str().as_bytes(), name));
        for spelling in spellings.cloned().collect::<Vec<_>>() {
            trailers.remove(spelling);
        }
    }
    trailers
}

/// Whether a backend may read one name as the other: as CGI does, which takes all but letters and digits for
/// one character, or one that leaves it away at the ends.
fn is_spelling(field: &[u8], name: &str) -> bool {
    let plain = |byte: &u8| match byte.is_ascii_alphanumeric() {
        true => byte.to_ascii_lowercase(),
        false => b'-',
    };
    let inner = |text: &'_ [u8]| -> (usize, usize) {
        let first = text.iter().position(u8::is_ascii_alphanumeric);
        let last = text.iter().rposition(u8::is_ascii_alphanumeric);
        (first.unwrap_or_default(), last.map_or(0, |last| last + 1))
    };
    let ((start, end), (first, last)) = (inner(field), inner(name.as_bytes()));
    let name = name.as_bytes()[first..last].iter().map(plain);
    field[start..end].iter().map(plain).eq(name)
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::*;

    fn head(target: &str, fields: &[(&'static str, &str)]) -> RequestHead {
        let mut head = RequestHead::new(Method::GET, target.as_bytes(), Version::HTTP_11);
        for (name, value) in fields {
            head.fields.append(name, value.as_bytes());
        }
        head
    }

    #[test]
    fn credentials_are_found_and_taken_out() {
        let header = || CredentialPlace::Header("X-Api-Key".into());
        let query = || CredentialPlace::Query("key".into());
        let cookie = || CredentialPlace::Cookie("key".into());
        let one = |value: &'static str| Found::One(Cow::Borrowed(value.as_bytes()));
        let cases = [
            (header(), "/", vec![("x-api-key", "k")], one("k"), "/", ""),
            (header(), "/", vec![], Found::Nothing, "/", ""),
            (
                header(),
                "/",
                vec![("X-Api-Key", "k"), ("x-api-key", "k")],
                Found::Several,
                "/",
                "",
            ),
            (query(), "/a?key=k", vec![], one("k"), "/a", ""),
            (query(), "/a?b&key=k&c=d", vec![], one("k"), "/a?b&c=d", ""),
            (query(), "/a?k%65y=%6b+%2B", vec![], one("k +"), "/a", ""),
            (query(), "/a?key", vec![], one(""), "/a", ""),
            (
                query(),
                "/a?keys=k&KEY=k",
                vec![],
                Found::Nothing,
                "/a?keys=k&KEY=k",
                "",
            ),
            (query(), "/key=k", vec![], Found::Nothing, "/key=k", ""),
            (
                query(),
                "/?key=a&b&key=c",
                vec![],
                Found::Several,
                "/?b",
                "",
            ),
            (
                cookie(),
                "/",
                vec![("Cookie", "a=b; key=k; c=d")],
                one("k"),
                "/",
                "a=b; c=d",
            ),
            (
                cookie(),
                "/",
                vec![("Cookie", "key=\"k\"")],
                one("k"),
                "/",
                "",
            ),
            (
                cookie(),
                "/",
                vec![("Cookie", "key=a;key=b;c")],
                Found::Several,
                "/",
                "c",
            ),
            (
                cookie(),
                "/",
                vec![("Cookie", "keys=a")],
                Found::Nothing,
                "/",
                "keys=a",
            ),
        ];
        let mut ran = 0;
        for (place, target, fields, expected, kept, cookie) in cases {
            let mut head = head(target, &fields);
            assert_eq!(
                find(&place, &head),
                expected,
                "{place} of {target} {fields:?}"
            );
            take_out(&place, &mut head);
            assert_eq!(head.target(), kept.as_bytes(), "{target}");
            assert!(!head.fields.contains("x-api-key"));
            assert_eq!(
                head.fields.get("cookie").unwrap_or_default(),
                cookie.as_bytes()
            );
            assert_eq!(find(&place, &head), Found::Nothing);
            ran += 1;
        }
        assert_eq!(ran, 14);
    }

    #[test]
    fn identities_are_taken_out_in_every_spelling() {
        let spellings = ["X-User", "x-user", "X_User", "x.user", "-X-User", "X-User_"];
        let others = ["X-Users", "XUser", "X--User", "User"];
        for (names, stays) in [(&spellings[..], false), (&others[..], true)] {
            for name in names {
                let mut head = head("/", &[(*name, "admin")]);
                take_out_identity("X-User", &mut head.fields);
                assert_eq!(!head.fields.is_empty(), stays, "{name}");
                let mut trailers = HeaderMap::new();
                let key: http::HeaderName = name.parse().unwrap();
                trailers.append(key, "admin".parse().unwrap());
                let left = without_identity(["X-User"].into_iter(), trailers);
                assert_eq!(!left.is_empty(), stays, "{name}");
            }
        }
    }
}
