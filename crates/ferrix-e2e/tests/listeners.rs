//! Entry points that come, change and go while others serve: no request is lost.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use ferrix_e2e::{
    Backend, Client, Gateway, Routes,
    certificates::Authority,
    client::{get, once},
    within,
};
use ferrix_table::table::EntryPoint;
use tokio::net::TcpStream;

/// A plain one at this port.
fn entry_point(name: &str, port: u16) -> EntryPoint {
    EntryPoint {
        address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
        ..EntryPoint::http(name)
    }
}

/// What the gateway starts with.
fn initial() -> Vec<EntryPoint> {
    vec![EntryPoint::http("web"), EntryPoint::https("websecure")]
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

async fn refused(address: SocketAddr) {
    let refused = async {
        let error = || async { TcpStream::connect(address).await.err() };
        while error().await.map(|it| it.kind()) != Some(ErrorKind::ConnectionRefused) {}
    };
    within("connections to be refused", refused).await;
}

#[tokio::test]
async fn one_that_comes_serves_at_once_and_others_notice_nothing() {
    let backend = Backend::hello("hi").await;
    let routes = || Routes::all_to(&[backend.address()]);
    let gateway = Gateway::start(routes());
    let mut before = gateway.client().await;
    assert_eq!(before.get("/").await.status, 200);
    let mut entry_points = initial();
    entry_points.push(EntryPoint::http("fresh"));
    gateway.publish_on(entry_points, routes());
    let fresh = gateway.address("fresh").expect("it listens");
    assert_eq!(once(fresh, get("/")).await.status, 200);
    assert_eq!(before.get("/").await.text(), "hi", "on the same connection");
    let counters = gateway.counters();
    assert_eq!(counters.entry_point("fresh").accepted_connections.get(), 1);
    assert_eq!(counters.entry_point("web").accepted_connections.get(), 1);
}

#[tokio::test]
async fn one_that_goes_finishes_what_it_has_begun() {
    let (backend, gate) = Backend::gated("late").await;
    let routes = || Routes::all_to(&[backend.address()]);
    let gateway = Gateway::start(routes());
    let mut entry_points = initial();
    entry_points.push(EntryPoint::http("fresh"));
    gateway.publish_on(entry_points, routes());
    let fresh = gateway.address("fresh").expect("it listens");
    let mut underway = Client::connect(fresh).await;
    underway.send(get("/")).await;
    let mut idle = Client::connect(fresh).await;
    backend
        .wait("the request", |log| log.requests.len() == 1)
        .await;
    gateway.publish_on(initial(), routes());
    assert_eq!(gateway.address("fresh"), None);
    refused(fresh).await;
    gate.add_permits(1);
    let response = underway.response().await;
    assert_eq!(response.text(), "late");
    assert_eq!(response.head.one("connection"), Some("close"));
    underway.closed().await;
    idle.closed().await;
    // Others go on.
    gate.add_permits(1);
    assert_eq!(gateway.client().await.get("/").await.text(), "late");
}

#[tokio::test]
async fn what_waits_in_the_queue_of_one_that_goes_is_served() {
    let backend = Backend::hello("hi").await;
    let routes = || Routes::all_to(&[backend.address()]);
    let gateway = Gateway::start(routes());
    let mut entry_points = initial();
    entry_points.push(EntryPoint::http("fresh"));
    for round in 0..20 {
        gateway.publish_on(entry_points.clone(), routes());
        let fresh = gateway.address("fresh").expect("it listens");
        let mut clients = Vec::new();
        for _ in 0..8 {
            // The system has accepted these; whether we have is open.
            let mut client = Client::connect(fresh).await;
            client.send(get("/")).await;
            clients.push(client);
        }
        gateway.publish_on(initial(), routes());
        for mut client in clients {
            // The rules of the entry point are gone with it, or not yet: either is an answer.
            let status = client.response().await.status;
            assert!([200, 404].contains(&status), "round {round}: {status}");
        }
    }
}

#[tokio::test]
async fn one_that_moves_keeps_its_index_and_loses_nothing() {
    let backend = Backend::hello("hi").await;
    let routes = || Routes::all_to(&[backend.address()]);
    let gateway = Gateway::start(routes());
    let mut before = gateway.client().await;
    assert_eq!(before.get("/").await.status, 200);
    let moved = entry_point("web", free_port());
    gateway.publish_on(
        vec![moved.clone(), EntryPoint::https("websecure")],
        routes(),
    );
    assert_eq!(gateway.address("web"), Some(moved.address));
    // The next request says that it is the last on this connection.
    let response = before.get("/").await;
    assert_eq!(response.text(), "hi");
    assert_eq!(response.head.one("connection"), Some("close"));
    refused(gateway.web).await;
    assert_eq!(once(moved.address, get("/")).await.text(), "hi");
}

#[tokio::test]
async fn one_that_gets_tls_keeps_its_socket() {
    let backend = Backend::hello("hi").await;
    let authority = Authority::new();
    let certified = authority.certify("default/web", &["example.com"]);
    let routes = || Routes::all_to(&[backend.address()]).default_certificate(&certified);
    let gateway = Gateway::start(routes());
    let mut before = gateway.client().await;
    assert_eq!(before.get("/").await.status, 200);
    let web = gateway.address("web").unwrap();
    let secure = [EntryPoint::https("web"), EntryPoint::https("websecure")];
    gateway.publish_on(secure.into(), routes());
    assert_eq!(gateway.address("web"), Some(web));
    assert_eq!(before.get("/").await.text(), "hi", "plain, as it began");
    before.closed().await;
    let config = authority.client(&["http/1.1"]);
    let stream = ferrix_e2e::gateway::tls(web, &config, "example.com").await;
    let mut client = Client::new(stream.expect("a TLS handshake"));
    assert_eq!(client.get("/").await.text(), "hi");
}

#[tokio::test]
async fn one_that_cannot_be_listened_on_harms_no_other_and_is_tried_again() {
    let backend = Backend::hello("hi").await;
    let routes = || Routes::all_to(&[backend.address()]);
    let gateway = Gateway::start(routes());
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let blocked = entry_point("blocked", taken.local_addr().unwrap().port());
    let mut entry_points = initial();
    entry_points.extend([blocked.clone(), EntryPoint::http("fresh")]);
    gateway.publish_on(entry_points, routes());
    assert_eq!(gateway.address("blocked"), None);
    let fresh = gateway.address("fresh").expect("it listens");
    assert_eq!(once(fresh, get("/")).await.status, 200);
    drop(taken);
    let listens = async {
        while gateway.address("blocked").is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the address to be free", listens).await;
    assert_eq!(once(blocked.address, get("/")).await.status, 200);
}

#[tokio::test]
async fn the_end_waits_for_connections_of_entry_points_that_are_gone() {
    let (backend, gate) = Backend::gated("late").await;
    let routes = || Routes::all_to(&[backend.address()]);
    let gateway = Gateway::start(routes());
    let mut client = gateway.client().await;
    client.send(get("/")).await;
    backend
        .wait("the request", |log| log.requests.len() == 1)
        .await;
    gateway.publish_on(Vec::new(), routes());
    let drained = tokio::spawn(gateway.drain(Duration::from_secs(10)));
    gate.add_permits(1);
    assert_eq!(client.response().await.text(), "late");
    drop(client);
    assert_eq!(within("the drain", drained).await.unwrap(), 0);
}
