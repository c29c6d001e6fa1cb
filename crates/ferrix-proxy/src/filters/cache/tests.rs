use std::sync::Arc;

use ferrix_table::{
    filters::lasting::{FilterId, Lasting},
    object::{Key as ObjectKey, Kind},
    rules::{Action, HostPattern, Route},
    weight::Weight,
};
use http::Version;

use super::*;

fn cache(key_headers: &[&str]) -> Cache {
    Cache {
        max_bytes: 1 << 20,
        terms: CacheTerms {
            max_object_bytes: 100,
            default_ttl: std::time::Duration::ZERO,
            stale_while_revalidate: std::time::Duration::ZERO,
            stale_if_error: std::time::Duration::from_secs(60),
        },
        key_headers: key_headers.iter().map(|it| Box::from(*it)).collect(),
        purge: None,
        state: Lasting::new(FilterId {
            object: ObjectKey::new(Kind::IngressRoute, "default", "r"),
            place: "cache".into(),
        }),
    }
}

fn rule(name: &str, matches: &str) -> Rule {
    Rule {
        route: Arc::new(Route {
            key: ObjectKey::new(Kind::IngressRoute, "default", name),
            generation: 1,
            created: None,
            state: Arc::default(),
        }),
        position: 0,
        host: HostPattern::Any,
        weight: Weight::Priority(0),
        matches: Some(ferrix_rule::Rule::parse(matches).unwrap()),
        entry_points: [0_u16].as_slice().into(),
        action: Action::Unavailable,
        policy: None,
        dry_run: None,
    }
}

fn arrival(secure: bool, port: u16) -> Arrival {
    Arrival::new(secure, port, &crate::settings::Settings::default())
}

fn request(method: &str, target: &str, lines: &[(&str, &str)]) -> RequestHead {
    let method = method.parse().unwrap();
    let mut head = RequestHead::new(method, target.as_bytes(), Version::HTTP_11);
    head.fields.append("Host", b"a.test");
    for (name, value) in lines {
        head.fields.set(name, value.as_bytes());
    }
    head
}

fn response(status: u16, lines: &[(&str, &str)]) -> ResponseHead {
    let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
    for (name, value) in lines {
        head.fields.append(name, value.as_bytes());
    }
    head
}

#[test]
fn a_key_has_all_that_tells_requests_apart() {
    let cache = cache(&["x-tenant"]);
    let arrivals = [arrival(false, 80), arrival(true, 443), arrival(false, 8080)];
    let rules = [
        rule("a", "PathPrefix(`/`)"),
        rule("a", "PathPrefix(`/`) && Header(`X-Version`, `2`)"),
        rule("b", "PathPrefix(`/`)"),
    ];
    let requests = [
        request("GET", "/", &[]),
        request("GET", "/?a", &[]),
        request("GET", "/a", &[]),
        request("GET", "/", &[("Host", "b.test")]),
        request("GET", "/", &[("Host", "a.test:81")]),
        request("GET", "/", &[("X-Tenant", "a")]),
        request("GET", "/", &[("X-Tenant", "b")]),
    ];
    let mut keys: Vec<_> = Vec::new();
    for arrival in &arrivals {
        for rule in &rules {
            keys.extend(requests.iter().map(|it| key(&cache, it, arrival, rule)));
        }
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3 * 3 * 7);
    let same = [
        request("HEAD", "/", &[("Host", "A.Test")]),
        request("GET", "/", &[("Cookie", "a"), ("X-Other", "b")]),
    ];
    for same in &same {
        assert!(keys.contains(&key(&cache, same, &arrivals[0], &rules[0])));
    }
}

#[test]
fn what_a_cache_has_no_part_in() {
    let (cache, rule, arrival) = (cache(&[]), rule("a", "Path(`/`)"), arrival(false, 80));
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], Framing, Option<Forward>);
    let cases: [Case<'_>; 9] = [
        ("GET", &[], Framing::Empty, None),
        ("HEAD", &[], Framing::Empty, None),
        ("POST", &[], Framing::Length(1), Some(Forward::Method)),
        ("OPTIONS", &[], Framing::Empty, Some(Forward::Method)),
        ("GET", &[], Framing::Chunked, Some(Forward::Bypass)),
        (
            "GET",
            &[("Range", "bytes=0-1")],
            Framing::Empty,
            Some(Forward::Bypass),
        ),
        (
            "GET",
            &[("If-Match", "*")],
            Framing::Empty,
            Some(Forward::Bypass),
        ),
        (
            "GET",
            &[("Upgrade", "x"), ("Connection", "upgrade")],
            Framing::Empty,
            Some(Forward::Bypass),
        ),
        (
            "GET",
            &[("Cache-Control", "no-store")],
            Framing::Empty,
            Some(Forward::Request),
        ),
    ];
    for (method, lines, body, expected) in cases {
        let head = request(method, "/", lines);
        let question = Question::of(&cache, &head, body, &arrival, &rule);
        assert_eq!(question.err(), expected, "{method} {lines:?}");
        let invalidation = Invalidation::of(&cache, &head, &arrival, &rule);
        assert_eq!(invalidation.is_some(), method == "POST", "{method}");
    }
    assert_eq!(cases.len(), 9);
}

/// Requests to one cache, one after another.
struct Asking {
    cache: Cache,
    rule: Rule,
}

impl Asking {
    fn new() -> Self {
        Self {
            cache: cache(&[]),
            rule: rule("a", "Path(`/`)"),
        }
    }

