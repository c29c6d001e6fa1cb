//! What is refused passes the filters of responses that its request has come past, so that browsers can read
//! it, and no others.

use std::{sync::Arc, time::Duration};

use ferrix_e2e::{Backend, Gateway, Routes, backend::Dead, wire::chunked};
use ferrix_table::{
    filters::{
        Filter,
        body_size::BodySize,
        concurrency::Concurrency,
        cors::{Cors, OriginPattern},
        error_pages::{ErrorPages, Page},
        faults::{Faults, Percent},
        header_changes::HeaderChanges,
        ip_filter::IpFilter,
        lasting::{FilterId, Lasting},
        limit_key::LimitKey,
        rate_limit::{RateLimit, Scope, gcra::Rate},
    },
    object::{Key, Kind},
    services::Protocol,
};

use crate::{Answer, Ask, GET, ask, ask_once, authority, field, filters};

const ORIGIN: &str = "https://a.test";

fn lasting<T>(place: &str) -> Lasting<T> {
    Lasting::new(FilterId {
        object: Key::new(Kind::IngressRoute, "default", "r"),
        place: place.into(),
    })
}

fn cors() -> Filter {
    Filter::Cors(Cors {
        allow_origins: [OriginPattern::Exact(ORIGIN.into())].into(),
        ..Cors::default()
    })
}

fn sets(name: &str) -> Filter {
    Filter::ResponseHeaders(HeaderChanges {
        set: [field(name, "1")].into(),
        ..HeaderChanges::default()
    })
}

fn around(refuses: Filter) -> [Filter; 4] {
    [cors(), sets("X-Before"), refuses, sets("X-Behind")]
}

fn at_once(by: LimitKey) -> Filter {
    Filter::Concurrency(Box::new(Concurrency {
        requests: 0,
        by,
        state: lasting("concurrency"),
    }))
}

/// What an answer says of its way.
fn way(answer: &Answer) -> [bool; 3] {
    let allowed = answer.all("access-control-allow-origin") == [ORIGIN];
    let has = |name| answer.all(name) == ["1"];
    [allowed, has("x-before"), has("x-behind")]
}

#[tokio::test]
async fn refusals_pass_what_stands_before() {
    let [backend, auth] = [Backend::hello("hi").await, authority().await];
    let hour = Duration::from_secs(3600);
    let rate_limit = Filter::RateLimit(Box::new(RateLimit {
        requests: 1,
        per: hour,
        burst: 1,
        rate: Rate::new(1, hour, 1),
        by: LimitKey::Route,
        scope: Scope::Replica,
        dry_run: false,
        state: lasting("rateLimit"),
    }));
    let denied = IpFilter::new(Box::default(), ["127.0.0.0/8".parse().unwrap()].into());
    let routes = || {
        Routes::new()
            .service("all", Protocol::Http1, &[backend.address()])
            .service("auth", Protocol::Http1, &[auth.address()])
            .rule("*", "", &[("all", 1)])
    };
    let external = Filter::ExternalAuth(routes().external_auth("auth"));
    let abort = Faults {
        delay: None,
        abort: Some((503, Percent(100))),
    };
    let cases = [
        (Filter::IpFilter(denied), 403),
        (rate_limit, 429),
        (at_once(LimitKey::Client { ipv6_prefix: 64 }), 429),
        (at_once(LimitKey::Route), 503),
        (Filter::BodySize(BodySize { max: 3 }), 413),
        (external, 401),
        (Filter::Faults(abort), 503),
    ];
    let mut ran = 0;
    for (refuses, status) in cases {
        let gateway = Gateway::start(routes().policy(filters(around(refuses))));
        let request = Ask {
            method: "POST",
            fields: &[("Origin", ORIGIN)],
            body: "a body",
            ..GET
        };
        if status == 429 {
            // The first may pass.
            ask_once(&gateway, false, request).await;
        }
        for http2 in [false, true] {
            for _ in 0..2 {
                let answer = ask_once(&gateway, http2, request).await;
                assert_eq!(answer.status, status);
                // Over HTTP/2 no length was announced, so that the body came past all of them.
                let behind = status == 413 && http2;
                assert_eq!(way(&answer), [true, true, behind], "{answer:?}");
                ran += 1;
            }
        }
    }
    assert_eq!(ran, 7 * 4);
}

/// A failure behind all filters has come past all of them, and so has its page.
#[tokio::test]
async fn failures_behind_the_filters_pass_all_of_them() {
    let (backend, dead) = (Backend::hello("hi").await, Dead::new());
    let page = Filter::ErrorPages(Arc::new(ErrorPages {
        statuses: [502..=502].into(),
        status: None,
        page: Page::Here {
            body: Arc::from(b"sorry".as_slice()),
            content_type: field("Content-Type", "text/plain"),
        },
    }));
    let mut ran = 0;
    for http2 in [false, true] {
        let gateway =
            Gateway::start(Routes::all_to(&[dead.address()]).policy(filters(around(page.clone()))));
        let request = Ask {
            fields: &[("Origin", ORIGIN)],
            ..GET
        };
        for answer in ask(&gateway, http2, request).await {
            assert_eq!((answer.status, &*answer.body), (502, "sorry"));
            assert_eq!(way(&answer), [true; 3], "{answer:?}");
            ran += 1;
        }
        // Of gRPC the answer is a header section alone.
        let grpc = Ask {
            fields: &[("Origin", ORIGIN), ("Content-Type", "application/grpc")],
            ..GET
        };
        let answer = ask_once(&gateway, http2, grpc).await;
        assert_eq!(
            (answer.status, answer.all("grpc-status")),
            (200, vec!["14"])
        );
        assert_eq!(way(&answer), [true; 3], "{answer:?}");
    }
    assert_eq!(ran, 4);
    // A body that turns out to be too long, when all filters have let it pass.
    let size = Filter::BodySize(BodySize { max: 3 });
    let routes = Routes::all_to(&[backend.address()]).policy(filters(around(size)));
    let gateway = Gateway::start(routes);
    let mut client = gateway.client().await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nOrigin: {ORIGIN}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let request = [head.as_bytes(), &chunked(&[b"much"])].concat();
    let answer = client.exchange(request).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.head.one("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(answer.head.one("x-behind"), Some("1"));
    backend.forgive();
}
