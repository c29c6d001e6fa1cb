//! Frames that attackers send by the thousand.

use std::time::{Duration, Instant};

use ferrix_e2e::{
    Backend, Gateway, Routes,
    backend::{Connection, ok},
    frames::{self, Frames, block, frame, kind},
    within,
};

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
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.left().await;
        }
    })
    .await;
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

#[tokio::test]
async fn floods_of_small_frames_are_cheap() {
    let backend = Backend::start(async |mut connection: Connection| {
        while connection.request().await.is_some() {
            connection.send(ok("hi")).await;
        }
    })
    .await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut innocent = gateway.http2().await;
    let empty_headers = frame(kind::HEADERS, 0, 1, &frames::get_block());
    let attacks: [(&str, Vec<u8>, Vec<u8>); 6] = [
        ("PING", Vec::new(), frame(kind::PING, 0, 0, &[0; 8])),
        ("SETTINGS", Vec::new(), frame(kind::SETTINGS, 0, 0, &[])),
        ("PRIORITY", Vec::new(), frame(2, 0, 1, &[0, 0, 0, 3, 1])),
        (
            "empty DATA",
            frame(kind::HEADERS, 4, 1, &frames::get_block()),
            frame(kind::DATA, 0, 1, &[]),
        ),
        (
            "CONTINUATION",
            empty_headers,
            frame(kind::CONTINUATION, 0, 1, &block(&[("x", "y")])),
        ),
        (
            "WINDOW_UPDATE of 0",
            Vec::new(),
            frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]),
        ),
    ];
    for (what, first, again) in &attacks {
        let started = Instant::now();
        let mut frames = Frames::connect(gateway.web, &[]).await;
        frames.send(first).await;
        let batch = again.repeat(500);
        let attack = async {
            for _ in 0..40 {
                // What comes back is read, or the kernel stops us before the gateway does.
                if tokio::time::timeout(Duration::from_millis(200), frames.send(&batch)).await
                    != Ok(true)
                {
                    break;
                }
            }
        };
        within(what, attack).await;
        assert_eq!(innocent.get("/").await.status, 200, "{what}");
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{what}: {:?}",
            started.elapsed()
        );
    }
}
