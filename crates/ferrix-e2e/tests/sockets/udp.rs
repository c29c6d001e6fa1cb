//! Datagrams: a session for each client address.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use ferrix_e2e::{Gateway, Routes, within};
use ferrix_table::{
    entry_points::Protocol::{Tcp, Udp},
    services::Protocol,
};
use tokio::{net::UdpSocket, time::timeout};

use crate::{FIRST, free_port, listener, local, tcp::Echo, with};

/// Who has sent what.
type Datagrams = Vec<(SocketAddr, Vec<u8>)>;

/// Sends back what comes, with its name before it.
struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Datagrams>>,
}

impl Server {
    async fn start(name: &'static str) -> Self {
        let socket = UdpSocket::bind(local(0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&received);
        tokio::spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let datagram = buffer[..length].to_vec();
                let answer = [name.as_bytes(), &datagram].concat();
                shared.lock().unwrap().push((client, datagram));
                let _ = socket.send_to(&answer, client).await;
            }
        });
        Self { address, received }
    }

    fn received(&self) -> Datagrams {
        self.received.lock().unwrap().clone()
    }
}

/// A gateway with one listener for UDP.
fn gateway(settings: &str, addresses: &[SocketAddr]) -> (Gateway, SocketAddr) {
    let gateway = Gateway::start_with(settings, Routes::new());
    let port = free_port();
    let routes = Routes::new()
        .service("it", Protocol::Udp, addresses)
        .on(&[FIRST])
        .rule("*", "", &[("it", 1)]);
    gateway.publish_on(with(&[listener("udp", Udp, port, "*")]), routes);
    (gateway, local(port))
}

/// A client of that address, which takes answers from there alone.
async fn client(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(local(0)).await.unwrap();
    socket.connect(address).await.unwrap();
    socket
}

async fn ask(client: &UdpSocket, question: &[u8]) -> Vec<u8> {
    client.send(question).await.unwrap();
    let mut answer = vec![0; 65_536];
    let length = within("an answer", client.recv(&mut answer)).await.unwrap();
    answer.truncate(length);
    answer
}

#[tokio::test]
async fn a_client_has_one_endpoint_and_answers_come_from_where_it_asked() {
    let (a, b) = (Server::start("a:").await, Server::start("b:").await);
    let (gateway, address) = gateway("{}", &[a.address, b.address]);
    let clients = [client(address).await, client(address).await];
    let first = [ask(&clients[0], b"1").await, ask(&clients[1], b"1").await];
    assert_ne!(first[0][0], first[1][0], "each endpoint in turn");
    for (client, first) in clients.iter().zip(&first) {
        for question in [&b"2"[..], b"", &[7; 1400]] {
            let answer = ask(client, question).await;
            assert_eq!(answer[..2], first[..2], "the same endpoint");
            assert_eq!(answer[2..], *question);
        }
    }
    for server in [&a, &b] {
        let received = server.received();
        assert_eq!(received.len(), 4);
        assert!(received.iter().all(|(client, _)| *client == received[0].0));
    }
    let counters = gateway.counters().entry_point("udp");
    assert_eq!(counters.open_connections.get(), 2);
}

#[tokio::test]
async fn a_session_that_idles_ends() {
    let server = Server::start("a:").await;
    let (gateway, address) = gateway("timeouts: {udp: 100ms}", &[server.address]);
    let client = client(address).await;
    assert_eq!(ask(&client, b"1").await, b"a:1");
    gateway
        .counted_at("udp", "the end", |counters| {
            counters.open_connections.get() == 0
        })
        .await;
    assert_eq!(ask(&client, b"2").await, b"a:2");
    let received = server.received();
    assert_ne!(received[0].0, received[1].0, "a session of its own");
}

#[tokio::test]
async fn sessions_are_bounded_and_those_that_there_are_go_on() {
    let server = Server::start("a:").await;
    let (gateway, address) = gateway("limits: {udp_sessions: 1}", &[server.address]);
    let (one, other) = (client(address).await, client(address).await);
    assert_eq!(ask(&one, b"1").await, b"a:1");
    other.send(b"no").await.unwrap();
    gateway
        .counted_at("udp", "the refusal", |counters| {
            counters.failures.iter().any(|it| it.get() == 1)
        })
        .await;
    assert_eq!(ask(&one, b"2").await, b"a:2");
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_left() {
    let closed = std::net::UdpSocket::bind(local(0)).unwrap();
    let gone = closed.local_addr().unwrap();
    drop(closed);
    let server = Server::start("a:").await;
    let (_gateway, address) = gateway("{}", &[gone, server.address]);
    let client = client(address).await;
    // What the endpoint refuses is lost, and the next goes elsewhere.
    let mut answer = [0; 16];
    let asking = async {
        loop {
            client.send(b"1").await.unwrap();
            let answer = timeout(Duration::from_millis(100), client.recv(&mut answer));
            if let Ok(Ok(length)) = answer.await {
                return length;
            }
        }
    };
    let length = within("an answer", asking).await;
    assert_eq!(&answer[..length], b"a:1");
}

#[tokio::test]
async fn a_port_may_be_for_datagrams_and_bytes_and_go() {
    let (server, echo) = (Server::start("a:").await, Echo::start().await);
    let gateway = Gateway::start(Routes::new());
    let port = free_port();
    let listeners = [
        listener("udp", Udp, port, "*"),
        listener("tcp", Tcp, port, "*"),
    ];
    let routes = Routes::new()
        .service("udp", Protocol::Udp, &[server.address])
        .service("tcp", Protocol::Tcp, &[echo.address])
        .on(&[FIRST])
        .rule("*", "", &[("udp", 1)])
        .on(&[FIRST + 1])
        .rule("*", "", &[("tcp", 1)]);
    gateway.publish_on(with(&listeners), routes);
    let client = client(local(port)).await;
    assert_eq!(ask(&client, b"1").await, b"a:1");
    assert!(tokio::net::TcpStream::connect(local(port)).await.is_ok());
    gateway.publish_on(with(&[]), Routes::new());
    let left = gateway.drain(Duration::from_secs(5)).await;
    assert_eq!(left, 0);
    assert!(
        std::net::UdpSocket::bind(local(port)).is_ok(),
        "the port is free"
    );
}
