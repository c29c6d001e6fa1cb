//! Responses that are kept, judged by what the backend was asked: over both protocols on both sides, on
//! fresh connections and on reused ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Routes,
    backend::{Connection, Received},
    client::get,
    clients::Clients,
    http2_backend::Exchange,
    within,
};
use ferrix_table::{
    filters::{
        Filter,
        cache::{Cache, CacheTerms},
        compression::{Compression, ContentEncoding},
        error_pages::{ErrorPages, Page},
        header_changes::{Field, HeaderChanges},
        ip_filter::IpFilter,
        lasting::{FilterId, Lasting},
    },
    object::{Key, Kind},
    policy::Policy,
    services::Protocol,
};
use tokio::sync::Semaphore;

fn cache(purge: Option<&str>) -> Box<Cache> {
    Box::new(Cache {
        max_bytes: 1 << 20,
        terms: CacheTerms {
            max_object_bytes: 1 << 16,
            default_ttl: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        },
        key_headers: Box::default(),
        purge: purge.map(Into::into),
        state: Lasting::new(FilterId {
            object: Key::new(Kind::IngressRoute, "default", "route-0"),
            place: "rules[0].filters[0].cache".into(),
        }),
    })
}

fn policy(filters: impl Into<Arc<[Filter]>>) -> Policy {
    Policy::of(filters)
}

fn cached(routes: Routes) -> Gateway {
    Gateway::start(routes.policy(policy([Filter::Cache(cache(None))])))
}

/// Answers each request by what it is and how many there were before.
async fn backend(answer: impl Fn(&Received, usize) -> String + Send + Sync + 'static) -> Backend {
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    Backend::start(move |mut connection: Connection| {
        let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
        async move {
            while let Some(request) = connection.request().await {
                let before = count.fetch_add(1, SeqCst);
                if !connection.send(answer(&request, before)).await {
                    return;
                }
            }
        }
    })
    .await
}

fn ok(lines: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{lines}\r\n{body}")
}

const MINUTE: &str = "Cache-Control: max-age=60\r\n";

#[tokio::test]
async fn a_hit_asks_no_backend() {
    let mut ran = 0;
    for to_backend in [false, true] {
        let one = backend(|_, number| ok(&format!("{MINUTE}ETag: \"v\"\r\n"), &number.to_string()));
        let one = one.await;
        let two = Http2Backend::start(async |mut exchange: Exchange| {
            exchange.body().await;
            let fields = [("cache-control", "max-age=60"), ("etag", "\"v\"")];
            let mut stream = exchange.respond(200, &fields, false);
            let _ = stream.send_data("0".into(), true);
        })
        .await;
        let gateway = cached(match to_backend {
            false => Routes::all_to(&[one.address()]),
            true => Routes::all_by(Protocol::Http2, &[two.address()]),
        });
        let mut clients = Clients::new(&gateway).await;
        for http2 in [false, true, false, true] {
            let answer = clients.ask(http2, "GET", "/", &[]).await;
            assert_eq!((answer.status, &*answer.text()), (200, "0"));
            let status = answer.one("cache-status").unwrap();
            let expected = match ran % 7 {
                0 => "ferrix; fwd=miss; stored",
                _ => "ferrix; hit; ttl=",
            };
            assert!(status.starts_with(expected), "{status}");
            assert_eq!(answer.one("age").is_some(), ran % 7 > 0);
            ran += 1;
        }
        for http2 in [false, true] {
            let answer = clients.ask(http2, "HEAD", "/", &[]).await;
            assert_eq!((answer.status, answer.body.len()), (200, 0));
            assert_eq!(answer.one("content-length"), Some("1"));
            let answer = clients
                .ask(http2, "GET", "/", &[("If-None-Match", "W/\"v\"")])
                .await;
            assert_eq!((answer.status, answer.body.len()), (304, 0));
            assert_eq!(answer.one("etag"), Some("\"v\""));
        }
        ran += 3;
        let asked = match to_backend {
            false => one.requests().len(),
            true => two.log().requests.len(),
        };
        assert_eq!(asked, 1);
        let counters = &gateway.counters().cache;
        assert_eq!((counters.hits.get(), counters.misses.get()), (7, 1));
    }
    assert_eq!(ran, 14);
}

