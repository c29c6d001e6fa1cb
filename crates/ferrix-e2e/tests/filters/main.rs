//! What the policy of a rule does, judged by the bytes that a strict backend received and by what the
//! client got: over both protocols on both sides, on fresh connections and on reused ones.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Routes,
    backend::{Blackhole, Connection, Dead, ok},
    http2_backend::Exchange,
};
use ferrix_table::{
    filters::{
        Filter,
        cors::{Cors, Listed, OriginPattern},
        external_auth::{AuthProtocol, ExternalAuth, VerdictCache},
        header_changes::{Field, HeaderChanges},
        mirror::Mirror,
        path_change::PathChange,
        redirect::{Redirect, RedirectHost, RedirectScheme},
        rewrite::Rewrite,
    },
    policy::{Policy, Retry, Session, SessionCarrier, Timeouts},
    rules::Destination,
    services::Protocol,
    table::EntryPoint,
    verification::Prepared,
};

mod access_log;
mod bandwidth;
mod error_pages;
mod faults;
mod identity;
mod oidc;
mod paths;
mod refusals;
mod request_buffering;
mod respond;

/// A backend of one protocol or the other.
enum Either {
    One(Backend),
    Two(Http2Backend),
}

/// A request as it arrived at either.
#[derive(Debug)]
struct Arrived {
    method: String,
    target: String,
    host: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Arrived {
    fn all(&self, name: &str) -> Vec<&str> {
        all(&self.fields, name)
    }
}

fn all<'f>(fields: &'f [(String, String)], name: &str) -> Vec<&'f str> {
    let fields = fields
        .iter()
        .filter(|(it, _)| it.eq_ignore_ascii_case(name));
    fields.map(|(_, value)| value.as_str()).collect()
}

impl Either {
    /// Answers each request with 200 and two fields.
    async fn start(http2: bool) -> Self {
        match http2 {
            false => Self::One(
                Backend::answering(
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Was: backend\r\nX-Gone: 1\r\n\r\nhi",
                )
                .await,
            ),
            true => Self::Two(
                Http2Backend::start(async |mut exchange: Exchange| {
                    exchange.body().await;
                    let fields = [("x-was", "backend"), ("x-gone", "1")];
                    let mut stream = exchange.respond(200, &fields, false);
                    let _ = stream.send_data("hi".into(), true);
                })
                .await,
            ),
        }
    }

    fn protocol(&self) -> Protocol {
        match self {
            Self::One(_) => Protocol::Http1,
            Self::Two(_) => Protocol::Http2,
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::One(it) => it.address(),
            Self::Two(it) => it.address(),
        }
    }

    fn routes(&self) -> Routes {
        Routes::all_by(self.protocol(), &[self.address()])
    }

    fn count(&self) -> usize {
        match self {
            Self::One(it) => it.requests().len(),
            Self::Two(it) => it.log().requests.len(),
        }
    }

    fn last(&self) -> Arrived {
        match self {
            Self::One(it) => {
                let received = it.last();
                Arrived {
                    method: received.head.word(0).to_owned(),
                    target: received.target().to_owned(),
                    host: received.head.one("host").unwrap().to_owned(),
                    fields: received.head.fields.clone(),
                    body: received.body,
                }
            }
            Self::Two(it) => {
                let received = it.last();
                let uri = received.head.uri();
                let fields = received.head.headers().iter();
                Arrived {
                    method: received.head.method().to_string(),
                    target: uri.path_and_query().unwrap().to_string(),
                    host: uri.authority().unwrap().to_string(),
                    fields: fields
                        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                        .collect(),
                    body: received.body,
                }
            }
        }
    }
}

/// A response at a client of either protocol.
#[derive(Debug)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn all(&self, name: &str) -> Vec<&str> {
        all(&self.fields, name)
    }
}

/// What a client asks for.
#[derive(Clone, Copy)]
struct Ask<'a> {
    method: &'a str,
    path: &'a str,
    fields: &'a [(&'a str, &'a str)],
    body: &'a str,
}

const GET: Ask<'static> = Ask {
    method: "GET",
    path: "/",
    fields: &[],
    body: "",
};

/// The answers to a request that is sent twice on one connection.
async fn ask(gateway: &Gateway, http2: bool, request: Ask<'_>) -> [Answer; 2] {
    let answers = ask_times(2, gateway, http2, request).await;
    answers.try_into().unwrap()
}

async fn ask_once(gateway: &Gateway, http2: bool, request: Ask<'_>) -> Answer {
    ask_times(1, gateway, http2, request).await.remove(0)
}

