//! What takes too long.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ferrix_e2e::{
    Backend, Gateway, Routes,
    backend::{Connection, ok},
    frames::{self, Frames, frame, kind},
    http2_client::read,
    within,
};

#[tokio::test]
async fn timeouts() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection.left().await;
    })
    .await;
    let gateway = Gateway::start_with(
        "timeouts: {response: 200ms, body: 200ms, keep_alive: 600ms}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.http2().await;
    assert_eq!(client.get("/").await.status, 504);
    let request = client.request("POST", "/");
    let (response, mut stream) = client.open(request, false).await.unwrap();
    stream
        .send_data(Bytes::from_static(b"half"), false)
        .unwrap();
    assert_eq!(read(response).await.unwrap().status, 408);
    backend.abandoned().await;
    // Without streams the connection is closed, with GOAWAY.
    let started = Instant::now();
    drop(client.send);
    within("the end of an idle connection", client.connection)
        .await
        .unwrap()
        .unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_body_with_a_length_may_not_trickle() {
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.send(ok("done")).await;
        }
    })
    .await;
    let gateway = Gateway::start_with(
        "{limits: {body_rate: 1000B}, timeouts: {body_grace: 400ms}}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.http2().await;
    // The first stream of the connection, and a later one.
    for _ in 0..2 {
        for (with_length, expected) in [(true, 408), (false, 200)] {
            let mut request = client.request("POST", "/");
            if with_length {
                request
                    .headers_mut()
                    .insert("content-length", "30".parse().unwrap());
            }
            let (response, mut stream) = client.open(request, false).await.unwrap();
            let mut response = std::pin::pin!(read(response));
            let trickle = async {
                for sent in 1..=30 {
                    let byte = Bytes::from_static(b"x");
                    // It may have been answered meanwhile.
                    let _ = stream.send_data(byte, sent == 30);
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            };
            let response = tokio::select! {
                response = &mut response => response,
                () = trickle => response.await,
            };
            assert_eq!(response.unwrap().status, expected);
        }
    }
    gateway.failed("body_timeout", 2).await;
}

#[tokio::test]
async fn an_idle_connection_is_told_and_closed() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "timeouts: {keep_alive: 200ms}",
        Routes::all_to(&[backend.address()]),
    );
    let mut frames = Frames::connect(gateway.web, &[]).await;
    let goodbye = frames.next_of(kind::GOAWAY).await.expect("a GOAWAY");
    assert_eq!(goodbye.code(), Some(0));
}

#[tokio::test]
async fn a_preface_has_a_deadline() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "timeouts: {header: 300ms}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.client().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM").await;
    let started = Instant::now();
    assert!(client.rest().await.is_empty());
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_client_that_opens_no_window_is_cancelled() {
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.send(ok(&"x".repeat(100_000))).await;
        }
    })
    .await;
    let gateway = Gateway::start_with(
        "timeouts: {write: 400ms}",
        Routes::all_to(&[backend.address()]),
    );
    for drip in [false, true] {
        // SETTINGS_INITIAL_WINDOW_SIZE of 0.
        let mut frames = Frames::connect(gateway.web, &[(4, 0)]).await;
        frames.send(&frames::get(1)).await;
        frames.next_of(kind::HEADERS).await.expect("a response");
        let started = Instant::now();
        let attack = async {
            loop {
                if drip {
                    // A byte of window now and then is no progress.
                    let one = 1_u32.to_be_bytes();
                    frames.send(&frame(kind::WINDOW_UPDATE, 0, 1, &one)).await;
                }
                let wait = Duration::from_millis(50);
                match tokio::time::timeout(wait, frames.next_of(kind::RST_STREAM)).await {
                    Ok(reset) => return reset,
                    Err(_) => continue,
                }
            }
        };
        let reset = within("a reset", attack).await;
        assert!(reset.is_some(), "the stream is reset, the connection stays");
        assert!(
            started.elapsed() >= Duration::from_millis(350),
            "{:?}",
            started.elapsed()
        );
        backend.abandoned().await;
    }
}