/// What is kept is what the backend has sent, and each client gets the page.
#[tokio::test]
async fn a_failure_is_kept_under_its_page() {
    let page = Filter::ErrorPages(Arc::new(ErrorPages {
        statuses: [404..=404].into(),
        status: None,
        page: Page::Here {
            body: Arc::from(b"no such page".as_slice()),
            content_type: Field {
                name: "Content-Type".into(),
                value: "text/plain".into(),
            },
        },
    }));
    let cache = || Filter::Cache(cache(None));
    let mut ran = 0;
    for (length, list) in [
        (0, [page.clone(), cache()]),
        (4, [page.clone(), cache()]),
        (20_000, [cache(), page.clone()]),
    ] {
        let backend = backend(move |_, _| {
            let body = "x".repeat(length);
            format!("HTTP/1.1 404 No\r\nContent-Length: {length}\r\n{MINUTE}\r\n{body}")
        })
        .await;
        let gateway = Gateway::start(Routes::all_to(&[backend.address()]).policy(policy(list)));
        let mut clients = Clients::new(&gateway).await;
        for (http2, method) in [
            (false, "GET"),
            (true, "GET"),
            (false, "HEAD"),
            (true, "HEAD"),
        ] {
            let answer = clients.ask(http2, method, "/", &[]).await;
            let body = if method == "GET" { "no such page" } else { "" };
            assert_eq!((answer.status, &*answer.text()), (404, body));
            assert_eq!(answer.one("content-length"), Some("12"));
            ran += 1;
        }
        assert_eq!(backend.requests().len(), 1, "{length} bytes");
        // What was kept is whole: without the page it goes out as it came.
        gateway.publish(Routes::all_to(&[backend.address()]).policy(policy([cache()])));
        let answer = clients.ask(false, "GET", "/", &[]).await;
        assert_eq!((answer.status, answer.body.len()), (404, length));
        assert_eq!(backend.requests().len(), 1, "{length} bytes");
    }
    assert_eq!(ran, 12);
}

/// CVE-2026-2836: what answers one host or one query may not answer another.
#[tokio::test]
async fn what_is_asked_for_tells_answers_apart() {
    let backend = backend(|request, _| {
        let host = request.head.one("host").unwrap();
        ok(MINUTE, &format!("{host}{}", request.target()))
    })
    .await;
    let gateway = cached(Routes::all_to(&[backend.address()]));
    let mut clients = Clients::new(&gateway).await;
    let paths = ["/", "/a", "/?a", "/?b", "/a?"];
    let mut ran = 0;
    for _ in 0..2 {
        for host in ["a.test", "b.test"] {
            for path in paths {
                let http2 = ran % 2 == 1;
                let answer = clients.ask(http2, "GET", path, &[("Host", host)]).await;
                assert_eq!(answer.text(), format!("{host}{path}"));
                ran += 1;
            }
        }
    }
    assert_eq!((ran, backend.requests().len()), (20, 10));
}

/// CVE-2025-4366: the body of a request that a cache answers is no further request.
#[tokio::test]
async fn a_body_is_never_taken_for_the_next_request() {
    let backend = backend(|request, _| ok(MINUTE, request.target())).await;
    let gateway = cached(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.text(), "/");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let length = smuggled.len();
    let bodies = [
        format!("Content-Length: {length}\r\n\r\n{smuggled}"),
        format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{smuggled}\r\n0\r\n\r\n"),
    ];
    for body in &bodies {
        let both = format!(
            "GET / HTTP/1.1\r\nHost: example.com\r\n{body}{}",
            get("/next")
        );
        client.send(both).await;
        assert_eq!(client.response().await.text(), "/");
        assert_eq!(client.response().await.text(), "/next");
    }
    let targets: Vec<_> = backend
        .requests()
        .iter()
        .map(|it| it.target().to_owned())
        .collect();
    assert_eq!(targets, ["/", "/", "/next", "/"]);
    assert_eq!(backend.requests()[1].body, smuggled.as_bytes());
}