    fn look_up(&self, head: &RequestHead) -> LookedUp {
        let arrival = arrival(false, 80);
        let question = Question::of(&self.cache, head, Framing::Empty, &arrival, &self.rule);
        let Ok(question) = question else {
            panic!("a cache can answer it");
        };
        question.look_up(&head.fields, false)
    }

    fn fetch(&self, head: &RequestHead) -> Box<Fetch> {
        match self.look_up(head) {
            LookedUp::Fetch(fetch) => fetch,
            _ => panic!("it need not be fetched"),
        }
    }

    /// Fetches a response as a whole.
    fn keep(&self, head: &RequestHead, lines: &[(&str, &str)], body: &[u8]) {
        keep_whole(*self.fetch(head), response(200, lines), body);
    }

    /// What is answered without a backend, and how.
    fn answer(&self, head: &RequestHead) -> Option<(u16, Bytes, String)> {
        match self.look_up(head) {
            LookedUp::Fresh(stored) => {
                let (answer, body) = answer(&stored, &head.fields, "hit");
                let status = answer.fields.get(CACHE_STATUS).unwrap();
                let status = String::from_utf8(status.to_vec()).unwrap();
                Some((answer.status.as_u16(), body, status))
            }
            _ => None,
        }
    }
}

const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");

#[test]
fn what_is_kept_answers() {
    let asking = Asking::new();
    let get = request("GET", "/", &[]);
    asking.keep(&get, &[MINUTE, ("ETag", "\"v1\""), ("Age", "7")], b"hello");
    let (status, body, how) = asking.answer(&get).unwrap();
    assert_eq!((status, &body[..]), (200, &b"hello"[..]));
    assert_eq!(how, "ferrix; hit; ttl=53");
    let (status, body, _) = asking
        .answer(&request("GET", "/", &[("If-None-Match", "\"v1\"")]))
        .unwrap();
    assert_eq!((status, body.len()), (304, 0));
    assert!(asking.answer(&request("HEAD", "/", &[])).is_some());
    for others in [
        request("GET", "/?", &[]),
        request("GET", "/", &[("Cache-Control", "no-cache")]),
        request("GET", "/", &[("Authorization", "x")]),
    ] {
        assert!(asking.answer(&others).is_none());
    }
    let only = request("GET", "/other", &[("Cache-Control", "only-if-cached")]);
    assert!(matches!(asking.look_up(&only), LookedUp::OnlyIfCached));
    let head = request("HEAD", "/other", &[]);
    assert!(matches!(
        asking.look_up(&head),
        LookedUp::Nothing(Forward::Miss)
    ));
}

#[test]
fn what_is_too_long_is_not_kept() {
    let asking = Asking::new();
    let get = request("GET", "/", &[]);
    asking.keep(&get, &[MINUTE], &[0; 101]);
    assert!(asking.answer(&get).is_none());
    asking.keep(&get, &[MINUTE, ("Content-Length", "101")], b"");
    assert!(asking.answer(&get).is_none());
    asking.keep(&get, &[MINUTE], &[0; 100]);
    assert!(asking.answer(&get).is_some());
    // Who cannot tell the end from a broken connection keeps nothing.
    let other = request("GET", "/other", &[]);
    let mut head = response(200, &[MINUTE]);
    let verdict = asking.fetch(&other).on_response(&mut head, false);
    assert!(matches!(verdict, Verdict::Pass));
}

#[test]
fn what_is_stale_is_asked_about() {
    let asking = Asking::new();
    let get = request("GET", "/", &[]);
    let old = [
        ("Cache-Control", "max-age=60"),
        ("Age", "60"),
        ("ETag", "\"v1\""),
        ("X-Old", "1"),
    ];
    asking.keep(&get, &old, b"hello");
    let fetch = asking.fetch(&get);
    let mut asked = request("GET", "/", &[("If-None-Match", "\"v0\"")]);
    fetch.prepare(&mut asked);
    let conditions: Vec<_> = asked.fields.get_all("if-none-match").collect();
    assert_eq!(conditions, [b"\"v1\""]);
    let mut head = response(304, &[MINUTE, ("ETag", "\"v1\""), ("X-Old", "2")]);
    let Verdict::Instead(head, body) = fetch.on_response(&mut head, true) else {
        panic!("what is kept is good");
    };
    assert_eq!((head.status.as_u16(), &body[..]), (200, &b"hello"[..]));
    assert_eq!(head.fields.get_all("x-old").collect::<Vec<_>>(), [b"2"]);
    let how = head.fields.get(CACHE_STATUS).unwrap();
    assert_eq!(how, b"ferrix; hit; fwd=stale; fwd-status=304; ttl=60");
    let (_, _, how) = asking.answer(&get).unwrap();
    assert_eq!(how, "ferrix; hit; ttl=60");
}

#[test]
fn what_is_stale_helps_on_errors() {
    let asking = Asking::new();
    let get = request("GET", "/", &[]);
    asking.keep(&get, &[MINUTE, ("Age", "60")], b"hello");
    let (_, body) = asking.fetch(&get).on_failure().expect("an answer");
    assert_eq!(body, "hello");
    let mut head = response(503, &[]);
    let verdict = asking.fetch(&get).on_response(&mut head, true);
    assert!(matches!(verdict, Verdict::Instead(head, _) if head.status == 200));
    let mut head = response(404, &[]);
    let verdict = asking.fetch(&get).on_response(&mut head, true);
    assert!(matches!(verdict, Verdict::Pass));
    assert!(
        asking.fetch(&get).on_failure().is_none(),
        "the 404 took its place"
    );
}
