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