#[tokio::test]
async fn who_may_have_what() {
    let backend = backend(|request, number| {
        let lines = match request.target().rsplit('/').next().unwrap() {
            "cookie" => format!("{MINUTE}Set-Cookie: a=b\r\n"),
            "private" => "Cache-Control: private, max-age=60\r\n".to_owned(),
            "public" => "Cache-Control: public, max-age=60\r\n".to_owned(),
            "silent" => String::new(),
            "language" => format!("{MINUTE}Vary: Accept-Language\r\n"),
            _ => MINUTE.to_owned(),
        };
        ok(&lines, &number.to_string())
    })
    .await;
    let gateway = cached(Routes::all_to(&[backend.address()]));
    let mut clients = Clients::new(&gateway).await;
    let authorized: &[(&str, &str)] = &[("Authorization", "Basic x")];
    let cookie: &[(&str, &str)] = &[("Cookie", "a=b")];
    let (german, french) = (&[("Accept-Language", "de")], &[("Accept-Language", "fr")]);
    type Lines<'c> = &'c [(&'c str, &'c str)];
    let cases: [(&str, Lines<'_>, Lines<'_>, bool); 12] = [
        ("said", &[], &[], true),
        ("said", &[], cookie, true),
        ("said", &[], authorized, false),
        ("language", german, german, true),
        ("said", &[], &[("Cache-Control", "no-cache")], false),
        ("said", &[], &[("Range", "bytes=0-0")], false),
        ("said", authorized, authorized, false),
        ("cookie", &[], &[], false),
        ("private", &[], &[], false),
        ("public", authorized, authorized, true),
        ("silent", &[], &[], false),
        ("language", german, french, false),
    ];
    for (place, (kind, first, second, hits)) in cases.into_iter().enumerate() {
        let path = format!("/{place}/{kind}");
        let before = clients.ask(false, "GET", &path, first).await.text();
        let after = clients.ask(true, "GET", &path, second).await.text();
        assert_eq!(before == after, hits, "{path} {second:?}");
    }
    assert_eq!(cases.len(), 12);
}

/// Whom another service lets pass may have what is for all, as whoever sends `Authorization`: no page of one user
/// for another.
#[tokio::test]
async fn who_was_let_pass_gets_what_is_for_all() {
    let authority = backend(|_, _| ok("X-User: alice\r\n", "")).await;
    let backend = backend(|request, number| {
        let lines = match request.target() {
            "/public" => "Cache-Control: public, max-age=60\r\n",
            _ => MINUTE,
        };
        ok(lines, &number.to_string())
    })
    .await;
    let routes = Routes::new()
        .service("all", Protocol::Http1, &[backend.address()])
        .service("authority", Protocol::Http1, &[authority.address()])
        .rule("*", "", &[("all", 1)]);
    let auth = routes.external_auth("authority");
    let filters = [Filter::ExternalAuth(auth), Filter::Cache(cache(None))];
    let gateway = Gateway::start(routes.policy(policy(filters)));
    let mut clients = Clients::new(&gateway).await;
    for (path, hits) in [("/own", false), ("/public", true)] {
        let first = clients.ask(false, "GET", path, &[]).await.text();
        let second = clients.ask(true, "GET", path, &[]).await.text();
        assert_eq!(first == second, hits, "{path}");
    }
    assert_eq!(
        (backend.requests().len(), authority.requests().len()),
        (3, 4)
    );
}

#[tokio::test]
async fn one_fetches_for_all() {
    let gate = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&gate);
    let backend = Backend::start(move |mut connection: Connection| {
        let permits = Arc::clone(&permits);
        async move {
            while let Some(request) = connection.request().await {
                permits.acquire().await.unwrap().forget();
                let lines = match request.target() {
                    "/kept" => MINUTE,
                    _ => "Cache-Control: no-store\r\n",
                };
                connection.send(ok(lines, "hi")).await;
            }
        }
    })
    .await;
    let gateway = cached(Routes::all_to(&[backend.address()]));
    let counters = gateway.counters();
    for (path, fetched) in [("/kept", 1), ("/own", 10)] {
        let before = backend.requests().len();
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut client = gateway.client().await;
            client.send(get(path)).await;
            clients.push(client);
        }
        backend
            .wait("the first request", |log| log.requests.len() > before)
            .await;
        gate.add_permits(fetched);
        for client in &mut clients {
            assert_eq!(client.response().await.text(), "hi");
        }
        assert_eq!(backend.requests().len() - before, fetched, "{path}");
    }
    assert_eq!(counters.cache.hits.get(), 9);
}

/// The client for which a response is fetched leaves, and those who wait for it are served.
#[tokio::test]
async fn a_fetch_that_fails_fails_nobody_else() {
    let (backend, gate) = Backend::gated("hi").await;
    let gateway = cached(Routes::all_to(&[backend.address()]));
    let mut first = gateway.client().await;
    first.send(get("/")).await;
    backend
        .wait("the first request", |log| log.requests.len() == 1)
        .await;
    let mut second = gateway.client().await;
    second.send(get("/")).await;
    drop(first);
    backend
        .wait("the second request", |log| log.requests.len() == 2)
        .await;
    gate.add_permits(2);
    assert_eq!(second.response().await.text(), "hi");
}

