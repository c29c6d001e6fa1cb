//! Requests and responses: what arrives on the other side, and in which framing.

use std::time::Duration;

use ferrix_e2e::{
    Backend,
    backend::{Connection, ok},
    client::get,
    wire::{Framing, chunked},
};

use crate::{echo, post, to};

#[tokio::test]
async fn a_get_arrives_and_its_answer_comes_back() {
    let backend = Backend::answering(
        "HTTP/1.1 200 Fine\r\nServer: theirs\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\nhi",
    )
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    let response = client
        .exchange("GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-Mine: 2\r\nAccept: x\r\n\r\n")
        .await;
    assert_eq!((response.status, &*response.text()), (200, "hi"));
    assert_eq!(response.head.one("server"), Some("theirs"));
    assert_eq!(response.head.one("x-own"), Some("1"));
    assert_eq!(response.framing, Framing::Length(2));
    let request = backend.last();
    assert_eq!(request.head.start, "GET /a?b=c HTTP/1.1");
    assert_eq!(request.head.one("host"), Some("example.com"));
    assert_eq!(request.head.one("x-mine"), Some("2"));
    assert_eq!(request.head.one("accept"), Some("x"));
    assert_eq!(request.head.one("content-length"), None);
    assert_eq!(request.head.one("transfer-encoding"), None);
}

