//! What takes too long.

use std::time::{Duration, Instant};

use ferrix_e2e::{
    Backend,
    backend::{Connection, ok},
    client::get,
    wire::ReadError,
};

use crate::{post, to_with};

#[tokio::test]
async fn a_backend_that_never_answers_is_504() {
    let backend = Backend::start(async |mut connection: Connection| {
        let Some(request) = connection.request().await else {
            return;
        };
        if request.target() == "/half" {
            connection
                .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                .await;
        }
        connection.left().await;
    })
    .await;
    let gateway = to_with("timeouts: {response: 200ms}", &backend);
    let mut client = gateway.client().await;
    let started = Instant::now();
    assert_eq!(client.get("/").await.status, 504);
    assert!(started.elapsed() >= Duration::from_millis(200));
    backend.abandoned().await;
    assert_eq!(client.exchange(post("/", b"x")).await.status, 504);
    assert_eq!(backend.requests().len(), 2, "never sent again");
    client.send(get("/half")).await;
    assert!(matches!(
        client.try_response("GET").await,
        Err(ReadError::Cut)
    ));
    backend.abandoned().await;
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.request().await;
    })
    .await;
    let gateway = to_with("timeouts: {body: 200ms}", &backend);
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 9\r\n\r\nhalf")
        .await;
    let response = client.response().await;
    assert_eq!(response.status, 408);
    assert_eq!(response.head.one("connection"), Some("close"));
    client.closed().await;
    backend.abandoned().await;
    assert!(!backend.last().complete);
}

/// Reads a request when it is told to, and answers it.
async fn patient(before: Duration) -> Backend {
    Backend::start(move |mut connection: Connection| async move {
        while connection.head().await.is_some() {
            tokio::time::sleep(before).await;
            if connection.body().await {
                connection.send(ok("done")).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_body_with_a_length_may_not_trickle() {
    let backend = patient(Duration::ZERO).await;
    let settings = "{limits: {body_rate: 1000B}, timeouts: {body_grace: 400ms}}";
    let gateway = to_with(settings, &backend);
    let with_length = "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 30\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
    // On a fresh connection, and on one that was used.
    for used in [false, true] {
        let mut client = gateway.client().await;
        if used {
            assert_eq!(client.exchange(post("/", b"at once")).await.status, 200);
        }
        // Without a length it may.
        client.send(chunked).await;
        for _ in 0..30 {
            client.send("1\r\nx\r\n").await;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        client.send("0\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);

        let started = Instant::now();
        client.send(with_length).await;
        let mut head = None;
        for _ in 0..29 {
            client.send("x").await;
            let wait = Duration::from_millis(50);
            if let Ok(answered) = tokio::time::timeout(wait, client.reader.head()).await {
                head = answered.unwrap();
                break;
            }
        }
        let elapsed = started.elapsed();
        assert_eq!(head.expect("an answer").word(1), "408");
        assert!(elapsed >= Duration::from_millis(390), "{elapsed:?}");
    }
    gateway.failed("body_timeout", 2).await;
}

#[tokio::test]
async fn a_client_is_not_blamed_for_what_its_backend_does_not_take() {
    let backend = patient(Duration::from_secs(3)).await;
    let settings = "{limits: {body_rate: 1GB}, timeouts: {body_grace: 1500ms}}";
    let gateway = to_with(settings, &backend);
    let mut client = gateway.client().await;
    // More than fits between them.
    let response = client.exchange(post("/", &vec![b'x'; 12_000_000])).await;
    assert_eq!(response.status, 200);
    assert_eq!(backend.last().body.len(), 12_000_000);
}

#[tokio::test]
async fn a_client_that_waits_for_permission_is_not_slow() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.head().await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        connection.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        connection.body().await;
        connection.send(ok("done")).await;
    })
    .await;
    let settings = "{limits: {body_rate: 1000B}, timeouts: {body: 500ms, body_grace: 500ms}}";
    let gateway = to_with(settings, &backend);
    let mut client = gateway.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\n\
             Content-Length: 4\r\n\r\n",
        )
        .await;
    assert_eq!(client.head().await.word(1), "100");
    client.send("body").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_header_section_has_a_deadline_as_a_whole() {
    let backend = Backend::hello("hi").await;
    let gateway = to_with("timeouts: {header: 300ms}", &backend);
    for first in ["", &get("/")] {
        let mut client = gateway.client().await;
        if !first.is_empty() {
            assert_eq!(client.exchange(first).await.status, 200);
        }
        let started = Instant::now();
        client
            .send("GET / HTTP/1.1\r\nHost: example.com\r\nX: ")
            .await;
        let mut answered = None;
        for _ in 0..100 {
            client.send("x").await;
            let wait = Duration::from_millis(20);
            if let Ok(head) = tokio::time::timeout(wait, client.reader.head()).await {
                answered = head.unwrap();
                break;
            }
        }
        let elapsed = started.elapsed();
        assert_eq!(answered.expect("an answer").word(1), "408");
        assert!(elapsed >= Duration::from_millis(290), "{elapsed:?}");
        assert!(elapsed < Duration::from_millis(1500), "{elapsed:?}");
    }
    gateway.failed("header_timeout", 2).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let backend = Backend::hello("hi").await;
    let gateway = to_with("timeouts: {keep_alive: 400ms}", &backend);
    let mut fresh = gateway.client().await;
    let mut used = gateway.client().await;
    used.get("/").await;
    // Longer than the room for a request is kept, and shorter than the connection is.
    let pause = tokio::time::timeout(Duration::from_millis(300), used.closed());
    assert!(pause.await.is_err());
    used.get("/").await;
    let started = Instant::now();
    fresh.closed().await;
    used.closed().await;
    assert!(started.elapsed() >= Duration::from_millis(390));
    assert!(started.elapsed() < Duration::from_secs(2));
}
