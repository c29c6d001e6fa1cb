//! HTTP/1 to HTTP/1: messages, both directions at once, and everything that can go wrong between.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use ferrix_e2e::{
    Backend, Client, Gateway, Http2Backend, Routes,
    backend::{Connection, Dead, ok},
    client::get,
    wire::{Framing, ReadError, chunked, pattern},
    within,
};
use ferrix_table::services::Protocol;
use tokio::sync::Notify;

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: example.com\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn to(backend: &Backend) -> Gateway {
    Gateway::start(Routes::all_to(&[backend.address()]))
}

fn to_with(settings: &str, backend: &Backend) -> Gateway {
    Gateway::start_with(settings, Routes::all_to(&[backend.address()]))
}

/// Sends each body back as it comes, in chunks.
async fn echo() -> Backend {
    Backend::start(async |mut connection: Connection| {
        while connection.head().await.is_some() {
            connection
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            while let Some(piece) = connection.piece().await {
                let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
                if !connection.send(chunk).await {
                    return;
                }
            }
            connection.send("0\r\n\r\n").await;
        }
    })
    .await
}

#[tokio::test]
async fn a_get_arrives_and_its_answer_comes_back() {
    let backend = Backend::answering(
        "HTTP/1.1 200 Fine\r\nServer: theirs\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\nhi",
    )
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    let response = client
        .exchange("GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-Mine: 2\r\nAccept: x\r\n\r\n")
        .await;
    assert_eq!((response.status, &*response.text()), (200, "hi"));
    assert_eq!(response.head.one("server"), Some("theirs"));
    assert_eq!(response.head.one("x-own"), Some("1"));
    assert_eq!(response.framing, Framing::Length(2));
    let request = backend.last();
    assert_eq!(request.head.start, "GET /a?b=c HTTP/1.1");
    assert_eq!(request.head.one("host"), Some("example.com"));
    assert_eq!(request.head.one("x-mine"), Some("2"));
    assert_eq!(request.head.one("accept"), Some("x"));
    assert_eq!(request.head.one("content-length"), None);
    assert_eq!(request.head.one("transfer-encoding"), None);
}

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
async fn responses_without_a_body_leave_the_connection_in_step() {
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(request) = connection.request().await {
            connection
                .send(match request.target() {
                    "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                    "/head-chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                    "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n",
                    "/304-length" => {
                        "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 7\r\n\r\n"
                    }
                    _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                })
                .await;
        }
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    let cases = [
        ("HEAD", "/head", 200),
        ("HEAD", "/head-chunked", 200),
        ("GET", "/204", 204),
        ("GET", "/304", 304),
        ("GET", "/304-length", 304),
        ("GET", "/empty", 200),
        ("OPTIONS", "*", 200),
    ];
    for (method, path, status) in cases {
        client
            .send(format!(
                "{method} {path} HTTP/1.1\r\nHost: example.com\r\n\r\n"
            ))
            .await;
        let response = client.try_response(method).await.expect(path);
        assert_eq!(response.status, status, "{path}");
        assert!(response.body.is_empty(), "{path}");
        if path == "/head" {
            assert_eq!(response.head.one("content-length"), Some("1000"));
        }
        if path == "/204" {
            assert!(
                !response.head.has("content-length") && !response.head.has("transfer-encoding")
            );
        }
    }
    assert_eq!(backend.requests().len(), cases.len());
    assert_eq!(
        backend.log().connections,
        1,
        "each response left the connection clean"
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::mirror().await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    let all = [
        get("/1").into_bytes(),
        post("/2", b"body"),
        get("/3").into_bytes(),
    ]
    .concat();
    client.send(all).await;
    for path in ["/1", "/2", "/3"] {
        let text = client.response().await.text();
        assert!(text.contains(&format!(" {path} ")), "{text}");
    }
    assert_eq!(backend.requests()[1].body, b"body");
    assert_eq!(client.get("/4").await.status, 200);
}

#[tokio::test]
async fn bodies_keep_their_framing() {
    let backend = echo().await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;

    assert_eq!(client.exchange(post("/", b"abc")).await.body, b"abc");
    assert_eq!(backend.last().head.one("content-length"), Some("3"));

    assert_eq!(client.exchange(post("/", b"")).await.body, b"");
    assert_eq!(backend.last().head.one("content-length"), Some("0"));

    client
        .send("POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    // A chunk in two pieces, one of them within its size.
    for piece in [
        "1",
        "0\r\n01234567",
        "89abcdef\r\n",
        "1\r\nz\r\n0",
        "\r\n\r\n",
    ] {
        client.send(piece).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let response = client.response().await;
    assert_eq!(response.body, b"0123456789abcdefz");
    assert_eq!(response.framing, Framing::Chunked);
    assert_eq!(
        backend.last().head.one("transfer-encoding"),
        Some("chunked")
    );
    assert_eq!(backend.log().connections, 1);
}

#[tokio::test]
async fn a_header_section_may_come_in_pieces() {
    let backend = Backend::hello("hi").await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for round in 0..2 {
        for piece in [
            "G",
            "ET / HT",
            "TP/1.1\r",
            "\nHost: exam",
            "ple.com\r\n",
            "\r",
            "\n",
        ] {
            client.send(piece).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(client.response().await.text(), "hi", "{round}");
    }
}

#[tokio::test]
async fn both_directions_move_at_once() {
    const SIZE: usize = 5_000_000;
    let backend = echo().await;
    let gateway = to(&backend);
    let body = pattern(SIZE);
    let mut client = gateway.client().await;
    for framed in [post("/", &body), {
        let pieces: Vec<&[u8]> = body.chunks(70_001).collect();
        let head = "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
        [head.as_bytes(), &chunked(&pieces)].concat()
    }] {
        // Nobody reads: the upload has to stop before all of it is buffered somewhere.
        let Client { reader, writer, .. } = &mut client;
        let upload = async {
            use tokio::io::AsyncWriteExt;
            writer.write_all(&framed).await.unwrap();
        };
        let download = async {
            let head = reader.head().await.unwrap().unwrap();
            let mut response = head.response_body("POST").unwrap();
            reader.rest(&mut response).await.unwrap()
        };
        let ((), echoed) = within("an echo", async { tokio::join!(upload, download) }).await;
        assert!(echoed == body, "the echo differs");
        assert!(
            backend.last().body == body,
            "the backend got something else"
        );
    }
    assert_eq!(client.exchange(post("/", b"next")).await.body, b"next");
    assert_eq!(backend.log().connections, 1);
}

#[tokio::test]
async fn a_response_without_length_goes_on_in_chunks() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection.send("HTTP/1.1 200 OK\r\n\r\nuntil ").await;
        connection.send("the end").await;
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for _ in 0..2 {
        let response = client.get("/").await;
        assert_eq!(response.framing, Framing::Chunked);
        assert_eq!(response.text(), "until the end");
    }
    assert_eq!(backend.log().connections, 2);

    let mut old = gateway.client().await;
    old.send("GET / HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let response = old.response().await;
    assert_eq!(
        (response.framing, &*response.text()),
        (Framing::Close, "until the end")
    );
    assert!(!response.head.has("transfer-encoding"));
    old.closed().await;
}

#[tokio::test]
async fn clients_of_http_1_0() {
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(request) = connection.request().await {
            connection
                .send(match request.target() {
                    "/chunked" => {
                        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                        [head.as_bytes(), &chunked(&[b"in ", b"pieces"])].concat()
                    }
                    _ => ok("whole").into_bytes(),
                })
                .await;
        }
    })
    .await;
    let gateway = to(&backend);

    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.status, &*response.text()), (200, "whole"));
    client.closed().await;
    assert_eq!(backend.last().head.start, "GET / HTTP/1.1");
    let host = backend.last().head.one("host").map(str::to_owned);
    assert!(
        host.is_some_and(|host| !host.is_empty()),
        "HTTP/1.1 needs a Host"
    );

    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.0\r\nHost: example.com\r\n\r\n")
        .await;
    assert_eq!(client.response().await.text(), "whole");
    client.closed().await;
    assert_eq!(backend.last().head.one("host"), Some("example.com"));

    let mut client = gateway.client().await;
    for _ in 0..2 {
        client
            .send("GET / HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let response = client.response().await;
        assert_eq!(response.text(), "whole");
        let connection = response.head.one("connection").unwrap_or_default();
        assert!(
            connection.eq_ignore_ascii_case("keep-alive"),
            "{connection:?}"
        );
    }
    client
        .send("GET /chunked HTTP/1.0\r\nHost: example.com\r\n\r\n")
        .await;
    let response = client.response().await;
    assert_eq!(
        (response.framing, &*response.text()),
        (Framing::Close, "in pieces")
    );
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

#[tokio::test]
async fn a_slow_reader_stops_the_backend_and_not_the_memory() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 960;
    let sent = Arc::new(AtomicUsize::new(0));
    let progress = Arc::clone(&sent);
    let backend = Backend::start(move |mut connection: Connection| {
        let progress = Arc::clone(&progress);
        async move {
            connection.request().await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                CHUNK * CHUNKS
            );
            connection.send(head).await;
            for round in 0..CHUNKS {
                connection
                    .send(vec![u8::try_from(round % 251).unwrap(); CHUNK])
                    .await;
                progress.fetch_add(1, SeqCst);
            }
            connection.left().await;
        }
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    client.send(get("/")).await;
    // Until the backend could send nothing for a while.
    let mut before = 0;
    let stopped = async {
        loop {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let now = sent.load(SeqCst);
            if now > 0 && now == before {
                return now;
            }
            before = now;
        }
    };
    let stopped = within("the backend to be stopped", stopped).await;
    // What fits are the buffers of four sockets and little of ours.
    assert!(
        stopped < CHUNKS / 2,
        "{} MB are buffered somewhere",
        stopped * CHUNK / 1_000_000
    );
    let head = client.head().await;
    let mut body = head.response_body("GET").unwrap();
    let mut received = 0;
    while let Some(piece) = within("a piece", client.reader.piece(&mut body))
        .await
        .unwrap()
    {
        for byte in &piece[..] {
            assert_eq!(usize::from(*byte), received / CHUNK % 251);
            received += 1;
        }
    }
    assert_eq!(received, CHUNK * CHUNKS);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_given_up() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection
            .send("HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n")
            .await;
        while connection.send([b'x'; 64 * 1024]).await {}
    })
    .await;
    let gateway = to_with("timeouts: {write: 400ms}", &backend);
    let mut client = gateway.client().await;
    client.send(get("/")).await;
    backend
        .wait("the request", |log| log.requests.len() == 1)
        .await;
    backend.abandoned().await;
    assert!(client.rest().await.len() < 60_000_000);
    gateway.failed("client_gone", 1).await;
}

