//! Bytes over TCP: both ways, to their ends.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use ferrix_e2e::{Gateway, Routes, within};
use ferrix_table::{
    backend_policy::BackendPolicy,
    connection::{ConnectionOptions, ProxyProtocol},
    entry_points::Protocol::Tcp,
    object::ObjectName,
    services::Protocol,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{FIRST, free_port, listener, local, with};

/// Sends back what comes, and `bye` after the end of it.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Echo {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(local(0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(echo(stream, Arc::clone(&shared)));
            }
        });
        Self { address, received }
    }

    /// All that has come, on all connections.
    pub(crate) fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }
}

async fn echo(mut stream: TcpStream, received: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        received
            .lock()
            .unwrap()
            .extend_from_slice(&buffer[..length]);
        stream.write_all(&buffer[..length]).await.unwrap();
    }
    let _ = stream.write_all(b"bye").await;
}

/// A gateway with one listener for TCP, whose connections go to these services.
fn gateway(settings: &str, services: &[(&str, u32, &[SocketAddr])]) -> (Gateway, SocketAddr) {
    let gateway = Gateway::start_with(settings, Routes::new());
    let port = free_port();
    let mut routes = Routes::new().on(&[FIRST]);
    for (name, _, addresses) in services {
        routes = routes.service(name, Protocol::Tcp, addresses);
    }
    let shares: Vec<_> = services
        .iter()
        .map(|(name, weight, _)| (*name, *weight))
        .collect();
    let routes = routes.rule("*", "", &shares);
    gateway.publish_on(with(&[listener("tcp", Tcp, port, "*")]), routes);
    (gateway, local(port))
}

async fn read_to_end(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    within("the end", stream.read_to_end(&mut all)).await?;
    Ok(all)
}

#[tokio::test]
async fn an_end_is_passed_on_and_what_still_comes_arrives() {
    let echo = Echo::start().await;
    let (gateway, address) = gateway("{}", &[("echo", 1, &[echo.address])]);
    let mut stream = TcpStream::connect(address).await.unwrap();
    // More than fits into any buffer, while nothing is read.
    let sent: Vec<u8> = (0..4 << 20).map(|it: u32| it.to_le_bytes()[1]).collect();
    let (mut reader, mut writer) = stream.split();
    let sending = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut read = Vec::new();
    let (_, all) = tokio::join!(sending, within("the end", reader.read_to_end(&mut read)));
    all.unwrap();
    assert!(read.ends_with(b"bye"));
    assert!(
        read[..read.len() - 3] == sent,
        "{} bytes came back",
        read.len()
    );
    assert!(echo.received() == sent);
    gateway
        .counted_at("tcp", "the end", |counters| {
            counters.open_connections.get() == 0
        })
        .await;
}

#[tokio::test]
async fn a_server_may_speak_first_and_end_first() {
    let listener = TcpListener::bind(local(0)).await.unwrap();
    let (_gateway, address) = gateway("{}", &[("it", 1, &[listener.local_addr().unwrap()])]);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut backend, _) = within("a connection", listener.accept()).await.unwrap();
    backend.write_all(b"220 ready").await.unwrap();
    backend.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.unwrap(), b"220 ready");
    stream.write_all(b"thanks").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut backend).await.unwrap(), b"thanks");
}

#[tokio::test]
async fn connections_are_shared_by_weight() {
    let (one, other) = (Echo::start().await, Echo::start().await);
    let services: [(&str, u32, &[SocketAddr]); 2] =
        [("one", 3, &[one.address]), ("other", 1, &[other.address])];
    let (_gateway, address) = gateway("{}", &services);
    for _ in 0..40 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut stream).await.unwrap(), b"xbye");
    }
    let (one, other) = (one.received().len(), other.received().len());
    assert_eq!(one + other, 40);
    assert!((28..=32).contains(&one), "{one} of 40");
}

#[tokio::test]
async fn where_there_is_no_endpoint_connections_close_at_once() {
    let closed = std::net::TcpListener::bind(local(0)).unwrap();
    let gone = closed.local_addr().unwrap();
    drop(closed);
    let cases: [(&str, &[SocketAddr]); 2] = [("no_endpoint", &[]), ("connect", &[gone])];
    for (failure, addresses) in cases {
        let (gateway, address) = gateway("{}", &[("it", 1, addresses)]);
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(
            read_to_end(&mut stream)
                .await
                .is_ok_and(|read| read.is_empty())
        );
        let place = ferrix_proxy::failure::Failure::NAMES;
        let place = place.iter().position(|it| *it == failure).unwrap();
        gateway
            .counted_at("tcp", failure, |counters| {
                counters.failures[place].get() == 1
            })
            .await;
    }
}

#[tokio::test]
async fn another_endpoint_is_tried_where_one_refuses() {
    let closed = std::net::TcpListener::bind(local(0)).unwrap();
    let gone = closed.local_addr().unwrap();
    drop(closed);
    let echo = Echo::start().await;
    let (_gateway, address) = gateway("{}", &[("it", 1, &[gone, echo.address])]);
    for _ in 0..4 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut stream).await.unwrap(), b"bye");
    }
}

#[tokio::test]
async fn what_idles_is_closed() {
    let echo = Echo::start().await;
    let settings = "timeouts: {upgraded: 200ms}";
    let (_gateway, address) = gateway(settings, &[("echo", 1, &[echo.address])]);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.unwrap(), b"x");
}

/// An endpoint is told the client before the first byte of it, where the policy of its service says so.
#[tokio::test]
async fn endpoints_are_told_the_client() {
    let echo = Echo::start().await;
    let policy = BackendPolicy {
        connection: ConnectionOptions {
            proxy_protocol: Some(ProxyProtocol::V1),
            ..ConnectionOptions::default()
        },
        ..BackendPolicy::new(ObjectName::new("default", "p"))
    };
    let gateway = Gateway::start_with("{}", Routes::new());
    let port = free_port();
    let routes = Routes::new().on(&[FIRST]);
    let routes = routes.service("echo", Protocol::Tcp, &[echo.address]);
    let routes = routes.backend_policy(&policy).rule("*", "", &[("echo", 1)]);
    gateway.publish_on(with(&[listener("tcp", Tcp, port, "*")]), routes);
    let mut stream = TcpStream::connect(local(port)).await.unwrap();
    let client = stream.local_addr().unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    read_to_end(&mut stream).await.unwrap();
    let ip = local(port).ip();
    let expected = format!("PROXY TCP4 {ip} {ip} {} {port}\r\nhello", client.port());
    assert_eq!(String::from_utf8_lossy(&echo.received()), expected);
}
