//! Frames that attackers send by the thousand.

use std::{sync::Arc, time::Duration};

use ferrix_e2e::{
    Backend, Gateway, Routes,
    backend::Connection,
    frames::{self, Frames, block, frame, kind},
    within,
};
use ferrix_proxy::counters::EntryPointCounters;
use tokio::sync::Semaphore;

/// CVE-2023-44487. An innocent client beside it notices nothing.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut innocent = gateway.http2().await;
    assert_eq!(innocent.get("/").await.status, 200);
    let mut frames = Frames::connect(gateway.web, &[]).await;
    let mut sent = 0;
    'attack: for round in 0..40_u32 {
        let mut bytes = Vec::new();
        for index in 0..500 {
            let stream = (round * 500 + index) * 2 + 1;
            bytes.extend_from_slice(&frames::get(stream));
            bytes.extend_from_slice(&frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        }
        if !frames.send(&bytes).await {
            break 'attack;
        }
        sent += 500;
    }
    // Either the connection was cut, or a GOAWAY names the abuse.
    if let Some(goodbye) = frames.next_of(kind::GOAWAY).await {
        assert_eq!(goodbye.code(), Some(11), "ENHANCE_YOUR_CALM");
    }
    assert!(
        backend.requests().len() <= 1000,
        "{} of {sent}",
        backend.requests().len()
    );
    assert_eq!(innocent.get("/").await.status, 200);
}

