use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Routes,
    backend::{Connection, ok},
    client::get,
    http2_backend::Exchange,
};
use ferrix_table::{
    backend_policy::{BackendPolicy, BackendTimeouts},
    health::{Check, CheckKind, Ejection, Health},
    services::Protocol,
};
use http::HeaderMap;
use tokio::sync::watch;

use super::{counts, eventually, of_policy, policy, status, switched};

fn ejecting(failures: u16, time: Duration) -> BackendPolicy {
    BackendPolicy {
        health: Health {
            ejection: Some(Ejection {
                statuses: [500..=599].into(),
                failures,
                time,
                max_percent: 50,
            }),
            ..Health::default()
        },
        ..policy()
    }
}

fn checking(kind: CheckKind) -> BackendPolicy {
    BackendPolicy {
        health: Health {
            check: Some(Check {
                kind,
                port: None,
                interval: Duration::from_millis(20),
                timeout: Duration::from_secs(5),
                failures: 2,
                successes: 2,
            }),
            ..Health::default()
        },
        ..policy()
    }
}

async fn with_good(first: SocketAddr) -> (Vec<Backend>, Vec<SocketAddr>) {
    let good = vec![Backend::hello("good").await, Backend::hello("good").await];
    let addresses = [first].into_iter().chain(good.iter().map(Backend::address));
    let addresses = addresses.collect();
    (good, addresses)
}

fn ejected(gateway: &Gateway) -> usize {
    gateway.table().services[0].ejected().count()
}

/// After so many bad answers there is no error any more; one request finds out whether the endpoint is
/// back, and then it has its share and no more.
#[tokio::test]
async fn one_bad_endpoint_of_three() {
    let (bad, mode) = switched(500).await;
    let (good, addresses) = with_good(bad.address()).await;
    let policy = ejecting(3, Duration::from_secs(1));
    let gateway = Gateway::start(Routes::all_to(&addresses).backend_policy(&policy));
    let mut client = gateway.client().await;
    let mut errors = 0;
    for _ in 0..9 {
        errors += usize::from(client.get("/").await.status == 500);
    }
    assert_eq!((errors, bad.requests().len()), (3, 3));
    assert_eq!(ejected(&gateway), 1);
    assert_eq!(of_policy(&gateway).ejections.get(), 1);
    // The next request that it gets has to wait.
    mode.send(0).unwrap();
    let mut on_trial = loop {
        let mut client = gateway.client().await;
        client.send(get("/")).await;
        tokio::select! {
            response = client.response() => assert_eq!(response.status, 200),
            () = bad.wait("a request that tries it", |log| log.requests.len() == 4) => break client,
        }
    };
    for _ in 0..30 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(bad.requests().len(), 4, "one tries it");
    mode.send(200).unwrap();
    assert_eq!(on_trial.response().await.status, 200);
    assert_eq!(ejected(&gateway), 0);
    let before = counts(&good);
    for _ in 0..30 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let after = counts(&good);
    assert_eq!(bad.requests().len(), 14);
    assert!(
        before
            .iter()
            .zip(after)
            .all(|(before, after)| after - before == 10)
    );
}

#[tokio::test]
async fn over_http2_too() {
    let bad = Http2Backend::start(async |mut exchange: Exchange| {
        exchange.respond(503, &[], true);
    })
    .await;
    let good = [
        Http2Backend::hello("a").await,
        Http2Backend::hello("b").await,
    ];
    let addresses = [bad.address(), good[0].address(), good[1].address()];
    let routes = Routes::all_by(Protocol::Http2, &addresses);
    let policy = ejecting(2, Duration::from_secs(60));
    let gateway = Gateway::start(routes.backend_policy(&policy));
    let mut client = gateway.http2().await;
    let mut errors = 0;
    for _ in 0..60 {
        errors += usize::from(client.get("/").await.status == 503);
    }
    assert_eq!((errors, bad.log().requests.len()), (2, 2));
}

/// An endpoint that says nothing answers with 504, and one that hangs up with 502.
#[tokio::test]
async fn no_answer_is_a_bad_one() {
    let silent = Backend::start(async |mut connection: Connection| {
        connection.request().await;
        connection.left().await;
    })
    .await;
    let rude = Backend::start(async |mut connection: Connection| {
        connection.request().await;
    })
    .await;
    let post = "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1\r\n\r\na";
    let mut ran = 0;
    for (bad, expected) in [(silent.address(), 504), (rude.address(), 502)] {
        let (_good, addresses) = with_good(bad).await;
        let policy = BackendPolicy {
            timeouts: BackendTimeouts {
                response: Some(Duration::from_millis(100)),
                ..BackendTimeouts::default()
            },
            ..ejecting(2, Duration::from_secs(60))
        };
        let gateway = Gateway::start(Routes::all_to(&addresses).backend_policy(&policy));
        let mut client = gateway.client().await;
        let mut statuses = Vec::new();
        for _ in 0..60 {
            statuses.push(client.exchange(post).await.status);
        }
        let errors: Vec<_> = statuses.iter().filter(|it| **it != 200).collect();
        assert_eq!(errors, [&expected; 2], "{statuses:?}");
        ran += 1;
    }
    assert_eq!(ran, 2);
}

