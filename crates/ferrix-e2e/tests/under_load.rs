//! Changes while requests are underway: not one of them fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use ferrix_e2e::{Backend, Gateway, Routes, within};
use ferrix_table::services::Protocol;
use tokio::sync::watch;

/// The table after so many changes: a changing set of endpoints, never empty, and routes that
/// come and go beside the one that is asked for.
fn routes(change: usize, backends: &[Backend]) -> Routes {
    let mut addresses: Vec<_> = backends.iter().map(Backend::address).collect();
    addresses.rotate_left(change % backends.len());
    addresses.truncate(1 + change % backends.len());
    let mut routes = Routes::new()
        .service("s", Protocol::Http1, &addresses)
        .service("other", Protocol::Http1, &[])
        .rule("example.com", "PathPrefix(`/`)", &[("s", 1)]);
    for index in 0..change % 20 {
        let matches = format!("PathPrefix(`/other-{index}`)");
        routes = match index % 3 {
            0 => routes.rule("example.com", &matches, &[("other", 1)]),
            1 => routes.rule("*.example.com", &matches, &[("s", 1)]),
            _ => routes.unresolved("*", &matches),
        };
    }
    routes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn two_hundred_changes_lose_nothing() {
    let mut backends = Vec::new();
    for index in 0..4 {
        backends.push(Backend::hello(&index.to_string()).await);
    }
    let gateway = Gateway::start_with("server: {threads: 2}", routes(0, &backends));
    let (stop, stopped) = watch::channel(false);
    let answered = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..16 {
        let (stopped, answered) = (stopped.clone(), Arc::clone(&answered));
        if index % 4 == 3 {
            let mut client = gateway.http2().await;
            tasks.spawn(async move {
                while !*stopped.borrow() {
                    let request = client.request("GET", "/");
                    assert_eq!(client.fetch(request).await.unwrap().status, 200);
                    answered.fetch_add(1, SeqCst);
                }
            });
        } else {
            let mut client = gateway.client().await;
            tasks.spawn(async move {
                let body = "x".repeat(100);
                let post = format!(
                    "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 100\r\n\r\n{body}"
                );
                while !*stopped.borrow() {
                    let response = match index % 2 {
                        0 => client.get("/").await,
                        _ => client.exchange(&post).await,
                    };
                    assert_eq!(response.status, 200, "{}", response.text());
                    answered.fetch_add(1, SeqCst);
                }
            });
        }
    }
    for change in 1..=200 {
        let before = answered.load(SeqCst);
        let generation = gateway.publish(routes(change, &backends));
        assert_eq!(generation, u64::try_from(change).unwrap() + 1);
        // Some requests meet each table.
        let met = async {
            while answered.load(SeqCst) < before + 5 && !tasks.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within("requests", met).await;
    }
    stop.send(true).unwrap();
    while let Some(task) = within("the clients", tasks.join_next()).await {
        task.unwrap();
    }
    assert!(answered.load(SeqCst) >= 1000);
    assert_eq!(gateway.table().generation, 201);
    for backend in &backends {
        assert!(!backend.requests().is_empty());
    }
}
