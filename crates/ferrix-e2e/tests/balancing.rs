//! Who gets the requests, and on which connections.

use std::time::Duration;

use ferrix_e2e::{Backend, Gateway, Routes, client::get, within};
use ferrix_table::services::Protocol;

async fn backends<const N: usize>() -> [Backend; N] {
    let mut all = Vec::new();
    for index in 0..N {
        all.push(Backend::hello(&index.to_string()).await);
    }
    all.try_into().unwrap_or_else(|_| unreachable!())
}

fn counts(backends: &[Backend]) -> Vec<usize> {
    backends
        .iter()
        .map(|backend| backend.requests().len())
        .collect()
}

/// Requests on so many connections at once, so many on each.
async fn load(gateway: &Gateway, connections: usize, requests: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let mut client = gateway.client().await;
        tasks.spawn(async move {
            for _ in 0..requests {
                assert_eq!(client.get("/").await.status, 200);
            }
        });
    }
    while let Some(task) = within("the load", tasks.join_next()).await {
        task.unwrap();
    }
}

#[tokio::test]
async fn each_endpoint_has_its_turn() {
    let backends: [Backend; 3] = backends().await;
    let addresses = backends.each_ref().map(Backend::address);
    let gateway = Gateway::start_with("server: {threads: 2}", Routes::all_to(&addresses));
    let mut client = gateway.client().await;
    let mut order = Vec::new();
    for _ in 0..30 {
        order.push(client.get("/").await.text());
    }
    assert_eq!(counts(&backends), [10, 10, 10]);
    for window in order.windows(3) {
        assert!(window[0] != window[1] && window[1] != window[2] && window[0] != window[2]);
    }
    // Many connections on both worker threads share one rotation.
    load(&gateway, 12, 25).await;
    assert_eq!(counts(&backends), [110, 110, 110]);
}

#[tokio::test]
async fn services_share_by_weight() {
    let backends: [Backend; 3] = backends().await;
    let gateway = Gateway::start(
        Routes::new()
            .service("stable", Protocol::Http1, &[backends[0].address()])
            .service("canary", Protocol::Http1, &[backends[1].address()])
            .service("off", Protocol::Http1, &[backends[2].address()])
            .rule("*", "", &[("stable", 9), ("canary", 1), ("off", 0)]),
    );
    load(&gateway, 10, 20).await;
    let counts = counts(&backends);
    assert_eq!(counts.iter().sum::<usize>(), 200);
    assert!((18..=22).contains(&counts[1]), "{counts:?}");
    assert_eq!(counts[2], 0);
}

#[tokio::test]
async fn connections_are_used_again() {
    let (backend, gate) = Backend::gated("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(gateway.client().await);
    }
    for round in 1..=4 {
        for client in &mut clients {
            client.send(get("/")).await;
        }
        // All at once, so that each needs a connection of its own.
        backend
            .wait("all requests", |log| log.requests.len() == round * 8)
            .await;
        gate.add_permits(8);
        for client in &mut clients {
            assert_eq!(client.response().await.text(), "hi");
        }
    }
    assert_eq!(backend.log().connections, 8);
    // The one used last is used next: the others grow old.
    gate.add_permits(20);
    for _ in 0..20 {
        clients[0].get("/").await;
    }
    let used: std::collections::BTreeSet<_> = backend.requests()[32..]
        .iter()
        .map(|request| request.connection)
        .collect();
    assert_eq!(used.len(), 1, "{used:?}");
}

#[tokio::test]
async fn idle_connections_are_few_and_short_lived() {
    let (backend, gate) = Backend::gated("hi").await;
    let gateway = Gateway::start_with(
        "upstream: {idle_connections: 2, idle_timeout: 700ms}",
        Routes::all_to(&[backend.address()]),
    );
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = gateway.client().await;
        client.send(get("/")).await;
        clients.push(client);
    }
    backend
        .wait("all requests", |log| log.requests.len() == 5)
        .await;
    gate.add_permits(5);
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "hi");
    }
    backend
        .wait("all but two to be closed", |log| log.open <= 2)
        .await;
    backend.abandoned().await;
    assert_eq!(backend.log().connections, 5);
}

#[tokio::test]
async fn new_endpoints_get_requests_and_old_ones_none() {
    let backends: [Backend; 2] = backends().await;
    let gateway = Gateway::start(Routes::all_to(&[backends[0].address()]));
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.text(), "0");
    gateway.publish(Routes::all_to(&[backends[1].address()]));
    for _ in 0..5 {
        assert_eq!(client.get("/").await.text(), "1");
    }
    gateway.publish(Routes::all_to(&[]));
    assert_eq!(client.get("/").await.status, 503);
    gateway.publish(Routes::all_to(&[
        backends[0].address(),
        backends[1].address(),
    ]));
    for _ in 0..4 {
        client.get("/").await;
    }
    assert_eq!(counts(&backends), [3, 7]);
}

#[tokio::test]
async fn an_endpoint_that_hangs_costs_only_its_own() {
    // Connections are accepted by the system and never served.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backends: [Backend; 1] = backends().await;
    let gateway = Gateway::start_with(
        "timeouts: {response: 300ms}",
        Routes::all_to(&[backends[0].address(), silent.local_addr().unwrap()]),
    );
    let mut client = gateway.client().await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let status = tokio::time::timeout(Duration::from_secs(3), client.get("/")).await;
        statuses.push(status.unwrap().status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 504, 504]);
}
