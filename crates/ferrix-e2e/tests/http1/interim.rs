//! Interim responses, and clients that wait for one before they send a body.

use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Routes,
    backend::{Connection, ok},
    client::get,
};
use ferrix_table::services::Protocol;

use crate::to;

#[tokio::test]
async fn expect_continue_is_relayed_end_to_end() {
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(head) = connection.head().await {
            assert_eq!(head.one("expect"), Some("100-continue"));
            connection.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            assert!(connection.body().await);
            connection.send(ok("thanks")).await;
        }
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for _ in 0..2 {
        client
            .send(
                "POST / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\n\
                 Content-Length: 5\r\n\r\n",
            )
            .await;
        assert_eq!(client.head().await.word(1), "100");
        client.send("hello").await;
        assert_eq!(client.response().await.text(), "thanks");
    }
    assert_eq!(backend.last().body, b"hello");
}

#[tokio::test]
async fn a_refused_expectation_ends_the_connection() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.head().await;
        connection
            .send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
            .await;
        connection.left().await;
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\n\
             Content-Length: 5\r\n\r\n",
        )
        .await;
    assert_eq!(client.response().await.status, 417);
    // The client may now send its body or not: nobody can tell where the next request begins.
    client.closed().await;
    backend.abandoned().await;
}

#[tokio::test]
async fn an_expectation_before_an_http2_backend_is_met_by_the_gateway() {
    let backend = Http2Backend::hello("thanks").await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\n\
             Content-Length: 5\r\n\r\n",
        )
        .await;
    assert_eq!(client.head().await.word(1), "100");
    client.send("hello").await;
    assert_eq!(client.response().await.text(), "thanks");
    assert_eq!(backend.last().body, b"hello");
    assert_eq!(backend.last().field("expect"), None);
}

#[tokio::test]
async fn interim_responses_are_passed_on() {
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection
                .send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
                .await;
            connection.send("HTTP/1.1 102 Processing\r\n\r\n").await;
            connection.send(ok("final")).await;
        }
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for _ in 0..2 {
        client.send(get("/")).await;
        let early = client.head().await;
        assert_eq!(
            (early.word(1), early.one("link")),
            ("103", Some("</a.css>"))
        );
        assert_eq!(client.head().await.word(1), "102");
        assert_eq!(client.response().await.text(), "final");
    }
    assert_eq!(backend.log().connections, 1);
}