#[tokio::test]
async fn a_backend_that_takes_nothing_stops_the_upload() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.head().await;
        // Until the test ends.
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = to_with("timeouts: {response: 400ms, body: 10s}", &backend);
    let mut client = gateway.client().await;
    let sent = AtomicUsize::new(0);
    let Client { reader, writer, .. } = &mut client;
    let upload = async {
        use tokio::io::AsyncWriteExt;
        let head = "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 60000000\r\n\r\n";
        writer.write_all(head.as_bytes()).await.unwrap();
        while writer.write_all(&[b'x'; 64 * 1024]).await.is_ok() {
            sent.fetch_add(64 * 1024, SeqCst);
        }
    };
    let answer = async { reader.head().await.unwrap().unwrap() };
    let answered = within("504", async {
        tokio::select! {
            head = answer => head,
            () = upload => panic!("the connection ended without an answer"),
        }
    });
    assert_eq!(answered.await.word(1), "504");
    assert!(
        sent.load(SeqCst) < 40_000_000,
        "{} bytes are somewhere",
        sent.load(SeqCst)
    );
}

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

#[tokio::test]
async fn a_backend_that_answers_nonsense_is_502() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection.send("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(
        client.get("/").await.status,
        502,
        "the client's connection stays"
    );
    assert_eq!(
        backend.requests().len(),
        2,
        "a fresh connection that breaks is not tried again"
    );
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

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let backend = Backend::hello("hi").await;
    let dead = Dead::new();
    let gateway = Gateway::start(Routes::all_to(&[dead.address(), backend.address()]));
    let mut client = gateway.client().await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.text(), "hi");
        assert_eq!(client.exchange(post("/", b"pay")).await.text(), "hi");
    }
    assert_eq!(backend.requests().len(), 8);
    let state = Arc::clone(&gateway.table().services[0].state);
    assert!(state.connect_failures.get() > 0);
    assert_eq!(state.retries.get(), state.connect_failures.get());
}

