//! Requests that two servers could read in two ways, and headers that claim what is not so.
//!
//! What counts is what the strict backend received: it fails the test by itself when anything
//! ambiguous reaches it.

use ferrix_e2e::{
    Backend, Client, Gateway, Routes,
    backend::{Connection, ok},
    client::get,
    within,
};

/// What came of some bytes: the statuses of the answers, and the targets that the backend saw.
async fn outcome(gateway: &Gateway, backend: &Backend, bytes: &[u8]) -> (Vec<u16>, Vec<String>) {
    let before = backend.requests().len();
    let mut client = gateway.client().await;
    client.send(bytes).await;
    let mut statuses = Vec::new();
    while let Ok(response) = client.try_response("GET").await {
        statuses.push(response.status);
    }
    client.end().await;
    gateway
        .counted("the connection's end", |it| it.open_connections.get() == 0)
        .await;
    let targets = backend.requests()[before..]
        .iter()
        .map(|it| it.target().to_owned())
        .collect();
    (statuses, targets)
}

/// Asks for `/probe`, and for the end of the connection. It is answered where the connection is
/// still in step.
const PROBE: &str = "GET /probe HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n";

/// A request that must never arrive.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n";

async fn serve() -> (Backend, Gateway) {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "timeouts: {header: 400ms, body: 400ms}",
        Routes::all_to(&[backend.address()]),
    );
    (backend, gateway)
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /1 HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n{body}")
}