async fn ask_times(times: usize, gateway: &Gateway, http2: bool, ask: Ask<'_>) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut one = gateway.client().await;
    let mut two = gateway.http2().await;
    for _ in 0..times {
        answers.push(match http2 {
            false => {
                let lines: String = (ask.fields.iter())
                    .map(|(name, value)| format!("{name}: {value}\r\n"))
                    .collect();
                let length = match ask.body {
                    "" => String::new(),
                    body => format!("Content-Length: {}\r\n", body.len()),
                };
                let Ask {
                    method, path, body, ..
                } = ask;
                let head =
                    format!("{method} {path} HTTP/1.1\r\nHost: example.com\r\n{lines}{length}");
                one.send(format!("{head}\r\n{body}")).await;
                let response = one.try_response(method).await.expect("a whole response");
                Answer {
                    status: response.status,
                    fields: response.head.fields.clone(),
                    body: response.text(),
                }
            }
            true => {
                let mut request = two.request(ask.method, ask.path);
                for (name, value) in ask.fields {
                    let name: http::HeaderName = name.parse().unwrap();
                    request.headers_mut().append(name, value.parse().unwrap());
                }
                let response = match ask.body {
                    "" => two.fetch(request).await.unwrap(),
                    body => two.post(request, body.to_owned(), None).await.unwrap(),
                };
                let fields = response.headers.iter();
                Answer {
                    status: response.status.as_u16(),
                    fields: fields
                        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                        .collect(),
                    body: response.text(),
                }
            }
        });
    }
    answers
}

const PAIRS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

fn filters(filters: impl Into<Arc<[Filter]>>) -> Policy {
    Policy::of(filters)
}

fn field(name: &str, value: &str) -> Field {
    Field {
        name: name.into(),
        value: value.into(),
    }
}

fn prefix(matched: &str, replacement: &str) -> PathChange {
    PathChange::Prefix {
        matched: matched.into(),
        replacement: replacement.into(),
    }
}

#[tokio::test]
async fn header_fields_of_requests_and_responses() {
    let of_request = HeaderChanges {
        set: [field("X-Set", "new")].into(),
        add: [field("X-Add", "second")].into(),
        remove: ["X-Remove".into()].into(),
    };
    let of_response = HeaderChanges {
        set: [field("X-Was", "changed")].into(),
        add: [field("X-New", "1")].into(),
        remove: ["x-gone".into()].into(),
    };
    let of_share = HeaderChanges {
        set: [field("X-Set", "newer")].into(),
        add: [field("X-Share", "1")].into(),
        ..HeaderChanges::default()
    };
    let mut ran = 0;
    for (to_client, to_backend) in PAIRS {
        let backend = Either::start(to_backend).await;
        let share = Destination {
            service: Ok(0),
            filters: Some(Arc::new([Filter::RequestHeaders(of_share.clone())].into())),
        };
        let policy = filters([
            Filter::RequestHeaders(of_request.clone()),
            Filter::ResponseHeaders(of_response.clone()),
        ]);
        let shares = [(false, "new", &[][..]), (true, "newer", &["1"][..])];
        for (with_share, set, of_share) in shares {
            let service = || Routes::new().service("all", backend.protocol(), &[backend.address()]);
            let routes = match with_share {
                false => backend.routes(),
                true => service().destinations(&[(share.clone(), 1)]),
            };
            let gateway = Gateway::start(routes.policy(policy.clone()));
            let fields = [
                ("X-Set", "old"),
                ("x-set", "older"),
                ("X-Add", "first"),
                ("x-remove", "1"),
                ("X-Stays", "1"),
            ];
            for answer in ask(
                &gateway,
                to_client,
                Ask {
                    fields: &fields,
                    ..GET
                },
            )
            .await
            {
                assert_eq!((answer.status, &*answer.body), (200, "hi"));
                assert_eq!(answer.all("x-was"), ["changed"]);
                assert_eq!(answer.all("x-new"), ["1"]);
                assert!(answer.all("x-gone").is_empty());
                ran += 1;
            }
            let arrived = backend.last();
            assert_eq!(arrived.all("x-set"), [set]);
            assert_eq!(arrived.all("x-add"), ["first", "second"]);
            assert_eq!(arrived.all("x-share"), of_share);
            assert!(arrived.all("x-remove").is_empty());
            assert_eq!(arrived.all("x-stays"), ["1"]);
        }
    }
    assert_eq!(ran, 4 * 2 * 2);
}

#[tokio::test]
async fn rewrites() {
    let cases = [
        ("/app/a?b=c", "/new/a?b=c"),
        ("/app", "/new"),
        ("/app/", "/new/"),
        ("/app/x%2Fy/%C3%A4", "/new/x%2Fy/%C3%A4"),
        ("/application", "/application"),
        ("/app/./a/../b", "/new/b"),
    ];
    let mut ran = 0;
    for (to_client, to_backend) in PAIRS {
        let backend = Either::start(to_backend).await;
        let routes = backend.routes().policy(filters([Filter::Rewrite(Rewrite {
            host: Some("inside.test".into()),
            path: Some(prefix("/app", "/new")),
        })]));
        let gateway = Gateway::start(routes);
        for (path, expected) in cases {
            for answer in ask(&gateway, to_client, Ask { path, ..GET }).await {
                assert_eq!(answer.status, 200);
            }
            let arrived = backend.last();
            assert_eq!(
                (&*arrived.target, &*arrived.host),
                (expected, "inside.test")
            );
            assert_eq!(arrived.all("x-forwarded-host"), ["example.com"]);
            ran += 1;
        }
        let before = backend.count();
        for path in [
            "/app/..",
            "/app/../..",
            "/app/..%2Fx",
            "/app/..;/x",
            "/app/%2e%2e/%2e%2e/x",
        ] {
            let answers = ask(&gateway, true, Ask { path, ..GET }).await;
            // What is no request of the rule is passed on as it is.
            let passed = path == "/app/..";
            let expected = if passed { 200 } else { 400 };
            assert_eq!(answers.map(|it| it.status), [expected; 2], "{path}");
            if passed {
                assert_eq!(backend.last().target, "/");
            }
        }
        assert_eq!(
            backend.count(),
            before + 2,
            "none of the others got through"
        );
    }
    assert_eq!(ran, 4 * 6);
}