/// A header section, and whatever else is no body, has to come in time, on a connection that has
/// carried a request or not, however it trickles.
#[tokio::test]
async fn what_has_begun_has_a_deadline() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "timeouts: {header: 300ms, keep_alive: 30s}",
        Routes::all_to(&[backend.address()]),
    );
    let block = frames::get_block();
    let headers = frame(kind::HEADERS, frames::END_STREAM, 3, &block[..20]);
    let rest = frame(kind::CONTINUATION, 0, 3, &block[20..]);
    let ping = frame(kind::PING, 0, 0, &[0; 8]);
    // What comes at once, and what comes after it, byte by byte and without an end.
    let cases: [(&str, &[u8], &[u8]); 7] = [
        ("no END_HEADERS", &headers, b""),
        ("a trickle of CONTINUATION", &headers, &rest),
        ("half a header section", &headers[..15], b""),
        (
            "a trickle of a header section",
            &headers[..10],
            &headers[10..],
        ),
        ("the head of a frame", &ping[..1], b""),
        ("a trickle of the head of a frame", &ping[..1], &ping[1..8]),
        ("half a frame", &ping[..12], b""),
    ];
    for (what, first, trickle) in cases {
        for reused in [false, true] {
            let what = format!("{what}, {}", if reused { "reused" } else { "new" });
            let mut frames = Frames::connect(gateway.web, &[]).await;
            if reused {
                frames.send(&frames::get(1)).await;
                frames.next_of(kind::DATA).await.expect("a response");
            }
            let started = Instant::now();
            frames.send(first).await;
            let mut trickle = trickle.iter();
            let goodbye = loop {
                let wait = Duration::from_millis(20);
                match tokio::time::timeout(wait, frames.next_of(kind::GOAWAY)).await {
                    Ok(goodbye) => break goodbye,
                    Err(_) => {
                        if let Some(byte) = trickle.next() {
                            frames.send(&[*byte]).await;
                        }
                    }
                }
            };
            assert_eq!(goodbye.and_then(|it| it.code()), Some(11), "{what}");
            let took = started.elapsed();
            assert!((250..3000).contains(&took.as_millis()), "{what}: {took:?}");
        }
    }
    // The backend has seen the whole requests alone.
    assert_eq!(backend.requests().len(), cases.len());
}

/// A body may take its time, and a frame of it too.
#[tokio::test]
async fn a_frame_of_a_body_may_be_slower() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "timeouts: {header: 200ms}",
        Routes::all_to(&[backend.address()]),
    );
    let mut frames = Frames::connect(gateway.web, &[]).await;
    let open = frame(kind::HEADERS, frames::END_HEADERS, 1, &frames::get_block());
    let data = frame(kind::DATA, frames::END_STREAM, 1, &[b'x'; 30]);
    frames.send(&[&open[..], &data[..9]].concat()).await;
    for byte in &data[9..] {
        tokio::time::sleep(Duration::from_millis(20)).await;
        frames.send(&[*byte]).await;
    }
    assert!(frames.next_of(kind::DATA).await.is_some());
    assert_eq!(backend.last().body, [b'x'; 30]);
    frames.send(&frames::get(3)).await;
    assert!(frames.next_of(kind::DATA).await.is_some());
}

/// All streams of a connection whose client takes nothing are cancelled in time, and the connection
/// can be used again.
#[tokio::test]
async fn a_hundred_stalled_streams_are_cancelled() {
    let backend = Backend::hello(&"x".repeat(100_000)).await;
    let gateway = Gateway::start_with(
        "timeouts: {write: 500ms}",
        Routes::all_to(&[backend.address()]),
    );
    // SETTINGS_INITIAL_WINDOW_SIZE of 0.
    let mut frames = Frames::connect(gateway.web, &[(4, 0)]).await;
    for round in 0..2 {
        let streams = (0..100).map(|index| round * 200 + index * 2 + 1);
        let requests = streams.clone().flat_map(frames::get);
        let started = Instant::now();
        frames.send(&requests.collect::<Vec<_>>()).await;
        let mut reset = Vec::new();
        while reset.len() < 100 {
            let frame = frames.next_of(kind::RST_STREAM).await;
            reset.push(frame.expect("the connection stays").stream);
        }
        let took = started.elapsed();
        assert!((450..5000).contains(&took.as_millis()), "{took:?}");
        reset.sort_unstable();
        assert!(reset.into_iter().eq(streams));
        backend.abandoned().await;
    }
}