fn in_chunks(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

#[tokio::test]
async fn ambiguous_framing_is_refused() {
    let smuggling = |fields: &str| post(fields, &format!("0\r\n\r\n{SMUGGLED}"));
    let cases = [
        (
            "two lengths",
            smuggling("Content-Length: 5\r\nContent-Length: 6\r\n"),
            400,
        ),
        (
            "a list of lengths",
            smuggling("Content-Length: 5, 6\r\n"),
            400,
        ),
        ("plus", smuggling("Content-Length: +5\r\n"), 400),
        ("minus", smuggling("Content-Length: -5\r\n"), 400),
        ("hexadecimal", smuggling("Content-Length: 0x5\r\n"), 400),
        ("a letter", smuggling("Content-Length: 5a\r\n"), 400),
        ("two words", smuggling("Content-Length: 5 5\r\n"), 400),
        ("no length", smuggling("Content-Length:\r\n"), 400),
        ("an empty element", smuggling("Content-Length: 5,\r\n"), 400),
        (
            "more than 64 bits",
            smuggling("Content-Length: 99999999999999999999999\r\n"),
            400,
        ),
        (
            "gzip, chunked",
            smuggling("Transfer-Encoding: gzip, chunked\r\n"),
            501,
        ),
        (
            "unknown, chunked",
            smuggling("Transfer-Encoding: x, chunked\r\n"),
            501,
        ),
        (
            "chunked twice",
            smuggling("Transfer-Encoding: chunked, chunked\r\n"),
            501,
        ),
        (
            "chunked first",
            smuggling("Transfer-Encoding: chunked, gzip\r\n"),
            400,
        ),
        (
            "identity",
            smuggling("Transfer-Encoding: identity\r\n"),
            400,
        ),
        (
            "chunked, identity",
            smuggling("Transfer-Encoding: chunked, identity\r\n"),
            400,
        ),
        (
            "two lines",
            smuggling("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
            501,
        ),
        (
            "chunked in two lines",
            smuggling("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            501,
        ),
        (
            "an empty line before",
            smuggling("Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n"),
            501,
        ),
        (
            "xchunked",
            smuggling("Transfer-Encoding: xchunked\r\n"),
            400,
        ),
        (
            "parameters",
            smuggling("Transfer-Encoding: chunked;q=1\r\n"),
            400,
        ),
        (
            "quoted",
            smuggling("Transfer-Encoding: \"chunked\"\r\n"),
            400,
        ),
        (
            "a space behind",
            smuggling("Transfer-Encoding: chunked \r\n"),
            400,
        ),
        (
            "a tab behind, and a length",
            smuggling("Content-Length: 5\r\nTransfer-Encoding: chunked\t\r\n"),
            400,
        ),
        (
            "LF behind a field",
            smuggling("X-Y: a\nContent-Length: 5\r\n"),
            400,
        ),
        (
            "LF behind the request line",
            "GET /1 HTTP/1.1\nHost: example.com\r\n\r\n".into(),
            400,
        ),
        (
            "LF for the empty line",
            "GET /1 HTTP/1.1\r\nHost: example.com\r\n\n".into(),
            400,
        ),
        (
            "vertical tab",
            smuggling("Transfer-Encoding: \x0bchunked\r\n"),
            400,
        ),
        (
            "length and coding unknown",
            smuggling("Content-Length: 5\r\nTransfer-Encoding: x\r\n"),
            400,
        ),
        (
            "space before the colon",
            smuggling("Transfer-Encoding : chunked\r\n"),
            400,
        ),
        (
            "tab before the colon",
            smuggling("Content-Length\t: 5\r\n"),
            400,
        ),
        (
            "folded coding",
            smuggling("Transfer-Encoding:\r\n chunked\r\n"),
            400,
        ),
        ("folded field", smuggling("X-Y: a\r\n b\r\n"), 400),
        (
            "folded first field",
            "GET /1 HTTP/1.1\r\n Host: example.com\r\n\r\n".into(),
            400,
        ),
        (
            "a bare CR",
            smuggling("X-Y: a\rTransfer-Encoding: chunked\r\n"),
            400,
        ),
        ("NUL in a value", smuggling("X-Y: a\0b\r\n"), 400),
        ("NUL in a name", smuggling("X\0Y: a\r\n"), 400),
        ("a space in a name", smuggling("X Y: a\r\n"), 400),
        ("a bracket in a name", smuggling("X(Y): a\r\n"), 400),
        ("no name", smuggling(": a\r\n"), 400),
        ("no colon", smuggling("Transfer-Encoding\r\n"), 400),
        (
            "HTTP/1.0 in chunks",
            format!(
                "POST /1 HTTP/1.0\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
            400,
        ),
        (
            "HTTP/1.0, two codings",
            format!(
                "POST /1 HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\nTransfer-Encoding: identity, chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
            400,
        ),
        (
            "two versions",
            "GET /1 HTTP/1.1 HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            400,
        ),
        (
            "no version",
            "GET /1\r\nHost: example.com\r\n\r\n".into(),
            400,
        ),
        (
            "unknown version",
            "GET /1 HTTP/1.2\r\nHost: example.com\r\n\r\n".into(),
            400,
        ),
        (
            "another major version",
            "GET /1 HTTP/2.0\r\nHost: example.com\r\n\r\n".into(),
            400,
        ),
        (
            "a tab in the request line",
            "GET\t/1 HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            400,
        ),
        (
            "a NUL in the target",
            "GET /1\0 HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            400,
        ),
    ];
    assert_eq!(cases.len(), 49);
    let (backend, gateway) = serve().await;
    let mut wrong = Vec::new();
    for (what, bytes, status) in &cases {
        let bytes = format!("{bytes}{PROBE}");
        let (statuses, targets) = outcome(&gateway, &backend, bytes.as_bytes()).await;
        if statuses != [*status] || !targets.is_empty() {
            wrong.push(format!(
                "{what}: {statuses:?} instead of {status}, forwarded {targets:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_may_be_served_stays_in_step() {
    let length = post("Content-Length: 5\r\n", "hello");
    let cases: [(&str, String); 13] = [
        ("an ordinary one", length.clone()),
        ("a body of a GET", length.replace("POST", "GET")),
        (
            "equal lengths",
            post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        ),
        (
            "a list of equal lengths",
            post("Content-Length: 5, 5\r\n", "hello"),
        ),
        ("leading zeros", post("Content-Length: 0005\r\n", "hello")),
        (
            "upper case",
            post("TRANSFER-ENCODING: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        (
            "a tab before the coding",
            post("Transfer-Encoding:\tchunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        (
            "upper case size",
            in_chunks("5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n"),
        ),
        (
            "leading zeros of a chunk",
            in_chunks("0005\r\nhello\r\n000\r\n\r\n"),
        ),
        (
            "a chunk extension",
            in_chunks("5;name=value\r\nhello\r\n0;last\r\n\r\n"),
        ),
        (
            "trailers",
            in_chunks("5\r\nhello\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nContent-Length: 99\r\n\r\n"),
        ),
        ("an empty line before", format!("\r\n{length}")),
        (
            "underscores",
            post(
                "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n",
                "hello",
            ),
        ),
    ];
    let (backend, gateway) = serve().await;
    for (what, bytes) in &cases {
        let bytes = format!("{bytes}{PROBE}");
        let (statuses, targets) = outcome(&gateway, &backend, bytes.as_bytes()).await;
        // What a strict server may refuse has to end the connection.
        let refused = statuses == [400] && targets.is_empty();
        let closed = statuses == [200] && targets == ["/1"];
        let served = statuses == [200, 200] && targets == ["/1", "/probe"];
        assert!(
            served || closed || refused,
            "{what}: {statuses:?} {targets:?}"
        );
        if *what == "an ordinary one" {
            assert!(served);
        }
    }
    for request in backend.requests() {
        assert!(request.complete && request.trailers.is_empty());
        let body = if request.target() == "/1" {
            &b"hello"[..]
        } else {
            b""
        };
        assert!(request.body.starts_with(body));
    }
}

#[tokio::test]
async fn length_and_chunks_together_end_the_connection() {
    let (backend, gateway) = serve().await;
    for fields in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 600\r\n",
    ] {
        let bytes = post(fields, &format!("0\r\n\r\n{SMUGGLED}"));
        let (statuses, targets) = outcome(&gateway, &backend, bytes.as_bytes()).await;
        assert!(
            statuses == [400] || statuses == [200],
            "{fields}: {statuses:?}"
        );
        assert!(
            !targets.contains(&"/smuggled".to_owned()),
            "{fields}: {targets:?}"
        );
    }
}

#[tokio::test]
async fn broken_chunks_never_make_a_whole_request() {
    let cases = [
        ("plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("minus", "-5\r\nhello\r\n0\r\n\r\n"),
        ("hexadecimal prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("a letter", "5g\r\nhello\r\n0\r\n\r\n"),
        (
            "more than 64 bits",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        ("all bits", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("too short", "4\r\nhello\r\n0\r\n\r\n"),
        ("too long", "6\r\nhello\r\n0\r\n\r\n"),
        ("no end of a chunk", "5\r\nhello0\r\n\r\n"),
        ("other bytes for the end", "5\r\nhelloxx0\r\n\r\n"),
        ("a bare CR after the size", "5\rhello\r\n0\r\n\r\n"),
        ("a bare semicolon", "5;\r\nhello\r\n0\r\n\r\n"),
        ("a space behind the size", "5 \r\nhello\r\n0\r\n\r\n"),
        ("an extension that is none", "5;a[=b\r\nhello\r\n0\r\n\r\n"),
        ("never ends", "5\r\nhello\r\n"),
    ];
    let (backend, gateway) = serve().await;
    let mut wrong = Vec::new();
    for (what, body) in cases {
        let before = backend.requests().len();
        let bytes = format!("{}{SMUGGLED}", in_chunks(body));
        let (statuses, _) = outcome(&gateway, &backend, bytes.as_bytes()).await;
        let whole = backend.requests()[before..].iter().any(|it| it.complete);
        let refused = statuses.iter().all(|status| matches!(status, 400 | 408));
        if whole || !refused || statuses.len() > 1 {
            wrong.push(format!("{what}: {statuses:?}, forwarded whole: {whole}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What a backend answers, and what the strict client may make of it: an answer in step, or 502.
#[tokio::test]
async fn ambiguous_responses_confuse_nobody() {
    const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    let fields =
        |count: usize| -> String { (0..count).map(|it| format!("X-{it}: x\r\n")).collect() };
    let cases: Vec<(&str, String)> = vec![
        (
            "two lengths",
            format!(
                "{}hello{POISON}",
                head("Content-Length: 5\r\nContent-Length: 60\r\n")
            ),
        ),
        (
            "equal lengths",
            format!(
                "{}hello",
                head("Content-Length: 5\r\nContent-Length: 5\r\n")
            ),
        ),
        (
            "plus",
            format!("{}hello{POISON}", head("Content-Length: +5\r\n")),
        ),
        (
            "length and chunks",
            format!(
                "{}5\r\nhello\r\n0\r\n\r\n{POISON}",
                head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")
            ),
        ),
        (
            "another coding",
            format!(
                "{}5\r\nhello\r\n0\r\n\r\n{POISON}",
                head("Transfer-Encoding: gzip, chunked\r\n")
            ),
        ),
        (
            "more than the length",
            format!("{}hello{POISON}", head("Content-Length: 5\r\n")),
        ),
        (
            "more than the chunks",
            format!(
                "{}5\r\nhello\r\n0\r\n\r\n{POISON}",
                head("Transfer-Encoding: chunked\r\n")
            ),
        ),
        (
            "a body of 204",
            format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}"),
        ),
        (
            "a length of 204",
            format!("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello{POISON}"),
        ),
        (
            "a body of 304",
            format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello{POISON}"),
        ),
        (
            "a bare LF",
            format!("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello{POISON}"),
        ),
        (
            "a folded field",
            format!("{}hello", head("X-Y: a\r\n b\r\nContent-Length: 5\r\n")),
        ),
        (
            "NUL in a value",
            format!("{}hello", head("X-Y: a\0b\r\nContent-Length: 5\r\n")),
        ),
        (
            "many fields",
            format!(
                "{}hello",
                head(&format!("{}Content-Length: 5\r\n", fields(300)))
            ),
        ),
        (
            "a huge field",
            format!(
                "{}hello",
                head(&format!(
                    "X-Y: {}\r\nContent-Length: 5\r\n",
                    "x".repeat(2_000_000)
                ))
            ),
        ),
        (
            "an unasked 101",
            format!("HTTP/1.1 101 Switching Protocols\r\n\r\n{POISON}"),
        ),
        (
            "a status of two digits",
            format!("HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n{POISON}"),
        ),
        (
            "a status above all",
            format!("HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n{POISON}"),
        ),
        (
            "HTTP/2",
            format!("HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello{POISON}"),
        ),
    ];
    assert_eq!(cases.len(), 19);
    let answers: Vec<String> = cases.iter().map(|(_, answer)| answer.clone()).collect();
    let backend = Backend::start(move |mut connection: Connection| {
        let answers = answers.clone();
        async move {
            while let Some(request) = connection.request().await {
                match request.target().strip_prefix("/case/") {
                    Some(index) => {
                        connection
                            .send(&answers[index.parse::<usize>().unwrap()])
                            .await
                    }
                    None => connection.send(ok("innocent")).await,
                };
            }
        }
    })
    .await;
    let gateway = Gateway::start_with(
        "timeouts: {response: 500ms}",
        Routes::all_to(&[backend.address()]),
    );
    for (index, (what, _)) in cases.iter().enumerate() {
        for method in ["GET", "HEAD"] {
            let mut client = gateway.client().await;
            client
                .send(format!(
                    "{method} /case/{index} HTTP/1.1\r\nHost: example.com\r\n\r\n"
                ))
                .await;
            match client.try_response(method).await {
                Ok(response) => {
                    let text = response.text();
                    assert!(
                        !text.contains("poison") || response.status == 502,
                        "{what}: {text}"
                    );
                    // The next answer is the next one's.
                    client.send(get("/innocent")).await;
                    if let Ok(next) = client.try_response("GET").await {
                        assert_eq!(next.text(), "innocent", "{what}");
                    }
                }
                Err(error) => assert_eq!(error, ferrix_e2e::wire::ReadError::Cut, "{what}"),
            }
            let next = gateway.client().await.get("/innocent").await;
            assert_eq!(next.text(), "innocent", "after {what}");
        }
    }
}

/// Pingora's CVE-2026-2833: bytes after a request to upgrade were passed on before the backend had
/// agreed.
#[tokio::test]
async fn nothing_passes_an_upgrade_that_was_not_granted() {
    let backend = Backend::hello("no").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    for upgrade in ["websocket", "h2c", "anything", "websocket, foo"] {
        for length in ["", "Content-Length: 0\r\n"] {
            let mut client = gateway.client().await;
            let claims = "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n";
            client
                .send(format!(
                    "GET /1 HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
                     Upgrade: {upgrade}\r\n{length}\r\n\
                     GET /2 HTTP/1.1\r\nHost: example.com\r\n{claims}\r\n"
                ))
                .await;
            assert_eq!(client.response().await.text(), "no", "{upgrade}");
            // The second is a request of its own, or nothing.
            if let Ok(second) = client.try_response("GET").await {
                assert_eq!(second.text(), "no");
            }
        }
    }
    for request in backend.requests() {
        assert_eq!(
            request.head.all("x-forwarded-for"),
            ["127.0.0.1"],
            "{}",
            request.target()
        );
        assert_eq!(request.head.all("x-real-ip"), ["127.0.0.1"]);
    }
}

/// Pingora's CVE-2025-4366: a body that nobody read was taken for the next request.
#[tokio::test]
async fn an_unread_body_is_not_the_next_request() {
    let backend = Backend::start(async |mut connection: Connection| {
        while let Some(head) = connection.head().await {
            if head.word(1) == "/early" {
                connection.send(ok("early")).await;
            }
            connection.body().await;
            if head.word(1) != "/early" {
                connection.send(ok("hi")).await;
            }
        }
    })
    .await;
    let routes = Routes::new()
        .service(
            "s",
            ferrix_table::services::Protocol::Http1,
            &[backend.address()],
        )
        .rule(
            "*",
            "Path(`/probe`) || Path(`/smuggled`) || Path(`/early`)",
            &[("s", 1)],
        );
    let gateway = Gateway::start(routes);
    for target in ["/nowhere", "/early", "/nowhere%zz"] {
        for at_once in [true, false] {
            let mut client = gateway.client().await;
            client
                .send(format!(
                    "POST {target} HTTP/1.1\r\nHost: example.com\r\nContent-Length: {}\r\n\r\n",
                    SMUGGLED.len()
                ))
                .await;
            if at_once {
                client.send(SMUGGLED).await;
            }
            let first = client.response().await;
            assert!(
                [200, 400, 404].contains(&first.status),
                "{target}: {}",
                first.status
            );
            if !at_once {
                client.send(SMUGGLED).await;
            }
            client.send(PROBE).await;
            if let Ok(second) = client.try_response("GET").await {
                assert_eq!(second.text(), "hi", "{target}");
                assert_eq!(backend.last().target(), "/probe");
            }
        }
    }
    assert!(
        backend
            .requests()
            .iter()
            .all(|it| it.target() != "/smuggled")
    );
}

#[tokio::test]
async fn connection_may_not_name_what_matters() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let mut client = gateway.client().await;
    for value in [
        "X-Custom",
        "x-custom",
        "keep-alive, X-Custom",
        "X-Custom ,, keep-alive",
    ] {
        let response = client
            .exchange(format!(
                "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: {value}\r\nX-Custom: 1\r\n\
                 X-Other: 2\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\n\
                 Proxy-Authorization: Basic x\r\nTE: gzip\r\nTrailer: X\r\n\r\n"
            ))
            .await;
        assert_eq!(response.status, 200, "{value}");
        let head = backend.last().head;
        for name in [
            "x-custom",
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "te",
            "trailer",
        ] {
            assert!(!head.has(name), "{value}: {name}");
        }
        assert_eq!(head.one("x-other"), Some("2"));
    }
    let served = backend.requests().len();
    let nine = (0..9)
        .map(|index| format!("X-{index}"))
        .collect::<Vec<_>>()
        .join(", ");
    let eleven = (0..11)
        .map(|index| format!("X-{index}"))
        .collect::<Vec<_>>()
        .join(", ");
    let refused = [
        "X-Forwarded-For",
        "x-forwarded-proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Real-IP",
        "X-Request-Id",
        "Forwarded",
        "Host",
        "Content-Length",
        "Authorization",
        "Cookie",
        "close, X-Forwarded-For",
        "\"quoted\"",
        "two words",
        &eleven,
    ];
    for value in refused {
        let request = format!("GET / HTTP/1.1\r\nHost: example.com\r\nConnection: {value}\r\n\r\n");
        assert_eq!(
            gateway.client().await.exchange(request).await.status,
            400,
            "{value}"
        );
    }
    assert_eq!(refused.len(), 15);
    assert_eq!(backend.requests().len(), served);
    let request = format!("GET / HTTP/1.1\r\nHost: example.com\r\nConnection: {nine}\r\n\r\n");
    assert_eq!(client.exchange(request).await.status, 200);
}

/// Names and values that a client could wish to be believed.
const CLAIMS: [(&str, &str); 26] = [
    ("X-Forwarded-For", "6.6.6.6"),
    ("x-forwarded-for", "6.6.6.7"),
    ("X_Forwarded_For", "6.6.6.6"),
    ("X-Forwarded_For", "6.6.6.6"),
    ("X_Forwarded-For", "6.6.6.6"),
    ("X-Real-IP", "6.6.6.6"),
    ("X_Real_IP", "6.6.6.6"),
    ("X-Real_IP", "6.6.6.6"),
    ("Forwarded", "for=6.6.6.6;proto=https"),
    ("X-Forwarded-Proto", "https"),
    ("X_Forwarded_Proto", "https"),
    ("X-Forwarded-Host", "evil.com"),
    ("X_Forwarded_Host", "evil.com"),
    ("X-Forwarded-Port", "6660666"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X_Forwarded_Prefix", "/evil"),
    ("X-Forwarded-Server", "evil"),
    ("X-Forwarded-Uri", "/evil"),
    ("X-Forwarded-Method", "DELETE"),
    ("X-Forwarded-Client-Cert", "evil"),
    ("X-Original-URL", "/evil"),
    ("X_Original_URL", "/evil"),
    ("X-Request-Id", "evil"),
    ("X_Request_Id", "evil"),
    ("True-Client-IP", "6.6.6.6"),
    ("X-Client-IP", "6.6.6.6"),
];

#[tokio::test]
async fn claims_of_untrusted_clients_are_removed() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start(Routes::all_to(&[backend.address()]));
    let fields: String = CLAIMS
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!("GET / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n");
    assert_eq!(gateway.client().await.exchange(request).await.status, 200);
    let mut http2 = gateway.http2().await;
    let mut request = http2.request("GET", "/");
    for (name, value) in CLAIMS {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    assert_eq!(http2.fetch(request).await.unwrap().status, 200);

    let port = gateway.web.port().to_string();
    assert_eq!(backend.requests().len(), 2);
    for request in backend.requests() {
        let head = request.head;
        assert_eq!(head.one("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(head.one("x-real-ip"), Some("127.0.0.1"));
        assert_eq!(head.one("x-forwarded-proto"), Some("http"));
        assert_eq!(head.one("x-forwarded-host"), Some("example.com"));
        assert_eq!(head.one("x-forwarded-port"), Some(&*port));
        let id = head.one("x-request-id").unwrap();
        assert!(
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{id}"
        );
        let raw = String::from_utf8_lossy(&head.raw).into_owned();
        for claim in ["6.6.6", "evil", "6660666", "DELETE", "https"] {
            assert!(!raw.contains(claim), "{claim} in {raw}");
        }
    }
}

#[tokio::test]
async fn claims_of_trusted_peers_are_extended() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with(
        "forwarded: {trusted: [127.0.0.0/8]}",
        Routes::all_to(&[backend.address()]),
    );
    let mut client = gateway.client().await;
    client
        .exchange(
            "GET / HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2\r\n\
             X-Forwarded-Proto: https\r\nX-Forwarded-Host: public.example\r\nX-Real-IP: 1.1.1.1\r\n\
             X-Forwarded-Port: 443\r\nX-Request-Id: theirs\r\nForwarded: for=1.1.1.1\r\n\
             X_Forwarded_For: 6.6.6.6\r\n\r\n",
        )
        .await;
    let head = backend.last().head;
    assert_eq!(
        head.one("x-forwarded-for"),
        Some("1.1.1.1, 2.2.2.2, 127.0.0.1")
    );
    assert_eq!(head.one("x-forwarded-proto"), Some("https"));
    assert_eq!(head.one("x-forwarded-host"), Some("public.example"));
    assert_eq!(head.one("x-forwarded-port"), Some("443"));
    assert_eq!(head.one("x-real-ip"), Some("1.1.1.1"));
    assert_eq!(head.one("x-request-id"), Some("theirs"));
    assert!(!head.has("x_forwarded_for"), "never believed");

    // A chain in several fields is one chain.
    client
        .exchange(
            "GET / HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 1.1.1.1\r\n\
             X-Forwarded-For: 2.2.2.2\r\n\r\n",
        )
        .await;
    let head = backend.last().head;
    assert_eq!(
        head.all("x-forwarded-for").join(", "),
        "1.1.1.1, 2.2.2.2, 127.0.0.1"
    );
    assert_eq!(head.one("x-forwarded-proto"), Some("http"));

    let elsewhere = Gateway::start_with(
        "forwarded: {trusted: [10.0.0.0/8]}",
        Routes::all_to(&[backend.address()]),
    );
    elsewhere
        .client()
        .await
        .exchange("GET / HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n")
        .await;
    assert_eq!(
        backend.last().head.one("x-forwarded-for"),
        Some("127.0.0.1")
    );
}

fn proxy_v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend_from_slice(&[0x20 | command, family]);
    header.extend_from_slice(&u16::try_from(addresses.len()).unwrap().to_be_bytes());
    header.extend_from_slice(addresses);
    header
}

#[tokio::test]
async fn the_proxy_protocol_names_the_client() {
    let backend = Backend::hello("hi").await;
    let gateway =
        Gateway::start_behind("[127.0.0.0/8]", "{}", Routes::all_to(&[backend.address()]));
    let ipv4 = [9, 8, 7, 6, 10, 0, 0, 1, 0x30, 0x39, 0, 80];
    let ipv6 = [
        &[0x20, 1, 0xd, 0xb8][..],
        &[0; 11],
        &[7],
        &[0; 16],
        &[0, 1, 0, 80],
    ]
    .concat();
    let with_extensions = [&ipv4[..], &[4, 0, 3, 1, 2, 3]].concat();
    let cases: [(&str, Vec<u8>, &str); 8] = [
        (
            "v1 IPv4",
            b"PROXY TCP4 9.8.7.6 10.0.0.1 12345 80\r\n".to_vec(),
            "9.8.7.6",
        ),
        (
            "v1 IPv6",
            b"PROXY TCP6 2001:db8::7 ::1 12345 80\r\n".to_vec(),
            "2001:db8::7",
        ),
        ("v1 unknown", b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        ("v2 IPv4", proxy_v2(1, 0x11, &ipv4), "9.8.7.6"),
        ("v2 IPv6", proxy_v2(1, 0x21, &ipv6), "2001:db8::7"),
        (
            "v2 with extensions",
            proxy_v2(1, 0x11, &with_extensions),
            "9.8.7.6",
        ),
        ("v2 local", proxy_v2(0, 0, &[]), "127.0.0.1"),
        ("v2 unspecified", proxy_v2(1, 0, &[]), "127.0.0.1"),
    ];
    for (what, header, client_address) in &cases {
        for pieces in [1, 4] {
            let mut client = gateway.client().await;
            let bytes = [&header[..], get("/").as_bytes()].concat();
            for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
                client.send(piece).await;
                tokio::task::yield_now().await;
            }
            assert_eq!(client.response().await.status, 200, "{what}");
            let head = backend.last().head;
            assert_eq!(head.one("x-forwarded-for"), Some(*client_address), "{what}");
            assert_eq!(head.one("x-real-ip"), Some(*client_address), "{what}");
            assert_eq!(
                client.get("/").await.status,
                200,
                "only the first bytes are special"
            );
        }
    }
    // HTTP/2 behind it.
    let mut stream = tokio::net::TcpStream::connect(gateway.web).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &cases[0].1)
        .await
        .unwrap();
    let mut http2 = ferrix_e2e::Http2Client::new(stream, "http").await;
    assert_eq!(http2.get("/").await.status, 200);
    assert_eq!(backend.last().head.one("x-forwarded-for"), Some("9.8.7.6"));
}

#[tokio::test]
async fn a_bad_proxy_protocol_header_ends_the_connection() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_behind(
        "[127.0.0.0/8]",
        "timeouts: {tls_handshake: 300ms}",
        Routes::all_to(&[backend.address()]),
    );
    let long = format!("PROXY TCP4 {} 10.0.0.1 1 80\r\n", "9".repeat(200));
    let cases: [(&str, Vec<u8>); 9] = [
        ("absent", get("/").into_bytes()),
        (
            "absent before HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        ),
        ("nothing", Vec::new()),
        ("half of one", b"PROXY TCP4 9.8.7".to_vec()),
        (
            "no address",
            b"PROXY TCP4 example.com 10.0.0.1 1 80\r\n".to_vec(),
        ),
        (
            "a port too large",
            b"PROXY TCP4 9.8.7.6 10.0.0.1 99999 80\r\n".to_vec(),
        ),
        ("too long", long.into_bytes()),
        ("v2 too short", proxy_v2(1, 0x11, &[9, 8, 7, 6])),
        (
            "v2 of another version",
            [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x31, 0x11, 0, 0]].concat(),
        ),
    ];
    for (what, header) in &cases {
        let mut client = gateway.client().await;
        client.send(header).await;
        if what.starts_with("no address") || what.starts_with("v2") {
            client.send(get("/")).await;
        }
        let rest = within(what, client.rest()).await;
        assert!(
            rest.is_empty(),
            "{what}: {}",
            String::from_utf8_lossy(&rest)
        );
    }
    let refused = u64::try_from(cases.len()).unwrap();
    gateway
        .counted("refusals", |it| it.refused_connections.get() == refused)
        .await;
    assert!(backend.requests().is_empty());
}

#[tokio::test]
async fn a_proxy_protocol_header_of_others_is_a_bad_request() {
    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_behind("[10.0.0.0/8]", "{}", Routes::all_to(&[backend.address()]));
    let mut client: Client = gateway.client().await;
    client
        .send(format!(
            "PROXY TCP4 9.8.7.6 10.0.0.1 12345 80\r\n{}",
            get("/")
        ))
        .await;
    assert_eq!(client.response().await.status, 400);
    client.closed().await;
    assert!(backend.requests().is_empty());
    assert_eq!(gateway.client().await.get("/").await.status, 200);
}
