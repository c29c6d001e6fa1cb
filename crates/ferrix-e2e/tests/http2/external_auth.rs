//! Authorisation by gRPC: Envoy's protocol, judged by the bytes that the service received.

use std::net::SocketAddr;

use ferrix_e2e::{Backend, Gateway, Http2Backend, Routes, backend::Dead, http2_backend::Exchange};
use ferrix_table::{
    filters::{
        Filter,
        external_auth::{AuthProtocol, ExternalAuth},
    },
    policy::Policy,
    services::Protocol,
};

use crate::{fields, with_fields};

fn authorised(backend: SocketAddr, auth: SocketAddr, allowed: &[&str]) -> Routes {
    let routes = Routes::new()
        .service("all", Protocol::Http1, &[backend])
        .service("auth", Protocol::Http2, &[auth])
        .rule("*", "", &[("all", 1)]);
    let service = Ok(routes.index("auth"));
    let auth = ExternalAuth {
        service,
        protocol: AuthProtocol::Grpc {
            request_headers: allowed.iter().map(|it| (*it).into()).collect(),
        },
        body_bytes: 0,
        verdicts: None,
        sign_in: None,
    };
    routes.policy(Policy::of([Filter::ExternalAuth(auth)]))
}

/// A field of a protocol buffer: a text, or a message of these parts, of less than 128 bytes.
fn field(number: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let length = u8::try_from(value.len()).unwrap();
    assert!(length < 128);
    [&[number << 3 | 2, length], &*value].concat()
}

