use std::time::Duration;

use ferrix_e2e::{
    Backend, Gateway, Routes,
    backend::{Blackhole, Connection},
    client::get,
};
use ferrix_table::{
    backend_policy::{BackendPolicy, BackendTimeouts, RequestLimit, RetryBudget},
    policy::{Policy, Retry, Timeouts},
};
use tokio::time::Instant;

use super::{eventually, of_policy, policy, switched};

fn limited(requests: u32, pending: u32, wait: Duration) -> BackendPolicy {
    BackendPolicy {
        requests: Some(RequestLimit {
            requests,
            pending,
            wait,
        }),
        ..policy()
    }
}

#[tokio::test]
async fn so_many_requests_are_under_way_and_so_many_wait() {
    let (backend, gate) = Backend::gated("hi").await;
    let limit = limited(2, 1, Duration::from_secs(60));
    let routes = Routes::all_to(&[backend.address()]).backend_policy(&limit);
    let gateway = Gateway::start(routes);
    let waiting = || {
        let state = of_policy(&gateway);
        state.queue.get().map_or(0, |queue| queue.waiting())
    };
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.client().await;
        client.send(get("/")).await;
        clients.push(client);
    }
    backend
        .wait("two requests", |log| log.requests.len() == 2)
        .await;
    eventually("one to wait", || waiting() == 1).await;
    // Whoever comes now is refused, by either protocol.
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.status, 503);
    let mut http2 = gateway.http2().await;
    assert_eq!(http2.get("/").await.status, 503);
    gateway.failed("service_busy", 2).await;
    assert_eq!(of_policy(&gateway).refused.get(), 2);
    assert_eq!(backend.requests().len(), 2);
    // One that is done makes room for the one that waits.
    gate.add_permits(1);
    backend
        .wait("the third", |log| log.requests.len() == 3)
        .await;
    gate.add_permits(2);
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "hi");
    }
    gate.add_permits(1);
    assert_eq!(client.get("/").await.text(), "hi");
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let (backend, gate) = Backend::gated("hi").await;
    let limit = limited(1, 1, Duration::from_millis(50));
    let routes = Routes::all_to(&[backend.address()]).backend_policy(&limit);
    let gateway = Gateway::start(routes);
    let mut first = gateway.client().await;
    first.send(get("/")).await;
    backend
        .wait("a request", |log| log.requests.len() == 1)
        .await;
    let mut second = gateway.client().await;
    assert_eq!(second.get("/").await.status, 503);
    // A client that leaves while its request is under way gives its place back.
    drop(first);
    let in_flight = || {
        let table = gateway.table();
        table.services[0].endpoints[0].state.in_flight.get()
    };
    eventually("the request to end", || in_flight() == 0).await;
    // The backend answers the first as well, whom nobody hears any more.
    gate.add_permits(2);
    assert_eq!(second.get("/").await.text(), "hi");
}

#[tokio::test]
async fn retries_have_a_budget() {
    let (bad, _mode) = switched(503).await;
    let retry = Policy {
        retry: Some(Retry {
            codes: [503].into(),
            attempts: Some(2),
            backoff: Duration::ZERO,
        }),
        ..Policy::default()
    };
    let mut ran = 0;
    for (budget, expected) in [
        (None, 3),
        (
            Some(RetryBudget {
                percent: 0,
                least: 1,
            }),
            3,
        ),
        (
            Some(RetryBudget {
                percent: 0,
                least: 0,
            }),
            1,
        ),
    ] {
        let with_budget = BackendPolicy {
            retries: budget,
            ..policy()
        };
        let before = bad.requests().len();
        let routes = Routes::all_to(&[bad.address()]).backend_policy(&with_budget);
        let gateway = Gateway::start(routes.policy(retry.clone()));
        let mut client = gateway.client().await;
        // The answer of the backend, whichever attempt was the last.
        assert_eq!(client.get("/").await.status, 503);
        assert_eq!(bad.requests().len() - before, expected, "{budget:?}");
        let retrying = || of_policy(&gateway).retrying.get();
        eventually("the retry to be over", || retrying() == 0).await;
        ran += 1;
    }
    assert_eq!(ran, 3);
}

#[tokio::test]
async fn a_service_says_how_long_requests_may_take() {
    let silent = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection.left().await;
    })
    .await;
    let (short, long) = (Duration::from_millis(100), Duration::from_secs(3600));
    let of_service = [
        BackendTimeouts {
            request: Some(short),
            ..BackendTimeouts::default()
        },
        BackendTimeouts {
            backend_request: Some(short),
            ..BackendTimeouts::default()
        },
        BackendTimeouts {
            response: Some(short),
            ..BackendTimeouts::default()
        },
        // What a rule says comes first.
        BackendTimeouts {
            request: Some(long),
            ..BackendTimeouts::default()
        },
    ];
    let mut ran = 0;
    for (place, timeouts) in of_service.into_iter().enumerate() {
        let limited = BackendPolicy {
            timeouts,
            ..policy()
        };
        let of_rule = Policy {
            timeouts: Timeouts {
                request: Some(short),
                backend_request: None,
            },
            ..Policy::default()
        };
        let routes = Routes::all_to(&[silent.address()]).backend_policy(&limited);
        let routes = match place {
            3 => routes.policy(of_rule),
            _ => routes,
        };
        let gateway = Gateway::start_with("timeouts: {response: 1h}", routes);
        let mut client = gateway.client().await;
        assert_eq!(client.get("/").await.status, 504, "{timeouts:?}");
        ran += 1;
    }
    assert_eq!(ran, 4);
}

#[tokio::test]
async fn a_service_says_how_long_connecting_may_take() {
    let hole = Blackhole::new().await;
    let limited = BackendPolicy {
        timeouts: BackendTimeouts {
            connect: Some(Duration::from_millis(100)),
            ..BackendTimeouts::default()
        },
        ..policy()
    };
    let routes = Routes::all_to(&[hole.address()]).backend_policy(&limited);
    let gateway = Gateway::start_with("timeouts: {connect: 10m}", routes);
    let mut client = gateway.client().await;
    let begun = Instant::now();
    assert_eq!(client.get("/").await.status, 502);
    assert!(begun.elapsed() < Duration::from_secs(60));
}
