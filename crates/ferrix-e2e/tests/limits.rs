//! Filters that refuse requests, judged by what the client got and by what a strict backend received: over
//! both protocols, on fresh connections and on reused ones.

use std::{net::SocketAddr, time::Duration};

use ferrix_e2e::{
    Backend, Client, Gateway, Routes,
    backend::{Connection, ok},
    client::get,
    wire::chunked,
};
use ferrix_table::{
    filters::{
        Filter,
        body_size::BodySize,
        concurrency::Concurrency,
        ip_filter::IpFilter,
        lasting::{FilterId, Lasting},
        limit_key::LimitKey,
        rate_limit::{RateLimit, Scope, gcra::Rate},
    },
    object::{Key, Kind},
    policy::Policy,
};

/// Limits whose time is so long that nothing comes back during a test.
const HOUR: Duration = Duration::from_secs(3600);

const CLIENT: LimitKey = LimitKey::Client { ipv6_prefix: 64 };

fn lasting<T>(place: &str) -> Lasting<T> {
    Lasting::new(FilterId {
        object: Key::new(Kind::IngressRoute, "default", "limits"),
        place: place.into(),
    })
}

fn rate_limit(requests: u32, by: LimitKey) -> RateLimit {
    RateLimit {
        requests,
        per: HOUR,
        burst: requests,
        rate: Rate::new(requests, HOUR, requests),
        by,
        scope: Scope::Replica,
        dry_run: false,
        state: lasting("rateLimit"),
    }
}

fn concurrency(requests: u32, by: LimitKey) -> Filter {
    Filter::Concurrency(Box::new(Concurrency {
        requests,
        by,
        state: lasting("concurrency"),
    }))
}

fn with(filter: Filter, backend: SocketAddr) -> Routes {
    Routes::all_to(&[backend]).policy(Policy::of([filter]))
}

/// A client of either protocol on one connection.
enum Either {
    One(Client),
    Two(ferrix_e2e::Http2Client),
}

impl Either {
    async fn connect(gateway: &Gateway, http2: bool) -> Self {
        match http2 {
            false => Self::One(gateway.client().await),
            true => Self::Two(gateway.http2().await),
        }
    }

    /// Status, and the values of these fields.
    async fn get(&mut self, field: (&str, &str), asked: &[&str]) -> (u16, Vec<String>) {
        match self {
            Self::One(client) => {
                let (name, value) = field;
                let request =
                    format!("GET / HTTP/1.1\r\nHost: example.com\r\n{name}: {value}\r\n\r\n");
                let response = client.exchange(request).await;
                let fields = asked.iter().filter_map(|it| response.head.one(it));
                (response.status, fields.map(str::to_owned).collect())
            }
            Self::Two(client) => {
                let mut request = client.request("GET", "/");
                let name: http::HeaderName = field.0.parse().unwrap();
                request.headers_mut().append(name, field.1.parse().unwrap());
                let response = client.fetch(request).await.unwrap();
                let fields = asked.iter().filter_map(|it| response.field(it));
                (
                    response.status.as_u16(),
                    fields.map(str::to_owned).collect(),
                )
            }
        }
    }
}

const NOTHING: (&str, &str) = ("x-none", "1");

