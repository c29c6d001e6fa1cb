//! Rules from fields: what they take, how they are shown, and what is refused.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, and so may what it calls"
)]

use ferrix_rule::{Match, MatchError, PathMatch, Request, Rule, ValueMatch};
use http::{HeaderMap, HeaderValue, Method};

fn path(path: PathMatch) -> Match {
    Match {
        path: Some(path),
        ..Match::default()
    }
}

fn prefix(text: &str) -> Match {
    path(PathMatch::Prefix(text.to_owned()))
}

fn exact(name: &str, value: &str) -> (String, ValueMatch) {
    (name.to_owned(), ValueMatch::Exact(value.to_owned()))
}

fn regexp(name: &str, value: &str) -> (String, ValueMatch) {
    (name.to_owned(), ValueMatch::Regexp(value.to_owned()))
}

fn header(header: (String, ValueMatch)) -> Match {
    Match {
        headers: vec![header],
        ..Match::default()
    }
}

fn query(parameter: (String, ValueMatch)) -> Match {
    Match {
        query: vec![parameter],
        ..Match::default()
    }
}

fn everything() -> Match {
    Match {
        path: Some(PathMatch::Prefix("/api/".to_owned())),
        method: Some(Method::GET),
        headers: vec![exact("x-version", "2"), regexp("X-Tag", "a|b")],
        query: vec![exact("debug", "`1`"), regexp("page", "[0-9]+")],
    }
}

/// A request `METHOD PATH?QUERY`, with two lines of the field `X-Version`.
fn with_request<T>(line: &str, check: impl FnOnce(&Request<'_>) -> T) -> T {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in [("x-version", "1"), ("x-version", "2"), ("x-tag", "b")] {
        headers.append(name, HeaderValue::from_static(value));
    }
    check(&Request {
        method: &method.parse().unwrap(),
        host: "a.test",
        path,
        query,
        headers: &headers,
        client: [10, 0, 0, 1].into(),
    })
}