#[tokio::test]
async fn answers_of_the_gateway_itself() {
    let dead = [Dead::new(), Dead::new()];
    let addresses: Vec<_> = dead.iter().map(Dead::address).collect();
    let routes = Routes::new()
        .service("dead", Protocol::Http1, &addresses)
        .service("empty", Protocol::Http1, &[])
        .rule("*", "Path(`/dead`)", &[("dead", 1)])
        .rule("*", "Path(`/empty`)", &[("empty", 1)])
        .rule("*", "Path(`/weightless`)", &[("empty", 0)])
        .unresolved("*", "Path(`/unresolved`)");
    let gateway = Gateway::start(routes);
    let mut client = gateway.client().await;
    let cases = [
        ("/dead", 502),
        ("/empty", 503),
        ("/weightless", 503),
        ("/unresolved", 500),
        ("/no", 404),
    ];
    for (path, status) in cases {
        let response = client.get(path).await;
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.head.one("server"), Some("ferrix"));
        assert_eq!(
            response.head.one("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(response.text().contains(&status.to_string()));
        let json = client
            .exchange(format!(
                "GET {path} HTTP/1.1\r\nHost: example.com\r\nAccept: application/json\r\n\r\n"
            ))
            .await;
        assert_eq!(json.status, status);
        assert_eq!(json.head.one("content-type"), Some("application/json"));
        assert!(
            json.text().starts_with(&format!("{{\"status\":{status},")),
            "{}",
            json.text()
        );
        client
            .send(format!("HEAD {path} HTTP/1.1\r\nHost: example.com\r\n\r\n"))
            .await;
        let head = client.try_response("HEAD").await.unwrap();
        assert_eq!(head.status, status);
        // A body that nobody reads does not cost the connection.
        assert_eq!(
            client.exchange(post(path, b"unread")).await.status,
            status,
            "{path}"
        );
    }
}

#[tokio::test]
async fn methods_that_no_proxy_serves() {
    let backend = Backend::hello("hi").await;
    let gateway = to(&backend);
    for request in [
        "TRACE / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    ] {
        let response = gateway.client().await.exchange(request).await;
        assert_eq!(response.status, 405, "{request}");
        assert!(response.head.has("allow"));
    }
    assert!(backend.requests().is_empty());
}

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
    let gateway = to_with("limits: {connections: 2}", &backend);
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
async fn hop_by_hop_fields_of_responses_stay_behind() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nTrailer: X\r\nX-Kept: 1\r\n\
         Content-Length: 2\r\n\r\nhi",
    )
    .await;
    let gateway = to(&backend);
    let response = gateway.client().await.get("/").await;
    for name in ["x-secret", "keep-alive", "proxy-authenticate", "trailer"] {
        assert!(!response.head.has(name), "{name}");
    }
    assert_eq!(response.head.one("x-kept"), Some("1"));
}

