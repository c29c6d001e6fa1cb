//! Bodies that pass no faster than a limit has it: by the time that they take, which is never less than what
//! the limit leaves, and by the bytes that arrive.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ferrix_e2e::{
    Backend, Gateway, Http2Backend, Routes,
    backend::{Connection, ok},
    client::get,
    http2_backend::Exchange,
    http2_client, within,
};
use ferrix_table::{
    filters::{
        Filter,
        bandwidth::{Bandwidth, ByteRate},
        cache::{Cache, CacheTerms},
        compression::{Compression, ContentEncoding},
        lasting::{FilterId, Lasting},
        limit_key::LimitKey,
        request_buffering::RequestBuffering,
        respond::Respond,
    },
    object::{Key, Kind},
    policy::{Retry, Timeouts},
};

use tokio::task::JoinSet;

use crate::{Ask, Either, GET, PAIRS, ask, ask_once, filters};

/// Half a second above a burst, at [`RATE`].
const LENGTH: usize = 60_000;
const RATE: u64 = 100_000;
const LEAST: Duration = Duration::from_millis(500);

fn lasting<T>(place: &str) -> Lasting<T> {
    Lasting::new(FilterId {
        object: Key::new(Kind::IngressRoute, "default", "r"),
        place: place.into(),
    })
}

fn limit(request: Option<u64>, response: Option<u64>, by: Option<LimitKey>) -> Filter {
    let rate = |rate| ByteRate::new(rate, 0);
    Filter::Bandwidth(Box::new(Bandwidth {
        request: request.map(rate),
        response: response.map(rate),
        by,
        state: lasting("bandwidth"),
    }))
}

fn downloads() -> Filter {
    limit(None, Some(RATE), None)
}

fn text(length: usize) -> String {
    let mut text: String = (0..length).map(|it| format!("{it} ")).collect();
    text.truncate(length);
    text
}

/// Answers each request with this text.
async fn backend(http2: bool, text: String) -> Either {
    match http2 {
        false => {
            let length = text.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
            );
            Either::One(Backend::answering(head + &text).await)
        }
        true => Either::Two(
            Http2Backend::start(move |mut exchange: Exchange| {
                let text = text.clone();
                async move {
                    exchange.body().await;
                    let fields = [("content-type", "text/plain")];
                    let mut stream = exchange.respond(200, &fields, false);
                    let _ = http2_client::send_all(&mut stream, text.into(), true).await;
                }
            })
            .await,
        ),
    }
}

/// Answers, and how long they took.
async fn timed<T>(asking: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let answer = within("an answer", asking).await;
    (answer, began.elapsed())
}

#[tokio::test]
async fn responses_take_their_time_and_arrive_whole() {
    let mut ran = 0;
    for (to_client, to_backend) in PAIRS {
        let backend = backend(to_backend, text(LENGTH)).await;
        let gateway = Gateway::start(backend.routes().policy(filters([downloads()])));
        let (answers, took) = timed(ask(&gateway, to_client, GET)).await;
        assert!(took >= 2 * LEAST, "{took:?}");
        for answer in answers {
            assert!(answer.status == 200 && answer.body == text(LENGTH));
            ran += 1;
        }
    }
    assert_eq!(ran, 8);
}

#[tokio::test]
async fn requests_take_their_time_and_arrive_whole() {
    let body = text(LENGTH);
    let request = Ask {
        method: "POST",
        body: &body,
        ..GET
    };
    let mut ran = 0;
    for (to_client, to_backend) in PAIRS {
        let backend = Either::start(to_backend).await;
        // Neither is a client too slow that has to wait, nor a backend.
        let settings = "{limits: {body_rate: 10MB}, \
                        timeouts: {response: 300ms, body: 300ms, body_grace: 100ms}}";
        let uploads = limit(Some(RATE), None, None);
        let buffering = Filter::RequestBuffering(RequestBuffering {
            max_bytes: 1 << 20,
            memory_bytes: 1 << 20,
        });
        let lists = [
            vec![uploads.clone()],
            vec![uploads.clone(), buffering.clone()],
            vec![buffering, uploads],
        ];
        for list in lists {
            let routes = backend.routes().policy(filters(list));
            let gateway = Gateway::start_with(settings, routes);
            let (answers, took) = timed(ask(&gateway, to_client, request)).await;
            assert!(took >= 2 * LEAST, "{took:?}");
            for answer in answers {
                assert_eq!((answer.status, &*answer.body), (200, "hi"));
                ran += 1;
            }
            assert!(backend.last().body == body.as_bytes());
        }
    }
    assert_eq!(ran, 4 * 3 * 2);
}

