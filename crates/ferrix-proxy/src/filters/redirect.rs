//! Redirects: answers with another place to go to.

use ferrix_http1::{RequestHead, ResponseHead};
use ferrix_table::filters::redirect::{Redirect, RedirectScheme};
use http::StatusCode;

use super::{Arrival, host_of, path_change};
use crate::failure::Failure;

/// The answer to a request.
///
/// # Errors
/// [`Failure::BadRequest`]: the request names no host, or its path has no other.
pub(super) fn answer(
    redirect: &Redirect,
    request: &RequestHead,
    arrival: &Arrival,
) -> Result<ResponseHead, Failure> {
    let location = location(redirect, request, arrival)?;
    let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::FOUND);
    let mut answer = ResponseHead::new(status);
    answer.fields.append("Location", location.as_bytes());
    Ok(answer)
}

fn location(
    redirect: &Redirect,
    request: &RequestHead,
    arrival: &Arrival,
) -> Result<String, Failure> {
    let (scheme, default_port) = match redirect.scheme {
        Some(RedirectScheme::Http) => ("http", 80),
        Some(RedirectScheme::Https) => ("https", 443),
        None if arrival.secure => ("https", 443),
        None => ("http", 80),
    };
    // A scheme brings its port with it; without one the client stays on the listener's.
    let port = match (redirect.port, redirect.scheme) {
        (Some(port), _) => port,
        (None, Some(_)) => default_port,
        (None, None) => arrival.port,
    };
    let host = match &redirect.host {
        Some(host) => host.to_string(),
        None => host_of(request)?,
    };
    if host.is_empty() {
        return Err(Failure::BadRequest("missing Host".into()));
    }
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host,
    };
    let port = match port == default_port {
        true => String::new(),
        false => format!(":{port}"),
    };
    let target = match &redirect.path {
        Some(change) => path_change::changed(change, request.target(), &arrival.paths)?,
        None => String::from_utf8_lossy(request.target()),
    };
    // `*` is no path.
    let target = if target.starts_with('/') {
        &*target
    } else {
        "/"
    };
    Ok(format!("{scheme}://{host}{port}{target}"))
}

#[cfg(test)]
mod tests {
    use ferrix_table::{filters::path_change::PathChange, path::PathOptions};
    use http::{Method, Version};

    use super::*;

    const TO_HTTPS: Option<RedirectScheme> = Some(RedirectScheme::Https);
    const TO_HTTP: Option<RedirectScheme> = Some(RedirectScheme::Http);

    fn location_of(redirect: &Redirect, secure: bool, port: u16) -> String {
        let mut head = RequestHead::new(Method::GET, b"/a/b?c=d", Version::HTTP_11);
        head.fields.append("Host", b"Shop.Example.COM:8080");
        let arrival = Arrival {
            secure,
            port,
            paths: PathOptions::default(),
        };
        let answer = answer(redirect, &head, &arrival).unwrap();
        String::from_utf8(answer.fields.get("location").unwrap().to_vec()).unwrap()
    }

    fn to(scheme: Option<RedirectScheme>, port: Option<u16>) -> Redirect {
        Redirect {
            scheme,
            host: None,
            port,
            path: None,
            status: 301,
        }
    }

    /// The rules of `HTTPRequestRedirectFilter.port`.
    #[test]
    fn ports() {
        let host = "shop.example.com";
        let cases = [
            (to(None, None), false, 80, format!("http://{host}")),
            (to(None, None), false, 8080, format!("http://{host}:8080")),
            (to(None, None), true, 443, format!("https://{host}")),
            (to(None, None), true, 8443, format!("https://{host}:8443")),
            (to(None, None), true, 80, format!("https://{host}:80")),
            (to(TO_HTTPS, None), false, 8080, format!("https://{host}")),
            (to(TO_HTTP, None), true, 8443, format!("http://{host}")),
            (
                to(TO_HTTPS, Some(443)),
                false,
                80,
                format!("https://{host}"),
            ),
            (
                to(TO_HTTPS, Some(80)),
                false,
                80,
                format!("https://{host}:80"),
            ),
            (to(TO_HTTP, Some(80)), true, 443, format!("http://{host}")),
            (to(None, Some(80)), false, 8080, format!("http://{host}")),
            (
                to(None, Some(8083)),
                false,
                80,
                format!("http://{host}:8083"),
            ),
        ];
        for (redirect, secure, port, expected) in &cases {
            let location = location_of(redirect, *secure, *port);
            assert_eq!(
                location,
                format!("{expected}/a/b?c=d"),
                "{redirect:?} {secure} {port}"
            );
        }
        assert_eq!(cases.len(), 12);
    }

    #[test]
    fn hosts_and_paths() {
        let full = Redirect {
            host: Some("other.test".into()),
            path: Some(PathChange::Full("/x".into())),
            ..to(None, None)
        };
        assert_eq!(location_of(&full, false, 80), "http://other.test/x?c=d");
        let address = Redirect {
            host: Some("2001:db8::1".into()),
            ..to(TO_HTTPS, None)
        };
        assert_eq!(
            location_of(&address, false, 80),
            "https://[2001:db8::1]/a/b?c=d"
        );
    }
}