#[tokio::test]
async fn a_prefix_that_is_taken_away_leaves_no_other_meaning() {
    let backend = Backend::hello("hi").await;
    let routes = Routes::all_to(&[backend.address()]).policy(filters([Filter::Rewrite(Rewrite {
        host: None,
        path: Some(prefix("/app", "")),
    })]));
    let gateway = Gateway::start(routes);
    let cases = [
        ("/app", 200, "/"),
        ("/app/", 200, "/"),
        ("/app/a", 200, "/a"),
        ("/app//a", 200, "/a"),
        // `/%2Fadmin` is `/admin` to some.
        ("/app/%2Fadmin", 400, ""),
        ("/app/%5Cadmin", 400, ""),
    ];
    for (path, status, target) in cases {
        let before = backend.requests().len();
        // A bad request ends its connection.
        let answer = ask_once(&gateway, false, Ask { path, ..GET }).await;
        assert_eq!(answer.status, status, "{path}");
        match status {
            200 => assert_eq!(backend.last().target(), target, "{path}"),
            _ => assert_eq!(backend.requests().len(), before, "{path}"),
        }
    }
    assert_eq!(cases.len(), 6);
}

#[tokio::test]
async fn redirects() {
    let redirect = |status| Redirect {
        scheme: Some(RedirectScheme::Https),
        host: Some(RedirectHost::To("other.test".into())),
        port: None,
        path: Some(prefix("/app", "/new")),
        status,
    };
    let mut ran = 0;
    for status in [301, 302, 303, 307, 308] {
        let policy = filters([
            Filter::Redirect(redirect(status)),
            Filter::ResponseHeaders(HeaderChanges {
                set: [field("Cache-Control", "no-store")].into(),
                ..HeaderChanges::default()
            }),
        ]);
        let gateway = Gateway::start(Routes::new().answered(policy));
        for http2 in [false, true] {
            let post = Ask {
                method: "POST",
                path: "/app/a?b=c",
                body: "thrown away",
                ..GET
            };
            for answer in ask(&gateway, http2, post).await {
                assert_eq!(answer.status, status);
                assert_eq!(answer.all("location"), ["https://other.test/new/a?b=c"]);
                assert_eq!(answer.all("cache-control"), ["no-store"]);
                assert_eq!(answer.body, "");
                ran += 1;
            }
        }
    }
    assert_eq!(ran, 5 * 2 * 2);
    let here = Redirect {
        scheme: None,
        host: None,
        ..redirect(302)
    };
    let routes = || Routes::new().answered(filters([Filter::Redirect(here.clone())]));
    let gateway = Gateway::start(routes());
    let [answer, _] = ask(
        &gateway,
        false,
        Ask {
            path: "/app/x",
            ..GET
        },
    )
    .await;
    let expected = format!("http://example.com:{}/new/x", gateway.web.port());
    assert_eq!(answer.all("location"), [expected]);
    // Clients know the port by another number.
    let exposed = EntryPoint {
        exposed_port: Some(80),
        ..EntryPoint::http("web")
    };
    gateway.publish_on(vec![exposed, EntryPoint::https("websecure")], routes());
    let [answer, _] = ask(
        &gateway,
        false,
        Ask {
            path: "/app/x",
            ..GET
        },
    )
    .await;
    assert_eq!(answer.all("location"), ["http://example.com/new/x"]);
}

fn mirrored(routes: Routes, numerator: u32, denominator: u32) -> Routes {
    let service = Ok(routes.index("mirror"));
    routes.policy(filters([Filter::Mirror(Mirror {
        service,
        numerator,
        denominator,
    })]))
}

fn with_mirror(backend: SocketAddr, protocol: Protocol, mirror: SocketAddr) -> Routes {
    Routes::new()
        .service("all", Protocol::Http1, &[backend])
        .service("mirror", protocol, &[mirror])
        .rule("*", "", &[("all", 1)])
}

#[tokio::test]
async fn mirrors_get_what_backends_get() {
    let mut ran = 0;
    for (to_client, to_mirror) in PAIRS {
        let backend = Backend::hello("hi").await;
        let mirror = Either::start(to_mirror).await;
        let (protocol, address) = (mirror.protocol(), mirror.address());
        let routes = mirrored(with_mirror(backend.address(), protocol, address), 1, 1);
        let gateway = Gateway::start(routes);
        for (method, body) in [
            ("GET", ""),
            ("POST", "a body"),
            ("PUT", &*"x".repeat(300_000)),
        ] {
            let before = mirror.count();
            let request = Ask {
                method,
                path: "/a?b=c",
                fields: &[("X-Copied", "1")],
                body,
            };
            for answer in ask(&gateway, to_client, request).await {
                assert_eq!(answer.status, 200);
            }
            let copied = async |count: usize| match &mirror {
                Either::One(it) => {
                    let whole = |log: &ferrix_e2e::backend::Log| {
                        log.requests.len() >= count && log.requests.iter().all(|it| it.complete)
                    };
                    it.wait("the copies", whole).await;
                }
                Either::Two(it) => {
                    let whole = |log: &ferrix_e2e::http2_backend::Log| {
                        log.requests.len() >= count && log.requests.iter().all(|it| it.complete)
                    };
                    it.wait("the copies", whole).await;
                }
            };
            copied(before + 2).await;
            let copy = mirror.last();
            assert_eq!((&*copy.method, &*copy.target), (method, "/a?b=c"));
            assert_eq!(copy.host, "example.com", "no suffix");
            assert_eq!(copy.all("x-copied"), ["1"]);
            assert_eq!(copy.body, body.as_bytes());
            assert_eq!(backend.last().body, body.as_bytes());
            ran += 1;
        }
    }
    assert_eq!(ran, 4 * 3);
}