/// Each of them waits for longer than a peer may be silent.
#[tokio::test]
async fn who_shares_a_limit_stands_in_line_and_is_not_late() {
    const EACH: usize = 2000;
    let backend = backend(false, text(EACH)).await;
    let client = LimitKey::Client { ipv6_prefix: 64 };
    let settings = "timeouts: {response: 300ms, body: 300ms}";
    let body: &'static str = text(EACH).leak();
    let cases = [
        (limit(None, Some(10_000), Some(client)), GET),
        (
            limit(Some(10_000), None, Some(LimitKey::Route)),
            Ask {
                method: "POST",
                body,
                ..GET
            },
        ),
    ];
    let mut ran = 0;
    for (limit, request) in cases {
        let routes = backend.routes().policy(filters([limit]));
        let gateway = Arc::new(Gateway::start_with(settings, routes));
        let mut asking = JoinSet::new();
        for nth in 0..10 {
            let gateway = Arc::clone(&gateway);
            asking.spawn(async move { ask_once(&gateway, nth % 2 == 0, request).await });
        }
        let (answers, took) = timed(asking.join_all()).await;
        // The first kilobyte passes at once.
        assert!(took >= Duration::from_millis(1900), "{took:?}");
        for answer in answers {
            assert!(answer.status == 200 && answer.body == text(EACH));
            ran += 1;
        }
    }
    assert_eq!(ran, 20);
}

/// As it comes the same answer would take twenty seconds.
#[tokio::test]
async fn what_is_compressed_counts_as_it_is_sent() {
    for to_backend in [false, true] {
        let backend = backend(to_backend, "x".repeat(2_000_000)).await;
        let compression = Filter::Compression(Compression {
            encodings: ContentEncoding::ALL.into(),
            min_bytes: 0,
            content_types: Box::default(),
        });
        let policy = filters([compression, downloads()]);
        let gateway = Gateway::start(backend.routes().policy(policy));
        let mut client = gateway.client().await;
        let request = "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: zstd\r\n\r\n";
        let (answer, took) = timed(client.exchange(request)).await;
        assert_eq!(answer.head.one("content-encoding"), Some("zstd"));
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
}

#[tokio::test]
async fn answers_that_no_backend_gives_take_their_time_too() {
    let respond = |body: String| {
        Filter::Respond(Respond {
            status: 200,
            body: Arc::from(body.into_bytes()),
            fields: Box::default(),
        })
    };
    let cache = Filter::Cache(Box::new(Cache {
        max_bytes: 1 << 20,
        terms: CacheTerms {
            max_object_bytes: 1 << 20,
            default_ttl: Duration::from_secs(60),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        },
        key_headers: Box::default(),
        purge: None,
        state: lasting("cache"),
    }));
    let backend = backend(false, text(LENGTH)).await;
    for list in [
        vec![downloads(), respond(text(LENGTH))],
        vec![downloads(), cache.clone()],
        vec![cache, downloads()],
    ] {
        let gateway = Gateway::start(backend.routes().policy(filters(list)));
        for http2 in [false, true, false, true] {
            let (answer, took) = timed(ask_once(&gateway, http2, GET)).await;
            assert!(took >= LEAST, "{took:?}");
            assert!(answer.status == 200 && answer.body == text(LENGTH));
        }
    }
    // Each cache asked once.
    assert_eq!(backend.count(), 2);
}

#[tokio::test]
async fn a_limit_is_no_reason_to_take_longer_than_a_rule_allows() {
    let backend = Backend::answering(ok(&text(LENGTH))).await;
    let mut policy = filters([limit(None, Some(10_000), None)]);
    policy.timeouts = Timeouts {
        request: Some(Duration::from_millis(300)),
        backend_request: None,
    };
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]).policy(policy));
    let mut client = gateway.client().await;
    client.send(get("/")).await;
    assert_eq!(client.head().await.word(1), "200");
    let (rest, took) = timed(client.rest()).await;
    assert!(rest.len() < LENGTH, "{} bytes", rest.len());
    assert!(took < Duration::from_secs(4), "{took:?}");
    backend.abandoned().await;
}

/// What waited for its turn when an attempt broke is sent by the next.
#[tokio::test]
async fn a_body_that_is_sent_again_has_no_hole() {
    let backend = Backend::start(|mut connection: Connection| async move {
        if connection.head().await.is_none() {
            return;
        }
        if connection.index == 0 {
            // Leaves in the middle.
            connection.piece().await;
            return;
        }
        connection.body().await;
        connection.send(ok("hi")).await;
    })
    .await;
    let mut policy = filters([limit(Some(40_000), None, None)]);
    policy.retry = Some(Retry {
        codes: Box::default(),
        attempts: Some(1),
        backoff: Duration::ZERO,
    });
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]).policy(policy));
    let body = text(30_000);
    let request = Ask {
        method: "PUT",
        body: &body,
        ..GET
    };
    let answer = ask_once(&gateway, false, request).await;
    assert_eq!((answer.status, &*answer.body), (200, "hi"));
    let arrived = backend.requests();
    assert_eq!(arrived.len(), 2);
    assert!(arrived[1].body == body.as_bytes());
}