/// What one route does wrong on every endpoint costs the others nothing.
#[tokio::test]
async fn a_bad_route_ejects_nobody_whom_others_need() {
    let mut backends = Vec::new();
    for _ in 0..3 {
        let backend = Backend::start(async |mut connection: Connection| {
            while let Some(request) = connection.request().await {
                let answer = match request.target() {
                    "/bad" => status(500),
                    _ => ok("good"),
                };
                connection.send(answer).await;
            }
        });
        backends.push(backend.await);
    }
    let addresses: Vec<_> = backends.iter().map(Backend::address).collect();
    let routes = || {
        Routes::new()
            .service("all", Protocol::Http1, &addresses)
            .backend_policy(&ejecting(3, Duration::from_secs(60)))
            .rule("*", "Path(`/bad`)", &[("all", 1)])
            .rule("*", "Path(`/good`)", &[("all", 1)])
    };
    let gateway = Gateway::start(routes());
    let mut client = gateway.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/good").await.status, 200);
    }
    for _ in 0..60 {
        assert_eq!(client.get("/bad").await.status, 500);
    }
    assert_eq!(ejected(&gateway), 0);
    assert_eq!(client.get("/good").await.status, 200);
    // Where nobody needs the endpoints for anything else, as many are left out as may be.
    let gateway = Gateway::start(routes());
    let mut client = gateway.client().await;
    for _ in 0..60 {
        assert_eq!(client.get("/bad").await.status, 500);
    }
    assert_eq!(ejected(&gateway), 1);
}

/// A backend that answers `/healthz` as the test says, and everything else.
async fn checked() -> (Backend, watch::Sender<u16>) {
    let (mode, modes) = watch::channel(204);
    let backend = Backend::start(move |mut connection: Connection| {
        let modes = modes.clone();
        async move {
            while let Some(request) = connection.request().await {
                let answer = match request.target() {
                    "/healthz" => status(*modes.borrow()),
                    _ => ok("checked"),
                };
                connection.send(answer).await;
            }
        }
    });
    (backend.await, mode)
}

#[tokio::test]
async fn who_does_not_pass_checks_is_left_out() {
    let (backend, mode) = checked().await;
    let other = Backend::hello("other").await;
    let policy = checking(CheckKind::Http {
        path: "/healthz".into(),
        host: Some("probe.test".into()),
    });
    let routes = || Routes::all_to(&[backend.address(), other.address()]);
    let gateway = Gateway::start(routes().backend_policy(&policy));
    let unhealthy = || gateway.table().services[0].unhealthy().count();
    let checks = |log: &ferrix_e2e::backend::Log| {
        let requests = log.requests.iter();
        requests.filter(|it| it.target() == "/healthz").count()
    };
    backend.wait("checks", |log| checks(log) >= 3).await;
    let check = backend.requests().swap_remove(0);
    assert_eq!(check.head.one("host"), Some("probe.test"));
    assert_eq!(check.head.one("user-agent"), Some("ferrix-check"));
    assert_eq!(unhealthy(), 0);
    let mut client = gateway.client().await;
    let mut texts = async || [client.get("/").await.text(), client.get("/").await.text()];
    let mut both = texts().await;
    both.sort();
    assert_eq!(both, ["checked", "other"]);

    mode.send(503).unwrap();
    eventually("the endpoint to be left out", || unhealthy() == 1).await;
    for _ in 0..10 {
        assert_eq!(texts().await, ["other", "other"]);
    }
    mode.send(200).unwrap();
    eventually("the endpoint to be back", || unhealthy() == 0).await;
    let mut both = texts().await;
    both.sort();
    assert_eq!(both, ["checked", "other"]);

    // Without the policy nobody checks, and whoever was left out is back.
    mode.send(503).unwrap();
    eventually("the endpoint to be left out", || unhealthy() == 1).await;
    gateway.publish(routes());
    let mut both = texts().await;
    both.sort();
    assert_eq!(both, ["checked", "other"]);
    let ended = || !gateway.table().services[0].endpoints[0].is_unhealthy();
    eventually("the checks to end", ended).await;
}

#[tokio::test]
async fn checks_by_grpc_and_by_tcp() {
    let (serving, servings) = watch::channel(1_u8);
    let backend = Http2Backend::start(move |mut exchange: Exchange| {
        let servings = servings.clone();
        async move {
            if exchange.head.uri().path() != "/grpc.health.v1.Health/Check" {
                exchange.respond(200, &[], true);
                return;
            }
            // A message of six bytes, of which the first field is `shop`.
            assert_eq!(exchange.body().await, b"\0\0\0\0\x06\x0a\x04shop");
            let kind = [("content-type", "application/grpc")];
            let mut answer = exchange.respond(200, &kind, false);
            let message = [0, 0, 0, 0, 2, 8, *servings.borrow()];
            answer
                .send_data(Bytes::copy_from_slice(&message), false)
                .unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            answer.send_trailers(trailers).unwrap();
        }
    })
    .await;
    let other = Http2Backend::hello("other").await;
    let grpc = CheckKind::Grpc {
        service: "shop".into(),
    };
    let by_tcp = checking(CheckKind::Tcp);
    let routes = Routes::new()
        .service("calls", Protocol::Http2, &[backend.address()])
        .backend_policy(&checking(grpc))
        .service("by-tcp", Protocol::Http2, &[other.address()])
        .backend_policy(&by_tcp)
        .rule("*", "", &[("calls", 1)]);
    let gateway = Gateway::start(routes);
    let unhealthy = |service: usize| gateway.table().services[service].unhealthy().count();
    backend.wait("checks", |log| log.requests.len() >= 3).await;
    assert_eq!((unhealthy(0), unhealthy(1)), (0, 0));
    // NOT_SERVING.
    serving.send(2).unwrap();
    eventually("the endpoint to be left out", || unhealthy(0) == 1).await;
    serving.send(1).unwrap();
    eventually("the endpoint to be back", || unhealthy(0) == 0).await;
    drop(other);
    eventually("the other to be left out", || unhealthy(1) == 1).await;
}
