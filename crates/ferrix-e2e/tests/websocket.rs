//! Connections that leave HTTP for WebSocket, and those that only look like it.

use std::time::Duration;

use ferrix_e2e::{
    Backend, Client, Gateway, Http2Backend, Routes,
    backend::{Connection, ok},
    certificates::Authority,
    wire::pattern,
    within,
};
use ferrix_table::services::Protocol;
use tokio::{io::AsyncWriteExt, sync::mpsc};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Echoes whatever comes after the handshake.
async fn echo() -> Backend {
    Backend::start(async |mut connection: Connection| {
        if connection.head().await.is_none() {
            return;
        }
        connection.send(SWITCH).await;
        while let Some(bytes) = connection.reader.bytes().await {
            connection.send(bytes).await;
        }
    })
    .await
}

fn to(backend: &Backend) -> Gateway {
    Gateway::start(Routes::all_to(&[backend.address()]))
}

async fn expect(client: &mut Client, bytes: &[u8]) {
    let read = within("data after the upgrade", client.reader.exactly(bytes.len())).await;
    assert!(read.as_deref() == Ok(bytes), "other data than was sent");
}

#[tokio::test]
async fn both_directions_after_the_handshake() {
    let backend = echo().await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    client.send(handshake("/chat")).await;
    let head = client.head().await;
    assert_eq!(head.word(1), "101");
    assert_eq!(head.one("upgrade"), Some("websocket"));
    assert!(
        head.one("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
    );
    assert_eq!(
        head.one("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    for word in ["one", "two", "GET / HTTP/1.1\r\n\r\n"] {
        client.send(word).await;
        expect(&mut client, word.as_bytes()).await;
    }
    let bytes = pattern(2_000_000);
    let Client { reader, writer, .. } = &mut client;
    let sending = async {
        writer.write_all(&bytes).await.unwrap();
    };
    let ((), echoed) = within("an echo", async {
        tokio::join!(sending, reader.exactly(bytes.len()))
    })
    .await;
    assert!(echoed.as_deref() == Ok(&bytes));

    let request = backend.last().head;
    assert_eq!(request.one("upgrade"), Some("websocket"));
    assert!(
        request
            .one("connection")
            .is_some_and(|it| it.eq_ignore_ascii_case("upgrade"))
    );
    assert_eq!(
        request.one("sec-websocket-key"),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    assert_eq!(request.one("x-forwarded-for"), Some("127.0.0.1"));
}

#[tokio::test]
async fn data_that_comes_with_the_handshake() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.head().await;
        connection.send(format!("{SWITCH}with the answer")).await;
        while let Some(bytes) = connection.reader.bytes().await {
            connection.send(bytes).await;
        }
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    client
        .send(format!("{}with the question", handshake("/")))
        .await;
    assert_eq!(client.head().await.word(1), "101");
    expect(&mut client, b"with the answer").await;
    expect(&mut client, b"with the question").await;
}

#[tokio::test]
async fn the_client_closes() {
    let backend = echo().await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    client.send(handshake("/")).await;
    assert_eq!(client.head().await.word(1), "101");
    client.send("x").await;
    expect(&mut client, b"x").await;
    drop(client);
    backend.abandoned().await;
    gateway
        .counted("the end", |counters| counters.open_connections.get() == 0)
        .await;
}

#[tokio::test]
async fn the_backend_closes() {
    let backend = Backend::start(async |mut connection: Connection| {
        connection.head().await;
        connection.send(format!("{SWITCH}last words")).await;
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    client.send(handshake("/")).await;
    assert_eq!(client.head().await.word(1), "101");
    expect(&mut client, b"last words").await;
    client.closed().await;
}

/// Docker's clients end what they send before they have all that comes; so may servers.
#[tokio::test]
async fn the_end_of_one_side_is_passed_on() {
    let (inputs, mut received) = mpsc::unbounded_channel();
    let backend = Backend::start(move |mut connection: Connection| {
        let inputs = inputs.clone();
        async move {
            let Some(head) = connection.head().await else {
                return;
            };
            connection.send(SWITCH).await;
            let ends_first = head.word(1) == "/backend";
            if ends_first {
                connection.send("last words").await;
                connection.writer.shutdown().await.unwrap();
            }
            let mut input = Vec::new();
            while let Some(bytes) = connection.reader.bytes().await {
                input.extend_from_slice(&bytes);
            }
            inputs.send(input).unwrap();
            if !ends_first {
                connection.send("output").await;
            }
        }
    })
    .await;
    let authority = Authority::new();
    let certified = authority.certify("default", &["example.com"]);
    let routes = Routes::all_to(&[backend.address()]).default_certificate(&certified);
    let gateway = Gateway::start(routes);
    let mut ran = 0;
    for secure in [false, true] {
        for path in ["/client", "/backend"] {
            let mut client = match secure {
                false => gateway.client().await,
                true => {
                    let config = authority.client(&["http/1.1"]);
                    gateway.tls_client(&config, "example.com").await
                }
            };
            client.send(handshake(path)).await;
            assert_eq!(client.head().await.word(1), "101");
            if path == "/backend" {
                assert_eq!(client.rest().await, b"last words", "{secure}");
            }
            client.send("input").await;
            client.end().await;
            let input = within("the backend's end", received.recv()).await;
            assert_eq!(input.as_deref(), Some(&b"input"[..]), "{path} {secure}");
            if path == "/client" {
                assert_eq!(client.rest().await, b"output", "{secure}");
            }
            ran += 1;
        }
    }
    assert_eq!(ran, 4);
    backend
        .wait("the ends of all connections", |log| log.open == 0)
        .await;
    gateway
        .counted("the plain ends", |it| it.open_connections.get() == 0)
        .await;
    gateway
        .counted_secure("the ends over TLS", |it| it.open_connections.get() == 0)
        .await;
}

#[tokio::test]
async fn a_silent_one_is_closed_in_the_end() {
    let backend = echo().await;
    let gateway = Gateway::start_with(
        "timeouts: {upgraded: 300ms, response: 100ms, body: 100ms}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.client().await;
    client.send(handshake("/")).await;
    assert_eq!(client.head().await.word(1), "101");
    for _ in 0..4 {
        // Above the timeouts of HTTP, below that of upgraded connections.
        tokio::time::sleep(Duration::from_millis(150)).await;
        client.send("x").await;
        expect(&mut client, b"x").await;
    }
    client.closed().await;
    backend.abandoned().await;
}

#[tokio::test]
async fn a_refused_upgrade_leaves_both_connections_in_use() {
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(request) = connection.request().await {
            connection
                .send(match request.head.has("upgrade") {
                    true => "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(),
                    false => ok("yes"),
                })
                .await;
        }
    })
    .await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    for _ in 0..2 {
        let response = client.exchange(handshake("/")).await;
        assert_eq!((response.status, &*response.text()), (403, "no"));
        assert_eq!(client.get("/").await.text(), "yes");
    }
    assert_eq!(backend.log().connections, 1);
}

#[tokio::test]
async fn what_is_no_upgrade_is_an_ordinary_request() {
    let backend = Backend::hello("ordinary").await;
    let gateway = to(&backend);
    let cases = [
        (
            "h2c",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        ),
        (
            "h2c beside websocket",
            "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        ),
        ("h2c in capitals", "Connection: Upgrade\r\nUpgrade: H2C\r\n"),
        ("HTTP", "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n"),
        ("not nominated", "Upgrade: websocket\r\n"),
        ("only nominated", "Connection: Upgrade\r\n"),
        (
            "nominated in a longer word",
            "Connection: Upgraded\r\nUpgrade: websocket\r\n",
        ),
    ];
    let mut client = gateway.client().await;
    for (what, fields) in cases {
        let response = client
            .exchange(format!(
                "GET / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n"
            ))
            .await;
        assert_eq!(response.text(), "ordinary", "{what}");
        let request = backend.last().head;
        for name in ["upgrade", "connection", "http2-settings"] {
            assert!(!request.has(name), "{what}: {name}");
        }
    }
    assert_eq!(backend.requests().len(), cases.len());
    let request =
        "GET / HTTP/1.0\r\nHost: example.com\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let response = gateway.client().await.exchange(request).await;
    assert_eq!(response.text(), "ordinary");
    assert!(!backend.last().head.has("upgrade"));
}

/// Takes the body of each request, and then echoes behind a 101 to the protocol asked for.
async fn switching() -> Backend {
    Backend::start(async |mut connection: Connection| {
        while let Some(request) = connection.request().await {
            let Some(protocol) = request.head.one("upgrade") else {
                connection.send(ok("ordinary")).await;
                continue;
            };
            let switch = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
            );
            connection.send(switch).await;
            while let Some(bytes) = connection.reader.bytes().await {
                connection.send(bytes).await;
            }
            return;
        }
    })
    .await
}

const BODIES: [(&str, &str); 3] = [
    ("Content-Length: 0\r\n", ""),
    ("Content-Length: 5\r\n", "hello"),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
];

/// Any protocol by any method: Kubernetes, Docker and Tailscale use POST, with bodies.
#[tokio::test]
async fn any_protocol_is_relayed() {
    let backend = switching().await;
    let gateway = to(&backend);
    let mut cases = 0;
    for protocol in [
        "tailscale-control-protocol",
        "tcp",
        "SPDY/3.1",
        "DERP",
        "TLS/1.0",
    ] {
        for method in ["GET", "POST"] {
            for (framing, body) in BODIES {
                // Fresh and used connections, with data that comes before the 101 and after it.
                let mut client = gateway.client().await;
                if cases % 2 == 1 {
                    assert_eq!(client.get("/warm").await.text(), "ordinary");
                }
                let head = format!(
                    "{method} / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
                     Upgrade: {protocol}\r\n{framing}\r\n"
                );
                client.send(format!("{head}{body}\r\nearly")).await;
                let answer = client.head().await;
                assert_eq!(answer.word(1), "101", "{head}");
                assert_eq!(answer.one("upgrade"), Some(protocol), "{head}");
                expect(&mut client, b"\r\nearly").await;
                client.send("late").await;
                expect(&mut client, b"late").await;
                let request = backend.last();
                assert_eq!(request.head.one("upgrade"), Some(protocol));
                assert_eq!(request.body.is_empty(), body.is_empty(), "{head}");
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 30);
}

/// A backend may agree before it has the request: the rest of that is still HTTP.
#[tokio::test]
async fn an_early_switch_leaves_the_request_whole() {
    for framing in [BODIES[1], BODIES[2]] {
        let backend = Backend::start(async |mut connection: Connection| {
            connection.head().await;
            connection.send(SWITCH).await;
            connection.body().await;
            while let Some(bytes) = connection.reader.bytes().await {
                connection.send(bytes).await;
            }
        })
        .await;
        let gateway = Gateway::start_with(
            "limits: {body_bytes: 5B}",
            Routes::all_to(&[backend.address()]),
        );
        let mut client = gateway.client().await;
        let (framing, body) = framing;
        let head = handshake("/").replace("\r\n\r\n", &format!("\r\n{framing}\r\n"));
        client.send(head.replace("GET", "POST")).await;
        assert_eq!(client.head().await.word(1), "101");
        // More than a body may have: it is none.
        client.send(format!("{body}after the body")).await;
        expect(&mut client, b"after the body").await;
        assert_eq!(backend.last().body, b"hello");
        assert!(backend.last().complete);
    }
}

#[tokio::test]
async fn a_backend_that_switches_unasked_is_502() {
    let backend = echo().await;
    let gateway = to(&backend);
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.status, 502);
    backend.abandoned().await;
}

#[tokio::test]
async fn an_http2_backend_gets_no_upgrade() {
    let backend = Http2Backend::hello("ordinary").await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    let mut client = gateway.client().await;
    assert_eq!(client.exchange(handshake("/")).await.text(), "ordinary");
    assert_eq!(backend.last().field("upgrade"), None);
}

/// HTTP/2 has no 101, whether or not the client would like one.
#[tokio::test]
async fn a_switch_from_an_http2_backend_is_502() {
    let backend = Http2Backend::start(|mut exchange| async move {
        exchange.body().await;
        let mut response = http::Response::new(());
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        match exchange.head.uri().path() {
            "/interim" => drop(exchange.respond.send_informational(response)),
            _ => drop(exchange.respond.send_response(response, false)),
        }
        exchange.cancelled().await;
    })
    .await;
    let gateway = Gateway::start(Routes::all_by(Protocol::Http2, &[backend.address()]));
    for path in ["/interim", "/final"] {
        for request in [ferrix_e2e::client::get(path), handshake(path)] {
            let response = gateway.client().await.exchange(request).await;
            assert_eq!(response.status, 502, "{path}");
        }
    }
}
