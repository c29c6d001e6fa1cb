//! An API server behind something that forgets connections: it goes on accepting, and forwards nothing
//! more on those that there are, nor closes them.

use std::{net::SocketAddr, time::Instant};

use kube::{Config, runtime::watcher};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    super::{
        health::Health,
        watch_kind::{self, Message, Scope},
    },
    *,
};
use crate::objects::Kind;

const IN_TIME: Duration = Duration::from_secs(20);

/// Services, as many as its number says; each watch is told of those that come, and ends after a second
/// as it asks for.
async fn serve(mut stream: TcpStream, mut services: watch::Receiver<usize>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let service = |number: usize| {
            let version = (100 + number).to_string();
            let name = format!("s{number}");
            json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": version}})
        };
        if !head.contains("watch=true") {
            let known = *services.borrow_and_update();
            let items: Vec<_> = (1..=known).map(service).collect();
            let list = json!({
                "apiVersion": "v1", "kind": "ServiceList",
                "metadata": {"resourceVersion": (100 + known).to_string()}, "items": items,
            });
            let list = list.to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", list.len());
            let _ = stream.write_all(format!("{head}{list}").as_bytes()).await;
            continue;
        }
        assert!(head.contains("timeoutSeconds=1"), "{head}");
        let from = head.split("resourceVersion=10").nth(1).unwrap();
        let mut told: usize = from[..1].parse().unwrap();
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        let end = tokio::time::Instant::now() + Duration::from_secs(1);
        loop {
            let known = *services.borrow_and_update();
            while told < known {
                told += 1;
                let mut object = service(told);
                object["apiVersion"] = json!("v1");
                object["kind"] = json!("Service");
                let event = json!({"type": "ADDED", "object": object}).to_string() + "\n";
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                let _ = stream.write_all(chunk.as_bytes()).await;
            }
            tokio::select! {
                changed = services.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(end) => break,
            }
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
    }
}

/// Accepts connections, and does this with each.
async fn accept<F>(with: impl Fn(TcpStream) -> F + Send + 'static) -> (SocketAddr, JoinHandle<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(with(stream));
        }
    });
    (address, task)
}

/// Forwards both ways until it is told that what was accepted so far is forgotten.
async fn forward(mut client: TcpStream, server: SocketAddr, mut forgotten: watch::Receiver<u32>) {
    let mut server = TcpStream::connect(server).await.unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
        _ = forgotten.changed() => {}
    }
    drop(forgotten);
    // Neither side hears of it.
    std::future::pending::<()>().await;
}

async fn name(told: &mut mpsc::Receiver<Message>) -> String {
    let message = tokio::time::timeout(IN_TIME, told.recv()).await;
    match message.expect("in time").unwrap() {
        Message::Listed(_, listed) => format!("{} listed", listed.keys.len()),
        Message::Listing(_, item) | Message::Applied(_, item) => item.key.name.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_that_is_dead_without_a_word_is_replaced() {
    // The client looks for a provider of cryptography even where there is no TLS.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let services = watch::Sender::new(1);
    let of_server = services.subscribe();
    let (server, _server) = accept(move |stream| serve(stream, of_server.clone())).await;
    let forget = watch::Sender::new(0);
    let forgotten = forget.subscribe();
    let (proxy, _proxy) = accept(move |stream| {
        let mut forgotten = forgotten.clone();
        forgotten.mark_unchanged();
        forward(stream, server, forgotten)
    })
    .await;

    let client = Client::try_from(Config::new(format!("http://{proxy}").parse().unwrap())).unwrap();
    let watches = Watches::default();
    let client = watches.begin(("Service", None, None)).listen(&client);
    assert_eq!(watches.list()[0].age_seconds, None);
    let scope = Scope::of(Kind::Service, None);
    let (sink, mut told) = mpsc::channel(16);
    let watching = tokio::spawn(async move {
        let api = watch_kind::api(&client, &scope, "v1");
        let mut health = Health::default();
        let config = watcher::Config::default().timeout(1);
        watch_kind::watch(api, config, (&scope, "v1"), "", &mut health, &sink).await
    });
    assert_eq!(name(&mut told).await, "s1");
    assert_eq!(name(&mut told).await, "1 listed");
    services.send_replace(2);
    assert_eq!(name(&mut told).await, "s2");

    forget.send_replace(1);
    while forget.receiver_count() > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let dead = Instant::now();
    services.send_replace(3);
    let mut oldest = 0.0;
    let found = loop {
        tokio::select! {
            found = name(&mut told) => break found,
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                oldest = watches.list()[0].age_seconds.unwrap().max(oldest);
            }
        }
    };
    assert_eq!(found, "s3");
    // The second of the watch, and five.
    let took = dead.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(oldest > 3.0, "it was silent for {oldest} s");
    let age = watches.list()[0].age_seconds.unwrap();
    assert!(age < 3.0, "it was heard {age} s ago");
    assert!(!watches.is_stale(&("Service", None, None)));
    watching.abort();
}

/// A watch is over before it counts as silent, with the time that it takes to find another connection.
#[test]
fn a_watch_that_works_is_never_stale() {
    let noticed = Duration::from_secs(u64::from(WATCH) + 5);
    assert!(noticed <= Duration::from_secs(30));
    assert!(noticed + BEGINNING < STALE);
    let pulse = Pulse::default();
    assert_eq!(pulse.age(), None);
    pulse.beat();
    assert!(pulse.age().unwrap() < STALE);
}
