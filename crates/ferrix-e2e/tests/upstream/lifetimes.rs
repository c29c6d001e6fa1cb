//! How long connections to backends, and what requests hold, live.

use std::{sync::Arc, time::Duration};

use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Routes, backend::Connection, client::get,
    http2_backend::Exchange, within,
};
use ferrix_table::services::Protocol;
use tokio::time::{Instant, sleep};

/// Between two requests there is never a stream; a connection is idle only since the last.
#[tokio::test]
async fn steady_traffic_keeps_an_http2_connection() {
    let backend = Http2Backend::hello("hi").await;
    let routes = Routes::all_by(Protocol::Http2, &[backend.address()]);
    let settings = "{limits: {requests_per_connection: 0}, upstream: {idle_timeout: 1s}}";
    let gateway = Gateway::start_with(settings, routes);
    let mut client = gateway.client().await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2300) {
        assert_eq!(client.get("/").await.text(), "hi");
    }
    assert_eq!(backend.log().connections, 1);
}

/// The endpoint is gone: its idle connection is closed long before the idle timeout, and that of a
/// request when it has ended.
#[tokio::test]
async fn connections_of_removed_endpoints_are_closed() {
    let (backend, gate) = Backend::gated("hi").await;
    let other = Backend::hello("other").await;
    let gateway = Gateway::start_with(
        "upstream: {idle_timeout: 10m}",
        Routes::all_to(&[backend.address()]),
    );
    let mut clients = [gateway.client().await, gateway.client().await];
    for client in &mut clients {
        client.send(get("/")).await;
    }
    backend
        .wait("both requests", |log| log.requests.len() == 2)
        .await;
    gate.add_permits(1);
    backend
        .wait("an answer", |_| gate.available_permits() == 0)
        .await;
    gateway.publish(Routes::all_to(&[other.address()]));
    backend
        .wait("the idle connection to be closed", |log| log.open == 1)
        .await;
    gate.add_permits(1);
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "hi");
    }
    backend.abandoned().await;
}

/// The same over HTTP/2.
#[tokio::test]
async fn http2_connections_of_removed_endpoints_are_closed() {
    let backend = Http2Backend::hello("hi").await;
    let routes = |backend: &Http2Backend| Routes::all_by(Protocol::Http2, &[backend.address()]);
    let gateway = Gateway::start_with("upstream: {idle_timeout: 10m}", routes(&backend));
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.text(), "hi");
    let other = Http2Backend::hello("other").await;
    gateway.publish(routes(&other));
    within("the connection to be closed", backend.ended()).await;
    assert_eq!(client.get("/").await.text(), "other");
}

/// A request holds its service, not the table that it was routed by; and what was read when a
/// table was replaced is freed without another publication.
#[tokio::test]
async fn a_long_request_does_not_hold_its_table() {
    let hangs = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection.left().await;
    })
    .await;
    let streams = Http2Backend::start(async |mut exchange: Exchange| {
        exchange.cancelled().await;
    })
    .await;
    let routes = || {
        Routes::new()
            .service("h1", Protocol::Http1, &[hangs.address()])
            .service("h2", Protocol::Http2, &[streams.address()])
            .rule("*", "Path(`/1`)", &[("h1", 1)])
            .rule("*", "Path(`/2`)", &[("h2", 1)])
    };
    let gateway = Gateway::start(routes());
    let mut clients = [gateway.client().await, gateway.client().await];
    clients[0].send(get("/1")).await;
    clients[1].send(get("/2")).await;
    hangs
        .wait("the request", |log| log.requests.len() == 1)
        .await;
    streams
        .wait("the request", |log| log.requests.len() == 1)
        .await;
    let table = Arc::downgrade(&gateway.table());
    let read = gateway.table();
    gateway.publish(routes());
    assert!(table.upgrade().is_some());
    drop(read);
    let freed = async {
        while table.upgrade().is_some() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within("the table to be freed", freed).await;
}
