//! Pages in place of failures: of backends, of Ferrix, and of who says no.

use std::{net::SocketAddr, sync::Arc};

use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Routes,
    backend::{Connection, Dead},
    http2_backend::Exchange,
};
use ferrix_table::{
    filters::{
        Filter,
        error_pages::{ErrorPages, Page},
        header_changes::HeaderChanges,
    },
    services::Protocol,
};

use crate::{Ask, GET, ask, ask_once, authority, field, filters};

fn here(status: Option<u16>) -> Filter {
    Filter::ErrorPages(Arc::new(ErrorPages {
        statuses: [404..=404, 500..=599].into(),
        status,
        page: Page::Here {
            body: Arc::from(b"<h1>sorry".as_slice()),
            content_type: field("Content-Type", "text/html"),
        },
    }))
}

/// A failure at `/STATUS`, with fields of its own and a body of `length` bytes.
async fn failing(length: usize) -> Backend {
    let body = "x".repeat(length);
    Backend::start(move |mut connection: Connection| {
        let body = body.clone();
        async move {
            while let Some(request) = connection.request().await {
                let status = &request.target()[1..];
                let head = format!(
                    "HTTP/1.1 {status} Odd\r\nContent-Length: {}\r\nETag: \"e\"\r\n\
                     Content-Encoding: gzip\r\nSet-Cookie: a=b\r\n\r\n",
                    body.len()
                );
                let body = if request.head.word(0) == "HEAD" {
                    ""
                } else {
                    &body
                };
                connection.send(format!("{head}{body}")).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn pages_take_the_place_of_bodies_and_leave_the_rest() {
    let cases = [
        ("/404", None, 404, true),
        ("/503", None, 503, true),
        ("/503", Some(200), 200, true),
        ("/200", None, 200, false),
        ("/403", None, 403, false),
    ];
    let mut ran = 0;
    for length in [0, 5, 20_000] {
        let backend = failing(length).await;
        for (path, status, expected, replaced) in cases {
            let added = HeaderChanges {
                add: [field("X-Added", "1")].into(),
                ..HeaderChanges::default()
            };
            let policy = filters([here(status), Filter::ResponseHeaders(added)]);
            let gateway = Gateway::start(Routes::all_to(&[backend.address()]).policy(policy));
            for http2 in [false, true] {
                for (method, body) in [("GET", ""), ("HEAD", ""), ("POST", "a body")] {
                    let request = Ask {
                        method,
                        path,
                        body,
                        ..GET
                    };
                    for answer in ask(&gateway, http2, request).await {
                        assert_eq!(answer.status, expected, "{path} {method}");
                        assert_eq!(answer.all("set-cookie"), ["a=b"]);
                        assert_eq!(answer.all("x-added"), ["1"]);
                        assert_eq!(answer.all("etag").len(), usize::from(!replaced));
                        if replaced {
                            assert_eq!(answer.all("content-type"), ["text/html"]);
                            assert_eq!(answer.all("content-length"), ["9"]);
                            assert!(answer.all("content-encoding").is_empty());
                            let page = if method == "HEAD" { "" } else { "<h1>sorry" };
                            assert_eq!(answer.body, page);
                        }
                        ran += 1;
                    }
                }
            }
            assert_eq!(
                backend.log().open,
                1,
                "{path}: its connection is used again"
            );
        }
        // One for each gateway.
        assert_eq!(backend.log().connections, cases.len());
    }
    assert_eq!(ran, 3 * 5 * 2 * 3 * 2);
}

/// A body that is long, or that never ends, delays nobody.
#[tokio::test]
async fn what_is_too_long_to_discard_costs_its_connection() {
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(request) = connection.request().await {
            connection
                .send("HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            match request.target() {
                "/long" => {
                    for _ in 0..8 {
                        connection.send(&chunk).await;
                    }
                    connection.send("0\r\n\r\n").await;
                }
                _ => return connection.left().await,
            }
        }
    })
    .await;
    let routes = Routes::all_to(&[backend.address()]).policy(filters([here(None)]));
    let gateway = Gateway::start(routes);
    let mut ran = 0;
    for http2 in [false, true] {
        for path in ["/long", "/endless"] {
            for answer in ask(&gateway, http2, Ask { path, ..GET }).await {
                assert_eq!((answer.status, &*answer.body), (500, "<h1>sorry"));
                ran += 1;
            }
        }
    }
    assert_eq!(ran, 8);
}

#[tokio::test]
async fn failures_of_ferrix_and_of_http2() {
    let dead = Dead::new();
    let two = Http2Backend::start(async |mut exchange: Exchange| {
        exchange.body().await;
        let end = exchange.head.method() == http::Method::HEAD;
        let mut stream = exchange.respond(500, &[("x-why", "two")], end);
        if !end {
            let _ = stream.send_data("broken".into(), true);
        }
    })
    .await;
    let policy = || filters([here(None)]);
    let cases = [
        (Routes::all_to(&[dead.address()]).policy(policy()), 502),
        (Routes::all_to(&[]).policy(policy()), 503),
        (Routes::new().unresolved("*", "").policy(policy()), 500),
        (
            Routes::all_by(Protocol::Http2, &[two.address()]).policy(policy()),
            500,
        ),
    ];
    let mut ran = 0;
    for (routes, status) in cases {
        let gateway = Gateway::start(routes);
        for http2 in [false, true] {
            for (method, page) in [("GET", "<h1>sorry"), ("HEAD", "")] {
                for answer in ask(&gateway, http2, Ask { method, ..GET }).await {
                    assert_eq!((answer.status, &*answer.body), (status, page));
                    assert_eq!(answer.all("content-length"), ["9"]);
                    ran += 1;
                }
            }
        }
    }
    assert_eq!(ran, 4 * 2 * 2 * 2);
    assert_eq!(two.log().connections, 1);
}

fn asked(backend: SocketAddr, pages: SocketAddr) -> Routes {
    let routes = Routes::new()
        .service("all", Protocol::Http1, &[backend])
        .service("pages", Protocol::Http1, &[pages])
        .rule("*", "", &[("all", 1)]);
    let service = Ok(routes.index("pages"));
    routes.policy(filters([Filter::ErrorPages(Arc::new(ErrorPages {
        statuses: [400..=599].into(),
        status: None,
        page: Page::Service {
            service,
            path: ["/pages/".into(), ".html".into()].into(),
        },
    }))]))
}

#[tokio::test]
async fn another_service_has_the_pages() {
    let [backend, pages] = [
        failing(5).await,
        Backend::answering(
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: text/x\r\nETag: \"p\"\r\n\r\npage",
        )
        .await,
    ];
    let gateway = Gateway::start(asked(backend.address(), pages.address()));
    let mut ran = 0;
    for http2 in [false, true] {
        let request = Ask {
            method: "POST",
            path: "/503",
            fields: &[("Accept", "text/x"), ("Cookie", "secret"), ("X-A", "1")],
            body: "a body",
        };
        for answer in ask(&gateway, http2, request).await {
            assert_eq!((answer.status, &*answer.body), (503, "page"));
            assert_eq!(answer.all("content-type"), ["text/x"]);
            assert_eq!(answer.all("set-cookie"), ["a=b"]);
            assert!(answer.all("etag").is_empty());
            let asked = pages.last();
            assert_eq!(
                (asked.head.word(0), asked.target()),
                ("GET", "/pages/503.html")
            );
            assert_eq!(asked.head.one("host"), Some("example.com"));
            assert_eq!(asked.head.one("accept"), Some("text/x"));
            assert!(!asked.head.has("cookie") && !asked.head.has("x-a"));
            assert!(asked.body.is_empty());
            ran += 1;
        }
    }
    assert_eq!(ran, 4);
    assert_eq!((backend.log().connections, pages.log().connections), (1, 1));
}

#[tokio::test]
async fn without_a_page_the_original_answer_goes_out() {
    let backend = failing(20_000).await;
    let dead = Dead::new();
    let missing = Backend::answering("HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno").await;
    let long = "x".repeat(256 * 1024 + 1);
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{long}",
        long.len()
    );
    let long = Backend::answering(long).await;
    let mut ran = 0;
    for pages in [dead.address(), missing.address(), long.address()] {
        let gateway = Gateway::start(asked(backend.address(), pages));
        for http2 in [false, true] {
            for answer in ask(
                &gateway,
                http2,
                Ask {
                    path: "/500",
                    ..GET
                },
            )
            .await
            {
                assert_eq!((answer.status, answer.body.len()), (500, 20_000));
                assert_eq!(answer.all("etag"), ["\"e\""]);
                ran += 1;
            }
        }
    }
    assert_eq!(ran, 3 * 2 * 2);
}

#[tokio::test]
async fn who_may_not_pass_is_told_so_on_a_page() {
    let [backend, auth] = [Backend::hello("hi").await, authority().await];
    let routes = Routes::new()
        .service("all", Protocol::Http1, &[backend.address()])
        .service("auth", Protocol::Http1, &[auth.address()])
        .rule("*", "", &[("all", 1)]);
    let auth = Filter::ExternalAuth(routes.external_auth("auth"));
    let pages = Filter::ErrorPages(Arc::new(ErrorPages {
        statuses: [401..=401].into(),
        status: None,
        page: Page::Here {
            body: Arc::from(b"log in".as_slice()),
            content_type: field("Content-Type", "text/plain"),
        },
    }));
    let gateway = Gateway::start(routes.policy(filters([pages, auth])));
    for http2 in [false, true] {
        let answer = ask_once(&gateway, http2, GET).await;
        assert_eq!((answer.status, &*answer.body), (401, "log in"));
        assert_eq!(answer.all("www-authenticate"), ["Basic"]);
    }
    assert_eq!(backend.requests().len(), 0);
}
