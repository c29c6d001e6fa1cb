//! The end of serving: what is underway finishes, what is idle goes, and nothing is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use ferrix_e2e::{
    Backend, Client, Gateway, Routes,
    backend::{Connection, ok},
    certificates::Authority,
    client::get,
    frames::{self, Frames, kind},
    http2_client::{data, read},
    wire::Reader,
    within,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::watch};

#[tokio::test]
async fn a_request_in_flight_finishes_and_its_connection_closes() {
    let (backend, gate) = Backend::gated("late").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    client.send(get("/")).await;
    backend
        .wait("the request", |log| log.requests.len() == 1)
        .await;
    let drained = tokio::spawn(gateway.drain(Duration::from_secs(10)));
    // What waited in the listen queue may still be accepted; then nobody listens.
    let refused = async { while TcpStream::connect(gateway.web).await.is_ok() {} };
    within("connections to be refused", refused).await;
    gate.add_permits(1);
    let response = client.response().await;
    assert_eq!(response.text(), "late");
    assert_eq!(response.head.one("connection"), Some("close"));
    client.closed().await;
    drop(client);
    assert_eq!(within("the drain", drained).await.unwrap(), 0);
}

#[tokio::test]
async fn idle_connections_close_soon() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut used = gateway.client().await;
    used.get("/").await;
    let mut fresh = gateway.client().await;
    let mut http2 = gateway.http2().await;
    http2.get("/").await;
    gateway
        .counted("three connections", |it| it.open_connections.get() == 3)
        .await;
    let started = Instant::now();
    let drained = gateway.drain(Duration::from_secs(10));
    assert_eq!(within("the drain", drained).await, 0);
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    used.closed().await;
    fresh.closed().await;
}

#[tokio::test]
async fn a_request_that_was_on_its_way_is_served() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut used = gateway.client().await;
    used.get("/").await;
    let mut fresh = gateway.client().await;
    let mut half = gateway.client().await;
    half.send("GET / HTTP/1.1\r\nHo").await;
    gateway
        .counted("three connections", |it| it.open_connections.get() == 3)
        .await;
    let drained = tokio::spawn(gateway.drain(Duration::from_secs(10)));
    // What the network takes to bring a request that was sent before anybody was told.
    tokio::time::sleep(Duration::from_millis(100)).await;
    half.send("st: example.com\r\n\r\n").await;
    for (what, client) in [
        ("used", &mut used),
        ("fresh", &mut fresh),
        ("half", &mut half),
    ] {
        if what != "half" {
            client.send(get("/")).await;
        }
        let response = client.try_response("GET").await.expect(what);
        assert_eq!(response.text(), "hi", "{what}");
        assert_eq!(response.head.one("connection"), Some("close"), "{what}");
    }
    drop((used, fresh, half));
    assert_eq!(within("the drain", drained).await.unwrap(), 0);
}