/// A field of a protocol buffer: a number.
fn number(number: u8, mut value: u16) -> Vec<u8> {
    let mut field = vec![number << 3];
    while value > 0x7f {
        field.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    field.push(value as u8);
    field
}

/// `HeaderValueOption`.
fn header(name: &str, value: &str) -> Vec<u8> {
    field(
        1,
        &[
            &field(1, &[name.as_bytes()]),
            &field(2, &[value.as_bytes()]),
        ],
    )
}

/// `CheckResponse`, after its prefix.
fn message(parts: &[&[u8]]) -> Vec<u8> {
    let message = parts.concat();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat()
}

/// Answers a call: a message, and a status in trailers.
fn answer(exchange: &mut Exchange, message: Vec<u8>, status: &str) {
    let mut stream = exchange.respond(200, &[("content-type", "application/grpc")], false);
    let _ = stream.send_data(message.into(), false);
    let _ = stream.send_trailers(fields(&[("grpc-status", status)]));
}

/// Lets requests with a header of the value `good` pass, by Envoy's protocol.
async fn envoys_authority() -> Http2Backend {
    Http2Backend::start(async |mut exchange: Exchange| {
        let asked = exchange.body().await;
        let is_good = asked.windows(4).any(|it| it == b"good");
        let said = match is_good {
            true => message(&[&field(
                3,
                &[
                    &field(2, &[&header("X-User", "alice")]),
                    &field(2, &[&header("Host", "evil.test")]),
                    &field(5, &[b"x-debug"]),
                ],
            )]),
            false => message(&[
                &field(1, &[&number(1, 16)]),
                &field(
                    2,
                    &[
                        &field(1, &[&number(1, 401)]),
                        &field(2, &[&header("WWW-Authenticate", "Basic")]),
                        &field(3, &[b"who?\n"]),
                    ],
                ),
            ]),
        };
        answer(&mut exchange, said, "0");
    })
    .await
}

#[tokio::test]
async fn another_service_says_by_grpc_whether_requests_pass() {
    let (backend, auth) = (Backend::hello("hi").await, envoys_authority().await);
    let good = [
        ("x-key", "good"),
        ("x-user", "forged"),
        ("x-debug", "1"),
        ("cookie", "secret"),
    ];
    let mut ran = 0;
    for (http2, allowed) in [(false, &["x-key"][..]), (true, &[]), (true, &["X-Key"])] {
        let routes = authorised(backend.address(), auth.address(), allowed);
        let gateway = Gateway::start(routes);
        for (status, text) in ask(&gateway, http2, &good).await {
            assert_eq!((status, &*text), (200, "hi"));
        }
        let arrived = backend.last();
        assert_eq!(arrived.head.all("x-user"), ["alice"]);
        assert_eq!(arrived.head.one("host"), Some("example.com"));
        assert!(!arrived.head.has("x-debug"));
        assert_eq!(arrived.body, b"a body");
        let asked = auth.last();
        let path = "/envoy.service.auth.v3.Authorization/Check";
        assert_eq!(asked.head.uri().path(), path);
        assert_eq!(asked.field("content-type"), Some("application/grpc"));
        assert_eq!(asked.field("te"), Some("trailers"));
        let told = String::from_utf8_lossy(&asked.body);
        for text in ["POST", "/a?b", "example.com", "127.0.0.1", "good"] {
            assert!(told.contains(text), "no {text} in {told:?}");
        }
        assert_eq!(told.contains("secret"), allowed.is_empty());
        let before = backend.requests().len();
        for (status, text) in ask(&gateway, http2, &[]).await {
            assert_eq!((status, &*text), (401, "who?\n"));
        }
        let refused = gateway.client().await.get("/").await;
        assert_eq!(refused.head.one("www-authenticate"), Some("Basic"));
        assert_eq!(backend.requests().len(), before);
        ran += 1;
    }
    assert_eq!(ran, 3);
}

#[tokio::test]
async fn nothing_passes_without_a_verdict_by_grpc() {
    let backend = Backend::hello("hi").await;
    let pass = || message(&[]);
    let cases: [(Vec<u8>, &'static str, u16); 7] = [
        // It denies, in no words.
        (message(&[&field(1, &[&number(1, 7)])]), "0", 403),
        // It denies and says that it does not.
        (message(&[&field(2, &[&field(3, &[b"no"])])]), "0", 503),
        // The call failed, whatever came before.
        (pass(), "14", 503),
        // No message, a part of one, two, and none that can be read.
        (Vec::new(), "0", 503),
        (pass()[..4].to_vec(), "0", 503),
        ([pass(), pass()].concat(), "0", 503),
        (message(&[b"\xff\xff"]), "0", 503),
    ];
    let mut ran = 0;
    for (said, status, expected) in cases {
        let auth = Http2Backend::start(move |mut exchange: Exchange| {
            let said = said.clone();
            async move {
                exchange.body().await;
                answer(&mut exchange, said, status);
            }
        });
        let auth = auth.await;
        let routes = authorised(backend.address(), auth.address(), &[]);
        let gateway = Gateway::start(routes);
        let answers = ask(&gateway, false, &[]).await;
        assert_eq!(
            answers.map(|(status, _)| status),
            [expected; 2],
            "case {ran}"
        );
        ran += 1;
    }
    let dead = Dead::new();
    let gateway = Gateway::start(authorised(backend.address(), dead.address(), &[]));
    let answers = ask(&gateway, false, &[]).await;
    assert_eq!(answers.map(|(status, _)| status), [503; 2]);
    assert_eq!((ran, backend.requests().len()), (7, 0));
}

/// The answers to a request with a body, on a fresh connection and on the same once more.
async fn ask(gateway: &Gateway, http2: bool, more: &[(&'static str, &str)]) -> [(u16, String); 2] {
    let mut answers = Vec::new();
    if http2 {
        let mut client = gateway.http2().await;
        for _ in 0..2 {
            let request = with_fields(client.request("POST", "/a?b"), more);
            let answer = client.post(request, "a body", None).await.unwrap();
            answers.push((answer.status.as_u16(), answer.text().to_string()));
        }
    } else {
        let mut client = gateway.client().await;
        let more: String = more
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        for _ in 0..2 {
            let head = "POST /a?b HTTP/1.1\r\nHost: example.com\r\nContent-Length: 6\r\n";
            let answer = client.exchange(format!("{head}{more}\r\na body")).await;
            answers.push((answer.status, answer.text()));
        }
    }
    answers.try_into().expect("two answers")
}
