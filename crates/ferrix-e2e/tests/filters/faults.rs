//! Faults on purpose.

use std::time::{Duration, Instant};

use ferrix_e2e::{Backend, Gateway, Routes};
use ferrix_table::{
    filters::{
        Filter,
        faults::{Faults, Percent},
    },
    policy::Timeouts,
};

use crate::{Ask, GET, ask, ask_once, filters};

const ALL: Percent = Percent(100);

fn faulty(delay: Option<(Duration, Percent)>, abort: Option<(u16, Percent)>) -> Filter {
    Filter::Faults(Faults { delay, abort })
}

#[tokio::test]
async fn requests_fail_as_if_something_had_failed() {
    let backend = Backend::hello("hi").await;
    let routes = Routes::all_to(&[backend.address()]);
    let gateway = Gateway::start(routes.policy(filters([faulty(None, Some((503, ALL)))])));
    let mut ran = 0;
    for http2 in [false, true] {
        for (method, body) in [("GET", ""), ("HEAD", ""), ("POST", "a body")] {
            let request = Ask {
                method,
                fields: &[("Accept", "application/json")],
                body,
                ..GET
            };
            for answer in ask(&gateway, http2, request).await {
                assert_eq!(answer.status, 503);
                assert_eq!(answer.all("content-type"), ["application/json"]);
                assert_eq!(answer.body.is_empty(), method == "HEAD");
                ran += 1;
            }
        }
    }
    let grpc = Ask {
        fields: &[("Content-Type", "application/grpc")],
        ..GET
    };
    let answer = ask_once(&gateway, true, grpc).await;
    assert_eq!(
        (answer.status, answer.all("grpc-status")),
        (200, vec!["14"])
    );
    assert_eq!(ran, 12);
    assert_eq!(backend.requests().len(), 0);
}

#[tokio::test]
async fn requests_wait_but_no_longer_than_they_may() {
    let backend = Backend::hello("hi").await;
    let routes = || Routes::all_to(&[backend.address()]);
    let short = Duration::from_millis(50);
    let gateway = Gateway::start(routes().policy(filters([faulty(Some((short, ALL)), None)])));
    for http2 in [false, true] {
        let began = Instant::now();
        for answer in ask(&gateway, http2, GET).await {
            assert_eq!((answer.status, &*answer.body), (200, "hi"));
        }
        assert!(began.elapsed() >= 2 * short);
    }
    let mut policy = filters([faulty(Some((Duration::from_secs(300), ALL)), None)]);
    policy.timeouts = Timeouts {
        request: Some(short),
        backend_request: None,
    };
    gateway.publish(routes().policy(policy));
    let answers = ask(&gateway, false, GET).await;
    assert_eq!(answers.map(|it| it.status), [504; 2]);
}

#[tokio::test]
async fn shares_of_requests_fail() {
    let backend = Backend::hello("hi").await;
    let routes = |percent| {
        let abort = Some((500, Percent(percent)));
        Routes::all_to(&[backend.address()]).policy(filters([faulty(None, abort)]))
    };
    let gateway = Gateway::start(routes(0));
    let mut client = gateway.client().await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.status, 200);
    }
    gateway.publish(routes(50));
    let mut failed = 0;
    for _ in 0..400 {
        failed += usize::from(client.get("/").await.status == 500);
    }
    // Seven standard deviations around the half.
    assert!((130..270).contains(&failed), "{failed}");
}
