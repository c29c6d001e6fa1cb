//! What is too large, too many or too often.

use std::{sync::LazyLock, time::Duration};

use ferrix_e2e::{
    Backend,
    backend::{Connection, ok},
    client::get,
    wire::chunked,
    within,
};
use tokio::sync::Barrier;

use crate::{post, to_with};

#[tokio::test]
async fn limits_of_the_header_section() {
    let backend = Backend::hello("hi").await;
    let gateway = to_with(
        "limits: {header_bytes: 8KiB, header_count: 20, uri_bytes: 1KiB}",
        &backend,
    );
    let fields = |count: usize| -> String {
        (0..count)
            .map(|index| format!("X-{index}: x\r\n"))
            .collect()
    };
    let large = |length: usize| format!("X-Large: {}\r\n", "x".repeat(length));
    let request = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n")
    };
    let path = |length: usize| format!("/{}", "x".repeat(length - 1));
    let cases = [
        ("just small enough", request("/", &large(8000)), 200),
        ("large", request("/", &large(9000)), 431),
        ("much larger", request("/", &large(200_000)), 431),
        (
            "many bytes in small fields",
            request("/", &large(1000).repeat(12)),
            431,
        ),
        ("just few enough", request("/", &fields(19)), 200),
        ("many", request("/", &fields(20)), 431),
        ("more than the codec holds", request("/", &fields(300)), 431),
        ("just short enough", request(&path(1024), ""), 200),
        ("long", request(&path(1025), ""), 414),
        ("longer than everything", request(&path(100_000), ""), 414),
    ];
    for (what, request, status) in &cases {
        let mut client = gateway.client().await;
        client.send(request).await;
        let response = client.response().await;
        assert_eq!(response.status, *status, "{what}");
        if *status != 200 {
            client.closed().await;
        }
    }
    assert_eq!(cases.len(), 10);
    assert_eq!(backend.requests().len(), 3);
}

#[tokio::test]
async fn the_limit_of_the_body() {
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.send(ok("hi")).await;
        }
    })
    .await;
    let gateway = to_with("limits: {body_bytes: 1KiB}", &backend);
    let mut client = gateway.client().await;
    assert_eq!(client.exchange(post("/", &[b'x'; 1024])).await.status, 200);
    let mut large = gateway.client().await;
    assert_eq!(large.exchange(post("/", &[b'x'; 1025])).await.status, 413);
    large.closed().await;
    assert_eq!(
        backend.requests().len(),
        1,
        "a length that is too much is seen beforehand"
    );

    let head = "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = |count| [head.as_bytes(), &chunked(&vec![&[b'x'; 256][..]; count])].concat();
    assert_eq!(client.exchange(chunks(4)).await.status, 200);
    assert_eq!(client.exchange(chunks(5)).await.status, 413);
    client.closed().await;
    backend.abandoned().await;
    assert!(backend.requests().iter().filter(|it| it.complete).count() == 2);
}

#[tokio::test]
async fn requests_on_one_connection_are_counted() {
    let backend = Backend::hello("hi").await;
    let gateway = to_with("limits: {requests_per_connection: 3}", &backend);
    let mut client = gateway.client().await;
    for round in 1..=3 {
        let response = client.get("/").await;
        assert_eq!(
            response.head.one("connection") == Some("close"),
            round == 3,
            "{round}"
        );
    }
    client.closed().await;
}

#[tokio::test]
async fn connections_of_one_client_are_counted() {
    let backend = Backend::hello("hi").await;
    let gateway = to_with("limits: {connections_per_client: 3}", &backend);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.client().await;
        assert_eq!(client.get("/").await.status, 200);
        clients.push(client);
    }
    gateway.client().await.closed().await;
    gateway
        .counted("a refusal", |counters| {
            counters.refused_connections.get() == 1
        })
        .await;
    clients.pop();
    gateway
        .counted("an end", |counters| counters.open_connections.get() == 2)
        .await;
    assert_eq!(gateway.client().await.get("/").await.status, 200);
}