/// The same, but slow enough that each request has begun.
#[tokio::test]
async fn paced_resets_end_the_connection() {
    let backend = never_answering().await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut frames = Frames::connect(gateway.web, &[]).await;
    let mut ended = false;
    for round in 0..2000_u32 {
        let stream = round * 2 + 1;
        let mut bytes = frames::get(stream);
        if round >= 20 {
            // The one of twenty requests before has surely been accepted.
            let before = (round - 20) * 2 + 1;
            bytes.extend_from_slice(&frame(kind::RST_STREAM, 0, before, &8_u32.to_be_bytes()));
        }
        if !frames.send(&bytes).await {
            ended = true;
            break;
        }
        if round % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    if !ended {
        let goodbye = frames.next_of(kind::GOAWAY).await;
        assert!(goodbye.is_none_or(|goodbye| goodbye.code() == Some(11)));
    }
    assert!(
        backend.requests().len() <= 1000,
        "{}",
        backend.requests().len()
    );
}

/// However slowly a client leaves its requests, it does not start backends for ever, and not at all
/// after it was told to go.
#[tokio::test]
async fn slow_resets_end_the_connection() {
    let backend = never_answering().await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut frames = Frames::connect(gateway.web, &[]).await;
    let (mut stream, mut goodbyes) = (1, Vec::new());
    'attack: for _ in 0..60 {
        // 36 requests in a tenth of a second, at most.
        let mut bytes = Vec::new();
        for _ in 0..36 {
            bytes.extend_from_slice(&frames::get(stream));
            stream += 2;
        }
        let requests = backend.requests().len() + 36;
        frames.send(&bytes).await;
        let reached = async {
            while backend.requests().len() < requests {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // After the goodbye they may not be.
        let _ = tokio::time::timeout(Duration::from_millis(100), reached).await;
        let resets = (stream - 72..stream).step_by(2);
        let resets = resets.flat_map(|it| frame(kind::RST_STREAM, 0, it, &8_u32.to_be_bytes()));
        frames.send(&resets.collect::<Vec<_>>()).await;
        frames.send(&frame(kind::PING, 0, 0, &[7; 8])).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        loop {
            match frames.next().await {
                Some(frame) if frame.kind == kind::GOAWAY => goodbyes.push(frame.code().unwrap()),
                Some(frame) if frame.kind == kind::PING && frame.flags == 1 => break,
                Some(_) => {}
                None => break 'attack,
            }
        }
    }
    assert_eq!(goodbyes, [0, 11], "NO_ERROR, then ENHANCE_YOUR_CALM");
    gateway
        .counted("one end", |it| it.abusive_connections.get() == 1)
        .await;
    let requests = backend.requests().len();
    assert!((500..=1000).contains(&requests), "{requests}");
}

/// Who leaves some requests, or many after their answer had begun, is no attacker.
#[tokio::test]
async fn clients_may_leave_some_requests() {
    const MANY: usize = 100;
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(request) = connection.request().await {
            if request.target() == "/begun" {
                connection.send("HTTP/1.1 200 OK\r\n\r\n").await;
            }
            connection.left().await;
        }
    })
    .await;
    let gateway = Gateway::start_with(
        &format!("http2: {{reset_streams: {MANY}}}"),
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.http2().await;
    let mut requests = 0;
    while requests < MANY * 3 + 30 {
        for path in ["/begun", "/begun", "/never"] {
            let request = client.request("GET", path);
            let (response, mut stream) = client.open(request, true).await.unwrap();
            requests += 1;
            backend
                .wait("the request", |log| log.requests.len() == requests)
                .await;
            if path == "/begun" {
                assert_eq!(within("a response", response).await.unwrap().status(), 200);
            }
            // So many in a second would be too many.
            tokio::time::sleep(Duration::from_millis(12)).await;
            stream.send_reset(h2::Reason::CANCEL);
        }
    }
    assert_eq!(backend.log().requests.len(), requests);
}

/// CVE-2025-8671: the client makes the gateway reset the stream, after the backend has its request.
#[tokio::test]
async fn streams_that_the_gateway_must_reset_end_the_connection() {
    fn post(stream: u32) -> Vec<u8> {
        let mut fields = frames::get_block();
        fields.extend_from_slice(&block(&[("content-length", "1")]));
        frame(kind::HEADERS, frames::END_HEADERS, stream, &fields)
    }
    fn window(stream: u32, increment: u32) -> Vec<u8> {
        frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
    }
    let backend = never_answering().await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    type Sent = fn(u32) -> Vec<u8>;
    // Request, what follows, and the code of the end: ENHANCE_YOUR_CALM, or PROTOCOL_ERROR where the
    // `h2` crate ends the connection at once.
    let attacks: [(&str, Sent, Sent, u32); 5] = [
        (
            "a window that overflows",
            frames::get,
            |it| window(it, (1 << 31) - 1),
            11,
        ),
        (
            "a longer body than was said",
            post,
            |it| frame(kind::DATA, 0, it, b"more"),
            11,
        ),
        (
            "trailers without an end",
            post,
            |it| frame(kind::HEADERS, 4, it, &block(&[("x", "y")])),
            11,
        ),
        (
            "a window that grows by nothing",
            frames::get,
            |it| window(it, 0),
            1,
        ),
        (
            "data after the end",
            frames::get,
            |it| frame(kind::DATA, 0, it, b"more"),
            1,
        ),
    ];
    for (what, request, harm, code) in attacks {
        let before = backend.requests().len();
        let mut frames = Frames::connect(gateway.web, &[]).await;
        let (mut stream, mut goodbye) = (1, None);
        'attack: for round in 1..=100 {
            let streams = (stream..).step_by(2).take(20);
            stream += 40;
            let requests = streams.clone().flat_map(request);
            frames.send(&requests.collect::<Vec<_>>()).await;
            let here = backend.wait("the requests", |log| {
                log.requests.len() >= before + round * 20
            });
            let _ = tokio::time::timeout(Duration::from_millis(500), here).await;
            frames
                .send(&streams.flat_map(harm).collect::<Vec<_>>())
                .await;
            frames.send(&frame(kind::PING, 0, 0, &[7; 8])).await;
            loop {
                match frames.next().await {
                    Some(frame) if frame.kind == kind::GOAWAY => goodbye = frame.code(),
                    Some(frame) if frame.kind == kind::PING => break,
                    Some(_) => {}
                    None => break 'attack,
                }
            }
        }
        assert_eq!(goodbye, Some(code), "{what}");
        let requests = backend.requests().len() - before;
        assert!((1..=1000).contains(&requests), "{what}: {requests}");
    }
    // What was sent of bodies is less than was said.
    backend.forgive();
}

