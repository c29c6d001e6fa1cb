//! Bodies that are whole before the service hears of the request.

use ferrix_e2e::{Backend, Gateway, Routes};
use ferrix_table::filters::{Filter, request_buffering::RequestBuffering};

use crate::{Ask, Either, GET, PAIRS, ask, filters};

fn buffering(max_bytes: u64, memory_bytes: u64) -> Filter {
    Filter::RequestBuffering(RequestBuffering {
        max_bytes,
        memory_bytes,
    })
}

fn numbered(length: usize) -> String {
    let mut text: String = (0..length).map(|it| it.to_string()).collect();
    text.push('.');
    text.truncate(length);
    assert_eq!(text.len(), length);
    text
}

#[tokio::test]
async fn the_service_gets_the_whole_with_its_length() {
    let mut ran = 0;
    for (to_client, to_backend) in PAIRS {
        let backend = Either::start(to_backend).await;
        let policy = filters([buffering(1 << 20, 100_000)]);
        let gateway = Gateway::start(backend.routes().policy(policy));
        for length in [1, 100, 65_536, 100_000, 400_000, 1 << 20] {
            let body = numbered(length);
            let request = Ask {
                method: "POST",
                body: &body,
                ..GET
            };
            for answer in ask(&gateway, to_client, request).await {
                assert_eq!((answer.status, &*answer.body), (200, "hi"), "{length}");
                let arrived = backend.last();
                assert_eq!(arrived.all("content-length"), [length.to_string()]);
                assert!(arrived.body == body.as_bytes(), "{length}");
                ran += 1;
            }
        }
        for answer in ask(&gateway, to_client, GET).await {
            assert_eq!(answer.status, 200);
            assert!(backend.last().all("content-length").is_empty());
        }
    }
    assert_eq!(ran, 4 * 6 * 2);
}

#[tokio::test]
async fn chunks_become_one_length_and_nothing_arrives_before() {
    let backend = Backend::hello("hi").await;
    let routes = Routes::all_to(&[backend.address()]);
    let gateway = Gateway::start(routes.policy(filters([buffering(1000, 2)])));
    let mut client = gateway.client().await;
    for _ in 0..2 {
        let before = backend.requests().len();
        client
            .send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
            .await;
        assert_eq!(client.head().await.word(1), "100");
        client.send("3\r\none\r\n").await;
        client.send("3\r\ntwo\r\n").await;
        // Whatever has come so far would have arrived before the answer to another.
        assert_eq!(gateway.client().await.get("/between").await.text(), "hi");
        assert_eq!(backend.requests().len(), before + 1);
        client.send("0\r\nX-Trailer: 1\r\n\r\n").await;
        assert_eq!(client.response().await.text(), "hi");
        let arrived = backend.last();
        assert_eq!((arrived.target(), &*arrived.body), ("/a", &b"onetwo"[..]));
        assert_eq!(arrived.head.one("content-length"), Some("6"));
        assert!(!arrived.head.has("transfer-encoding") && !arrived.head.has("expect"));
        assert!(arrived.trailers.is_empty());
    }
    let empty = "POST /empty HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(client.exchange(empty).await.text(), "hi");
    assert_eq!(backend.last().head.one("content-length"), Some("0"));
    assert_eq!(client.get("/after").await.text(), "hi");
}

#[tokio::test]
async fn what_is_too_long_or_cannot_be_stored_does_not_arrive() {
    let backend = Backend::hello("hi").await;
    let routes = |memory_bytes| {
        let policy = filters([buffering(1000, memory_bytes)]);
        Routes::all_to(&[backend.address()]).policy(policy)
    };
    let gateway = Gateway::start_with("server: {temporary_folder: /nowhere}", routes(100));
    let post = |length: usize| {
        let body = "x".repeat(length);
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        head + &body
    };
    let chunked = |length: usize| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length))
    };
    let cases = [
        (post(100), 100, 200),
        (post(101), 100, 500),
        (post(1001), 100, 413),
        (chunked(1001), 2000, 413),
        (chunked(1000), 2000, 200),
    ];
    for (request, memory_bytes, status) in &cases {
        gateway.publish(routes(*memory_bytes));
        let before = backend.requests().len();
        let answer = gateway.client().await.exchange(request).await;
        assert_eq!(answer.status, *status);
        let arrived = backend.requests().len() - before;
        assert_eq!(arrived, usize::from(*status == 200));
    }
    gateway.failed("storage", 1).await;
    assert_eq!(cases.len(), 5);
    assert_eq!(gateway.counters().buffered_bytes.get(), 0);
}
