//! How many connections to backends there are at once: judged by what the backends accepted.

use std::sync::Arc;

use bytes::Bytes;
use ferrix_e2e::{
    Backend, Client, Gateway, Http2Backend, Http2Client, Routes,
    backend::{Connection, Dead},
    client::get,
    http2_backend::Exchange,
    http2_client::read,
};
use ferrix_table::services::Protocol;
use tokio::sync::Semaphore;

/// As [`Backend::gated`], over HTTP/2.
async fn gated_http2() -> (Http2Backend, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&gate);
    let backend = Http2Backend::start(move |mut exchange: Exchange| {
        let permits = Arc::clone(&permits);
        async move {
            permits.acquire().await.unwrap().forget();
            let mut stream = exchange.respond(200, &[], false);
            let _ = stream.send_data(Bytes::from_static(b"hi"), true);
        }
    })
    .await;
    (backend, gate)
}

async fn arrived(backend: &Backend, requests: usize) {
    backend
        .wait("requests", |log| log.requests.len() >= requests)
        .await;
    assert_eq!(backend.requests().len(), requests);
}

#[tokio::test]
async fn without_a_free_connection_the_answer_is_503() {
    let mut ran = 0;
    for limit in ["connections", "connections_per_endpoint"] {
        let (backend, gate) = Backend::gated("hi").await;
        let gateway = Gateway::start_with(
            &format!("{{timeouts: {{connect: 200ms}}, upstream: {{{limit}: 2}}}}"),
            Routes::all_to(&[backend.address()]),
        );
        let mut clients = [gateway.client().await, gateway.client().await];
        for client in &mut clients {
            client.send(get("/")).await;
        }
        arrived(&backend, 2).await;
        let mut third = gateway.client().await;
        assert_eq!(third.get("/").await.status, 503, "{limit}");
        gateway.failed("no_connection", 1).await;
        gate.add_permits(3);
        for client in &mut clients {
            assert_eq!(client.response().await.text(), "hi");
        }
        assert_eq!(third.get("/").await.text(), "hi");
        assert_eq!(backend.log().connections, 2, "{limit}");
        ran += 1;
    }
    assert_eq!(ran, 2);
}

/// Whether the connection that gets free is this thread's or another's.
#[tokio::test]
async fn a_waiting_request_is_served_when_another_ends() {
    let mut ran = 0;
    for threads in [1, 2] {
        for limit in ["connections", "connections_per_endpoint"] {
            let (backend, gate) = Backend::gated("hi").await;
            let settings = format!(
                "{{server: {{threads: {threads}}}, timeouts: {{connect: 10m}}, \
                 upstream: {{{limit}: 1, idle_timeout: 10m}}}}"
            );
            let gateway = Gateway::start_with(&settings, Routes::all_to(&[backend.address()]));
            let mut clients = Vec::new();
            for _ in 0..6 {
                let mut client = gateway.client().await;
                client.send(get("/")).await;
                clients.push(client);
            }
            for requests in 1..=6 {
                arrived(&backend, requests).await;
                gate.add_permits(1);
            }
            for client in &mut clients {
                assert_eq!(client.response().await.text(), "hi");
            }
            let opened = backend.log().connections;
            assert!(
                threads > 1 || opened == 1,
                "{opened} instead of one handed on"
            );
            ran += 1;
        }
    }
    assert_eq!(ran, 4);
}

