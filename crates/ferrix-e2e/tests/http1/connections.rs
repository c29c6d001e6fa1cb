//! Connections that carry more than one request, and those that end in between.

use std::sync::Arc;

use ferrix_e2e::{
    Backend,
    backend::{Connection, ok},
};
use tokio::sync::Notify;

use crate::{post, to};

#[tokio::test]
async fn one_connection_carries_many_requests_on_both_sides() {
    let backend = Backend::hello("hi").await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for round in 0..5 {
        assert_eq!(client.get(&format!("/{round}")).await.text(), "hi");
    }
    let targets: Vec<_> = backend
        .requests()
        .iter()
        .map(|it| it.target().to_owned())
        .collect();
    assert_eq!(targets, ["/0", "/1", "/2", "/3", "/4"]);
    assert_eq!(backend.log().connections, 1, "pooled");
}

#[tokio::test]
async fn connection_close_is_obeyed() {
    let backend = Backend::hello("hi").await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
        .await;
    let response = client.response().await;
    assert_eq!(response.head.one("connection"), Some("close"));
    client.closed().await;
    let mut client = gateway.client().await;
    client.get("/").await;
    assert_eq!(
        backend.log().connections,
        1,
        "the client's wish is not the backend's affair"
    );
    assert!(!backend.last().head.has("connection"));
}

/// What a client sends beyond its last request, such as the empty line that old browsers put after a
/// body, must not turn the end of the connection into a reset, which would take the answer with it.
#[tokio::test]
async fn bytes_after_the_last_request_cost_no_answer() {
    let body = "x".repeat(1 << 20);
    let (backend, answers) = Backend::gated(&body).await;
    let gateway = to(&backend);
    let request = "POST / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\
                   Content-Length: 2\r\n\r\nhi";
    for beyond in ["", "\r\n", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"] {
        for together in [true, false] {
            let mut client = gateway.client().await;
            if together {
                client.send(format!("{request}{beyond}")).await;
            } else {
                let asked = backend.requests().len() + 1;
                client.send(request).await;
                backend
                    .wait("the request", |log| log.requests.len() == asked)
                    .await;
                client.send(beyond).await;
            }
            answers.add_permits(1);
            let answer = client.try_response("POST").await;
            assert_eq!(
                answer.unwrap().body.len(),
                body.len(),
                "{beyond:?} {together}"
            );
        }
    }
    assert_eq!(backend.requests().len(), 6);
}

#[tokio::test]
async fn a_backend_that_closes_after_each_response() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection
            .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
            .await;
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for _ in 0..3 {
        let response = client.get("/").await;
        assert_eq!(response.text(), "hi");
        assert_ne!(response.head.one("connection"), Some("close"));
    }
    assert_eq!(backend.log().connections, 3);
}

/// Serves one request on each connection, then closes it when told, as a backend with a shorter
/// keep-alive than ours does.
async fn forgetful(closing: Arc<Notify>, read_next: bool) -> Backend {
    Backend::start(move |mut connection: Connection| {
        let closing = Arc::clone(&closing);
        async move {
            connection.request().await;
            connection.send(ok("hi")).await;
            if read_next {
                connection.head().await;
            } else {
                closing.notified().await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_get_on_a_stale_connection_is_sent_again() {
    // The backend reads the request and closes: what it did with it, nobody knows.
    let backend = forgetful(Arc::default(), true).await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    assert_eq!(client.get("/1").await.text(), "hi");
    assert_eq!(client.get("/2").await.text(), "hi");
    let targets: Vec<_> = backend
        .requests()
        .iter()
        .map(|it| it.target().to_owned())
        .collect();
    assert_eq!(targets, ["/1", "/2", "/2"]);
    assert_eq!(backend.log().connections, 2);
}

#[tokio::test]
async fn a_post_on_a_stale_connection_is_never_sent_again() {
    let backend = forgetful(Arc::default(), true).await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for (path, request) in [
        ("/body", post("/body", b"pay")),
        ("/empty", post("/empty", b"")),
        (
            "/none",
            b"POST /none HTTP/1.1\r\nHost: example.com\r\n\r\n".to_vec(),
        ),
    ] {
        assert_eq!(client.get("/first").await.text(), "hi");
        assert_eq!(client.exchange(request).await.status, 502, "{path}");
        let times = backend
            .requests()
            .iter()
            .filter(|it| it.target() == path)
            .count();
        assert_eq!(times, 1, "{path}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_not_used() {
    let closing = Arc::new(Notify::new());
    let backend = forgetful(Arc::clone(&closing), false).await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for round in 1..4 {
        assert_eq!(
            client.exchange(post("/", b"pay")).await.text(),
            "hi",
            "{round}"
        );
        closing.notify_waiters();
        backend
            .wait("the connection to end", |log| log.open == 0)
            .await;
    }
    assert_eq!(backend.log().connections, 3);
}

#[tokio::test]
async fn a_backend_that_talks_out_of_turn_loses_its_connection() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection
            .send(format!("{}{}", ok("hi"), ok("poison")))
            .await;
        connection.left().await;
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "hi");
    }
    assert_eq!(backend.log().connections, 3);
}