#[tokio::test]
async fn no_mirror_delays_or_fails_a_request() {
    let backend = Backend::hello("hi").await;
    let (dead, hole) = (Dead::new(), Blackhole::new().await);
    let silent = Backend::start(async |mut connection: Connection| connection.left().await).await;
    let body = "x".repeat(200_000);
    let mut ran = 0;
    for mirror in [dead.address(), hole.address(), silent.address()] {
        let routes = with_mirror(backend.address(), Protocol::Http1, mirror);
        let gateway = Gateway::start(mirrored(routes, 1, 1));
        let post = Ask {
            method: "POST",
            body: &body,
            ..GET
        };
        for http2 in [false, true] {
            let answers = ask(&gateway, http2, post).await;
            assert_eq!(
                answers.map(|it| (it.status, it.body)),
                [(); 2].map(|()| (200, "hi".into()))
            );
            ran += 1;
        }
    }
    assert_eq!(ran, 6);
}

#[tokio::test]
async fn shares_of_requests_are_mirrored_and_long_bodies_are_not() {
    let [backend, mirror] = [Backend::hello("hi").await, Backend::hello("copy").await];
    let routes = || with_mirror(backend.address(), Protocol::Http1, mirror.address());
    let gateway = Gateway::start(mirrored(routes(), 0, 100));
    for _ in 0..50 {
        ask(&gateway, false, GET).await;
    }
    assert_eq!(mirror.requests().len(), 0);
    gateway.publish(mirrored(routes(), 1, 2));
    for _ in 0..200 {
        ask(&gateway, false, GET).await;
    }
    mirror
        .wait("half of the copies", |log| log.requests.len() > 130)
        .await;
    assert!(mirror.requests().len() < 270, "{}", mirror.requests().len());
    gateway.publish(mirrored(routes(), 1, 1));
    let before = mirror.requests().len();
    let long = "x".repeat((1 << 20) + 1);
    let post = Ask {
        method: "POST",
        body: &long,
        ..GET
    };
    ask(&gateway, false, post).await;
    ask(
        &gateway,
        false,
        Ask {
            path: "/short",
            ..GET
        },
    )
    .await;
    mirror
        .wait("the short copy", |log| {
            log.requests
                .iter()
                .skip(before)
                .filter(|it| it.target() == "/short")
                .count()
                == 2
        })
        .await;
    let late = mirror.requests();
    let posts = late[before..].iter().filter(|it| it.head.word(0) == "POST");
    assert_eq!(posts.count(), 0);
}

#[tokio::test]
async fn cross_origin_requests() {
    let cors = Cors {
        allow_origins: [
            OriginPattern::Exact("https://a.test".into()),
            OriginPattern::Wildcard {
                prefix: "https://".into(),
                suffix: ".b.test".into(),
            },
        ]
        .into(),
        allow_methods: Listed::These("GET, PUT".into()),
        allow_headers: Listed::These("x-one".into()),
        expose_headers: Listed::These("x-was".into()),
        allow_credentials: true,
        max_age: 60,
    };
    let mut ran = 0;
    for (to_client, to_backend) in PAIRS {
        let backend = Either::start(to_backend).await;
        let routes = backend
            .routes()
            .policy(filters([Filter::Cors(cors.clone())]));
        let gateway = Gateway::start(routes);
        for (origin, allowed) in [
            ("https://a.test", true),
            ("https://x.y.b.test", true),
            ("https://c.test", false),
        ] {
            let expected: &[&str] = if allowed { &[origin] } else { &[] };
            let fields = [("Origin", origin), ("Access-Control-Request-Method", "PUT")];
            let preflight = Ask {
                method: "OPTIONS",
                fields: &fields,
                ..GET
            };
            let before = backend.count();
            for answer in ask(&gateway, to_client, preflight).await {
                assert_eq!(answer.status, 204);
                assert_eq!(answer.all("access-control-allow-origin"), expected);
                assert_eq!(
                    answer.all("access-control-allow-methods").len(),
                    expected.len()
                );
                assert_eq!(answer.all("access-control-max-age").len(), expected.len());
                assert!(answer.all("content-length").is_empty());
            }
            assert_eq!(backend.count(), before, "it is answered here");
            let simple = Ask {
                fields: &fields[..1],
                ..GET
            };
            for answer in ask(&gateway, to_client, simple).await {
                assert_eq!((answer.status, &*answer.body), (200, "hi"));
                assert_eq!(answer.all("access-control-allow-origin"), expected);
                assert_eq!(
                    answer.all("access-control-expose-headers").len(),
                    expected.len()
                );
                assert_eq!(answer.all("vary"), ["Origin"]);
            }
            assert_eq!(backend.count(), before + 2);
            ran += 1;
        }
    }
    assert_eq!(ran, 4 * 3);
}

