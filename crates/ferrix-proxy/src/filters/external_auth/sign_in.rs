//! Where browsers sign in, as ingress-nginx sends them there (`auth-signin`).

use std::fmt::Write as _;

use bytes::Bytes;
use ferrix_http1::{RequestHead, ResponseHead};
use http::{Method, StatusCode};

use super::Verdict;
use crate::filters::origin::Origin;

/// What is said instead of a 401 to whoever opens a page: where to sign in, and where to come back to. Others
/// could not send their bodies again, and whoever names no host could not come back. `secure`: whether the request
/// came over TLS.
pub(super) fn instead(url: &str, verdict: Verdict, secure: bool, head: &RequestHead) -> Verdict {
    let is_asked = matches!(head.method, Method::GET | Method::HEAD);
    match &verdict {
        Verdict::Refused(answer, _) if answer.status == StatusCode::UNAUTHORIZED && is_asked => {}
        _ => return verdict,
    }
    let Ok(origin) = Origin::of(head, secure) else {
        return verdict;
    };
    let mut answer = ResponseHead::new(StatusCode::FOUND);
    let location = location(url, &origin, head.target());
    answer.fields.append("Location", location.as_bytes());
    answer.fields.append("Cache-Control", b"no-store");
    // A login that is under way may have a cookie to tell.
    if let Verdict::Refused(refusal, _) = &verdict {
        for cookie in refusal.fields.get_all("set-cookie") {
            answer.fields.append("Set-Cookie", cookie);
        }
    }
    Verdict::Refused(answer, Bytes::new())
}

/// The URL to sign in at, with that of the request as it came to the filter.
fn location(url: &str, origin: &Origin, target: &[u8]) -> String {
    let join = if url.contains('?') { '&' } else { '?' };
    let mut location = format!("{url}{join}rd=");
    for byte in origin.as_bytes().iter().chain(target) {
        match byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            true => location.push(char::from(*byte)),
            false => _ = write!(location, "%{byte:02X}"),
        }
    }
    location
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    #[test]
    fn who_opens_a_page_is_sent_to_sign_in() {
        let url = "https://sign-in.test/start";
        let back = "rd=https%3A%2F%2Fa.test%3A8443%2Fb%3Fc%3Dd%26e%0D";
        let cases = [
            (Method::GET, 401, url, Some(format!("{url}?{back}"))),
            (Method::HEAD, 401, url, Some(format!("{url}?{back}"))),
            (
                Method::GET,
                401,
                "https://s.test/?a=b",
                Some(format!("https://s.test/?a=b&{back}")),
            ),
            (Method::POST, 401, url, None),
            (Method::GET, 403, url, None),
            (Method::GET, 302, url, None),
        ];
        let request = |method: &Method| {
            let mut head = RequestHead::new(method.clone(), b"/b?c=d&e\r", Version::HTTP_11);
            head.fields.append("Host", b"a.test:8443");
            head
        };
        for (method, status, url, expected) in &cases {
            let mut refusal = ResponseHead::new(StatusCode::from_u16(*status).unwrap());
            refusal.fields.append("Set-Cookie", b"state=1");
            refusal.fields.append("WWW-Authenticate", b"Basic");
            let verdict = Verdict::Refused(refusal, "who?".into());
            let Verdict::Refused(answer, body) = instead(url, verdict, true, &request(method))
            else {
                panic!("{method} {status}")
            };
            match expected {
                Some(location) => {
                    assert_eq!(answer.status, 302);
                    assert_eq!(answer.fields.get("location"), Some(location.as_bytes()));
                    assert_eq!(answer.fields.get("set-cookie"), Some(&b"state=1"[..]));
                    assert!(body.is_empty() && !answer.fields.contains("www-authenticate"));
                }
                None => assert_eq!((answer.status.as_u16(), &body[..]), (*status, &b"who?"[..])),
            }
        }
        assert_eq!(cases.len(), 6);
        let passed = instead(url, Verdict::Passed, false, &request(&Method::GET));
        assert!(matches!(passed, Verdict::Passed));
    }

    /// Behind a proxy that is trusted and ends TLS, too.
    #[test]
    fn who_comes_back_comes_by_the_scheme_and_the_host_of_the_page() {
        let cases = [
            (
                Some("a.test"),
                Some("https"),
                Some("rd=https%3A%2F%2Fa.test%2F"),
            ),
            (
                Some("a.test"),
                Some("http"),
                Some("rd=http%3A%2F%2Fa.test%2F"),
            ),
            (Some("a.test"), None, Some("rd=http%3A%2F%2Fa.test%2F")),
            (None, None, None),
        ];
        for (host, scheme, expected) in cases {
            let mut head = RequestHead::new(Method::GET, b"/", Version::HTTP_11);
            for (name, value) in [("Host", host), ("X-Forwarded-Proto", scheme)] {
                if let Some(value) = value {
                    head.fields.append(name, value.as_bytes());
                }
            }
            let refusal = ResponseHead::new(StatusCode::UNAUTHORIZED);
            let verdict = Verdict::Refused(refusal, Bytes::new());
            let Verdict::Refused(answer, _) = instead("https://s.test/", verdict, false, &head)
            else {
                panic!("{host:?} {scheme:?}")
            };
            let location = expected.map(|back| format!("https://s.test/?{back}"));
            let found = answer.fields.get("location");
            assert_eq!(found, location.as_deref().map(str::as_bytes));
        }
        assert_eq!(cases.len(), 4);
    }
}
