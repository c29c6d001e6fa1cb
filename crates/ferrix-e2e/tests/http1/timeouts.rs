//! What takes too long.

use std::time::{Duration, Instant};

use ferrix_e2e::{Backend, backend::Connection, client::get, wire::ReadError};

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
    let gateway = to_with("timeouts: {keep_alive: 200ms}", &backend);
    let mut fresh = gateway.client().await;
    let mut used = gateway.client().await;
    used.get("/").await;
    let started = Instant::now();
    fresh.closed().await;
    used.closed().await;
    assert!(started.elapsed() < Duration::from_secs(2));
}