/// Nothing is kept of which it is not known that it is whole.
#[tokio::test]
async fn what_breaks_off_is_not_kept() {
    let cases = [
        ("Content-Length: 10\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
        // Its end cannot be told from a connection that broke.
        ("", "hello"),
    ];
    for (framing, body) in cases {
        let backend = Backend::start(move |mut connection: Connection| async move {
            connection.request().await;
            let head = format!("HTTP/1.1 200 OK\r\n{MINUTE}{framing}");
            connection.send(format!("{head}\r\n{body}")).await;
        })
        .await;
        let gateway = cached(Routes::all_to(&[backend.address()]));
        for _ in 0..2 {
            let mut client = gateway.client().await;
            client.send(get("/")).await;
            let whole = client.try_response("GET").await.is_ok();
            assert_eq!(whole, framing.is_empty(), "{framing}");
        }
        assert_eq!(backend.requests().len(), 2, "{framing}");
    }
    assert_eq!(cases.len(), 3);
}

#[tokio::test]
async fn what_is_stale_answers_while_it_is_fetched_anew() {
    let lines = "Cache-Control: max-age=0, stale-while-revalidate=60\r\nETag: \"v\"\r\n";
    let backend = backend(move |request, number| {
        assert_eq!(request.head.one("if-none-match").is_some(), number > 0);
        assert_eq!(request.head.one("x-changed"), Some("1"));
        match number {
            0 => ok(lines, "old"),
            _ => ok(MINUTE, "new"),
        }
    })
    .await;
    let changes = HeaderChanges {
        set: [Field {
            name: "X-Changed".into(),
            value: "1".into(),
        }]
        .into(),
        ..HeaderChanges::default()
    };
    let filters = [Filter::Cache(cache(None)), Filter::RequestHeaders(changes)];
    let routes = Routes::all_to(&[backend.address()]).policy(policy(filters));
    let gateway = Gateway::start(routes);
    let mut clients = Clients::new(&gateway).await;
    assert_eq!(clients.ask(false, "GET", "/", &[]).await.text(), "old");
    assert_eq!(clients.ask(true, "GET", "/", &[]).await.text(), "old");
    let until_new = async {
        while clients.ask(false, "GET", "/", &[]).await.text() == "old" {
            tokio::task::yield_now().await;
        }
    };
    within("what was fetched anew", until_new).await;
    assert_eq!(backend.requests().len(), 2);
    assert!(gateway.counters().cache.stale.get() > 0);
}

#[tokio::test]
async fn what_is_stale_answers_while_the_backend_does_not() {
    let lines = "Cache-Control: max-age=0, stale-if-error=60\r\n";
    let backend = backend(move |_, number| match number {
        0 => ok(lines, "hi"),
        1 => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nlost".to_owned(),
        _ => "nonsense\r\n\r\n".to_owned(),
    })
    .await;
    let gateway = cached(Routes::all_to(&[backend.address()]));
    let mut clients = Clients::new(&gateway).await;
    for (number, http2) in [false, true, false, true].into_iter().enumerate() {
        let answer = clients.ask(http2, "GET", "/", &[]).await;
        assert_eq!((answer.status, &*answer.text()), (200, "hi"), "{number}");
        let status = answer.one("cache-status").unwrap();
        assert_eq!(status.contains("fwd=stale"), number > 0, "{status}");
    }
    assert!(backend.requests().len() >= 4);
}

/// What is kept is good still when the backend says so.
#[tokio::test]
async fn what_is_stale_is_asked_about() {
    let backend = backend(|request, number| {
        let tag = format!(
            "Cache-Control: max-age=0, stale-if-error=1\r\nETag: \"v\"\r\nX-Number: {number}\r\n"
        );
        match request.head.one("if-none-match") {
            None => ok(&tag, "hi"),
            Some(known) => {
                assert_eq!(known, "\"v\"");
                format!("HTTP/1.1 304 Not Modified\r\n{tag}\r\n")
            }
        }
    })
    .await;
    let gateway = cached(Routes::all_to(&[backend.address()]));
    let mut clients = Clients::new(&gateway).await;
    for number in 0..4 {
        // Whatever the client knows.
        let fields = [("If-None-Match", "\"other\"")];
        let answer = clients.ask(number % 2 == 1, "GET", "/", &fields).await;
        assert_eq!((answer.status, &*answer.text()), (200, "hi"), "{number}");
        assert_eq!(answer.one("x-number"), Some(&*number.to_string()));
    }
    let answer = clients
        .ask(true, "GET", "/", &[("If-None-Match", "\"v\"")])
        .await;
    assert_eq!(answer.status, 304);
}

#[tokio::test]
async fn changes_and_purges_forget() {
    let backend = backend(|_, number| ok(MINUTE, &number.to_string())).await;
    let routes = |purge| {
        let filters = [Filter::Cache(cache(purge))];
        Routes::all_to(&[backend.address()]).policy(policy(filters))
    };
    let gateway = Gateway::start(routes(None));
    let mut clients = Clients::new(&gateway).await;
    assert_eq!(clients.ask(false, "GET", "/", &[]).await.text(), "0");
    // A table that says the same leaves it where it is.
    gateway.publish(routes(None));
    assert_eq!(clients.ask(true, "GET", "/", &[]).await.text(), "0");
    gateway.publish(routes(Some("today")));
    assert_eq!(clients.ask(true, "GET", "/", &[]).await.text(), "1");
    assert_eq!(clients.ask(false, "GET", "/", &[]).await.text(), "1");
    assert_eq!(clients.ask(false, "DELETE", "/", &[]).await.text(), "2");
    assert_eq!(clients.ask(true, "GET", "/", &[]).await.text(), "3");
    assert_eq!(clients.ask(true, "GET", "/", &[]).await.text(), "3");
    assert_eq!(backend.requests().len(), 4);
}

/// Who may have an answer is asked of each request, wherever in the list that stands.
#[tokio::test]
async fn a_cache_does_not_answer_for_a_guard_behind_it() {
    let backend = backend(|_, number| ok(MINUTE, &number.to_string())).await;
    let guard = Filter::IpFilter(IpFilter::new(
        ["127.0.0.0/8".parse().unwrap()].into(),
        Box::default(),
    ));
    let kept = || Filter::Cache(cache(None));
    let mut ran = 0;
    for (filters, hits) in [
        ([guard.clone(), kept()], true),
        ([kept(), guard.clone()], false),
    ] {
        let routes = Routes::all_to(&[backend.address()]).policy(policy(filters));
        let gateway = Gateway::start(routes);
        let mut clients = Clients::new(&gateway).await;
        let before = clients.ask(false, "GET", "/", &[]).await;
        let after = clients.ask(true, "GET", "/", &[]).await;
        assert_eq!(before.body == after.body, hits);
        if !hits {
            assert_eq!(after.one("cache-status"), Some("ferrix; fwd=bypass"));
        }
        ran += 1;
    }
    assert_eq!(ran, 2);
}

/// Filters of responses work on what is kept, for each client anew.
#[tokio::test]
async fn what_is_kept_is_compressed_for_those_who_take_it() {
    let body = "all work and no play ".repeat(100);
    let text = body.clone();
    let backend =
        backend(move |_, _| ok(&format!("{MINUTE}Content-Type: text/plain\r\n"), &text)).await;
    let compression = Filter::Compression(Compression {
        encodings: ContentEncoding::ALL.into(),
        min_bytes: 0,
        content_types: Box::default(),
    });
    let kept = Filter::Cache(cache(None));
    let mut ran = 0;
    for filters in [[kept.clone(), compression.clone()], [compression, kept]] {
        let routes = Routes::all_to(&[backend.address()]).policy(policy(filters));
        let gateway = Gateway::start(routes);
        let mut clients = Clients::new(&gateway).await;
        for http2 in [false, true, false, true] {
            let answer = clients.ask(http2, "GET", "/", &[]).await;
            assert_eq!(answer.text(), body);
            let fields = [("Accept-Encoding", "gzip")];
            let answer = clients.ask(http2, "GET", "/", &fields).await;
            assert_eq!(answer.one("content-encoding"), Some("gzip"));
            assert_eq!(answer.all("vary"), ["Accept-Encoding"]);
            assert!(answer.body.len() < body.len() / 2);
            ran += 1;
        }
    }
    assert_eq!((ran, backend.requests().len()), (8, 2));
}