#[tokio::test]
async fn server_sent_events_come_one_by_one() {
    let next = Arc::new(Notify::new());
    let script = Arc::clone(&next);
    let backend = Backend::start(move |mut connection: Connection| {
        let next = Arc::clone(&script);
        async move {
            connection.request().await;
            connection
                .send(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                     Transfer-Encoding: chunked\r\n\r\n",
                )
                .await;
            for _ in 0..5 {
                connection.send("9\r\ndata: x\n\n\r\n").await;
                next.notified().await;
            }
            connection.send("0\r\n\r\n").await;
        }
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    client.send(get("/")).await;
    let head = client.head().await;
    let mut body = head.response_body("GET").unwrap();
    for _ in 0..5 {
        let event = within("an event", client.reader.piece(&mut body))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&event[..], b"data: x\n\n");
        next.notify_one();
    }
    assert_eq!(
        within("the end", client.reader.piece(&mut body)).await,
        Ok(None)
    );
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Checksum: 17\r\nSet-Cookie: a=b\r\nTransfer-Encoding: gzip\r\n\r\n",
    )
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    let response = client
        .exchange(
            "POST / HTTP/1.1\r\nHost: example.com\r\nTE: trailers\r\n\
             Transfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Own: 1\r\nHost: evil\r\nX-Real-IP: 6.6.6.6\r\n\r\n",
        )
        .await;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(backend.last().body, b"hello");
    assert_eq!(backend.last().trailers, [pair("x-own", "1")]);
    assert_eq!(&*response.text(), "hi");
    assert_eq!(
        response.trailers,
        [pair("x-checksum", "17"), pair("set-cookie", "a=b")]
    );
}
