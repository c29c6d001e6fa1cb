//! Responses that break off: what came is delivered, and nothing looks whole that is not.

use std::sync::Arc;

use bytes::Bytes;
use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Routes,
    backend::{Connection, ok},
    client::get,
    http2_client::data,
    within,
};
use ferrix_proxy::access_log::Record;
use ferrix_table::services::Protocol;
use tokio::sync::{Semaphore, mpsc::Receiver};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";

/// A header section, what comes with it, what comes once that was delivered, and how many bytes of
/// a body there are. No body: it is broken from the first byte on, which is 502.
type Case = (&'static str, &'static str, &'static str, Option<usize>);

const CASES: [Case; 12] = [
    (CHUNKED, "5\r\nhello\r\n", "", Some(5)),
    (CHUNKED, "8\r\nhello", "", Some(5)),
    (CHUNKED, "5\r\nhello\r\nx\r\n", "", Some(5)),
    (CHUNKED, "5\r\nhello\r\n5\nhello\n", "", Some(5)),
    (
        CHUNKED,
        "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        "",
        Some(5),
    ),
    (CHUNKED, "5\r\nhello\r\n", "5\nhello\n0\n\n", Some(5)),
    (CHUNKED, "5\r\nhello\r\n", "5\r\nworldX", Some(10)),
    (LENGTH, "hello", "", Some(5)),
    (LENGTH, "hello", "wor", Some(8)),
    (CHUNKED, "5\nhello\n0\n\n", "", None),
    (CHUNKED, "x\r\n", "", None),
    (CHUNKED, "-5\r\nhello\r\n", "", None),
];

/// Answers a path `/N` with the case of this number; the test says when it was delivered.
async fn backend() -> (Backend, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&gate);
    let backend = Backend::start(move |mut connection: Connection| {
        let permits = Arc::clone(&permits);
        async move {
            while let Some(request) = connection.request().await {
                let Ok(case) = request.target()[1..].parse::<usize>() else {
                    connection.send(ok("warm")).await;
                    continue;
                };
                let (head, first, then, _) = CASES[case];
                connection.send(format!("{head}{first}")).await;
                if !then.is_empty() {
                    permits.acquire().await.unwrap().forget();
                    connection.send(then).await;
                }
                return;
            }
        }
    })
    .await;
    (backend, gate)
}

/// The record of the request for this path.
async fn logged(records: &mut Receiver<Record>, path: &str) -> Record {
    loop {
        let record = within("a record", records.recv()).await.unwrap();
        if record.path == path {
            return record;
        }
    }
}

fn check(record: &Record, body: Option<usize>, what: &str) {
    assert_eq!(record.cut, body.is_some(), "{what}");
    assert!(record.error.is_some(), "{what}");
    // The answer had begun: the backend must not get the request again.
    assert_eq!(record.attempts, 1, "{what}");
    assert_eq!(record.status, body.map_or(502, |_| 200), "{what}");
    if let Some(body) = body {
        assert_eq!(record.sent_bytes, body as u64, "{what}");
    }
}

#[tokio::test]
async fn over_http1() {
    let (backend, gate) = backend().await;
    let (gateway, mut records) = Gateway::start_logged(Routes::all_to(&[backend.address()]));
    let mut cases = 0;
    for (case, (_, first, then, body)) in CASES.iter().enumerate() {
        for reused in [false, true] {
            let what = format!("{first:?} {then:?} reused: {reused}");
            let mut client = gateway.client().await;
            if reused {
                assert_eq!(client.get("/warm").await.text(), "warm");
            }
            client.send(get(&format!("/{case}"))).await;
            let head = client.head().await;
            let expected = body.map_or("502", |_| "200");
            assert_eq!(head.word(1), expected, "{what}");
            if let Some(body) = *body {
                let mut framing = head.response_body("GET").unwrap();
                let mut got = 0;
                while let Ok(Some(piece)) = client.reader.piece(&mut framing).await {
                    got += piece.len();
                    if got >= 5 && !then.is_empty() {
                        gate.add_permits(1);
                    }
                }
                assert!(!framing.is_done(), "{what}");
                assert_eq!(got, body, "{what}");
                client.rest().await;
            }
            gate.forget_permits(usize::MAX);
            check(
                &logged(&mut records, &format!("/{case}")).await,
                *body,
                &what,
            );
            cases += 1;
        }
    }
    assert_eq!(cases, 2 * CASES.len());
}

