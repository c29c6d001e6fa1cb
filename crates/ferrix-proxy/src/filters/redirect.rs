//! Redirects: answers with another place to go to.

use std::{borrow::Cow, net::IpAddr};

use ferrix_http1::{RequestHead, ResponseHead};
use ferrix_table::filters::redirect::{Redirect, RedirectHost, RedirectScheme};
use http::StatusCode;

use super::{Arrival, host_of, path_change};
use crate::failure::Failure;

/// The answer to a request. `None`: it goes on, as a redirect that is conditional leads nowhere else.
///
/// # Errors
/// [`Failure::BadRequest`]: the request names no host, or its path has no other.
pub(super) fn answer(
    redirect: &Redirect,
    request: &RequestHead,
    arrival: &Arrival,
) -> Result<Option<ResponseHead>, Failure> {
    let asked = host_of(request)?;
    if asked.is_empty() {
        return Err(Failure::BadRequest("missing Host".into()));
    }
    let secure = match redirect.scheme {
        Some(scheme) => scheme == RedirectScheme::Https,
        None => arrival.secure,
    };
    let host = match &redirect.host {
        Some(change) => changed_host(change, &asked),
        None => Cow::Borrowed(&*asked),
    };
    let target = match &redirect.path {
        Some(change) => path_change::changed(change, request.target(), &arrival.paths)?,
        None => String::from_utf8_lossy(request.target()),
    };
    // Ports do not count: how clients know that of the listener is not always known.
    let same = secure == arrival.secure && host == asked && target.as_bytes() == request.target();
    if same && redirect.is_conditional() {
        return Ok(None);
    }
    let port = port(redirect, secure, arrival);
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.into_owned(),
    };
    // `*` is no path.
    let target = if target.starts_with('/') {
        &*target
    } else {
        "/"
    };
    let scheme = if secure { "https" } else { "http" };
    let location = format!("{scheme}://{host}{port}{target}");
    let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::FOUND);
    let mut answer = ResponseHead::new(status);
    answer.fields.append("Location", location.as_bytes());
    Ok(Some(answer))
}

