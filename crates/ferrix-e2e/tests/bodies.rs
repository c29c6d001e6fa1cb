//! Bodies that lie, and whom that is put down to; and where the next request begins.

use ferrix_e2e::{
    Backend, Client, Gateway, Http2Backend, Routes,
    backend::{Connection, ok},
    client::get,
};
use ferrix_table::services::Protocol;

fn chunked(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

/// Bodies in chunks that no client may send.
const MALFORMED: [(&str, &str); 17] = [
    ("no size", "x\r\nhello\r\n0\r\n\r\n"),
    ("a later one", "5\r\nhello\r\nx\r\n"),
    ("too long", "5\r\nhello!\r\n0\r\n\r\n"),
    ("a bare semicolon", "5;\r\nhello\r\n0\r\n\r\n"),
    ("a bare semicolon at the end", "5\r\nhello\r\n0;\r\n\r\n"),
    ("a space behind the size", "5 \r\nhello\r\n0\r\n\r\n"),
    ("a space behind an extension", "5;a \r\nhello\r\n0\r\n\r\n"),
    ("no token", "5;a[=b\r\nhello\r\n0\r\n\r\n"),
    ("an open quotation", "5;a=\"b\r\nhello\r\n0\r\n\r\n"),
    ("overflow", "10000000000000000\r\nhello\r\n0\r\n\r\n"),
    ("LF behind the size", "5\nhello\r\n0\r\n\r\n"),
    ("LF behind an extension", "5;a\nhello\r\n0\r\n\r\n"),
    ("LF behind the data", "5\r\nhello\n0\r\n\r\n"),
    ("LF behind the last size", "5\r\nhello\r\n0\n\r\n"),
    ("LF at the end", "5\r\nhello\r\n0\r\n\n"),
    ("LF behind a trailer", "5\r\nhello\r\n0\r\nA: 1\n\r\n"),
    ("a bad trailer", "5\r\nhello\r\n0\r\nA B: 1\r\n\r\n"),
];

/// A client that has been served before, on a connection to the backend that has as well.
async fn warm(gateway: &Gateway) -> Client {
    let mut client = gateway.client().await;
    assert_eq!(client.get("/warm").await.status, 200);
    client
}

#[tokio::test]
async fn a_malformed_chunk_is_the_clients_fault() {
    let http1 = Backend::hello("hi").await;
    let http2 = Http2Backend::hello("hi").await;
    let gateways = [
        Gateway::start(Routes::all_to(&[http1.address()])),
        Gateway::start(Routes::all_by(Protocol::Http2, &[http2.address()])),
    ];
    for gateway in &gateways {
        let mut failures = 0;
        for (what, body) in MALFORMED {
            for fresh in [true, false] {
                let mut client = match fresh {
                    true => gateway.client().await,
                    false => warm(gateway).await,
                };
                let response = client.exchange(chunked(body)).await;
                assert_eq!(response.status, 400, "{what}");
                assert_eq!(response.head.one("connection"), Some("close"), "{what}");
                client.closed().await;
                failures += 1;
                gateway.failed("bad_request", failures).await;
            }
        }
        gateway.failed("upstream", 0).await;
        gateway.failed("client_gone", 0).await;
        assert_eq!(warm(gateway).await.get("/after").await.status, 200);
    }
    let mut requests = http1.requests();
    requests.retain(|request| request.target() == "/");
    // Never twice, and never as a whole.
    assert!(requests.len() <= 2 * MALFORMED.len());
    assert!(requests.iter().all(|request| !request.complete));
    let log = http2.log();
    let posts = log.requests.iter().filter(|it| it.head.method() == "POST");
    assert!(posts.clone().count() <= 2 * MALFORMED.len());
    assert!(posts.clone().all(|request| !request.complete));
}

/// Once the response has begun it can only be cut.
#[tokio::test]
async fn a_malformed_chunk_cuts_a_response_that_has_begun() {
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.head().await.is_some() {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            connection.send(head).await;
            connection.body().await;
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    client.send(chunked("5\r\nhello\r\n")).await;
    assert_eq!(client.head().await.word(1), "200");
    client.send("x\r\n").await;
    assert!(client.rest().await.is_empty());
    gateway.failed("bad_request", 1).await;
}

/// A body that stops with the connection is nobody's to answer.
#[tokio::test]
async fn a_client_that_leaves_within_a_body_is_gone() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    client.send(chunked("5\r\nhel")).await;
    backend
        .wait("the body", |log| !log.requests.is_empty())
        .await;
    client.end().await;
    gateway.failed("client_gone", 1).await;
    gateway.failed("bad_request", 0).await;
}

/// The header section has the same rule for LF as the body has.
#[tokio::test]
async fn lf_alone_ends_no_line_of_a_request() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let whole = "GET / HTTP/1.1\r\nHost: example.com\r\nX-Y: 1\r\n\r\n";
    let mut cases = 0;
    for (place, _) in whole.match_indices('\r') {
        let request = format!("{}{}", &whole[..place], &whole[place + 1..]);
        let mut client = warm(&gateway).await;
        assert_eq!(client.exchange(&request).await.status, 400, "{request:?}");
        client.closed().await;
        cases += 1;
    }
    assert_eq!(cases, 4);
    let arrived = backend.requests();
    assert!(arrived.iter().all(|request| request.target() == "/warm"));
}