#[tokio::test]
async fn addresses() {
    let network = |text: &str| [text.parse().unwrap()].into();
    let cases: [(&str, Filter, &str, u16); 4] = [
        (
            "[]",
            Filter::IpFilter(IpFilter::new(network("127.0.0.0/8"), Box::default())),
            "10.0.0.1",
            200,
        ),
        (
            "[]",
            Filter::IpFilter(IpFilter::new(Box::default(), network("127.0.0.1/32"))),
            "10.0.0.1",
            403,
        ),
        // A trusted proxy tells whom it speaks for.
        (
            "[127.0.0.0/8]",
            Filter::IpFilter(IpFilter::new(network("10.0.0.0/8"), Box::default())),
            "10.0.0.1",
            200,
        ),
        (
            "[127.0.0.0/8]",
            Filter::IpFilter(IpFilter::new(network("127.0.0.0/8"), network("10.0.0.0/8"))),
            "10.0.0.1",
            403,
        ),
    ];
    let mut ran = 0;
    for (trusted, filter, forwarded_for, status) in cases {
        let backend = Backend::hello("hi").await;
        let settings = format!("forwarded: {{trusted: {trusted}}}");
        let gateway = Gateway::start_with(&settings, with(filter, backend.address()));
        let mut refused = 0;
        for http2 in [false, true] {
            let mut client = Either::connect(&gateway, http2).await;
            for _ in 0..2 {
                let (answered, _) = client.get(("x-forwarded-for", forwarded_for), &[]).await;
                assert_eq!(answered, status);
                refused += u64::from(status == 403);
                ran += 1;
            }
        }
        gateway.failed("address_refused", refused).await;
        assert_eq!(backend.requests().len(), if status == 200 { 4 } else { 0 });
    }
    assert_eq!(ran, 16);
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_again() {
    let fields = ["retry-after", "ratelimit-policy", "ratelimit"];
    for http2 in [false, true] {
        let backend = Backend::hello("hi").await;
        let filter = Filter::RateLimit(Box::new(rate_limit(3, CLIENT)));
        let gateway = Gateway::start(with(filter, backend.address()));
        let mut client = Either::connect(&gateway, http2).await;
        for _ in 0..3 {
            assert_eq!(client.get(NOTHING, &fields).await, (200, Vec::new()));
        }
        // On that connection, and on another.
        let mut other = Either::connect(&gateway, http2).await;
        for client in [&mut client, &mut other] {
            let (status, told) = client.get(NOTHING, &fields).await;
            assert_eq!(status, 429);
            let seconds = |text: &str| text.parse::<u64>().unwrap();
            assert!((1190..=1200).contains(&seconds(&told[0])), "{told:?}");
            assert_eq!(told[1], "\"client\";q=3;w=3600");
            let reset = seconds(told[2].strip_prefix("\"client\";r=0;t=").unwrap());
            assert!((3590..=3600).contains(&reset), "{told:?}");
        }
        gateway.failed("rate_limited", 2).await;
        assert_eq!(backend.requests().len(), 3);
    }
}

#[tokio::test]
async fn what_a_rate_limit_counts_outlives_tables_and_goes_with_it() {
    let backend = Backend::hello("hi").await;
    let limited = |requests| {
        let filter = Filter::RateLimit(Box::new(rate_limit(requests, CLIENT)));
        with(filter, backend.address())
    };
    let gateway = Gateway::start(limited(2));
    let mut client = Either::connect(&gateway, false).await;
    assert_eq!(client.get(NOTHING, &[]).await.0, 200);
    gateway.publish(limited(2));
    assert_eq!(client.get(NOTHING, &[]).await.0, 200);
    gateway.publish(limited(2));
    assert_eq!(client.get(NOTHING, &[]).await.0, 429);
    gateway.publish(Routes::all_to(&[backend.address()]));
    assert_eq!(client.get(NOTHING, &[]).await.0, 200);
    // The tables with it are gone once nobody reads them.
    gateway.publish(Routes::all_to(&[backend.address()]));
    gateway.publish(limited(2));
    for status in [200, 200, 429] {
        assert_eq!(client.get(NOTHING, &[]).await.0, status);
    }
}

#[tokio::test]
async fn each_key_of_a_rate_limit_has_its_own() {
    let header = LimitKey::Header("X-Api-Key".into());
    let cookie = LimitKey::Cookie("session".into());
    let mut ran = 0;
    for (by, name, one, two) in [
        (header, "x-api-key", "one", "two"),
        (cookie, "cookie", "session=one", "a=b; session=two"),
    ] {
        let backend = Backend::hello("hi").await;
        let filter = Filter::RateLimit(Box::new(rate_limit(1, by)));
        let gateway = Gateway::start(with(filter, backend.address()));
        let mut client = Either::connect(&gateway, false).await;
        for (field, status) in [
            ((name, one), 200),
            ((name, one), 429),
            ((name, two), 200),
            // Without it, by client.
            (NOTHING, 200),
            (NOTHING, 429),
            ((name, two), 429),
        ] {
            assert_eq!(client.get(field, &[]).await.0, status, "{field:?}");
            ran += 1;
        }
    }
    assert_eq!(ran, 12);
}

#[tokio::test]
async fn a_dry_run_only_counts() {
    let backend = Backend::hello("hi").await;
    let limit = RateLimit {
        dry_run: true,
        ..rate_limit(1, LimitKey::Route)
    };
    let gateway = Gateway::start(with(Filter::RateLimit(Box::new(limit)), backend.address()));
    let mut client = Either::connect(&gateway, false).await;
    for _ in 0..4 {
        assert_eq!(client.get(NOTHING, &[]).await.0, 200);
    }
    let table = gateway.table();
    let filter = table.rules.iter().flat_map(|rule| rule.filters()).next();
    let Some(Filter::RateLimit(limit)) = filter else {
        panic!("{filter:?}")
    };
    let state = limit.state.get();
    assert_eq!((state.refused.get(), state.would_refuse.get()), (0, 3));
}

#[tokio::test]
async fn bodies_that_are_too_long() {
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.send(ok("hi")).await;
        }
    })
    .await;
    // More than the settings allow, which the rule takes the place of.
    let filter = Filter::BodySize(BodySize { max: 1024 });
    let gateway = Gateway::start_with("limits: {body_bytes: 10B}", with(filter, backend.address()));
    let head = "POST / HTTP/1.1\r\nHost: example.com\r\n";
    let of_length = |length: usize| {
        format!(
            "{head}Content-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        )
        .into_bytes()
    };
    let in_chunks = |count| {
        let head = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        [head, chunked(&vec![&[b'x'; 256][..]; count])].concat()
    };
    let mut client = gateway.client().await;
    assert_eq!(client.exchange(of_length(1024)).await.status, 200);
    assert_eq!(client.exchange(in_chunks(4)).await.status, 200);
    assert_eq!(client.exchange(in_chunks(5)).await.status, 413);
    client.closed().await;
    let mut client = gateway.client().await;
    assert_eq!(client.exchange(of_length(1025)).await.status, 413);
    client.closed().await;
    // Nobody asks for a body that is too long.
    let mut client = gateway.client().await;
    let expecting = format!("{head}Content-Length: 1025\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.exchange(expecting).await.status, 413);
    client.closed().await;

    let mut two = gateway.http2().await;
    for (length, status) in [(1024, 200), (1025, 413), (1024, 200)] {
        let request = two.request("POST", "/");
        let response = two.post(request, "x".repeat(length), None).await.unwrap();
        assert_eq!(response.status, status, "{length}");
    }
    gateway.failed("body_too_large", 4).await;
    let whole = backend.requests().iter().filter(|it| it.complete).count();
    assert_eq!(whole, 4);
}

#[tokio::test]
async fn requests_at_once() {
    let cases = [
        (CLIENT, 429, "too_many_requests"),
        (LimitKey::Route, 503, "route_busy"),
    ];
    for (by, status, failure) in cases {
        let (backend, gate) = Backend::gated("hi").await;
        let gateway = Gateway::start(with(concurrency(2, by), backend.address()));
        let mut held = [gateway.client().await, gateway.client().await];
        for client in &mut held {
            client.send(get("/")).await;
        }
        backend
            .wait("two requests", |log| log.requests.len() == 2)
            .await;
        let mut others = [
            Either::connect(&gateway, false).await,
            Either::connect(&gateway, true).await,
        ];
        for other in &mut others {
            assert_eq!(
                other.get(NOTHING, &["retry-after"]).await,
                (status, vec!["1".to_owned()])
            );
        }
        gateway.failed(failure, 2).await;
        gate.add_permits(4);
        for client in &mut held {
            assert_eq!(client.response().await.status, 200);
        }
        for other in &mut others {
            assert_eq!(other.get(NOTHING, &[]).await.0, 200);
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_makes_room() {
    let (backend, gate) = Backend::gated("hi").await;
    let gateway = Gateway::start(with(concurrency(1, CLIENT), backend.address()));
    let mut leaves = gateway.client().await;
    leaves.send(get("/")).await;
    backend
        .wait("a request", |log| log.requests.len() == 1)
        .await;
    assert_eq!(gateway.client().await.get("/").await.status, 429);
    drop(leaves);
    gateway.failed("client_gone", 1).await;
    gate.add_permits(10);
    assert_eq!(gateway.client().await.get("/").await.status, 200);
}
