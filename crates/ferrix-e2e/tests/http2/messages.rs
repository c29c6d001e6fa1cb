//! Requests and responses: what arrives on the other side, and what is malformed.

use bytes::Bytes;
use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Routes,
    backend::{Connection, ok},
    client::get,
    frames::{END_HEADERS, END_STREAM, Frames, block, frame, kind},
    http2_backend::Exchange,
    wire::Framing,
};
use ferrix_table::services::Protocol;
use http::Request;

use crate::{fields, with_fields};

#[tokio::test]
async fn request_trailers_reach_an_http1_backend() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.http2().await;
    let trailers = fields(&[
        ("x-checksum", "17"),
        ("content-length", "99"),
        ("host", "evil"),
    ]);
    let request = client.request("POST", "/");
    let response = client
        .post(request, "message", Some(trailers))
        .await
        .unwrap();
    assert_eq!(response.text(), "hi");
    let request = backend.last();
    assert_eq!(request.body, b"message");
    assert_eq!(
        request.trailers,
        [("x-checksum".to_owned(), "17".to_owned())]
    );
    // The connection is in step.
    assert_eq!(client.get("/").await.text(), "hi");
    assert_eq!(backend.log().connections, 1);
}

#[tokio::test]
async fn response_trailers_reach_an_http1_client_that_wants_them() {
    let backend = Http2Backend::start(async |mut exchange: Exchange| {
        exchange.body().await;
        let mut stream = exchange.respond(200, &[], false);
        let _ = stream.send_data(Bytes::from_static(b"body"), false);
        let _ = stream.send_trailers(fields(&[("grpc-status", "0")]));
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.client().await;
    for (te, expected) in [("TE: trailers\r\n", true), ("", false)] {
        let response = client
            .exchange(format!("GET / HTTP/1.1\r\nHost: example.com\r\n{te}\r\n"))
            .await;
        assert_eq!(
            (response.framing, &*response.text()),
            (Framing::Chunked, "body")
        );
        let trailers = [("grpc-status".to_owned(), "0".to_owned())];
        assert_eq!(response.trailers, trailers[..usize::from(expected)]);
    }
    client
        .send("GET / HTTP/1.0\r\nHost: example.com\r\nTE: trailers\r\n\r\n")
        .await;
    assert_eq!(client.response().await.text(), "body");
    client.closed().await;
}

#[tokio::test]
async fn early_hints_in_every_direction() {
    let http1 = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection
                .send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
                .await;
            connection.send(ok("final")).await;
        }
    })
    .await;
    let http2 = Http2Backend::start(async |mut exchange: Exchange| {
        let early = http::Response::builder()
            .status(103)
            .header("link", "</a.css>");
        exchange
            .respond
            .send_informational(early.body(()).unwrap())
            .unwrap();
        let mut stream = exchange.respond(200, &[], false);
        let _ = stream.send_data(Bytes::from_static(b"final"), true);
    })
    .await;
    let gateway = Gateway::start(
        Routes::new()
            .service("h1", Protocol::Http1, &[http1.address()])
            .service("h2", Protocol::Http2, &[http2.address()])
            .rule("*", "Path(`/h1`)", &[("h1", 1)])
            .rule("*", "Path(`/h2`)", &[("h2", 1)]),
    );
    let mut client = gateway.http2().await;
    for path in ["/h1", "/h2"] {
        let response = client.get(path).await;
        assert_eq!(response.text(), "final", "{path}");
        assert_eq!(response.interim.len(), 1, "{path}");
        assert_eq!(response.interim[0].status(), 103);
        assert_eq!(response.interim[0].headers()["link"], "</a.css>");
    }
    let mut client = gateway.client().await;
    client.send(get("/h2")).await;
    let early = client.head().await;
    assert_eq!(
        (early.word(1), early.one("link")),
        ("103", Some("</a.css>"))
    );
    assert_eq!(client.response().await.text(), "final");
}

#[tokio::test]
async fn cookies_are_joined_for_http1() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.http2().await;
    let request = client.request("GET", "/");
    let request = with_fields(
        request,
        &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3; d=4")],
    );
    client.fetch(request).await.unwrap();
    assert_eq!(
        backend.last().head.one("cookie"),
        Some("a=1; b=2; c=3; d=4")
    );
}

