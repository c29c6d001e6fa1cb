//! Cross-origin resource sharing (the Fetch standard, section 3.2; Gateway API, `HTTPCORSFilter`).

use std::borrow::Cow;

use ferrix_http1::{Fields, RequestHead, ResponseHead};
use ferrix_table::filters::cors::{Cors, Listed, OriginPattern};
use http::{Method, StatusCode};

const ALLOW_ORIGIN: &str = "Access-Control-Allow-Origin";
const ALLOW_CREDENTIALS: &str = "Access-Control-Allow-Credentials";
const ALLOW_METHODS: &str = "Access-Control-Allow-Methods";
const ALLOW_HEADERS: &str = "Access-Control-Allow-Headers";
const EXPOSE_HEADERS: &str = "Access-Control-Expose-Headers";
const MAX_AGE: &str = "Access-Control-Max-Age";
const REQUEST_METHOD: &str = "Access-Control-Request-Method";
const REQUEST_HEADERS: &str = "Access-Control-Request-Headers";

/// The answer to a preflight request; `None` for any other. An origin that may not read responses gets
/// one that says nothing.
pub(super) fn preflight(cors: &Cors, head: &RequestHead) -> Option<ResponseHead> {
    let fields = &head.fields;
    let origin = fields.get("origin")?;
    let method = fields.get(REQUEST_METHOD)?;
    if head.method != Method::OPTIONS {
        return None;
    }
    let mut answer = ResponseHead::new(StatusCode::NO_CONTENT);
    let told = &mut answer.fields;
    share(cors, origin, told);
    if is_allowed(cors, origin) {
        list(ALLOW_METHODS, &cors.allow_methods, Some(method), cors, told);
        let headers = fields.get(REQUEST_HEADERS);
        list(ALLOW_HEADERS, &cors.allow_headers, headers, cors, told);
        told.append(MAX_AGE, cors.max_age.to_string().as_bytes());
    }
    for name in [REQUEST_METHOD, REQUEST_HEADERS] {
        told.append("Vary", name.as_bytes());
    }
    Some(answer)
}

/// Says on a response who may read it, in place of what the backend says.
pub(super) fn on_response(cors: &Cors, origin: Option<&[u8]>, fields: &mut Fields) {
    for name in [ALLOW_ORIGIN, ALLOW_CREDENTIALS, EXPOSE_HEADERS] {
        fields.remove(name);
    }
    match origin {
        Some(origin) => share(cors, origin, fields),
        // Caches keep it for requests that have one.
        None if !is_for_all(cors) => fields.append("Vary", b"Origin"),
        None => {}
    }
}

/// What preflight and other responses have in common.
fn share(cors: &Cors, origin: &[u8], fields: &mut Fields) {
    if !is_for_all(cors) {
        fields.append("Vary", b"Origin");
    }
    if !is_allowed(cors, origin) {
        return;
    }
    match is_for_all(cors) {
        true => fields.append(ALLOW_ORIGIN, b"*"),
        false => fields.append(ALLOW_ORIGIN, origin),
    }
    if cors.allow_credentials {
        fields.append(ALLOW_CREDENTIALS, b"true");
    }
    list(EXPOSE_HEADERS, &cors.expose_headers, None, cors, fields);
}

/// Whether every response is the same for all origins.
fn is_for_all(cors: &Cors) -> bool {
    !cors.allow_credentials && cors.allow_origins.contains(&OriginPattern::Any)
}

/// All is what was `asked` for, or `*`, which is no wildcard where there are credentials.
fn list(name: &str, listed: &Listed, asked: Option<&[u8]>, cors: &Cors, fields: &mut Fields) {
    match (listed, asked) {
        (Listed::These(names), _) if names.is_empty() => {}
        (Listed::These(names), _) => fields.append(name, names.as_bytes()),
        (Listed::All, Some(asked)) => fields.append(name, asked),
        (Listed::All, None) if cors.allow_credentials => {}
        (Listed::All, None) => fields.append(name, b"*"),
    }
}

