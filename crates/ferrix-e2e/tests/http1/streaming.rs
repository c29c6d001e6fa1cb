//! Bodies that flow: both directions at once, piece by piece, and back-pressure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use ferrix_e2e::{
    Backend, Client,
    backend::Connection,
    client::get,
    wire::{chunked, pattern},
    within,
};
use tokio::sync::Notify;

use crate::{echo, post, to, to_with};

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