#[tokio::test]
async fn over_http2() {
    let (backend, gate) = backend().await;
    let (gateway, mut records) = Gateway::start_logged(Routes::all_to(&[backend.address()]));
    let mut cases = 0;
    for (case, (_, first, then, body)) in CASES.iter().enumerate() {
        for reused in [false, true] {
            let what = format!("{first:?} {then:?} reused: {reused}");
            let mut client = gateway.http2().await;
            if reused {
                assert_eq!(client.get("/warm").await.text(), "warm");
            }
            let request = client.request("GET", &format!("/{case}"));
            let (response, _stream) = client.open(request, true).await.unwrap();
            let response = within("a header section", response).await.expect(&what);
            let expected = body.map_or(502, |_| 200);
            assert_eq!(response.status(), expected, "{what}");
            if let Some(body) = *body {
                let mut stream = response.into_body();
                let mut got = 0;
                let end = loop {
                    match data(&mut stream).await {
                        Ok(Some(piece)) => got += piece.len(),
                        end => break end,
                    }
                    if got >= 5 && !then.is_empty() {
                        gate.add_permits(1);
                    }
                };
                assert!(end.is_err(), "{what}");
                assert_eq!(got, body, "{what}");
            }
            gate.forget_permits(usize::MAX);
            check(
                &logged(&mut records, &format!("/{case}")).await,
                *body,
                &what,
            );
            cases += 1;
        }
    }
    assert_eq!(cases, 2 * CASES.len());
}

#[tokio::test]
async fn from_an_http2_backend() {
    let gate = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&gate);
    let backend = Http2Backend::start(move |mut exchange| {
        let permits = Arc::clone(&permits);
        async move {
            exchange.body().await;
            let warm = exchange.head.uri().path() == "/warm";
            let mut stream = exchange.respond(200, &[], false);
            let _ = stream.send_data(Bytes::from_static(b"hello"), warm);
            if !warm {
                // A reset overtakes what is not sent yet.
                permits.acquire().await.unwrap().forget();
            }
            // Dropped without an end: reset.
        }
    })
    .await;
    let routes = Routes::all_by(Protocol::Http2, &[backend.address()]);
    let (gateway, mut records) = Gateway::start_logged(routes);
    for reused in [false, true] {
        let mut client = gateway.client().await;
        let mut http2 = gateway.http2().await;
        if reused {
            assert_eq!(client.get("/warm").await.text(), "hello");
            assert_eq!(http2.get("/warm").await.text(), "hello");
        }
        client.send(get("/cut")).await;
        let head = client.head().await;
        let mut framing = head.response_body("GET").unwrap();
        let mut got = Vec::new();
        while let Ok(Some(piece)) = client.reader.piece(&mut framing).await {
            got.extend_from_slice(&piece);
            if got == b"hello" {
                gate.add_permits(1);
            }
        }
        assert!(!framing.is_done());
        assert_eq!(got, b"hello");
        check(&logged(&mut records, "/cut").await, Some(5), "HTTP/1");

        let request = http2.request("GET", "/cut");
        let (response, _stream) = http2.open(request, true).await.unwrap();
        let mut stream = within("a response", response).await.unwrap().into_body();
        let mut got = 0;
        while let Ok(Some(piece)) = data(&mut stream).await {
            got += piece.len();
            if got == 5 {
                gate.add_permits(1);
            }
        }
        assert!(!stream.is_end_stream());
        assert_eq!(got, 5);
        check(&logged(&mut records, "/cut").await, Some(5), "HTTP/2");
    }
}