fn is_allowed(cors: &Cors, origin: &[u8]) -> bool {
    let origin = normal(origin);
    let mut patterns = cors.allow_origins.iter();
    patterns.any(|pattern| takes(pattern, &origin))
}

/// An origin in lower case, without the default port of its scheme.
fn normal(origin: &[u8]) -> Cow<'_, str> {
    let mut origin = String::from_utf8_lossy(origin);
    if origin.bytes().any(|byte| byte.is_ascii_uppercase()) {
        origin = Cow::Owned(origin.to_ascii_lowercase());
    }
    let default = match origin.split_once("://") {
        Some(("http", _)) => ":80",
        Some(("https", _)) => ":443",
        _ => return origin,
    };
    match origin.strip_suffix(default) {
        Some(without) => Cow::Owned(without.to_owned()),
        None => origin,
    }
}

fn takes(pattern: &OriginPattern, origin: &str) -> bool {
    match pattern {
        OriginPattern::Any => true,
        OriginPattern::Exact(exact) => **exact == *origin,
        OriginPattern::Wildcard { prefix, suffix } => origin
            .strip_prefix(&**prefix)
            .and_then(|rest| rest.strip_suffix(&**suffix))
            // A port is named, or it is the scheme's.
            .is_some_and(|between| !between.is_empty() && !between.contains(['/', ':'])),
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    fn exact(origin: &str) -> OriginPattern {
        OriginPattern::Exact(origin.into())
    }

    fn wildcard(prefix: &str, suffix: &str) -> OriginPattern {
        OriginPattern::Wildcard {
            prefix: prefix.into(),
            suffix: suffix.into(),
        }
    }

    fn text(fields: &Fields, name: &str) -> Option<String> {
        let value = fields.get(name)?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn origins() {
        let sub = wildcard("https://", ".bar.com");
        let cases = [
            (exact("https://www.foo.com"), "https://www.foo.com", true),
            (exact("https://www.foo.com"), "https://WWW.foo.com", true),
            (
                exact("https://www.foo.com"),
                "https://www.foo.com:443",
                true,
            ),
            (
                exact("https://www.foo.com"),
                "https://www.foo.com:8443",
                false,
            ),
            (exact("https://www.foo.com"), "http://www.foo.com", false),
            (sub.clone(), "https://www.bar.com", true),
            (sub.clone(), "https://a.b.bar.com", true),
            (sub.clone(), "https://bar.com", false),
            (sub.clone(), "https://foobar.com", false),
            (sub.clone(), "https://.bar.com", false),
            (sub.clone(), "https://evil.com/.bar.com", false),
            (sub, "https://www.bar.com:8443", false),
            (wildcard("https://", ""), "https://any.test", true),
            (wildcard("https://", ""), "https://any.test:1", false),
            (wildcard("https://", ":8443"), "https://any.test:8443", true),
            (OriginPattern::Any, "null", true),
            // That of sandboxes and files is nobody's.
            (exact("https://www.foo.com"), "null", false),
            (wildcard("https://", ""), "null", false),
        ];
        for (pattern, origin, expected) in &cases {
            let cors = Cors {
                allow_origins: [pattern.clone()].into(),
                ..Cors::default()
            };
            let allowed = is_allowed(&cors, origin.as_bytes());
            assert_eq!(allowed, *expected, "{pattern:?} {origin}");
        }
        assert_eq!(cases.len(), 18);
    }

    /// What one origin may read is kept for no other, nor for those that have none.
    #[test]
    fn caches_are_told_where_the_origin_makes_a_difference() {
        let of = |pattern: OriginPattern, allow_credentials| Cors {
            allow_origins: [pattern].into(),
            allow_credentials,
            ..Cors::default()
        };
        let cases = [
            (of(exact("https://a.test"), false), true),
            (of(OriginPattern::Any, true), true),
            (of(OriginPattern::Any, false), false),
        ];
        let mut ran = 0;
        for (cors, expected) in &cases {
            for origin in [Some(&b"https://a.test"[..]), Some(b"https://b.test"), None] {
                let mut fields = Fields::default();
                on_response(cors, origin, &mut fields);
                let varies = text(&fields, "vary").as_deref() == Some("Origin");
                assert_eq!(varies, *expected, "{cors:?} {origin:?}");
                ran += 1;
            }
        }
        assert_eq!(ran, 9);
    }

    fn request(method: Method, fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::new(method, b"/", Version::HTTP_11);
        for (name, value) in fields {
            head.fields.append(name, value.as_bytes());
        }
        head
    }

    #[test]
    fn preflights_are_answered_and_nothing_else() {
        let cors = Cors {
            allow_origins: [exact("https://a.test")].into(),
            allow_methods: Listed::These("GET, PUT".into()),
            max_age: 5,
            ..Cors::default()
        };
        let (origin, wish) = (("Origin", "https://a.test"), (REQUEST_METHOD, "PUT"));
        assert!(preflight(&cors, &request(Method::GET, &[origin, wish])).is_none());
        assert!(preflight(&cors, &request(Method::OPTIONS, &[origin])).is_none());
        assert!(preflight(&cors, &request(Method::OPTIONS, &[wish])).is_none());
        let answer = preflight(&cors, &request(Method::OPTIONS, &[origin, wish])).unwrap();
        assert_eq!(answer.status, 204);
        let allowed = text(&answer.fields, ALLOW_ORIGIN);
        assert_eq!(allowed.as_deref(), Some("https://a.test"));
        assert_eq!(
            text(&answer.fields, ALLOW_METHODS).as_deref(),
            Some("GET, PUT")
        );
        assert_eq!(text(&answer.fields, MAX_AGE).as_deref(), Some("5"));
        let other = request(Method::OPTIONS, &[("Origin", "https://b.test"), wish]);
        let answer = preflight(&cors, &other).unwrap();
        let names: Vec<_> = answer.fields.iter().map(|(name, _)| name).collect();
        assert!(names.iter().all(|name| *name == b"Vary"), "{names:?}");
    }

    #[test]
    fn wildcards_give_way_to_what_is_asked_where_there_are_credentials() {
        let all = |allow_credentials| Cors {
            allow_origins: [OriginPattern::Any].into(),
            allow_methods: Listed::All,
            allow_headers: Listed::All,
            expose_headers: Listed::All,
            allow_credentials,
            max_age: 5,
        };
        let asked = request(
            Method::OPTIONS,
            &[("Origin", "https://a.test"), (REQUEST_METHOD, "PUT")],
        );
        let open = preflight(&all(false), &asked).unwrap().fields;
        assert_eq!(text(&open, ALLOW_ORIGIN).as_deref(), Some("*"));
        assert_eq!(text(&open, ALLOW_HEADERS).as_deref(), Some("*"));
        assert_eq!(text(&open, EXPOSE_HEADERS).as_deref(), Some("*"));
        assert!(!open.contains(ALLOW_CREDENTIALS));
        let closed = preflight(&all(true), &asked).unwrap().fields;
        assert_eq!(
            text(&closed, ALLOW_ORIGIN).as_deref(),
            Some("https://a.test")
        );
        assert_eq!(text(&closed, ALLOW_METHODS).as_deref(), Some("PUT"));
        assert!(!closed.contains(ALLOW_HEADERS) && !closed.contains(EXPOSE_HEADERS));
        assert_eq!(text(&closed, ALLOW_CREDENTIALS).as_deref(), Some("true"));
    }

    #[test]
    fn what_a_backend_says_gives_way() {
        let cors = Cors {
            allow_origins: [exact("https://a.test")].into(),
            ..Cors::default()
        };
        let mut fields = Fields::default();
        fields.append(ALLOW_ORIGIN, b"*");
        on_response(&cors, Some(b"https://b.test"), &mut fields);
        assert!(!fields.contains(ALLOW_ORIGIN));
        on_response(&cors, Some(b"https://a.test"), &mut fields);
        assert_eq!(
            text(&fields, ALLOW_ORIGIN).as_deref(),
            Some("https://a.test")
        );
    }
}