#[tokio::test]
async fn responses_without_a_body_leave_the_connection_in_step() {
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(request) = connection.request().await {
            connection
                .send(match request.target() {
                    "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                    "/head-chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                    "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n",
                    "/304-length" => {
                        "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 7\r\n\r\n"
                    }
                    _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                })
                .await;
        }
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    let cases = [
        ("HEAD", "/head", 200),
        ("HEAD", "/head-chunked", 200),
        ("GET", "/204", 204),
        ("GET", "/304", 304),
        ("GET", "/304-length", 304),
        ("GET", "/empty", 200),
        ("OPTIONS", "*", 200),
    ];
    for (method, path, status) in cases {
        client
            .send(format!(
                "{method} {path} HTTP/1.1\r\nHost: example.com\r\n\r\n"
            ))
            .await;
        let response = client.try_response(method).await.expect(path);
        assert_eq!(response.status, status, "{path}");
        assert!(response.body.is_empty(), "{path}");
        if path == "/head" {
            assert_eq!(response.head.one("content-length"), Some("1000"));
        }
        if path == "/204" {
            assert!(
                !response.head.has("content-length") && !response.head.has("transfer-encoding")
            );
        }
    }
    assert_eq!(backend.requests().len(), cases.len());
    assert_eq!(
        backend.log().connections,
        1,
        "each response left the connection clean"
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::mirror().await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    let all = [
        get("/1").into_bytes(),
        post("/2", b"body"),
        get("/3").into_bytes(),
    ]
    .concat();
    client.send(all).await;
    for path in ["/1", "/2", "/3"] {
        let text = client.response().await.text();
        assert!(text.contains(&format!(" {path} ")), "{text}");
    }
    assert_eq!(backend.requests()[1].body, b"body");
    assert_eq!(client.get("/4").await.status, 200);
}

#[tokio::test]
async fn bodies_keep_their_framing() {
    let backend = echo().await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;

    assert_eq!(client.exchange(post("/", b"abc")).await.body, b"abc");
    assert_eq!(backend.last().head.one("content-length"), Some("3"));

    assert_eq!(client.exchange(post("/", b"")).await.body, b"");
    assert_eq!(backend.last().head.one("content-length"), Some("0"));

    client
        .send("POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    // A chunk in two pieces, one of them within its size.
    for piece in [
        "1",
        "0\r\n01234567",
        "89abcdef\r\n",
        "1\r\nz\r\n0",
        "\r\n\r\n",
    ] {
        client.send(piece).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let response = client.response().await;
    assert_eq!(response.body, b"0123456789abcdefz");
    assert_eq!(response.framing, Framing::Chunked);
    assert_eq!(
        backend.last().head.one("transfer-encoding"),
        Some("chunked")
    );
    assert_eq!(backend.log().connections, 1);
}

#[tokio::test]
async fn a_header_section_may_come_in_pieces() {
    let backend = Backend::hello("hi").await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for round in 0..2 {
        for piece in [
            "G",
            "ET / HT",
            "TP/1.1\r",
            "\nHost: exam",
            "ple.com\r\n",
            "\r",
            "\n",
        ] {
            client.send(piece).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(client.response().await.text(), "hi", "{round}");
    }
}

#[tokio::test]
async fn a_response_without_length_goes_on_in_chunks() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection.send("HTTP/1.1 200 OK\r\n\r\nuntil ").await;
        connection.send("the end").await;
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for _ in 0..2 {
        let response = client.get("/").await;
        assert_eq!(response.framing, Framing::Chunked);
        assert_eq!(response.text(), "until the end");
    }
    assert_eq!(backend.log().connections, 2);

    let mut old = gateway.client().await;
    old.send("GET / HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let response = old.response().await;
    assert_eq!(
        (response.framing, &*response.text()),
        (Framing::Close, "until the end")
    );
    assert!(!response.head.has("transfer-encoding"));
    old.closed().await;
}

#[tokio::test]
async fn clients_of_http_1_0() {
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(request) = connection.request().await {
            connection
                .send(match request.target() {
                    "/chunked" => {
                        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                        [head.as_bytes(), &chunked(&[b"in ", b"pieces"])].concat()
                    }
                    _ => ok("whole").into_bytes(),
                })
                .await;
        }
    })
    .await;
    let gateway = to(&backend);

    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.status, &*response.text()), (200, "whole"));
    client.closed().await;
    assert_eq!(backend.last().head.start, "GET / HTTP/1.1");
    let host = backend.last().head.one("host").map(str::to_owned);
    assert!(
        host.is_some_and(|host| !host.is_empty()),
        "HTTP/1.1 needs a Host"
    );

    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.0\r\nHost: example.com\r\n\r\n")
        .await;
    assert_eq!(client.response().await.text(), "whole");
    client.closed().await;
    assert_eq!(backend.last().head.one("host"), Some("example.com"));

    let mut client = gateway.client().await;
    for _ in 0..2 {
        client
            .send("GET / HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let response = client.response().await;
        assert_eq!(response.text(), "whole");
        let connection = response.head.one("connection").unwrap_or_default();
        assert!(
            connection.eq_ignore_ascii_case("keep-alive"),
            "{connection:?}"
        );
    }
    client
        .send("GET /chunked HTTP/1.0\r\nHost: example.com\r\n\r\n")
        .await;
    let response = client.response().await;
    assert_eq!(
        (response.framing, &*response.text()),
        (Framing::Close, "in pieces")
    );
}

#[tokio::test]
async fn methods_that_no_proxy_serves() {
    let backend = Backend::hello("hi").await;
    let gateway = to(&backend);
    for request in [
        "TRACE / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    ] {
        let response = gateway.client().await.exchange(request).await;
        assert_eq!(response.status, 405, "{request}");
        assert!(response.head.has("allow"));
    }
    assert!(backend.requests().is_empty());
}

#[tokio::test]
async fn hop_by_hop_fields_of_responses_stay_behind() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nTrailer: X\r\nX-Kept: 1\r\n\
         Content-Length: 2\r\n\r\nhi",
    )
    .await;
    let gateway = to(&backend);
    let response = gateway.client().await.get("/").await;
    for name in ["x-secret", "keep-alive", "proxy-authenticate", "trailer"] {
        assert!(!response.head.has(name), "{name}");
    }
    assert_eq!(response.head.one("x-kept"), Some("1"));
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Checksum: 17\r\nSet-Cookie: a=b\r\nTransfer-Encoding: gzip\r\n\r\n",
    )
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    let response = client
        .exchange(
            "POST / HTTP/1.1\r\nHost: example.com\r\nTE: trailers\r\n\
             Transfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Own: 1\r\nHost: evil\r\nX-Real-IP: 6.6.6.6\r\n\r\n",
        )
        .await;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(backend.last().body, b"hello");
    assert_eq!(backend.last().trailers, [pair("x-own", "1")]);
    assert_eq!(&*response.text(), "hi");
    assert_eq!(
        response.trailers,
        [pair("x-checksum", "17"), pair("set-cookie", "a=b")]
    );
}
