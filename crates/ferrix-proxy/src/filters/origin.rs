//! Where a browser believes to be: the scheme and the host that its requests have.

use ferrix_http1::RequestHead;

use crate::failure::Failure;

/// The origin of a request: `https://shop.example.com`, with the port where clients name one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) secure: bool,
    text: String,
}

impl Origin {
    /// Of a request whose forwarding headers are Ferrix's, or of proxies that it trusts. `secure`: whether it
    /// came over TLS.
    ///
    /// # Errors
    /// [`Failure::BadRequest`]: it names no host.
    pub(super) fn of(head: &RequestHead, secure: bool) -> Result<Self, Failure> {
        let missing = || Failure::BadRequest("missing Host".into());
        let host = head.fields.get("host").ok_or_else(missing)?;
        let host = std::str::from_utf8(host).map_err(|_| missing())?;
        let said = head.fields.get("x-forwarded-proto");
        let said = said.and_then(|it| it.split(|byte| *byte == b',').next());
        let secure = match said.map(<[u8]>::trim_ascii) {
            Some(scheme) if scheme.eq_ignore_ascii_case(b"https") => true,
            Some(scheme) if scheme.eq_ignore_ascii_case(b"http") => false,
            _ => secure,
        };
        let scheme = if secure { "https" } else { "http" };
        let text = format!("{scheme}://{}", host.to_ascii_lowercase());
        Ok(Self { secure, text })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The URL of a path.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::*;

    #[test]
    fn origins_are_those_that_clients_see() {
        let cases = [
            (
                Some("Shop.Example"),
                None,
                true,
                Some("https://shop.example/a"),
            ),
            (
                Some("shop.example:8080"),
                None,
                false,
                Some("http://shop.example:8080/a"),
            ),
            (
                Some("shop.example"),
                Some("https"),
                false,
                Some("https://shop.example/a"),
            ),
            (
                Some("shop.example"),
                Some("HTTPS, http"),
                false,
                Some("https://shop.example/a"),
            ),
            (
                Some("shop.example"),
                Some("http"),
                true,
                Some("http://shop.example/a"),
            ),
            (
                Some("shop.example"),
                Some("odd"),
                true,
                Some("https://shop.example/a"),
            ),
            (None, None, true, None),
        ];
        let ran = cases.len();
        for (host, said, secure, expected) in cases {
            let mut head = RequestHead::new(Method::GET, b"/", Version::HTTP_11);
            for (name, value) in [("Host", host), ("X-Forwarded-Proto", said)] {
                if let Some(value) = value {
                    head.fields.append(name, value.as_bytes());
                }
            }
            let url = Origin::of(&head, secure).ok().map(|it| it.url("/a"));
            assert_eq!(url.as_deref(), expected);
        }
        assert_eq!(ran, 7);
    }
}