#[tokio::test]
async fn http2_is_told_and_its_streams_finish() {
    let (backend, gate) = Backend::gated("late").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.http2().await;
    let mut responses = Vec::new();
    for _ in 0..20 {
        let request = client.request("POST", "/");
        let (response, mut stream) = client.open(request, false).await.unwrap();
        stream
            .send_data(Bytes::from(vec![b'x'; 16_000]), true)
            .unwrap();
        responses.push(response);
    }
    backend
        .wait("the requests", |log| log.requests.len() == 20)
        .await;
    let drained = tokio::spawn(gateway.drain(Duration::from_secs(10)));
    gate.add_permits(20);
    for response in responses {
        assert_eq!(read(response).await.unwrap().text(), "late");
    }
    assert_eq!(within("the drain", drained).await.unwrap(), 0);
    drop(client.send);
    within("the connection's end", client.connection)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_goodbye_comes_at_once() {
    let (backend, gate) = Backend::gated("late").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut frames = Frames::connect(gateway.web, &[]).await;
    frames.send(&frames::get(1)).await;
    backend
        .wait("the request", |log| log.requests.len() == 1)
        .await;
    let drained = tokio::spawn(gateway.drain(Duration::from_secs(10)));
    let goodbye = frames.next_of(kind::GOAWAY).await.expect("a GOAWAY");
    assert_eq!(goodbye.code(), Some(0));
    gate.add_permits(1);
    assert!(
        frames.next_of(kind::DATA).await.is_some(),
        "the stream finishes"
    );
    drop(frames);
    assert_eq!(within("the drain", drained).await.unwrap(), 0);
}

#[tokio::test]
async fn what_never_ends_is_counted_and_given_up() {
    let (backend, _gate) = Backend::gated("late").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    client.send(get("/")).await;
    backend
        .wait("the request", |log| log.requests.len() == 1)
        .await;
    let started = Instant::now();
    let left = within("the drain", gateway.drain(Duration::from_millis(300))).await;
    assert_eq!(left, 1);
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_large_response_comes_whole() {
    const SIZE: usize = 20_000_000;
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.send(ok(&"x".repeat(SIZE))).await;
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    client.send(get("/")).await;
    client.head().await;
    let mut http2 = gateway.http2().await;
    let request = http2.request("GET", "/");
    let (response, _) = http2.open(request, true).await.unwrap();
    let mut body2 = within("a response", response).await.unwrap().into_body();
    let drained = tokio::spawn(gateway.drain(Duration::from_secs(10)));
    let mut received = 0;
    while received < SIZE {
        received += within("a piece", client.reader.bytes())
            .await
            .expect("all of it")
            .len();
    }
    let mut received2 = 0;
    while let Some(piece) = data(&mut body2).await.unwrap() {
        received2 += piece.len();
    }
    assert_eq!((received, received2), (SIZE, SIZE));
    client.closed().await;
    drop((client, http2, body2));
    assert_eq!(within("the drain", drained).await.unwrap(), 0);
}

/// Clients that keep connections, clients that open one for each request and clients behind TLS,
/// while one instance ends and another takes over: not one request is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pool_of_clients_moves_to_another_instance() {
    let backend = Backend::hello("hi").await;
    let authority = Authority::new();
    let certified = authority.certify("default", &["example.com"]);
    let routes = || Routes::all_to(&[backend.address()]).default_certificate(&certified);
    let start = || Gateway::start_with("server: {threads: 2}", routes());
    let gateways = [start(), start()];
    let served = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let current = Arc::new(AtomicUsize::new(0));
    let (stop, stopped) = watch::channel(false);
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..20 {
        let (served, current) = (Arc::clone(&served), Arc::clone(&current));
        let addresses = gateways
            .each_ref()
            .map(|gateway| (gateway.web, gateway.websecure));
        let tls = (index % 5 == 4).then(|| authority.client(&["http/1.1"]));
        let stopped = stopped.clone();
        tasks.spawn(async move {
            let mut connection: Option<(usize, Client)> = None;
            let mut lost = Vec::new();
            while !*stopped.borrow() {
                let (at, mut client) = match connection.take() {
                    Some(connection) => connection,
                    None => {
                        let at = current.load(SeqCst);
                        let client = match &tls {
                            None => Client::connect(addresses[at].0).await,
                            Some(tls) => Client::new(
                                ferrix_e2e::gateway::tls(addresses[at].1, tls, "example.com")
                                    .await
                                    .expect("a handshake"),
                            ),
                        };
                        (at, client)
                    }
                };
                let keep = index % 2 == 0;
                let close = if keep { "" } else { "Connection: close\r\n" };
                client
                    .send(format!(
                        "GET / HTTP/1.1\r\nHost: example.com\r\n{close}\r\n"
                    ))
                    .await;
                match client.try_response("GET").await {
                    Ok(response) if response.status == 200 => {
                        served[at].fetch_add(1, SeqCst);
                        if response.head.one("connection") != Some("close") {
                            connection = Some((at, client));
                        }
                    }
                    other => lost.push(format!("client {index} at {at}: {other:?}")),
                }
            }
            lost
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    current.store(1, SeqCst);
    let left = within("the drain", gateways[0].drain(Duration::from_secs(10))).await;
    assert_eq!(left, 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.send(true).unwrap();
    let mut lost = Vec::new();
    while let Some(task) = within("the clients", tasks.join_next()).await {
        lost.extend(task.unwrap());
    }
    assert!(
        lost.is_empty(),
        "{} requests were lost: {:?}",
        lost.len(),
        lost.first()
    );
    let served = served.each_ref().map(|count| count.load(SeqCst));
    assert!(served.iter().all(|count| *count > 50), "{served:?}");
}

/// A connection that waits in the listen queue when the end begins is served too.
#[tokio::test]
async fn what_had_connected_is_accepted() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let lost = Arc::new(AtomicBool::new(false));
    let mut streams = Vec::new();
    for _ in 0..30 {
        let mut stream = TcpStream::connect(gateway.web).await.unwrap();
        stream.write_all(get("/").as_bytes()).await.unwrap();
        streams.push(stream);
    }
    let drained = tokio::spawn(gateway.drain(Duration::from_secs(10)));
    for stream in streams {
        let mut reader = Reader::new(stream);
        let head = within("a response", reader.head()).await;
        if !matches!(head, Ok(Some(head)) if head.word(1) == "200") {
            lost.store(true, SeqCst);
        }
    }
    assert!(!lost.load(SeqCst));
    assert_eq!(within("the drain", drained).await.unwrap(), 0);
}