/// What costs a client nothing ends its connection at some point. Others notice nothing.
#[tokio::test]
async fn floods_of_frames_end_the_connection() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut innocent = gateway.http2().await;
    let open = frame(kind::HEADERS, 4, 1, &frames::get_block());
    let half = frame(kind::HEADERS, 0, 1, &frames::get_block());
    let reset = frame(kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    let one = 1_u32.to_be_bytes();
    // What comes first, what comes again and again, and the code of the end: ENHANCE_YOUR_CALM or
    // PROTOCOL_ERROR.
    let attacks: [(&str, Vec<u8>, Vec<u8>, u32); 14] = [
        ("PING", vec![], frame(kind::PING, 0, 0, &[0; 8]), 11),
        (
            "PING that answers",
            vec![],
            frame(kind::PING, 1, 0, &[0; 8]),
            11,
        ),
        ("SETTINGS", vec![], frame(kind::SETTINGS, 0, 0, &[]), 11),
        (
            "other SETTINGS",
            vec![],
            frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 9]),
            11,
        ),
        (
            "PRIORITY",
            vec![],
            frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 1]),
            11,
        ),
        (
            "PRIORITY_UPDATE",
            vec![],
            frame(16, 0, 0, &[0, 0, 0, 1]),
            11,
        ),
        ("an unknown type", vec![], frame(99, 0, 0, &[]), 11),
        ("empty DATA", open.clone(), frame(kind::DATA, 0, 1, &[]), 11),
        (
            "RST_STREAM",
            [&open[..], &reset].concat(),
            reset.clone(),
            11,
        ),
        (
            "CONTINUATION",
            half,
            frame(kind::CONTINUATION, 0, 1, &block(&[("x", "y")])),
            11,
        ),
        (
            "WINDOW_UPDATE",
            vec![],
            frame(kind::WINDOW_UPDATE, 0, 0, &one),
            11,
        ),
        (
            "WINDOW_UPDATE of a stream",
            open.clone(),
            frame(kind::WINDOW_UPDATE, 0, 1, &one),
            11,
        ),
        (
            "WINDOW_UPDATE of 0",
            vec![],
            frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]),
            1,
        ),
        ("GOAWAY", vec![], frame(kind::GOAWAY, 0, 0, &[0; 8]), 0),
    ];
    let abusive = |it: &EntryPointCounters| it.abusive_connections.get();
    for (what, first, again, code) in &attacks {
        let before = abusive(&gateway.counters().entry_point("web"));
        let mut frames = Frames::connect(gateway.web, &[]).await;
        frames.send(first).await;
        let batch = again.repeat(100);
        let (sent, goodbye) = within(what, frames.flood(&batch, 20_000)).await;
        let goodbye = goodbye.unwrap_or_else(|| panic!("{what}: no GOAWAY after {sent}00"));
        assert_eq!(goodbye.code(), Some(*code), "{what}: after {sent}00");
        let end = async { while frames.next().await.is_some() {} };
        within(format!("the end: {what}"), end).await;
        drop(frames);
        // That of the innocent client.
        let alone = |it: &EntryPointCounters| it.open_connections.get() == 1;
        gateway
            .counted(&format!("the connection to end: {what}"), alone)
            .await;
        let counted = abusive(&gateway.counters().entry_point("web")) - before;
        match code {
            11 => assert_eq!(counted, 1, "{what}"),
            // Whoever floods on while the goodbye is on its way is cut off as well.
            _ => assert!(counted <= 1, "{what}: {counted}"),
        }
        assert_eq!(innocent.get("/").await.status, 200, "{what}");
    }
    assert_eq!(attacks.len(), 14);
}

/// Window updates and pings that go with what is read are no flood, however many there are.
#[tokio::test]
async fn control_frames_are_judged_by_what_is_sent() {
    const PIECES: usize = 200;
    let next = Arc::new(Semaphore::new(0));
    let wanted = Arc::clone(&next);
    let backend = Backend::start(move |mut connection: Connection| {
        let wanted = Arc::clone(&wanted);
        async move {
            while connection.request().await.is_some() {
                connection
                    .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await;
                for _ in 0..PIECES {
                    connection.send("4\r\nping\r\n").await;
                    wanted.acquire().await.unwrap().forget();
                }
                connection.send("0\r\n\r\n").await;
            }
        }
    })
    .await;
    let gateway = Gateway::start_with(
        "http2: {control_frames: 100}",
        Routes::all_to(&[backend.address()]),
    );
    let mut frames = Frames::connect(gateway.web, &[]).await;
    for stream in [1, 3] {
        frames.send(&frames::get(stream)).await;
        for _ in 0..PIECES {
            let piece = frames.next_of(kind::DATA).await.expect("the rest");
            assert_eq!(piece.payload, &b"ping"[..]);
            let four = 4_u32.to_be_bytes();
            let answer = [
                frame(kind::WINDOW_UPDATE, 0, 0, &four),
                frame(kind::WINDOW_UPDATE, 0, stream, &four),
                frame(kind::PING, 0, 0, &[1; 8]),
            ];
            frames.send(&answer.concat()).await;
            next.add_permits(1);
        }
        let end = frames.next_of(kind::DATA).await.expect("the end");
        assert_eq!(end.flags & frames::END_STREAM, 1);
    }
    // Without a response to go with they are.
    let ping = frame(kind::PING, 0, 0, &[0; 8]);
    let (sent, goodbye) = frames.flood(&ping, 10_000).await;
    assert_eq!(goodbye.and_then(|it| it.code()), Some(11), "after {sent}");
}

async fn never_answering() -> Backend {
    Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.left().await;
        }
    })
    .await
}