/// A connection that idles gives its place to one to another endpoint, in both protocols.
#[tokio::test]
async fn idle_connections_make_room() {
    let one = [Backend::hello("1").await, Backend::hello("2").await];
    let two = [
        Http2Backend::hello("3").await,
        Http2Backend::hello("4").await,
    ];
    let mut routes = Routes::new();
    let services = [
        ("1", Protocol::Http1, one[0].address()),
        ("2", Protocol::Http1, one[1].address()),
        ("3", Protocol::Http2, two[0].address()),
        ("4", Protocol::Http2, two[1].address()),
    ];
    for (name, protocol, address) in services {
        routes = routes.service(name, protocol, &[address]).rule(
            "*",
            &format!("Path(`/{name}`)"),
            &[(name, 1)],
        );
    }
    let gateway = Gateway::start_with(
        "{timeouts: {connect: 10m}, upstream: {connections: 1, idle_timeout: 10m}}",
        routes,
    );
    let mut client = gateway.client().await;
    for name in ["1", "2", "3", "4", "3", "1", "3", "2", "4", "2", "1", "1"] {
        let answer = client.get(&format!("/{name}")).await;
        assert_eq!(answer.text(), name);
    }
    let opened = [
        one[0].log().connections,
        one[1].log().connections,
        two[0].log().connections,
        two[1].log().connections,
    ];
    assert_eq!(opened, [3, 3, 3, 2]);
}

/// A hundred streams are all that the backend takes on a connection, and there is one connection.
#[tokio::test]
async fn http2_connections_are_limited() {
    for (connect, served) in [("300ms", false), ("10m", true)] {
        let (backend, gate) = gated_http2().await;
        let gateway = Gateway::start_with(
            &format!("{{timeouts: {{connect: {connect}}}, upstream: {{connections: 1}}}}"),
            Routes::all_by(Protocol::Http2, &[backend.address()]),
        );
        let mut crowd = gateway.http2().await;
        let mut answers = Vec::new();
        for _ in 0..100 {
            answers.push(open(&mut crowd).await);
        }
        backend
            .wait("the crowd", |log| log.requests.len() == 100)
            .await;
        let mut last = gateway.client().await;
        last.send(get("/")).await;
        if served {
            gate.add_permits(1);
            backend
                .wait("the last", |log| log.requests.len() == 101)
                .await;
            gate.add_permits(100);
            assert_eq!(last.response().await.text(), "hi");
        } else {
            assert_eq!(last.response().await.status, 503);
            gateway.failed("no_connection", 1).await;
            gate.add_permits(100);
        }
        for answer in answers {
            assert_eq!(read(answer).await.unwrap().text(), "hi");
        }
        assert_eq!(backend.log().connections, 1);
    }
}

async fn open(client: &mut Http2Client) -> h2::client::ResponseFuture {
    let request = client.request("GET", "/");
    client.open(request, true).await.unwrap().0
}

/// However a connection ends, its place is free again.
#[tokio::test]
async fn places_come_back() {
    let (gated, gate) = Backend::gated("hi").await;
    let closes = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        connection.send(answer).await;
    })
    .await;
    let hangs = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection.left().await;
    })
    .await;
    let breaks = Http2Backend::start(async |exchange: Exchange| drop(exchange)).await;
    let dead = Dead::new();
    let mut routes = Routes::new().service("breaks", Protocol::Http2, &[breaks.address()]);
    for (name, address) in [
        ("gated", gated.address()),
        ("closes", closes.address()),
        ("hangs", hangs.address()),
        ("dead", dead.address()),
    ] {
        routes = routes.service(name, Protocol::Http1, &[address]);
    }
    for name in ["gated", "closes", "hangs", "breaks", "dead"] {
        routes = routes.rule("*", &format!("Path(`/{name}`)"), &[(name, 1)]);
    }
    let settings =
        "{timeouts: {connect: 10m}, upstream: {connections: 2, connections_per_endpoint: 2}}";
    let gateway = Gateway::start_with(settings, routes);
    let mut client = gateway.client().await;
    for round in 1..=20 {
        assert_eq!(client.get("/closes").await.status, 200);
        assert_eq!(client.get("/dead").await.status, 502);
        assert_eq!(client.get("/breaks").await.status, 502);
        let mut leaves = gateway.client().await;
        leaves.send(get("/hangs")).await;
        arrived(&hangs, round).await;
        drop::<Client>(leaves);
        hangs.abandoned().await;
    }
    let mut clients = [gateway.client().await, gateway.client().await];
    for client in &mut clients {
        client.send(get("/gated")).await;
    }
    arrived(&gated, 2).await;
    gate.add_permits(2);
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "hi");
    }
}