#[tokio::test]
async fn expect_over_http2() {
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(head) = connection.head().await {
            if head.has("expect") {
                connection.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            }
            connection.body().await;
            connection.send(ok("thanks")).await;
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.http2().await;
    for _ in 0..2 {
        let request = client.request("POST", "/");
        let request = with_fields(request, &[("expect", "100-continue")]);
        let response = client.post(request, "hello", None).await.unwrap();
        assert_eq!(response.text(), "thanks");
        assert_eq!(backend.last().body, b"hello");
    }
}

#[tokio::test]
async fn methods_that_no_proxy_serves() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.http2().await;
    let request = client.request("TRACE", "/");
    assert_eq!(client.fetch(request).await.unwrap().status, 405);
    let request = Request::connect("example.com:443").body(()).unwrap();
    let response = client.fetch(request).await;
    assert!(response.is_err() || response.unwrap().status == 405);
    assert!(backend.requests().is_empty());
}

#[tokio::test]
async fn malformed_requests_never_reach_a_backend_whole() {
    let pseudo = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "example.com"),
        (":path", "/"),
    ];
    let cases: [(&str, &[(&str, &str)]); 12] = [
        ("connection", &[("connection", "close")]),
        ("transfer-encoding", &[("transfer-encoding", "chunked")]),
        ("upgrade", &[("upgrade", "websocket")]),
        ("keep-alive", &[("keep-alive", "5")]),
        ("te", &[("te", "gzip")]),
        ("upper case", &[("X-Upper", "1")]),
        ("a space in a name", &[("x y", "1")]),
        (
            "a line feed in a value",
            &[("x-y", "1\r\nx-forwarded-for: 6.6.6.6")],
        ),
        ("NUL in a value", &[("x-y", "1\0b")]),
        (
            "two lengths",
            &[("content-length", "4"), ("content-length", "5")],
        ),
        ("a bad length", &[("content-length", "+4")]),
        ("a length that lies", &[("content-length", "5")]),
    ];
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.send(ok("hi")).await;
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    for (what, extra) in cases {
        let fields = [&pseudo[..], extra].concat();
        let mut frames = Frames::connect(gateway.web, &[]).await;
        frames
            .send(&frame(kind::HEADERS, END_HEADERS, 1, &block(&fields)))
            .await;
        frames
            .send(&frame(kind::DATA, END_STREAM, 1, b"body"))
            .await;
        let refused = loop {
            match frames.next().await {
                None => break true,
                Some(frame) if [kind::RST_STREAM, kind::GOAWAY].contains(&frame.kind) => {
                    break true;
                }
                Some(frame) if frame.kind == kind::HEADERS => break frame.payload[0] == 0x8c,
                Some(_) => {}
            }
        };
        assert!(refused, "{what}");
        assert!(backend.requests().iter().all(|it| !it.complete), "{what}");
    }
    for (what, fields) in [
        ("no path", [pseudo[0], pseudo[1], pseudo[2]].to_vec()),
        (
            "an empty path",
            vec![pseudo[0], pseudo[1], pseudo[2], (":path", "")],
        ),
        ("two paths", [&pseudo[..], &[(":path", "/two")]].concat()),
        (
            "a pseudo-header of responses",
            [&pseudo[..], &[(":status", "200")]].concat(),
        ),
        (
            "pseudo-headers last",
            [&[("x-y", "1")][..], &pseudo].concat(),
        ),
    ] {
        let mut frames = Frames::connect(gateway.web, &[]).await;
        let flags = END_HEADERS | END_STREAM;
        frames
            .send(&frame(kind::HEADERS, flags, 1, &block(&fields)))
            .await;
        let refused = loop {
            match frames.next().await {
                None => break true,
                Some(frame) if [kind::RST_STREAM, kind::GOAWAY].contains(&frame.kind) => {
                    break true;
                }
                Some(frame) if frame.kind == kind::HEADERS => break frame.payload[0] == 0x8c,
                Some(_) => {}
            }
        };
        assert!(refused, "{what}");
    }
    assert!(backend.requests().iter().all(|it| !it.complete));
}