fn within_time(request: Option<u64>, backend_request: Option<u64>) -> Policy {
    Policy {
        timeouts: Timeouts {
            request: request.map(Duration::from_millis),
            backend_request: backend_request.map(Duration::from_millis),
        },
        ..Policy::default()
    }
}

/// Answers `/slow` never, `/half` with a part, and anything else at once.
async fn slow() -> Backend {
    Backend::start(async |mut connection: Connection| {
        while let Some(request) = connection.request().await {
            match request.target() {
                "/slow" => return connection.left().await,
                "/half" => {
                    connection
                        .send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                        .await;
                    return connection.left().await;
                }
                _ => connection.send(ok("hi")).await,
            };
        }
    })
    .await
}

#[tokio::test]
async fn requests_that_take_longer_than_their_rule_allows() {
    let backend = slow().await;
    let mut ran = 0;
    for policy in [
        within_time(Some(200), None),
        within_time(None, Some(200)),
        within_time(Some(10_000), Some(200)),
        within_time(Some(0), Some(200)),
    ] {
        let routes = Routes::all_to(&[backend.address()]).policy(policy);
        let gateway = Gateway::start(routes);
        for http2 in [false, true] {
            let answers = ask(
                &gateway,
                http2,
                Ask {
                    path: "/slow",
                    ..GET
                },
            )
            .await;
            assert_eq!(answers.map(|it| it.status), [504; 2]);
            let answers = ask(&gateway, http2, GET).await;
            assert_eq!(answers.map(|it| it.status), [200; 2]);
            ran += 1;
        }
        // A response that has begun cannot become another.
        let mut client = gateway.client().await;
        client
            .send("GET /half HTTP/1.1\r\nHost: example.com\r\n\r\n")
            .await;
        assert!(client.try_response("GET").await.is_err());
    }
    assert_eq!(ran, 8);
}

/// A rule with a limit of its own is not held to that of the settings, and its limit ends with its request.
#[tokio::test]
async fn limits_of_rules_take_the_place_of_those_of_the_settings() {
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            tokio::time::sleep(Duration::from_millis(600)).await;
            connection.send(ok("late")).await;
        }
    })
    .await;
    let routes = Routes::new()
        .service("all", Protocol::Http1, &[backend.address()])
        .rule("*", "Path(`/own`)", &[("all", 1)])
        .policy(within_time(Some(30_000), None))
        .rule("*", "Path(`/unlimited`)", &[("all", 1)])
        .policy(within_time(Some(0), None))
        .rule("*", "", &[("all", 1)]);
    let gateway = Gateway::start_with("timeouts: {response: 200ms}", routes);
    for http2 in [false, true] {
        for (path, status) in [("/own", 200), ("/unlimited", 200), ("/", 504)] {
            let answers = ask(&gateway, http2, Ask { path, ..GET }).await;
            assert_eq!(answers.map(|it| it.status), [status; 2], "{path}");
        }
    }
}

fn again(codes: &[u16], attempts: u8) -> Policy {
    Policy {
        retry: Some(Retry {
            codes: codes.into(),
            attempts: Some(attempts),
            backoff: Duration::from_millis(5),
        }),
        ..Policy::default()
    }
}