#[test]
fn what_a_match_takes() {
    let exact_path = path(PathMatch::Exact("/foo".to_owned()));
    let beginning = path(PathMatch::Beginning("/foo".to_owned()));
    let expression = |text: &str| path(PathMatch::Regexp(text.to_owned()));
    let method = Match {
        method: Some(Method::from_bytes(b"get").unwrap()),
        ..Match::default()
    };
    let cases: [(Match, &str, &str); 17] = [
        (exact_path, "/foo", "/foo/ /Foo /foo/bar /"),
        (prefix("/foo"), "/foo /foo/ /foo/bar", "/foobar /fo / /Foo"),
        (prefix("/foo/"), "/foo /foo/ /foo/bar", "/foobar /"),
        (prefix("/a/b"), "/a/b /a/b/c", "/a /a/bc /a/"),
        (beginning, "/foo /foo/ /foobar", "/fo"),
        // Whole paths, also where the expression has alternatives or reaches beyond its end.
        (expression("/v[0-9]+"), "/v1 /v22", "/v /v1/ /x/v1"),
        (expression("/a|/b"), "/a /b", "/ab /b/ /x/a"),
        (expression("(?i)/a"), "/a /A", "/aa"),
        (expression("^/a"), "/a", "/ab"),
        (method, "get:/", "/ POST:/"),
        // One of the lines of a field is enough, and the name is in any case.
        (header(exact("X-VERSION", "1")), "/", ""),
        (header(exact("X-Version", "2")), "/", ""),
        (header(regexp("x-version", "[23]")), "/", ""),
        (header(exact("X-Version", "1,2")), "", "/"),
        (
            query(exact("a", "b c")),
            "/?a=b+c /?x&a=b%20c",
            "/?a=b /?A=b+c",
        ),
        (query(regexp("a", "b")), "/?a=b /?a=c&a=b", "/?a=bb /?b=b"),
        (
            everything(),
            "/api?debug=%601%60&page=7",
            "/api?page=7 /apis",
        ),
    ];
    let mut compared = 0;
    for (fields, taken, left) in &cases {
        let rule = Rule::of(fields).unwrap().unwrap();
        for (requests, expected) in [(taken, true), (left, false)] {
            for request in requests.split_whitespace() {
                let (method, target) = request.split_once(':').unwrap_or(("GET", request));
                with_request(&format!("{method} {target}"), |request| {
                    assert_eq!(rule.matches(request), expected, "{rule} of {request:?}");
                    assert_eq!(rule.mismatch(request).is_none(), expected, "{rule}");
                    let paths = rule.constraints().paths;
                    let within = paths.is_none_or(|it| it.iter().any(|it| it.admits(request.path)));
                    assert!(within || !expected, "{rule} of {request:?}");
                });
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 59);
}

#[test]
fn what_takes_everything_is_no_rule() {
    for fields in [Match::default(), prefix("/"), prefix("//")] {
        assert_eq!(Rule::of(&fields), Ok(None), "{fields:?}");
    }
}

#[test]
fn words_are_no_text() {
    let cases = [
        (prefix("/api/"), "path prefix `/api`"),
        (path(PathMatch::Exact("/".to_owned())), "path `/`"),
        (
            path(PathMatch::Beginning("/a".to_owned())),
            "path beginning `/a`",
        ),
        (
            path(PathMatch::Regexp("/a|/b".to_owned())),
            "path expression `/a|/b`",
        ),
        (
            everything(),
            "path prefix `/api`, method `GET`, value `2` of header `X-Version`, expression `a|b` \
             of header `X-Tag`, value \"`1`\" of query parameter `debug`, expression `[0-9]+` of \
             query parameter `page`",
        ),
    ];
    for (fields, words) in &cases {
        let rule = Rule::of(fields).unwrap().unwrap();
        assert_eq!(rule.to_string(), *words);
        assert_eq!((rule.shown(), rule.text()), (*words, None));
        assert!(Rule::parse(words).is_err(), "{words}");
    }
    assert_eq!(cases.len(), 5);
}

#[test]
fn mismatches_in_words() {
    let cases = [
        (
            prefix("/api"),
            "path prefix `/api` does not begin the path /apis",
        ),
        (
            path(PathMatch::Regexp("/a".to_owned())),
            "path expression `/a` does not match the path /apis",
        ),
        (
            header(exact("X-Version", "3")),
            "value `3` of header `X-Version` is not in the header's values: 1, 2",
        ),
        (
            query(regexp("a", "b")),
            "expression `b` of query parameter `a` needs a query, and the request has none",
        ),
    ];
    for (fields, expected) in &cases {
        let rule = Rule::of(fields).unwrap().unwrap();
        let told = with_request("GET /apis", |request| rule.mismatch(request));
        assert_eq!(told.as_deref(), Some(*expected));
    }
    assert_eq!(cases.len(), 4);
}

#[test]
fn what_is_refused() {
    let no_path = MatchError::Path("api".to_owned());
    for of in [PathMatch::Exact, PathMatch::Prefix, PathMatch::Beginning] {
        assert_eq!(Rule::of(&path(of("api".to_owned()))), Err(no_path.clone()));
    }
    let no_name = MatchError::Header("X Version".to_owned());
    assert_eq!(Rule::of(&header(exact("X Version", "1"))), Err(no_name));
    // It must not be made whole by the group that is put around it.
    for source in ["/a)|(/b", "a**", "(?=a)"] {
        let error = Rule::of(&path(PathMatch::Regexp(source.to_owned()))).unwrap_err();
        assert!(error.to_string().contains(source), "{error}");
    }
    let large = r"\pL{1000}".to_owned();
    let error = Rule::of(&path(PathMatch::Regexp(large))).unwrap_err();
    assert!(error.to_string().contains("KiB"), "{error}");
}

#[test]
fn what_no_request_meets() {
    let host = Rule::of(&header(exact("Host", "a.test"))).unwrap().unwrap();
    let told = host.never();
    assert!(
        told[0].starts_with("value `a.test` of header `Host` matches no request"),
        "{told:?}"
    );
    let [one, other] = [prefix("/a"), prefix("/ab")].map(|it| Rule::of(&it).unwrap().unwrap());
    assert!(one.excludes(&other) && other.excludes(&one));
    let below = Rule::of(&prefix("/a/b")).unwrap().unwrap();
    assert!(!one.excludes(&below));
}

#[test]
fn rules_are_equal_by_what_they_ask_for() {
    let of = |fields: Match| Rule::of(&fields).unwrap().unwrap();
    assert_eq!(of(prefix("/a")), of(prefix("/a/")));
    assert_ne!(
        of(prefix("/a")),
        of(path(PathMatch::Beginning("/a".to_owned())))
    );
    let text = Rule::parse("Path(`/a`)").unwrap();
    assert_eq!(of(path(PathMatch::Exact("/a".to_owned()))), text);
    // Searched for in the one, matched as a whole in the other.
    let text = Rule::parse("PathRegexp(`/a`)").unwrap();
    assert_ne!(of(path(PathMatch::Regexp("/a".to_owned()))), text);
}