#[tokio::test]
async fn connections_in_all_are_counted() {
    let backend = Backend::hello("hi").await;
    let gateway = to_with(
        "limits: {connections: 2, connections_per_client: 0}",
        &backend,
    );
    let mut first = gateway.client().await;
    let mut second = gateway.client().await;
    first.get("/").await;
    second.get("/").await;
    // Connected by the system, but not accepted before another one ends.
    let mut third = gateway.client().await;
    third.send(get("/")).await;
    let early = tokio::time::timeout(Duration::from_millis(100), third.reader.head()).await;
    assert!(early.is_err(), "{early:?}");
    drop(first);
    assert_eq!(third.response().await.status, 200);
}

#[tokio::test]
async fn what_waits_for_slow_clients_has_a_limit() {
    const SIZE: usize = 10_000_000;
    // None is answered before all are admitted: what waits for one would refuse the next.
    static ALL: LazyLock<Barrier> = LazyLock::new(|| Barrier::new(8));
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(head) = connection.head().await {
            let size = if head.word(1) == "/" { 2 } else { SIZE };
            if head.word(1) == "/slow" {
                ALL.wait().await;
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
            connection.send(head).await;
            if !connection.send(vec![b'x'; size]).await {
                return;
            }
        }
    })
    .await;
    let gateway = to_with("limits: {buffered_bytes: 8KiB}", &backend);
    let waiting = |expected: fn(i64) -> bool| {
        let counters = gateway.counters();
        within("bytes to wait, or none", async move {
            while !expected(counters.buffered_bytes.get()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    };
    // It was used, and is quick: what it gets counts nothing.
    let mut quick = gateway.client().await;
    assert_eq!(quick.get("/large").await.body.len(), SIZE);
    waiting(|bytes| bytes == 0).await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut client = gateway.client().await;
        client.send(get("/slow")).await;
        slow.push(client);
    }
    waiting(|bytes| bytes > 8 * 1024).await;
    // On a connection that was used, and on a fresh one.
    assert_eq!(quick.get("/").await.status, 503);
    let refused = gateway.client().await.get("/").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.head.one("retry-after"), Some("1"));
    let mut http2 = gateway.http2().await;
    assert_eq!(http2.get("/").await.status, 503);
    gateway.failed("overloaded", 3).await;
    // None in flight is cut.
    for client in &mut slow {
        assert_eq!(client.response().await.body.len(), SIZE);
    }
    waiting(|bytes| bytes == 0).await;
    assert_eq!(quick.get("/").await.status, 200);
    assert_eq!(http2.get("/").await.status, 200);
}

#[tokio::test]
async fn requests_of_one_client_at_once_are_counted() {
    let (backend, gate) = Backend::gated("hi").await;
    let settings = "{limits: {requests_per_client: 2}, forwarded: {trusted: [127.0.0.0/8]}}";
    let gateway = to_with(settings, &backend);
    let ask = |client: &str| {
        let from = match client {
            "" => String::new(),
            client => format!("X-Forwarded-For: {client}\r\n"),
        };
        format!("GET / HTTP/1.1\r\nHost: example.com\r\n{from}\r\n")
    };
    // By who connected, and by whom a trusted proxy speaks for.
    for (round, from) in ["", "192.0.2.7"].into_iter().enumerate() {
        let mut waiting = Vec::new();
        for _ in 0..2 {
            let mut client = gateway.client().await;
            client.send(ask(from)).await;
            waiting.push(client);
        }
        let requests = round * 6 + 2;
        backend
            .wait("two requests", |log| log.requests.len() == requests)
            .await;
        let mut third = gateway.client().await;
        let refused = third.exchange(ask(from)).await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.head.one("retry-after"), Some("1"));
        // The connection goes on, and others are not concerned.
        third.send(ask("192.0.2.99")).await;
        backend
            .wait("a third", |log| log.requests.len() == requests + 1)
            .await;
        gate.add_permits(3);
        assert_eq!(third.response().await.status, 200);
        for client in &mut waiting {
            assert_eq!(client.response().await.status, 200);
        }
        // What has ended counts no more: on the used connection, and over HTTP/2.
        gate.add_permits(1);
        assert_eq!(third.exchange(ask(from)).await.status, 200);
        gate.add_permits(2);
        let mut http2 = gateway.http2().await;
        for _ in 0..2 {
            let mut request = http2.request("GET", "/");
            if !from.is_empty() {
                let fields = request.headers_mut();
                fields.insert("x-forwarded-for", from.parse().unwrap());
            }
            assert_eq!(http2.fetch(request).await.unwrap().status, 200);
        }
    }
    gateway.failed("too_many_requests", 2).await;
}