/// Answers 503 twice, then 200.
async fn failing_twice() -> Backend {
    let answered = Arc::new(AtomicUsize::new(0));
    Backend::start(move |mut connection: Connection| {
        let answered = Arc::clone(&answered);
        async move {
            while connection.request().await.is_some() {
                let answer = match answered.fetch_add(1, SeqCst) {
                    0 | 1 => "HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nno\n".to_owned(),
                    _ => ok("at last"),
                };
                connection.send(answer).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn statuses_that_a_rule_has_repeated() {
    let mut ran = 0;
    let cases = [
        // Method, statuses, further attempts, what the client gets, and the attempts that arrive.
        ("GET", &[503][..], 2, 200, 3),
        ("PUT", &[500, 503], 3, 200, 3),
        ("GET", &[503], 1, 503, 2),
        ("GET", &[500], 3, 503, 1),
        ("POST", &[503], 3, 503, 1),
    ];
    for (method, codes, attempts, status, arrive) in cases {
        for http2 in [false, true] {
            let backend = failing_twice().await;
            let routes = Routes::all_to(&[backend.address()]).policy(again(codes, attempts));
            let gateway = Gateway::start(routes);
            let body = if method == "GET" {
                ""
            } else {
                "the whole body"
            };
            let request = Ask {
                method,
                body,
                ..GET
            };
            let first = ask_once(&gateway, http2, request).await;
            assert_eq!(first.status, status, "{method} {codes:?} {attempts}");
            let text = if status == 200 { "at last" } else { "no\n" };
            assert_eq!(first.body, text);
            let received = backend.requests();
            assert_eq!(received.len(), arrive);
            assert!(received.iter().all(|it| it.body == body.as_bytes()));
            ran += 1;
        }
    }
    assert_eq!(ran, 10);
}

#[tokio::test]
async fn a_body_that_was_sent_in_vain_is_sent_again() {
    let backend = failing_twice().await;
    let routes = Routes::all_to(&[backend.address()]).policy(again(&[503], 2));
    let gateway = Gateway::start(routes);
    let mut client = gateway.client().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        .await;
    client.send("3\r\ntwo\r\n0\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "at last");
    let bodies: Vec<_> = backend.requests().into_iter().map(|it| it.body).collect();
    assert_eq!(bodies, [b"onetwo", b"onetwo", b"onetwo"]);
}

#[tokio::test]
async fn attempts_that_break_or_are_late_are_repeated_where_the_rule_asks() {
    let mut ran = 0;
    for late in [false, true] {
        for (method, asked, expected) in [
            ("GET", true, 200),
            ("GET", false, if late { 504 } else { 502 }),
            ("POST", true, if late { 504 } else { 502 }),
        ] {
            let backend = Backend::start(move |mut connection: Connection| async move {
                while connection.request().await.is_some() {
                    if connection.index == 0 {
                        if late {
                            connection.left().await;
                        }
                        return;
                    }
                    connection.send(ok("hi")).await;
                }
            })
            .await;
            let mut policy = within_time(None, Some(300));
            policy.retry = again(&[], 2).retry.filter(|_| asked);
            let routes = Routes::all_to(&[backend.address()]).policy(policy);
            let gateway = Gateway::start(routes);
            let first = ask_once(&gateway, false, Ask { method, ..GET }).await;
            assert_eq!(first.status, expected, "{method} {asked} {late}");
            ran += 1;
        }
    }
    assert_eq!(ran, 6);
}

fn session(carrier: SessionCarrier) -> Policy {
    Policy {
        session: Some(Session {
            carrier,
            absolute_timeout: None,
        }),
        ..Policy::default()
    }
}

#[tokio::test]
async fn sessions_stay_with_their_endpoint() {
    let backends = [
        Backend::hello("0").await,
        Backend::hello("1").await,
        Backend::hello("2").await,
    ];
    let addresses = backends.each_ref().map(Backend::address);
    let cookie = SessionCarrier::Cookie {
        name: Arc::from("stay"),
        path: Arc::from("/"),
        permanent: false,
    };
    let header = SessionCarrier::Header(Arc::from("X-Stay"));
    let mut ran = 0;
    for (carrier, name) in [(cookie, "Cookie"), (header, "X-Stay")] {
        let routes =
            |endpoints: &[SocketAddr]| Routes::all_to(endpoints).policy(session(carrier.clone()));
        let gateway = Gateway::start(routes(&addresses));
        let token = |answer: &Answer| match name {
            "Cookie" => {
                let set = answer.all("set-cookie").first().map(|it| (*it).to_owned());
                set.map(|it| it.split(';').next().unwrap().to_owned())
            }
            name => answer.all(name).first().map(|it| (*it).to_owned()),
        };
        for http2 in [false, true] {
            let [first, _] = ask(&gateway, http2, GET).await;
            let kept = token(&first).expect("a token");
            for address in addresses {
                assert!(!kept.contains(&address.ip().to_string()), "{kept}");
                assert!(!kept.contains(&address.port().to_string()), "{kept}");
            }
            let fields = [(name, &*kept)];
            let back = Ask {
                fields: &fields,
                ..GET
            };
            for _ in 0..3 {
                for answer in ask(&gateway, http2, back).await {
                    assert_eq!(answer.body, first.body);
                    assert_eq!(token(&answer), None, "it has it");
                }
            }
            // Without it requests go round.
            let mut seen = BTreeSet::new();
            for _ in 0..3 {
                seen.extend(ask(&gateway, http2, GET).await.map(|it| it.body));
            }
            assert_eq!(seen.len(), 3);
            // One that is made up is none, and is replaced.
            let forged = kept.replace(|digit: char| digit.is_ascii_digit(), "0");
            let fields = [(name, &*forged)];
            let [answer, _] = ask(
                &gateway,
                http2,
                Ask {
                    fields: &fields,
                    ..GET
                },
            )
            .await;
            assert!(token(&answer).is_some());
            // The endpoint goes, and so does the session.
            let gone: usize = first.body.parse().unwrap();
            let left: Vec<_> = (0..3)
                .filter(|it| *it != gone)
                .map(|it| addresses[it])
                .collect();
            gateway.publish(routes(&left));
            let [moved, _] = ask(&gateway, http2, back).await;
            assert_ne!(moved.body, first.body);
            assert!(token(&moved).is_some());
            gateway.publish(routes(&addresses));
            ran += 1;
        }
    }
    assert_eq!(ran, 4);
}

fn authorised(backend: SocketAddr, auth: SocketAddr, body_bytes: u16) -> Routes {
    authorised_with(backend, auth, |auth| auth.body_bytes = body_bytes)
}

fn authorised_with(
    backend: SocketAddr,
    auth: SocketAddr,
    change: impl FnOnce(&mut ExternalAuth),
) -> Routes {
    let routes = Routes::new()
        .service("all", Protocol::Http1, &[backend])
        .service("auth", Protocol::Http1, &[auth])
        .rule("*", "", &[("all", 1)]);
    let mut auth = ExternalAuth {
        protocol: AuthProtocol::Http {
            path_prefix: "/check".into(),
            request_headers: ["x-key".into()].into(),
            response_headers: Box::default(),
        },
        ..routes.external_auth("auth")
    };
    change(&mut auth);
    routes.policy(filters([Filter::ExternalAuth(auth)]))
}

/// Lets requests with `X-Key: good` pass, and says who they are from; and guests, of whom it says nothing.
async fn authority() -> Backend {
    Backend::start(async |mut connection: Connection| {
        while let Some(request) = connection.request().await {
            let answer = match request.head.one("x-key") {
                Some("good") => "HTTP/1.1 200 OK\r\nX-User: alice\r\nContent-Length: 2\r\n\r\nok",
                Some("guest") => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                _ => {
                    "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nwho?\n"
                }
            };
            connection.send(answer).await;
        }
    })
    .await
}

#[tokio::test]
async fn another_service_says_whether_requests_pass() {
    let [backend, auth] = [Backend::hello("hi").await, authority().await];
    let gateway = Gateway::start(authorised(backend.address(), auth.address(), 0));
    let mut ran = 0;
    for http2 in [false, true] {
        let good = Ask {
            method: "POST",
            path: "/a?b",
            fields: &[
                ("X-Key", "good"),
                ("X-User", "forged"),
                ("Cookie", "secret"),
            ],
            body: "a body",
        };
        for answer in ask(&gateway, http2, good).await {
            assert_eq!((answer.status, &*answer.body), (200, "hi"));
        }
        let arrived = backend.last();
        assert_eq!(arrived.head.all("x-user"), ["alice"]);
        assert_eq!(arrived.body, b"a body");
        let asked = auth.last();
        assert_eq!((asked.head.word(0), asked.target()), ("POST", "/check/a?b"));
        assert_eq!(asked.head.one("host"), Some("example.com"));
        assert_eq!(asked.head.one("content-length"), Some("0"));
        assert!(!asked.head.has("cookie") && !asked.head.has("x-user"));
        let before = backend.requests().len();
        for answer in ask(&gateway, http2, GET).await {
            assert_eq!((answer.status, &*answer.body), (401, "who?\n"));
            assert_eq!(answer.all("www-authenticate"), ["Basic"]);
        }
        assert_eq!(backend.requests().len(), before);
        ran += 1;
    }
    assert_eq!(ran, 2);
}

/// What the authority may tell of clients they cannot say, in no spelling, nor in trailers, nor where it says nothing.
#[tokio::test]
async fn whom_the_authority_does_not_name_nobody_is() {
    let [backend, auth] = [Backend::hello("hi").await, authority().await];
    let routes = authorised_with(backend.address(), auth.address(), |auth| {
        auth.protocol = AuthProtocol::Http {
            path_prefix: Box::default(),
            request_headers: ["x-key".into()].into(),
            response_headers: ["X-User".into()].into(),
        };
    });
    let gateway = Gateway::start(routes);
    let mut ran = 0;
    for (key, users) in [("good", &["alice"][..]), ("guest", &[])] {
        for http2 in [false, true] {
            let forged = [("X-Key", key), ("X-User", "forged"), ("X_User", "forged")];
            let request = Ask {
                fields: &forged,
                ..GET
            };
            for answer in ask(&gateway, http2, request).await {
                assert_eq!(answer.status, 200);
            }
            let arrived = backend.last();
            assert_eq!(arrived.head.all("x-user"), users);
            assert!(!format!("{arrived:?}").contains("forged"), "{arrived:?}");
            ran += 1;
        }
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nX-Key: {key}\r\nTransfer-Encoding: chunked\r\n\
             Trailer: x-user, x-sum\r\n\r\n"
        );
        let trailers = "X-User: forged\r\nX_User: forged\r\nX-Sum: 1\r\n\r\n";
        let mut client = gateway.client().await;
        client
            .send(format!("{head}1\r\na\r\n0\r\n{trailers}"))
            .await;
        assert_eq!(client.response().await.status, 200);
        let text = format!("{:?}", backend.last());
        assert!(!text.contains("forged"), "{text}");
        assert!(text.to_lowercase().contains("x-sum"), "{text}");
    }
    assert_eq!(ran, 4);
}

/// What let a request pass lets others pass that are like it, and nothing else is kept.
#[tokio::test]
async fn verdicts_are_kept_where_that_is_asked_for() {
    let [backend, auth] = [Backend::hello("hi").await, authority().await];
    let routes = |ttl| {
        authorised_with(backend.address(), auth.address(), |auth| {
            auth.verdicts = Some(Arc::new(VerdictCache {
                ttl,
                key_headers: ["X-Key".into()].into(),
                headers_alone: false,
                kept: Prepared::default(),
            }));
        })
    };
    let gateway = Gateway::start(routes(Duration::from_secs(3600)));
    // Who asks for what, what comes of it, and how often the authority is asked by both of them.
    let cases = [
        ("good", "/a", 200, 1),
        ("good", "/a", 200, 0),
        ("good", "/b", 200, 1),
        ("bad", "/a", 401, 2),
        ("bad", "/a", 401, 2),
        ("good", "/a", 200, 0),
    ];
    let mut ran = 0;
    for http2 in [false, true] {
        for (key, path, status, asked) in cases {
            let before = auth.requests().len();
            let request = Ask {
                path,
                fields: &[("X-Key", key), ("X-User", "forged")],
                ..GET
            };
            for answer in ask(&gateway, http2, request).await {
                assert_eq!(answer.status, status, "{key} {path}");
                ran += 1;
            }
            let asked = if http2 && status == 200 { 0 } else { asked };
            assert_eq!(auth.requests().len() - before, asked, "{key} {path}");
            if status == 200 {
                assert_eq!(backend.last().head.all("x-user"), ["alice"]);
            }
        }
    }
    assert_eq!(ran, 24);
    // They go with the authority's filter, and not with the authority.
    drop(auth);
    let request = Ask {
        path: "/a",
        fields: &[("X-Key", "good")],
        ..GET
    };
    assert_eq!(ask_once(&gateway, false, request).await.status, 200);
    let dead = Dead::new();
    let routes = authorised_with(backend.address(), dead.address(), |auth| {
        auth.verdicts = Some(Arc::new(VerdictCache {
            ttl: Duration::from_secs(3600),
            key_headers: Box::default(),
            headers_alone: true,
            kept: Prepared::default(),
        }));
    });
    gateway.publish(routes);
    let answers = ask(&gateway, false, request).await;
    assert_eq!(answers.map(|it| it.status), [503; 2], "no error is kept");
}

#[tokio::test]
async fn browsers_are_sent_to_sign_in() {
    let [backend, auth] = [Backend::hello("hi").await, authority().await];
    let routes = authorised_with(backend.address(), auth.address(), |auth| {
        auth.sign_in = Some("https://sign-in.test/start".into());
    });
    let gateway = Gateway::start(routes);
    for http2 in [false, true] {
        let page = Ask {
            path: "/a?b=c",
            ..GET
        };
        for answer in ask(&gateway, http2, page).await {
            assert_eq!((answer.status, &*answer.body), (302, ""));
            let rd = "rd=http%3A%2F%2Fexample.com%2Fa%3Fb%3Dc";
            assert_eq!(
                answer.all("location"),
                [format!("https://sign-in.test/start?{rd}")]
            );
        }
        let form = Ask {
            method: "POST",
            body: "x",
            ..page
        };
        assert_eq!(ask_once(&gateway, http2, form).await.status, 401);
        let good = Ask {
            fields: &[("X-Key", "good")],
            ..page
        };
        assert_eq!(ask_once(&gateway, http2, good).await.status, 200);
    }
}

#[tokio::test]
async fn bodies_that_the_authority_is_shown_arrive_all_the_same() {
    let [backend, auth] = [Backend::hello("hi").await, authority().await];
    let gateway = Gateway::start(authorised(backend.address(), auth.address(), 100));
    for http2 in [false, true] {
        let fields = [("X-Key", "good")];
        let post = |body| Ask {
            method: "POST",
            path: "/",
            fields: &fields,
            body,
        };
        for answer in ask(&gateway, http2, post("a body")).await {
            assert_eq!(answer.status, 200);
        }
        assert_eq!(backend.last().body, b"a body");
        assert_eq!(auth.last().body, b"a body");
        let before = (backend.requests().len(), auth.requests().len());
        let long = "x".repeat(101);
        let mut client = gateway.client().await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nX-Key: good\r\nContent-Length: 101\r\n\r\n";
        let answer = client.exchange(format!("{head}{long}")).await;
        assert_eq!(answer.status, 413);
        assert_eq!((backend.requests().len(), auth.requests().len()), before);
    }
}

#[tokio::test]
async fn nothing_passes_without_a_verdict() {
    let backend = Backend::hello("hi").await;
    let dead = Dead::new();
    let mad = Backend::answering("HTTP/1.1 500 Mad\r\nContent-Length: 0\r\n\r\n").await;
    let silent = Backend::start(async |mut connection: Connection| {
        connection.head().await;
    })
    .await;
    let cases = [
        (dead.address(), 503),
        (mad.address(), 403),
        (silent.address(), 503),
    ];
    for (auth, status) in cases {
        let gateway = Gateway::start(authorised(backend.address(), auth, 0));
        let answers = ask(&gateway, false, GET).await;
        assert_eq!(answers.map(|it| it.status), [status; 2]);
    }
    assert_eq!(backend.requests().len(), 0);
    assert_eq!(cases.len(), 3);
}

#[tokio::test]
async fn a_share_without_a_service_is_500() {
    let backend = Backend::hello("hi").await;
    let gone = Destination {
        service: Err("there is no such Service".into()),
        filters: None,
    };
    let routes = Routes::new()
        .service("all", Protocol::Http1, &[backend.address()])
        .destinations(&[(Destination::from(0), 3), (gone, 1)]);
    let gateway = Gateway::start(routes);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.extend(ask(&gateway, false, GET).await.map(|it| it.status));
    }
    let failed = statuses.iter().filter(|status| **status == 500).count();
    assert!((8..=12).contains(&failed), "{statuses:?}");
    assert_eq!(backend.requests().len(), 40 - failed);
}
