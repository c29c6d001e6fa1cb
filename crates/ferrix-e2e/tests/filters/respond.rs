//! Answers that a rule gives itself, on connections that go on.

use std::sync::Arc;

use ferrix_e2e::{Backend, Gateway, Routes};
use ferrix_table::filters::{Filter, header_changes::HeaderChanges, respond::Respond};

use crate::{Ask, GET, ask, field, filters};

fn closed() -> Respond {
    Respond {
        status: 503,
        body: Arc::from(b"<p>back soon".as_slice()),
        fields: [
            field("Content-Type", "text/html"),
            field("Retry-After", "120"),
        ]
        .into(),
    }
}

#[tokio::test]
async fn every_request_is_answered_and_none_reaches_the_service() {
    let backend = Backend::hello("hi").await;
    let policy = || {
        filters([
            Filter::Respond(closed()),
            Filter::ResponseHeaders(HeaderChanges {
                set: [field("Cache-Control", "no-store")].into(),
                ..HeaderChanges::default()
            }),
        ])
    };
    let long = "x".repeat(300_000);
    let mut ran = 0;
    for routes in [
        Routes::new().answered(policy()),
        Routes::all_to(&[backend.address()]).policy(policy()),
    ] {
        let gateway = Gateway::start(routes);
        for http2 in [false, true] {
            for (method, body) in [
                ("GET", ""),
                ("HEAD", ""),
                ("POST", "short"),
                ("PUT", &*long),
            ] {
                let request = Ask {
                    method,
                    body,
                    ..GET
                };
                for answer in ask(&gateway, http2, request).await {
                    assert_eq!(answer.status, 503, "{method}");
                    assert_eq!(answer.all("content-type"), ["text/html"]);
                    assert_eq!(answer.all("content-length"), ["12"]);
                    assert_eq!(answer.all("retry-after"), ["120"]);
                    assert_eq!(answer.all("cache-control"), ["no-store"]);
                    let expected = if method == "HEAD" { "" } else { "<p>back soon" };
                    assert_eq!(answer.body, expected, "{method}");
                    ran += 1;
                }
            }
        }
    }
    assert_eq!(ran, 2 * 2 * 4 * 2);
    assert_eq!(backend.requests().len(), 0);
}

#[tokio::test]
async fn answers_without_a_body() {
    for (status, length) in [(200, Some("0")), (204, None), (205, Some("0")), (304, None)] {
        let respond = Respond {
            status,
            body: Arc::default(),
            fields: [field("X-Why", "because")].into(),
        };
        let gateway = Gateway::start(Routes::new().answered(filters([Filter::Respond(respond)])));
        for http2 in [false, true] {
            for answer in ask(&gateway, http2, GET).await {
                assert_eq!((answer.status, &*answer.body), (status, ""));
                assert_eq!(answer.all("x-why"), ["because"]);
                assert_eq!(
                    answer.all("content-length"),
                    Vec::from_iter(length),
                    "{status}"
                );
                assert!(answer.all("content-type").is_empty());
            }
        }
    }
}

/// Of a body that comes in pieces, or that waits for permission, none is taken for a request.
#[tokio::test]
async fn the_next_request_begins_behind_the_body() {
    let gateway = Gateway::start(Routes::new().answered(filters([Filter::Respond(closed())])));
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1e\r\nGET /smuggled")
        .await;
    assert_eq!(client.response().await.status, 503);
    client.send(" HTTP/1.1\r\nHost: \r\n0\r\n\r\n").await;
    assert_eq!(client.get("/next").await.status, 503);

    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let answer = client.response().await;
    assert_eq!(
        (answer.status, answer.head.one("connection")),
        (503, Some("close"))
    );
}
