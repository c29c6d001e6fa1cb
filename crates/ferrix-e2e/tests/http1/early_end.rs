//! Exchanges that one side ends before the other is done.

use std::time::{Duration, Instant};

use ferrix_e2e::{Backend, Client, backend::Connection, client::get, wire::ReadError, within};

use crate::{post, to};

#[tokio::test]
async fn an_early_answer_while_the_client_goes_on_sending() {
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.head().await.is_some() {
            connection
                .send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
                .await;
            connection.body().await;
        }
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for round in 0..2 {
        client
            .send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 300000\r\n\r\nstart")
            .await;
        let response = client.response().await;
        assert_eq!(
            (response.status, &*response.text()),
            (413, "no!"),
            "{round}"
        );
        client.send(vec![b'x'; 299_995]).await;
    }
    let response = client.get("/").await;
    assert_eq!(response.status, 413, "the connection is in step");
}

#[tokio::test]
async fn an_early_answer_and_a_client_that_never_finishes() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.head().await;
        connection
            .send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
            .await;
        connection.left().await;
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 300000\r\n\r\nstart")
        .await;
    assert_eq!(client.response().await.status, 413);
    let started = Instant::now();
    backend.abandoned().await;
    client.closed().await;
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_backend_that_answers_and_closes_while_the_body_comes() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.head().await;
        connection
            .send("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!")
            .await;
    })
    .await;
    let gateway = to(&backend);
    for _ in 0..5 {
        let mut client = gateway.client().await;
        let body = vec![b'x'; 3_000_000];
        let Client { reader, writer, .. } = &mut client;
        let upload = async {
            use tokio::io::AsyncWriteExt;
            let _ = writer.write_all(&post("/", &body)).await;
        };
        let download = async {
            let head = reader.head().await.unwrap().unwrap();
            let mut response = head.response_body("POST").unwrap();
            (
                head.word(1).to_owned(),
                reader.rest(&mut response).await.unwrap(),
            )
        };
        let ((), (status, body)) = within("413", async { tokio::join!(upload, download) }).await;
        assert_eq!((&*status, &body[..]), ("413", &b"no!"[..]));
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_backend() {
    let backend = Backend::start(async |mut connection: Connection| {
        let Some(head) = connection.head().await else {
            return;
        };
        if head.word(1) == "/middle" {
            connection
                .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                .await;
        }
        connection.left().await;
    })
    .await;
    let gateway = to(&backend);
    let requests = [
        get("/before"),
        get("/middle"),
        "POST /upload HTTP/1.1\r\nHost: example.com\r\nContent-Length: 100\r\n\r\nhalf".to_owned(),
    ];
    for (round, request) in requests.iter().enumerate() {
        let mut client = gateway.client().await;
        client.send(request).await;
        backend
            .wait("the request", |log| log.requests.len() == round + 1)
            .await;
        if round == 1 {
            client.head().await;
        }
        let started = Instant::now();
        drop(client);
        backend.abandoned().await;
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{request}: {:?}",
            started.elapsed()
        );
    }
    gateway
        .counted("connections to end", |counters| {
            counters.open_connections.get() == 0
        })
        .await;
    gateway.failed("client_gone", 3).await;
}

/// As nginx does: who closes one direction is taken to have left. A response that is there is
/// still sent.
#[tokio::test]
async fn a_client_that_closes_its_direction_has_left() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection.left().await;
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    client.send(get("/")).await;
    backend
        .wait("the request", |log| log.requests.len() == 1)
        .await;
    client.end().await;
    backend.abandoned().await;
    client.closed().await;
}

#[tokio::test]
async fn a_truncated_response_never_looks_whole() {
    let backend = Backend::start(async |mut connection: Connection| {
        let Some(request) = connection.request().await else {
            return;
        };
        connection
            .send(match request.target() {
                "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
                "/chunk" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
                "/chunks" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
                _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n",
            })
            .await;
    })
    .await;
    let gateway = to(&backend);
    for path in ["/length", "/chunk", "/chunks", "/garbage"] {
        let mut client = gateway.client().await;
        client.send(get(path)).await;
        let response = client.try_response("GET").await;
        assert!(
            matches!(response, Err(ReadError::Cut)),
            "{path}: {response:?}"
        );
        let mut old = gateway.client().await;
        old.send(format!("GET {path} HTTP/1.0\r\nHost: example.com\r\n\r\n"))
            .await;
        let head = old.reader.head().await;
        if path == "/length" {
            // In HTTP/1.0 only a length can show it.
            assert!(
                head.unwrap()
                    .is_none_or(|head| head.one("content-length") == Some("100"))
            );
        }
    }
    gateway.failed("upstream", 8).await;
}
