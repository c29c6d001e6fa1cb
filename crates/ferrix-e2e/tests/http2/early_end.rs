//! Streams and connections that one side ends before the other is done.

use bytes::Bytes;
use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Routes,
    backend::Connection,
    client::get,
    http2_backend::Exchange,
    http2_client::{data, send_all},
    within,
};
use ferrix_table::services::Protocol;
use h2::Reason;

#[tokio::test]
async fn a_client_that_cancels_frees_an_http1_backend() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.head().await;
        connection.left().await;
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.http2().await;
    for round in 1..=2 {
        let request = client.request("POST", "/");
        let (_response, mut stream) = client.open(request, false).await.unwrap();
        stream
            .send_data(Bytes::from_static(b"half"), false)
            .unwrap();
        backend
            .wait("the request", |log| log.requests.len() == round)
            .await;
        stream.send_reset(Reason::CANCEL);
        backend.abandoned().await;
    }
}

#[tokio::test]
async fn a_refused_stream_is_tried_again() {
    let backend = Http2Backend::start(async |mut exchange: Exchange| {
        let path = exchange.head.uri().path().to_owned();
        if exchange.index < 1 || path == "/never" {
            exchange.respond.send_reset(Reason::REFUSED_STREAM);
        } else {
            exchange.respond(204, &[], true);
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.http2().await;
    assert_eq!(client.get("/").await.status, 204);
    assert_eq!(backend.log().requests.len(), 2);
    assert_eq!(client.get("/never").await.status, 502);
    let tries = backend.log().requests.len() - 2;
    assert_eq!(tries, 3, "upstream.attempts");
}

#[tokio::test]
async fn a_backend_that_says_goodbye() {
    let backend = Http2Backend::start(async |mut exchange: Exchange| {
        let mut stream = exchange.respond(200, &[], false);
        while let Some(piece) = exchange.piece().await {
            let _ = send_all(&mut stream, piece, false).await;
        }
        exchange.trailers().await;
        let _ = stream.send_data(Bytes::new(), true);
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.http2().await;
    let request = client.request("POST", "/");
    let (response, mut stream) = client.open(request, false).await.unwrap();
    stream.send_data(Bytes::from_static(b"one"), false).unwrap();
    let mut body = within("a response", response).await.unwrap().into_body();
    assert_eq!(data(&mut body).await.unwrap().unwrap(), "one");
    backend.goodbye();
    // The stream that runs goes on; others get another connection, without any error.
    for _ in 0..50 {
        assert_eq!(client.get("/").await.status, 200);
    }
    stream.send_data(Bytes::from_static(b"two"), true).unwrap();
    assert_eq!(data(&mut body).await.unwrap().unwrap(), "two");
    assert_eq!(data(&mut body).await.unwrap(), None);
    assert_eq!(backend.log().connections, 2);
}

#[tokio::test]
async fn a_connection_that_was_cut_while_idle() {
    let backend = Http2Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.http2().await;
    for round in 1..=5 {
        assert_eq!(client.get("/").await.text(), "hi");
        assert_eq!(backend.log().connections, round);
        backend.cut();
    }
}

#[tokio::test]
async fn a_truncated_response_is_an_error() {
    let http1 = Backend::start(async |mut connection: Connection| {
        let Some(request) = connection.request().await else {
            return;
        };
        connection
            .send(match request.target() {
                "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
                _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            })
            .await;
    })
    .await;
    let http2 = Http2Backend::start(async |mut exchange: Exchange| {
        let mut stream = exchange.respond(200, &[], false);
        let _ = stream.send_data(Bytes::from_static(b"half"), false);
        stream.send_reset(Reason::INTERNAL_ERROR);
    })
    .await;
    let gateway = Gateway::start(
        Routes::new()
            .service("h1", Protocol::Http1, &[http1.address()])
            .service("h2", Protocol::Http2, &[http2.address()])
            .rule("*", "Path(`/length`) || Path(`/chunks`)", &[("h1", 1)])
            .rule("*", "Path(`/stream`)", &[("h2", 1)]),
    );
    let mut client = gateway.http2().await;
    for path in ["/length", "/chunks", "/stream"] {
        let request = client.request("GET", path);
        let result = client.fetch(request).await;
        match result {
            Err(error) => assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{path}"),
            // Nothing of it had come: then it is no truncation.
            Ok(response) => assert_eq!(response.status, 502, "{path}"),
        }
    }
    let mut client = gateway.client().await;
    client.send(get("/stream")).await;
    if let Ok(response) = client.try_response("GET").await {
        assert_eq!(response.status, 502);
    }
}
