//! Where browsers sign in, as ingress-nginx sends them there (`auth-signin`).

use std::fmt::Write as _;

use bytes::Bytes;
use ferrix_http1::{RequestHead, ResponseHead};
use http::{Method, StatusCode};

use super::{Asker, Verdict};

/// What is said instead of a 401 to whoever opens a page: where to sign in, and where to come back to. Others
/// could not send their bodies again.
pub(super) fn instead(url: &str, verdict: Verdict, asker: Asker, head: &RequestHead) -> Verdict {
    let is_asked = matches!(head.method, Method::GET | Method::HEAD);
    match &verdict {
        Verdict::Refused(answer, _) if answer.status == StatusCode::UNAUTHORIZED && is_asked => {}
        _ => return verdict,
    }
    let mut answer = ResponseHead::new(StatusCode::FOUND);
    let location = location(url, asker.secure, head);
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
fn location(url: &str, secure: bool, head: &RequestHead) -> String {
    let join = if url.contains('?') { '&' } else { '?' };
    let scheme = if secure { "https" } else { "http" };
    let mut location = format!("{url}{join}rd={scheme}%3A%2F%2F");
    let host = head.fields.get("host").unwrap_or_default();
    for byte in host.iter().chain(head.target()) {
        match byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            true => location.push(char::from(*byte)),
            false => _ = write!(location, "%{byte:02X}"),
        }
    }
    location
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

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
        for (method, status, url, expected) in &cases {
            let mut head = RequestHead::new(method.clone(), b"/b?c=d&e\r", Version::HTTP_11);
            head.fields.append("Host", b"a.test:8443");
            let mut refusal = ResponseHead::new(StatusCode::from_u16(*status).unwrap());
            refusal.fields.append("Set-Cookie", b"state=1");
            refusal.fields.append("WWW-Authenticate", b"Basic");
            let client: SocketAddr = "192.0.2.1:1".parse().unwrap();
            let asker = Asker {
                client: client.into(),
                secure: true,
            };
            let verdict = Verdict::Refused(refusal, "who?".into());
            let Verdict::Refused(answer, body) = instead(url, verdict, asker, &head) else {
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
        let head = RequestHead::new(Method::GET, b"/", Version::HTTP_11);
        assert!(matches!(
            instead(
                url,
                Verdict::Passed,
                Asker {
                    client: SocketAddr::from(([192, 0, 2, 1], 1)).into(),
                    secure: false
                },
                &head
            ),
            Verdict::Passed
        ));
    }
}