/// Old clients send an empty line behind a body, which is no request (RFC 9112, section 2.2).
#[tokio::test]
async fn an_empty_line_behind_a_body_is_skipped() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "timeouts: {header: 100ms, keep_alive: 300ms}",
        Routes::all_to(&[backend.address()]),
    );
    let post = "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\nhi";
    for lines in ["\r\n", "\r\n\r\n", "", "\r"] {
        let mut client = gateway.client().await;
        for _ in 0..2 {
            let response = client.exchange(format!("{post}{lines}")).await;
            assert_eq!(response.status, 200, "{lines:?}");
            if lines == "\r" {
                client.send("\n").await;
            }
        }
        // It is idle, and not slow with a request that nobody began.
        client.closed().await;
    }
    assert_eq!(backend.requests().len(), 8);
    gateway.failed("header_timeout", 0).await;
}

/// Nor does it hide that the client leaves.
#[tokio::test]
async fn an_empty_line_behind_a_body_does_not_hide_a_client_that_leaves() {
    let (backend, _gate) = Backend::gated("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    let post = "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\nhi\r\n";
    client.send(post).await;
    backend
        .wait("the body", |log| log.requests.iter().any(|it| it.complete))
        .await;
    client.end().await;
    gateway.failed("client_gone", 1).await;
}

const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\n\
                         Content-Length: 5\r\n\r\n";

/// Nobody knows whether the body still comes, so that the client has to be told.
#[tokio::test]
async fn an_early_final_answer_to_an_expectation_says_that_it_is_the_last() {
    let refusing = Backend::start(async |mut connection: Connection| {
        while let Some(head) = connection.head().await {
            if head.has("expect") {
                connection.send(ok("no")).await;
                return connection.left().await;
            }
            connection.send(ok("hi")).await;
        }
    })
    .await;
    let gateway = Gateway::start(
        Routes::new()
            .service("s", Protocol::Http1, &[refusing.address()])
            .rule("example.com", "", &[("s", 1)]),
    );
    for (host, status) in [("example.com", 200), ("other.com", 404)] {
        for fresh in [true, false] {
            let mut client = match fresh {
                true => gateway.client().await,
                false => warm(&gateway).await,
            };
            let request = EXPECTING.replace("example.com", host);
            let response = client.exchange(request).await;
            assert_eq!(response.status, status);
            assert_eq!(response.head.one("connection"), Some("close"), "{host}");
            client.closed().await;
        }
    }
}

/// Who was told to send a body sends it, and the connection goes on.
#[tokio::test]
async fn a_permitted_body_is_known_to_come() {
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(head) = connection.head().await {
            if head.has("expect") {
                connection.send("HTTP/1.1 100 Continue\r\n\r\n").await;
                connection.send(ok("early")).await;
                connection.body().await;
            } else {
                connection.send(ok("hi")).await;
            }
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = warm(&gateway).await;
    client.send(EXPECTING).await;
    assert_eq!(client.head().await.word(1), "100");
    let response = client.response().await;
    assert_eq!(response.text(), "early");
    assert!(!response.head.has("connection"));
    client.send(format!("hello{}", get("/next"))).await;
    assert_eq!(client.response().await.text(), "hi");
    assert_eq!(backend.last().target(), "/next");
}

/// A body where none may be: the backend's fault, not the client's.
#[tokio::test]
async fn a_body_of_a_response_without_one_is_the_backends_fault() {
    let backend = Http2Backend::start(|mut exchange| async move {
        exchange.body().await;
        let mut stream = exchange.respond(204, &[], false);
        let _ = stream.send_data("surprise".into(), true);
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.client().await;
    client.send(get("/")).await;
    client.rest().await;
    gateway.failed("upstream", 1).await;
    gateway.failed("client_gone", 0).await;
}