/// The host is made of the host alone: no part of a path can become one.
fn changed_host<'h>(change: &'h RedirectHost, asked: &'h str) -> Cow<'h, str> {
    let without = asked.strip_prefix("www.");
    match change {
        RedirectHost::To(host) => Cow::Borrowed(host),
        RedirectHost::WithWww => match without.is_some() || is_address(asked) {
            true => Cow::Borrowed(asked),
            false => Cow::Owned(format!("www.{asked}")),
        },
        // `www.com` is a host like any other.
        RedirectHost::WithoutWww => {
            Cow::Borrowed(without.filter(|rest| rest.contains('.')).unwrap_or(asked))
        }
    }
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// As it stands in a URL: nothing where it is the scheme's.
fn port(redirect: &Redirect, secure: bool, arrival: &Arrival) -> String {
    let default = if secure { 443 } else { 80 };
    // A scheme brings its port with it; without one the client stays on the listener's.
    let port = match (redirect.port, redirect.scheme) {
        (Some(port), _) => port,
        (None, Some(_)) => default,
        (None, None) => arrival.port,
    };
    match port == default {
        true => String::new(),
        false => format!(":{port}"),
    }
}

#[cfg(test)]
mod tests {
    use ferrix_rule::Substitution;
    use ferrix_table::{
        filters::path_change::PathChange,
        path::{self, PathOptions},
    };
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
        let answer = answer(redirect, &head, &arrival).unwrap().unwrap();
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
            host: Some(RedirectHost::To("other.test".into())),
            path: Some(PathChange::Full("/x".into())),
            ..to(None, None)
        };
        assert_eq!(location_of(&full, false, 80), "http://other.test/x?c=d");
        let address = Redirect {
            host: Some(RedirectHost::To("2001:db8::1".into())),
            ..to(TO_HTTPS, None)
        };
        assert_eq!(
            location_of(&address, false, 80),
            "https://[2001:db8::1]/a/b?c=d"
        );
    }

    /// What a redirect makes of a GET for a URL on the default port of its scheme.
    fn conditional(redirect: &Redirect, url: &str) -> Result<Option<String>, Failure> {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (host, path) = rest.split_once('/').unwrap();
        let target = format!("/{path}");
        let target = path::canonical(&target, &PathOptions::default()).unwrap();
        let target = target.path_and_query.as_bytes();
        let mut head = RequestHead::new(Method::GET, target, Version::HTTP_11);
        head.fields.append("Host", host.as_bytes());
        let secure = scheme == "https";
        let arrival = Arrival {
            secure,
            port: if secure { 443 } else { 80 },
            paths: PathOptions::default(),
        };
        let answer = answer(redirect, &head, &arrival)?;
        Ok(answer.map(|it| {
            let location = it.fields.get("location").unwrap().to_vec();
            String::from_utf8(location).unwrap()
        }))
    }

    fn regex(pattern: &str, template: &str, scheme: Option<RedirectScheme>) -> Redirect {
        let regex = Substitution::new(pattern, template).unwrap();
        Redirect {
            path: Some(PathChange::Regex(Box::new(regex))),
            ..to(scheme, None)
        }
    }

    #[test]
    fn what_leads_nowhere_else_goes_on() {
        let host = |host, scheme| Redirect {
            host: Some(host),
            ..to(scheme, None)
        };
        let with = |scheme| host(RedirectHost::WithWww, scheme);
        let without = || host(RedirectHost::WithoutWww, None);
        let cases = [
            (
                with(None),
                "http://a.test/b?c",
                Some("http://www.a.test/b?c"),
            ),
            (with(None), "http://www.a.test/b?c", None),
            (with(None), "https://A.test/", Some("https://www.a.test/")),
            (with(None), "http://192.0.2.1/", None),
            (with(None), "http://[2001:db8::1]/", None),
            (
                with(TO_HTTPS),
                "http://a.test/",
                Some("https://www.a.test/"),
            ),
            (
                with(TO_HTTPS),
                "http://www.a.test/",
                Some("https://www.a.test/"),
            ),
            (with(TO_HTTPS), "https://www.a.test/", None),
            (without(), "http://www.a.test/", Some("http://a.test/")),
            (without(), "http://a.test/", None),
            (without(), "http://www.test/", None),
            (
                regex("^/old/([0-9]+)$", "/new/$1", None),
                "http://a.test/old/7?x=/old/8",
                Some("http://a.test/new/7?x=/old/8"),
            ),
            (
                regex("^/old/([0-9]+)$", "/new/$1", None),
                "http://a.test/old/x",
                None,
            ),
            (
                regex("^/old", "/new", TO_HTTPS),
                "http://a.test/other",
                Some("https://a.test/other"),
            ),
        ];
        for (redirect, url, expected) in &cases {
            let location = conditional(redirect, url).unwrap();
            assert_eq!(location.as_deref(), *expected, "{redirect:?} {url}");
        }
        assert_eq!(cases.len(), 14);
    }

    #[test]
    fn no_part_of_a_path_becomes_a_host() {
        let cases = [
            ("^/go/(.*)$", "/$1", "/go/%2F%2Fevil.test", None),
            ("^/go/(.*)$", "/$1", "/go/%5C%5Cevil.test", None),
            ("^/go/(.*)$", "$1", "/go/evil.test", None),
            ("^/go(/.*)$", "$1", "/go//evil.test", Some("/evil.test")),
            ("^/go/(.*)$", "/$1", "/go/@evil.test", Some("/@evil.test")),
            (
                "^/go/(.*)$",
                "/$1",
                "/go/http://evil.test",
                Some("/http:/evil.test"),
            ),
        ];
        for (pattern, template, path, expected) in cases {
            let location = conditional(
                &regex(pattern, template, None),
                &format!("http://a.test{path}"),
            );
            let expected = expected.map(|path| format!("http://a.test{path}"));
            assert_eq!(location.ok().flatten(), expected, "{pattern} {path}");
        }
        assert_eq!(cases.len(), 6);
    }
}
