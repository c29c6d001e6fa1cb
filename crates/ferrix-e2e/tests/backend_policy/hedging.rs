use std::time::Duration;

use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Routes,
    backend::{Connection, ok},
    client::get,
    http2_backend::Exchange,
};
use ferrix_table::{
    backend_policy::{BackendPolicy, RetryBudget},
    services::Protocol,
};

use super::{of_policy, policy, status};

fn hedged(delay: Duration) -> BackendPolicy {
    BackendPolicy {
        hedging: Some(delay),
        ..policy()
    }
}

/// Never answers.
async fn silent() -> Backend {
    Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection.left().await;
    })
    .await
}

#[tokio::test]
async fn whoever_answers_first_answers() {
    let (slow, quick) = (silent().await, Backend::hello("quick").await);
    let addresses = [slow.address(), quick.address()];
    let policy = hedged(Duration::from_millis(50));
    let routes = Routes::all_to(&addresses).backend_policy(&policy);
    let gateway = Gateway::start_with("timeouts: {response: 1h}", routes);
    let mut client = gateway.client().await;
    let mut http2 = gateway.http2().await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.text(), "quick");
        assert_eq!(http2.get("/").await.text(), "quick");
    }
    let asked = slow.requests().len();
    assert!(asked > 0 && quick.requests().len() == 8, "{asked}");
    // Who is left is left at once, and nothing counts on.
    slow.abandoned().await;
    let table = gateway.table();
    let in_flight = |place: usize| table.services[0].endpoints[place].state.in_flight.get();
    assert_eq!((in_flight(0), in_flight(1)), (0, 0));
    assert_eq!(of_policy(&gateway).retrying.get(), 0);
}

#[tokio::test]
async fn over_http2_a_stream_is_reset() {
    let slow = Http2Backend::start(|mut exchange: Exchange| async move {
        exchange.cancelled().await;
    })
    .await;
    let quick = Http2Backend::hello("quick").await;
    let addresses = [slow.address(), quick.address()];
    let policy = hedged(Duration::from_millis(50));
    let routes = Routes::all_by(Protocol::Http2, &addresses).backend_policy(&policy);
    let gateway = Gateway::start_with("timeouts: {response: 1h}", routes);
    let mut client = gateway.client().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.text(), "quick");
    }
    slow.wait("a reset", |log| {
        log.requests.iter().any(|it| it.reset.is_some())
    })
    .await;
}

/// What may not be done twice, or has a body, is sent once; and so is what there is no budget for.
#[tokio::test]
async fn not_every_request_is_sent_twice() {
    let post = "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n";
    let put = "PUT / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1\r\n\r\nx";
    let none = RetryBudget {
        percent: 0,
        least: 0,
    };
    let get = get("/");
    let cases = [(post, None), (put, None), (&*get, Some(none))];
    for (request, retries) in cases {
        let silent = [silent().await, silent().await];
        let addresses = silent.each_ref().map(Backend::address);
        let policy = BackendPolicy {
            retries,
            ..hedged(Duration::from_millis(1))
        };
        let routes = Routes::all_to(&addresses).backend_policy(&policy);
        let gateway = Gateway::start_with("timeouts: {response: 200ms}", routes);
        let mut client = gateway.client().await;
        assert_eq!(client.exchange(request).await.status, 504, "{request}");
        let asked: usize = silent.iter().map(|it| it.requests().len()).sum();
        assert_eq!(asked, 1, "{request}");
    }
    assert_eq!(cases.len(), 3);
}

/// An answer that comes late is as good as any, and a bad one is an answer.
#[tokio::test]
async fn the_first_answers_where_the_second_does_not() {
    for (answer, expected) in [(ok("late"), 200), (status(500), 500)] {
        let (asked, told) = tokio::sync::watch::channel(false);
        let silent = Backend::start(move |mut connection: Connection| {
            let asked = asked.clone();
            async move {
                connection.request().await;
                asked.send_replace(true);
                connection.left().await;
            }
        })
        .await;
        let late = Backend::start(move |mut connection: Connection| {
            let (mut told, answer) = (told.clone(), answer.clone());
            async move {
                while connection.request().await.is_some() {
                    let _ = told.wait_for(|asked| *asked).await;
                    connection.send(&answer).await;
                }
            }
        })
        .await;
        let addresses = [late.address(), silent.address()];
        let policy = hedged(Duration::from_millis(10));
        let routes = Routes::all_to(&addresses).backend_policy(&policy);
        let gateway = Gateway::start_with("timeouts: {response: 1h}", routes);
        for _ in 0..2 {
            let mut client = gateway.client().await;
            assert_eq!(client.get("/").await.status, expected);
        }
        assert_eq!(late.requests().len(), 2);
        assert!(!silent.requests().is_empty());
    }
}
